"""Each law of Multi-Paxos speaks up when it is broken, and is silent when it is not."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from coterie.core.messages import (
    Accept,
    Accepted,
    Canvass,
    InstallSnapshot,
    InstallSnapshotReply,
    Prepare,
    Promise,
)
from coterie.core.records import Compact, Put, Record, Reset, SaveHardState, StoreBatch, Truncate
from coterie.core.types import (
    Entry,
    EntryKind,
    Epoch,
    HardState,
    Index,
    Member,
    MemberId,
    Membership,
    Role,
    SnapshotMeta,
)
from coterie.sim.acceptances import Acceptances
from coterie.sim.judges import judge
from coterie.sim.shadow import ShadowLog, slot_of
from coterie.sim.statute import API, LAWS, MULTIPAXOS, RAFT, SHARED
from coterie.sim.verdict import Figures, Violation

ONE = Epoch(1, 1)
"""Member 1's first ballot."""
TWO, THREE, FOUR = Epoch(2, 2), Epoch(3, 3), Epoch(4, 1)


def entry(index: Index, ballot: Epoch = ONE, payload: bytes = b"x") -> Entry:
    return Entry(index, ballot, EntryKind.COMMANDS, 0, payload)


def group(
    *voters: MemberId, outgoing: tuple[MemberId, ...] = (), learners: tuple[MemberId, ...] = (), first: int = 0
) -> Membership:
    """`first`: so many of three elect; as few as meet them commit."""
    ids = sorted({*voters, *outgoing, *learners})
    return Membership(
        tuple(Member(i, f"n{i}", f"n{i}:1", "") for i in ids), voters, outgoing, learners, first, first and 4 - first
    )


def change(index: Index, ballot: Epoch, membership: Membership) -> Entry:
    numbered = msgspec.structs.replace(membership, serial=index - 1)  # changes of these scenes begin with slot 2
    return Entry(index, ballot, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(numbered))


def snapshot(index: Index, ballot: Epoch = ONE) -> SnapshotMeta:
    return SnapshotMeta(index, ballot, group(1, 2, 3))


def accept(ballot: Epoch, *entries: Entry, commit: Index = 0) -> Accept:
    return Accept(ballot, entries[0].index - 1 if entries else 0, entries, commit, 1, 0, -1)


def prepare(
    ballot: Epoch, first: Index = 1, held: tuple[tuple[Index, Epoch], ...] = (), held_last: Index = 0
) -> Prepare:
    return Prepare(ballot, first, held, held_last)


def promise(ballot: Epoch, *entries: Entry, first: Index = 1, last: Index | None = None, commit: Index = 0) -> Promise:
    through = entries[-1].index if entries else first - 1
    return Promise(ballot, first, entries, through, through if last is None else last, commit)


class Scene:
    """Members 1, 2 and 3 are voters and have just started; 4 is a stranger with an empty log."""

    def __init__(self, membership: Membership | None = None) -> None:
        self.figures = Figures()
        self.laws = judge("multipaxos", (1, 2, 3, 4), self.figures)
        self.laws.configurations.forced = True
        self._marks = dict.fromkeys((1, 2, 3, 4), 0)
        for member in (1, 2, 3, 4):
            log = ShadowLog()
            log.memberships = [(0, membership or group(1, 2, 3))]
            self.laws.started(member, 1, log)

    def store(
        self, member: MemberId, *records: Record, durable: bool = True, leads: bool = False, commit: int = 0
    ) -> None:
        self._marks[member] += 1
        role = Role.LEADER if leads else Role.FOLLOWER
        self.laws.store(member, StoreBatch(self._marks[member], records), role, commit)
        if durable:
            self.synced(member)

    def synced(self, member: MemberId) -> None:
        self.laws.stored(member, self._marks[member])

    def bind(self, member: MemberId, ballot: Epoch, durable: bool = True) -> None:
        """The member promises: it says so to its disk."""
        self.store(member, SaveHardState(HardState(ballot, 0)), durable=durable)

    def campaign(self, ballot: Epoch, *acceptors: MemberId, first: Index = 1, tell: tuple[Entry, ...] = ()) -> None:
        """The ballot's owner prepares it; these promise, and all tell the same."""
        self.bind(ballot.node, ballot)
        for acceptor in acceptors:
            self.laws.sent(ballot.node, acceptor, prepare(ballot, first))
            self.bind(acceptor, ballot)
            self.laws.sent(acceptor, ballot.node, promise(ballot, *tell, first=first))

    def lead(self, ballot: Epoch, *entries: Entry, commit: Index = 0) -> None:
        """The owner takes over: it speaks first, then what it wrote becomes known."""
        self.laws.sent(ballot.node, ballot.node % 3 + 1, accept(ballot))
        if entries:
            self.store(ballot.node, Put(entries), leads=True)
        self.laws.observe(ballot.node, ballot, commit, Role.LEADER)

    def accept(self, member: MemberId, *entries: Entry, durable: bool = True) -> None:
        ballot = self.laws.log_of(member).hard_state.epoch
        self.laws.sent(ballot.node, member, accept(ballot, *entries))
        self.store(member, Put(entries), durable=durable)

    def first_leader(self) -> None:
        """Member 1 leads, by the promise of member 2."""
        self.campaign(ONE, 2)
        self.lead(ONE)

    def commit_one(self) -> None:
        """Slot 1 is chosen in ballot ONE by members 1 and 2."""
        self.first_leader()
        self.laws.sent(1, 2, accept(ONE, entry(1)))
        self.store(1, Put((entry(1),)), leads=True)
        self.store(2, Put((entry(1),)))
        self.laws.sent(2, 1, Accepted(ONE, True, 1, 0, 1, 0))
        self.laws.observe(1, ONE, 1, Role.LEADER)

    def overrule(self) -> None:
        """Member 3 alone took slots 1 and 2 in ballot ONE; then 1 and 2 chose another value for slot 1 in TWO."""
        self.first_leader()
        self.bind(3, ONE)
        self.accept(3, entry(1, payload=b"mine"), entry(2, payload=b"mine"))
        self.campaign(TWO, 1)
        self.lead(TWO, entry(1, TWO))
        self.accept(1, entry(1, TWO))
        self.laws.observe(2, TWO, 1, Role.LEADER)
        self.bind(3, TWO)


