"""First start: whatever is lost, repeated, reordered or crashes, no two members start with different sets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coterie.core.types import Member
from coterie.engine.first_start import (
    FirstStart,
    FirstStartConflict,
    Introduction,
    answer_started,
    canonical,
    digest,
)

NAMES = (("n1", "h1:1"), ("n2", "h2:1"), ("n3", "h3:1"))


def member(number: int, id: int = 0) -> Member:
    return Member(id or 100 + number, f"n{number}", f"h{number}:1", f"h{number}:2")


def start(number: int, fixed: tuple[Member, ...] | None = None, id: int = 0) -> FirstStart:
    return FirstStart(member(number, id), NAMES, fixed)


def settle(node: FirstStart) -> None:
    if node.to_fix is not None:
        node.fixed(node.to_fix)


def introduce(nodes: Sequence[FirstStart]) -> None:
    """Each hears all others, twice."""
    for _ in range(2):
        for node in nodes:
            for other in nodes:
                if other is not node:
                    node.hear(other.introduction())
                    settle(node)


def test_three_members_that_hear_each_other_start_with_one_set() -> None:
    nodes = [start(1), start(2), start(3)]
    introduce(nodes)
    assert all(node.ready for node in nodes)
    assert {node.members for node in nodes} == {(member(1), member(2), member(3))}


def test_a_single_member_is_ready_once_its_set_is_durable() -> None:
    node = FirstStart(member(1), NAMES[:1], None)
    before = node.ready
    settle(node)
    assert (before, node.ready) == (False, True)
    assert node.missing == ()


def test_hearing_of_all_is_not_enough_without_their_echo() -> None:
    node = start(1)
    for other in (start(2), start(3)):
        node.hear(other.introduction())
    settle(node)
    assert (node.members is not None, node.ready) == (True, False)
    assert node.missing == ("n2", "n3")


def test_members_that_begin_with_different_states_never_start_together() -> None:
    def restored(number: int, state: bytes) -> FirstStart:
        return FirstStart(member(number), NAMES, None, state)

    for one, two, words in (
        (b"", b"a" * 32, "n2 begins with a restored state.*, n1 with an empty state"),
        (b"a" * 32, b"", "n2 begins with an empty state, n1 with a restored state"),
        (b"a" * 32, b"b" * 32, r"n2 begins with a restored state \(6262.*n1 with a restored state \(6161"),
    ):
        first, second = restored(1, one), restored(2, two)
        with pytest.raises(FirstStartConflict, match=words) as conflict:
            first.hear(second.introduction())
        assert "restore the same snapshot file" in conflict.value.advice
        with pytest.raises(FirstStartConflict):
            second.hear(first.introduction())
    members = (member(1), member(2), member(3))
    assert len({digest(members, state) for state in (b"", b"a" * 32, b"b" * 32)}) == 3
    answer = answer_started(member(1), members, restored(2, b"a" * 32).introduction(), b"a" * 32)
    assert (answer.fixed, answer.restored) == (digest(members, b"a" * 32), b"a" * 32)


def test_members_that_begin_with_the_same_state_start_with_one_set() -> None:
    nodes = [FirstStart(member(number), NAMES, None, b"a" * 32) for number in (1, 2, 3)]
    introduce(nodes)
    assert all(node.ready for node in nodes)


def test_a_wiped_member_is_a_stranger_to_one_that_has_fixed_its_set() -> None:
    node = start(1, (member(1), member(2), member(3)))
    with pytest.raises(FirstStartConflict, match=r"wiped.*remove the member from it, then add it again"):
        node.hear(start(2, id=999).introduction())
    assert node.missing == ("n2", "n3")


def test_two_different_fixed_sets_are_told_apart_with_what_to_do() -> None:
    node = start(1, (member(1), member(2), member(3)))
    other = start(2, (member(1), member(2), member(3, id=999)))
    with pytest.raises(FirstStartConflict, match="different sets"):
        node.hear(other.introduction())


def test_before_anything_is_fixed_the_latest_id_of_a_name_counts() -> None:
    node = start(1)
    node.hear(start(2).introduction())
    node.hear(start(2, id=999).introduction())
    node.hear(start(3).introduction())
    assert node.to_fix == (member(1), member(2, id=999), member(3))


def test_different_lists_of_initial_members_are_refused() -> None:
    node = start(1)
    other = FirstStart(member(2), NAMES[:2], None)
    with pytest.raises(FirstStartConflict, match="was configured with"):
        node.hear(other.introduction())


def test_a_stranger_outside_the_list_is_refused() -> None:
    other = Member(7, "n9", "h9:1", "h9:2")
    with pytest.raises(FirstStartConflict, match="not among"):
        start(1).hear(Introduction(other, NAMES, b""))


def test_two_processes_with_one_name_are_refused() -> None:
    with pytest.raises(FirstStartConflict, match="two members are called n1"):
        start(1).hear(start(1, id=999).introduction())


def test_a_configuration_without_the_member_itself_is_refused() -> None:
    with pytest.raises(FirstStartConflict, match="do not list"):
        FirstStart(member(1), NAMES[1:], None)


def test_a_fixed_set_that_the_configuration_no_longer_fits_is_refused() -> None:
    with pytest.raises(FirstStartConflict, match="already fixed"):
        start(1, (member(1), member(2)))


def test_fixing_a_second_set_is_impossible() -> None:
    node = start(1, (member(1), member(2), member(3)))
    with pytest.raises(ValueError, match="one set"):
        node.fixed((member(1), member(2), member(3, id=999)))


def test_a_started_member_echoes_its_set_to_its_own_and_refuses_strangers() -> None:
    first = (member(1), member(2), member(3))
    late = start(2, first)
    answer = answer_started(member(1), first, late.introduction())
    assert answer.fixed == digest(first)
    late.hear(answer)
    assert late.missing == ("n3",)
    with pytest.raises(FirstStartConflict, match="wiped"):
        answer_started(member(1), first, start(2, id=999).introduction())
    with pytest.raises(FirstStartConflict, match="was not among them"):
        answer_started(member(1), first, Introduction(Member(9, "n9", "a:1", "a:2"), NAMES, b""))


def test_the_digest_does_not_depend_on_the_order() -> None:
    first = (member(3), member(1), member(2))
    assert digest(first) == digest(canonical(first))
    assert digest(first) != digest((member(1), member(2), member(3, id=999)))


class Exchange(RuleBasedStateMachine):
    """Three disks; processes crash and restart; disks are wiped; introductions linger, repeat, overtake."""

    def __init__(self) -> None:
        super().__init__()
        self.next_id = 1000
        self.disks: list[tuple[int, tuple[Member, ...] | None]] = [(101, None), (102, None), (103, None)]
        self.nodes = [start(n + 1, None, self.disks[n][0]) for n in range(3)]
        self.post: list[tuple[int, Introduction]] = []
        self.started: set[tuple[Member, ...]] = set()
        self.wipes = 0

    @rule(sender=st.integers(0, 2), to=st.integers(0, 2))
    def send(self, sender: int, to: int) -> None:
        if sender != to:
            self.post.append((to, self.nodes[sender].introduction()))

    @precondition(lambda self: self.post)
    @rule(data=st.data(), keep=st.booleans())
    def deliver(self, data: st.DataObject, keep: bool) -> None:
        at = data.draw(st.integers(0, len(self.post) - 1))
        to, introduction = self.post[at]
        if not keep:
            del self.post[at]
        before = self.nodes[to].members
        try:
            self.nodes[to].hear(introduction)
        except FirstStartConflict:
            assert self.nodes[to].members == before

    @rule(number=st.integers(0, 2), crash=st.sampled_from(["no", "before", "after"]))
    def fix(self, number: int, crash: str) -> None:
        members = self.nodes[number].to_fix
        if members is None:
            return
        if crash != "before":
            self.disks[number] = (self.disks[number][0], members)
        if crash == "no":
            self.nodes[number].fixed(members)
        else:
            self.restart(number)

    @rule(number=st.integers(0, 2))
    def crash(self, number: int) -> None:
        self.restart(number)

    def restart(self, number: int) -> None:
        id, fixed = self.disks[number]
        self.nodes[number] = start(number + 1, fixed, id)

    @precondition(lambda self: self.wipes < 2)
    @rule(number=st.integers(0, 2))
    def wipe(self, number: int) -> None:
        self.wipes += 1
        self.next_id += 1
        self.disks[number] = (self.next_id, None)
        self.restart(number)

    @rule()
    def everyone_talks(self) -> None:
        for _ in range(2):
            for node in self.nodes:
                for other in self.nodes:
                    if other is not node:
                        try:
                            node.hear(other.introduction())
                        except FirstStartConflict:
                            continue
                for number, candidate in enumerate(self.nodes):
                    members = candidate.to_fix
                    if members is not None:
                        self.disks[number] = (self.disks[number][0], members)
                        candidate.fixed(members)
        if self.wipes == 0:
            assert all(node.ready for node in self.nodes)

    @invariant()
    def at_most_one_set_is_ever_started_with(self) -> None:
        for node in self.nodes:
            if node.ready:
                assert node.members is not None
                self.started.add(node.members)
        assert len(self.started) <= 1


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
