"""A cluster on a stage does what its script says, at the distances that its geography has."""

import pytest

from coterie.check import REGISTER, linearizable
from coterie.core.config import MILLISECOND
from coterie.core.protocols import PROTOCOLS
from coterie.lab.errors import LabError
from coterie.lab.stage.calls import Outcome, history
from coterie.lab.stage.geography import flat
from coterie.lab.stage.stage import Stage

protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


def three(protocol: str, seed: int = 1) -> Stage:
    stage = Stage(flat(3, 10.0, disk_ms=0.5), [0, 1, 2], seed=seed, protocol=protocol)
    stage.lead(1)
    return stage


@protocols
def test_a_write_at_the_leader_takes_a_round_trip_and_at_a_follower_two(protocol: str) -> None:
    stage = three(protocol)
    near, far = stage.client(0), stage.client(1)
    first = near.write(1, "x", "1")
    stage.run_for(200 * MILLISECOND)
    second = far.write(2, "x", "2")
    stage.run_for(200 * MILLISECOND)
    assert first.outcome is second.outcome is Outcome.OK
    assert 10 * MILLISECOND <= first.latency <= 13 * MILLISECOND
    assert 20 * MILLISECOND <= second.latency <= 24 * MILLISECOND


@protocols
def test_a_stale_read_is_local_and_says_how_old_it_may_be(protocol: str) -> None:
    stage = three(protocol)
    writer, reader = stage.client(0), stage.client(2)
    writer.write(1, "x", "1")
    stage.run_for(500 * MILLISECOND)
    read = reader.read(3, "x", mode="stale")
    stage.run_for(50 * MILLISECOND)
    assert (read.outcome, read.value) == (Outcome.OK, "1")
    assert read.latency < MILLISECOND < read.age


@protocols
def test_the_minority_of_a_partition_refuses_and_its_clients_reach_nobody_else(protocol: str) -> None:
    stage = three(protocol)
    stage.split([0], [1, 2])
    alone, many, across = stage.client(0), stage.client(1), stage.client(2)
    lost = alone.write(1, "x", "lost?")
    blocked = across.read(1, "x")
    kept = many.write(2, "x", "kept")
    stage.run_for(6000 * MILLISECOND)
    assert lost.outcome is Outcome.UNKNOWN
    assert blocked.outcome is Outcome.REFUSED
    assert kept.outcome is Outcome.OK
    assert stage.leader() in (2, 3)
    stage.mend()
    stage.run_for(3000 * MILLISECOND)
    read = alone.read(1, "x")
    stage.run_for(500 * MILLISECOND)
    assert read.outcome is Outcome.OK
    assert linearizable(history(stage.calls), REGISTER).holds is True


@protocols
def test_a_leader_that_loses_power_is_replaced_and_comes_back(protocol: str) -> None:
    stage = three(protocol)
    stage.crash(1)
    stage.wait(lambda: stage.leader() in (2, 3), "another leads")
    assert [reign.member for reign in stage.meter.reigns if reign.end is None] == [stage.leader()]
    stage.restart(1)
    stage.wait(lambda: stage.nodes[1].up, "it is up again")


@protocols
def test_the_same_seed_is_the_same_run(protocol: str) -> None:
    def run(seed: int) -> str:
        stage = three(protocol, seed)
        stage.client(0).write(1, "x", "1")
        stage.run_for(1000 * MILLISECOND)
        return stage.schedule.trace()

    assert run(1) == run(1) != run(2)


def test_a_client_does_one_thing_at_a_time() -> None:
    stage = three(PROTOCOLS[0])
    client = stage.client(0)
    client.write(1, "x", "1")
    with pytest.raises(LabError, match="under way"):
        client.read(1, "x")


def test_what_is_waited_for_in_vain_is_named() -> None:
    stage = three(PROTOCOLS[0])
    with pytest.raises(LabError, match="pigs fly"):
        stage.wait(lambda: False, "pigs fly", 10 * MILLISECOND)


def test_in_a_storm_messages_take_longer_and_none_arrives_later_than_if_it_were_sent_at_its_end() -> None:
    stage = Stage(flat(2, 10.0, jitter=0.0), [0, 1], seed=3)
    calm = stage.ground.message(1, 2, 0)
    stage.storm(stage.now + 400 * MILLISECOND, 200 * MILLISECOND)
    during = [stage.ground.message(1, 2, 0) for _ in range(500)]
    assert min(during) >= calm
    assert max(during) == calm + 400 * MILLISECOND
    assert len(set(during)) > 30
    stage.run_for(400 * MILLISECOND)
    assert {stage.ground.message(1, 2, 0) for _ in range(50)} == {calm}


@protocols
def test_the_meter_counts_what_arrives_and_a_cut_lets_nothing_through(protocol: str) -> None:
    stage = three(protocol)
    assert stage.meter.arrived_at[1, 3] > 0
    stage.split([0, 1], [2])
    stage.run_for(100 * MILLISECOND)
    stage.meter.reset()
    stage.run_for(3000 * MILLISECOND)
    assert stage.meter.messages.total() > 0
    assert stage.meter.arrived_at[1, 2] > 0
    assert stage.meter.arrived_at[1, 3] == stage.meter.arrived_at[3, 1] == 0