# -- what is right ---------------------------------------------------------------------------------


def test_a_whole_round_of_replication_breaks_no_law() -> None:
    scene = Scene()
    scene.laws.sent(1, 2, Canvass(1, 0))
    scene.commit_one()
    scene.laws.sent(1, 2, accept(ONE, commit=1))
    scene.laws.observe(2, ONE, 1, Role.FOLLOWER)
    scene.store(2, Compact(snapshot(1)), commit=1)
    scene.bind(3, ONE)
    scene.laws.sent(1, 3, InstallSnapshot(ONE, snapshot(1), 10, 0, b"0123456789", 1))
    scene.store(3, Reset(snapshot(1)))
    scene.laws.sent(3, 1, InstallSnapshotReply(ONE, 1, 10, True, 1, 0))
    scene.laws.observe(3, ONE, 1, Role.FOLLOWER)
    assert (scene.laws.chosen, scene.figures.elections) == (1, 1)


def test_the_next_leader_writes_again_what_may_be_chosen_and_adopts_what_is() -> None:
    """Member 2 took slots 1 to 3 in ballot ONE; the first is known to be chosen. Member 3 has nothing."""
    scene = Scene()
    scene.commit_one()
    scene.laws.sent(1, 2, accept(ONE, entry(2), entry(3), commit=1))
    scene.store(1, Put((entry(2), entry(3))), leads=True, durable=False)
    scene.store(2, Put((entry(2), entry(3))))
    scene.laws.observe(2, ONE, 1, Role.FOLLOWER)
    scene.bind(3, THREE)
    scene.laws.sent(3, 2, prepare(THREE))
    scene.bind(2, THREE)
    scene.laws.sent(2, 3, Promise(THREE, 1, (entry(1), entry(2)), 2, 3, 1))
    scene.laws.sent(3, 2, prepare(THREE, 3))
    scene.laws.sent(2, 3, Promise(THREE, 3, (entry(3),), 3, 3, 1))
    taken = (entry(1), entry(2, THREE), entry(3, THREE), Entry(4, THREE, EntryKind.NOOP, 0, b""))
    # Its first words leave before what it wrote is handed to its disk.
    scene.laws.sent(3, 2, accept(THREE, *taken[1:], commit=1))
    scene.store(3, Put(taken), leads=True)
    scene.laws.observe(3, THREE, 1, Role.LEADER)
    scene.store(2, Put(taken[1:]))
    scene.laws.sent(2, 3, Accepted(THREE, True, 4, 0, 1, 0))
    scene.laws.observe(3, THREE, 4, Role.LEADER)
    # Member 1 slept, comes back, and overwrites: the values are the same, its ballots were others.
    scene.bind(1, THREE)
    scene.laws.observe(1, THREE, 1, Role.FOLLOWER)
    scene.laws.sent(3, 1, accept(THREE, *taken[1:], commit=4))
    scene.store(1, Put(taken[1:]))
    scene.laws.sent(1, 3, Accepted(THREE, True, 4, 0, 2, 0))
    scene.laws.observe(1, THREE, 4, Role.FOLLOWER)
    assert scene.laws.chosen == 4


