"""A judge of API clients, and a replica that applies commands under its eyes: an honest one, or one that lies."""

from __future__ import annotations

from coterie.core.types import Nanos
from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv import protocol as kv
from coterie.machine.kv.machine import KeyValue
from coterie.sim.api.judge import ApiHistory
from coterie.sim.api.model import SECOND
from coterie.sim.verdict import Figures


class Applied:
    """True time is cluster time here."""

    def __init__(self, machine: KeyValue | None = None) -> None:
        self.now: Nanos = 0
        self.machine = machine if machine is not None else KeyValue()
        self.judge = ApiHistory(Figures(), lambda: self.now, 0)
        self.model = self.judge.model
        self._index = 0

    def run(self, command: kv.Command, seconds: float = 0) -> kv.Reply | Rejected:
        """Time passes, and then the command is applied, as a host does it."""
        return self.give(command, self.pass_time(seconds))

    def pass_time(self, seconds: float = 0) -> Nanos:
        """The next entry begins, so much later: the machine's timer first."""
        self._index += 1
        self.now += round(seconds * SECOND)
        timer = self.machine.next_timer()
        if timer is not None and timer <= self.now:
            self.machine.pass_time(self._index, self.now)
            self.judge.passed(self.machine, self._index, self.now)
        return self.now

    def give(self, command: kv.Command, time: Nanos, *, said: kv.Reply | None = None) -> kv.Reply | Rejected:
        """The machine is given the command; the judge is shown what it replies, or what is said that it did."""
        batch = Batch(self._index, time, (0,), (kv.encoder.encode(command),))
        (found,) = self.machine.apply(batch)
        shown = found if said is None else kv.encoder.encode(said)
        self.judge.applied(self.machine, batch, [shown])
        return found if isinstance(found, Rejected) else kv.reply_decoder.decode(found)

    def put(self, key: bytes, value: bytes, lease: int = 0) -> int:
        """The revision of the put."""
        reply = self.run(kv.Put(key, value, lease=lease))
        assert isinstance(reply, kv.PutReply)
        return reply.revision

    def grant(self, id: int, ttl: int = 2) -> None:
        self.run(kv.Grant(id, ttl))
