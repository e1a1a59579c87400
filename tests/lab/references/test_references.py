"""What each reference keeps, and what it gives up, on the same stage and judged by the same checker."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coterie.check import REGISTER, linearizable
from coterie.core.config import MILLISECOND
from coterie.core.errors import ConfigurationError
from coterie.lab.references.catalogue import REFERENCES, reference
from coterie.lab.references.dynamo import Replication, dynamo
from coterie.lab.references.primary_backup import Habits, primary_backup
from coterie.lab.references.quorum_register import WriteBack, quorum_register
from coterie.lab.references.replica import Reference
from coterie.lab.references.stage import ReferenceStage
from coterie.lab.stage.calls import Call, Outcome, history
from coterie.lab.stage.geography import flat
from coterie.lab.stage.visitors import Visitor
from coterie.sim.chance import stream

SECOND = 1000 * MILLISECOND


def three(made: Reference, seed: int = 1, **more: object) -> ReferenceStage:
    stage = ReferenceStage(flat(3, 10.0, disk_ms=0.5), [0, 1, 2], seed=seed, reference=made, **more)  # type: ignore[arg-type]
    stage.wait_for_leader()
    return stage


def done(stage: ReferenceStage, call: Call) -> Call:
    stage.wait(lambda: call.outcome is not Outcome.PENDING, f"{call} is over")
    return call


def busy(stage: ReferenceStage, visitors: list[tuple[Visitor, int]], calls: int, seed: int) -> None:
    """Each client writes and reads one key at its member, so many calls in all, with pauses by chance."""
    rng = stream(seed, "work")

    def begin(visitor: Visitor, member: int) -> None:
        if len(stage.calls) >= calls:
            return

        def again(call: Call) -> None:
            stage.schedule.after(rng.randrange(1, 20) * MILLISECOND, "think", lambda: begin(visitor, member))

        if rng.getrandbits(1):
            visitor.write(member, "x", str(len(stage.calls)), patience=800 * MILLISECOND, done=again)
        else:
            visitor.read(member, "x", patience=800 * MILLISECOND, done=again)

    for visitor, member in visitors:
        begin(visitor, member)


def holds(stage: ReferenceStage) -> bool | None:
    return linearizable(history(stage.calls), REGISTER).holds


every = pytest.mark.parametrize("make", REFERENCES.values(), ids=REFERENCES)


@every
def test_what_is_written_at_one_member_is_read_at_another(make: Callable[[], Reference]) -> None:
    stage = three(make())
    one, other = stage.client(0), stage.client(2)
    assert done(stage, other.read(3, "x")).value is None
    assert done(stage, one.write(1, "x", "1")).outcome is Outcome.OK
    assert done(stage, other.read(3, "x")).value == "1"


@every
def test_the_same_seed_is_the_same_run(make: Callable[[], Reference]) -> None:
    def run(seed: int) -> str:
        stage = three(make(), seed, loss_permille=100)
        busy(stage, [(stage.client(site), site + 1) for site in range(3)], 100, seed)
        stage.run_for(2 * SECOND)
        return stage.schedule.trace()

    assert run(1) == run(1) != run(2)


@every
def test_bytes_are_those_of_encoded_messages(make: Callable[[], Reference]) -> None:
    def sent(size: int) -> int:
        stage = three(make())
        stage.run_for(SECOND)
        stage.meter.reset()
        done(stage, stage.client(0).write(1, "x", "v" * size))
        stage.run_for(50 * MILLISECOND)
        return stage.meter.bytes.total()

    # Two other members are given the value, and that once.
    assert 2000 <= sent(1001) - sent(1) <= 2020


@every
def test_a_crash_loses_what_was_not_synced_and_nothing_else(make: Callable[[], Reference]) -> None:
    stage = three(make())
    done(stage, stage.client(0).write(1, "x", "1"))
    stage.run_for(SECOND)
    for member in (1, 2, 3):
        stage.crash(member)
    for member in (1, 2, 3):
        stage.restart(member)
    stage.wait_for_leader()
    stage.run_for(100 * MILLISECOND)
    read = done(stage, stage.client(1).read(2, "x"))
    assert (read.outcome, read.value) == (Outcome.OK, "1")


@every
def test_time_passes_by_as_much_as_is_asked_for(make: Callable[[], Reference]) -> None:
    stage = three(make())
    for _ in range(5):
        began = stage.now
        stage.run_for(7 * MILLISECOND)
        assert stage.now == began + 7 * MILLISECOND


def test_a_reference_that_there_is_not_is_named_beside_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match="'paxos' is no reference: it must be one of abd, dynamo"):
        reference("paxos")


# -- the quorum register -----------------------------------------------------------------------


@pytest.mark.parametrize(("write_back", "trips"), [(WriteBack.ALWAYS, 2), (WriteBack.UNLESS_AGREED, 1)])
def test_a_write_takes_two_round_trips_and_a_read_what_its_write_back_says(write_back: WriteBack, trips: int) -> None:
    stage = three(quorum_register(write_back))
    client = stage.client(1)
    write = done(stage, client.write(2, "x", "1"))
    stage.run_for(100 * MILLISECOND)
    read = done(stage, client.read(2, "x"))
    assert 20 * MILLISECOND <= write.latency <= 25 * MILLISECOND
    assert trips * 10 * MILLISECOND <= read.latency <= trips * 10 * MILLISECOND + 4 * MILLISECOND


@pytest.mark.parametrize("write_back", [WriteBack.ALWAYS, WriteBack.UNLESS_AGREED])
@pytest.mark.parametrize("seed", range(6))
def test_the_register_is_linearizable_through_loss_crashes_and_cuts_of_a_minority(
    seed: int, write_back: WriteBack
) -> None:
    stage = three(quorum_register(write_back), seed, loss_permille=100)
    busy(stage, [(stage.client(site), site + 1) for site in (0, 1, 2) * 2], 150, seed)
    rng = stream(seed, "faults")
    for _ in range(8):
        stage.run_for(rng.randrange(50, 400) * MILLISECOND)
        victim = rng.randrange(3)
        stage.crash(victim + 1)
        stage.run_for(rng.randrange(10, 300) * MILLISECOND)
        stage.restart(victim + 1)
        stage.split([victim], [site for site in range(3) if site != victim])
        stage.run_for(rng.randrange(50, 400) * MILLISECOND)
        stage.mend()
    stage.run_for(2 * SECOND)
    assert sum(call.outcome is Outcome.OK for call in stage.calls) > 30
    assert holds(stage) is True


def test_without_the_write_back_a_later_read_finds_less() -> None:
    """The planted wrong variant: the checker bites."""
    found = []
    for seed in range(30):
        stage = three(quorum_register(WriteBack.NEVER), seed, loss_permille=200)
        busy(stage, [(stage.client(site), site + 1) for site in (0, 1, 2) * 2], 100, seed)
        stage.run_for(10 * SECOND)
        found.append(holds(stage))
    assert False in found


def test_a_minority_of_the_register_serves_nobody() -> None:
    stage = three(quorum_register())
    stage.split([0], [1, 2])
    alone, many = stage.client(0), stage.client(1)
    write, kept = alone.write(1, "x", "1"), many.write(2, "x", "2")
    stage.run_for(6 * SECOND)
    assert write.outcome in (Outcome.REFUSED, Outcome.UNKNOWN)
    assert kept.outcome is Outcome.OK


# -- N, R, W -----------------------------------------------------------------------------------


def test_a_write_beside_a_faster_clock_is_acknowledged_and_lost() -> None:
    stage = three(dynamo(), skews_ms={1: 200.0})
    ahead, behind = stage.client(0), stage.client(1)
    done(stage, ahead.write(1, "x", "1"))
    second = done(stage, behind.write(2, "x", "2"))
    assert second.outcome is Outcome.OK
    assert done(stage, behind.read(2, "x")).value == "1"
    assert holds(stage) is False


def test_with_clocks_alike_and_clients_in_turn_the_quorums_meet() -> None:
    stage = three(dynamo())
    for number in range(20):
        site = number % 3
        client = stage.client(site)
        done(stage, client.write(site + 1, "x", str(number)))
        done(stage, stage.client((site + 1) % 3).read((site + 1) % 3 + 1, "x"))
    assert holds(stage) is True


def five(made: Reference) -> ReferenceStage:
    return ReferenceStage(flat(5, 10.0, disk_ms=0.5), range(5), seed=1, reference=made)


@pytest.mark.parametrize("sloppy", [False, True])
def test_sloppy_quorums_take_writes_on_both_sides_and_strict_ones_do_not(sloppy: bool) -> None:
    stage = five(dynamo(Replication(sloppy=sloppy)))
    stage.split([0, 1], [2, 3, 4])
    one, other = stage.client(0), stage.client(4)
    few, many = one.write(1, "x", "1"), other.write(5, "x", "2")
    stage.run_for(6 * SECOND)
    answered = [call.outcome is Outcome.OK for call in (few, many)]
    assert all(answered) if sloppy else answered.count(True) == 1
    stage.mend()
    stage.run_for(3 * SECOND)
    first = [done(stage, stage.client(site).read(site + 1, "x")).value for site in range(5)]
    assert len(set(first)) == 1, "once the partition is over, all agree"
    if sloppy:
        assert holds(stage) is True, "nobody read in between"


def test_what_a_stand_in_keeps_it_hands_over_and_forgets() -> None:
    stage = five(dynamo(Replication(sloppy=True, w=3)))
    stage.split([0], [1, 2, 3, 4])
    for number, key in enumerate("abcdef"):
        done(stage, stage.client(4).write(5, key, str(number)))
    held = {name for node in stage.nodes.values() for name in node.durable if not name.startswith("0/")}
    assert held, "some key has its home at member 1"
    stage.mend()
    stage.run_for(3 * SECOND)
    assert not {name for node in stage.nodes.values() for name in node.durable if not name.startswith("0/")}
    assert {f"0/{name.partition('/')[2]}" for name in held} <= set(stage.nodes[1].durable)


@pytest.mark.parametrize(("fields", "said"), [({"r": 4}, "r is 4"), ({"w": 0}, "w is 0"), ({"n": 0}, "n is 0")])
def test_quorums_that_cannot_be_are_refused(fields: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Replication(**fields)  # type: ignore[arg-type]


# -- primary and backups -----------------------------------------------------------------------


def test_a_write_at_the_primary_takes_no_round_trip_and_one_behind_a_backup_takes_one() -> None:
    stage = three(primary_backup())
    near = done(stage, stage.client(0).write(1, "x", "1"))
    far = done(stage, stage.client(1).write(2, "x", "2"))
    assert near.latency < 3 * MILLISECOND
    assert 10 * MILLISECOND <= far.latency <= 14 * MILLISECOND


@pytest.mark.parametrize(("waits_for", "kept"), [(0, False), (1, True)])
def test_an_acknowledged_write_is_lost_with_the_primary_unless_it_waits_for_a_backup(
    waits_for: int, kept: bool
) -> None:
    stage = three(primary_backup(Habits(waits_for=waits_for)))
    write = done(stage, stage.client(0).write(1, "x", "1"))
    assert write.outcome is Outcome.OK
    stage.crash(1)
    stage.wait(lambda: stage.leader() in (2, 3), "a backup takes over")
    read = done(stage, stage.client(1).read(stage.leader(), "x"))
    assert read.outcome is Outcome.OK
    assert (read.value == "1") is kept
    assert holds(stage) is kept


def test_in_a_partition_two_lead_and_when_it_ends_the_older_ones_writes_are_gone() -> None:
    stage = three(primary_backup())
    stage.split([0], [1, 2])
    stage.wait(lambda: stage.leader() == 2, "a backup takes over")
    old = done(stage, stage.client(0).write(1, "x", "old"))
    new = done(stage, stage.client(1).write(2, "x", "new"))
    assert old.outcome is new.outcome is Outcome.OK
    assert done(stage, stage.client(0).read(1, "x")).value == "old"
    stage.mend()
    stage.run_for(SECOND)
    assert [done(stage, stage.client(site).read(site + 1, "x", mode="stale")).value for site in range(3)] == ["new"] * 3
    assert holds(stage) is False


def test_a_backup_that_missed_messages_is_given_everything() -> None:
    stage = three(primary_backup(), loss_permille=300)
    client = stage.client(0)
    for number in range(30):
        done(stage, client.write(1, f"k{number}", str(number)))
    stage.run_for(4 * SECOND)
    found = [done(stage, stage.client(2).read(3, f"k{number}", mode="stale")).value for number in range(30)]
    assert found == [str(number) for number in range(30)]