def test_members_may_have_accepted_one_value_in_different_ballots() -> None:
    scene = Scene()
    scene.commit_one()
    scene.bind(3, THREE)
    scene.laws.sent(3, 2, prepare(THREE))
    scene.bind(2, THREE)
    scene.laws.sent(2, 3, promise(THREE, entry(1)))
    scene.lead(THREE, entry(1, THREE))
    scene.laws.observe(3, THREE, 1, Role.LEADER)
    assert scene.laws.log_of(3).epoch_at(1) != scene.laws.log_of(1).epoch_at(1)


def test_a_minority_s_value_may_be_replaced() -> None:
    scene = Scene()
    scene.first_leader()
    scene.store(1, Put((entry(1),)), leads=True)
    scene.campaign(THREE, 2)
    scene.lead(THREE, entry(1, THREE, b"other"))
    scene.accept(2, entry(1, THREE, b"other"))
    scene.laws.observe(3, THREE, 1, Role.LEADER)
    # Member 1 is overruled.
    scene.bind(1, THREE)
    scene.laws.sent(3, 1, accept(THREE, entry(1, THREE, b"other"), commit=1))
    scene.store(1, Put((entry(1, THREE, b"other"),)))
    scene.laws.sent(1, 3, Accepted(THREE, True, 1, 0, 1, 0))
    scene.laws.observe(1, THREE, 1, Role.FOLLOWER)


def test_what_the_proposer_holds_in_as_high_a_ballot_need_not_be_told() -> None:
    scene = Scene()
    scene.first_leader()
    for member in (1, 2, 3):
        scene.bind(member, ONE)
        scene.accept(member, entry(1), entry(2))
    scene.bind(3, THREE)
    scene.laws.sent(3, 2, prepare(THREE, 1, ((1, ONE),), 2))
    scene.bind(2, THREE)
    scene.laws.sent(2, 3, Promise(THREE, 1, (), 2, 2, 0))
    scene.lead(THREE, entry(1, THREE), entry(2, THREE))


def test_a_promise_that_comes_late_need_not_tell_what_the_new_leader_sent_since() -> None:
    scene = Scene()
    scene.commit_one()
    scene.campaign(TWO, 1, tell=(entry(1),))
    scene.bind(3, TWO, durable=False)
    scene.lead(TWO, commit=1)
    scene.laws.sent(2, 3, accept(TWO, entry(1), commit=1))
    scene.store(3, Put((entry(1),)))
    scene.laws.sent(3, 2, promise(TWO))


def test_a_promise_that_comes_late_need_not_tell_what_a_higher_ballot_s_leader_sent_since() -> None:
    scene = Scene()
    scene.commit_one()
    scene.bind(2, TWO)
    scene.laws.sent(2, 3, prepare(TWO))
    scene.bind(3, TWO, durable=False)
    scene.campaign(FOUR, 2, tell=(entry(1),))
    scene.lead(FOUR, commit=1)
    scene.bind(3, FOUR, durable=False)
    scene.laws.sent(1, 3, accept(FOUR, entry(1), commit=1))
    scene.store(3, Put((entry(1),)))
    scene.laws.sent(3, 2, promise(TWO))


def test_an_acknowledgement_may_leave_when_a_higher_ballot_has_overwritten_the_slot() -> None:
    scene = Scene()
    scene.first_leader()
    scene.accept(2, entry(1), durable=False)
    scene.bind(3, THREE)
    scene.laws.sent(3, 2, prepare(THREE))
    scene.bind(2, THREE)
    scene.laws.sent(2, 3, promise(THREE, entry(1)))
    scene.lead(THREE, entry(1, THREE))
    scene.accept(2, entry(1, THREE))
    scene.laws.sent(2, 1, Accepted(ONE, True, 1, 0, 1, 0))


def test_a_slot_may_be_acknowledged_as_chosen_before_anybody_was_seen_to_commit_it() -> None:
    """Its leader hears of the quorum and of a higher ballot in one step, and answers that ballot at once."""
    scene = Scene()
    scene.first_leader()
    scene.store(1, Put((entry(1),)), leads=True)
    scene.accept(2, entry(1))
    scene.campaign(THREE, 2, tell=(entry(1),))
    scene.lead(THREE, entry(1, THREE))
    scene.laws.sent(1, 3, Accepted(THREE, True, 1, 0, 1, 0))


