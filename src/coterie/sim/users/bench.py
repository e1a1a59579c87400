"""The machine as its own specification: alone, one command at a time in the order of the log, never restored.

Replication must not be seen: whatever a replica went through (batches, snapshots, restarts), its state and its replies
must be those of this one. On the way the bench tries what `StateMachine` promises, and the user's invariant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import msgspec

from coterie.core.types import Index, Nanos
from coterie.machine.chunks import MAX_CHUNK_BYTES
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.sim.verdict import Violation

LAWS: Final = {
    "machine-raised": "no command and no question makes the machine raise an exception",
    "machine-reply": "a reply is bytes or Rejected, one for each command",
    "machine-deterministic": "same commands, same state and same replies, in any process",
    "machine-batches": "it does not matter which commands are applied in one batch",
    "machine-restore": "a machine restored from a snapshot is equal, and stays equal; nothing of its old state is left",
    "machine-frozen": "what `frozen` returned stays as it was while commands are applied",
    "machine-query": "a question, a snapshot, a digest change nothing",
    "machine-rejected": "a rejected command changes nothing",
    "machine-revision": "the revision never decreases as commands are applied",
    "invariant": "the invariant holds after every command",
}

MakeMachine: TypeAlias = Callable[[], StateMachine]
Invariant: TypeAlias = Callable[[Any], object]
"""Takes the user's machine; raises `AssertionError`, or returns False, where it does not hold."""


TIME: Final = -1
"""As an ordinal: cluster time, which the entry carried to the machine's timer; before the entry's commands."""


class Given(msgspec.Struct, frozen=True):
    """One command at its place in the log; or that time passed."""

    index: Index
    ordinal: int
    """`TIME`: no command."""
    time: Nanos
    """Cluster time."""
    command: bytes


class Step(msgspec.Struct, frozen=True):
    """What the machine made of one command."""

    given: Given
    reply: bytes | Rejected
    digest: bytes
    """Of the state after it."""


def apply_one(machine: StateMachine, given: Given) -> bytes | Rejected:
    """The machine's reply to one command, empty if that is the time. Raises `Violation` if it breaks the interface."""
    if given.ordinal == TIME:
        pass_time(machine, given)
        return b""
    batch = Batch(given.index, given.time, (given.ordinal,), (given.command,))
    try:
        replies = list(machine.apply(batch))
    except Exception as error:
        raise Violation("machine-raised", f"apply raised {type(error).__name__}: {error}") from error
    if len(replies) != 1 or type(replies[0]) not in (bytes, Rejected):
        raise Violation("machine-reply", f"apply of one command returned {replies!r:.200}")
    return replies[0]


def pass_time(machine: StateMachine, given: Given) -> None:
    """Let the machine act, if its timer is reached: a part of a log may be without what set it. Raises `Violation`."""
    try:
        timer = machine.next_timer()
        if timer is not None and timer <= given.time:
            machine.pass_time(given.index, given.time)
    except Exception as error:
        raise Violation("machine-raised", f"at {given.time} ns it raised {type(error).__name__}: {error}") from error


def ask(machine: StateMachine, question: bytes) -> bytes | Rejected:
    """The machine's answer. Raises `Violation` if it breaks the interface."""
    try:
        answer = machine.query(question)
    except Exception as error:
        raise Violation("machine-raised", f"query({question!r:.200}) raised {type(error).__name__}: {error}") from error
    if type(answer) not in (bytes, Rejected):
        raise Violation("machine-reply", f"query({question!r:.200}) returned {answer!r:.200}")
    return answer


def digest_of(machine: StateMachine) -> bytes:
    """The machine's digest. Raises `Violation` if it breaks the interface."""
    try:
        digest = machine.digest()
    except Exception as error:
        raise Violation("machine-raised", f"digest raised {type(error).__name__}: {error}") from error
    if not isinstance(digest, bytes):
        raise Violation("machine-reply", f"digest returned {type(digest).__name__}, not bytes")
    return digest


def hold(invariant: Invariant | None, machine: StateMachine) -> None:
    """Raise `Violation` where the invariant does not hold."""
    if invariant is None:
        return
    name = getattr(invariant, "__name__", "the invariant")
    try:
        held = invariant(machine)
    except AssertionError as error:
        raise Violation("invariant", f"{name}: {error}" if str(error) else f"{name} does not hold") from error
    if held is False:
        raise Violation("invariant", f"{name} returned False")


