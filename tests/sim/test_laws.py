"""Each law of the simulated world speaks up when it is broken, and is silent when it is not."""

from __future__ import annotations

import msgspec
import pytest

from coterie.core.messages import Append, AppendReply, InstallSnapshotReply, PreVote, RequestVote, VoteReply
from coterie.core.records import Compact, Put, Reset, SaveHardState, StoreBatch, Truncate
from coterie.core.types import (
    NO_EPOCH,
    Entry,
    EntryKind,
    Epoch,
    HardState,
    Member,
    MemberId,
    Membership,
    Repair,
    Role,
    SnapshotMeta,
)
from coterie.machine.interface import Batch
from coterie.sim.applied import Standing
from coterie.sim.configurations import quorums_meet
from coterie.sim.raft_laws import RaftLaws
from coterie.sim.shadow import ShadowLog, slot_of
from coterie.sim.verdict import Figures, Violation

ONE, TWO = Epoch(1, 0), Epoch(2, 0)


def entry(index: int, epoch: Epoch = ONE, payload: bytes = b"x") -> Entry:
    return Entry(index, epoch, EntryKind.COMMANDS, 0, payload)


def group(
    *voters: MemberId,
    outgoing: tuple[MemberId, ...] = (),
    learners: tuple[MemberId, ...] = (),
    sizes: tuple[int, ...] = (),
) -> Membership:
    """`sizes`: of quorums that elect, that commit; the same of the outgoing ones."""
    ids = sorted({*voters, *outgoing, *learners})
    return Membership(tuple(Member(i, f"n{i}", f"n{i}:1", "") for i in ids), voters, outgoing, learners, *sizes)


def change(index: int, epoch: Epoch, membership: Membership) -> Entry:
    numbered = msgspec.structs.replace(membership, serial=index - 1)  # changes of these scenes begin with entry 2
    return Entry(index, epoch, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(numbered))


def empty(*voters: MemberId, sizes: tuple[int, ...] = ()) -> ShadowLog:
    log = ShadowLog()
    log.memberships = [(0, group(*voters, sizes=sizes))]
    return log


class Scene:
    """Members 1, 2 and 3 are voters and have just started with empty disks; 4 is a stranger."""

    def __init__(self, *sizes: int) -> None:
        self.laws = RaftLaws((1, 2, 3, 4), Figures())
        self.laws.configurations.forced = True  # Nobody asks who is ready, but the test of just that.
        self._marks = dict.fromkeys((1, 2, 3, 4), 0)
        for member in (1, 2, 3, 4):
            self.laws.started(member, 1, empty(1, 2, 3, sizes=sizes))

    def store(
        self,
        member: int,
        *records: Put | Truncate | SaveHardState | Compact | Reset,
        durable: bool = True,
        leads: bool = False,
        commit: int = 0,
    ) -> None:
        self._marks[member] += 1
        role = Role.LEADER if leads else Role.FOLLOWER
        self.laws.store(member, StoreBatch(self._marks[member], records), role, commit)
        if durable:
            self.laws.stored(member, self._marks[member])

    def vote(self, member: int, epoch: Epoch, candidate: int) -> None:
        self.store(member, SaveHardState(HardState(epoch, candidate)))
        if member != candidate:
            self.laws.sent(member, candidate, VoteReply(epoch, True))

    def leader(self, member: int, epoch: Epoch, commit: int = 0) -> None:
        self.vote(member, epoch, member)
        self.vote(member % 3 + 1, epoch, member)
        self.laws.observe(member, epoch, commit, Role.LEADER)


def snapshot(index: int, epoch: Epoch = ONE) -> SnapshotMeta:
    return SnapshotMeta(index, epoch, group(1, 2, 3))


def append(epoch: Epoch) -> Append:
    return Append(epoch, 0, NO_EPOCH, (), 0, 1, 0, -1)


def ack(epoch: Epoch, index: int) -> AppendReply:
    return AppendReply(epoch, True, index, 0, NO_EPOCH, 1, 0)


