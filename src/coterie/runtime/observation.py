"""What can be seen of a node at one moment: for metrics."""

from __future__ import annotations

import msgspec

from coterie.core.replica import MemberProgress
from coterie.core.types import MemberId
from coterie.engine.protocol import NodeStatus
from coterie.runtime.write_times import WriteTimes


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One moment."""

    status: NodeStatus
    progress: tuple[MemberProgress, ...]
    """Of the others, as a leader knows them; empty at other members."""
    connected: frozenset[MemberId]
    """Members to which a stream is open."""
    leaders_seen: int
    """How often a leader came since the process began."""
    client_connections: int
    writes: WriteTimes