def test_who_installed_a_lent_snapshot_in_the_middle_of_phase_1_asks_on_behind_it() -> None:
    scene = Scene()
    scene.first_leader()
    slots = [entry(index) for index in (1, 2, 3)]
    for member in (1, 2):
        scene.store(member, Put(tuple(slots)), leads=member == 1)
    scene.laws.observe(1, ONE, 3, Role.LEADER)
    for member in (3, 2):
        scene.bind(member, THREE)
    scene.laws.sent(3, 2, prepare(THREE))
    scene.laws.sent(2, 3, promise(THREE, slots[0], last=3))
    scene.store(3, Reset(snapshot(2)))
    scene.laws.sent(3, 2, prepare(THREE, 3))
    scene.laws.sent(2, 3, promise(THREE, slots[2], first=3))
    scene.lead(THREE, entry(3, THREE))


def test_a_snapshot_may_take_the_place_of_what_was_accepted_and_leaves_what_comes_after() -> None:
    scene = Scene()
    scene.overrule()
    scene.laws.sent(2, 3, InstallSnapshot(TWO, snapshot(1, TWO), 1, 0, b"x", 1))
    scene.store(3, Compact(snapshot(1, TWO)))
    scene.laws.sent(3, 2, InstallSnapshotReply(TWO, 1, 1, True, 1, 0))
    scene.laws.observe(3, TWO, 1, Role.FOLLOWER)
    assert (scene.laws.log_of(3).base, scene.laws.log_of(3).epoch_at(2)) == (1, ONE)


def test_a_membership_that_a_new_leader_writes_again_is_no_change_of_its_own() -> None:
    scene = Scene()
    scene.commit_one()
    joined = group(1, 2, 3, learners=(4,))
    scene.store(1, Put((change(2, ONE, joined),)), leads=True, commit=1)
    scene.accept(2, change(2, ONE, joined))
    scene.campaign(THREE, 2, tell=(entry(1), change(2, ONE, joined)))
    scene.lead(THREE, entry(1), change(2, THREE, joined))


def test_an_overwritten_membership_is_undone() -> None:
    scene = Scene()
    scene.commit_one()
    scene.store(1, Put((change(2, ONE, group(1, 2, 3, learners=(4,))),)), leads=True, commit=1)
    scene.campaign(THREE, 2, tell=(entry(1),))
    scene.lead(THREE, entry(1), entry(2, THREE))
    scene.bind(1, THREE)
    scene.accept(1, entry(2, THREE))
    assert scene.laws.log_of(1).membership == group(1, 2, 3)


def test_a_crash_may_leave_a_part_of_what_was_being_overwritten() -> None:
    scene = Scene()
    scene.first_leader()
    scene.accept(2, entry(1), entry(2))
    scene.campaign(THREE, 2, tell=(entry(1), entry(2)))
    scene.lead(THREE, entry(1, THREE), entry(2, THREE))
    found = scene.laws.log_of(2).copy()
    scene.accept(2, entry(1, THREE), entry(2, THREE), durable=False)
    found.put(1, slot_of(entry(1, THREE)))
    scene.laws.started(2, 2, found)
    assert scene.laws.log_of(2).epoch_at(2) == ONE


def test_quorums_count_by_their_phase() -> None:
    """Three elect, and each commits alone: one promise is too few, one copy is enough."""
    scene = Scene(group(1, 2, 3, first=3))
    scene.campaign(ONE, 2, 3)
    scene.lead(ONE, entry(1))
    scene.laws.observe(1, ONE, 1, Role.LEADER)
    assert scene.laws.chosen == 1
    scene.campaign(THREE, 2)
    with pytest.raises(Violation, match="promise-quorum"):
        scene.lead(THREE)


def test_quorums_that_elect_need_not_meet() -> None:
    """Each elects alone, for all of them commit: a ballot has but one owner."""
    scene = Scene(group(1, 2, 3, first=1))
    scene.campaign(ONE)
    scene.lead(ONE, entry(1))
    for member in (2, 3):
        scene.bind(member, ONE)
        scene.accept(member, entry(1))
    scene.laws.observe(1, ONE, 1, Role.LEADER)
    scene.store(1, Put((change(2, ONE, group(1, 2, 3, learners=(4,), first=1)),)), leads=True, commit=1)


# -- what is not -----------------------------------------------------------------------------------


def a_prepare_of_another_s_ballot(scene: Scene) -> None:
    scene.bind(1, TWO)
    scene.laws.sent(1, 3, prepare(TWO))


def an_accept_of_another_s_ballot(scene: Scene) -> None:
    scene.campaign(ONE, 2)
    scene.laws.sent(2, 3, accept(ONE))


def a_snapshot_of_another_s_ballot(scene: Scene) -> None:
    scene.laws.sent(2, 3, InstallSnapshot(ONE, snapshot(1), 1, 0, b"x", 1))


def an_entry_that_its_owner_never_sent(scene: Scene) -> None:
    scene.bind(2, ONE)
    scene.store(2, Put((entry(1),)))


