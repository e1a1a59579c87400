"""What stands between the log and a `StateMachine` on every member.

The host applies committed entries in order. It keeps what makes a command take effect once: for
each member the highest number that it gave a command (so a segment may be forwarded twice, or
late), and for each client session the replies above the client's floor (dissertation 6.3). It
keeps cluster time. All of this is replicated state: a function of the log alone.

The order in which one entry is applied:

1.  Cluster time advances by the entry's `elapsed`; sessions whose deadline it reached are dropped, and
    a machine whose timer it reached acts.
2.  Commands that their origin's number shows to be duplicates, or overtaken, are skipped.
3.  Commands of sessions are refused, answered again, or run. Those that run go to the machine in
    one `Batch` for as long as no command depends on another's reply, a crowd in a few: who waits for the
    first need not wait for the others (docs/decisions/0019-answers-in-parts.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec

from coterie.core.errors import CoterieError, SafetyViolation
from coterie.core.messages import AnyCommand, Command, SessionClose, SessionOpen, decode_segments
from coterie.core.settings import Settings
from coterie.core.types import Entry, EntryKind, MemberId, Membership, Nanos
from coterie.machine.host_state import CHAIN_BYTES, HostState
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.machine.loading import machine_name
from coterie.machine.outcomes import SKIPPED, Done, Failed, FailedCode, MachineFailed, Result, Skipped
from coterie.machine.sessions import (
    MAX_ORDINAL,
    MAX_SESSION_TTL,
    MIN_SESSION_TTL,
    SECOND,
    Session,
    limits_of,
    reply_sizes,
    session_id,
)
from coterie.machine.stores.interface import OrderedStore, StoreFailed

__all__ = ["SKIPPED", "Done", "Failed", "FailedCode", "Host", "MachineFailed", "MakeHost", "Result", "Skipped"]

DONE: bytes = b""
"""The reply to a session command that has nothing to tell."""

_EXPIRED = Failed(
    FailedCode.SESSION_EXPIRED,
    "the session is not known: it expired, was closed, or never was; open a new one",
    None,
)
_FORGOTTEN = Failed(
    FailedCode.REPLY_FORGOTTEN,
    "the command is below the floor that its client acknowledged: it took effect, and its reply is gone",
    True,
)
RESTORING = Rejected("this member is installing a snapshot: ask another, or ask again in a moment")
"""Why no question can be answered for a while."""
_BAD_SEQ = Failed(FailedCode.REJECTED, "seq must be 1 or more", False)


_BETWEEN = b"\xc1"
"""Between two replies in the chain: nothing and "x" differ from "x" and nothing. (MessagePack has no such byte.)"""
_join: Callable[[Iterable[Any]], bytes] = _BETWEEN.join
"""Tells by a `TypeError` that not all are bytes."""


_REPLIES: set[type] = {bytes, Rejected}


PIECE = 16
"""About so many commands of an entry are applied at once, ..."""
LEAST_PIECES = 3
MOST_PIECES = 4
"""... in so many pieces: each costs a batch, and a write to the client; two of them cost what they win."""


class _Run:
    """Commands gathered for the machine's next batch."""

    __slots__ = ("add", "bodies", "ordinals", "seqs", "sessions")

    def __init__(self) -> None:
        self.ordinals: list[int] = []
        self.bodies: list[bytes] = []
        self.sessions: list[Session | None] = []
        self.seqs: list[int] = []
        self.add = self.bodies.append, self.sessions.append, self.seqs.append

    def pieces(self, about: int) -> Iterator[_Run]:
        """The same in a few parts of `about` so many commands or more: a function of the run alone, so that all members
        give their machines the same batches."""
        count = len(self.bodies)
        parts = min(MOST_PIECES, (count + about // 2) // about)
        if parts < LEAST_PIECES:
            yield self
            return
        size = -(-count // parts)
        for start in range(0, count, size):
            piece = _Run()
            piece.ordinals = self.ordinals[start : start + size]
            piece.bodies = self.bodies[start : start + size]
            piece.sessions = self.sessions[start : start + size]
            piece.seqs = self.seqs[start : start + size]
            yield piece


class Host(HostState):
    """Applies the log to one machine."""

    piece = PIECE
    """The same at all members."""

    # The log

    def apply(
        self, entry: Entry, own: MemberId, boot: int, tell: Callable[[Done], None] | None = None
    ) -> Sequence[Done]:
        """Apply a committed entry: the one after `applied`. Returns the results of the segments that
        came from member `own` in its present `boot`; all segments are applied.

        `tell` gets the results of a part of the entry when that part was applied; what is returned is those that it was
        not told. It must not have anything applied.

        Raises `MachineFailed` if the machine breaks its contract and `SafetyViolation` if the entry
        can't follow; either ends the node, and the host's state is not to be used again.
        """
        if entry.index != self.applied + 1 or entry.elapsed < 0:
            raise SafetyViolation(
                f"entry {entry.index} (elapsed {entry.elapsed} ns) was to be applied after entry {self.applied}"
            )
        self.applied = entry.index
        self.applied_epoch = entry.epoch
        self.time += entry.elapsed
        self._table.expire(self.time)
        timer = self.machine_timer()
        if timer is not None and timer <= self.time:
            self._pass_time()
        if entry.kind != EntryKind.COMMANDS:
            self._adopt(entry)
            self._link(())
            return ()
        self._unflushed_bytes += len(entry.payload)
        try:
            segments = decode_segments(entry.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SafetyViolation(f"entry {entry.index} was agreed on but holds no commands: {error}") from error

        results: list[Result] = [SKIPPED] * sum([len(segment.commands) for segment in segments])
        mine: list[tuple[int, int, int]] = []
        run = _Run()
        start = 0
        for segment in segments:
            commands = segment.commands
            skipped = self._origins.pass_numbers(segment.origin, segment.boot, segment.first, len(commands))
            if skipped < len(commands):
                run = self._take(commands[skipped:] if skipped else commands, start + skipped, results, run)
            end = start + len(commands)
            if segment.origin == own and segment.boot == boot:
                mine.append((segment.first, start, end))
            start = end
        for piece in run.pieces(self.piece):
            self._execute(piece, results)
            if tell is not None and piece is not run:
                mine = _tell(tell, mine, results, piece.ordinals[-1] + 1)
        changed = self._table.changed
        for session in self._touched:
            changed.add(session.id)
            if session.dropped < session.floor:
                self._table.drop_acknowledged(session)
        self._touched.clear()
        self._link(results)
        return [Done(first, results[start:end]) for first, start, end in mine]

    def _pass_time(self) -> None:
        """The machine's timer was reached."""
        try:
            self.machine.pass_time(self.applied, self.time)
        except StoreFailed:
            raise  # the disk's fault
        except Exception as error:
            name = machine_name(self.machine)
            raise MachineFailed(
                f"machine {name} raised {type(error).__name__}: {error} (in pass_time, entry {self.applied})"
            ) from error

    def _adopt(self, entry: Entry) -> None:
        """A membership or settings are in force from this entry on."""
        try:
            if entry.kind == EntryKind.MEMBERSHIP:
                self.membership = _membership_decoder.decode(entry.payload)
            elif entry.kind == EntryKind.SETTINGS:
                self.settings = _settings_decoder.decode(entry.payload)
                self.limits = self._table.limits = limits_of(self.settings)
        except (msgspec.DecodeError, UnicodeDecodeError, CoterieError) as error:
            raise SafetyViolation(f"entry {entry.index} was agreed on but is no {entry.kind.name}: {error}") from error

    def _link(self, results: Sequence[Result]) -> None:
        """Add an entry to the chain: its index, cluster time after it, and what became of its commands.

        Once an entry, so a command pays for its bytes alone. Why something was refused is left out: the
        words may come from a library, in another version at another member.
        """
        try:
            # Nearly always all are bytes, and a look at each would cost as much as the hash: join finds out.
            joined = _join(results)
        except TypeError:
            joined = _BETWEEN.join(map(_mark, results))
        salt = self.applied.to_bytes(8, "big") + self.time.to_bytes(8, "big")
        self.chain = blake2b(joined, digest_size=CHAIN_BYTES, key=self.chain, salt=salt).digest()

    def _take(self, commands: Sequence[AnyCommand], first: int, results: list[Result], run: _Run) -> _Run:
        """Answer what needs no run and gather the rest in `run`; returns the run that is then open."""
        index = self.applied
        living = self._table.living
        max_replies = self.limits.max_session_replies
        max_bytes = self.limits.max_session_reply_bytes
        crowded = self._table.reply_bytes >= self.limits.max_total_reply_bytes
        add_body, add_session, add_seq = run.add
        since = first  # the commands from here on are in the run, and their ordinals are not yet
        for ordinal, command in enumerate(commands, first):
            if type(command) is not Command:
                run.ordinals += range(since, ordinal)
                since = ordinal + 1
                run = self._session_command(command, ordinal, results, run)
                add_body, add_session, add_seq = run.add
                continue
            session = None
            seq = command.seq
            if command.session:
                session = living.get(command.session)
                if session is None:
                    run.ordinals += range(since, ordinal)
                    since = ordinal + 1
                    results[ordinal] = _EXPIRED
                    continue
                if session.touched != index:
                    self._touch(session)
                if command.floor > session.floor:
                    session.raise_floor(command.floor, seq)
                replies = session.replies
                if (
                    seq < session.floor
                    or seq in replies
                    or crowded
                    or len(replies) >= max_replies
                    or session.reply_bytes >= max_bytes
                ):
                    run.ordinals += range(since, ordinal)
                    since = ordinal
                    self._execute(run, results)
                    run = _Run()
                    add_body, add_session, add_seq = run.add
                    answer = self._answer_without_run(session, seq)
                    crowded = self._table.reply_bytes >= self.limits.max_total_reply_bytes
                    if answer is not None:
                        since = ordinal + 1
                        results[ordinal] = answer
                        continue
                replies[seq] = None
            add_body(command.body)
            add_session(session)
            add_seq(seq)
        run.ordinals += range(since, first + len(commands))
        return run

    def _answer_without_run(self, session: Session, seq: int) -> Result | None:
        """The answer to a session's command that was seen before or that there is no room for; None
        if it may run after all. No batch is open."""
        if seq < 1:
            return _BAD_SEQ
        if seq < session.floor:
            return _FORGOTTEN
        kept = session.replies.get(seq)
        if kept is not None:
            return kept
        self._table.drop_acknowledged(session)
        limits = self.limits
        if len(session.replies) >= limits.max_session_replies:
            text = f"the session keeps {len(session.replies)} replies, the limit is {limits.max_session_replies}"
        elif session.reply_bytes >= limits.max_session_reply_bytes:
            text = (
                f"the session keeps {session.reply_bytes} B of replies, the limit is {limits.max_session_reply_bytes}"
            )
        elif self._table.reply_bytes >= limits.max_total_reply_bytes:
            text = (
                f"all sessions keep {self._table.reply_bytes} B of replies, the limit is {limits.max_total_reply_bytes}"
            )
        else:
            return None
        return Failed(FailedCode.OVERLOADED, f"{text}: acknowledge some (raise the floor) and try again", False)

    def _session_command(self, command: AnyCommand, ordinal: int, results: list[Result], run: _Run) -> _Run:
        """Open, close or keep a session; returns the run that is then open."""
        if isinstance(command, SessionOpen):
            results[ordinal] = self._open_session(command.ttl, ordinal)
            return run
        session = self._table.living.get(command.session)
        if isinstance(command, SessionClose):
            if session is not None:
                self._execute(run, results)  # its commands before this one still write their replies
                run = _Run()
                self._table.close(session.id)
            results[ordinal] = DONE  # closing what is closed: the wish is fulfilled
        elif session is None:
            results[ordinal] = _EXPIRED
        else:
            self._touch(session)
            session.raise_floor(command.floor, command.floor)
            results[ordinal] = DONE
        return run

    def _open_session(self, ttl: Nanos, ordinal: int) -> Result:
        if not MIN_SESSION_TTL <= ttl <= MAX_SESSION_TTL:
            return Failed(
                FailedCode.REJECTED,
                f"a session's ttl must be from {MIN_SESSION_TTL / SECOND:g} s to {MAX_SESSION_TTL / SECOND:g} s, "
                f"not {ttl / SECOND:g} s",
                False,
            )
        if len(self._table.living) >= self.limits.max_sessions:
            return Failed(
                FailedCode.SESSIONS_FULL,
                f"there are {len(self._table.living)} sessions, the limit is {self.limits.max_sessions}: "
                "try again later",
                False,
            )
        if ordinal > MAX_ORDINAL:
            return Failed(FailedCode.OVERLOADED, f"more than {MAX_ORDINAL} commands in one entry", False)
        id = session_id(self.applied, ordinal)
        self._table.open(id, ttl, self.time)
        return _encoder.encode(id)

    def _touch(self, session: Session) -> None:
        """A command of the session arrived: its life begins anew."""
        session.deadline = self.time + session.ttl
        if session.touched != self.applied:
            session.touched = self.applied
            self._touched.append(session)

    def _execute(self, run: _Run, results: list[Result]) -> None:
        """Run the gathered commands on the machine; note results and sessions' replies."""
        bodies = run.bodies
        if not bodies:
            return
        try:
            replies = self.machine.apply(Batch(self.applied, self.time, run.ordinals, bodies))
        except StoreFailed:
            raise  # the disk's fault
        except Exception as error:
            raise self._failure(run, f"raised {type(error).__name__}: {error}") from error
        try:
            count = len(replies)
        except TypeError as error:
            raise self._failure(run, f"returned {type(replies).__name__}, not a sequence of replies") from error
        if count != len(bodies):
            raise self._failure(run, f"returned {count} replies to {len(bodies)} commands")
        kinds = set(map(type, replies))
        if not kinds <= _REPLIES:
            raise self._failure(run, f"returned {_names(kinds - _REPLIES)}: a reply is bytes or Rejected")
        ordinals = run.ordinals
        if ordinals[-1] - ordinals[0] == count - 1:
            results[ordinals[0] : ordinals[-1] + 1] = replies
        else:
            for ordinal, reply in zip(ordinals, replies, strict=True):
                results[ordinal] = reply
        total = 0
        for session, seq, reply, size in zip(run.sessions, run.seqs, replies, reply_sizes(replies), strict=True):
            if session is not None:
                session.replies[seq] = reply
                session.reply_bytes += size
                total += size
        self._table.reply_bytes += total

    def _failure(self, run: _Run, what: str) -> MachineFailed:
        first, last = run.ordinals[0], run.ordinals[-1]
        commands = f"command {first}" if first == last else f"commands {first} to {last}"
        return MachineFailed(
            f"machine {machine_name(self.machine)} {what} (entry {self.applied}, {commands}, "
            f"the first begins with {run.bodies[0][:32]!r})"
        )

    # Questions

    def fence(self) -> bytes | Rejected:
        """Whether the machine's state is one that may be read: what `query` looks at before it asks the machine."""
        return RESTORING if self.restoring else b""

    def query(self, question: bytes) -> bytes | Rejected:
        """Ask the machine. What it raises is told to the asker only: a question changes nothing, and
        one that stopped the node could be asked of every member in turn."""
        if self.restoring:
            return RESTORING
        try:
            answer = self.machine.query(question)
        except StoreFailed:
            raise  # the disk's fault: what it holds is wrong, whoever asks
        except Exception as error:
            return Rejected(f"machine {machine_name(self.machine)} raised {type(error).__name__}: {error}")
        if type(answer) is bytes or type(answer) is Rejected:
            return answer
        return Rejected(f"machine {machine_name(self.machine)} answered with {type(answer).__name__}, not bytes")


def _tell(
    tell: Callable[[Done], None], mine: list[tuple[int, int, int]], results: list[Result], stop: int
) -> list[tuple[int, int, int]]:
    """Tell the results of `mine` that come before `stop`; returns what is left."""
    left = []
    for number, start, end in mine:
        ready = max(0, min(end, stop) - start)
        if ready:
            tell(Done(number, results[start : start + ready]))
        if start + ready < end:
            left.append((number + ready, start + ready, end))
    return left


MakeHost: TypeAlias = Callable[[StateMachine, OrderedStore | None], Host]
"""As `Host.over`."""


def _names(kinds: set[type]) -> str:
    return " and ".join(sorted(kind.__name__ for kind in kinds))


def _mark(result: Result) -> bytes:
    """What stands for a result in the chain."""
    if type(result) is bytes:
        return result
    if isinstance(result, Failed):
        return b"\xc1F%d" % result.code
    return b"\xc1S" if result is SKIPPED else b"\xc1R"


_encoder = msgspec.msgpack.Encoder()
_membership_decoder: msgspec.msgpack.Decoder[Membership] = msgspec.msgpack.Decoder(Membership)
_settings_decoder: msgspec.msgpack.Decoder[Settings] = msgspec.msgpack.Decoder(Settings)