def test_a_whole_round_of_replication_breaks_no_law() -> None:
    scene = Scene()
    scene.leader(1, ONE)
    scene.laws.sent(1, 2, append(ONE))
    scene.store(1, Put((entry(1),)))
    scene.store(2, Put((entry(1),)))
    scene.laws.sent(2, 1, ack(ONE, 1))
    scene.laws.observe(1, ONE, 1, Role.LEADER)
    scene.laws.observe(2, ONE, 1, Role.FOLLOWER)
    assert scene.laws.chosen == 1
    scene.store(2, Compact(snapshot(1)), commit=1)
    scene.store(3, Reset(snapshot(1)))
    scene.laws.sent(3, 1, InstallSnapshotReply(ONE, 1, 10, True, 1, 0))
    scene.laws.observe(3, ONE, 1, Role.FOLLOWER)
    scene.laws.machines.resumed(3, Standing(1, 0, 1), b"state")


def test_an_entry_is_overwritten_only_after_it_was_truncated() -> None:
    scene = Scene()
    scene.store(2, Put((entry(1), entry(2))))
    with pytest.raises(Violation, match="log-matching"):
        scene.store(2, Put((entry(2, TWO),)))


def test_who_commits_a_removal_alone_may_act_on_it_in_the_same_step() -> None:
    scene = Scene()
    scene.leader(1, ONE)
    for at, membership in ((1, group(1, 2, 3)), (2, group(1, outgoing=(1, 2, 3)))):
        for member in (1, 2):
            scene.store(member, Put((change(at, ONE, membership),)), leads=member == 1, commit=at - 1)
        scene.laws.observe(1, ONE, at, Role.LEADER)
    scene.store(1, Put((change(3, ONE, group(1)),)), leads=True, commit=2)
    scene.laws.observe(1, ONE, 2, Role.LEADER)
    scene.laws.removed(3, 1, 3)


def test_a_vote_may_leave_when_a_later_epoch_is_on_disk() -> None:
    scene = Scene()
    scene.store(2, SaveHardState(HardState(TWO, 1)))
    scene.laws.sent(2, 1, VoteReply(ONE, True))
    with pytest.raises(Violation, match="one-vote"):
        scene.laws.sent(2, 3, VoteReply(ONE, True))


def two_leaders(scene: Scene) -> None:
    scene.leader(1, ONE)
    scene.laws.observe(2, ONE, 0, Role.LEADER)


def two_votes(scene: Scene) -> None:
    scene.store(3, SaveHardState(HardState(ONE, 1)))
    scene.store(3, SaveHardState(HardState(ONE, 2)))


def entries_that_differ(scene: Scene) -> None:
    scene.store(1, Put((entry(1, payload=b"a"),)))
    scene.store(2, Put((entry(1, payload=b"b"),)))


def an_entry_of_an_epoch_to_come(scene: Scene) -> None:
    scene.store(1, SaveHardState(HardState(ONE, 1)))
    scene.store(1, Put((entry(1, TWO),)))


def predecessors_that_differ(scene: Scene) -> None:
    scene.store(1, Put((entry(1, ONE), entry(2, TWO))))
    scene.store(2, Put((entry(1, TWO), entry(2, TWO))))


def a_leader_that_lacks_a_committed_entry(scene: Scene) -> None:
    commit_one(scene)
    scene.leader(3, TWO)


def commit_one(scene: Scene) -> None:
    scene.leader(1, ONE)
    for member in (1, 2):
        scene.store(member, Put((entry(1),)))
    scene.laws.observe(1, ONE, 1, Role.LEADER)


def another_choice(scene: Scene) -> None:
    commit_one(scene)
    scene.store(3, Put((entry(1, TWO),)))
    scene.laws.observe(3, TWO, 1, Role.FOLLOWER)


def a_committed_entry_dropped(scene: Scene) -> None:
    commit_one(scene)
    scene.store(2, Truncate(1))


