"""The report states what was measured, and the page shows just that."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.check import FOREVER, Operation
from coterie.cli.torture import exit_code
from coterie.torture.havoc import Band
from coterie.torture.judging import judge
from coterie.torture.page import page
from coterie.torture.report import (
    NANOS,
    EndedMember,
    FaultFigures,
    FaultWindow,
    Report,
    Window,
    figures_of,
    gaps,
    longest,
    throughput,
)

REPORT = Report(
    system="coterie",
    protocol="raft",
    seed=7,
    seconds=10.0,
    verdict="linearizable",
    reason="",
    whole=True,
    trouble="",
    operations=500,
    acknowledged_writes=300,
    unknown=3,
    refused=2,
    elections=1,
    network="relays",
    faults={"kill": FaultFigures(2, 1.25)},
    passed_over=1,
    ended_by_themselves=[],
    unfinished_changes=0,
    skipped={"disk-full": "a tmpfs cannot be mounted <here>"},
    longest_gap_s=1.25,
    unavailable=[Window(2.0, 3.25)],
    timeline=[FaultWindow("kill", "n1", 2.0, 4.0), FaultWindow("kill", "n2", 6.0, 7.0)],
    throughput=[30] * 10,
)


def test_a_gap_is_the_time_between_two_acknowledgements_or_to_the_runs_ends() -> None:
    assert gaps([3, 5, 9], 0, 10) == [(0, 3), (3, 5), (5, 9), (9, 10)]
    assert gaps([], 0, 10) == [(0, 10)]


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(0, 99), st.integers(1, 50))
def test_the_longest_gap_of_a_fault_is_one_that_touches_it(moments: list[int], start: int, length: int) -> None:
    found, end = gaps(moments, 0, 100), min(100, start + length)
    touching = [stop - begin for begin, stop in found if begin < end and stop > start]
    assert longest(found, start, end) >= max(touching, default=0)
    around = [stop - begin for begin, stop in found if begin <= end and stop >= start]
    assert longest(found, start, end) <= max(around, default=0)


def test_each_kind_of_fault_has_its_count_and_its_own_longest_gap() -> None:
    found = gaps([n * NANOS for n in (1, 2, 5, 6, 7)], 0, 8 * NANOS)
    bands = [Band("kill", "n1", 3 * NANOS, 4 * NANOS), Band("pause", "n2", 6 * NANOS + 1, 7 * NANOS - 1)]
    assert figures_of(bands, found) == {"kill": FaultFigures(1, 3.0), "pause": FaultFigures(1, 1.0)}


@given(st.lists(st.integers(0, 5 * NANOS - 1), max_size=50))
def test_throughput_counts_every_acknowledged_write_once(moments: list[int]) -> None:
    counts = throughput(moments, 0, 5 * NANOS)
    assert len(counts) == 5
    assert sum(counts) == len(moments)


def test_the_page_needs_nothing_else_and_shows_every_fault_and_every_figure() -> None:
    text = page(REPORT)
    assert not re.search(r"(src|href)=|@import|url\(", text)
    assert text.count("<title>kill n") == 2
    assert text.count("no acknowledged write for 1.250 s") == 1
    assert "<strong>linearizable</strong>" in text
    for figure in (
        "500 operations",
        "300 writes",
        "3 of unknown outcome",
        "2 refused",
        "1 changes of leader",
        "seed 7",
    ):
        assert figure in text
    assert "a tmpfs cannot be mounted &lt;here&gt;" in text


def test_the_page_tells_of_members_that_ended_by_themselves() -> None:
    ended = [EndedMember("n3", 4.5, "no space <left>")]
    assert "n3 at 4.5 s<pre>no space &lt;left&gt;</pre>" in page(
        msgspec.structs.replace(REPORT, ended_by_themselves=ended)
    )


@pytest.mark.parametrize(
    ("verdict", "whole", "code"),
    [
        ("linearizable", True, 0),
        ("linearizable", False, 1),
        ("not-linearizable", True, 1),
        ("unknown", True, 4),
        ("unknown", False, 1),
    ],
)
def test_the_exit_code_follows_the_verdict(verdict: str, whole: bool, code: int) -> None:
    assert exit_code(msgspec.structs.replace(REPORT, verdict=verdict, whole=whole)) == code


def operation(f: str, start: int, end: int, argument: object = None, result: object = None) -> Operation:
    return Operation(process=start, f=f, key="k", argument=argument, result=result, start=start, end=end)


def test_a_lost_write_a_stale_read_and_a_write_that_comes_back_are_seen() -> None:
    write, remove = operation("write", 0, 1, "v1"), operation("write", 4, 5)
    assert judge([write, operation("read", 2, 3, result="v1"), remove, operation("read", 6, 7)])[0] == "linearizable"
    assert judge([write, operation("read", 2, 3)])[0] == "not-linearizable"
    assert judge([write, remove, operation("read", 6, 7, result="v1")])[0] == "not-linearizable"
    refused = operation("cas", 2, 3, ("v1", "v2"), False)
    assert judge([write, refused])[0] == "not-linearizable"


def test_a_write_of_unknown_outcome_may_be_read_at_any_later_time_or_never() -> None:
    write, unknown = operation("write", 0, 1, "v1"), operation("write", 2, FOREVER, "v2")
    assert judge([write, unknown, operation("read", 8, 9, result="v2")])[0] == "linearizable"
    assert judge([write, unknown, operation("read", 8, 9, result="v1")])[0] == "linearizable"
    back = [operation("read", 8, 9, result="v2"), operation("read", 10, 11, result="v1")]
    assert judge([write, unknown, *back])[0] == "not-linearizable"