def one_ballot_in_two_lives(scene: Scene) -> None:
    scene.first_leader()
    found = scene.laws.log_of(1).copy()
    scene.laws.started(1, 2, found)
    scene.lead(ONE)


def a_prepare_from_memory(scene: Scene) -> None:
    scene.bind(1, ONE, durable=False)
    scene.laws.sent(1, 2, prepare(ONE))


def a_stranger_that_prepares(scene: Scene) -> None:
    ballot = Epoch(1, 4)
    scene.bind(4, ballot)
    scene.laws.sent(4, 1, prepare(ballot))


def a_stranger_that_canvasses(scene: Scene) -> None:
    scene.laws.sent(4, 1, Canvass(1, 0))


def a_prepare_that_leaves_slots_out(scene: Scene) -> None:
    scene.bind(1, ONE)
    scene.laws.sent(1, 2, prepare(ONE, 3))


def a_prepare_that_goes_on_before_it_was_told(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1), entry(2))
    scene.bind(3, THREE)
    scene.laws.sent(3, 2, prepare(THREE))
    scene.bind(2, THREE)
    scene.laws.sent(2, 3, promise(THREE, entry(1), last=2))
    scene.laws.sent(3, 2, prepare(THREE, 3))


def a_claim_to_hold_what_is_not_there(scene: Scene) -> None:
    scene.bind(3, THREE)
    scene.laws.sent(3, 2, prepare(THREE, 1, ((1, ONE),), 1))


def a_claim_to_hold_a_higher_ballot(scene: Scene) -> None:
    scene.first_leader()
    scene.bind(3, ONE)
    scene.accept(3, entry(1))
    scene.bind(3, THREE)
    scene.laws.sent(3, 2, prepare(THREE, 1, ((1, TWO),), 1))


def a_promise_from_memory(scene: Scene) -> None:
    scene.bind(1, ONE)
    scene.laws.sent(1, 2, prepare(ONE))
    scene.bind(2, ONE, durable=False)
    scene.laws.sent(2, 1, promise(ONE))


def a_report_from_memory(scene: Scene) -> None:
    scene.campaign(THREE, 1)
    scene.lead(THREE, entry(1, THREE))
    scene.bind(2, THREE)
    scene.accept(2, entry(1, THREE), durable=False)
    scene.laws.sent(2, 3, promise(THREE, entry(1, THREE)))


def a_report_of_what_it_never_had(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1))
    scene.campaign(THREE, 1, tell=(entry(1),))


def a_report_of_another_value(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1))
    scene.campaign(THREE, 2, tell=(entry(1, payload=b"other"),))


def a_promise_that_tells_nothing(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1))
    scene.campaign(THREE, 2)


def a_promise_with_a_slot_left_out(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1), entry(2), entry(3))
    scene.campaign(THREE, 2, tell=(entry(1), entry(3)))


def a_promise_that_ends_too_early(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1), entry(2))
    scene.campaign(THREE, 2, tell=(entry(1),))


def a_promise_that_trusts_a_lower_ballot(scene: Scene) -> None:
    """The proposer holds the slot in ballot ONE, the acceptor in TWO."""
    scene.first_leader()
    scene.bind(3, ONE)
    scene.accept(3, entry(1))
    scene.campaign(TWO, 1)
    scene.lead(TWO, entry(1, TWO, b"other"))
    scene.bind(3, THREE)
    scene.laws.sent(3, 2, prepare(THREE, 1, ((1, ONE),), 1))
    scene.bind(2, THREE)
    scene.laws.sent(2, 3, Promise(THREE, 1, (), 1, 1, 0))


def a_lower_ballot_accepted(scene: Scene) -> None:
    scene.first_leader()
    scene.bind(2, THREE)
    scene.laws.sent(1, 2, accept(ONE, entry(1)))
    scene.store(2, Put((entry(1),)))


def a_higher_ballot_accepted_without_a_promise(scene: Scene) -> None:
    scene.first_leader()
    scene.laws.sent(1, 3, accept(ONE, entry(1)))
    scene.store(3, Put((entry(1),)))


def a_promise_forgotten(scene: Scene) -> None:
    scene.bind(2, THREE)
    scene.laws.started(2, 2, scene.laws.log_of(2).copy())
    scene.laws.sent(2, 1, promise(ONE))


def an_acknowledgement_of_a_lower_ballot_after_a_restart(scene: Scene) -> None:
    scene.first_leader()
    scene.bind(2, THREE)
    scene.laws.started(2, 2, scene.laws.log_of(2).copy())
    scene.laws.sent(2, 1, Accepted(ONE, True, 0, 0, 1, 0))


