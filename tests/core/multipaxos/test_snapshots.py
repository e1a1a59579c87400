"""A member's own snapshots, where ballots differ though values do not: a slot may be accepted again once chosen."""

from __future__ import annotations

import random

import msgspec
import pytest
from tests.core.one_member import BYTES, DATA, THREE, commands

from coterie.core.config import ReplicaConfig
from coterie.core.messages import Accept
from coterie.core.multipaxos.replica import MultiPaxos
from coterie.core.participant import Participant
from coterie.core.raft.replica import Raft
from coterie.core.records import Recovered, Reset, StoreBatch
from coterie.core.settings import Settings
from coterie.core.types import Entry, Epoch, HardState, Index, SnapshotMeta

OLD, NEWER = Epoch(1, 2), Epoch(4, 3)
BASE = SnapshotMeta(4, OLD, THREE, Settings())
AGAIN = msgspec.structs.replace(BASE, epoch=NEWER)
"""The same state, by the ballot in which its last slot was accepted later."""


class OnDisk:
    def entries(self, first: Index, last: Index, limit_bytes: int) -> list[Entry]:
        return [*commands(first, last + 1 - first, NEWER)]

    def chunk(self, index: Index, offset: int, limit_bytes: int) -> bytes:
        return DATA[offset : offset + limit_bytes]


def started(kind: type[MultiPaxos | Raft]) -> Participant:
    recovered = Recovered(
        hard_state=HardState(NEWER), base=BASE, last_index=6, epochs=((5, NEWER),), memberships=(), settings=()
    )
    disk = OnDisk()
    return kind(
        own=1, config=ReplicaConfig(), recovered=recovered, reader=disk, snapshots=disk, applied=4,
        rng=random.Random(1), now=0,
    )  # fmt: skip


def records(batch: StoreBatch | None) -> list[object]:
    return [] if batch is None else [*batch.records]


def test_a_start_on_a_snapshot_of_the_logs_base_in_another_ballot_resets_nothing() -> None:
    """What breaks without: the newest file is the one of the higher ballot, and the member never starts again."""
    member = started(MultiPaxos)
    member.snapshot_taken(0, AGAIN, BYTES)
    effects = member.drain(0)
    assert not any(isinstance(record, Reset) for record in records(effects.store))
    assert (member.commit, member.last_index) == (4, 6)


def test_a_snapshot_that_is_done_after_the_log_began_anew_at_its_index_is_one_like_another() -> None:
    """Seed 17 of 6 s: the state had been reached by the log, in ballot 4.3, while the log was reset to one of 1.2."""
    member = started(MultiPaxos)
    member.snapshot_taken(0, BASE, BYTES)
    assert records(member.drain(0).store) == []
    member.receive(0, 3, Accept(NEWER, 4, commands(5, 3, NEWER), 4, 1, 0, -1))
    assert records(member.drain(0).store), "it writes, so this is no start any more"
    member.snapshot_taken(0, AGAIN, BYTES)
    assert not any(isinstance(record, Reset) for record in records(member.drain(0).store))
    with pytest.raises(ValueError, match="membership or settings"):
        member.snapshot_taken(0, msgspec.structs.replace(AGAIN, settings=Settings(max_sessions=7)), BYTES)


def test_in_raft_an_index_has_one_epoch_and_another_is_an_error() -> None:
    member = started(Raft)
    with pytest.raises(ValueError, match="but the log has epoch"):
        member.snapshot_taken(0, AGAIN, BYTES)
