"""The adversary's run: it repeats, it is fair, and it is lost without the right to delay."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from coterie.core.multipaxos.synod import Prepare
from coterie.core.types import Epoch
from coterie.lab.flp.adversary import Walk, replay, shape, walk
from coterie.lab.flp.drawing import draw_walk
from coterie.lab.flp.system import Configuration, Letter, System
from coterie.lab.flp.wording import schedule_text, steps

INPUTS = ("a", "b", None)


@pytest.fixture(scope="module")
def walked() -> Walk:
    return walk(System(INPUTS))


def asking(system: System, *ballots: tuple[int, int]) -> Configuration:
    letters = tuple(system.number(Letter(n, 3, Prepare(Epoch(r, n)))) for r, n in ballots)
    return Configuration(system.initial.processes, letters)


def test_a_shape_tells_the_order_and_the_adjacency_of_rounds_and_nothing_else() -> None:
    system = System(INPUTS)

    def of(*ballots: tuple[int, int]) -> object:
        return shape(system, asking(system, *ballots))

    assert of((7, 1), (8, 2)) == of((20, 1), (21, 2))
    assert of((7, 1), (9, 2)) == of((7, 1), (90, 2))
    assert of((7, 1), (8, 2)) != of((7, 1), (9, 2))
    assert of((7, 1), (8, 2)) != of((8, 1), (7, 2))
    assert of((1, 1)) != of((2, 1)), "who never tried would begin in round 1"


def test_a_configuration_comes_again_and_every_turn_ended_bivalent(walked: Walk) -> None:
    assert walked.repeats_from is not None
    assert not walked.decided
    assert all(stage.bivalent for stage in walked.stages)
    before, after = walked.before(walked.repeats_from), walked.stages[-1].after
    assert before != after
    assert shape(walked.system, before) == shape(walked.system, after)


def test_every_turn_ends_with_the_oldest_message_of_its_process(walked: Walk) -> None:
    for number, stage in enumerate(walked.stages):
        waiting = [x for x in walked.before(number).letters if walked.system.letter(x).to == stage.process]
        assert stage.event == (waiting[0] if waiting else None)
        assert not waiting or stage.schedule[-1] == stage.event


def test_the_cycle_alone_goes_on_undecided_and_starves_nobody(walked: Walk) -> None:
    again = replay(walked, 500)
    assert (again.same, again.undecided) == (500, 500)
    assert all(again.steps_of.values())
    assert again.oldest <= 2
    assert again.highest > 500, "it does not stand still: ballots grow"


@pytest.mark.parametrize("longest", [0, 1])
def test_an_adversary_that_may_delay_too_little_loses(longest: int) -> None:
    lost = walk(System(INPUTS), longest=longest)
    assert lost.repeats_from is None
    assert lost.lost_at is not None
    assert len(lost.decided) == 1


def test_equal_inputs_leave_nothing_to_keep_open() -> None:
    same = walk(System(("a", "a", None)))
    assert same.lost_at == 0
    assert same.decided == {"a"}


def test_three_proposers_are_kept_undecided_too() -> None:
    assert walk(System(("a", "b", "b"))).repeats_from is not None


def test_the_schedule_is_told_line_by_line_and_says_where_it_repeats(walked: Walk) -> None:
    listed = steps(walked)
    text = schedule_text(walked, listed)
    assert [step.number for step in listed] == list(range(1, walked.events(len(walked.stages)) + 1))
    assert text.startswith("  1. n1 starts: Prepare 1.n1\n")
    assert text.count("again and again") == 1
    assert all(step.bivalent for step in listed)
    assert any(not step.owed and step.trap for step in listed)


def test_the_drawing_has_a_circle_for_each_configuration_and_a_way_out_for_each_decision_avoided(walked: Walk) -> None:
    listed = steps(walked)
    drawn = ET.fromstring(draw_walk(listed, ("a", "b"), walked.first_repeated))
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f"{space}circle")) == len(listed) + 1 + 1  # And one in the legend.
    assert len(drawn.findall(f"{space}g")) == sum(len(step.instead) for step in listed)
