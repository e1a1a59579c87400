"""Persist before you promise: no promise leaves before what it rests on is durable."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coterie.core.messages import VoteReply
from coterie.core.outbox import Outbox
from coterie.core.records import Put, Record, SaveHardState, Truncate
from coterie.core.types import Entry, EntryKind, Epoch, HardState


def flatten(records: list[Record]) -> list[object]:
    """Records as single steps: each entry by itself, and of hard states in a row only the last."""
    steps: list[object] = []
    for record in records:
        if isinstance(record, Put):
            steps.extend(record.entries)
        elif isinstance(record, SaveHardState) and steps and isinstance(steps[-1], SaveHardState):
            steps[-1] = record
        else:
            steps.append(record)
    return steps


class OutboxMachine(RuleBasedStateMachine):
    """Random records, promises, batches and marks."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.now = 0
        self.recorded: list[Record] = []
        self.batched: list[Record] = []
        self.batches: list[tuple[int, int, int]] = []
        """(mark, records in all batches up to this one, when it was closed)."""
        self.stored = 0
        self.rests_on: list[int] = []
        """For each promise, how many records stood before it. Its number is in the message's epoch."""

    def record(self, record: Record) -> None:
        self.outbox.record(record)
        self.recorded.append(record)

    @rule(epoch=st.integers(1, 9))
    def save_hard_state(self, epoch: int) -> None:
        self.record(SaveHardState(HardState(Epoch(epoch, 0), 0)))

    @rule(first=st.integers(1, 4), count=st.integers(1, 3))
    def put(self, first: int, count: int) -> None:
        entries = (Entry(first + i, Epoch(len(self.recorded), 0), EntryKind.NOOP, 0, b"") for i in range(count))
        self.record(Put(tuple(entries)))

    @rule(first=st.integers(1, 4))
    def truncate(self, first: int) -> None:
        self.record(Truncate(first))

    @rule()
    def promise(self) -> None:
        self.outbox.promise(7, VoteReply(Epoch(len(self.rests_on), 0), True))
        self.rests_on.append(len(self.recorded))

    @rule()
    def close_batch(self) -> None:
        self.now += 1
        new = self.recorded[len(self.batched) :]
        batch = self.outbox.close_batch(self.now)
        assert (batch is None) == (not new)
        if batch is not None:
            assert batch.mark == len(self.batches) + 1
            assert flatten(list(batch.records)) == flatten(new)
            self.batched.extend(new)
            self.batches.append((batch.mark, len(self.batched), self.now))

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        mark = data.draw(st.integers(1, len(self.batches)))
        self.outbox.stored(mark)
        self.stored = max(self.stored, mark)
        assert self.outbox.stored_mark == self.stored

    @invariant()
    def a_promise_leaves_when_its_records_are_durable_and_not_before(self) -> None:
        durable = self.batches[self.stored - 1][1] if self.stored else 0
        for _, message in self.outbox.send:
            assert isinstance(message, VoteReply)
            assert self.rests_on[message.epoch.round] <= durable
        for mark, _, message in self.outbox.send_after:
            assert isinstance(message, VoteReply)
            if mark <= len(self.batches):
                assert self.batches[mark - 1][1] >= self.rests_on[message.epoch.round]
        marks = [mark for mark, _, _ in self.outbox.send_after]
        assert marks == sorted(marks)
        assert len(self.outbox.send) + len(self.outbox.send_after) == len(self.rests_on)

    @invariant()
    def it_knows_since_when_the_disk_is_busy(self) -> None:
        busy = [closed for mark, _, closed in self.batches if mark > self.stored]
        assert self.outbox.unsynced_since == (busy[0] if busy else None)


TestOutbox = OutboxMachine.TestCase
TestOutbox.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_mark_that_was_never_given_out_breaks_the_contract() -> None:
    with pytest.raises(ValueError, match="the last batch given out has mark 0"):
        Outbox().stored(1)


def test_the_first_alarm_stands() -> None:
    outbox = Outbox()
    outbox.raise_alarm("first", "a")
    outbox.raise_alarm("second", "b")
    assert outbox.alarm is not None
    assert (outbox.alarm.rule, outbox.alarm.evidence) == ("first", "a")
