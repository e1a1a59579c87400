"""The divergence check in the simulated world: it finds the machine that is not like the others."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from coterie.core.types import MemberId
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.machine.kv.machine import KeyValue
from coterie.sim.options import SECOND, Options, choose
from coterie.sim.verdict import Violation
from coterie.sim.workload import KeyValueSubject
from coterie.sim.world import World

LIAR = 3


class Forgetful(KeyValue):
    """From the 15th batch on it drops the last command of every batch."""

    def __init__(self) -> None:
        super().__init__()
        self._batches = 0

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        self._batches += 1
        if self._batches < 15:
            return super().apply(batch)
        kept = msgspec.structs.replace(batch, ordinals=batch.ordinals[:-1], commands=batch.commands[:-1])
        return [*(super().apply(kept) if kept.commands else ()), b"forgotten"]


def machine_of(member: MemberId) -> StateMachine:
    return Forgetful() if member == LIAR else KeyValue()


def calm(seed: int, period_ms: int) -> Options:
    options = choose(seed, nodes=3, duration=4 * SECOND)
    settings = msgspec.structs.replace(options.settings, divergence_check_ms=period_ms)
    return msgspec.structs.replace(options, faults=("duplicate",), clients=0, core_only=False, settings=settings)


def world(seed: int, period_ms: int) -> World:
    """Three members, of which one lies, and is not judged: nobody but the members themselves can find it. Clients keep
    to the two others."""
    made = World(calm(seed, period_ms), KeyValueSubject(machine_of))
    made.laws.machines.unjudged.add(LIAR)
    return made


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_the_odd_one_out_stops_with_an_alarm(seed: int) -> None:
    made = world(seed, 50)
    made.add_clients(range(2, 6), [1, 2])
    with pytest.raises(Violation) as caught:
        made.run()
    assert caught.value.check == "alarm"
    assert "this member's state differs from the others'" in caught.value.detail


def test_without_the_check_nobody_would_know_before_the_end() -> None:
    made = world(0, 0)
    made.add_clients(range(2, 6), [1, 2])
    with pytest.raises(Violation) as caught:
        made.run()
    assert caught.value.check != "alarm"
