"""Each law of the simulated world speaks up when it is broken, and is silent when it is not."""

from __future__ import annotations

import pytest

from coterie.core.messages import Append, AppendReply, RequestVote, VoteReply
from coterie.core.records import Put, SaveHardState, StoreBatch, Truncate
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch, HardState, Role
from coterie.machine.interface import Batch
from coterie.sim.laws import Laws
from coterie.sim.shadow import ShadowLog, slot_of
from coterie.sim.verdict import Figures, Violation

ONE, TWO = Epoch(1, 0), Epoch(2, 0)


def entry(index: int, epoch: Epoch = ONE, payload: bytes = b"x") -> Entry:
    return Entry(index, epoch, EntryKind.COMMANDS, 0, payload)


class Scene:
    """Three members that have just started with empty disks."""

    def __init__(self) -> None:
        self.laws = Laws((1, 2, 3), Figures())
        self._marks = dict.fromkeys((1, 2, 3), 0)
        for member in (1, 2, 3):
            self.laws.started(member, 1, ShadowLog())

    def store(self, member: int, *records: Put | Truncate | SaveHardState, durable: bool = True) -> None:
        self._marks[member] += 1
        self.laws.store(member, StoreBatch(self._marks[member], records))
        if durable:
            self.laws.stored(member, self._marks[member])

    def leader(self, member: int, epoch: Epoch) -> None:
        self.store(member, SaveHardState(HardState(epoch, member)))
        self.laws.observe(member, epoch, 0, Role.LEADER)


def append(epoch: Epoch) -> Append:
    return Append(epoch, 0, NO_EPOCH, (), 0, 1, 0, -1)


def ack(epoch: Epoch, index: int) -> AppendReply:
    return AppendReply(epoch, True, index, 0, NO_EPOCH, 1, 0)


def test_a_whole_round_of_replication_breaks_no_law() -> None:
    scene = Scene()
    scene.store(2, SaveHardState(HardState(ONE, 1)))
    scene.leader(1, ONE)
    scene.laws.sent(2, 1, VoteReply(ONE, True))
    scene.laws.sent(1, 2, append(ONE))
    scene.store(1, Put((entry(1),)))
    scene.store(2, Put((entry(1),)))
    scene.laws.sent(2, 1, ack(ONE, 1))
    scene.laws.observe(1, ONE, 1, Role.LEADER)
    scene.laws.observe(2, ONE, 1, Role.FOLLOWER)
    assert scene.laws.chosen == 1


def test_a_vote_may_leave_when_a_later_epoch_is_on_disk() -> None:
    scene = Scene()
    scene.store(2, SaveHardState(HardState(TWO, 1)))
    scene.laws.sent(2, 1, VoteReply(ONE, True))
    with pytest.raises(Violation, match="one-vote"):
        scene.laws.sent(2, 3, VoteReply(ONE, True))


def two_leaders(scene: Scene) -> None:
    scene.leader(1, ONE)
    scene.leader(2, ONE)


def two_votes(scene: Scene) -> None:
    scene.store(3, SaveHardState(HardState(ONE, 1)))
    scene.store(3, SaveHardState(HardState(ONE, 2)))


def entries_that_differ(scene: Scene) -> None:
    scene.store(1, Put((entry(1, payload=b"a"),)))
    scene.store(2, Put((entry(1, payload=b"b"),)))


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
    scene.laws.started(2, 2, ShadowLog())


def a_disk_that_invents(scene: Scene) -> None:
    found = ShadowLog()
    found.put(1, slot_of(entry(1)))
    scene.laws.started(2, 2, found)


def replies_that_differ(scene: Scene) -> None:
    batch = Batch(1, 0, (0,), (b"command",))
    scene.laws.applied(1, batch, [b"yes"])
    scene.laws.applied(2, batch, [b"no"])


def a_command_that_runs_twice(scene: Scene) -> None:
    scene.laws.applied(1, Batch(1, 0, (0,), (b"command",)), [b"yes"])
    scene.laws.applied(1, Batch(2, 0, (0,), (b"command",)), [b"yes"])


def an_uncommitted_entry_applied(scene: Scene) -> None:
    scene.laws.applied(1, Batch(1, 0, (0,), (b"command",)), [b"yes"])
    scene.laws.observe(1, ONE, 0, Role.FOLLOWER)


@pytest.mark.parametrize(
    ("law", "crime"),
    [
        ("one-leader", two_leaders),
        ("one-vote", two_votes),
        ("log-matching", entries_that_differ),
        ("log-matching", predecessors_that_differ),
        ("leader-completeness", a_leader_that_lacks_a_committed_entry),
        ("chosen-stays", another_choice),
        ("chosen-truncated", a_committed_entry_dropped),
        ("commit-quorum", a_commit_of_what_one_disk_holds),
        ("commit-in-log", a_commit_of_nothing),
        ("commit-monotonic", a_commit_that_goes_back),
        ("epoch-monotonic", an_epoch_that_goes_back),
        ("vote-durable", a_vote_from_memory),
        ("candidacy-durable", a_candidate_from_memory),
        ("ack-durable", an_acknowledgement_from_memory),
        ("log-kept", a_disk_that_forgets),
        ("log-invented", a_disk_that_invents),
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