class Bench:
    """One machine, never restored, and its twin, which is restored from it again and again."""

    def __init__(self, make: MakeMachine, invariant: Invariant | None = None, *, every: int = 8) -> None:
        """`every`: commands between two snapshots."""
        self._make = make
        self._invariant = invariant
        self._every = every
        self.machine = make()
        self._twin = make()
        self._spare = make()
        """The twin of before the last snapshot: it holds an older state when it is restored."""
        self.steps: list[Step] = []
        self.digest = digest_of(self.machine)
        self._revision = self.machine.revision()
        self._frozen: tuple[Iterable[bytes], bytes] = (self.machine.frozen(), self.digest)
        self.restores = 0
        self.broken_at: Given | None = None
        """The first command at which a law was broken. (Its judge may be heard later, when more has been applied.)"""
        hold(invariant, self.machine)

    def run(self, log: Iterable[Given]) -> None:
        """Apply all these commands."""
        for given in log:
            self.apply(given)

    def apply(self, given: Given) -> Step:
        """Apply the log's next command. Raises `Violation`."""
        try:
            return self._apply(given)
        except Violation:
            self.broken_at = self.broken_at or given
            raise

    def _apply(self, given: Given) -> Step:
        before = self.digest
        reply = apply_one(self.machine, given)
        self.digest = digest_of(self.machine)
        step = Step(given, reply, self.digest)
        self.steps.append(step)
        if isinstance(reply, Rejected) and self.digest != before:
            raise Violation("machine-rejected", f"the command was rejected ({reply.reason}), yet the state changed")
        self._check_revision()
        self._check_twin(step)
        if len(self.steps) % self._every == 0:
            self._restore()
        hold(self._invariant, self.machine)
        return step

    def answer(self, question: bytes) -> bytes | Rejected:
        """The present state's answer. Raises `Violation`."""
        return ask(self.machine, question)

    def ask(self, question: bytes) -> bytes | Rejected:
        """The present state's answer to a new question, which must change nothing. Raises `Violation`."""
        answer = self.answer(question)
        self._unchanged(f"query({question!r:.200})")
        return answer

    def _unchanged(self, what: str) -> None:
        now = digest_of(self.machine)
        if now != self.digest:
            raise Violation("machine-query", f"{what} changed the state: {differ(self.digest, now)}")

    def _check_revision(self) -> None:
        revision = self.machine.revision()
        if revision is not None and self._revision is not None and revision < self._revision:
            raise Violation("machine-revision", f"the revision went from {self._revision} back to {revision}")
        self._revision = revision

    def _check_twin(self, step: Step) -> None:
        reply = apply_one(self._twin, step.given)
        digest = digest_of(self._twin)
        if reply != step.reply:
            raise Violation("machine-restore", f"restored from a snapshot it replies {reply!r}, else {step.reply!r}")
        if digest != step.digest:
            raise Violation("machine-restore", f"restored from a snapshot it differs: {differ(step.digest, digest)}")
        self._check_timer(self._twin, "machine-restore", "restored from a snapshot")

    def _check_timer(self, restored: StateMachine, check: str, how: str) -> None:
        timer, found = self.machine.next_timer(), restored.next_timer()
        if timer != found:
            raise Violation(check, f"{how} its timer is at {found}, not at {timer}")

    def _restore(self) -> None:
        """Restore the spare, which must keep nothing of its old state; and a new machine from what was frozen."""
        self.restores += 1
        chunks = self._chunks(self.machine.snapshot(), "snapshot")
        self._unchanged("snapshot()")
        self._become(self._spare, chunks, self.digest, "machine-restore", "restored from a snapshot")
        self._twin, self._spare = self._spare, self._twin
        frozen, digest = self._frozen
        kept = self._chunks(frozen, "frozen")
        self._become(self._make(), kept, digest, "machine-frozen", "restored from what `frozen` gave before")
        self._frozen = (self.machine.frozen(), self.digest)

    def _chunks(self, chunks: Iterable[bytes], method: str) -> list[bytes]:
        try:
            found: list[object] = list(chunks)
        except Exception as error:
            raise Violation("machine-raised", f"{method} raised {type(error).__name__}: {error}") from error
        whole = []
        for chunk in found:
            if not isinstance(chunk, bytes) or len(chunk) > MAX_CHUNK_BYTES:
                size = f"{len(chunk)} bytes" if isinstance(chunk, bytes) else type(chunk).__name__
                raise Violation("machine-reply", f"{method} gave a chunk of {size}: at most {MAX_CHUNK_BYTES} bytes")
            whole.append(chunk)
        return whole

    def _become(self, machine: StateMachine, chunks: list[bytes], digest: bytes, check: str, how: str) -> None:
        try:
            machine.restore(iter(chunks))
        except Exception as error:
            raise Violation("machine-raised", f"restore raised {type(error).__name__}: {error}") from error
        if (found := digest_of(machine)) != digest:
            raise Violation(check, f"{how} it differs: {differ(digest, found)}")


def differ(wanted: bytes, found: bytes) -> str:
    """Two digests, for people."""
    return f"its digest is {found.hex()[:16]}, not {wanted.hex()[:16]}"
