"""Who knows what the members did with what the API asked of them, and holds callers' answers against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from coterie.check import Operation
from coterie.core.types import Index, MemberId, Nanos
from coterie.machine.host import Host
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.machine.kv import protocol as kv
from coterie.machine.kv.machine import KeyValue
from coterie.sim.api.holders import HolderLaws
from coterie.sim.api.leases import LeaseLaws, fastest_ppm
from coterie.sim.api.model import Model
from coterie.sim.history import History, Op
from coterie.sim.options import Options
from coterie.sim.verdict import Figures, Violation
from coterie.sim.workload import KeyValueSubject, MakeMachine, honest

SHARED: Final = (b"r", b"c")
"""How the keys begin that clients of both kinds use: there, nothing is ever deleted, and the plain register checker
looks at them, too."""


class ApiHistory(History):
    """Judges clients of both kinds. What callers of the API ask is worked out once more, by the model."""

    def __init__(self, figures: Figures, clock: Callable[[], Nanos], fast_ppm: int) -> None:
        """`clock`: true time, in nanoseconds."""
        super().__init__(figures)
        self.figures = figures
        self.clock = clock
        self.model = Model()
        self.leases = LeaseLaws(fast_ppm)
        self.holders = HolderLaws(self.model)
        self._passed: Index = 0

    # -- what the machine did: see `Judge` -------------------------------------------------------

    def passed(self, machine: StateMachine, index: Index, time: Nanos) -> None:
        """See `Judge`. The first replica to come there tells."""
        if index <= max(self._passed, self._newest[0]):
            return
        self._passed = index
        revision = self.model.revision
        self.model.pass_time(time)
        self._follow(revision)
        assert isinstance(machine, KeyValue)
        self._compare_leases(machine, time)
        self._compare(machine, revision, "lease-atomic")

    def applied(self, machine: StateMachine, batch: Batch, replies: Sequence[bytes | Rejected]) -> None:
        """See `Judge`."""
        if (batch.index, batch.ordinals[0]) <= self._newest:
            return
        assert isinstance(machine, KeyValue)
        if (late := self.model.overdue(batch.time)) != []:
            raise Violation("lease-ends", f"{late} live, and it is {batch.time} in entry {batch.index}")
        first = self.model.revision
        for body, answer in zip(batch.commands, replies, strict=True):
            if not isinstance(answer, Rejected):
                self._run(kv.command_decoder.decode(body), kv.reply_decoder.decode(answer), batch.time)
        super().applied(machine, batch, replies)
        self._compare(machine, first, "effects-true")
        self._compare_leases(machine, batch.time)

    def _run(self, command: kv.Command, reply: kv.Reply, time: Nanos) -> None:
        revision = self.model.revision
        wanted = self.model.run(command, reply, time)
        if isinstance(command, kv.Txn) and isinstance(reply, kv.TxnReply):
            if isinstance(wanted, kv.TxnReply) and wanted.succeeded != reply.succeeded:
                raise Violation("compare-true", f"{command} is answered {reply}; by its comparisons: {wanted}")
            if reply.succeeded:
                self.holders.wrote(command)
        if wanted is not None and wanted != reply:
            law = "lease-atomic" if isinstance(command, kv.Revoke) else "effects-true"
            raise Violation(law, f"{command} is answered {reply}; it is to be {wanted}")
        if isinstance(command, kv.Grant) and isinstance(reply, kv.LeaseReply):
            self.leases.granted(reply.lease, self.clock())
        self._follow(revision)

    def _follow(self, revision: int) -> None:
        """The model was at this revision before its newest step."""
        for ended in self.model.ended:
            self.leases.ended(ended, self.clock())
            self.figures.leases_ended += 1
        if self.model.revision > revision:
            self.holders.moved(revision + 1, self.clock())

    def _compare(self, machine: KeyValue, first: int, law: str) -> None:
        """The machine's revisions after `first` are what the model has."""
        store, model = machine.store, self.model
        if store.revision != model.revision:
            raise Violation(law, f"the machine is at revision {store.revision}; it is to be at {model.revision}")
        for revision in range(max(first + 1, store.compacted), model.revision + 1):
            found, wanted = list(store.events(revision)), [change.item for change in model.events[revision]]
            if found != wanted:
                raise Violation(law, f"revision {revision} changed {found}; it is to change {wanted}")

    def _compare_leases(self, machine: KeyValue, time: Nanos) -> None:
        living = machine.space.leases.granted
        if living.keys() == self.model.leases.keys():
            return
        early = [lease for id, lease in sorted(self.model.leases.items()) if id not in living]
        late = [id for id in sorted(living) if id not in self.model.leases]
        law = "lease-not-early" if early else "lease-ends"
        raise Violation(law, f"at {time} of cluster time {early} live yet, and {late} do not any more")

    def _check_compares(self, txn: kv.Txn, answer: kv.TxnReply) -> None:
        """The model has looked at them."""

    def _change(self, put: kv.Put, revision: int) -> None:
        if put.key.startswith(SHARED):
            super()._change(put, revision)
        elif put.value:
            self._note_written(put.value, revision)

    # -- what callers saw ----------------------------------------------------------------------

    def got_items(self, op: Op, revision: int, items: Sequence[kv.Item]) -> None:
        """A read of a shared key was answered at this revision."""
        reply = kv.RangeReply(revision, tuple(items), False, len(items))
        self.got(op, self.clock(), reply, -1, 0)

    def saw(self, floor: int, revision: int, what: object) -> None:
        """An answer that may not be older than `floor` has this revision in its header."""
        if revision < floor:
            raise Violation("read-fresh", f"{what} was answered at {revision}, older than {floor}")
        if revision > self.model.revision:
            raise Violation("read-true", f"{what} was answered at {revision}; {self.model.revision} is applied")
        self._see(self.clock(), revision)

    def clock_stopped(self, duration: Nanos) -> None:
        """See `Judge`."""
        super().clock_stopped(duration)
        self.leases.clock_stopped(duration)

    # -- at the end ----------------------------------------------------------------------------

    def check_replica(self, member: MemberId, host: Host) -> None:
        """See `Judge`: the member has what the model has."""
        super().check_replica(member, host)
        reply = host.query(kv.encoder.encode(kv.Range(b"\0", b"\0")))
        assert isinstance(reply, bytes)
        found, wanted = kv.reply_decoder.decode(reply), self.model.range(b"\0", b"\0")
        assert isinstance(found, kv.RangeReply)
        if found.items != wanted or found.revision != self.model.revision:
            raise Violation("acknowledged-stays", f"{member} has {found}; it is to have {wanted}")

    def registers(self) -> list[Operation]:
        """See `History`: the keys that are never deleted."""
        shared = tuple(prefix.decode() for prefix in SHARED)
        return [operation for operation in super().registers() if str(operation.key).startswith(shared)]


class ApiSubject(KeyValueSubject):
    """The key-value machine with the API on top, and the work of native clients beside it."""

    def __init__(self, clock: Callable[[], Nanos], options: Options, make_machine: MakeMachine = honest) -> None:
        super().__init__(make_machine)
        self.history: ApiHistory = ApiHistory(self.figures, clock, fastest_ppm(options))


def names_value(command: bytes) -> bool:
    """Whether the command writes a value: each is written once in a run, so no second command is like this one."""
    decoded = kv.command_decoder.decode(command)
    parts = (*decoded.then, *decoded.otherwise) if isinstance(decoded, kv.Txn) else (decoded,)
    return any(isinstance(part, kv.Put) and part.value for part in parts)
