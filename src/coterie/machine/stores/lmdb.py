"""The ordered store on disk, over LMDB: why, with figures, is in `docs/decisions/0008-store-on-disk.md`.

LMDB never overwrites a page that a committed transaction uses, and writes its root last, so after a crash a
prefix of the transactions is there, without any recovery. `metasync=False`: the root of the last transaction
becomes durable with the next commit or `sync`, the pages under it before: at most the last batches are lost,
none is torn. (MDB_NOSYNC would not keep that: pages could reach the disk after the root that names them.)

Each value carries a CRC of key and value: LMDB itself would hand out what a bad disk made of them.

LMDB takes keys of at most 511 bytes. Longer ones stand together, by their first 500 bytes, in the value of one
LMDB key, in order. So the order of bytes holds; only many long keys with one long prefix are slow to write.
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from struct import Struct
from zlib import crc32

import lmdb
import msgspec

from coterie.machine.stores.interface import MAX_KEY_BYTES, Change, OrderedStore, Pair, Reading, StoreFailed

MAP_BYTES = 1 << 40
"""Address space set aside: the store can't grow beyond. It costs neither memory nor disk."""
SHORT_KEY_BYTES = 500
"""Keys up to this length are LMDB keys; one more byte, a zero, names the bucket of the longer ones."""
PIECE = 64
"""Changes handed to LMDB at a time."""
MAX_VIEWS = 64
META_PAGES = 2
"""The file's first: where LMDB keeps its roots, in turn."""
_CRC_BYTES = 4
_pack = Struct(">I").pack

Bucket = list[tuple[bytes, bytes]]
"""Long keys without their first bytes, with their values, in order."""


class _Read(Reading):
    """What one read transaction sees."""

    def __init__(self, transaction: lmdb.Transaction[bytes], path: str) -> None:
        self._transaction = transaction
        self._cursor = transaction.cursor()
        """For single lookups."""
        self._path = path

    def get(self, key: bytes) -> bytes | None:
        """See `Reading`."""
        if len(key) > SHORT_KEY_BYTES:
            rest = key[SHORT_KEY_BYTES:]
            bucket = _read_bucket(self._transaction, key, self._path)
            at = bisect_left(bucket, (rest,))
            return bucket[at][1] if at < len(bucket) and bucket[at][0] == rest else None
        stored = self._transaction.get(key)
        return None if stored is None else _checked(key, stored, self._path)

    def first(self, start: bytes, end: bytes) -> Pair | None:
        """See `Reading`."""
        if len(start) <= SHORT_KEY_BYTES:
            cursor = self._cursor
            if not cursor.set_range(start):
                return None
            key, stored = cursor.item()
            if len(key) <= SHORT_KEY_BYTES:
                return (key, _checked(key, stored, self._path)) if key < end else None
        return next(self.range(start, end, 1), None)

    def last(self, start: bytes, end: bytes) -> Pair | None:
        """See `Reading`."""
        cursor = self._cursor
        if len(end) > SHORT_KEY_BYTES:
            bucket = _read_bucket(self._transaction, end, self._path)
            at = bisect_left(bucket, (end[SHORT_KEY_BYTES:],))
            if at:
                key = end[:SHORT_KEY_BYTES] + bucket[at - 1][0]
                return (key, bucket[at - 1][1]) if key >= start else None
            end = _bucket_key(end)
        if not (cursor.prev() if cursor.set_range(end) else cursor.last()):
            return None
        key, stored = cursor.item()
        value = _checked(key, stored, self._path)
        if len(key) > SHORT_KEY_BYTES:
            rest, value = _decode_bucket(value, self._path)[-1]
            key = key[:SHORT_KEY_BYTES] + rest
        return (key, value) if key >= start else None

    def range(self, start: bytes, end: bytes, limit: int = 0) -> Iterator[Pair]:
        """See `Reading`."""
        cursor = self._transaction.cursor()
        path = self._path
        count = 0
        if not cursor.set_range(start if len(start) <= SHORT_KEY_BYTES else _bucket_key(start)):
            return
        for key, stored in cursor:
            value = _checked(key, stored, path)
            if len(key) <= SHORT_KEY_BYTES:
                if key >= end:
                    return
                count += 1
                yield key, value
                if count == limit:
                    return
                continue
            for rest, each in _decode_bucket(value, path):
                whole = key[:SHORT_KEY_BYTES] + rest
                if whole >= end:
                    return
                if whole >= start:
                    count += 1
                    yield whole, each
                    if count == limit:
                        return

    def close(self) -> None:
        """See `Reading`."""
        self._transaction.abort()


