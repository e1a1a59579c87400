"""Snapshots at a leader: when it sends one, to whom, and when it stops."""

from __future__ import annotations

import pytest
from tests.core.one_member import BYTES, KEEP_NONE, MEMBERS, OneMember, commands, first, snapshot

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.leading.compaction import FOLLOWER_ENTRIES
from coterie.core.messages import Append, AppendReply, InstallSnapshot, InstallSnapshotReply
from coterie.core.replica import Effects
from coterie.core.types import NO_EPOCH, Entry, Epoch, Index, MemberId, Membership, SnapshotMeta

ALONE = Membership(MEMBERS[:3], (3,), learners=(1, 2))
"""Member 3 decides alone, and 1 and 2 learn."""
BEGINNING = SnapshotMeta(0, NO_EPOCH, Membership((), ()), KEEP_NONE)
TIMEOUT = ReplicaConfig().election_timeout


class Leader(OneMember):
    """Leads epoch 2 with a log of which nothing before entry 11 is left, and a snapshot at 10."""

    def __init__(self, base: Index = 10) -> None:
        super().__init__((first(ALONE), *commands(2, 9)), base=BEGINNING, applied=1)
        self.lead()
        assert self.replica.commit == 11
        self.asleep(2 * TIMEOUT)
        self.take(base)
        assert self.replica.first_index == base + 1

    def asleep(self, nanos: int) -> None:
        """Time passes, and its followers are silent."""
        end = self.now + nanos
        while self.now < end:
            self.now = min(end, self.drain().deadline)
            self.replica.wake(self.now)
        self.drain()

    def take(self, index: Index, size: int = BYTES) -> None:
        self.replica.snapshot_taken(self.now, snapshot(index, membership=ALONE), size)
        if self.drain().store is not None:
            self.stored()

    def refuse(self, member: MemberId, at: Index = 10, hint: Index = 1) -> Effects:
        answer = AppendReply(self.replica.epoch, False, at, hint, NO_EPOCH, 1, 0)
        return self.receive(answer, member)

    def holds(self, member: MemberId, offset: int, *, installed: bool = False, index: Index = 10) -> Effects:
        return self.receive(InstallSnapshotReply(self.replica.epoch, index, offset, installed, 1, 0), member)

    def mode(self, member: MemberId) -> str:
        return next(p.mode for p in self.replica.progress(self.now) if p.id == member)


def chunks(effects: Effects) -> list[tuple[MemberId, int, bytes]]:
    return [(to, m.offset, m.data) for to, m in effects.send if isinstance(m, InstallSnapshot)]


def test_only_who_needs_what_is_compacted_away_gets_a_snapshot() -> None:
    leader = Leader(base=5)
    assert chunks(leader.refuse(1, at=10, hint=5)) == []
    assert leader.mode(1) == "probe"
    assert chunks(leader.refuse(2, at=10, hint=4)) == [(2, 0, b"")]
    assert leader.mode(2) == "snapshot"


def test_an_acceptance_of_what_the_log_begins_after_ends_it() -> None:
    """The message that told of the installation was lost: the next heartbeat shows it."""
    leader = Leader()
    leader.refuse(1)
    leader.holds(1, 0)
    effects = leader.receive(AppendReply(leader.replica.epoch, True, 10, 0, NO_EPOCH, 1, 0))
    assert leader.mode(1) == "replicate"
    assert [m.prev_index for _, m in effects.send if isinstance(m, Append)] == [10]


def test_an_acceptance_of_less_does_not() -> None:
    leader = Leader()
    leader.refuse(1)
    leader.receive(AppendReply(leader.replica.epoch, True, 9, 0, NO_EPOCH, 1, 0))
    assert leader.mode(1) == "snapshot"


def test_heartbeats_go_on_and_name_what_the_log_begins_after() -> None:
    leader = Leader()
    leader.refuse(1)
    leader.now += 100 * MILLISECOND
    beats = [m for to, m in leader.drain().send if to == 1 and isinstance(m, Append)]
    assert [(m.prev_index, m.prev_epoch, m.entries) for m in beats] == [(10, Epoch(1, 0), ())]


def test_nothing_is_read_for_a_follower_that_is_silent() -> None:
    leader = Leader()
    leader.refuse(1)
    leader.asleep(2 * TIMEOUT)
    leader.replica.connection_closed(leader.now, 1, refused=False)
    assert chunks(leader.drain()) == []
    assert chunks(leader.refuse(1)) == [(1, 0, b"")]


def test_answers_for_another_snapshot_move_nothing() -> None:
    leader = Leader()
    leader.refuse(1)
    assert chunks(leader.holds(1, 3, index=8)) == []
    assert chunks(leader.holds(1, 3)) == [(1, 3, b"def")]


def test_a_snapshot_that_the_log_does_not_follow_from_is_not_sent() -> None:
    """The log was compacted under the machine's own store, past the newest file: a follower would be left with a
    gap (catalogue N09). The driver is asked for a newer one."""
    leader = Leader(base=5)
    leader.take(8, size=0)
    assert leader.replica.first_index == 9
    effects = leader.refuse(1, at=10, hint=1)
    assert chunks(effects) == []
    assert effects.snapshot_wanted
    leader.take(10)
    assert leader.mode(1) == "snapshot"
    assert not leader.drain().snapshot_wanted


def test_who_claims_to_have_installed_more_than_there_is_raises_the_alarm() -> None:
    leader = Leader()
    effects = leader.holds(1, BYTES, installed=True, index=12)
    assert effects.alarm is not None
    assert "Leader Completeness" in effects.alarm.rule


