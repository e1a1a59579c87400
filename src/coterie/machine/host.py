"""What stands between the log and a `StateMachine` on every member.

The host applies committed entries in order. It keeps what makes a command take effect once: for
each member the highest number that it gave a command (so a segment may be forwarded twice, or
late), and for each client session the replies above the client's floor (dissertation 6.3). It
keeps cluster time. All of this is replicated state: a function of the log alone.

The order in which one entry is applied:

1.  Cluster time advances by the entry's `elapsed`; sessions whose deadline it reached are dropped.
2.  Commands that their origin's number shows to be duplicates, or overtaken, are skipped.
3.  Commands of sessions are refused, answered again, or run. Those that run go to the machine in
    one `Batch` for as long as no command depends on another's reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import msgspec

from coterie.core.errors import CoterieError, SafetyViolation
from coterie.core.messages import AnyCommand, Command, SessionClose, SessionOpen, decode_segments
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch, Index, MemberId, Nanos
from coterie.machine.chunks import Sections, pack, unpack
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.machine.loading import machine_name
from coterie.machine.origins import Origins
from coterie.machine.outcomes import SKIPPED, Done, Failed, FailedCode, MachineFailed, Result, Skipped
from coterie.machine.sessions import (
    MAX_ORDINAL,
    MAX_SESSION_TTL,
    MIN_SESSION_TTL,
    SECOND,
    Session,
    SessionLimits,
    SessionTable,
    session_id,
)

__all__ = ["SKIPPED", "Done", "Failed", "FailedCode", "Host", "MachineFailed", "Result", "Skipped"]

SNAPSHOT_FORMAT = 1
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
_BAD_SEQ = Failed(FailedCode.REJECTED, "seq must be 1 or more", False)


class _Run:
    """Commands gathered for the machine's next batch."""

    __slots__ = ("bodies", "ordinals", "seqs", "sessions")

    def __init__(self) -> None:
        self.ordinals: list[int] = []
        self.bodies: list[bytes] = []
        self.sessions: list[Session | None] = []
        self.seqs: list[int] = []


