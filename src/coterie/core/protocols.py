"""The consensus protocols by name: the one place that knows which there are."""

from __future__ import annotations

import random

from coterie.core.config import ReplicaConfig
from coterie.core.errors import ConfigurationError
from coterie.core.multipaxos.replica import MultiPaxos
from coterie.core.raft.replica import Raft
from coterie.core.records import Recovered
from coterie.core.replica import LogReader, Replica, SnapshotReader
from coterie.core.types import Index, MemberId, Nanos

_REPLICAS: dict[str, type[Raft] | type[MultiPaxos]] = {"raft": Raft, "multipaxos": MultiPaxos}

PROTOCOLS = tuple(_REPLICAS)


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
    replica = _REPLICAS.get(protocol)
    if replica is None:
        raise ConfigurationError(f"protocol is {protocol!r}: it must be one of {', '.join(PROTOCOLS)}")
    return replica(
        own=own,
        config=config,
        recovered=recovered,
        reader=reader,
        snapshots=snapshots,
        applied=applied,
        rng=rng,
        now=now,
    )