def a_commit_of_what_one_disk_holds(scene: Scene) -> None:
    scene.leader(1, ONE)
    scene.store(1, Put((entry(1),)))
    scene.store(2, Put((entry(1),)), durable=False)
    scene.laws.observe(1, ONE, 1, Role.LEADER)


def a_commit_of_an_older_epoch_by_counting(scene: Scene) -> None:
    scene.leader(1, ONE)
    scene.store(1, Put((entry(1),)))
    scene.store(2, Put((entry(1),)))
    scene.leader(1, TWO)
    scene.laws.observe(1, TWO, 1, Role.LEADER)


def a_commit_of_nothing(scene: Scene) -> None:
    scene.laws.observe(1, ONE, 1, Role.FOLLOWER)


def a_commit_that_goes_back(scene: Scene) -> None:
    commit_one(scene)
    scene.laws.observe(1, ONE, 0, Role.LEADER)


def an_epoch_that_goes_back(scene: Scene) -> None:
    scene.laws.observe(1, TWO, 0, Role.FOLLOWER)
    scene.laws.observe(1, ONE, 0, Role.FOLLOWER)


def a_vote_from_memory(scene: Scene) -> None:
    scene.store(2, SaveHardState(HardState(ONE, 1)), durable=False)
    scene.laws.sent(2, 1, VoteReply(ONE, True))


def a_candidate_from_memory(scene: Scene) -> None:
    scene.store(1, SaveHardState(HardState(ONE, 1)), durable=False)
    scene.laws.sent(1, 2, RequestVote(ONE, 0, NO_EPOCH))


def an_acknowledgement_from_memory(scene: Scene) -> None:
    scene.store(2, Put((entry(1),)), durable=False)
    scene.laws.sent(2, 1, ack(ONE, 1))


def a_disk_that_forgets(scene: Scene) -> None:
    scene.store(2, Put((entry(1),)))
    scene.laws.started(2, 2, empty(1, 2, 3))


def a_disk_that_invents(scene: Scene) -> None:
    found = empty(1, 2, 3)
    found.put(1, slot_of(entry(1)))
    scene.laws.started(2, 2, found)


def a_leader_that_few_voted_for(scene: Scene) -> None:
    scene.vote(1, ONE, 1)
    scene.vote(4, ONE, 1)
    scene.laws.observe(1, ONE, 0, Role.LEADER)


def a_stranger_that_campaigns(scene: Scene) -> None:
    scene.store(4, SaveHardState(HardState(ONE, 4)))
    scene.laws.sent(4, 1, RequestVote(ONE, 0, NO_EPOCH))


def a_copy_at_a_learner_that_counts(scene: Scene) -> None:
    scene.leader(1, ONE)
    scene.store(1, Put((entry(1),)))
    scene.store(4, Put((entry(1),)))
    scene.laws.observe(1, ONE, 1, Role.LEADER)


def a_joint_commit_by_one_half(scene: Scene) -> None:
    scene.leader(1, ONE)
    joint = group(1, 4, outgoing=(1, 2, 3))
    for member in (1, 4):
        scene.store(member, Put((change(1, ONE, joint),)), leads=member == 1)
    scene.laws.observe(1, ONE, 0, Role.LEADER)
    scene.laws.observe(1, ONE, 1, Role.LEADER)


def a_change_without_a_joint_phase(scene: Scene) -> None:
    scene.leader(1, ONE)
    scene.store(1, Put((change(1, ONE, group(1, 4)),)), leads=True)


def a_leader_that_a_majority_elects_where_all_must(scene: Scene) -> None:
    Scene(3, 1).leader(1, ONE)


def a_commit_of_a_majority_where_all_must(scene: Scene) -> None:
    commit_one(Scene(2, 3))


def a_commit_of_the_new_sizes_before_the_old_ones_are_left(scene: Scene) -> None:
    scene.leader(1, ONE)
    joint = group(1, 2, 3, outgoing=(1, 2, 3), sizes=(3, 1))
    scene.store(1, Put((change(1, ONE, joint),)), leads=True)
    scene.laws.observe(1, ONE, 0, Role.LEADER)
    scene.laws.observe(1, ONE, 1, Role.LEADER)


