"""An ordered store over SQLite, for `bench/flush.py --store sqlite` to compare with the one that ships.

One table in the order of its keys, without row ids; a write-ahead log, synced with each batch, so that a prefix of
the batches survives a crash. No checksums of its own, which the shipped store pays for.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator

from coterie.machine.stores.interface import Change, OrderedStore, Pair, Reading

_PUT = "INSERT INTO pairs VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v"
_BETWEEN = "SELECT k, v FROM pairs WHERE k >= ? AND k < ? ORDER BY k"


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32768", "mmap_size=2000000000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


class _View(Reading):
    """One transaction of a connection of its own."""

    def __init__(self, path: str) -> None:
        self._connection = _connect(path)
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT 1 FROM pairs LIMIT 1").fetchone()

    def get(self, key: bytes) -> bytes | None:
        found = self._connection.execute("SELECT v FROM pairs WHERE k = ?", (key,)).fetchone()
        return None if found is None else bytes(found[0])

    def first(self, start: bytes, end: bytes) -> Pair | None:
        found: Pair | None = self._connection.execute(_BETWEEN + " LIMIT 1", (start, end)).fetchone()
        return found

    def last(self, start: bytes, end: bytes) -> Pair | None:
        found: Pair | None = self._connection.execute(_BETWEEN + " DESC LIMIT 1", (start, end)).fetchone()
        return found

    def range(self, start: bytes, end: bytes, limit: int = 0) -> Iterator[Pair]:
        yield from self._connection.execute(_BETWEEN + " LIMIT ?", (start, end, limit or -1))

    def close(self) -> None:
        self._connection.close()


class SqliteStore(OrderedStore):
    """See the module's text."""

    def __init__(self, directory: str) -> None:
        os.makedirs(directory, exist_ok=True)
        self._path = os.path.join(directory, "data.sqlite")
        self._connection = _connect(self._path)
        self._connection.execute("CREATE TABLE IF NOT EXISTS pairs (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID")

    def write(self, batch: Iterable[Change]) -> None:
        cursor = self._connection.execute("BEGIN IMMEDIATE")
        puts: list[Pair] = []
        for key, value in batch:
            if value is not None:
                puts.append((key, value))
                if len(puts) < 256:
                    continue
            cursor.executemany(_PUT, puts)
            puts.clear()
            if value is None:
                cursor.execute("DELETE FROM pairs WHERE k = ?", (key,))
        cursor.executemany(_PUT, puts)
        cursor.execute("COMMIT")

    def clear(self) -> None:
        self._connection.execute("DELETE FROM pairs")

    def sync(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def view(self) -> Reading:
        return _View(self._path)

    @property
    def bytes_used(self) -> int:
        return sum(os.stat(self._path + suffix).st_size for suffix in ("", "-wal"))

    def close(self) -> None:
        self._connection.close()
