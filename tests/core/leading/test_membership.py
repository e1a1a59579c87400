"""Laws of membership changes: what is planned is whole, its quorums meet those before and after, or it is refused."""

from __future__ import annotations

from itertools import combinations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.core import quorum
from coterie.core.leading.membership import MAX_MEMBERS, Rejection, describe, encode, leave, plan
from coterie.core.quorum import Quorum
from coterie.core.replica import Refusal
from coterie.core.types import Member, MemberId, Membership, MembershipChange

IDS = tuple(range(1, 7))


def member(i: int, *, name: str = "", peer: str = "", claim: int = 0) -> Member:
    return Member(i, name or f"n{i}", peer or f"n{i}:2380", f"n{i}:2379", claim)


def membership(voters: tuple[int, ...], learners: tuple[int, ...] = (), sizes: tuple[int, int] = (0, 0)) -> Membership:
    return Membership(tuple(member(i) for i in (*voters, *learners)), voters, (), learners, *sizes)


def sound_sizes(count: int) -> st.SearchStrategy[tuple[int, int]]:
    names = [f"n{i}" for i in IDS[:count]]
    pairs = ((first, second) for first in range(count + 1) for second in range(count + 1))
    return st.sampled_from([p for p in pairs if not quorum.flaw(names, *p, electors_meet=True)])


@st.composite
def situations(draw: st.DrawFn) -> tuple[Membership, MembershipChange]:
    voters = draw(st.sets(st.sampled_from(IDS), min_size=1, max_size=4))
    learners = draw(st.sets(st.sampled_from([i for i in IDS if i not in voters]), max_size=2))
    now = membership(tuple(sorted(voters)), tuple(sorted(learners)), draw(sound_sizes(len(voters))))
    some = st.lists(st.sampled_from(IDS), max_size=3)
    change = MembershipChange(
        add=tuple(member(i) for i in draw(some)),
        promote=tuple(draw(some)),
        remove=tuple(draw(some)),
        update=tuple(member(i, peer=f"other{i}:1") for i in draw(some)),
        phase_1=draw(st.none() | st.integers(0, 5)),
        phase_2=draw(st.none() | st.integers(0, 5)),
    )
    return now, change


def families(*memberships: Membership) -> list[tuple[Quorum, Quorum]]:
    return [(quorum.phase_1(m), quorum.phase_2(m)) for m in memberships]


def meet(a: Quorum, b: Quorum) -> bool:
    everyone = [set(chosen) for size in range(len(IDS) + 1) for chosen in combinations(IDS, size)]
    return all(x & y for x in everyone if a.reached(x) for y in everyone if b.reached(y))


@given(situations())
def test_a_change_is_had_as_a_whole_or_refused_in_words(situation: tuple[Membership, MembershipChange]) -> None:
    now, change = situation
    planned = plan(now, change)
    if isinstance(planned, Rejection):
        assert planned.detail
        assert planned.reason in (Refusal.INVALID, Refusal.UNSAFE)
        return
    after = leave(planned) if planned.outgoing else planned
    added = {m.id for m in change.add}
    assert set(after.voters) == (set(now.voters) | set(change.promote)) - set(change.remove)
    assert set(after.learners) == (set(now.learners) | added) - set(change.promote) - set(change.remove)
    assert {m.id for m in after.members} == set(after.voters) | set(after.learners)
    assert len({m.name for m in after.members}) == len(after.members) == len({m.peer for m in after.members})
    for updated in change.update:
        assert after.member(updated.id) == updated
    assert {m.id for m in planned.members} == {m.id for m in after.members} | set(planned.outgoing)
    sizes = (after.phase_1, after.phase_2)
    same = set(after.voters) == set(now.voters) and sizes == (now.phase_1, now.phase_2)
    assert bool(planned.outgoing) == (not same)
    assert change.phase_1 in (None, after.phase_1)
    assert change.phase_2 in (None, after.phase_2)
    if planned.outgoing:
        assert (planned.outgoing_phase_1, planned.outgoing_phase_2) == (now.phase_1, now.phase_2)
    assert (after.outgoing_phase_1, after.outgoing_phase_2) == (0, 0)
    assert plan(now, change) == planned
    assert describe(now, planned)


