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
NAMES = tuple(f"n{member}" for member in MEMBERS)
members = st.sets(st.sampled_from(MEMBERS))
values = st.dictionaries(st.sampled_from(MEMBERS), st.integers(0, 20))


@st.composite
def memberships(draw: st.DrawFn, *, joint: bool | None = None) -> Membership:
    voters = draw(st.sets(st.sampled_from(MEMBERS), min_size=1, max_size=6))
    outgoing: set[MemberId] = set()
    if joint or (joint is None and draw(st.booleans())):
        outgoing = draw(st.sets(st.sampled_from(MEMBERS), min_size=1, max_size=6))
    learners = tuple(m for m in MEMBERS if m not in voters | outgoing)
    sizes = (*draw(sound_sizes(len(voters))), *(draw(sound_sizes(len(outgoing))) if outgoing else ()))
    return Membership((), tuple(sorted(voters)), tuple(sorted(outgoing)), learners, *sizes)


def sound_sizes(count: int) -> st.SearchStrategy[tuple[int, int]]:
    """Sizes of quorums of so many voters that Raft may have."""
    return st.sampled_from(
        [
            (first, second)
            for first in range(count + 1)
            for second in range(count + 1)
            if not quorum.flaw(NAMES[:count], first, second, electors_meet=True)
        ]
    )


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


SIZES = [(count, first, second) for count in range(7) for first in range(8) for second in range(8)]


def deciding(count: int, first: int, second: int) -> tuple[list[set[int]], list[set[int]]]:
    """All sets of so many voters that may elect, and all that may commit."""
    membership = Membership((), MEMBERS[:count], phase_1=first, phase_2=second)
    some = [set(chosen) for size in range(count + 1) for chosen in combinations(MEMBERS[:count], size)]
    families = (quorum.phase_1(membership), quorum.phase_2(membership))
    elects, commits = ([chosen for chosen in some if family.reached(chosen)] for family in families)
    return elects, commits


@pytest.mark.parametrize("electors_meet", [True, False])
@given(sizes=st.sampled_from(SIZES))
def test_sizes_have_no_flaw_exactly_when_every_two_quorums_that_must_meet_do(
    electors_meet: bool, sizes: tuple[int, int, int]
) -> None:
    count, first, second = sizes
    elects, commits = deciding(*sizes)
    meet = all(a & b for a in elects for b in commits + (elects if electors_meet else []))
    problem = quorum.flaw(NAMES[:count], first, second, electors_meet=electors_meet)
    assert (problem == "") == (meet and bool(elects) and bool(commits))


@pytest.mark.parametrize("electors_meet", [True, False])
@given(sizes=st.sampled_from(SIZES))
def test_the_example_of_a_flaw_is_two_quorums_that_do_not_meet(
    electors_meet: bool, sizes: tuple[int, int, int]
) -> None:
    count, first, second = sizes
    elects, commits = deciding(*sizes)
    found = quorum.apart(MEMBERS[:count], first, second, electors_meet=electors_meet)
    problem = quorum.flaw(NAMES[:count], first, second, electors_meet=electors_meet)
    if found is None or not (elects and commits):
        return
    one, other, commit = found
    assert set(one) in elects
    assert set(other) in (commits if commit else elects)
    assert not set(one) & set(other)
    assert (
        f" {' '.join(f'n{m}' for m in one)} could elect a leader while {' '.join(f'n{m}' for m in other)} " in problem
    )


@pytest.mark.parametrize("electors_meet", [True, False])
@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("given_size", range(8))
def test_the_least_size_beside_another_does_and_none_below_it(electors_meet: bool, count: int, given_size: int) -> None:
    if given_size > count:
        return

    def good(first: int, second: int) -> bool:
        return not quorum.flaw(NAMES[:count], first, second, electors_meet=electors_meet)

    first = quorum.least_phase_1(count, given_size, electors_meet=electors_meet)
    assert good(first, given_size)
    below = (first or majority(count)) - 1
    assert below < 1 or not good(below, given_size)
    if electors_meet and 0 < given_size < majority(count):
        return  # No size of those that commit helps where two that elect do not meet.
    second = quorum.least_phase_2(count, given_size)
    assert good(given_size, second)
    below = (second or majority(count)) - 1
    assert below < 1 or not good(given_size, below)


@given(memberships(joint=True), members)
def test_a_joint_quorum_is_a_quorum_of_both_halves(membership: Membership, votes: set[int]) -> None:
    sizes = (membership.phase_1, membership.phase_2)
    old_sizes = (membership.outgoing_phase_1, membership.outgoing_phase_2)
    halves = [
        Membership((), membership.voters, (), (), *sizes),
        Membership((), membership.outgoing, (), (), *old_sizes),
    ]
    for family, phase in ((quorum.phase_1, "elects"), (quorum.phase_2, "commits")):
        assert isinstance(family(membership), Joint)
        assert family(membership).reached(votes) == all(family(half).reached(votes) for half in halves), phase


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
