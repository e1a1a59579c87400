"""The format of a bbolt database: pages (bbolt's page.go, db.go, bucket.go), all numbers little-endian.

Page 0 and page 1 are meta pages, of which the valid one with the higher transaction counts. All others belong to
the freelist or to a bucket's B+ tree: branch pages have keys and children, leaf pages keys and values. A page whose
content is longer than a page goes on in the `overflow` pages after it. The root bucket's values are the buckets:
a header (`BUCKET`), and if its root page is 0, the bucket's only leaf page inline.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

PAGE_BYTES = 4096
"""Of what is written. What is read says its own."""
PAGE_BYTES_MIN = 1024
PAGE_BYTES_MAX = 64 * 1024
MAX_KEY_BYTES = 32768
"""bbolt's MaxKeySize."""
MAX_VALUE_BYTES = (1 << 31) - 2
"""bbolt's MaxValueSize."""
INLINE_BYTES = PAGE_BYTES // 4
"""A bucket whose leaf page is longer has pages of its own (bbolt's maxInlineBucketSize)."""

BRANCH = 0x01
LEAF = 0x02
META = 0x04
FREELIST = 0x10
IS_BUCKET = 0x01
"""Flag of a leaf element: its value is a bucket."""

MAGIC = 0xED0CDAED
VERSION = 2
NO_FREELIST = (1 << 64) - 1
"""As the freelist's page: there is none, free pages are found by looking (etcd has it so)."""

PAGE_HEADER = struct.Struct("<QHHI")
"""Page id, flags, count of elements, overflow pages."""
BRANCH_ELEMENT = struct.Struct("<IIQ")
"""Position of the key, counted from the element's own; length of the key; the child's page id."""
LEAF_ELEMENT = struct.Struct("<IIII")
"""Flags; position of the key, counted from the element's own; length of the key; of the value, which follows it."""
BUCKET = struct.Struct("<QQ")
"""Root page id, sequence."""
META_BODY = struct.Struct("<IIIIQQQQQQ")
"""Magic, version, page size, flags, root bucket (page id, sequence), freelist, pages in use, transaction, checksum."""
_CHECKSUM_BYTES = 8


class Meta(NamedTuple):
    """What a meta page says."""

    page_bytes: int
    root: int
    """Page id of the root bucket's root page."""
    freelist: int
    pages: int
    """Pages in use: no page id is as high."""
    transaction: int


def encode_meta(page: int, meta: Meta) -> bytes:
    """The meta page, without the zeros that fill it."""
    body = META_BODY.pack(
        MAGIC, VERSION, meta.page_bytes, 0, meta.root, 0, meta.freelist, meta.pages, meta.transaction, 0
    )
    body = body[:-_CHECKSUM_BYTES]
    return PAGE_HEADER.pack(page, META, 0, 0) + body + fnv64a(body).to_bytes(_CHECKSUM_BYTES, "little")


def decode_meta(raw: bytes) -> Meta | str:
    """What the beginning of a meta page says, or what is wrong with it."""
    if len(raw) < PAGE_HEADER.size + META_BODY.size:
        return f"a meta page of {len(raw)} bytes"
    flags = PAGE_HEADER.unpack_from(raw)[1]
    body = raw[PAGE_HEADER.size : PAGE_HEADER.size + META_BODY.size]
    magic, version, page_bytes, _, root, _, freelist, pages, transaction, checksum = META_BODY.unpack(body)
    if magic != MAGIC or flags != META:
        return "no meta page of a bbolt database"
    if version != VERSION:
        return f"bbolt's format {version}; {VERSION} is known"
    if checksum != fnv64a(body[:-_CHECKSUM_BYTES]):
        return "the meta page's checksum is wrong"
    if not PAGE_BYTES_MIN <= page_bytes <= PAGE_BYTES_MAX or page_bytes & (page_bytes - 1):
        return f"pages of {page_bytes} bytes: not a power of two from {PAGE_BYTES_MIN} to {PAGE_BYTES_MAX}"
    return Meta(page_bytes, root, freelist, pages, transaction)


def fnv64a(data: bytes) -> int:
    """The hash FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
