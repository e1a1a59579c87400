"""A member's own snapshots where logs need not match: a slot's ballot says nothing of a chosen value."""

from __future__ import annotations

import random

import msgspec
from tests.core.one_member import EMPTY, THREE, first

from coterie.core.config import ReplicaConfig
from coterie.core.messages import Accept
from coterie.core.multipaxos.replica import MultiPaxos
from coterie.core.records import Recovered
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch, HardState, Index, SnapshotMeta

OLD, NEWER = Epoch(1, 2), Epoch(2, 3)
AGAIN = Entry(2, NEWER, EntryKind.COMMANDS, 0, b"chosen")
BEGAN_WITH = SnapshotMeta(2, OLD, THREE)
"""A snapshot of the state after the slot, from when it was held in a lower ballot."""


class Log:
    def entries(self, first_index: Index, last: Index, limit_bytes: int) -> list[Entry]:
        return [first(THREE), AGAIN][first_index - 1 : last]


def replica(recovered: Recovered) -> MultiPaxos:
    return MultiPaxos(
        own=1,
        config=ReplicaConfig(),
        recovered=recovered,
        reader=Log(),
        snapshots=None,
        applied=2,
        rng=random.Random(1),
        now=0,
    )


def test_the_snapshot_that_a_member_began_with_is_told_later_and_its_slot_stands_in_a_higher_ballot() -> None:
    member = replica(
        Recovered(
            hard_state=HardState(NEWER),
            base=EMPTY,
            last_index=2,
            epochs=((1, NO_EPOCH), (2, NEWER)),
            memberships=(first(THREE),),
        )
    )
    member.drain(0)
    member.receive(0, 3, Accept(Epoch(3, 3), 2, (), 2, 1, 0, -1))
    effects = member.drain(0)
    assert effects.store is not None
    member.stored(0, effects.store.mark)
    member.snapshot_taken(0, BEGAN_WITH, 100)
    assert (member.commit, member.last_index) == (2, 2)


def test_a_member_starts_on_a_log_that_was_compacted_to_a_slot_which_was_accepted_anew() -> None:
    base = msgspec.structs.replace(BEGAN_WITH, epoch=NEWER)
    member = replica(Recovered(hard_state=HardState(NEWER), base=base, last_index=2, epochs=(), memberships=()))
    member.snapshot_taken(0, BEGAN_WITH, 100)
    assert (member.commit, member.first_index, member.last_index) == (2, 3, 2)
    assert member.drain(0).store is None
