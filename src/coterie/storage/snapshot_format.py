"""The bytes of a snapshot file: written as a stream, checked as a stream, in pieces of any length.

A prologue and a header say whose state it is, and at which entry; blocks carry the state; a footer says how much
there was. Every part has a checksum, and the footer one of all before it: a file that was cut anywhere, or in which
a bit is wrong, is told from a whole one. One format for snapshots taken and received: what travels is the file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.types import Epoch, Index, SnapshotMeta
from coterie.storage.errors import SnapshotDamaged, WrongSnapshot
from coterie.storage.record_codec import MAX_META_BYTES

FORMAT_VERSION = 1
MAGIC = b"coterie snapshot"
BLOCK_BYTES = 256 * 1024
"""Bytes of the state in each block but the last."""
MAX_BLOCK_BYTES = 1024 * 1024
"""A longer block is refused unread."""
MAX_HEADER_BYTES = MAX_META_BYTES + 64
_PROLOGUE = struct.Struct("<16sIII")
"""magic, format version, length of the header, crc of all that and of the header."""
_UNSEALED = struct.Struct("<16sII")
_BLOCK = struct.Struct("<II")
"""length (0: the footer follows), crc of it, of the block's place and of the block."""
_PLACE = struct.Struct("<QI")
_FOOTER = struct.Struct("<QQII")
"""bytes of the state, blocks, crc of all before the footer, crc of the footer before this."""
_SUMS = struct.Struct("<QQI")
PROLOGUE_BYTES, FOOTER_BYTES = _PROLOGUE.size, _FOOTER.size
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})-([0-9a-f]{16})\.snap")

SUFFIX = ".snap"
NEW_SUFFIX = ".new"
"""Follows the name of one that is being written: worth nothing."""
PART_SUFFIX = ".part"
"""Follows the name of one that is being received: worth nothing."""


class SnapshotHeader(msgspec.Struct, frozen=True, array_like=True):
    """Whose state it is, and at which entry of the log."""

    cluster: int
    meta: SnapshotMeta


class SnapshotName(NamedTuple):
    """What a file's name says. Ordered: the newest state is the greatest."""

    at: Index
    epoch: Epoch

    def __str__(self) -> str:
        return f"{self.at:016x}-{self.epoch.round:016x}-{self.epoch.node:016x}{SUFFIX}"


def snapshot_name(meta: SnapshotMeta) -> SnapshotName:
    """What the file of the snapshot at `meta` is called."""
    return SnapshotName(meta.index, meta.epoch)


def parse_name(name: str) -> SnapshotName | None:
    """What a file name says; None if it is not a snapshot's."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    index, round_, node = (int(part, 16) for part in match.groups())
    return SnapshotName(index, Epoch(round_, node))


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[SnapshotHeader] = msgspec.msgpack.Decoder(SnapshotHeader)


class SnapshotEncoder:
    """Turns the state, in pieces of any length, into the bytes of a file."""

    def __init__(self, header: SnapshotHeader) -> None:
        self._header = header
        self._held = bytearray()
        self._written = 0
        self._content = 0
        self._blocks = 0
        self._crc = 0

    def begin(self) -> bytes:
        """The file's first bytes. Raises `ValueError` if the membership is too large."""
        body = _encoder.encode(self._header)
        if len(body) > MAX_HEADER_BYTES:
            raise ValueError(f"a snapshot's header takes {len(body)} bytes, the limit is {MAX_HEADER_BYTES}")
        fields = (MAGIC, FORMAT_VERSION, len(body))
        return self._counted(_PROLOGUE.pack(*fields, crc32(body, crc32(_UNSEALED.pack(*fields)))) + body)

    def add(self, data: bytes) -> list[bytes]:
        """The blocks that are full now."""
        self._held += data
        parts: list[bytes] = []
        while len(self._held) >= BLOCK_BYTES:
            parts += self._block(bytes(self._held[:BLOCK_BYTES]))
            del self._held[:BLOCK_BYTES]
        return parts

    def end(self) -> list[bytes]:
        """The last block, if any, and the footer."""
        parts = self._block(bytes(self._held)) if self._held else []
        self._held.clear()
        parts.append(self._counted(_BLOCK.pack(0, crc32(_PLACE.pack(self._written, 0)))))
        parts.append(_footer(self._content, self._blocks, self._crc))
        return parts

    def _block(self, data: bytes) -> list[bytes]:
        crc = crc32(data, crc32(_PLACE.pack(self._written, len(data))))
        self._blocks += 1
        self._content += len(data)
        return [self._counted(_BLOCK.pack(len(data), crc)), self._counted(data)]

    def _counted(self, data: bytes) -> bytes:
        self._written += len(data)
        self._crc = crc32(data, self._crc)
        return data


