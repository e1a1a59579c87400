"""Faults do what they say, and each that is on shows in the figures."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import coterie
from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.whims import NO_WHIMS, Whim
from coterie.sim.ambush import Ambush, Moment
from coterie.sim.clock import PPM, Clock
from coterie.sim.options import SECOND, Options, choose
from coterie.sim.schedule import Schedule
from coterie.sim.verdict import Result
from coterie.sim.whims import OFTEN, WHIMS, MemberWhims, Quirk
from coterie.sim.world import simulate

SOURCE = Path(coterie.__file__).parent
WALL_CLOCK = re.compile(r"\b(?:time|datetime|date)\.(?:time|time_ns|localtime|gmtime|now|utcnow|today)\b")
FOR_PEOPLE = SOURCE / "runtime" / "log_lines.py"
"""Says when something happened, and decides nothing by it."""


def run(protocol: str, seed: int, *faults: str, **changes: object) -> Result:
    chosen = choose(seed, nodes=3, duration=6 * SECOND, protocol=protocol)
    result = simulate(msgspec.structs.replace(chosen, faults=faults, **changes))
    assert result.check == "", result.detail
    return result


# -- whims -----------------------------------------------------------------------------------


def test_every_whim_does_something_and_none_breaks_a_law(protocol: str) -> None:
    fired: Counter[str] = Counter()
    for seed in range(9, 21):
        options = choose(seed, protocol=protocol)
        tiny = msgspec.structs.replace(
            options.settings, snapshot_log_bytes=400, snapshot_log_ratio=0, snapshot_keep_entries=0
        )
        fired += Counter(
            run(protocol, seed, "crash", "snapshot", "partition", "whims", whims=WHIMS, settings=tiny).whims
        )
    rare = {Whim.LEADER_RESIGNS}
    elsewhere = {Whim.PROMISE_CUT} if protocol == "raft" else set()
    assert {whim for whim in WHIMS if not fired[whim]} <= rare | elsewhere


def test_a_leader_resigns_now_and_then(protocol: str) -> None:
    calm, restless = (run(protocol, 4, *faults, whims=(Whim.LEADER_RESIGNS,)) for faults in ((), ("whims",)))
    assert restless.whims[Whim.LEADER_RESIGNS] > 0
    assert restless.figures.elections > calm.figures.elections


def test_production_has_no_whims() -> None:
    assert ReplicaConfig().whims is NO_WHIMS
    assert not any(NO_WHIMS.takes(whim) for whim in Whim)


def test_a_run_without_the_class_draws_nothing_for_whims_and_a_healed_one_has_none() -> None:
    rng = Random(1)
    before = rng.getstate()
    idle = MemberWhims(rng, (), Counter())
    assert not any(idle.takes(whim) for whim in (*Whim, Quirk.STEP_PUT_OFF))
    assert rng.getstate() == before
    healed = MemberWhims(rng, WHIMS, Counter())
    assert any(healed.takes(Whim.SHORTEST_TIMEOUT) for _ in range(100))
    healed.on = False
    assert not any(healed.takes(Whim.SHORTEST_TIMEOUT) for _ in range(100))


def test_each_whim_is_in_a_quarter_of_the_seeds_and_fires_now_and_then_or_holds_for_a_run() -> None:
    drawn = Counter(whim for seed in range(800) for whim in choose(seed).whims)
    assert all(150 < drawn[whim] < 250 for whim in WHIMS), drawn
    assert set(Whim) <= set(OFTEN)


# -- clocks ----------------------------------------------------------------------------------


class Disturbed(msgspec.Struct, frozen=True):
    at: int
    kind: int
    amount: int


disturbances = st.lists(
    st.builds(Disturbed, st.integers(0, 10**9), st.integers(0, 3), st.integers(1, 10**8)), max_size=6
)


@given(disturbances, st.integers(-100_000, 100_000))
def test_no_clock_goes_back_and_a_wake_is_neither_late_nor_lost(faults: list[Disturbed], rate: int) -> None:
    clock = Clock(12345, rate)
    shown = 0
    for fault in sorted(faults, key=lambda f: f.at):
        assert clock.read(fault.at) >= shown
        if fault.kind == 0:
            clock.change_rate(fault.at, fault.amount % 200_000 - 100_000)
        elif fault.kind == 3:
            clock.go_on(fault.at)
            assert clock.read(fault.at + 10**9) > clock.read(fault.at)
        else:
            clock.stand_still(fault.at, fault.at + fault.amount, catches_up=fault.kind == 1)
        shown = clock.read(fault.at)
        for wanted in (shown + 1, shown + 1000, shown + fault.amount):
            when = clock.when(wanted)
            assert clock.read(when) >= wanted
            assert when <= fault.at or clock.read(when - 1) < wanted


def test_a_clock_that_stands_still_loses_the_time_or_has_it_all_at_once() -> None:
    for catches_up in (True, False):
        clock = Clock(0, 0)
        clock.stand_still(1000, 5000, catches_up=catches_up)
        assert [clock.read(t) for t in (1000, 3000, 4999)] == [1000, 1000, 1000]
        assert clock.read(6000) == (6000 if catches_up else 2000)
        clock.stand_still(6000, 9000, catches_up=catches_up)
        clock.go_on(7000)
        assert clock.read(8000) - clock.read(7000) == 1000
        assert clock.read(7000) == clock.read(6000)
    assert PPM == 1_000_000


CERTIFICATES = {"cli/authority.py", "cli/certs.py", "runtime/tls/files.py", "runtime/tls/reloading.py"}
"""Where it is read when a certificate is valid (RFC 5280, 4.1.2.5): that is wall time, and decides nothing of
consensus."""


def test_the_product_reads_no_clock_that_can_jump() -> None:
    """So a wall clock that jumps by an hour is no fault to it, and the world has none."""
    found = [
        f"{path.relative_to(SOURCE)}: {match[0]}"
        for path in sorted(SOURCE.rglob("*.py"))
        for match in WALL_CLOCK.finditer(path.read_text(encoding="utf-8"))
        if path != FOR_PEOPLE and str(path.relative_to(SOURCE)) not in CERTIFICATES
    ]
    assert found == []


# -- the others ------------------------------------------------------------------------------


def ambushed(seed: int) -> tuple[Options, Schedule, Ambush]:
    options = msgspec.structs.replace(choose(seed), faults=("ambush",))
    schedule = Schedule()
    return options, schedule, Ambush(options, schedule)


@pytest.mark.parametrize("moment", Moment)
def test_an_ambush_strikes_at_each_moment_and_not_twice_within_the_interval(moment: Moment) -> None:
    options, schedule, ambush = ambushed(1)
    assert any(ambush.strikes(moment) for _ in range(100))
    assert not any(ambush.strikes(moment) for _ in range(100))
    schedule.now += options.fault_interval
    assert any(ambush.strikes(moment) for _ in range(100))


def test_ambushes_happen_in_the_world(protocol: str) -> None:
    assert run(protocol, 12, "ambush", "membership", "transfer", "snapshot").figures.ambushes > 0


def test_a_member_that_cannot_read_its_disk_ends_and_comes_back(protocol: str) -> None:
    result = run(protocol, 6, "read-error", "snapshot", "crash", fault_interval=400 * MILLISECOND)
    assert result.figures.read_errors > 0
    assert result.figures.completed > 50


def test_flapping_links_and_clients_that_crash_leave_their_marks(protocol: str) -> None:
    calm = run(protocol, 7)
    assert run(protocol, 7, "client-crash", fault_interval=50 * MILLISECOND).figures.unknown > calm.figures.unknown
    flapping = run(protocol, 7, "flapping", fault_interval=100 * MILLISECOND)
    assert flapping.figures.completed < calm.figures.completed
