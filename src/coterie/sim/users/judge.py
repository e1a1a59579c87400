"""What clients of a user's machine were told, against the machine itself run in the order of the log."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from coterie.core.types import Index, MemberId, Nanos
from coterie.machine.host import Host
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.sim.subject import Judge
from coterie.sim.users.bench import TIME, Bench, Given, Invariant, MakeMachine, differ, digest_of, hold
from coterie.sim.users.operations import LABEL_BYTES, Operation, number_of
from coterie.sim.verdict import Figures, Violation

LAWS: Final = {
    "reply-true": "a client is told what the machine replied, and nothing else",
    "reply-order": "a command stands in the log after all that was acknowledged before it was sent",
    "read-true": "an answer is the machine's, in the state after the entry at which it was asked",
    "read-fresh": "a linearizable read sees all that was applied anywhere before it began",
    "said-no": "an operation that was said not to have happened never happens",
    "said-yes": "an operation that was said to have happened has happened",
    "check": "the user's own check of the history",
}

Check = Callable[[Sequence[Operation]], object]
"""Takes all operations, in the order in which they began; raises `AssertionError`, or returns False."""


class _Reading(msgspec.Struct):
    """A question under way: what the machine alone would answer, from which entry on."""

    indexes: list[Index]
    answers: list[bytes | Rejected]
    heard: list[tuple[Index, bytes | Rejected]]
    """What replicas answered."""


class _Applied(msgspec.Struct, frozen=True):
    """What a batch must come to at every replica."""

    replies: list[bytes | Rejected]
    digest: bytes


class UserJudge(Judge):
    """Judge of a user's machine and of what its clients see."""

    def __init__(
        self,
        make: MakeMachine,
        figures: Figures,
        invariant: Invariant | None = None,
        check: Check | None = None,
        *,
        every: int = 8,
    ) -> None:
        """`every`: commands between two snapshots of the bench. Raises `Violation` if the empty machine breaks a law
        already."""
        self._make = make
        self._figures = figures
        self._invariant = invariant
        self._check = check
        self.bench = Bench(make, invariant, every=every)
        self.operations: list[Operation] = []
        self._newest: tuple[Index, int] = (0, 0)
        self._seen: tuple[Index, int] = (0, 0)
        """Newest place in the log that any client knows of."""
        self._batches: dict[tuple[Index, int], _Applied] = {}
        """By index and first ordinal."""
        self._readings: dict[int, _Reading] = {}

    @property
    def applied_index(self) -> Index:
        """See `Judge`."""
        return self._newest[0]

    def given(self, payload: bytes) -> bytes:
        """See `Judge`: all but the label."""
        return payload[LABEL_BYTES:]

    # -- what replicas did ---------------------------------------------------------------------

    def applied(self, machine: StateMachine, batch: Batch, replies: Sequence[bytes | Rejected]) -> None:
        """See `Judge`."""
        wanted, digest = self._wanted(batch), digest_of(machine)
        if list(replies) != wanted.replies or digest != wanted.digest:
            raise self._differs(batch, replies, digest, wanted)
        try:
            hold(self._invariant, machine)
        except Violation as violation:
            raise Violation(violation.check, f"at a replica, after entry {batch.index}: {violation.detail}") from None

    def passed(self, machine: StateMachine, index: Index, time: Nanos) -> None:
        """See `Judge`."""
        wanted, digest = self._wanted_at(index, time), digest_of(machine)
        if digest != wanted:
            raise Violation(
                "machine-restore", f"at {time} ns, with entry {index}, a replica differs: {differ(wanted, digest)}"
            )
        try:
            hold(self._invariant, machine)
        except Violation as violation:
            raise Violation(violation.check, f"at a replica, with entry {index}: {violation.detail}") from None

    def _wanted_at(self, index: Index, time: Nanos) -> bytes:
        """The digest when time has passed."""
        place = index, TIME
        if place > self._newest:
            self._newest = place
            digest = self.bench.apply(Given(index, TIME, time, b"")).digest
            self._answer_again(index)
            self._batches[place] = _Applied([], digest)
        known = self._batches.get(place)
        if known is None:
            raise Violation("machine-deterministic", f"with entry {index} its timer was reached at one replica only")
        return known.digest

    def raised(self, batch: Batch, error: Exception) -> None:
        """See `Judge`: the bench knows at which command, or that alone the machine does not raise."""
        if batch.ordinals:
            self._wanted(batch)
        else:
            self._wanted_at(batch.index, batch.time)
        raise Violation("machine-raised", f"a replica raised {type(error).__name__}: {error}") from error

    def _wanted(self, batch: Batch) -> _Applied:
        """What the batch must come to. When the first replica has applied it, the bench does."""
        place = batch.index, batch.ordinals[0]
        if place > self._newest:
            self._newest = place
            self._batches[place] = self._apply(batch)
        return self._batches[place]

    def _apply(self, batch: Batch) -> _Applied:
        replies = []
        for ordinal, payload in zip(batch.ordinals, batch.commands, strict=True):
            operation = self.operations[number_of(payload)]
            operation.index, operation.ordinal = batch.index, ordinal
            operation.reply = self.bench.apply(Given(batch.index, ordinal, batch.time, operation.body)).reply
            replies.append(operation.reply)
            if operation.outcome == "no":
                raise Violation("said-no", f"client {operation.client} was told that this had not happened; it did")
        self._answer_again(batch.index)
        return _Applied(replies, self.bench.digest)

    def _answer_again(self, index: Index) -> None:
        """The questions under way, in the state that the bench has with this entry."""
        for number, reading in self._readings.items():
            answer = self.bench.answer(self.operations[number].body)
            if answer != reading.answers[-1]:
                reading.indexes.append(index)
                reading.answers.append(answer)

    def _differs(self, batch: Batch, replies: Sequence[bytes | Rejected], digest: bytes, wanted: _Applied) -> Violation:
        """A replica's machine is not what it should be after this batch."""
        where = f"after entry {batch.index}, ordinals {batch.ordinals[0]} to {batch.ordinals[-1]}, "
        for ordinal, found, reply in zip(batch.ordinals, replies, wanted.replies, strict=True):
            if found != reply:
                return Violation(
                    "machine-restore", f"{where}a replica's reply to {ordinal} is {found!r}, not {reply!r}"
                )
        return Violation("machine-restore", f"{where}a replica differs: {differ(wanted.digest, digest)}")

    def queried(self, index: Index, question: bytes, answer: bytes | Rejected) -> None:
        """See `Judge`."""
        number = number_of(question)
        reading = self._readings.get(number)
        if reading is None:
            if self.operations[number].probe:
                self.operations[number].reply = answer
            return
        first = reading.indexes[0]
        if index < first:
            raise Violation("read-fresh", f"answered after entry {index}; {first} was applied before the read began")
        wanted = reading.answers[bisect_right(reading.indexes, index) - 1]
        if answer != wanted:
            raise Violation("read-true", f"after entry {index} a replica answers {answer!r}, not {wanted!r}")
        reading.heard.append((index, answer))

    @property
    def starts(self) -> set[tuple[Index, int]]:
        """Index and ordinal of the first command of each batch."""
        return set(self._batches)

    # -- what clients saw ----------------------------------------------------------------------

    def begin(self, client: int, write: bool, body: bytes, now: Nanos, *, probe: bool = False) -> tuple[int, Operation]:
        """A client begins an operation; its number, too."""
        number = len(self.operations)
        operation = Operation(client, write, body, now, floor=self._seen, probe=probe)
        self.operations.append(operation)
        if not write and not probe:
            self._readings[number] = _Reading([self.applied_index], [self.bench.ask(body)], [])
        return number, operation

    def answered(self, number: int, reply: bytes, now: Nanos) -> None:
        """The operation succeeded."""
        operation = self.operations[number]
        operation.end, operation.outcome = now, "ok"
        if operation.probe:
            return
        self._figures.completed += 1
        if operation.write:
            self._told(operation, reply)
        else:
            self._heard(number, operation, reply)

    def _told(self, operation: Operation, reply: bytes) -> None:
        place = operation.index, operation.ordinal
        if not operation.index or reply != operation.reply:
            said = f"the machine replied {operation.reply!r}" if operation.index else "no replica applied it"
            raise Violation("reply-true", f"client {operation.client} was told {reply!r}; {said}")
        if place <= operation.floor:
            raise Violation("reply-order", f"it stands at {place}, not after {operation.floor}")
        self._seen = max(self._seen, place)

    def _heard(self, number: int, operation: Operation, reply: bytes) -> None:
        heard = self._readings.pop(number).heard
        index = max((index for index, answer in heard if answer == reply), default=-1)
        if index < 0:
            raise Violation("reply-true", f"client {operation.client} was told {reply!r}; replicas answered {heard!r}")
        operation.index, operation.reply = index, reply

    def failed(self, number: int, happened: str, now: Nanos) -> None:
        """The operation failed: `no`, `yes` (its reply is lost) or `unknown`; `no` if the machine rejected it, too."""
        operation = self.operations[number]
        operation.end, operation.outcome = now, happened
        reading = self._readings.pop(number, None)
        if operation.probe:
            operation.outcome = "rejected" if isinstance(operation.reply, Rejected) else happened
            return
        if happened == "unknown":
            self._figures.unknown += 1
            return
        self._figures.completed += 1
        rejected = (
            [(index, answer) for index, answer in reading.heard if isinstance(answer, Rejected)] if reading else []
        )
        if rejected:
            operation.outcome, (operation.index, operation.reply) = "rejected", rejected[-1]
        elif happened == "no" and operation.index:
            if not isinstance(operation.reply, Rejected):
                raise Violation("said-no", f"client {operation.client} was told that it had not happened; it did")
            operation.outcome = "rejected"
            self._seen = max(self._seen, (operation.index, operation.ordinal))
        elif happened == "yes" and operation.write and not operation.index:
            raise Violation(
                "said-yes", f"client {operation.client} was told that it had happened; no replica applied it"
            )

    # -- at the end ----------------------------------------------------------------------------

    def check_replica(self, member: MemberId, host: Host) -> None:
        """See `Judge`."""
        digest = digest_of(host.machine)
        if digest != self.bench.digest:
            raise Violation("machine-restore", f"at the end n{member} differs: {differ(self.bench.digest, digest)}")

    def check(self) -> None:
        """See `Judge`."""
        if self._check is None:
            return
        name = getattr(self._check, "__name__", "the check")
        try:
            held = self._check([operation for operation in self.operations if not operation.probe])
        except AssertionError as error:
            raise Violation("check", f"{name}: {error}" if str(error) else f"{name} does not hold") from error
        if held is False:
            raise Violation("check", f"{name} returned False")