@given(situations())
def test_quorums_meet_those_of_the_configuration_before_and_after(
    situation: tuple[Membership, MembershipChange],
) -> None:
    now, change = situation
    planned = plan(now, change)
    if isinstance(planned, Rejection):
        return
    steps = [now, planned, leave(planned)] if planned.outgoing else [now, planned]
    for before, after in zip(families(*steps), families(*steps)[1:], strict=False):
        assert meet(before[0], after[1])
        assert meet(before[1], after[0])
        assert meet(before[0], after[0])


def test_without_a_joint_configuration_two_majorities_need_not_meet() -> None:
    """Why 4.3 exists: the same change in one step."""
    before, after = families(membership((1, 2, 3)), membership((1, 4, 5)))
    assert not meet(before[0], after[1])


NOW = membership((1, 2, 3), (4,))
CLAIMED = msgspec.structs.replace(NOW, members=(*NOW.members[:3], member(4, claim=7)))
SIZED = membership((1, 2, 3), (4,), (2, 2))
FIVE = membership((1, 2, 3, 4, 5))
FLEXIBLE = membership((1, 2, 3, 4, 5), (), (4, 2))
BIG = membership((1,), tuple(range(2, MAX_MEMBERS + 1)))


@pytest.mark.parametrize(
    ("now", "change", "reason", "words"),
    [
        (NOW, MembershipChange(), Refusal.INVALID, "empty"),
        (NOW, MembershipChange(add=(member(2, name="x", peer="x:1"),)), Refusal.INVALID, "there is one already"),
        (NOW, MembershipChange(add=(member(0, name="x"),)), Refusal.INVALID, "0 is nobody's id"),
        (NOW, MembershipChange(add=(member(5), member(5))), Refusal.INVALID, "n5 twice"),
        (NOW, MembershipChange(add=(member(5, name="n2"),)), Refusal.INVALID, "the name n2 is taken"),
        (NOW, MembershipChange(add=(member(5, peer="n2:2380"),)), Refusal.INVALID, "the peer address n2:2380 is taken"),
        (NOW, MembershipChange(add=(Member(5, "", "x:1", ""),)), Refusal.INVALID, "needs a name"),
        (NOW, MembershipChange(update=(member(3, name="n2"),)), Refusal.INVALID, "the name n2 is taken"),
        (NOW, MembershipChange(update=(member(9),)), Refusal.INVALID, "there is no"),
        (NOW, MembershipChange(remove=(9,)), Refusal.INVALID, "there is no"),
        (NOW, MembershipChange(remove=(2, 2)), Refusal.INVALID, "n2 twice"),
        (NOW, MembershipChange(promote=(2,)), Refusal.INVALID, "n2 is a voter already"),
        (NOW, MembershipChange(promote=(9,)), Refusal.INVALID, "to promote"),
        (NOW, MembershipChange(promote=(4,), remove=(4,)), Refusal.INVALID, "removed and to be promoted"),
        (NOW, MembershipChange(remove=(1, 2, 3)), Refusal.UNSAFE, "no voter would be left"),
        (SIZED, MembershipChange(promote=(4,)), Refusal.UNSAFE, "n1 n2 could elect a leader while n3 n4 commit"),
        (SIZED, MembershipChange(remove=(2, 3)), Refusal.UNSAFE, "more than the 1 voters"),
        (FIVE, MembershipChange(phase_1=2), Refusal.UNSAFE, "while n3 n4 elect another in the same epoch"),
        (
            FIVE,
            MembershipChange(phase_1=3, phase_2=2),
            Refusal.UNSAFE,
            "n1 n2 n3 could elect a leader while n4 n5 comm",
        ),
        (FIVE, MembershipChange(phase_2=6), Refusal.UNSAFE, "a quorum of 6 is more than the 5 voters"),
        (FIVE, MembershipChange(phase_2=-1), Refusal.INVALID, "a quorum of -1"),
        (FLEXIBLE, MembershipChange(remove=(4, 5)), Refusal.UNSAFE, "a quorum of 4 is more than the 3 voters"),
        (CLAIMED, MembershipChange(update=(member(4, claim=8),)), Refusal.INVALID, "another data directory"),
        (BIG, MembershipChange(add=(member(1000),)), Refusal.INVALID, "at most"),
    ],
)
def test_what_makes_no_sense_or_is_unsafe_is_refused(
    now: Membership, change: MembershipChange, reason: Refusal, words: str
) -> None:
    planned = plan(now, change)
    assert isinstance(planned, Rejection)
    assert planned.reason is reason
    assert words in planned.detail