def sizes_that_change_without_a_joint_phase(scene: Scene) -> None:
    scene.leader(1, ONE)
    scene.store(1, Put((change(1, ONE, group(1, 2, 3, sizes=(3, 1))),)), leads=True)


def sizes_that_need_not_meet(scene: Scene) -> None:
    scene.leader(1, ONE)
    joint = group(1, 2, 3, 4, outgoing=(1, 2, 3), sizes=(3, 1))
    scene.store(1, Put((change(1, ONE, joint), change(2, ONE, group(1, 2, 3, 4, sizes=(3, 1))))), leads=True)


def a_change_upon_a_change(scene: Scene) -> None:
    commit_one(scene)
    scene.store(1, Put((change(2, ONE, group(1, 2, 3, 4)),)), leads=True, commit=1)
    scene.store(1, Put((change(3, ONE, group(1, 2, 3)),)), leads=True, commit=1)


def a_voter_that_never_answered(scene: Scene) -> None:
    commit_one(scene)
    scene.laws.configurations.forced = False
    scene.store(1, Put((change(2, ONE, group(1, 2, 3, learners=(4,))),)), leads=True, commit=1)
    scene.laws.sent(4, 1, ack(NO_EPOCH, 0))
    scene.store(1, Put((change(3, ONE, group(1, 2, 3, 4)),)), leads=True, commit=2)


def a_change_before_the_own_epoch(scene: Scene) -> None:
    commit_one(scene)
    scene.leader(2, TWO, 1)
    scene.store(2, Put((change(2, TWO, group(1, 2, 3, 4)),)), leads=True, commit=1)


def an_end_before_the_removal_is_committed(scene: Scene) -> None:
    scene.leader(1, ONE)
    for member in (1, 2):
        scene.store(member, Put((change(1, ONE, group(1, 2, 3)),)), leads=member == 1)
    scene.laws.observe(1, ONE, 1, Role.LEADER)
    scene.store(1, Put((change(2, ONE, group(1, 2)),)), leads=True, commit=1)
    scene.laws.removed(3, 1)


def a_log_that_forgets_too_much(scene: Scene) -> None:
    scene.store(2, Put((entry(1),)))
    scene.store(2, Compact(snapshot(1)))


def a_snapshot_of_what_was_not_chosen(scene: Scene) -> None:
    scene.store(2, Reset(snapshot(7)))


def a_snapshot_that_takes_back(scene: Scene) -> None:
    commit_one(scene)
    scene.store(1, Reset(snapshot(1)))


def a_snapshot_that_is_not_there(scene: Scene) -> None:
    scene.laws.sent(2, 1, InstallSnapshotReply(ONE, 1, 10, True, 1, 0))


def states_that_differ(scene: Scene) -> None:
    scene.laws.machines.state(1, 1, b"a")
    scene.laws.machines.resumed(2, Standing(1, 0, 1), b"b")


def a_batch_left_out(scene: Scene) -> None:
    scene.laws.machines.applied(1, Batch(1, 0, (0,), (b"one",)), [b"yes"])
    scene.laws.machines.applied(1, Batch(2, 0, (0,), (b"two",)), [b"yes"])
    scene.laws.machines.applied(2, Batch(2, 0, (0,), (b"two",)), [b"yes"])


def a_batch_that_a_snapshot_held_already(scene: Scene) -> None:
    scene.laws.machines.applied(1, Batch(1, 0, (0,), (b"one",)), [b"yes"])
    scene.laws.machines.resumed(2, Standing(1, 0, 1), b"state")
    scene.laws.machines.applied(2, Batch(1, 0, (0,), (b"one",)), [b"yes"])


def replies_that_differ(scene: Scene) -> None:
    batch = Batch(1, 0, (0,), (b"command",))
    scene.laws.machines.applied(1, batch, [b"yes"])
    scene.laws.machines.applied(2, batch, [b"no"])