class Host:
    """Applies the log to one machine. Limits must be the same on every member of a cluster."""

    def __init__(
        self,
        machine: StateMachine,
        *,
        max_sessions: int = 65536,
        max_session_replies: int = 4096,
        max_session_reply_bytes: int = 8 * 1024 * 1024,
        max_total_reply_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        self.machine = machine
        self.applied: Index = 0
        self.applied_epoch: Epoch = NO_EPOCH
        self.time: Nanos = 0
        """Cluster time: the sum of `elapsed` over the log."""
        self.limits = SessionLimits(max_sessions, max_session_replies, max_session_reply_bytes, max_total_reply_bytes)
        self._table = SessionTable(self.limits)
        self._origins = Origins()
        self._touched: list[Session] = []
        """Sessions that the present entry's commands belong to."""

    # The log

    def apply(self, entry: Entry, own: MemberId, boot: int) -> Sequence[Done]:
        """Apply a committed entry: the one after `applied`. Returns the results of the segments that
        came from member `own` in its present `boot`; all segments are applied.

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
        if entry.kind != EntryKind.COMMANDS:
            return ()
        try:
            segments = decode_segments(entry.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SafetyViolation(f"entry {entry.index} was agreed on but holds no commands: {error}") from error

        results: list[Result] = [SKIPPED] * sum(len(segment.commands) for segment in segments)
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
        self._execute(run, results)
        for session in self._touched:
            if session.dropped < session.floor:
                self._table.drop_acknowledged(session)
        self._touched.clear()
        return [Done(first, results[start:end]) for first, start, end in mine]

    def _take(self, commands: Sequence[AnyCommand], ordinal: int, results: list[Result], run: _Run) -> _Run:
        """Answer what needs no run and gather the rest in `run`; returns the run that is then open."""
        index = self.applied
        living = self._table.living
        max_replies = self.limits.max_session_replies
        max_bytes = self.limits.max_session_reply_bytes
        crowded = self._table.reply_bytes >= self.limits.max_total_reply_bytes
        for command in commands:
            if type(command) is not Command:
                run = self._session_command(command, ordinal, results, run)
            elif not command.session:
                run.ordinals.append(ordinal)
                run.bodies.append(command.body)
                run.sessions.append(None)
                run.seqs.append(0)
            elif (session := living.get(command.session)) is None:
                results[ordinal] = _EXPIRED
            else:
                if session.touched != index:
                    self._touch(session)
                seq = command.seq
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
                    self._execute(run, results)
                    run = _Run()
                    answer = self._answer_without_run(session, seq)
                    crowded = self._table.reply_bytes >= self.limits.max_total_reply_bytes
                    if answer is not None:
                        results[ordinal] = answer
                        ordinal += 1
                        continue
                replies[seq] = None
                run.ordinals.append(ordinal)
                run.bodies.append(command.body)
                run.sessions.append(session)
                run.seqs.append(seq)
            ordinal += 1
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
        except Exception as error:
            raise self._failure(run, f"raised {type(error).__name__}: {error}") from error
        try:
            count = len(replies)
        except TypeError as error:
            raise self._failure(run, f"returned {type(replies).__name__}, not a sequence of replies") from error
        if count != len(bodies):
            raise self._failure(run, f"returned {count} replies to {len(bodies)} commands")
        total = 0
        for ordinal, session, seq, reply in zip(run.ordinals, run.sessions, run.seqs, replies, strict=True):
            if type(reply) is bytes:
                size = len(reply)
            elif type(reply) is Rejected:
                size = len(reply.reason)
            else:
                raise self._failure(
                    run, f"returned {type(reply).__name__} for command {ordinal}: a reply is bytes or Rejected"
                )
            results[ordinal] = reply
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

    def query(self, question: bytes) -> bytes | Rejected:
        """Ask the machine. What it raises is told to the asker only: a question changes nothing, and
        one that stopped the node could be asked of every member in turn."""
        try:
            answer = self.machine.query(question)
        except Exception as error:
            return Rejected(f"machine {machine_name(self.machine)} raised {type(error).__name__}: {error}")
        if type(answer) is bytes or type(answer) is Rejected:
            return answer
        return Rejected(f"machine {machine_name(self.machine)} answered with {type(answer).__name__}, not bytes")

    def revision(self) -> int:
        """The machine's revision; the applied index if it has none of its own."""
        revision = self.machine.revision()
        return self.applied if revision is None else revision

    def next_expiry(self) -> Nanos | None:
        """Cluster time at which the next session expires if none is heard from; None without sessions."""
        return self._table.next_expiry()

    @property
    def sessions(self) -> int:
        """Number of living sessions."""
        return len(self._table.living)

    @property
    def kept_reply_bytes(self) -> int:
        """Bytes of replies that all sessions keep."""
        return self._table.reply_bytes

    # Snapshots

    def snapshot(self) -> Iterator[bytes]:
        """Machine, sessions, origins, time and applied index in chunks of at most 1 MiB.

        No entry may be applied between the first chunk and the last: `CoterieError` if one was.
        """
        at = self.applied

        def unmoved(records: Iterable[bytes]) -> Iterator[bytes]:
            for record in records:
                yield record
                if self.applied != at:
                    raise CoterieError(f"entry {self.applied} was applied while a snapshot of {at} was being taken")

        return pack(unmoved(self._records()))

    def _records(self) -> Iterator[bytes]:
        yield b"H" + self._header()
        for record in self._table.records():
            yield b"S" + record
        for chunk in self.machine.snapshot():
            yield b"M" + chunk
        yield b"E"

    def _header(self) -> bytes:
        return _encoder.encode(
            _Header(
                SNAPSHOT_FORMAT,
                self.applied,
                self.applied_epoch,
                self.time,
                self.limits,
                self._origins.records(),
            )
        )

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Become what `snapshot` was taken of. Raises `ValueError` if the chunks are no whole snapshot,
        or were taken under other limits; the machine is then not to be used again."""
        records = unpack(chunks)
        try:
            first = next(records, b"")
            if first[:1] != b"H":
                raise ValueError("the snapshot does not begin with a header")
            header = _header_decoder.decode(first[1:])
            if header.format != SNAPSHOT_FORMAT:
                raise ValueError(f"the snapshot has format {header.format}; this version reads {SNAPSHOT_FORMAT}")
            if header.limits != self.limits:
                raise ValueError(f"the snapshot was taken with {header.limits}, this node has {self.limits}")
            parts = Sections(records)
            table = SessionTable(self.limits)
            table.load(parts.take(b"S"))
            self.machine.restore(parts.take(b"M"))
            parts.finish(b"E")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"the snapshot is not readable: {error}") from error
        self.applied = header.applied
        self.applied_epoch = header.epoch
        self.time = header.time
        self._origins = Origins(header.origins)
        self._table = table

    def digest(self) -> bytes:
        """Hash of machine, sessions, origins, time, applied index and limits: equal at every member
        that has applied the same log, on any machine and any Python."""
        state = blake2b(digest_size=32)
        for part in (self._header(), *self._table.records(), self.machine.digest()):
            state.update(len(part).to_bytes(8, "big"))
            state.update(part)
        return state.digest()


class _Header(msgspec.Struct, frozen=True, array_like=True):
    format: int
    applied: Index
    epoch: Epoch
    time: Nanos
    limits: SessionLimits
    origins: list[tuple[MemberId, int, int]]


_encoder = msgspec.msgpack.Encoder()
_header_decoder: msgspec.msgpack.Decoder[_Header] = msgspec.msgpack.Decoder(_Header)