def two_values_sent_in_one_ballot(scene: Scene) -> None:
    scene.first_leader()
    scene.laws.sent(1, 2, accept(ONE, entry(1, payload=b"a")))
    scene.laws.sent(1, 3, accept(ONE, entry(1, payload=b"b")))


def two_values_written_in_one_ballot(scene: Scene) -> None:
    scene.first_leader()
    scene.store(1, Put((entry(1, payload=b"a"),)), leads=True)
    scene.store(2, Put((entry(1, payload=b"b"),)))


def an_own_value_in_place_of_a_chosen_one(scene: Scene) -> None:
    """Nobody has committed it yet, but two disks hold it. Member 1 promised, and forgot it."""
    scene.first_leader()
    scene.store(1, Put((entry(1),)), leads=True)
    scene.accept(2, entry(1))
    scene.bind(3, THREE)
    scene.laws.sent(3, 2, prepare(THREE))
    scene.bind(2, THREE)
    scene.laws.sent(2, 3, promise(THREE, entry(1)))
    scene.lead(THREE, entry(1, THREE, b"other"))


def a_report_that_is_not_heeded(scene: Scene) -> None:
    """Chosen only afterwards, when the disk of one that accepted before it promised is done."""
    scene.first_leader()
    scene.store(1, Put((entry(1),)), leads=True)
    scene.accept(2, entry(1), durable=False)
    scene.campaign(THREE, 1, tell=(entry(1),))
    scene.lead(THREE, entry(1, THREE, b"other"))
    scene.synced(2)


def an_older_entry_that_was_not_chosen(scene: Scene) -> None:
    scene.first_leader()
    scene.store(1, Put((entry(1),)), leads=True)
    scene.campaign(FOUR, 2)
    scene.laws.sent(1, 2, accept(FOUR, entry(1)))


def a_quorum_of_whom_one_has_not_told_all(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1), entry(2))
    scene.campaign(THREE)
    scene.laws.sent(3, 2, prepare(THREE))
    scene.bind(2, THREE)
    scene.laws.sent(2, 3, promise(THREE, entry(1), last=2))
    scene.lead(THREE, entry(1, THREE))


def a_leader_by_promises_of_an_older_ballot(scene: Scene) -> None:
    scene.campaign(ONE, 2, 3)
    scene.bind(1, FOUR)
    scene.lead(FOUR)


def a_leader_by_a_stranger_s_promise(scene: Scene) -> None:
    scene.campaign(ONE, 4)
    scene.lead(ONE)


def a_leader_by_the_old_half_of_a_joint_membership(scene: Scene) -> None:
    """Phase 1 reveals a joint membership; the quorum was one of the old membership alone."""
    scene.commit_one()
    joint = change(2, ONE, group(1, 4, outgoing=(1, 2, 3)))
    scene.store(1, Put((joint,)), leads=True, commit=1)
    scene.accept(2, joint)
    scene.campaign(THREE, 2, tell=(entry(1), joint))
    scene.lead(THREE, entry(1), msgspec.structs.replace(joint, epoch=THREE))


def a_leader_without_a_durable_ballot(scene: Scene) -> None:
    scene.bind(1, ONE, durable=False)
    for member in (2, 3):
        scene.bind(member, ONE)
        scene.laws.sent(member, 1, promise(ONE))
    scene.lead(ONE)


def an_acceptance_from_memory(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1), durable=False)
    scene.laws.sent(2, 1, Accepted(ONE, True, 1, 0, 1, 0))


def an_acknowledgement_of_what_was_accepted_in_an_older_ballot(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1))
    scene.campaign(THREE, 2, tell=(entry(1),))
    scene.lead(THREE, entry(1, THREE))
    scene.laws.sent(2, 3, Accepted(THREE, True, 1, 0, 1, 0))


def an_acknowledgement_over_a_slot_of_an_older_ballot(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1))
    scene.campaign(THREE, 2, tell=(entry(1),))
    scene.lead(THREE, entry(1, THREE), entry(2, THREE))
    scene.accept(2, entry(2, THREE))
    scene.laws.sent(2, 3, Accepted(THREE, True, 2, 0, 1, 0))


def a_snapshot_that_is_not_there(scene: Scene) -> None:
    scene.commit_one()
    scene.laws.sent(3, 1, InstallSnapshotReply(ONE, 1, 10, True, 1, 0))


def a_gap(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(2))


def a_slot_overwritten_in_its_own_ballot(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1))
    scene.accept(2, entry(1))


def a_truncated_log(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1))
    scene.store(2, Truncate(1))


def a_reset_that_forgets_later_slots(scene: Scene) -> None:
    scene.commit_one()
    scene.bind(3, ONE)
    scene.accept(3, entry(1), entry(2))
    scene.store(3, Reset(snapshot(1)))


