"""What a replica wants done, gathered between two drains; and which of it the disk has done.

This is where "persist before you promise" lives: `promise` holds a message back until everything
recorded before it is durable. Both protocols say all that they say through here.
"""

from __future__ import annotations

from collections import deque

from coterie.core.messages import Message
from coterie.core.records import Put, Record, SaveHardState, StoreBatch
from coterie.core.replica import Alarm, Outcome, ReadReady
from coterie.core.types import Mark, MemberId, Nanos


class Outbox:
    """Records, messages and outcomes on their way out.

    `last_mark`: of the newest batch handed out. `stored_mark`: every batch up to it is durable.
    """

    def __init__(self) -> None:
        self.last_mark: Mark = 0
        self.stored_mark: Mark = 0
        self.send: list[tuple[MemberId, Message]] = []
        self.send_after: list[tuple[Mark, MemberId, Message]] = []
        self.outcomes: list[Outcome] = []
        self.reads: list[ReadReady] = []
        self.alarm: Alarm | None = None
        self._records: list[Record] = []
        self._epoch_mark: Mark = 0
        self._unsynced: deque[tuple[Mark, Nanos]] = deque()

    def record(self, record: Record) -> None:
        """Have `record` written, after all before it. Runs of entries become one `Put`, and of two hard
        states in a row only the later is kept."""
        records = self._records
        if type(record) is SaveHardState:
            self._epoch_mark = self.last_mark + 1
        if type(record) is SaveHardState and records and type(records[-1]) is SaveHardState:
            records[-1] = record
            return
        if type(record) is Put and records and type(records[-1]) is Put:
            previous = records[-1].entries
            if previous[-1].index + 1 == record.entries[0].index:
                records[-1] = Put(previous + record.entries)
                return
        records.append(record)

    def post(self, to: MemberId, message: Message) -> None:
        """Send at once: for what promises nothing, or only what is durable already."""
        self.send.append((to, message))

    @property
    def pending_mark(self) -> Mark:
        """The mark that covers everything recorded so far."""
        return self.last_mark + 1 if self._records else self.last_mark

    def affirm(self, to: MemberId, message: Message) -> None:
        """Send what acknowledges the leader of the present epoch and nothing that is not durable: at once, unless the
        epoch itself is still being written. A member that forgets it in a crash would let the leader of an older one
        take back what it acknowledged. So it is with a yes before an election, and with asking for one: they commit to
        nothing, but are the word of a member whose log is whole, and that, too, may still be being written."""
        if self._epoch_mark <= self.stored_mark:
            self.send.append((to, message))
        else:
            self.send_after.append((self._epoch_mark, to, message))

    def promise(self, to: MemberId, message: Message) -> None:
        """Send once everything recorded so far is durable.

        Votes, promises and acknowledgements: a member that answers first and writes later may
        crash between, forget, and promise the opposite (Raft 5.2, 5.3; "Paxos Made Simple" 2.5).
        """
        mark = self.pending_mark
        if mark <= self.stored_mark:
            self.send.append((to, message))
        else:
            self.send_after.append((mark, to, message))

    def close_batch(self, now: Nanos) -> StoreBatch | None:
        """The records gathered since the last call, as one batch."""
        if not self._records:
            return None
        self.last_mark += 1
        batch = StoreBatch(self.last_mark, tuple(self._records))
        self._records = []
        self._unsynced.append((self.last_mark, now))
        return batch

    def stored(self, mark: Mark) -> None:
        """Batches up to `mark` are durable. A mark never given out breaks the driver's contract."""
        if mark > self.last_mark:
            raise ValueError(f"stored({mark}): the last batch given out has mark {self.last_mark}")
        self.stored_mark = max(self.stored_mark, mark)
        while self._unsynced and self._unsynced[0][0] <= mark:
            self._unsynced.popleft()

    @property
    def unsynced_since(self) -> Nanos | None:
        """When the oldest batch that is not durable was handed out; None if all are."""
        return self._unsynced[0][1] if self._unsynced else None

    def raise_alarm(self, rule: str, evidence: str) -> None:
        """A safety rule was seen broken. The first alarm stands: what follows it may be its effect."""
        if self.alarm is None:
            self.alarm = Alarm(
                rule,
                evidence,
                "Stop this member, keep its data directory as it is, and compare the members' logs "
                "before starting it again.",
            )
