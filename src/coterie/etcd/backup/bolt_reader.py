"""Reading a bbolt database strictly: every length is bounded before it is used, every order is checked.

Whatever the bytes are, reading ends: pages of a tree are visited only as far as keys ascend, so no page is read
twice, and a path is no longer than `MAX_HEIGHT`. What is wrong is a `BadSnapshot` that says where.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from coterie.etcd.backup.bolt_pages import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET,
    IS_BUCKET,
    LEAF,
    LEAF_ELEMENT,
    MAX_KEY_BYTES,
    META_BODY,
    NO_FREELIST,
    PAGE_BYTES_MAX,
    PAGE_BYTES_MIN,
    PAGE_HEADER,
    Meta,
    decode_meta,
)
from coterie.etcd.backup.errors import BadSnapshot
from coterie.etcd.backup.ports import SourceFile

MAX_PAGE_BYTES = 64 * 1024 * 1024
"""A page with its overflow pages is at most so long: bbolt makes longer ones only of a longer key and value."""
MAX_HEIGHT = 32
"""Pages from a bucket's root to a leaf."""
MAX_BUCKETS = 1024
_META_BYTES = PAGE_HEADER.size + META_BODY.size


class Entry(NamedTuple):
    """A key of a bucket, its value, and where in the file the key stands."""

    key: bytes
    value: bytes
    offset: int


class _Page(NamedTuple):
    """A page, read and checked."""

    offset: int
    """In the file."""
    keys: list[bytes]
    values: list[bytes]
    """Of a leaf page."""
    children: list[int]
    """Of a branch page, page ids."""
    flags: list[int]
    """Of a leaf's elements."""
    offsets: list[int]
    """Of the keys, in the file."""


