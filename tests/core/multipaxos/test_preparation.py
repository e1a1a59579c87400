"""Phase 1 of one ballot: what a proposer makes of promises, also of those that tell what they should not."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.one_member import EMPTY, THREE, first

from coterie.core.config import ReplicaConfig
from coterie.core.errors import SafetyViolation
from coterie.core.messages import Canvass, CanvassReply, Nack, Prepare, Promise
from coterie.core.multipaxos.preparation import MAX_HELD_RUNS, Preparation, Reports, Unreadable
from coterie.core.multipaxos.replica import MultiPaxos
from coterie.core.multipaxos.state import PaxosState
from coterie.core.records import Recovered
from coterie.core.settings import Settings
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch, HardState, Index, SnapshotMeta

OWN = 1
OLD, NEWER, BALLOT = Epoch(1, 2), Epoch(2, 3), Epoch(3, OWN)
RECOVERED = Recovered(
    hard_state=HardState(OLD), base=EMPTY, last_index=1, epochs=((1, NO_EPOCH),), memberships=(first(THREE),)
)


class NoLog:
    def entries(self, first_index: Index, last: Index, limit_bytes: int) -> list[Entry]:
        return [first(THREE)]


def command(index: Index, payload: bytes, ballot: Epoch = OLD) -> Entry:
    return Entry(index, ballot, EntryKind.COMMANDS, 0, payload)


def membership(index: Index, serial: int, ballot: Epoch, *voters: int) -> Entry:
    changed = msgspec.structs.replace(THREE, voters=voters, serial=serial)
    return Entry(index, ballot, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(changed))


def settings(index: Index, serial: int, ballot: Epoch, sessions: int) -> Entry:
    return Entry(
        index, ballot, EntryKind.SETTINGS, 0, msgspec.msgpack.encode(Settings(max_sessions=sessions, serial=serial))
    )


def promise(entries: tuple[Entry, ...], *, first: Index = 2, through: Index, last: Index, commit: Index = 1) -> Promise:
    return Promise(BALLOT, first, entries, through, last, commit)


class Phase1:
    """Member 1 of three, which holds the first membership alone, prepares `BALLOT`."""

    def __init__(self) -> None:
        self.state = PaxosState(OWN, ReplicaConfig(), RECOVERED, NoLog(), random.Random(1), 0)
        self.state.enter_epoch(BALLOT)
        self.preparation = Preparation(0, self.state, Reports(self.state), transfer=False)
        self.preparation.ask(0)

    def complete(self) -> bool:
        return self.preparation.complete

    def values(self) -> list[tuple[Index, Epoch, bytes]]:
        return [(e.index, e.epoch, e.payload) for e in self.preparation.recover().entries]


def test_what_was_chosen_is_adopted_as_it_is_and_what_may_have_been_is_proposed_again() -> None:
    phase = Phase1()
    assert phase.preparation.take(2, promise((command(2, b"a"), command(3, b"b")), through=3, last=3, commit=2))
    assert phase.preparation.recover().chosen == 2
    assert phase.values() == [(2, OLD, b"a"), (3, BALLOT, b"b")]


def test_a_slot_in_which_nobody_of_the_quorum_accepted_anything_is_filled_with_a_no_op() -> None:
    phase = Phase1()
    phase.preparation.take(2, promise((command(2, b"a"), command(4, b"c")), through=4, last=4))
    filled = phase.preparation.recover().entries[1]
    assert (filled.index, filled.epoch, filled.kind, filled.payload) == (3, BALLOT, EntryKind.NOOP, b"")
    assert [value[0] for value in phase.values()] == [2, 3, 4]


def test_what_a_member_learned_between_two_parts_of_its_promise_says_nothing_of_what_it_told_before() -> None:
    """It told of slot 2 what an old ballot left there, then installed a snapshot, and now knows slot 2 to be chosen."""
    phase = Phase1()
    assert not phase.preparation.take(2, promise((command(2, b"stale"),), through=2, last=3))
    assert phase.preparation.take(2, promise((command(3, b"b"),), first=3, through=3, last=3, commit=2))
    assert phase.preparation.recover().chosen == 1
    assert phase.values() == [(2, BALLOT, b"stale"), (3, BALLOT, b"b")]


def test_promises_count_by_the_membership_that_a_snapshot_brought_since() -> None:
    phase = Phase1()
    phase.preparation.whole.add(OWN)
    assert phase.preparation.take(2, promise((), through=1, last=1))
    assert phase.complete()
    larger = msgspec.structs.replace(THREE, phase_1=3, phase_2=1, serial=THREE.serial + 1)
    phase.state.reset(SnapshotMeta(5, OLD, larger, Settings()))
    assert not phase.complete()
    assert phase.preparation.take(3, promise((), through=1, last=1))
    assert phase.complete()


ballots = st.lists(st.integers(1, 3), max_size=12)


@given(ballots, st.dictionaries(st.integers(2, 16), st.integers(1, 4)), st.integers(2, 17))
def test_a_question_says_what_is_held_slot_by_slot(own: list[int], told: dict[int, int], first_slot: Index) -> None:
    phase = Phase1()
    phase.state.put([command(2 + at, b"", Epoch(round_, 2)) for at, round_ in enumerate(own)])
    reports = Reports(phase.state)
    for index, round_ in told.items():
        reports.add(command(index, b"", Epoch(round_, 2)))
    runs, last = reports.held(first_slot)
    assert last == max(first_slot - 1, 1 + len(own), max(told, default=0))
    assert [start for start, _ in runs] == sorted({start for start, _ in runs})
    assert all(one[1] != other[1] for one, other in pairwise(runs))
    for slot in range(first_slot, last + 1):
        expected = max(own[slot - 2] if slot - 2 < len(own) else 0, told.get(slot, 0))
        assert max(run for run in runs if run[0] <= slot)[1].round == expected


def test_a_question_is_bounded_and_says_up_to_where_it_goes() -> None:
    reports = Reports(Phase1().state)
    for index in range(2, 3 * MAX_HELD_RUNS):
        reports.add(command(index, b"", Epoch(1 + index % 2, 2)))
    runs, last = reports.held(2)
    assert len(runs) == MAX_HELD_RUNS
    assert last == 1 + MAX_HELD_RUNS


@pytest.mark.parametrize("rounds", [(3, 3), (1, 3), (3, 1), (1, 1)])
def test_the_newest_membership_is_of_those_that_win_in_their_slots(rounds: tuple[int, int]) -> None:
    """Held in ballot 2; told in others: the second one replaces the first by a command."""
    state = Phase1().state
    state.append((membership(2, THREE.serial + 1, Epoch(2, 2), 1, 2), membership(3, THREE.serial + 2, Epoch(2, 2), 1)))
    reports = Reports(state)
    assert reports.membership().voters == (1,)
    first_told, second_told = rounds
    reports.add(membership(2, THREE.serial + 1, Epoch(first_told, 2), 2, 3))
    reports.add(command(3, b"", Epoch(second_told, 2)))
    assert reports.membership().voters == (((2, 3) if first_told == 3 else (1, 2)) if second_told == 3 else (1,))
    reports.add(command(2, b"", Epoch(4, 2)))
    assert reports.membership() == THREE
    reports.clear()
    assert reports.membership().voters == (1,)


@pytest.mark.parametrize(
    "unsound",
    [
        promise((command(10**15, b"x"),), through=2, last=2),
        promise((command(1, b"x"),), through=2, last=2),
        promise((), through=1, last=5),
        promise((), through=0, last=5),
        promise((), through=3, last=3, commit=10**15),
    ],
)
def test_a_promise_that_tells_of_other_slots_than_it_claims_counts_for_nothing(unsound: Promise) -> None:
    phase = Phase1()
    assert not phase.preparation.take(2, unsound)
    assert not phase.preparation.whole
    assert phase.values() == []


def test_two_values_in_one_ballot_are_evidence() -> None:
    phase = Phase1()
    phase.preparation.take(2, promise((command(2, b"a"),), through=2, last=2))
    with pytest.raises(SafetyViolation, match="one ballot has two values"):
        phase.preparation.take(3, promise((command(2, b"b"),), through=2, last=2))


@pytest.mark.parametrize("kind", [EntryKind.MEMBERSHIP, EntryKind.SETTINGS])
def test_what_cannot_be_read_is_not_passed_over(kind: EntryKind) -> None:
    phase = Phase1()
    with pytest.raises(Unreadable, match="slot 2"):
        phase.preparation.take(2, promise((Entry(2, OLD, kind, 0, b"\xff"),), through=2, last=2))


def test_a_membership_that_was_made_from_what_was_not_chosen_becomes_a_no_op() -> None:
    phase = Phase1()
    told = (membership(2, 1, NEWER, 1, 2), membership(3, 1, OLD, 1, 3))
    phase.preparation.take(2, promise(told, through=3, last=3))
    assert phase.preparation.membership.voters == (1, 2)
    kinds = [entry.kind for entry in phase.preparation.recover().entries]
    assert kinds == [EntryKind.MEMBERSHIP, EntryKind.NOOP]


def test_settings_that_were_made_from_what_was_not_chosen_become_a_no_op() -> None:
    phase = Phase1()
    told = (settings(2, 1, NEWER, 7), settings(3, 1, OLD, 8))
    phase.preparation.take(2, promise(told, through=3, last=3))
    kinds = [entry.kind for entry in phase.preparation.recover().entries]
    assert kinds == [EntryKind.SETTINGS, EntryKind.NOOP]


def test_a_replica_that_is_promised_what_it_cannot_read_raises_an_alarm_and_no_exception() -> None:
    replica: Any = MultiPaxos(
        own=OWN,
        config=ReplicaConfig(),
        recovered=RECOVERED,
        reader=NoLog(),
        snapshots=None,
        applied=0,
        rng=random.Random(1),
        now=0,
    )
    now = replica.drain(0).deadline
    replica.wake(now)
    ((_, canvass), _) = replica.drain(now).send
    assert isinstance(canvass, Canvass)
    replica.receive(now, 2, CanvassReply(OLD, canvass.round, True))
    effects = replica.drain(now)
    ballot = effects.store.records[0].state.epoch
    assert all(isinstance(message, Prepare) for _, _, message in effects.send_after)
    replica.stored(now, effects.store.mark)
    unreadable = Entry(2, OLD, EntryKind.MEMBERSHIP, 0, b"\xff")
    replica.receive(now, 2, Promise(ballot, 2, (unreadable,), 2, 2, 1))
    alarm = replica.drain(now).alarm
    assert alarm is not None
    assert alarm.rule == "Every member understands every entry"


def test_who_cannot_tell_what_a_proposer_asks_for_does_not_promise_and_goes_on_from_its_ballot() -> None:
    """Else the member that is furthest would always canvass for a round that the others have passed."""
    base = SnapshotMeta(5, OLD, THREE, Settings())
    replica = MultiPaxos(
        own=OWN,
        config=ReplicaConfig(),
        recovered=Recovered(hard_state=HardState(OLD), base=base, last_index=5, epochs=(), memberships=()),
        reader=NoLog(),
        snapshots=None,
        applied=5,
        rng=random.Random(1),
        now=0,
    )
    due = replica.drain(0).deadline
    ballot = Epoch(7, 2)
    replica.receive(due - 1, 2, Prepare(ballot, 2, (), 1))
    effects = replica.drain(due - 1)
    answers = [m for _, m in effects.send] + [m for _, _, m in effects.send_after]
    assert answers == [Nack(ballot)]
    assert effects.deadline == due, "its own election is not put off (catalogue R14)"
    assert effects.store is not None
    replica.stored(due, effects.store.mark)
    replica.wake(due)
    assert {m.round for _, m in replica.drain(due).send if isinstance(m, Canvass)} == {8}
