"""What members hold in common: equal states, or somebody stops; a version that all support, or it stays."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract.engine.cluster import Cluster

from coterie.core.errors import SafetyViolation
from coterie.core.types import Member, Membership
from coterie.engine.cluster_version import Supports
from coterie.engine.config import EngineConfig
from coterie.engine.divergence import MAX_INDEXES, PATIENCE, DivergenceCheck
from coterie.engine.group import ProgramTooOld
from coterie.engine.history import History
from coterie.engine.protocol import OpenSession, Submit

SECOND = 1_000_000_000


def group(voters: int, learners: int = 0) -> Membership:
    members = tuple(Member(i, f"n{i}", f"n{i}:1", "") for i in range(1, voters + learners + 1))
    return Membership(members, tuple(range(1, voters + 1)), (), tuple(range(voters + 1, voters + learners + 1)))


# -- the rule ------------------------------------------------------------------------------------


def test_equal_states_are_no_news() -> None:
    check = DivergenceCheck(1)
    for member in (1, 2, 3):
        check.tell(member, 10, b"same")
    assert check.judge(0, group(3)) is None


def test_the_odd_one_stops_and_the_majority_is_told_who_it_is() -> None:
    for own in (1, 2, 3):
        check = DivergenceCheck(own)
        for member, digest in ((1, b"a"), (2, b"a"), (3, b"b")):
            check.tell(member, 10, digest)
        verdict = check.judge(0, group(3))
        assert verdict is not None
        assert (verdict.odd, verdict.own_is_odd, verdict.majority) == ((3,), own == 3, True)
        assert check.judge(0, group(3)) is None, "it is told once"


def test_without_a_majority_everybody_stops_and_waits_for_nobody_who_could_not_change_it() -> None:
    check = DivergenceCheck(1)
    for member, digest in ((1, b"a"), (2, b"b"), (3, b"c")):
        check.tell(member, 10, digest)
    verdict = check.judge(0, group(3))
    assert verdict is not None
    assert verdict.own_is_odd
    assert not verdict.majority


def test_a_difference_waits_for_the_missing_ones_with_patience_and_no_longer() -> None:
    check = DivergenceCheck(1)
    check.tell(1, 10, b"a")
    check.tell(2, 10, b"b")
    assert check.judge(0, group(3)) is None
    assert check.waits == PATIENCE
    assert check.judge(PATIENCE - 1, group(3)) is None
    late = check.judge(PATIENCE, group(3))
    assert late is not None
    assert late.own_is_odd
    in_time = DivergenceCheck(1)
    in_time.tell(1, 10, b"a")
    in_time.tell(2, 10, b"b")
    assert in_time.judge(0, group(3)) is None
    in_time.tell(3, 10, b"a")
    verdict = in_time.judge(1, group(3))
    assert verdict is not None
    assert (verdict.odd, verdict.own_is_odd) == ((2,), False)


def test_a_learner_has_no_say_but_is_judged() -> None:
    for own, odd in ((1, False), (4, True)):
        check = DivergenceCheck(own)
        for member, digest in ((1, b"a"), (2, b"a"), (4, b"b")):
            check.tell(member, 10, digest)
        verdict = check.judge(0, group(3, 1))
        assert verdict is not None
        assert (verdict.odd, verdict.own_is_odd) == ((4,), odd)


def test_only_words_about_the_same_entry_are_compared_and_old_ones_are_forgotten() -> None:
    check = DivergenceCheck(1)
    for index in range(1, 2 * MAX_INDEXES):
        check.tell(1, index, b"%d" % index)
    check.tell(2, 1, b"other")
    assert check.judge(0, group(3)) is None
    check.tell(2, 2 * MAX_INDEXES - 1, b"other")
    check.tell(3, 2 * MAX_INDEXES - 1, b"other")
    verdict = check.judge(0, group(3))
    assert verdict is not None
    assert verdict.own_is_odd


def test_an_index_to_compare_at_is_where_the_logs_time_passes_a_multiple() -> None:
    assert DivergenceCheck.due(0, 60 * SECOND, 60_000)
    assert not DivergenceCheck.due(0, 60 * SECOND - 1, 60_000)
    assert DivergenceCheck.due(59 * SECOND, 200 * SECOND, 60_000)
    assert not DivergenceCheck.due(0, 200 * SECOND, 0), "0: never"


# -- in the engine -------------------------------------------------------------------------------


def written_past_a_minute(cluster: Cluster, leader: int, spoil: tuple[int, ...] = (), then: int = 500) -> None:
    """Write until the log's time has passed a minute, and let the members tell each other."""
    for id, member in enumerate(spoil):
        cluster.nodes[member].engine.host.chain = bytes([id + 1]) * 16
    cluster.request(leader, "client", OpenSession(900, 30 * SECOND))
    for id in range(1, 8):
        cluster.run(10_000)
        cluster.request(leader, "client", Submit(id, 0, 0, 0, b"x"))
    cluster.run(then)