class LmdbStore(OrderedStore):
    """A directory with LMDB's two files. One process, one object at a time."""

    def __init__(self, path: str) -> None:
        """Open the store in the directory `path`, or make one. Raises `StoreFailed`."""
        try:
            self._environment = lmdb.open(
                path, map_size=MAP_BYTES, metasync=False, max_readers=MAX_VIEWS, readahead=False, max_spare_txns=2
            )
            self._environment.reader_check()  # views of a process that was killed would hold their pages for ever
        except (lmdb.Error, OSError) as error:
            raise StoreFailed(f"the machine's store {path} cannot be opened: {error}") from error
        self._path = path
        self._primed = False

    def write(self, batch: Iterable[Change]) -> None:
        """See `OrderedStore`."""
        with self._writing() as transaction:
            cursor = transaction.cursor()
            puts: list[Pair] = []
            for key, value in batch:
                if value is not None and 0 < len(key) <= SHORT_KEY_BYTES:
                    puts.append((key, value + _pack(crc32(value, crc32(key)))))
                    if len(puts) < PIECE:
                        continue
                    cursor.putmulti(puts)
                    puts.clear()
                    continue
                if puts:
                    cursor.putmulti(puts)
                    puts.clear()
                if not 0 < len(key) <= MAX_KEY_BYTES:
                    raise ValueError(f"a key of {len(key)} bytes; the limit is {MAX_KEY_BYTES}")
                if len(key) > SHORT_KEY_BYTES:
                    self._write_long(transaction, key, value)
                else:
                    transaction.delete(key)
            if puts:
                cursor.putmulti(puts)

    def _write_long(self, transaction: lmdb.Transaction[bytes], key: bytes, value: bytes | None) -> None:
        bucket = _read_bucket(transaction, key, self._path)
        rest = key[SHORT_KEY_BYTES:]
        at = bisect_left(bucket, (rest,))
        there = at < len(bucket) and bucket[at][0] == rest
        bucket[at : at + there] = [] if value is None else [(rest, value)]
        name = _bucket_key(key)
        if not bucket:
            transaction.delete(name)
            return
        stored = _encoder.encode(bucket)
        transaction.put(name, stored + _pack(crc32(stored, crc32(name))))

    def clear(self) -> None:
        """See `OrderedStore`."""
        with self._writing() as transaction:
            transaction.drop(self._environment.open_db(txn=transaction), delete=False)

    @contextmanager
    def _writing(self) -> Iterator[lmdb.Transaction[bytes]]:
        """One write transaction: committed at the end, aborted by an exception."""
        try:
            self._prime()
            with self._environment.begin(write=True) as transaction:
                yield transaction
        except lmdb.Error as error:
            raise _os_error(error, self._path) from error

    def _prime(self) -> None:
        """Have LMDB note a free page before it has to note hundreds.

        Where its list of free pages is empty, and a commit's share of it takes more than half a page, LMDB (0.9.31 to
        0.9.36, `mdb_page_alloc` under `mdb_freelist_save`) looks for free pages in the list's root, which it has just
        made and which has no node yet: it takes whatever the memory held before, some value's bytes, for a node. That
        ends the process or fails the commit (MDB_CORRUPTED), and might hand out pages that are in use. After any
        transaction that changes a page there is a note, and each one leaves another; so two small ones do, in every
        process, for nobody can ask whether the list is empty.
        """
        if self._primed:
            return
        with self._environment.begin(write=True) as transaction:
            transaction.put(PRIMER, PRIMER_VALUE)
        with self._environment.begin(write=True) as transaction:
            transaction.delete(PRIMER)
        self._primed = True

    def sync(self) -> None:
        """See `OrderedStore`."""
        try:
            self._environment.sync(True)
        except lmdb.Error as error:
            raise _os_error(error, self._path) from error

    def view(self) -> Reading:
        """See `OrderedStore`."""
        try:
            return _Read(self._environment.begin(), self._path)
        except lmdb.Error as error:
            raise StoreFailed(f"the machine's store {self._path} gives no view: {error}") from error

    @property
    def bytes_used(self) -> int:
        """See `OrderedStore`: the file's length. Pages that were freed stay in it and are used again."""
        return os.stat(os.path.join(self._path, "data.mdb")).st_size

    @property
    def bytes_in_use(self) -> int:
        """See `OrderedStore`: of the pages that hold something, the two that LMDB begins with among them."""
        found = self._environment.stat()
        pages: int = META_PAGES + found["branch_pages"] + found["leaf_pages"] + found["overflow_pages"]
        return pages * int(found["psize"])

    def close(self) -> None:
        """See `OrderedStore`."""
        self._environment.close()


def _bucket_key(key: bytes) -> bytes:
    """Where a long key stands: just after the short key that is its beginning, before all that come later."""
    return key[:SHORT_KEY_BYTES] + b"\0"


def _read_bucket(transaction: lmdb.Transaction[bytes], key: bytes, path: str) -> Bucket:
    """The long keys that begin as `key` does."""
    name = _bucket_key(key)
    stored = transaction.get(name)
    return [] if stored is None else _decode_bucket(_checked(name, stored, path), path)


def _checked(key: bytes, stored: bytes, path: str) -> bytes:
    """The value without its CRC. Raises `StoreFailed` if it is not what was written."""
    value = stored[:-_CRC_BYTES]
    if _pack(crc32(value, crc32(key))) != stored[-_CRC_BYTES:]:
        raise StoreFailed(f"the machine's store {path} is damaged: the value of {key[:80]!r} is not what was written")
    return value


def _decode_bucket(value: bytes, path: str) -> Bucket:
    try:
        return _decoder.decode(value)
    except msgspec.DecodeError as error:
        raise StoreFailed(f"the machine's store {path} is damaged: {error}") from error


def _os_error(error: lmdb.Error, path: str) -> OSError:
    """LMDB's error as what the caller of a disk expects."""
    number = errno.ENOSPC if isinstance(error, lmdb.MapFullError) or "No space left" in str(error) else errno.EIO
    return OSError(number, f"{os.strerror(number)} (LMDB: {error})", path)


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Bucket] = msgspec.msgpack.Decoder(Bucket)

PRIMER = b"\xff" * (SHORT_KEY_BYTES + 2)
"""There only while a store is primed: longer than any key or bucket of ours, and after all of them."""
_NO_KEYS = _encoder.encode([])
PRIMER_VALUE = _NO_KEYS + _pack(crc32(_NO_KEYS, crc32(PRIMER)))
"""A bucket without keys: nobody who reads sees anything, should the process end before it is gone."""