def a_command_that_runs_twice(scene: Scene) -> None:
    scene.laws.machines.applied(1, Batch(1, 0, (0,), (b"command",)), [b"yes"])
    scene.laws.machines.applied(1, Batch(2, 0, (0,), (b"command",)), [b"yes"])


def an_uncommitted_entry_applied(scene: Scene) -> None:
    scene.laws.machines.applied(1, Batch(1, 0, (0,), (b"command",)), [b"yes"])
    scene.laws.observe(1, ONE, 0, Role.FOLLOWER)


def damage(scene: Scene, member: MemberId, until: int = 2, *, epoch: Epoch = ONE, vote: MemberId = 1) -> None:
    """The member's disk forgets all but what binds it."""
    found = ShadowLog()
    found.hard_state = HardState(epoch, vote, Repair(until, epoch))
    scene.laws.begun_anew(member, found)
    scene.laws.started(member, 2, found)


def damaged(scene: Scene) -> None:
    """Entry 1 is committed by members 1 and 2, and 2 is on the disk of member 2; then that disk is damaged."""
    scene.leader(1, ONE)
    scene.laws.sent(1, 2, append(ONE))
    scene.store(1, Put((entry(1), entry(2))))
    scene.store(2, Put((entry(1), entry(2))))
    scene.laws.sent(2, 1, ack(ONE, 1))
    scene.laws.observe(1, ONE, 1, Role.LEADER)
    damage(scene, 2)


def test_a_damaged_member_says_where_it_stands_and_counts_when_it_is_whole() -> None:
    scene = Scene()
    damaged(scene)
    scene.store(2, Put((entry(1),)))
    scene.laws.sent(2, 1, msgspec.structs.replace(ack(ONE, 1), repairing=True))
    scene.laws.sent(2, 1, VoteReply(ONE, False))
    scene.store(2, Put((entry(2),)), SaveHardState(HardState(ONE, 1)))
    scene.laws.sent(2, 1, ack(ONE, 2))
    scene.laws.observe(1, ONE, 2, Role.LEADER)
    assert not scene.laws.owes_repair(2)


def test_what_a_damaged_member_held_may_be_counted_until_it_is_whole() -> None:
    scene = Scene()
    damaged(scene)
    scene.laws.observe(1, ONE, 2, Role.LEADER)
    assert scene.laws.chosen == 2


def a_damaged_member_that_votes(scene: Scene) -> None:
    damaged(scene)
    scene.store(2, SaveHardState(HardState(TWO, 3, Repair(2, ONE))))
    scene.laws.sent(2, 3, VoteReply(TWO, True))


def a_damaged_member_that_campaigns(scene: Scene) -> None:
    damaged(scene)
    scene.laws.sent(2, 3, PreVote(TWO, 0, NO_EPOCH))


def a_damaged_member_that_acknowledges(scene: Scene) -> None:
    damaged(scene)
    scene.store(2, Put((entry(1),)))
    scene.laws.sent(2, 1, ack(ONE, 1))


def a_damaged_member_that_is_whole_before_its_disk_says_so(scene: Scene) -> None:
    damaged(scene)
    scene.store(2, Put((entry(1), entry(2))))
    scene.store(2, SaveHardState(HardState(ONE, 1)), durable=False)
    scene.laws.sent(2, 1, ack(ONE, 2))


def a_damaged_member_that_starts_as_if_nothing_were(scene: Scene) -> None:
    damaged(scene)
    scene.laws.begun_anew(2, ShadowLog())


def a_damaged_member_that_forgot_its_vote(scene: Scene) -> None:
    damaged(scene)
    damage(scene, 2, vote=0)


def a_damaged_member_that_forgot_how_far_it_had_come(scene: Scene) -> None:
    scene.store(2, SaveHardState(HardState(ONE, 1)), Put((entry(1), entry(2))))
    damage(scene, 2, until=1)


