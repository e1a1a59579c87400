"""Each claim is measured, and can fail: with a wrong variant, a wrong formula or a wrong figure it does."""

from __future__ import annotations

from statistics import median
from typing import Any

import msgspec
import pytest

from coterie.core.config import MILLISECOND
from coterie.core.errors import SafetyViolation
from coterie.core.protocols import PROTOCOLS
from coterie.lab.claims import capacity, damage, entries, figure16, fsync, leases, liveness, quorums
from coterie.lab.claims.elections import LIMIT, Setting, downtime, downtimes
from coterie.lab.claims.experiment import ROWS, claims
from coterie.lab.claims.partial import DEAF_LEADER, DISTURBED, NEVER, Unrest, recovery, unrest
from coterie.lab.claims.rows import Found, Row
from coterie.lab.experiment import Claim, Conditions

QUICK = Conditions(seed=3, quick=True)
protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


def claim(found: Found, name: str) -> Claim:
    (the_one,) = [c for c in found.claims if c.id == name]
    return the_one


def run(row: Row) -> tuple[list[Any], Found]:
    results = [task.function(*task.arguments) for task in row.tasks(QUICK)]
    return results, row.judge(QUICK, results)


# -- elections -----------------------------------------------------------------------------------------


def test_equal_timeouts_split_the_vote_for_ever_and_a_little_randomness_ends_that() -> None:
    assert downtime(Setting(low_ms=150, high_ms=150), 1) == LIMIT
    spread = downtimes(Setting(low_ms=150, high_ms=200), 1, 20)
    assert 75 < min(spread) <= max(spread) < 1000


def test_a_candidate_that_waits_for_its_disk_before_it_asks_splits_votes_more_often() -> None:
    eager, waiting = (downtimes(Setting(low_ms=150, high_ms=155, eager=e), 1, 20) for e in (True, False))
    assert median(waiting) > 3 * median(eager)


def test_raft_as_it_ships_is_not_slower_than_the_papers_with_its_widest_timeouts() -> None:
    ours = downtimes(Setting(low_ms=150, high_ms=187, ships=True), 1, 30)
    papers = downtimes(Setting(low_ms=150, high_ms=300), 1, 30)
    assert median(ours) < median(papers)


def test_figures_that_the_paper_does_not_have_do_not_agree() -> None:
    def judged(factor: float) -> Found:
        results = []
        for setting, _, count in figure16._plan(QUICK):
            ms = {(150, 150): 12_000.0, (150, 155): 287.0, (12, 24): 35.0}.get((setting.low_ms, setting.high_ms), 200.0)
            worst = {(150, 200): 513.0, (12, 24): 152.0}.get((setting.low_ms, setting.high_ms), ms)
            results.append([ms * factor] * (count - 1) + [worst * factor])
        return figure16.judge(QUICK, results)

    assert all(c.agrees for c in judged(1.0).claims if c.id != "raft-short-timeouts-mean")
    wrong = judged(0.4)
    assert not any(c.agrees or c.explained for c in wrong.claims)


# -- partial partitions ---------------------------------------------------------------------------------


def test_plain_raft_never_settles_and_what_ships_does() -> None:
    assert not unrest("plain Raft", DISTURBED, 1, 30).settled
    assert not unrest("with pre-vote", DEAF_LEADER, 1, 30).settled
    assert unrest("with pre-vote and check-quorum", DEAF_LEADER, 1, 30).settled
    for protocol in PROTOCOLS:
        assert unrest(f"Coterie, {protocol}", DISTURBED, 1, 30).settled


def test_a_group_that_settles_where_it_should_not_is_a_claim_that_fails() -> None:
    row = liveness.SETTLING
    calm = [Unrest(60, 1, 600, 600) for _ in row.tasks(QUICK)]
    found = row.judge(QUICK, calm)
    assert claim(found, "coterie-settles").agrees
    assert not claim(found, "plain-raft-never-settles").agrees
    assert not claim(found, "pre-vote-alone-is-not-enough").agrees


@protocols
def test_a_constrained_election_is_over_in_four_timeouts_but_not_without_the_pull(protocol: str) -> None:
    assert 0 <= recovery(protocol, "constrained, 5", 1, MILLISECOND, 20) <= 4
    assert recovery("Raft without its pull", "constrained, 5", 1, MILLISECOND, 20) == NEVER


def test_a_recovery_that_takes_too_long_is_a_claim_that_fails() -> None:
    row = liveness.RECOVERY
    slow = row.judge(QUICK, [4.1 for _ in row.tasks(QUICK)])
    assert not any(c.agrees for c in slow.claims)
    stuck = row.judge(QUICK, [NEVER for _ in row.tasks(QUICK)])
    assert [c.id for c in stuck.claims if c.agrees] == ["raft-without-pull-is-stuck"]


# -- load, quorums, entries ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quorum", "leaders", "conflicts", "round_trips"), [(5, 1, 0.0, 4.0), (5, 9, 0.5, 2.0), (3, 3, 0.0, 4 / 3)]
)
def test_the_formula_gives_what_the_paper_computes_for_nine_nodes(
    quorum: int, leaders: int, conflicts: float, round_trips: float
) -> None:
    assert capacity.load(quorum, leaders, conflicts) == pytest.approx(round_trips)