class BoltReader:
    """An open database, the first `length` bytes of a file. Raises `BadSnapshot`; may raise `OSError`."""

    def __init__(self, file: SourceFile, length: int) -> None:
        self._file = file
        self._length = length
        self.meta = self._find_meta()
        self._buckets = {entry.key: entry for entry in self._root_entries()}

    @property
    def names(self) -> list[bytes]:
        """Names of the buckets, in order."""
        return list(self._buckets)

    def items(self, bucket: bytes, start: bytes = b"") -> Iterator[Entry]:
        """The bucket's items from key `start` on, in order; none if there is no such bucket."""
        root = self._root(bucket)
        for flags, entry in () if root is None else self._tree(root, start):
            if flags:
                raise BadSnapshot(entry.offset, f"a bucket within the bucket {bucket!r}: etcd has none")
            yield entry

    def last(self, bucket: bytes) -> Entry | None:
        """The bucket's last item, None if there is none."""
        page = self._root(bucket)
        height = 1
        while page is not None and page.children:
            height += 1
            if height > MAX_HEIGHT:
                raise BadSnapshot(page.offset, f"a tree higher than {MAX_HEIGHT} pages")
            page = self._read(page.children[-1])
        return None if page is None or not page.keys else Entry(page.keys[-1], page.values[-1], page.offsets[-1])

    def _root(self, bucket: bytes) -> _Page | None:
        """The root page of a bucket's tree, None if there is no such bucket."""
        found = self._buckets.get(bucket)
        if found is None:
            return None
        at = found.offset + len(found.key)
        if len(found.value) < BUCKET.size:
            raise BadSnapshot(at, f"the bucket {bucket!r} has a header of {len(found.value)} bytes")
        root, _ = BUCKET.unpack_from(found.value)
        return self._read(root) if root else self._leaf(found.value[BUCKET.size :], at + BUCKET.size)

    # Meta pages and the root bucket

    def _find_meta(self) -> Meta:
        """The valid meta page with the highest transaction. The second one is found by the first one's page size,
        or, if that is damaged, by trying."""
        first = decode_meta(self._file.read_at(0, _META_BYTES))
        sizes = [first.page_bytes] if isinstance(first, Meta) else _page_sizes()
        found = [first] if isinstance(first, Meta) else []
        for size in sizes:
            second = decode_meta(self._file.read_at(size, _META_BYTES))
            if isinstance(second, Meta) and second.page_bytes == size:
                found.append(second)
        if not found:
            raise BadSnapshot(0, str(first))
        meta = max(found, key=lambda each: each.transaction)
        if meta.pages * meta.page_bytes > self._length:
            raise BadSnapshot(0, f"{meta.pages} pages of {meta.page_bytes} bytes in {self._length} bytes")
        if meta.freelist != NO_FREELIST and not 1 < meta.freelist < meta.pages:
            raise BadSnapshot(0, f"page {meta.freelist} as the freelist, of {meta.pages} pages")
        return meta

    def _root_entries(self) -> Iterator[Entry]:
        for count, (flags, entry) in enumerate(self._tree(self._read(self.meta.root), b"")):
            if count >= MAX_BUCKETS:
                raise BadSnapshot(entry.offset, f"more than {MAX_BUCKETS} buckets")
            if flags != IS_BUCKET:
                raise BadSnapshot(entry.offset, f"{entry.key!r} in the root bucket is no bucket")
            yield entry

    # Trees

    def _tree(self, root: _Page, start: bytes) -> Iterator[tuple[int, Entry]]:
        """Flags and items of a tree's leaves from `start` on."""
        last = b""
        path = [_Step(root, 0, b"", None)]
        path[0].seek(start)
        while path:
            step = path[-1]
            page = step.page
            if not page.children:
                for flags, entry in _entries(page, step.at):
                    if entry.key <= last:
                        raise BadSnapshot(entry.offset, f"the key {entry.key!r} after {last!r}: not ascending")
                    last = entry.key
                    yield flags, entry
                path.pop()
                continue
            if step.at >= len(page.children):
                path.pop()
                continue
            at = step.at
            step.at += 1
            if len(path) >= MAX_HEIGHT:
                raise BadSnapshot(page.offsets[at], f"a tree higher than {MAX_HEIGHT} pages")
            low = page.keys[at]
            high = page.keys[at + 1] if at + 1 < len(page.keys) else step.high
            below = _Step(self._read(page.children[at]), 0, low, high)
            below.check()
            below.seek(start)
            path.append(below)

    def _read(self, number: int) -> _Page:
        """The page with this id, its elements in order."""
        size = self.meta.page_bytes
        offset = number * size
        if not 1 < number < self.meta.pages:
            raise BadSnapshot(0, f"page {number} is referred to, of {self.meta.pages} pages")
        header = self._exactly(offset, PAGE_HEADER.size)
        page, flags, _, overflow = PAGE_HEADER.unpack(header)
        if page != number:
            raise BadSnapshot(offset, f"page {number} calls itself {page}")
        if flags not in (BRANCH, LEAF):
            raise BadSnapshot(offset, f"page {number} has flags {flags:#x}: neither branch nor leaf")
        if number + overflow >= self.meta.pages:
            raise BadSnapshot(offset, f"page {number} goes on for {overflow} pages, of {self.meta.pages}")
        length = (1 + overflow) * size
        if length > MAX_PAGE_BYTES:
            raise BadSnapshot(offset, f"page {number} has {length} bytes; the limit is {MAX_PAGE_BYTES}")
        raw = self._exactly(offset, length)
        return self._leaf(raw, offset) if flags == LEAF else self._branch(raw, offset)

    def _leaf(self, raw: bytes, offset: int) -> _Page:
        """A leaf page, which may stand within a value."""
        count = _count(raw, LEAF_ELEMENT.size, offset, LEAF)
        found = _Page(offset, [], [], [], [], [])
        for at in range(count):
            here = PAGE_HEADER.size + at * LEAF_ELEMENT.size
            flags, position, key_bytes, value_bytes = LEAF_ELEMENT.unpack_from(raw, here)
            if flags not in (0, IS_BUCKET):
                raise BadSnapshot(offset + here, f"an element with flags {flags:#x}")
            begin = here + position
            if begin + key_bytes + value_bytes > len(raw):
                raise BadSnapshot(
                    offset + here, f"a key of {key_bytes} bytes and a value of {value_bytes} go beyond the page's end"
                )
            _enter_key(found, raw, begin, key_bytes, offset, here + (count - at) * LEAF_ELEMENT.size)
            found.values.append(raw[begin + key_bytes : begin + key_bytes + value_bytes])
            found.flags.append(flags)
        return found

    def _branch(self, raw: bytes, offset: int) -> _Page:
        count = _count(raw, BRANCH_ELEMENT.size, offset, BRANCH)
        if not count:
            raise BadSnapshot(offset, "a branch page without children")
        found = _Page(offset, [], [], [], [], [])
        for at in range(count):
            here = PAGE_HEADER.size + at * BRANCH_ELEMENT.size
            position, key_bytes, child = BRANCH_ELEMENT.unpack_from(raw, here)
            begin = here + position
            if begin + key_bytes > len(raw):
                raise BadSnapshot(offset + here, f"a key of {key_bytes} bytes goes beyond the page's end")
            _enter_key(found, raw, begin, key_bytes, offset, here + (count - at) * BRANCH_ELEMENT.size)
            found.children.append(child)
        return found

    def _exactly(self, offset: int, length: int) -> bytes:
        if offset + length > self._length:
            raise BadSnapshot(offset, f"{length} bytes are needed here, and the database has {self._length}")
        raw = self._file.read_at(offset, length)
        if len(raw) != length:
            raise BadSnapshot(offset, f"the file ends after {len(raw)} of {length} bytes")
        return raw


