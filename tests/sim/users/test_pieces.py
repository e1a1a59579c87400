"""The parts of `simulate` by themselves: the fewest commands, the drawing, the judge's laws, other processes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sim.users import tally
from tests.sim.users.tally import Tally

from coterie.check import FOREVER
from coterie.machine.interface import Batch, Rejected
from coterie.sim.users import bench, judge
from coterie.sim.users.bench import Bench, Given
from coterie.sim.users.diagnosis import fewest
from coterie.sim.users.drawing import draw
from coterie.sim.users.elsewhere import Elsewhere, apply_elsewhere
from coterie.sim.users.judge import UserJudge
from coterie.sim.users.operations import Operation, label
from coterie.sim.verdict import Figures, Violation


def log(*commands: bytes) -> list[Given]:
    return [Given(index, 0, index, command) for index, command in enumerate(commands, 1)]


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=30), st.integers(1, 3), st.integers(0, 2))
def test_the_fewest_commands_fail_and_without_any_one_of_them_nothing_does(
    commands: list[bytes], many: int, few: int
) -> None:
    def fails(part: Sequence[Given]) -> str:
        found = [given.command for given in part]
        return "so" if found.count(b"a") >= many and found.count(b"b") >= few else ""

    whole = log(*commands)
    kept = fewest(whole, fails)
    assert bool(kept) == bool(fails(whole))
    assert kept == [given for given in whole if given in kept]
    if kept:
        assert fails(kept)
        assert sorted(given.command for given in kept) == [b"a"] * many + [b"b"] * few


def test_operations_are_drawn_in_the_order_of_the_log() -> None:
    second = 10**9
    operations = [
        Operation(0, True, b"x", 0, second, "ok", b"1", 4, 0),
        Operation(1, True, b"y", second // 2, FOREVER, "unknown"),
        Operation(2, True, b"z", second // 2, 2 * second, "rejected", Rejected("no z"), 3, 1),
        Operation(0, False, b"q", second, 2 * second, "ok", b"2", 4),
    ]
    assert draw(operations, 2 * second, repr) == (
        "operations, from 0 ms to 2000 ms of simulated time (| begun and answered, > never answered; #entry.ordinal):\n"
        "  client 2    #3.1         |--------------------------|  b'z' -> rejected: no z\n"
        "  client 0    #4.0 |----------------|                    b'x' -> b'1'\n"
        "  client 0    read                  |-----------------|  b'q' -> b'2'\n"
        "  client 1       -         |-------------------------->  b'y' -> outcome unknown; not in the log"
    )


# -- clients, and replicas, that tell what is not so -------------------------------------------


class Court:
    """A judge, two clients' commands that are in the log, and what a test does next."""

    def __init__(self) -> None:
        self.judge = UserJudge(Tally, Figures())
        self.first, _ = self.judge.begin(0, True, b"a", 0)
        self.second, _ = self.judge.begin(1, True, b"b", 0)
        self.replica = Tally()
        self.apply(5, self.first)
        self.apply(6, self.second)

    def apply(self, index: int, number: int) -> None:
        body = self.judge.operations[number].body
        replies = self.replica.apply(Batch(index, 0, (0,), (body,)))
        self.judge.applied(self.replica, Batch(index, 0, (0,), (label(number, body),)), replies)


def wrong_reply(court: Court) -> None:
    court.judge.answered(court.first, b"2", 9)


def reply_of_nothing(court: Court) -> None:
    number, _ = court.judge.begin(0, True, b"a", 7)
    court.judge.answered(number, b"2", 9)


def acknowledged_too_late(court: Court) -> None:
    court.judge.answered(court.second, b"1", 7)
    number, _ = court.judge.begin(0, True, b"c", 8)
    court.judge.operations[number].index, court.judge.operations[number].reply = 4, b"1"
    court.judge.answered(number, b"1", 9)


def denied(court: Court) -> None:
    court.judge.failed(court.first, "no", 9)


def denied_before(court: Court) -> None:
    number, _ = court.judge.begin(0, True, b"c", 8)
    court.judge.failed(number, "no", 9)
    court.apply(7, number)


def asserted(court: Court) -> None:
    number, _ = court.judge.begin(0, True, b"c", 8)
    court.judge.failed(number, "yes", 9)


def stale_read(court: Court) -> None:
    number, _ = court.judge.begin(0, False, b"b", 8)
    court.judge.queried(5, label(number, b"b"), b"0")


def false_read(court: Court) -> None:
    number, _ = court.judge.begin(0, False, b"b", 8)
    court.judge.queried(6, label(number, b"b"), b"0")


def another_answer(court: Court) -> None:
    number, _ = court.judge.begin(0, False, b"b", 8)
    court.judge.queried(6, label(number, b"b"), b"1")
    court.judge.answered(number, b"0", 9)


@pytest.mark.parametrize(
    ("crime", "law"),
    [
        (wrong_reply, "reply-true"),
        (reply_of_nothing, "reply-true"),
        (acknowledged_too_late, "reply-order"),
        (denied, "said-no"),
        (denied_before, "said-no"),
        (asserted, "said-yes"),
        (stale_read, "read-fresh"),
        (false_read, "read-true"),
        (another_answer, "reply-true"),
    ],
)
def test_each_law_of_what_clients_see_speaks_up(crime: Callable[[Court], None], law: str) -> None:
    with pytest.raises(Violation) as caught:
        crime(Court())
    assert caught.value.check == law


def test_honest_answers_break_no_law() -> None:
    court = Court()
    court.judge.answered(court.first, b"1", 7)
    number, operation = court.judge.begin(0, False, b"c", 8)
    other, _ = court.judge.begin(1, True, b"c", 8)
    court.judge.queried(6, label(number, b"c"), b"0")
    court.apply(7, other)
    court.judge.queried(7, label(number, b"c"), b"1")
    court.judge.answered(number, b"1", 9)
    court.judge.failed(other, "yes", 9)
    court.judge.failed(court.second, "unknown", 9)
    court.judge.check()
    assert (operation.outcome, operation.index) == ("ok", 7)


# -- other processes ---------------------------------------------------------------------------


def test_a_machine_that_cannot_be_imported_elsewhere_is_told_of() -> None:
    alone = Bench(Tally)
    alone.run(log(b"a"))

    def make() -> Tally:
        return Tally()

    make.__module__, make.__qualname__ = "tests.sim.users.nowhere", "Tally"
    found = apply_elsewhere(make, [alone.steps])
    assert isinstance(found, str)
    assert found.startswith("not checked: ModuleNotFoundError")


def test_the_order_of_a_set_is_found_in_another_process_at_the_first_command_that_shows_it() -> None:
    alone = Bench(tally.SetOrder)
    alone.run(log(b"a", b"zz", b"b", b"c", b"d"))
    found = apply_elsewhere(tally.SetOrder, [[], alone.steps])
    assert isinstance(found, Elsewhere)
    assert found.log == 1
    assert found.number in (2, 3, 4)
    assert "its reply" in found.what


def test_the_documents_name_every_law() -> None:
    page = (Path(__file__).parents[3] / "docs" / "your-machine.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z-]+)`", page[page.index("## The laws") :]))
    assert {*bench.LAWS, *judge.LAWS} <= named
