"""Reads wait for a round that began after they came, and each gets one end."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from coterie.core.leading.reads import Read, ReadQueue, RemoteReads
from coterie.core.types import NOBODY

LIMIT = 4


class ReadQueueMachine(RuleBasedStateMachine):
    """Reads come, rounds begin and are confirmed, leadership ends."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = ReadQueue(LIMIT)
        self.round = self.confirmed = self.commit = self.token = 0
        self.came_in: dict[Read, tuple[int, int]] = {}
        """For each read without an end, the newest round and the commit index when it came."""

    @rule(member=st.integers(0, 3))
    def come(self, member: int) -> None:
        self.token += 1
        taken = self.queue.add(member, self.token)
        waiting = len(self.queue.waiting)
        assert waiting <= LIMIT
        if taken:
            self.came_in[Read(member, self.token)] = (self.round, self.commit)
        else:
            assert waiting == LIMIT

    @rule()
    def commit_more(self) -> None:
        self.commit += 1

    @rule()
    def begin_round(self) -> None:
        self.round += 1
        if self.queue.ready_to_ask:
            self.queue.ask(self.round, self.commit)

    @precondition(lambda self: self.confirmed < self.round)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        self.confirmed = data.draw(st.integers(self.confirmed, self.round))
        for read in self.queue.answered(self.confirmed):
            round_before, commit_before = self.came_in.pop(read)
            assert round_before < self.queue.round <= self.confirmed
            assert self.queue.index >= commit_before

    @rule()
    def lose_leadership(self) -> None:
        reads = self.queue.abandon()
        assert sorted(reads) == sorted(self.came_in)
        self.came_in.clear()
        assert self.queue.answered(self.round) == []


TestReadQueue = ReadQueueMachine.TestCase
TestReadQueue.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_followers_reads_are_asked_again_until_the_first_answer() -> None:
    reads = RemoteReads(limit=2)
    assert reads.leader == NOBODY
    assert reads.add(9, token=1, now=100)
    assert reads.add(9, token=2, now=150)
    assert not reads.add(9, token=3, now=150)
    assert reads.next_due(interval=50) == 150
    assert reads.due(now=149, interval=50) == []
    assert reads.due(now=150, interval=50) == [1]
    assert reads.next_due(interval=50) == 200
    assert reads.take(1)
    assert not reads.take(1)
    assert reads.abandon() == [2]
    assert not reads.take(2)
