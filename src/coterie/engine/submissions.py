"""Commands on their way: taken from clients, numbered, sent to the leader, resolved when applied.

A member numbers the commands of its clients 1, 2, 3, ... in each boot and sends them in segments.
The machine applies each number at most once and in order, so a segment may be sent again, to the
same leader or the next, as often as need be: that is how a request outlives its leader. It also
turns doubt into certainty: once a later number was applied, an earlier one that was not never will be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeAlias

from coterie.core.messages import AnyCommand, Command, Segment
from coterie.core.types import MemberId, Nanos
from coterie.engine.ports import Ports
from coterie.engine.protocol import Answer, Failure, FailureCode, Happened
from coterie.machine.interface import Rejected
from coterie.machine.outcomes import Done, Failed, Result

NEVER: Nanos = 1 << 62
_HAPPENED = {False: Happened.NO, True: Happened.YES, None: Happened.UNKNOWN}


class SegmentLimits(Protocol):
    """How large a segment may become."""

    @property
    def max_batch_bytes(self) -> int: ...
    @property
    def max_batch_commands(self) -> int: ...


Asker: TypeAlias = tuple[object, list[int]]
"""A client, and its ids of commands that stand in a row."""


class Pending:
    """One segment of ours that has no outcome yet, and who waits for it."""

    __slots__ = ("askers", "deadline", "resend_at", "segment", "sendings", "sent_before", "unanswered")

    def __init__(self, segment: Segment, askers: list[Asker], deadline: Nanos) -> None:
        self.segment = segment
        self.askers = askers
        """Of those who have no answer yet, in the order of the commands."""
        self.unanswered = segment.first
        """The number of the first of those commands."""
        self.deadline = deadline
        self.sendings = 0
        """How often it was forwarded to the present leader."""
        self.resend_at: Nanos = NEVER
        """When it is sent again, if it has no outcome by then."""
        self.sent_before = False
        """Whether it was given to a leader or stood in our own log; if never, it has not happened."""


class Submissions:
    """The commands that this member's clients wait for."""

    def __init__(self, own: MemberId, boot: int, ports: Ports, timeout: Nanos) -> None:
        self._own = own
        self._boot = boot
        self._ports = ports
        self._timeout = timeout
        self._next_number = 1
        self._askers: list[Asker] = []
        self._commands: list[AnyCommand] = []
        self.queued_bytes = 0
        self._pending: dict[int, Pending] = {}
        """By first number, ascending: segments are made in the order of their numbers."""
        self.count = 0
        """Requests taken and not answered, queued ones included."""

    # -- taking ------------------------------------------------------------------------------

    def add(self, client: object, ids: list[int], commands: list[AnyCommand], size: int) -> None:
        """Queue a client's commands, of so many bytes in all."""
        self._askers.append((client, ids))
        self._commands += commands
        self.queued_bytes += size
        self.count += len(ids)

    @property
    def queued(self) -> int:
        """Commands that are in no segment yet."""
        return len(self._commands)

    def form(self, now: Nanos, limits: SegmentLimits) -> list[Pending]:
        """Make segments of what is queued, numbered from where the last ended."""
        formed = []
        while self._commands:
            count = self._fitting(limits)
            segment = Segment(self._own, self._boot, self._next_number, tuple(self._commands[:count]))
            self._next_number += count
            pending = Pending(segment, take_askers(self._askers, count), now + self._timeout)
            self._pending[segment.first] = pending
            formed.append(pending)
            del self._commands[:count]
        self.queued_bytes = 0
        return formed

    def _fitting(self, limits: SegmentLimits) -> int:
        """How many of the queued commands go into one segment: at least one."""
        most = min(len(self._commands), limits.max_batch_commands)
        if self.queued_bytes <= limits.max_batch_bytes:
            return most
        size = 0
        for count, command in enumerate(self._commands[:most]):
            size += len(command.body) if type(command) is Command else 0
            if size > limits.max_batch_bytes:
                return max(1, count)
        return most

    def unresolved(self) -> Iterator[Pending]:
        """Every segment without an outcome, in the order of the numbers."""
        return iter(self._pending.values())

    def find(self, first: int) -> Pending | None:
        """The segment that begins with this number, if it has no outcome yet."""
        return self._pending.get(first)

    @property
    def oldest(self) -> Pending | None:
        """The segment that has waited longest."""
        return next(iter(self._pending.values()), None)

    def deadline(self) -> Nanos:
        """When the oldest is to be given up; far away if none waits."""
        for pending in self._pending.values():
            return pending.deadline
        return NEVER

    # -- resolving ---------------------------------------------------------------------------

    def applied(self, done: Done, revision: int) -> None:
        """A segment of ours, or its next part, was applied (or skipped, all of it): answer its clients.

        Numbers are applied in order, so what stands before it and was not applied never will be.
        """
        while (pending := self.oldest) is not None and pending.unanswered < done.first:
            self.fail(
                pending,
                FailureCode.LEADER_LOST,
                Happened.NO,
                "the command was lost with a leader and has not taken effect: send it again",
            )
        if pending is None or pending.unanswered > done.first:
            return
        count = len(done.results)
        self.count -= count
        pending.unanswered += count
        askers = take_askers(pending.askers, count)
        if not pending.askers:
            del self._pending[pending.segment.first]
        results = iter(done.results)
        for client, ids in askers:
            responses = [
                Answer(id, revision, 0, result) if type(result) is bytes else self._failure(id, result)
                for id, result in zip(ids, results, strict=False)  # the next asker's results follow
            ]
            self._ports.reply(client, *responses)

    @staticmethod
    def _failure(id: int, result: Result) -> Failure:
        if isinstance(result, Rejected):
            return Failure(id, FailureCode.REJECTED, Happened.NO, result.reason)
        if isinstance(result, Failed):
            return Failure(id, FailureCode(result.code), _HAPPENED[result.happened], result.message)
        return Failure(
            id,
            FailureCode.LEADER_LOST,
            Happened.NO,
            "the command was overtaken on its way and has not taken effect: send it again",
        )

    def fail(self, pending: Pending, code: FailureCode, happened: Happened, message: str) -> None:
        """Give up a segment: tell its clients why, and whether it may have happened."""
        del self._pending[pending.segment.first]
        for client, ids in pending.askers:
            self.count -= len(ids)
            self._ports.reply(client, *[Failure(id, code, happened, message) for id in ids])

    def fail_sent(self, code: FailureCode, happened: Happened, message: str) -> None:
        """Give up every segment that may be in a log. What comes of it was not seen here."""
        for pending in [pending for pending in self._pending.values() if pending.sent_before]:
            self.fail(pending, code, happened, message)

    def expire(self, now: Nanos, cause: str = "") -> None:
        """Give up what has waited too long. What was never sent has not happened. `cause`: what this member
        knows to be wrong with itself, if anything; it is told too."""
        while (pending := self.oldest) is not None and pending.deadline <= now:
            if not pending.sent_before:
                text = "no leader was found in time; the command has not taken effect"
                self.fail(pending, FailureCode.NO_LEADER, Happened.NO, text + cause)
            else:
                text = "no outcome in time; the command may still take effect"
                self.fail(pending, FailureCode.TIMEOUT, Happened.UNKNOWN, text + cause)


def take_askers(askers: list[Asker], count: int) -> list[Asker]:
    """Take from `askers` those who asked for its first `count` commands."""
    taken = []
    for at, (client, ids) in enumerate(askers):
        if len(ids) > count:
            taken.append((client, ids[:count]))
            askers[: at + 1] = [(client, ids[count:])]
            return taken
        taken.append((client, ids))
        count -= len(ids)
        if not count:
            askers[: at + 1] = []
            return taken
    raise AssertionError(f"{count} commands that nobody asked for")
