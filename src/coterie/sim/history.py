"""What clients saw, against what the replicated machine did.

The key-value machine's revisions give every effect its place in one total order, so strict
serializability can be checked operation by operation: an answer must tell the truth about its
revision, and its revision must not be older than what was acknowledged before the operation began.
At the end the plain register checker, which knows nothing of revisions, looks at the same history.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

from coterie.check import FOREVER, REGISTER, Operation, linearizable
from coterie.core.types import Index, MemberId, Nanos
from coterie.machine.host import Host
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.machine.kv import protocol as kv
from coterie.sim.subject import Judge
from coterie.sim.verdict import Figures, Violation

LAWS: Final = {
    "write-true": "an acknowledged write stands at the revision that its answer names",
    "write-order": "an acknowledged write has a higher revision than all that was acknowledged before it began",
    "compare-true": "a transaction succeeds just where its comparisons hold at its place in the log",
    "read-true": "a read's items are those of the state at the revision that its answer names",
    "read-fresh": "a linearizable read sees all that was acknowledged before; a session read what it asked for",
    "read-age": "a stale read sees all that was acknowledged before the age that its answer names",
    "said-no": "an operation that was said not to have happened never happens",
    "said-yes": "an operation that was said to have happened has happened",
    "acknowledged-stays": "what was acknowledged is in the state of every replica at the end",
    "linearizable": "each register's history is linearizable (Gibbons and Korach)",
}


class Op(msgspec.Struct):
    """One operation of a client."""

    client: int
    kind: str
    """`put`, `cas`, `get`, `session` or `stale`."""
    key: bytes
    value: bytes
    """What a write writes (unique in the run); b"" for a read."""
    start: Nanos
    floor: int
    """Highest revision that any client had seen when the operation began."""
    end: Nanos = FOREVER
    outcome: str = ""
    """`ok`, `no` or `unknown` once it has ended."""
    read: bytes | None = None

    @property
    def write(self) -> bool:
        return self.kind in ("put", "cas")


class History(Judge):
    """Judge of what clients see; fed by the observed machine and by the clients."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self.ops: list[Op] = []
        self._newest: tuple[Index, int] = (0, 0)
        """Index and first ordinal of the newest batch that some replica applied."""
        self._revisions: dict[bytes, list[int]] = {}
        self._values: dict[bytes, list[bytes]] = {}
        self._written: dict[bytes, int] = {}
        """Revision of each value that took effect: every written value is unique."""
        self._refused: dict[bytes, Op] = {}
        self.age_permille = 1300
        """How much more than its answer says a stale read may be behind: clocks may run 10 % fast or slow, each."""
        self._stopped: Nanos = 0
        """And by how much more: clocks have stood still for so long."""
        self._seen = 0
        self._seen_times: list[Nanos] = [-1]
        self._seen_revisions: list[int] = [0]

    @property
    def applied_index(self) -> Index:
        """Highest index whose commands some replica applied."""
        return self._newest[0]

    @property
    def seen(self) -> int:
        """Highest revision that any client was told of."""
        return self._seen

    def latest(self, key: bytes) -> tuple[int, bytes]:
        """Revision and value of the key's last change; (0, b"") if there was none."""
        revisions = self._revisions.get(key)
        return (revisions[-1], self._values[key][-1]) if revisions else (0, b"")

    # -- what the machine did ------------------------------------------------------------------

    def applied(self, machine: StateMachine, batch: Batch, replies: Sequence[bytes | Rejected]) -> None:
        """See `Judge`. The first to apply an index tells what happened there (that the others do the same is
        checked elsewhere)."""
        if (batch.index, batch.ordinals[0]) <= self._newest:
            return
        self._newest = (batch.index, batch.ordinals[0])
        for body, reply in zip(batch.commands, replies, strict=True):
            if isinstance(reply, Rejected):
                continue
            command = kv.command_decoder.decode(body)
            answer = kv.reply_decoder.decode(reply)
            if isinstance(command, kv.Put) and isinstance(answer, kv.PutReply):
                self._change(command, answer.revision)
            elif isinstance(command, kv.Txn) and isinstance(answer, kv.TxnReply):
                self._check_compares(command, answer)
                for part in command.then if answer.succeeded else command.otherwise:
                    if isinstance(part, kv.Put):
                        self._change(part, answer.revision)

    def _check_compares(self, txn: kv.Txn, answer: kv.TxnReply) -> None:
        """Clients compare the revision of a key's last change with one that they saw."""
        holds = all(self.latest(compare.key)[0] == compare.number for compare in txn.compares)
        if holds != answer.succeeded:
            found = [(compare.key, compare.number, self.latest(compare.key)[0]) for compare in txn.compares]
            told = "succeeded" if answer.succeeded else "failed"
            raise Violation("compare-true", f"a transaction {told}; (key, revision asked for, revision): {found}")

    def _change(self, put: kv.Put, revision: int) -> None:
        self._revisions.setdefault(put.key, []).append(revision)
        self._values.setdefault(put.key, []).append(put.value)
        self._note_written(put.value, revision)

    def _note_written(self, value: bytes, revision: int) -> None:
        self._written[value] = revision
        if value in self._refused:
            raise Violation("said-no", f"{self._refused[value]} was refused, yet stands at revision {revision}")

    # -- what clients saw ----------------------------------------------------------------------

    def begin(self, client: int, kind: str, key: bytes, value: bytes, now: Nanos) -> Op:
        """A client begins an operation."""
        op = Op(client=client, kind=kind, key=key, value=value, start=now, floor=self._seen)
        self.ops.append(op)
        return op

    def fail(self, op: Op, now: Nanos, happened: str) -> None:
        """The operation failed: `no`, `yes` (its reply is lost) or `unknown`."""
        op.end, op.outcome = (FOREVER if happened == "unknown" else now), happened
        if happened == "unknown":
            self._figures.unknown += 1
            return
        self._figures.completed += 1
        if op.write and happened == "no":
            self._refused[op.value] = op
            if op.value in self._written:
                raise Violation("said-no", f"{op} was refused, yet stands at revision {self._written[op.value]}")
        if op.write and happened == "yes" and op.kind == "put" and op.value not in self._written:
            raise Violation("said-yes", f"{op} is said to have happened, and no replica applied it")

    def wrote(self, op: Op, now: Nanos, revision: int, took: bool) -> None:
        """The write was answered. `took` is False for a transaction whose condition did not hold."""
        self._end(op, now)
        if not took:
            if op.value in self._written:
                raise Violation("write-true", f"{op} says it changed nothing, yet stands at {self._written[op.value]}")
            op.outcome = "no"
            self._refused[op.value] = op
            self._see(now, revision)
            return
        if self._written.get(op.value) != revision:
            raise Violation(
                "write-true", f"{op} says revision {revision}; the machine has it at {self._written.get(op.value)}"
            )
        if revision <= op.floor:
            raise Violation("write-order", f"{op} got revision {revision}, not above {op.floor}")
        self._see(now, revision)

    def got(self, op: Op, now: Nanos, reply: kv.RangeReply, age: Nanos, at_least: int) -> None:
        """The read was answered. `age`: for a stale read, the bound in nanoseconds, -1 if none."""
        self._end(op, now)
        position = bisect_right(self._revisions.get(op.key, []), reply.revision) - 1
        wanted = (self._revisions[op.key][position], self._values[op.key][position]) if position >= 0 else None
        found = (reply.items[0].mod, reply.items[0].value) if reply.items else None
        if found != wanted:
            raise Violation("read-true", f"{op} got {found} at revision {reply.revision}; the state had {wanted}")
        op.read = found[1] if found is not None else None
        if op.kind == "get" and reply.revision < op.floor:
            raise Violation("read-fresh", f"{op} was answered at {reply.revision}, older than {op.floor}")
        if op.kind == "session" and reply.revision < at_least:
            raise Violation("read-fresh", f"{op} was answered at {reply.revision}, older than {at_least}")
        if op.kind == "stale" and age >= 0:
            self._check_age(op, reply.revision, age)
        self._see(now, reply.revision)

    def clock_stopped(self, duration: Nanos) -> None:
        """See `Judge`."""
        self._stopped += duration

    def _check_age(self, op: Op, revision: int, age: Nanos) -> None:
        """The answer was made after the operation began, so its bound reaches back at least from there.
        It is told by one clock and was counted by others: see `age_permille`."""
        reach = op.start - age * self.age_permille // 1000 - self._stopped
        known = self._seen_revisions[bisect_right(self._seen_times, reach - 1) - 1] if reach > 0 else 0
        if revision < known:
            raise Violation(
                "read-age", f"{op} was answered at {revision} with age {age}; {known} was acknowledged before {reach}"
            )

    def _end(self, op: Op, now: Nanos) -> None:
        op.end, op.outcome = now, "ok"
        self._figures.completed += 1

    def _see(self, now: Nanos, revision: int) -> None:
        if revision > self._seen:
            self._seen = revision
            self._seen_times.append(now)
            self._seen_revisions.append(revision)

    # -- at the end ----------------------------------------------------------------------------

    def check_replica(self, member: MemberId, host: Host) -> None:
        """See `Judge`: each key has the value that was written last."""
        for key in self._revisions:
            reply = host.query(kv.encoder.encode(kv.Range(key)))
            assert isinstance(reply, bytes)
            answer = kv.reply_decoder.decode(reply)
            assert isinstance(answer, kv.RangeReply)
            found = [(item.mod, item.value) for item in answer.items]
            if found != [self.latest(key)]:
                raise Violation("acknowledged-stays", f"{member} has {found} for {key!r}")

    def check(self) -> None:
        """See `Judge`: each key written only by plain puts, as a register, revisions forgotten."""
        found = linearizable(self.registers(), REGISTER)
        if found.holds is not True:
            raise Violation("linearizable", f"{found.reason}: {', '.join(map(str, found.operations))}")

    def registers(self) -> list[Operation]:
        """The operations on keys that only plain puts write, for the checker and its JSON lines: bytes as text."""
        compared = {op.key for op in self.ops if op.kind == "cas"}
        operations: list[Operation] = []
        for op in self.ops:
            key, value = op.key.decode(errors="backslashreplace"), op.value.decode(errors="backslashreplace")
            if op.key in compared:
                continue
            if op.kind == "put" and op.outcome != "no":
                operations.append(
                    Operation(process=op.client, f="write", key=key, argument=value, start=op.start, end=op.end)
                )
            elif op.kind == "get" and op.outcome == "ok":
                read = op.read.decode(errors="backslashreplace") if op.read is not None else None
                operations.append(
                    Operation(process=op.client, f="read", key=key, result=read, start=op.start, end=op.end)
                )
        return operations
