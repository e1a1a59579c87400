"""Whatever is forwarded twice, late, out of order or sent again runs once: the host against a model
that applies one command at a time and forgets nothing."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.machine.machines import A, B, Recorder, entry

from coterie.core.messages import AnyCommand, Command, Segment, SessionClose, SessionKeep, SessionOpen
from coterie.core.settings import Settings
from coterie.machine.host import SKIPPED, Failed, FailedCode, Host, Result
from coterie.machine.interface import Rejected
from coterie.machine.sessions import MIN_SESSION_TTL, session_id

MAX_SESSIONS = 3
MAX_REPLIES = 4
UNIT = MIN_SESSION_TTL


class Session:
    def __init__(self, ttl: int, deadline: int) -> None:
        self.ttl, self.deadline, self.floor = ttl, deadline, 1
        self.replies: dict[int, bytes | Rejected] = {}


class Model:
    """The rules, one command at a time. Failures are their codes."""

    def __init__(self) -> None:
        self.time = self.index = 0
        self.sessions: dict[int, Session] = {}
        self.passed: dict[int, tuple[int, int]] = {}
        self.ran: list[bytes] = []

    def apply(self, segments: list[Segment], elapsed: int) -> list[list[object]]:
        self.index += 1
        self.time += elapsed
        self.sessions = {id: s for id, s in self.sessions.items() if s.deadline > self.time}
        ordinal, results = 0, list[list[object]]()
        for segment in segments:
            results.append([])
            for number, command in enumerate(segment.commands, start=segment.first):
                if (segment.boot, number) > self.passed.get(segment.origin, (0, 0)):
                    self.passed[segment.origin] = (segment.boot, number)
                    results[-1].append(self._command(command, ordinal))
                else:
                    results[-1].append(SKIPPED)
                ordinal += 1
        return results

    def _run(self, body: bytes) -> bytes | Rejected:
        if body == b"no":
            return Rejected("no")
        self.ran.append(body)
        return b"%d:%s" % (len(self.ran), body)

    def _command(self, command: AnyCommand, ordinal: int) -> object:
        if isinstance(command, SessionOpen):
            if len(self.sessions) >= MAX_SESSIONS:
                return FailedCode.SESSIONS_FULL
            id = session_id(self.index, ordinal)
            self.sessions[id] = Session(command.ttl, self.time + command.ttl)
            return msgspec.msgpack.encode(id)
        if isinstance(command, SessionClose):
            self.sessions.pop(command.session, None)
            return b""
        if isinstance(command, Command) and not command.session:
            return self._run(command.body)
        session = self.sessions.get(command.session)
        if session is None:
            return FailedCode.SESSION_EXPIRED
        session.deadline = self.time + session.ttl
        floor = command.floor if isinstance(command, SessionKeep) else min(command.floor, command.seq)
        session.floor = max(session.floor, floor)
        session.replies = {seq: reply for seq, reply in session.replies.items() if seq >= session.floor}
        if isinstance(command, SessionKeep):
            return b""
        if command.seq < session.floor:
            return FailedCode.REPLY_FORGOTTEN
        if command.seq not in session.replies:
            if len(session.replies) >= MAX_REPLIES:
                return FailedCode.OVERLOADED
            session.replies[command.seq] = self._run(command.body)
        return session.replies[command.seq]


def seen(result: Result) -> object:
    """A result as the model tells it."""
    return result.code if isinstance(result, Failed) else result


class ExactlyOnce(RuleBasedStateMachine):
    """Members A and B take commands; the network delivers their segments as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.host = self._host()
        self.model = Model()
        self.boots = {A: 1, B: 1}
        self.numbers = {A: 1, B: 1}
        self.sent: list[Segment] = []
        self.opened: list[int] = [12345]

    def _host(self) -> Host:
        return Host(Recorder(), settings=Settings(max_sessions=MAX_SESSIONS, max_session_replies=MAX_REPLIES))

    def _commands(self, data: st.DataObject) -> list[AnyCommand]:
        kinds = st.lists(st.sampled_from("cccccccpokx" if len(self.opened) > 1 else "oop"), min_size=1, max_size=4)
        commands: list[AnyCommand] = []
        for kind in data.draw(kinds):
            session = data.draw(st.sampled_from(self.opened[-4:]))
            seq, floor = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 10))
            if kind == "c":
                body = b"no" if seq % 4 == 0 else b"session %d seq %d" % (session, seq)
                commands.append(Command(session, seq, data.draw(st.sampled_from([1, floor, seq])), body))
            elif kind == "p":
                commands.append(Command(0, 0, 0, b"plain %d %d" % (len(self.sent), len(commands))))
            elif kind == "o":
                commands.append(SessionOpen(data.draw(st.integers(1, 4)) * UNIT))
            else:
                commands.append(SessionKeep(session, min(floor, 4)) if kind == "k" else SessionClose(session))
        return commands

    @rule(data=st.data(), origin=st.sampled_from([A, B]))
    def take(self, data: st.DataObject, origin: int) -> None:
        """A member numbers commands of its clients."""
        commands = self._commands(data)
        self.sent.append(Segment(origin, self.boots[origin], self.numbers[origin], tuple(commands)))
        self.numbers[origin] += len(commands)

    @rule(origin=st.sampled_from([A, B]))
    def reboot(self, origin: int) -> None:
        self.boots[origin] += 1
        self.numbers[origin] = 1

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), elapsed=st.sampled_from([0, 0, 1, UNIT - 1, UNIT, 2 * UNIT]))
    def deliver(self, data: st.DataObject, elapsed: int) -> None:
        """Any segments ever sent, recent ones more often, are agreed on as the next entry."""
        segments = data.draw(st.lists(st.sampled_from(self.sent[-3:] + self.sent[-10:]), min_size=1, max_size=3))
        expected = self.model.apply(segments, elapsed)
        done = self.host.apply(entry(self.host.applied + 1, *segments, elapsed=elapsed), A, self.boots[A])
        own = [
            (segment.first, results)
            for segment, results in zip(segments, expected, strict=True)
            if (segment.origin, segment.boot) == (A, self.boots[A])
        ]
        assert [(d.first, [seen(r) for r in d.results]) for d in done] == own
        self.opened += [id for id in self.model.sessions if id not in self.opened]

    @rule()
    def restore(self) -> None:
        """Another member is restored from a snapshot, and takes over."""
        twin = self._host()
        twin.restore(self.host.snapshot())
        assert twin.digest() == self.host.digest()
        self.host = twin

    @invariant()
    def same_as_the_model(self) -> None:
        machine = self.host.machine
        assert isinstance(machine, Recorder)
        assert machine.ran == self.model.ran
        assert self.host.time == self.model.time
        assert self.host.sessions == len(self.model.sessions) <= MAX_SESSIONS
        kept = [reply for session in self.model.sessions.values() for reply in session.replies.values()]
        assert self.host.kept_reply_bytes == sum(len(r.reason if isinstance(r, Rejected) else r) for r in kept)
        deadlines = [session.deadline for session in self.model.sessions.values()]
        assert self.host.next_timer() == min(deadlines, default=None)

    @invariant()
    def nothing_ran_twice(self) -> None:
        assert all(count == 1 for count in Counter(self.model.ran).values())


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