def test_a_leader_is_deposed_by_a_newer_epoch_in_an_answer() -> None:
    leader = Leader()
    leader.receive(InstallSnapshotReply(Epoch(9, 0), 10, 0, False, 1, 0))
    assert leader.replica.leader == 0
    assert leader.replica.progress(leader.now) == ()


@pytest.mark.parametrize("sender", [1, 9])
def test_answers_of_strangers_and_of_rounds_to_come_are_ignored(sender: MemberId) -> None:
    leader = Leader()
    leader.refuse(1)
    far = 1 << 30 if sender == 1 else 1
    leader.receive(InstallSnapshotReply(leader.replica.epoch, 10, 3, True, far, 0), sender)
    assert leader.mode(1) == "snapshot"


def test_a_leader_that_an_earlier_snapshot_contradicts_raises_the_alarm() -> None:
    """It was elected without an entry that was committed."""
    node = OneMember((first(ALONE),), base=BEGINNING, applied=1)
    assert node.offer(snapshot(9, membership=ALONE)).chunks != []
    while node.replica.leader != 3:
        node.now = node.drain().deadline
        node.replica.wake(node.now)
        node.drain()
        node.stored()
    node.replica.snapshot_received(node.now, snapshot(9, membership=ALONE))
    alarm = node.drain().alarm
    assert alarm is not None
    assert "Leader Completeness" in alarm.rule


def read_on(leader: Leader, nanos: int) -> list[Effects]:
    """Clients read all the time: each round of reads puts the next heartbeat off."""
    done = []
    for token in range(1, nanos // (50 * MILLISECOND) + 1):
        leader.now += 50 * MILLISECOND
        leader.replica.read(leader.now, token)
        done.append(leader.drain())
    return done


def entries_to(effects: list[Effects], member: MemberId) -> list[int]:
    return [len(m.entries) for each in effects for to, m in each.send if to == member and isinstance(m, Append)]


def test_where_clients_read_all_the_time_lost_entries_are_sent_again_all_the_same() -> None:
    leader = Leader(base=5)
    (sent,) = entries_to([leader.refuse(1, at=10, hint=5)], 1)
    assert sent > 0
    assert entries_to(read_on(leader, 200 * MILLISECOND), 1).count(sent) == 2


def test_who_refuses_the_logs_base_while_clients_read_all_the_time_gets_a_snapshot_at_once() -> None:
    leader = Leader(base=5)
    leader.refuse(1, at=10, hint=5)
    read_on(leader, 2 * TIMEOUT)
    leader.take(10)
    assert leader.replica.first_index == 11
    assert chunks(leader.refuse(1)) == [(1, 0, b"")]


def test_a_learner_counts_as_caught_up_also_where_clients_read_all_the_time() -> None:
    leader = Leader()
    leader.receive(AppendReply(leader.replica.epoch, True, 11, 0, NO_EPOCH, 1, 0))
    for _ in range(2 * TIMEOUT // (100 * MILLISECOND)):
        read_on(leader, 100 * MILLISECOND)
        leader.receive(AppendReply(leader.replica.epoch, True, 11, 0, NO_EPOCH, 1, 0))
    assert [p.caught_up for p in leader.replica.progress(leader.now) if p.id == 1] == [True]


def grown(leader: Leader, count: int) -> Index:
    """So many entries more, all of them applied; the last one's index."""
    for token in range(count):
        leader.replica.propose(leader.now, token, b"x")
        leader.drain()
        leader.stored()
    return leader.replica.last_index


def test_the_log_waits_for_a_follower_that_is_being_sent_a_snapshot_and_not_for_one_that_died() -> None:
    leader = Leader()
    leader.refuse(1)
    last = grown(leader, FOLLOWER_ENTRIES + 50)  # too far behind for the log to wait, were it not for the snapshot
    leader.replica.snapshot_taken(leader.now, own_snapshot(leader, last), 0)
    leader.drain()
    assert leader.replica.first_index == 11, "the entries after the snapshot that is on its way"
    leader.asleep(2 * TIMEOUT)
    leader.replica.snapshot_taken(leader.now, own_snapshot(leader, last), 0)
    leader.drain()
    assert leader.replica.first_index == last + 1


def own_snapshot(leader: Leader, index: Index) -> SnapshotMeta:
    return snapshot(index, epoch=leader.replica.epoch, membership=ALONE)


class Piecemeal(OneMember):
    """Leads epoch 2 with forty entries on disk, of which an `Append` takes one."""

    def __init__(self) -> None:
        super().__init__((first(ALONE), *commands(2, 39)), applied=1)
        self.lead()

    def entries(self, first: Index, last: Index, limit_bytes: int) -> list[Entry]:
        return super().entries(first, first, limit_bytes)

    def accept(self, index: Index) -> list[Index]:
        """The follower holds the log up to there; the entries that it is sent for that."""
        answer = AppendReply(self.replica.epoch, True, index, 0, NO_EPOCH, 1, 0)
        sent = [message for to, message in self.receive(answer, 1).send if to == 1]
        return [entry.index for message in sent if isinstance(message, Append) for entry in message.entries]


def test_entries_that_must_be_read_are_sent_a_few_at_a_time_and_more_for_each_answer() -> None:
    leader = Piecemeal()
    answer = AppendReply(leader.replica.epoch, False, 40, 4, NO_EPOCH, 1, 0)
    leader.receive(answer, 1)
    assert leader.accept(5) == [6, 7]
    assert leader.accept(6) == [8, 9]
    assert leader.accept(7) == [10, 11]
