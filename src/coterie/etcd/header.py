"""The header that every answer begins with, as bytes.

A message's fields may stand in any order and in pieces (https://protobuf.dev/programming-guides/encoding/#order), so
the header, mostly the same for many answers in a row, is encoded once and put before the rest.
"""

from __future__ import annotations

from typing import Protocol

from coterie.core.types import MemberId
from coterie.etcd.wire.rpc import ResponseHeader

_TAG = b"\x0a"
"""Of field 1, of bytes of a given length: the header in each of etcd's answers."""


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

    def field(self, revision: int) -> bytes:
        """The header, at this revision, as field 1 of an answer."""
        term = self._position.term
        if revision != self._revision or term != self._term:
            self._revision, self._term = revision, term
            raw = self.message(revision).SerializeToString()
            self._field = _TAG + bytes((len(raw),)) + raw  # always shorter than 128 bytes
        return self._field

    def message(self, revision: int) -> ResponseHeader:
        """The header as a message."""
        position = self._position
        return ResponseHeader(
            cluster_id=position.cluster, member_id=position.member, revision=revision, raft_term=position.term
        )