def a_reset_to_what_was_not_chosen(scene: Scene) -> None:
    scene.store(2, Reset(snapshot(7)))


def a_reset_that_takes_back(scene: Scene) -> None:
    scene.commit_one()
    scene.store(1, Reset(snapshot(1)))


def a_log_that_forgets_what_was_not_chosen(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1))
    scene.store(2, Compact(snapshot(1)))


def a_log_that_forgets_what_it_does_not_reach(scene: Scene) -> None:
    scene.commit_one()
    scene.store(3, Compact(snapshot(1)))


def a_commit_of_what_one_disk_held(scene: Scene) -> None:
    scene.first_leader()
    scene.store(1, Put((entry(1),)), leads=True)
    scene.accept(2, entry(1), durable=False)
    scene.laws.observe(1, ONE, 1, Role.LEADER)


def a_commit_over_a_slot_that_one_disk_held(scene: Scene) -> None:
    """Member 2 has slot 2 in the ballot that commits it, and in slot 1 something else."""
    scene.campaign(TWO, 3)
    scene.lead(TWO, entry(1, TWO, b"mine"))
    scene.campaign(FOUR, 3)
    scene.lead(FOUR, entry(1, FOUR), entry(2, FOUR))
    scene.bind(2, FOUR)
    scene.accept(2, entry(2, FOUR))
    scene.laws.observe(1, FOUR, 2, Role.LEADER)


def a_commit_by_two_ballots_together(scene: Scene) -> None:
    """Members 1 and 2 hold one value, but each in another ballot: none of them chose it."""
    scene.first_leader()
    scene.store(1, Put((entry(1),)), leads=True)
    scene.campaign(TWO, 3)
    scene.lead(TWO, entry(1, TWO))
    scene.laws.observe(2, TWO, 1, Role.LEADER)


def a_commit_at_a_learner_that_counts(scene: Scene) -> None:
    scene.first_leader()
    scene.store(1, Put((entry(1),)), leads=True)
    scene.bind(4, ONE)
    scene.accept(4, entry(1))
    scene.laws.observe(1, ONE, 1, Role.LEADER)


def another_choice(scene: Scene) -> None:
    """Member 3 hears that slot 1 is chosen, and takes what it holds there for it."""
    scene.overrule()
    scene.laws.observe(3, TWO, 1, Role.FOLLOWER)


def a_leader_that_lacks_what_was_chosen(scene: Scene) -> None:
    scene.commit_one()
    scene.campaign(THREE, 2, tell=(entry(1),))
    scene.lead(THREE)


def a_leader_without_what_is_found_to_be_chosen(scene: Scene) -> None:
    """Nobody knew that slot 1 was chosen when member 3 began to lead without it."""
    scene.first_leader()
    scene.store(1, Put((entry(1),)), leads=True)
    scene.accept(2, entry(1))
    scene.campaign(THREE, 2, tell=(entry(1),))
    scene.lead(THREE)
    scene.laws.observe(1, ONE, 1, Role.LEADER)


def a_change_upon_a_change(scene: Scene) -> None:
    scene.commit_one()
    scene.store(1, Put((change(2, ONE, group(1, 2, 3, learners=(4,))),)), leads=True, commit=1)
    scene.store(1, Put((change(3, ONE, group(1, 2, 3)),)), leads=True, commit=1)


def a_change_without_a_joint_phase(scene: Scene) -> None:
    scene.commit_one()
    scene.store(1, Put((change(2, ONE, group(1, 4)),)), leads=True, commit=1)


def a_disk_that_takes_back_an_overwriting(scene: Scene) -> None:
    scene.first_leader()
    scene.accept(2, entry(1))
    scene.campaign(THREE, 2, tell=(entry(1),))
    scene.lead(THREE, entry(1, THREE))
    found = scene.laws.log_of(2).copy()
    scene.accept(2, entry(1, THREE))
    scene.laws.started(2, 2, found)