def test_members_that_agree_say_nothing() -> None:
    cluster = Cluster()
    leader, _ = cluster.elect()
    written_past_a_minute(cluster, leader)
    assert all(node.engine.host.time > 60 * SECOND for node in cluster.nodes.values())
    assert not any(node.heard("alarm") for node in cluster.nodes.values())


def test_a_member_whose_state_differs_stops_with_what_to_do() -> None:
    cluster = Cluster()
    leader, others = cluster.elect()
    with pytest.raises(SafetyViolation, match="differs") as stopped:
        written_past_a_minute(cluster, leader, spoil=(others[0],))
    assert "member remove" in stopped.value.advice
    assert cluster.nodes[others[0]].heard("alarm")
    cluster.crash(others[0])
    cluster.run(1000)
    assert any(f"n{others[0]}" in text for text in cluster.nodes[leader].heard("alarm"))


def test_two_that_differ_with_nobody_to_decide_both_stop() -> None:
    cluster = Cluster()
    leader, others = cluster.elect()
    cluster.crash(others[1])
    with pytest.raises(SafetyViolation) as stopped:
        written_past_a_minute(cluster, leader, spoil=(others[0],), then=10_000)
    assert "nobody knows which state is right" in stopped.value.advice


# -- the cluster version -------------------------------------------------------------------------


def test_the_version_rises_only_to_what_every_member_supports() -> None:
    supports = Supports(1, 3)
    members = group(2, 1)
    supports.tell(2, 3)
    assert supports.next_version(1, members) is None, "the learner has not said"
    supports.tell(3, 2)
    assert supports.next_version(1, members) == 2
    assert supports.next_version(2, members) is None
    supports.tell(3, 1)
    assert supports.next_version(1, members) is None, "its program was taken back"
    assert supports.next_version(1, group(2)) == 3, "who left counts for nothing"


def version_of(cluster: Cluster) -> set[int]:
    return {node.engine.host.settings.version for node in cluster.nodes.values()}


def test_the_leader_raises_the_version_when_all_run_the_new_program() -> None:
    cluster = Cluster(config=EngineConfig(supported_version=2))
    leader, _ = cluster.elect()
    cluster.run(1000)
    assert version_of(cluster) == {2}
    assert cluster.nodes[leader].heard("cluster-version")


def test_an_old_program_among_them_keeps_the_version_and_cannot_join_a_newer_cluster() -> None:
    cluster = Cluster(config=EngineConfig(supported_version=2))
    old = 3
    cluster.crash(old)
    new_config, cluster.config = cluster.config, EngineConfig(supported_version=1)
    cluster.restart(old)
    cluster.config = new_config
    cluster.elect()
    cluster.run(2000)
    assert version_of(cluster) == {1}
    cluster.crash(old)
    cluster.restart(old)
    cluster.run(3000)
    assert version_of(cluster) == {2}, "the last old program is gone"
    cluster.crash(old)
    cluster.config = EngineConfig(supported_version=1)
    cluster.restart(old)
    with pytest.raises(ProgramTooOld, match="version 2"):
        cluster.run(3000)


# -- who was removed -----------------------------------------------------------------------------


def test_one_that_joins_is_not_one_that_was_removed() -> None:
    before, after = group(3), group(4)
    joining = History(4, [Membership((), ())])
    seen = [([m.id for m in joining.applied(membership)], joining.expelled) for membership in (before, after, before)]
    assert seen == [([], False), ([], False), ([4], True)]
    known = History(4, [msgspec.structs.replace(after), before])
    assert known.expelled, "it finds it in its own log, too"