def a_repair_that_ends_in_its_own_epoch_before_the_old_end(scene: Scene) -> None:
    damaged(scene)
    scene.store(2, Put((entry(1),)))
    scene.store(2, SaveHardState(HardState(ONE, 1)))


def a_repair_that_ends_without_what_was_committed(scene: Scene) -> None:
    damaged(scene)
    scene.store(2, SaveHardState(HardState(TWO, 0, Repair(2, ONE))))
    scene.store(2, SaveHardState(HardState(TWO, 0)))


def test_a_lease_is_right_until_somebody_is_elected_after_it() -> None:
    scene = Scene()
    scene.leader(1, ONE)
    scene.laws.leased(1, ONE, [(1, ONE)])


def a_lease_beside_a_new_leader(scene: Scene) -> None:
    scene.leader(1, ONE)
    scene.leader(2, TWO)
    scene.laws.leased(2, TWO, [(1, ONE)])


def a_lease_that_is_earned_after_another_was_elected(scene: Scene) -> None:
    scene.leader(1, ONE)
    scene.leader(2, TWO)
    scene.laws.leased(1, ONE, [(1, ONE)])


def test_a_read_waits_for_what_was_committed_when_it_was_asked_for() -> None:
    scene = Scene()
    scene.leader(1, ONE)
    scene.laws.read(1, 4, 4)
    scene.laws.read(1, 5, 4)


def a_read_that_misses_what_was_committed_before_it(scene: Scene) -> None:
    scene.leader(1, ONE)
    scene.laws.read(1, 3, 4)


@pytest.mark.parametrize(
    ("law", "crime"),
    [
        ("read-current", a_read_that_misses_what_was_committed_before_it),
        ("one-lease", a_lease_beside_a_new_leader),
        ("one-lease", a_lease_that_is_earned_after_another_was_elected),
        ("damaged-silent", a_damaged_member_that_votes),
        ("damaged-silent", a_damaged_member_that_campaigns),
        ("damaged-silent", a_damaged_member_that_acknowledges),
        ("damaged-silent", a_damaged_member_that_is_whole_before_its_disk_says_so),
        ("damaged-silent", a_damaged_member_that_starts_as_if_nothing_were),
        ("damaged-keeps-promises", a_damaged_member_that_forgot_its_vote),
        ("damaged-keeps-promises", a_damaged_member_that_forgot_how_far_it_had_come),
        ("repaired-whole", a_repair_that_ends_in_its_own_epoch_before_the_old_end),
        ("repaired-whole", a_repair_that_ends_without_what_was_committed),
        ("one-leader", two_leaders),
        ("one-vote", two_votes),
        ("log-matching", entries_that_differ),
        ("log-matching", predecessors_that_differ),
        ("epoch-first", an_entry_of_an_epoch_to_come),
        ("leader-completeness", a_leader_that_lacks_a_committed_entry),
        ("chosen-stays", another_choice),
        ("chosen-truncated", a_committed_entry_dropped),
        ("commit-quorum", a_commit_of_what_one_disk_holds),
        ("commit-own-epoch", a_commit_of_an_older_epoch_by_counting),
        ("commit-in-log", a_commit_of_nothing),
        ("commit-monotonic", a_commit_that_goes_back),
        ("epoch-monotonic", an_epoch_that_goes_back),
        ("vote-durable", a_vote_from_memory),
        ("candidacy-durable", a_candidate_from_memory),
        ("ack-durable", an_acknowledgement_from_memory),
        ("log-kept", a_disk_that_forgets),
        ("log-invented", a_disk_that_invents),
        ("vote-quorum", a_leader_that_few_voted_for),
        ("voter-leads", a_stranger_that_campaigns),
        ("commit-quorum", a_copy_at_a_learner_that_counts),
        ("commit-quorum", a_joint_commit_by_one_half),
        ("quorums-meet", a_change_without_a_joint_phase),
        ("vote-quorum", a_leader_that_a_majority_elects_where_all_must),
        ("commit-quorum", a_commit_of_a_majority_where_all_must),
        ("commit-quorum", a_commit_of_the_new_sizes_before_the_old_ones_are_left),
        ("quorums-meet", sizes_that_change_without_a_joint_phase),
        ("quorums-meet", sizes_that_need_not_meet),
        ("one-change", a_change_upon_a_change),
        ("promoted-ready", a_voter_that_never_answered),
        ("change-own-epoch", a_change_before_the_own_epoch),
        ("removed-committed", an_end_before_the_removal_is_committed),
        ("log-forgets-applied", a_log_that_forgets_too_much),
        ("snapshot-chosen", a_snapshot_of_what_was_not_chosen),
        ("snapshot-newer", a_snapshot_that_takes_back),
        ("ack-durable", a_snapshot_that_is_not_there),
        ("same-state", states_that_differ),
        ("applied-in-order", a_batch_left_out),
        ("applied-in-order", a_batch_that_a_snapshot_held_already),
        ("same-applied", replies_that_differ),
        ("applied-once", a_command_that_runs_twice),
        ("applied-committed", an_uncommitted_entry_applied),
    ],
)
def test_each_crime_is_named(law: str, crime: object) -> None:
    assert callable(crime)
    with pytest.raises(Violation) as caught:
        crime(Scene())
    assert caught.value.check == law


