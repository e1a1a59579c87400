"""Ordered stores: where a machine that is too large for memory keeps its data."""

from __future__ import annotations

from coterie.machine.stores.interface import OrderedStore, StoreFailed
from coterie.machine.stores.lmdb import LmdbStore
from coterie.machine.stores.memory import MemoryStore

__all__ = ["LmdbStore", "MemoryStore", "OrderedStore", "StoreFailed", "open_store"]


def open_store(path: str) -> OrderedStore:
    """The store on disk in the directory `path`, which is made if it is not there (its parent must be).
    Raises `StoreFailed`."""
    return LmdbStore(path)