class SnapshotCheck:
    """Checks the bytes of a file as they come, and gives back the state. Memory: one block."""

    def __init__(self, name: SnapshotName, cluster: int) -> None:
        """`name`: what the file is called, and so must be. `cluster`: whose it must be."""
        self.meta: SnapshotMeta | None = None
        """Once the header was read."""
        self._name = name
        self._cluster = cluster
        self._buffer = bytearray()
        self._offset = 0
        """Where in the file the buffer begins."""
        self._needed = _PROLOGUE.size
        self._next: Callable[[bytes], bytes] = self._prologue
        self._crc = 0
        self._content = 0
        self._blocks = 0
        self._expected_crc = 0
        """Of the part that comes next."""
        self._begun_crc = 0
        """Of what that checksum covers besides the part itself."""
        self._version = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The parts of the state that are complete and check. Raises `SnapshotDamaged`, `WrongSnapshot`."""
        self._buffer += data
        found: list[bytes] = []
        while len(self._buffer) >= self._needed:
            part = bytes(self._buffer[: self._needed])
            del self._buffer[: len(part)]
            content = self._next(part)
            self._offset += len(part)
            if content:
                found.append(content)
        return found

    def finish(self) -> SnapshotMeta:
        """No more bytes follow. Raises `SnapshotDamaged` if any are missing."""
        if self.meta is None or self._next != self._beyond:
            raise self._damaged("it ends early", self._offset + len(self._buffer))
        return self.meta

    def _damaged(self, what: str, offset: int | None = None) -> SnapshotDamaged:
        return SnapshotDamaged(str(self._name), self._offset if offset is None else offset, what)

    def _prologue(self, part: bytes) -> bytes:
        magic, version, length, self._expected_crc = _PROLOGUE.unpack(part)
        if magic != MAGIC:
            raise self._damaged("it does not begin as a snapshot does")
        if not 0 < length <= MAX_HEADER_BYTES:
            raise self._damaged(f"its header claims {length} bytes, the limit is {MAX_HEADER_BYTES}")
        self._version = version
        self._begun_crc = crc32(part[: _UNSEALED.size])
        self._crc = crc32(part)
        self._expect(length, self._header)
        return b""

    def _header(self, part: bytes) -> bytes:
        if crc32(part, self._begun_crc) != self._expected_crc:
            raise self._damaged("its header does not check", 0)
        if self._version != FORMAT_VERSION:
            raise WrongSnapshot(
                f"snapshot {self._name} has format version {self._version}; this program reads {FORMAT_VERSION}",
                advice="Run the version of the program that wrote it, or a later one.",
            )
        try:
            header = _decoder.decode(part)
        except (msgspec.DecodeError, ConfigurationError) as error:
            raise WrongSnapshot(f"snapshot {self._name} has a header that this version can't read: {error}") from error
        if header.cluster != self._cluster:
            raise WrongSnapshot(
                f"snapshot {self._name} belongs to cluster {header.cluster:016x}; this member's is {self._cluster:016x}"
            )
        if snapshot_name(header.meta) != self._name:
            raise self._damaged(f"its header says that it is {snapshot_name(header.meta)}")
        self.meta = header.meta
        return self._counted(part)

    def _block(self, part: bytes) -> bytes:
        length, self._expected_crc = _BLOCK.unpack(part)
        self._crc = crc32(part, self._crc)
        if length > MAX_BLOCK_BYTES:
            raise self._damaged(f"a block claims {length} bytes, the limit is {MAX_BLOCK_BYTES}")
        self._begun_crc = crc32(_PLACE.pack(self._offset, length))
        if length:
            self._expect(length, self._body)
        elif self._begun_crc == self._expected_crc:
            self._expect(_FOOTER.size, self._footer)
        else:
            raise self._damaged("a block does not check")
        return b""

    def _body(self, part: bytes) -> bytes:
        if crc32(part, self._begun_crc) != self._expected_crc:
            raise self._damaged("a block does not check")
        self._blocks += 1
        self._content += len(part)
        self._counted(part)
        return part

    def _counted(self, part: bytes) -> bytes:
        self._crc = crc32(part, self._crc)
        self._expect(_BLOCK.size, self._block)
        return b""

    def _footer(self, part: bytes) -> bytes:
        if part != _footer(self._content, self._blocks, self._crc):
            raise self._damaged("its footer does not fit what stands before it")
        self._expect(1, self._beyond)
        return b""

    def _beyond(self, part: bytes) -> bytes:
        raise self._damaged("something follows its footer")

    def _expect(self, needed: int, then: Callable[[bytes], bytes]) -> None:
        self._needed, self._next = needed, then


def _footer(content: int, blocks: int, crc: int) -> bytes:
    return _FOOTER.pack(content, blocks, crc, crc32(_SUMS.pack(content, blocks, crc)))


def check_footer(name: SnapshotName, header_bytes: int, size: int, footer: bytes) -> None:
    """Whether a file of `size` bytes, `header_bytes` of them before its first block, ends as a whole one does: a
    quick look, without reading what is between. `footer`: its last `FOOTER_BYTES`. Raises `SnapshotDamaged`."""
    if len(footer) == FOOTER_BYTES:
        content, blocks, crc, _ = _FOOTER.unpack(footer)
        whole = header_bytes + content + (blocks + 1) * _BLOCK.size + FOOTER_BYTES
        if whole == size and footer == _footer(content, blocks, crc):
            return
    raise SnapshotDamaged(str(name), size, "it does not end as it must")


def header_span(first: bytes) -> int:
    """How many bytes prologue and header take, as the first bytes of a file claim (bounded)."""
    if len(first) < _PROLOGUE.size:
        return _PROLOGUE.size
    return _PROLOGUE.size + min(int(_PROLOGUE.unpack_from(first)[2]), MAX_HEADER_BYTES)