CRIMES: list[tuple[str, Callable[[Scene], None]]] = [
    ("ballot-owner", a_prepare_of_another_s_ballot),
    ("ballot-owner", an_accept_of_another_s_ballot),
    ("ballot-owner", a_snapshot_of_another_s_ballot),
    ("ballot-owner", an_entry_that_its_owner_never_sent),
    ("one-leader", one_ballot_in_two_lives),
    ("candidacy-durable", a_prepare_from_memory),
    ("candidacy-durable", a_leader_without_a_durable_ballot),
    ("voter-leads", a_stranger_that_prepares),
    ("voter-leads", a_stranger_that_canvasses),
    ("prepare-covers", a_prepare_that_leaves_slots_out),
    ("prepare-covers", a_prepare_that_goes_on_before_it_was_told),
    ("held-true", a_claim_to_hold_what_is_not_there),
    ("held-true", a_claim_to_hold_a_higher_ballot),
    ("promise-durable", a_promise_from_memory),
    ("promise-durable", a_report_from_memory),
    ("promise-durable", a_report_of_what_it_never_had),
    ("promise-reports", a_promise_that_tells_nothing),
    ("promise-reports", a_promise_with_a_slot_left_out),
    ("promise-reports", a_promise_that_ends_too_early),
    ("promise-reports", a_promise_that_trusts_a_lower_ballot),
    ("promise-kept", a_lower_ballot_accepted),
    ("promise-kept", a_higher_ballot_accepted_without_a_promise),
    ("promise-kept", a_promise_forgotten),
    ("promise-kept", an_acknowledgement_of_a_lower_ballot_after_a_restart),
    ("one-value", a_report_of_another_value),
    ("one-value", two_values_sent_in_one_ballot),
    ("one-value", two_values_written_in_one_ballot),
    ("later-ballots-agree", an_own_value_in_place_of_a_chosen_one),
    ("later-ballots-agree", a_report_that_is_not_heeded),
    ("learned-chosen", an_older_entry_that_was_not_chosen),
    ("promise-quorum", a_quorum_of_whom_one_has_not_told_all),
    ("promise-quorum", a_leader_by_promises_of_an_older_ballot),
    ("promise-quorum", a_leader_by_a_stranger_s_promise),
    ("promise-quorum", a_leader_by_the_old_half_of_a_joint_membership),
    ("acceptance-durable", an_acceptance_from_memory),
    ("acceptance-durable", an_acknowledgement_of_what_was_accepted_in_an_older_ballot),
    ("acceptance-durable", an_acknowledgement_over_a_slot_of_an_older_ballot),
    ("acceptance-durable", a_snapshot_that_is_not_there),
    ("slots-in-order", a_gap),
    ("slots-in-order", a_slot_overwritten_in_its_own_ballot),
    ("nothing-truncated", a_truncated_log),
    ("accepted-kept", a_reset_that_forgets_later_slots),
    ("snapshot-chosen", a_reset_to_what_was_not_chosen),
    ("snapshot-newer", a_reset_that_takes_back),
    ("log-forgets-applied", a_log_that_forgets_what_was_not_chosen),
    ("log-forgets-applied", a_log_that_forgets_what_it_does_not_reach),
    ("log-kept", a_disk_that_takes_back_an_overwriting),
    ("commit-quorum", a_commit_of_what_one_disk_held),
    ("commit-quorum", a_commit_over_a_slot_that_one_disk_held),
    ("commit-quorum", a_commit_by_two_ballots_together),
    ("commit-quorum", a_commit_at_a_learner_that_counts),
    ("chosen-stays", another_choice),
    ("leader-completeness", a_leader_that_lacks_what_was_chosen),
    ("leader-completeness", a_leader_without_what_is_found_to_be_chosen),
    ("one-change", a_change_upon_a_change),
    ("quorums-meet", a_change_without_a_joint_phase),
]


@pytest.mark.parametrize(("law", "crime"), CRIMES, ids=lambda each: getattr(each, "__name__", ""))
def test_each_crime_is_named(law: str, crime: Callable[[Scene], None]) -> None:
    with pytest.raises(Violation) as caught:
        crime(Scene())
    assert caught.value.check == law


def test_every_law_of_the_protocol_has_a_crime() -> None:
    assert {law for law, _ in CRIMES} >= set(MULTIPAXOS)
    assert len(LAWS) == len(SHARED) + len(RAFT) + len(MULTIPAXOS) + len(API)


def test_what_an_old_ballots_few_accepted_was_not_chosen_because_they_are_all_of_the_group_now() -> None:
    """Seed 1068: the group shrank to member 1, which alone had the value in an old ballot; another came between."""
    acceptances, everyone, alone = Acceptances(), group(1, 2, 3), group(1)
    old, between, new = (slot_of(entry(1, *each)) for each in ((ONE, b"x"), (THREE, b"y"), (FOUR, b"x")))
    acceptances.counts(ONE, everyone)
    acceptances.proposed(1, 1, old)
    acceptances.stored(1, 1, old)
    acceptances.proposed(3, 1, between)
    acceptances.counts(FOUR, everyone)
    acceptances.proposed(1, 1, new)
    acceptances.stored(1, 1, new)
    with pytest.raises(Violation, match="commit-quorum"):
        acceptances.check_quorum(1, new, [everyone])
    acceptances.stored(3, 1, new)
    acceptances.check_quorum(1, new, [alone])
    with pytest.raises(Violation, match="later-ballots-agree"):
        acceptances.proposed(2, 1, slot_of(entry(1, Epoch(5, 2), b"y")))
