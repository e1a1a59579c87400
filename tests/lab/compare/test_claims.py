"""Each claim of the comparison can fail: a wrong formula, a protocol that lies, a slower cluster are found out."""

from __future__ import annotations

import msgspec
import pytest

from coterie.lab.compare import capacity, costs, distance, given_up, outage, partial, processes, variations
from coterie.lab.compare.section import Extent, claim_each
from coterie.lab.compare.subjects import BY_NAME, Setting, Subject
from coterie.lab.experiment import Claim
from coterie.lab.references.dynamo import Replication, dynamo
from coterie.lab.references.primary_backup import Habits, primary_backup
from coterie.lab.references.quorum_register import WriteBack, quorum_register
from coterie.lab.references.replica import Reference
from coterie.lab.references.stage import ReferenceStage
from coterie.lab.stage.scene import Scene

QUICK = Extent(seed=1, quick=True)


def disguised(name: str, made: Reference) -> Subject:
    """Something else under the name of a subject."""

    def stage(setting: Setting) -> Scene:
        scene = ReferenceStage(
            setting.geography,
            setting.members,
            seed=setting.seed,
            reference=made,
            loss_permille=setting.loss_permille,
            cost=setting.cost,
        )
        scene.wait_for_leader()
        return scene

    return msgspec.structs.replace(BY_NAME[name], stage=stage, led=made.led)


def by_id(claims: list[Claim]) -> dict[str, Claim]:
    return {claim.id: claim for claim in claims}


def test_a_claim_about_cases_names_those_that_are_off_and_none_is_not_agreement() -> None:
    good = claim_each("c", "words", [("a", 1.05, 1.0), ("b", 0.02, 0.0)], 0.1, "why", least=0.05)
    assert good.agrees
    bad = claim_each("c", "words", [("a", 1.05, 1.0), ("b", 1.3, 1.0)], 0.1, "why")
    assert not bad.agrees
    assert bad.measured == "off: b 1.3 of 1"
    assert not claim_each("c", "words", [], 0.1, "why").agrees
    assert not claim_each("c", "words", [("a", float("nan"), 1.0)], 0.1, "why").agrees


def test_a_register_that_does_not_write_back_is_found_out_by_its_round_trips_and_messages() -> None:
    honest = costs.cost(BY_NAME["abd"], 3, QUICK)
    lazy = costs.cost(disguised("abd", quorum_register(WriteBack.NEVER)), 3, QUICK)
    others = [costs.cost(BY_NAME[name], 3, QUICK) for name in ("raft", "multipaxos", "dynamo", "primary-backup")]
    assert all(claim.agrees for claim in costs.judge([*others, honest]))
    failed = {claim.id for claim in costs.judge([*others, lazy]) if not claim.agrees}
    assert failed == {"read-round-trips-abd"}
    assert round(lazy.read) == 1


def test_a_primary_that_waits_for_a_backup_is_no_early_one() -> None:
    found = costs.cost(disguised("primary-backup", primary_backup(Habits(waits_for=1))), 3, QUICK)
    claims = [claim for claim in costs.judge([found]) if claim.id == "write-round-trips-primary-backup"]
    assert [claim.agrees for claim in claims] == [False]


