"""The end of a run: how long a healed world has until all must be well."""

from __future__ import annotations

import msgspec
import pytest

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.engine.engine import EngineConfig
from coterie.sim.backlog import time_to_copy
from coterie.sim.campaign import Plan, run_seed
from coterie.sim.ending import BACKLOG, BOUND_TIMEOUTS
from coterie.sim.options import SECOND, choose
from coterie.sim.verdict import Violation
from coterie.sim.world import World

TIMEOUT = 150 * MILLISECOND
ONE_BY_ONE = ReplicaConfig(
    election_timeout=TIMEOUT, heartbeat_interval=TIMEOUT // 5, max_append_bytes=1, max_inflight_messages=1
)
"""Each entry travels alone, and the next one when it is answered."""
AS_SHIPPED = ReplicaConfig(election_timeout=TIMEOUT, heartbeat_interval=TIMEOUT // 5)
SLOW_SYNC = 12 * MILLISECOND


def restarted(protocol: str, config: ReplicaConfig) -> World:
    """A group that has written for a while, with a quick disk, and of which everybody has just started again, on a
    slow one."""
    options = msgspec.structs.replace(
        choose(10, nodes=3, duration=6 * SECOND, protocol=protocol),
        election_timeout=TIMEOUT,
        heartbeat_interval=TIMEOUT // 5,
        delay_mean=MILLISECOND // 2,
        core_only=False,
    )
    world = World(options, config=EngineConfig(replica=config, request_timeout=SECOND, max_batch_commands=2))
    for node in world.nodes.values():
        node.hardware._sync_mean = MILLISECOND // 5
        node.start()
    world.run_until(options.duration)
    for node in world.nodes.values():
        node.crash(power=True)
        node.hardware._sync_mean = SLOW_SYNC
    world.ending.heal()
    for node in world.nodes.values():
        node.hardware._steady = False
    world.network.heal(steady=False)
    return world


@pytest.mark.slow
def test_a_long_log_that_must_be_copied_entry_by_entry_may_take_the_time_that_this_takes(protocol: str) -> None:
    """As `--protocol multipaxos --seed 2035`: after a restart nobody knows what is chosen, so a new ballot decides it
    again. In Raft logs that match are known to."""
    world = restarted(protocol, ONE_BY_ONE)
    began, length = world.schedule.now, world.laws.log_of(1).last_index
    time = time_to_copy(world, world.ending.core())
    usual = BOUND_TIMEOUTS * TIMEOUT + BACKLOG
    if protocol == "raft":
        assert time < 10 * (SLOW_SYNC + MILLISECOND)
    else:
        assert time > length * SLOW_SYNC > usual
    world.ending._expect_well("after healing")
    took = world.schedule.now - began
    assert (took > usual) == (protocol != "raft")
    assert time_to_copy(world, world.ending.core()) < BACKLOG
    world.ending.check()


@pytest.mark.slow
def test_who_is_given_nothing_is_late_all_the_same() -> None:
    """The time is reckoned once, from what was left at the beginning."""
    world = restarted("multipaxos", ONE_BY_ONE)
    began, copying = world.schedule.now, time_to_copy(world, world.ending.core())
    world.network.cut([(1, 3), (2, 3), (3, 1), (3, 2)])
    with pytest.raises(Violation, match="liveness"):
        world.ending._expect_well("after healing")
    assert world.schedule.now - began < BOUND_TIMEOUTS * TIMEOUT + copying + SECOND


@pytest.mark.thorough
def test_seed_2035_of_multi_paxos_is_well_in_time() -> None:
    result = run_seed(2035, Plan(protocol="multipaxos"))
    assert result.check == "", result.detail


def test_seed_1913_of_raft_no_clock_stands_still_when_all_is_healed() -> None:
    """A leader whose clock stood still, by a fault of the last moment, sent no heartbeat and was replaced in peace."""
    result = run_seed(1913, Plan(protocol="raft"))
    assert result.check == "", result.detail


@pytest.mark.slow
def test_with_the_windows_as_shipped_no_log_of_a_run_takes_longer_than_the_usual_time(protocol: str) -> None:
    world = restarted(protocol, AS_SHIPPED)
    assert world.laws.log_of(1).last_index > 300
    assert time_to_copy(world, world.ending.core()) < BACKLOG // 4
    world.ending._expect_well("after healing")


def test_seed_498_of_multi_paxos_lets_in_a_voter_that_had_not_heard_of_it() -> None:
    result = run_seed(498, Plan(protocol="multipaxos"))
    assert result.check == "", result.detail
