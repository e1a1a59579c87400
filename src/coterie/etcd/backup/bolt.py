"""Writing a bbolt database in one pass and bounded memory: keys come in ascending order, pages go out in a row.

A bucket's tree is built from below: one page is open at each level; when it is full it gets the next page id, and
the level above an entry for it. So the root is the last page of its tree, and the meta pages, which name the root
and the number of pages, are written last, at the file's beginning.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from coterie.etcd.backup.bolt_pages import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET,
    FREELIST,
    INLINE_BYTES,
    IS_BUCKET,
    LEAF,
    LEAF_ELEMENT,
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    PAGE_BYTES,
    PAGE_HEADER,
    Meta,
    encode_meta,
)
from coterie.etcd.backup.ports import ScratchFile

_BUFFER_BYTES = 256 * 1024
"""So much is gathered before it is written."""
_CHILDREN_MIN = 2
"""A branch page has at least so many, however long its keys: the tree's height stays a logarithm."""
_FREELIST_PAGE = 2
_TRANSACTION = 2
"""Of the first meta page; the second one has one less, as in a copy that bbolt makes."""


class BoltWriter:
    """Writes a database of buckets into an empty file. Buckets do not nest further. May raise `OSError`."""

    def __init__(self, file: ScratchFile) -> None:
        self._file = file
        self._buffer = bytearray(2 * PAGE_BYTES)
        """Not written yet; the meta pages' place comes first."""
        self._written = 0
        self._page = _FREELIST_PAGE
        """Id of the next page."""
        self._buckets: dict[bytes, bytes] = {}
        self.pages(PAGE_HEADER.pack(_FREELIST_PAGE, FREELIST, 0, 0))

    def bucket(self, name: bytes, items: Iterable[tuple[bytes, bytes]]) -> int:
        """Write a bucket; names may come in any order, keys strictly ascending. Returns the number of items.

        Raises `ValueError` for keys out of order, and for what bbolt has no room for.
        """
        if name in self._buckets:
            raise ValueError(f"the bucket {name!r} is there already")
        tree = _Tree(self, 0)
        count = 0
        for key, value in items:
            tree.add(key, value)
            count += 1
        inline = tree.inline()
        if inline is None:
            self._buckets[name] = BUCKET.pack(tree.finish(), 0)
        else:
            self._buckets[name] = BUCKET.pack(0, 0) + inline
        return count

    def finish(self) -> int:
        """Write the root bucket and the meta pages; returns the file's length in bytes, whole pages."""
        tree = _Tree(self, IS_BUCKET)
        for name, bucket in sorted(self._buckets.items()):
            tree.add(name, bucket)
        root = tree.finish()
        self._flush()
        for page in (0, 1):
            meta = Meta(PAGE_BYTES, root, _FREELIST_PAGE, self._page, _TRANSACTION - page)
            self._file.write_at(page * PAGE_BYTES, encode_meta(page, meta))
        return self._page * PAGE_BYTES

    @property
    def next_page(self) -> int:
        """Id of the page that `pages` will write."""
        return self._page

    def pages(self, content: bytes) -> int:
        """Append a page, with its overflow pages; returns its id."""
        page = self._page
        count = -(-len(content) // PAGE_BYTES)
        self._buffer += content
        self._buffer += bytes(count * PAGE_BYTES - len(content))
        self._page += count
        if len(self._buffer) >= _BUFFER_BYTES:
            self._flush()
        return page

    def _flush(self) -> None:
        self._file.write_at(self._written, bytes(self._buffer))
        self._written += len(self._buffer)
        self._buffer.clear()


class _Tree:
    """A B+ tree under construction."""

    def __init__(self, writer: BoltWriter, flags: int) -> None:
        self._writer = writer
        self._flags = flags
        """Of every leaf element."""
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self._bytes = PAGE_HEADER.size
        """Length of the open leaf page."""
        self._last: bytes | None = None
        self._levels: list[_Level] = []
        """Of branches, from below."""

    def add(self, key: bytes, value: bytes) -> None:
        if not 0 < len(key) <= MAX_KEY_BYTES or len(value) > MAX_VALUE_BYTES:
            raise ValueError(
                f"a key of {len(key)} bytes with a value of {len(value)}: a bbolt key has 1 to {MAX_KEY_BYTES}, "
                f"a value at most {MAX_VALUE_BYTES}"
            )
        if self._last is not None and key <= self._last:
            raise ValueError(f"the key {key!r} after {self._last!r}: keys must ascend")
        size = LEAF_ELEMENT.size + len(key) + len(value)
        if self._keys and self._bytes + size > PAGE_BYTES:
            self._close_leaf()
        self._keys.append(key)
        self._values.append(value)
        self._bytes += size
        self._last = key

    def inline(self) -> bytes | None:
        """The only leaf page, if the bucket is small enough to stand within its header's value."""
        if self._levels or self._bytes > INLINE_BYTES:
            return None
        return self._leaf(0)

    def finish(self) -> int:
        """Write what is open; returns the root's page id."""
        if not self._levels:
            return self._writer.pages(self._leaf(self._writer.next_page))
        if self._keys:
            self._close_leaf()
        height = 0
        while True:
            level = self._levels[height]
            if height + 1 == len(self._levels) and level.pages == 0 and len(level.children) == 1:
                return level.children[0]
            if level.children:
                self._close_branch(height)
            height += 1

    def _close_leaf(self) -> None:
        page = self._writer.pages(self._leaf(self._writer.next_page))
        self._enter(0, self._keys[0], page)
        self._keys, self._values = [], []
        self._bytes = PAGE_HEADER.size

    def _enter(self, height: int, key: bytes, page: int) -> None:
        """Tell the level of a page below it."""
        if height == len(self._levels):
            self._levels.append(_Level())
        level = self._levels[height]
        size = BRANCH_ELEMENT.size + len(key)
        if len(level.children) >= _CHILDREN_MIN and level.bytes + size > PAGE_BYTES:
            self._close_branch(height)
            level = self._levels[height]
        level.keys.append(key)
        level.children.append(page)
        level.bytes += size

    def _close_branch(self, height: int) -> None:
        level = self._levels[height]
        page = self._writer.pages(_branch(self._writer.next_page, level.keys, level.children))
        self._levels[height] = _Level(level.pages + 1)
        self._enter(height + 1, level.keys[0], page)

    def _leaf(self, page: int) -> bytes:
        keys, values = self._keys, self._values
        numbers: list[int] = []
        position = LEAF_ELEMENT.size * len(keys)
        body: list[bytes] = []
        for key, value in zip(keys, values, strict=True):
            numbers += (self._flags, position, len(key), len(value))
            position += len(key) + len(value) - LEAF_ELEMENT.size
            body += (key, value)
        overflow = max(0, -(-self._bytes // PAGE_BYTES) - 1)
        header = PAGE_HEADER.pack(page, LEAF, len(keys), overflow)
        return header + struct.pack(f"<{len(numbers)}I", *numbers) + b"".join(body)


class _Level:
    """The open branch page of one height."""

    def __init__(self, pages: int = 0) -> None:
        self.pages = pages
        """Written at this height."""
        self.keys: list[bytes] = []
        self.children: list[int] = []
        self.bytes = PAGE_HEADER.size


def _branch(page: int, keys: list[bytes], children: list[int]) -> bytes:
    elements = []
    position = BRANCH_ELEMENT.size * len(keys)
    for key, child in zip(keys, children, strict=True):
        elements.append(BRANCH_ELEMENT.pack(position, len(key), child))
        position += len(key) - BRANCH_ELEMENT.size
    content = b"".join(elements) + b"".join(keys)
    overflow = max(0, -(-(PAGE_HEADER.size + len(content)) // PAGE_BYTES) - 1)
    return PAGE_HEADER.pack(page, BRANCH, len(keys), overflow) + content
