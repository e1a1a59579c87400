"""The consensus protocols by name: the one place that knows which there are."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final, Protocol

from coterie.core.config import ReplicaConfig
from coterie.core.errors import ConfigurationError
from coterie.core.multipaxos.replica import MultiPaxos
from coterie.core.raft.replica import Raft
from coterie.core.records import Recovered
from coterie.core.replica import LogReader, Replica, SnapshotReader
from coterie.core.types import Index, MemberId, Nanos


class _Maker(Protocol):
    """How a protocol's replica is made: every protocol's class takes the same."""

    def __call__(
        self,
        *,
        own: MemberId,
        config: ReplicaConfig,
        recovered: Recovered,
        reader: LogReader,
        snapshots: SnapshotReader | None,
        applied: Index,
        rng: random.Random,
        now: Nanos,
    ) -> Replica: ...


_MAKERS: Final[Mapping[str, _Maker]] = {
    "raft": Raft,
    "multipaxos": MultiPaxos,
}
"""A protocol is added by a line here. Its name is kept on disk and told in handshakes: it never changes."""

PROTOCOLS: Final = tuple(_MAKERS)
"""The names, in the order in which they are listed to people."""

DEFAULT_PROTOCOL: Final = "raft"
"""What a new cluster runs if nobody says otherwise."""


LOG_MATCHING: Final = frozenset({"raft"})
"""The protocols in which two logs that agree in the epoch of a slot agree in all before it (Raft 5.3): so the entry at
a log's new base has the base's epoch. In the others it may be an older one, of what was not chosen."""


def make_replica(
    protocol: str,
    *,
    own: MemberId,
    config: ReplicaConfig,
    recovered: Recovered,
    reader: LogReader,
    snapshots: SnapshotReader | None = None,
    applied: Index,
    rng: random.Random,
    now: Nanos,
) -> Replica:
    """A replica of this protocol, started from what the disk holds. Raises `ConfigurationError`."""
    make = _MAKERS.get(protocol)
    if make is None:
        raise ConfigurationError(f"protocol is {protocol!r}: it must be one of: {', '.join(PROTOCOLS)}")
    return make(
        own=own,
        config=config,
        recovered=recovered,
        reader=reader,
        snapshots=snapshots,
        applied=applied,
        rng=rng,
        now=now,
    )
