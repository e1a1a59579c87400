"""A user's machine that acts by itself when time passes, in the simulated world."""

from __future__ import annotations

import random

import pytest
from tests.sim.users import tally
from tests.sim.users.tally import Fading, letters

from coterie.machine.kv import KeyValue
from coterie.machine.kv import protocol as kv
from coterie.sim import Query, SimulationFailed, simulate


def asking(rng: random.Random) -> bytes | Query:
    return Query(letters(rng)) if rng.getrandbits(1) else letters(rng)


class Counting(Fading):
    """Remembers how often time passed at any replica."""

    passed = 0

    def pass_time(self, index: int, time: int) -> None:
        Counting.passed += 1
        super().pass_time(index, time)


def test_a_machine_with_a_timer_passes_through_crashes_and_snapshots(protocol: str) -> None:
    Counting.passed = 0
    report = simulate(Counting, asking, seeds=range(4), seconds=2, protocol=protocol)
    assert report.elsewhere == "2 other processes agree"
    assert min(report.elections, report.crashes, report.restores) > 3
    assert Counting.passed > 100


@pytest.mark.parametrize(
    ("machine", "check", "what"),
    [
        (tally.Sleepless, "machine-restore", "its timer is at"),
        (tally.Erratic, "machine-deterministic", "its state"),
        (tally.Bursting, "machine-raised", "KeyError"),
    ],
)
def test_what_is_wrong_when_time_passes_is_named(machine: type[Fading], check: str, what: str) -> None:
    with pytest.raises(SimulationFailed) as caught:
        simulate(machine, asking, seeds=range(4), seconds=2)
    failure, text = caught.value.failure, str(caught.value)
    assert failure.check == check
    assert what in failure.detail
    assert 1 <= len(failure.smallest) <= 3
    if check == "machine-raised":
        assert failure.at is not None
        assert f"at entry {failure.at.index}, before its commands: the time is {failure.at.time} ns" in text


def leasing(rng: random.Random) -> bytes | Query:
    """Leases of 2 s and their keys; some are kept alive, some revoked, most end by themselves."""
    lease, key = rng.randrange(1, 6), b"%d" % rng.randrange(6)
    draw = rng.randrange(12)
    if draw < 3:
        return kv.encoder.encode(kv.Grant(lease, 2))
    if draw < 6:
        return kv.encoder.encode(kv.Put(key, b"%d" % rng.randrange(100), lease=lease))
    if draw < 7:
        return kv.encoder.encode(kv.Put(key, b""))
    if draw < 8:
        return kv.encoder.encode(rng.choice([kv.KeepAlive(lease), kv.TimeToLive(lease, True), kv.Revoke(lease)]))
    return Query(kv.encoder.encode(rng.choice([kv.Range(b"0", b"9"), kv.Leases()])))


def test_leases_end_alike_everywhere_whatever_becomes_of_members(protocol: str) -> None:
    ended: set[bytes] = set()

    def all_keys_have_living_leases(machine: KeyValue) -> None:
        granted = machine.space.leases.granted
        assert all(item.lease in granted for item in machine.store.range(b"\0", b"\0") if item.lease)
        ended.update(item.key for item in machine.events(machine.revision()) if not item.version)

    report = simulate(
        KeyValue, leasing, seeds=range(3), seconds=6, protocol=protocol, invariant=all_keys_have_living_leases
    )
    assert report.commands > 100
    assert report.elsewhere == "2 other processes agree"
    assert ended