def meet(one: Membership, two: Membership) -> bool:
    return quorums_meet(one, two, electors_meet=True)


def test_two_quorums_that_elect_need_not_meet_where_ballots_have_owners() -> None:
    sizes = group(1, 2, 3, 4, 5, sizes=(2, 4))
    assert quorums_meet(sizes, sizes, electors_meet=False)
    assert not meet(sizes, sizes)


def test_quorums_meet_exactly_where_two_sets_cannot_decide_alone() -> None:
    assert meet(group(1, 2, 3), group(1, 2, 3, 4))
    assert not meet(group(1, 2, 3), group(1, 4, 5))
    assert meet(group(1, 2, 3), group(1, 4, 5, outgoing=(1, 2, 3)))
    assert meet(group(1, 4, 5, outgoing=(1, 2, 3)), group(1, 4, 5))
    assert not meet(group(1, 2), group(3, 4))


def test_quorums_of_other_sizes_meet_where_those_that_elect_are_large_enough() -> None:
    five = (1, 2, 3, 4, 5)
    few = group(*five, sizes=(4, 2))
    assert meet(few, few)
    assert not meet(group(*five, sizes=(3, 2)), group(*five, sizes=(3, 2)))
    assert not meet(group(*five, sizes=(2, 4)), group(*five, sizes=(2, 4))), "two that elect need not"
    assert not meet(group(*five), few), "three elect by the old sizes, two commit by the new"
    joint = group(*five, outgoing=five, sizes=(4, 2))
    assert meet(group(*five), joint)
    assert meet(joint, few)


def test_a_commit_of_few_is_right_where_the_sizes_say_so() -> None:
    scene = Scene(3, 1)
    scene.vote(1, ONE, 1)
    scene.vote(2, ONE, 1)
    scene.vote(3, ONE, 1)
    scene.laws.observe(1, ONE, 0, Role.LEADER)
    scene.store(1, Put((entry(1),)))
    scene.laws.observe(1, ONE, 1, Role.LEADER)
    assert scene.laws.chosen == 1


def test_liveness_is_asked_only_of_those_who_can_have_all_that_was_chosen() -> None:
    scene = Scene(1, 1)
    scene.vote(1, ONE, 1)
    scene.laws.observe(1, ONE, 0, Role.LEADER)
    scene.store(1, Put((entry(1),)))
    scene.laws.observe(1, ONE, 1, Role.LEADER)
    assert scene.laws.lost([1]) is None
    assert scene.laws.lost([1, 3]) is None
    assert scene.laws.lost([2, 3]) == "entry 1 was chosen, and is on no disk of [2, 3]"
    assert scene.laws.lost([]) == "[] are no quorum of (1, 2, 3) with quorums of 1 and 1"
