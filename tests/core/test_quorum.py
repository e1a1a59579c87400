"""Laws of quorums: any two that matter meet, and `agreed` is what its definition says."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.core import quorum
from coterie.core.quorum import Joint, Quorum, Threshold, majority
from coterie.core.types import MemberId, Membership

MEMBERS = tuple(range(1, 8))
members = st.sets(st.sampled_from(MEMBERS))
values = st.dictionaries(st.sampled_from(MEMBERS), st.integers(0, 20))


@st.composite
def memberships(draw: st.DrawFn, *, joint: bool | None = None) -> Membership:
    voters = draw(st.sets(st.sampled_from(MEMBERS), min_size=1, max_size=6))
    outgoing: set[MemberId] = set()
    if joint or (joint is None and draw(st.booleans())):
        outgoing = draw(st.sets(st.sampled_from(MEMBERS), min_size=1, max_size=6))
    learners = tuple(m for m in MEMBERS if m not in voters | outgoing)
    return Membership((), tuple(sorted(voters)), tuple(sorted(outgoing)), learners)


def subsets() -> list[set[MemberId]]:
    return [set(some) for size in range(len(MEMBERS) + 1) for some in combinations(MEMBERS, size)]


def brute_force_agreed(family: Quorum, reached: dict[MemberId, int]) -> int:
    """The highest number that all of some quorum have reached, tried one by one."""
    return max(
        (n for n in range(1, 21) if family.reached({m for m, value in reached.items() if value >= n})),
        default=0,
    )


@given(memberships(), members, members)
def test_a_quorum_that_elects_and_one_that_commits_meet(membership: Membership, a: set[int], b: set[int]) -> None:
    elects, commits = quorum.phase_1(membership), quorum.phase_2(membership)
    if elects.reached(a) and commits.reached(b):
        assert a & b & set(membership.voters)
    if elects.reached(a) and elects.reached(b):
        assert a & b & set(membership.voters)


@pytest.mark.parametrize("count", range(1, 8))
def test_majorities_always_meet_and_none_smaller_would(count: int) -> None:
    voters = MEMBERS[:count]
    size = majority(count)
    assert all(set(a) & set(b) for a in combinations(voters, size) for b in combinations(voters, size))
    if size > 1:
        smaller = list(combinations(voters, size - 1))
        assert any(not set(a) & set(b) for a in smaller for b in smaller)


@given(st.integers(1, 6), st.data())
def test_flexible_quorums_meet_when_their_sizes_exceed_the_voters(count: int, data: st.DataObject) -> None:
    phase_1 = data.draw(st.integers(1, count))
    membership = Membership((), MEMBERS[:count], phase_1=phase_1, phase_2=count - phase_1 + 1)
    a, b = data.draw(members), data.draw(members)
    if quorum.phase_1(membership).reached(a) and quorum.phase_2(membership).reached(b):
        assert a & b


@given(st.integers(0, 5), st.integers(0, 6), st.integers(0, 6))
def test_sizes_have_no_flaw_exactly_when_every_two_quorums_that_must_meet_do(
    count: int, first: int, second: int
) -> None:
    voters = MEMBERS[:count]
    membership = Membership((), voters, phase_1=first, phase_2=second)
    electing, committing = quorum.phase_1(membership), quorum.phase_2(membership)
    some = [set(chosen) for size in range(count + 1) for chosen in combinations(voters, size)]
    elects = [chosen for chosen in some if electing.reached(chosen)]
    commits = [chosen for chosen in some if committing.reached(chosen)]
    meet = all(a & b for a in elects for b in commits + elects)
    assert (quorum.flaw(count, first, second) == "") == (meet and bool(elects) and bool(commits))


@given(memberships(joint=True), members)
def test_a_joint_quorum_is_a_quorum_of_both_halves(membership: Membership, votes: set[int]) -> None:
    family = quorum.phase_1(membership)
    assert isinstance(family, Joint)
    halves = [Membership((), membership.voters), Membership((), membership.outgoing)]
    assert family.reached(votes) == all(quorum.phase_1(half).reached(votes) for half in halves)


@given(memberships(), values)
def test_agreed_is_the_highest_number_that_a_quorum_has_reached(
    membership: Membership, reached: dict[MemberId, int]
) -> None:
    family = quorum.phase_2(membership)
    assert family.agreed(reached) == brute_force_agreed(family, reached)


@given(memberships(), values, st.sampled_from(MEMBERS), st.integers(0, 20))
def test_more_never_agrees_on_less(
    membership: Membership, reached: dict[MemberId, int], member: MemberId, more: int
) -> None:
    family = quorum.phase_2(membership)
    raised = {**reached, member: max(more, reached.get(member, 0))}
    assert family.agreed(raised) >= family.agreed(reached)
    assert family.reached(raised) or not family.reached(reached)


@given(memberships(), values)
def test_who_is_no_voter_does_not_count(membership: Membership, reached: dict[MemberId, int]) -> None:
    counted = set(membership.voters) | set(membership.outgoing)
    family = quorum.phase_2(membership)
    assert family.agreed(reached) == family.agreed({m: value for m, value in reached.items() if m in counted})
    assert family.reached(reached) == family.reached(counted & set(reached))


def test_without_voters_there_is_no_quorum() -> None:
    nobody = quorum.phase_1(Membership((), ()))
    assert majority(0) == 0
    assert not any(nobody.reached(some) for some in subsets())
    assert nobody.agreed(dict.fromkeys(MEMBERS, 9)) == 0


def test_a_set_larger_than_the_voters_is_never_reached() -> None:
    assert not Threshold((1, 2), 3).reached({1, 2, 3})