@pytest.mark.parametrize(
    ("now", "given_sizes", "sizes"),
    [
        (FIVE, (None, 2), (4, 2)),
        (FIVE, (None, 1), (5, 1)),
        (FIVE, (None, 5), (0, 5)),
        (FIVE, (4, None), (4, 0)),
        (FIVE, (5, 2), (5, 2)),
        (FLEXIBLE, (None, 0), (4, 0)),
        (FLEXIBLE, (0, None), (0, 0)),
        (FLEXIBLE, (3, None), (3, 0)),
        (FLEXIBLE, (5, None), (5, 2)),
        (membership((1, 2, 3, 4)), (None, 2), (0, 2)),
    ],
)
def test_the_size_that_is_not_given_gives_way_only_where_it_must(
    now: Membership, given_sizes: tuple[int | None, int | None], sizes: tuple[int, int]
) -> None:
    planned = plan(now, MembershipChange(phase_1=given_sizes[0], phase_2=given_sizes[1]))
    assert isinstance(planned, Membership)
    assert (planned.phase_1, planned.phase_2) == sizes
    assert planned.outgoing == now.voters


def test_where_ballots_have_owners_few_may_elect() -> None:
    change = MembershipChange(phase_1=2)
    planned = plan(FIVE, change, electors_meet=False)
    assert isinstance(planned, Membership)
    assert (planned.phase_1, planned.phase_2) == (2, 4)
    assert isinstance(plan(FIVE, change), Rejection)


def test_a_membership_that_was_written_before_there_were_outgoing_sizes_is_read() -> None:
    old = msgspec.msgpack.encode(msgspec.to_builtins(SIZED)[:6])
    assert msgspec.msgpack.decode(old, type=Membership) == SIZED


def test_a_learner_that_leaves_may_leave_its_name_and_address_to_another_in_the_same_change() -> None:
    """A voter may not: it is a member until the joint configuration is over."""
    voter = plan(NOW, MembershipChange(add=(member(5, name="n3", peer="n3:2380"),), remove=(3,)))
    assert isinstance(voter, Rejection)
    planned = plan(NOW, MembershipChange(add=(member(5, name="n4", peer="n4:2380"),), remove=(4,)))
    assert planned == membership_of((1, 2, 3), member(5, name="n4", peer="n4:2380"))


def membership_of(voters: tuple[MemberId, ...], learner: Member) -> Membership:
    return Membership((*(member(i) for i in voters), learner), voters, (), (learner.id,))


def test_a_membership_comes_back_from_its_entry() -> None:
    assert msgspec.msgpack.decode(encode(CLAIMED), type=Membership) == CLAIMED


def test_a_change_says_what_it_is() -> None:
    change = MembershipChange(add=(member(5),), promote=(4,), remove=(3,))
    planned = plan(NOW, change)
    assert isinstance(planned, Membership)
    assert describe(NOW, planned) == "joint configuration, new learners: n5; new voters: n4; leaving: n3"
    assert describe(planned, leave(planned)) == "the joint configuration is over: n3 left"
    assert describe(Membership((), ()), NOW) == "the membership is known"
    assert describe(NOW, CLAIMED) == "membership, updated: n4"
    sized = plan(FIVE, MembershipChange(phase_2=2))
    assert isinstance(sized, Membership)
    assert describe(FIVE, sized) == "joint configuration, quorums: 4 to elect, 2 to commit"
    assert describe(sized, leave(sized)) == "the joint configuration is over"
    back = plan(FLEXIBLE, MembershipChange(phase_1=0, phase_2=0))
    assert isinstance(back, Membership)
    assert describe(FLEXIBLE, back) == "joint configuration, quorums: a majority to elect, a majority to commit"
    assert describe(NOW, NOW) == "membership, nothing changed"