@pytest.mark.thorough
def test_a_wrong_formula_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    results, found = run(capacity.ROW)
    assert claim(found, "load-of-a-leader").agrees
    assert claim(found, "capacity-of-a-leader").agrees
    assert claim(found, "load-when-all-are-up").explained
    monkeypatch.setattr(capacity, "load", lambda quorum: float(quorum))
    found = capacity.judge(QUICK, results)
    assert not claim(found, "load-of-a-leader").agrees
    assert not claim(found, "capacity-of-a-leader").agrees


def test_flexible_quorums_do_what_the_paper_says_and_majorities_do_not() -> None:
    assert quorums.half_up(4, 1, 3, 2) == quorums.Half(quorums.COMMANDS, quorums.COMMANDS)
    assert quorums.half_up(4, 1, 0, 0).committed == 0
    assert quorums.two_of_five(1, 4, 2) == quorums.Failures(quorums.COMMANDS, False, True)
    assert quorums.two_of_five(1, 0, 0).leader_fails


def test_with_quorums_that_do_not_meet_something_else_is_chosen_where_something_was_committed() -> None:
    with pytest.raises(SafetyViolation, match="two entries are chosen for slot"):
        quorums.half_up(4, 1, 2, 2)


def test_only_paxoss_elections_and_the_pull_carry_entries() -> None:
    paper = entries.takeover(entries.PAPER, 50, entries.BEHIND, 1)
    assert (paper.entries, paper.won) == (0, False)
    assert entries.takeover("multipaxos", 50, entries.FULL, 1).entries == 0
    for maker in ("multipaxos", "raft"):
        carried = entries.takeover(maker, 50, entries.BEHIND, 1)
        assert carried.entries >= 50
        assert carried.bytes >= 50 * entries.PAYLOAD


def test_an_election_of_raft_that_carries_entries_is_a_claim_that_fails() -> None:
    wrong = entries.Takeover(10, 1, True, 1.0)
    found = entries.judge(QUICK, [wrong for _ in entries.tasks(QUICK)])
    assert not claim(found, "raft-elections-carry-no-entries").agrees
    assert not claim(found, "paxos-elections-carry-entries").agrees


# -- disks ---------------------------------------------------------------------------------------------------


@protocols
@pytest.mark.parametrize("position", [0, 3, 6])
def test_a_damaged_entry_is_repaired_and_nothing_is_lost(protocol: str, position: int) -> None:
    assert damage.damage(protocol, 3, (2,), position, 1) == damage.Damage(1, 0, 0, 0)


def test_a_write_that_is_lost_is_a_claim_that_fails() -> None:
    results: list[Any] = [damage.Damage(1, 0, 0, 0) for _ in damage.tasks(QUICK)]
    assert all(c.agrees for c in damage.judge(QUICK, results).claims)
    assert not damage.judge(QUICK, [damage.Damage(1, 0, 0, 1), *results[1:]]).claims[0].agrees
    assert not damage.judge(QUICK, [damage.Damage(0, 0, 0, 0, "a law"), *results[1:]]).claims[0].agrees
    untouched = [damage.Damage(0, 0, 1, 0) for _ in results]
    assert not damage.judge(QUICK, untouched).claims[0].agrees, "nothing was damaged, so nothing was shown"


@protocols
@pytest.mark.parametrize("member", [1, 2])
def test_a_process_whose_sync_fails_ends_and_syncs_nothing_more(protocol: str, member: int) -> None:
    seen = fsync.fail(protocol, member, 1)
    assert (seen.after, seen.ended, seen.lost) == (0, True, 0)
    assert seen.acknowledged > 0


def test_a_process_that_tries_again_is_a_claim_that_fails() -> None:
    results, found = run(fsync.ROW)
    assert all(c.agrees for c in found.claims)
    tried = [results[0], *(msgspec.structs.replace(s, after=1) for s in results[1:])]
    assert not claim(fsync.judge(QUICK, tried), "a-failed-fsync-ends-the-process").agrees
    honest = [[msgspec.structs.replace(r, there=True) for r in results[0]], *results[1:]]
    assert not claim(fsync.judge(QUICK, honest), "a-retried-fsync-proves-nothing").agrees


# -- leases ------------------------------------------------------------------------------------------------------


@protocols
def test_leases_save_the_round_trip_and_cost_time_when_the_leader_dies(protocol: str) -> None:
    leased, plain = leases.reign(protocol, True, 1), leases.reign(protocol, False, 1)
    assert max(leased.steady) == 0 < min(plain.steady)
    assert leased.elected > 900 > 200 > plain.elected


def test_leases_that_delay_nothing_are_not_explained_away() -> None:
    row = leases.ROW
    quick = leases.Reign((0.0,), 30.0, 5.0, (0.0,) * 1000)
    assert all(c.agrees for c in row.judge(QUICK, [quick for _ in row.tasks(QUICK)]).claims)
    slow = leases.Reign((5.0,), 5000.0, 5.0, (500.0,) * 1000)
    wrong = row.judge(QUICK, [slow if task.arguments[1] else quick for task in row.tasks(QUICK)])
    assert not any(c.agrees for c in wrong.claims)
    assert not claim(wrong, "new-leader-serves-at-once").explained


# -- all together ----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_every_source_has_claims_of_its_own_and_the_same_seed_gives_the_same_report() -> None:
    rows = [row for row in ROWS if row.id in ("fsync", "flexible-paxos")]
    one, other = (claims(QUICK, rows).to_json() for _ in range(2))
    assert one == other
    assert [row.id for row in ROWS].count("raft-9-3") == 1
    ids = [c["id"] for c in one["claims"]]
    assert len(ids) == len(set(ids)) == 6