@pytest.mark.thorough
def test_the_capacity_formula_is_that_of_the_paper_and_a_wrong_one_differs() -> None:
    assert [capacity.paxi_load(n // 2 + 1, 1) for n in (3, 5, 7)] == [1, 2, 3]
    assert capacity.paxi_load(3, 5) == 6 / 5
    assert capacity.paxi_load(3, 5, conflicts=0.5) == 1.5 * 6 / 5
    found = [capacity.capacity(BY_NAME[n], 3, QUICK) for n in ("raft", "multipaxos", "abd", "dynamo")]
    larger = [msgspec.structs.replace(c, members=5, rate=c.rate * (0.6 if c.subject in BY_NAME else 1)) for c in found]
    assert by_id(capacity.judge([*found, *found]))["capacity"].agrees
    wrong = [msgspec.structs.replace(c, counted=c.counted * 1.5) for c in found]
    assert not by_id(capacity.judge([*wrong, *larger]))["capacity"].agrees
    assert not by_id(capacity.judge([*found, *larger]))["capacity-of-more-nodes"].agrees, "all lose alike"


def test_batches_that_gain_nothing_are_found_out() -> None:
    flat = {(name, batch, window): 100.0 for name in ("raft", "multipaxos") for batch, window in capacity.BATCHES}
    assert [claim.agrees for claim in capacity.judge_batches(flat)] == [False, False]


@pytest.mark.thorough
def test_latency_formulae_are_those_of_the_distances() -> None:
    five = distance.layouts()["wide 5"]
    # Virginia to Ohio 15.8 and California 63.9: a majority of five is two others.
    assert distance.to_quorum(five, 0) == 63.9
    assert distance.formula("raft", five, 0, write=False) == 1 + 63.9
    assert distance.formula("raft", five, 4, write=False) == 1 + 155.9 + 63.9
    japan = sorted((155.9, 144.4, 110.4, 203.8))[1]
    assert distance.formula("dynamo", five, 4, write=False) == 1 + japan
    assert distance.formula("abd", five, 4, write=True) == 1 + 2 * japan + five.disk_ms
    found = [distance.latency(BY_NAME[n], "wide 5", five, QUICK) for n in ("raft", "multipaxos", "abd")]
    near = [msgspec.structs.replace(item, layout="flat 5") for item in found]
    assert by_id(distance.judge([*found, *near]))["wide-area-latency"].agrees
    off = [msgspec.structs.replace(item, write=item.write * 1.3) for item in found]
    assert not by_id(distance.judge([*off, *near]))["wide-area-latency"].agrees


def test_each_gives_up_what_it_is_said_to_with_any_seed() -> None:
    for seed in (2, 3, 4):
        found = [
            given_up.play(BY_NAME[n], s, seed) for n in ("abd", "dynamo", "primary-backup") for s in given_up.SCRIPTS
        ]
        claims = by_id(given_up.judge(found))
        assert [claims[f"gives-up-{n}"].agrees for n in ("abd", "dynamo", "primary-backup")] == [True] * 3, seed


def test_what_is_given_up_is_found_under_another_name() -> None:
    liar = disguised("raft", dynamo(Replication(n=3, r=1, w=1)))
    found = [given_up.play(liar, script, 1) for script in given_up.SCRIPTS]
    claim = by_id(given_up.judge(found))["gives-up-raft"]
    assert not claim.agrees
    assert any(verdict.counterexample for verdict in found)


def test_a_store_that_keeps_more_than_it_is_said_to_is_found_out_too() -> None:
    careful = disguised("primary-backup", primary_backup(Habits(waits_for=1)))
    verdict = given_up.play(careful, "crash after the acknowledgement", 1)
    assert verdict.linearizable is True
    assert not by_id(given_up.judge([verdict]))["gives-up-primary-backup"].agrees


def test_counterexamples_are_small_enough_to_read() -> None:
    for name, script in (("dynamo", "a wrong clock"), ("primary-backup", "both sides of a partition")):
        drawn = given_up.play(BY_NAME[name], script, 1).counterexample
        assert 0 < len(drawn.split("\n\n")[0].splitlines()) <= 5


def test_crashes_and_cuts_break_quorums_that_do_not_meet_and_the_claim_says_so() -> None:
    liar = disguised("abd", dynamo(Replication(n=5, r=1, w=1)))
    suffered = [given_up.ordeal(liar, seed) for seed in (1, 2)]
    assert not by_id(given_up.judge_ordeals(suffered))["linearizable-through-faults-abd"].agrees


@pytest.mark.thorough
def test_who_waits_longer_for_a_leader_than_the_timers_say_is_found_out() -> None:
    led = [BY_NAME["raft"], BY_NAME["multipaxos"]]
    found = [outage.outage(subject, 1, noticed=noticed) for subject in led for noticed in (False, True)]
    free = [outage.outage(BY_NAME[name], 1, noticed=False) for name in ("abd", "dynamo")]
    assert all(claim.agrees for claim in outage.judge([*found, *free]))
    late = [msgspec.structs.replace(each, leaderless=(each.leaderless or 0) + 500, silence=500.0) for each in found]
    slow = [msgspec.structs.replace(each, silence=500.0) for each in free]
    assert not any(claim.agrees for claim in outage.judge([*late, *slow]))


def test_a_partition_that_stops_a_protocol_is_found_out() -> None:
    found = [partial.partial(BY_NAME[n], "chain", 1) for n in ("raft", "abd", "dynamo", "primary-backup")]
    claims = by_id(partial.judge(found))
    assert claims["chain-raft"].agrees
    assert not claims["quorum-loss-raft"].agrees, "it was not run"
    never = [msgspec.structs.replace(each, hub=None) for each in found]
    assert not by_id(partial.judge(never))["chain-raft"].agrees
    broken = [msgspec.structs.replace(each, linearizable=False) for each in found]
    assert not by_id(partial.judge(broken))["chain-raft"].agrees


@pytest.mark.thorough
def test_values_that_travel_twice_and_dear_conflicts_are_found_out() -> None:
    sizes, shared = variations.values(QUICK), variations.conflicts(QUICK)
    assert all(claim.agrees for claim in variations.judge_values(sizes))
    assert all(claim.agrees for claim in variations.judge_conflicts(shared))
    twice = [msgspec.structs.replace(p, bytes=p.bytes * 2) for p in sizes]
    assert not any(claim.agrees for claim in variations.judge_values(twice))
    dear = [msgspec.structs.replace(p, write_p50=p.write_p50 * (1 + p.case), read_p99=50.0) for p in shared]
    assert not any(claim.agrees for claim in variations.judge_conflicts(dear))


def sample(protocol: str, members: int, work: str, in_flight: int, **more: object) -> processes.Sample:
    fields = {"rate": 1000.0, "p50_ms": 1.0, "p99_ms": 2.0, "cpu_us": 100.0, "errors": 0} | more
    return processes.Sample(protocol=protocol, members=members, work=work, in_flight=in_flight, **fields)  # type: ignore[arg-type]


def measured(**more: object) -> list[processes.Sample]:
    found = []
    for protocol in ("raft", "multipaxos"):
        found += [
            sample(protocol, 3, "put", 1, cpu_us=1000.0),
            sample(protocol, 3, "put", processes.MANY),
            sample(protocol, 3, "get at a follower", processes.MANY),
            sample(protocol, 5, "put", processes.MANY, **({"cpu_us": 150.0} | more)),
        ]
    return found


def test_what_real_processes_are_said_to_do_can_fail() -> None:
    assert all(claim.agrees for claim in processes.judge(measured()))
    cheaper = {claim.id for claim in processes.judge(measured(cpu_us=90.0, errors=1)) if not claim.agrees}
    assert cheaper == {"processes-cpu-of-more-nodes", "processes-no-errors"}
    unlike = measured()[:4] + [msgspec.structs.replace(s, cpu_us=(s.cpu_us or 0) * 3) for s in measured()[4:]]
    assert not by_id(processes.judge(unlike))["processes-alike"].agrees
    unknown = [msgspec.structs.replace(s, cpu_us=None) for s in measured()]
    assert not by_id(processes.judge(unknown))["processes-share-batches"].agrees
