"""The header that every answer begins with, as bytes.

A message's fields may stand in any order and in pieces (https://protobuf.dev/programming-guides/encoding/#order), so
the header, mostly the same for many answers in a row, is encoded once and put before the rest.
"""

from __future__ import annotations

from typing import Protocol

from coterie.core.types import MemberId
from coterie.etcd.protobuf import varint
from coterie.etcd.wire.rpc import ResponseHeader

_TAG = b"\x0a"
"""Of field 1, of bytes of a given length: the header in each of etcd's answers."""
_REVISION = b"\x18"
"""Of the header's field 3, which is never 0."""


class Position(Protocol):
    """What a header says beside the revision."""

    @property
    def cluster(self) -> int: ...

    @property
    def member(self) -> MemberId: ...

    @property
    def term(self) -> int:
        """The round of the present epoch."""
        ...


class Headers:
    """Makes headers; remembers the last one."""

    def __init__(self, position: Position) -> None:
        self._position = position
        self._revision = -1
        self._term = -1
        self._field = b""
        self._who = b""
        self._when = b""
        """The header before and behind its revision, which changes with every write."""

    def field(self, revision: int) -> bytes:
        """The header, at this revision, as field 1 of an answer."""
        term = self._position.term
        if revision != self._revision or term != self._term:
            if term != self._term:
                position = self._position
                who = ResponseHeader(cluster_id=position.cluster, member_id=position.member)
                self._who, self._when = who.SerializeToString(), ResponseHeader(raft_term=term).SerializeToString()
            self._revision, self._term = revision, term
            raw = self._who + _REVISION + varint(revision) + self._when
            self._field = _TAG + bytes((len(raw),)) + raw  # always shorter than 128 bytes
        return self._field