class _Step:
    """Where a walk stands in one page. All keys of a page are from `low` to below `high` (None: no bound)."""

    def __init__(self, page: _Page, at: int, low: bytes, high: bytes | None) -> None:
        self.page = page
        self.at = at
        self.low = low
        self.high = high

    def check(self) -> None:
        """Raise `BadSnapshot` unless the page's keys are where its parent says. One that is empty is refused, too: of
        such, a tree could have any number, and they would be read without end."""
        page = self.page
        if not page.keys:
            raise BadSnapshot(page.offset, f"an empty page at key {self.low!r}")
        if page.keys[0] < self.low:
            raise BadSnapshot(page.offsets[0], f"the key {page.keys[0]!r} in a page that begins at {self.low!r}")
        if self.high is not None and page.keys[-1] >= self.high:
            raise BadSnapshot(page.offsets[-1], f"the key {page.keys[-1]!r} in a page that ends before {self.high!r}")

    def seek(self, start: bytes) -> None:
        """Go to the first element that can have keys from `start` on."""
        keys = self.page.keys
        if self.page.children:
            self.at = max(0, bisect_right(keys, start) - 1)
            return
        while self.at < len(keys) and keys[self.at] < start:
            self.at += 1


def _entries(page: _Page, start: int = 0) -> Iterator[tuple[int, Entry]]:
    for at in range(start, len(page.keys)):
        yield page.flags[at], Entry(page.keys[at], page.values[at], page.offsets[at])


def _count(raw: bytes, element_bytes: int, offset: int, flag: int) -> int:
    """How many elements the page has."""
    if len(raw) < PAGE_HEADER.size:
        raise BadSnapshot(offset, f"a page of {len(raw)} bytes")
    _, flags, count, _ = PAGE_HEADER.unpack_from(raw)
    if flags != flag:
        raise BadSnapshot(offset, f"a page with flags {flags:#x} where a leaf must be")
    if PAGE_HEADER.size + count * element_bytes > len(raw):
        raise BadSnapshot(offset, f"{count} elements in a page of {len(raw)} bytes")
    return int(count)


def _enter_key(page: _Page, raw: bytes, begin: int, length: int, offset: int, body: int) -> None:
    """Take in an element's key; `body` is where keys and values begin."""
    if begin < body:
        raise BadSnapshot(offset + begin, "a key among the page's elements")
    if not 0 < length <= MAX_KEY_BYTES:
        raise BadSnapshot(offset + begin, f"a key of {length} bytes; a bbolt key has 1 to {MAX_KEY_BYTES}")
    key = raw[begin : begin + length]
    if page.keys and key <= page.keys[-1]:
        raise BadSnapshot(offset + begin, f"the key {key!r} after {page.keys[-1]!r}: not ascending")
    page.keys.append(key)
    page.offsets.append(offset + begin)


def _page_sizes() -> list[int]:
    sizes = [PAGE_BYTES_MIN]
    while sizes[-1] < PAGE_BYTES_MAX:
        sizes.append(2 * sizes[-1])
    return sizes
