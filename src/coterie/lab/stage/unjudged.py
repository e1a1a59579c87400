"""A subject whose histories the experiment judges itself."""

from __future__ import annotations

import random
from collections.abc import Sequence

from coterie.core.types import Index, MemberId
from coterie.lab.errors import LabError
from coterie.machine.host import Host
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.machine.kv.machine import KeyValue
from coterie.sim.subject import Judge, Subject, Work


class _Silent(Judge):
    """Knows how far the machine is, and accuses nobody."""

    def __init__(self) -> None:
        self._applied: Index = 0

    @property
    def applied_index(self) -> Index:
        """See `Judge`."""
        return self._applied

    def applied(self, machine: StateMachine, batch: Batch, replies: Sequence[bytes | Rejected]) -> None:
        """See `Judge`."""
        self._applied = max(self._applied, batch.index)

    def check_replica(self, member: MemberId, host: Host) -> None:
        """See `Judge`."""

    def check(self) -> None:
        """See `Judge`."""


class Unjudged(Subject):
    """The key-value machine; clients are the experiment's own."""

    def __init__(self) -> None:
        super().__init__()
        self._judge = _Silent()

    @property
    def judge(self) -> Judge:
        """See `Subject`."""
        return self._judge

    def machine(self, member: MemberId) -> StateMachine:
        """See `Subject`."""
        return KeyValue()

    def work(self, number: int, rng: random.Random) -> Work:
        """See `Subject`. Nobody asks for it."""
        raise LabError("the clients of an experiment bring their own work")
