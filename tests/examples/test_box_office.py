"""The box office in the simulated world: what a test of your own machine would look like.

The example has a bug on purpose, so here one test expects it to be found; its mended twin passes the same.
"""

from __future__ import annotations

import pytest
from examples.box_office import (
    MAX_SEATS,
    BoxOffice,
    Cancel,
    book,
    cancel,
    evening,
    free,
    main,
    no_number_is_given_twice,
    no_seat_is_sold_twice,
    read,
)
from examples.box_office_mended import MendedBoxOffice
from hypothesis import strategies as st

from coterie.sim import Query, SimulationFailed, simulate

OPERATIONS = st.one_of(
    st.builds(book, st.sampled_from(["ann", "bob"]), st.integers(1, MAX_SEATS)),
    st.builds(cancel, st.integers(1, 10)),
    st.just(Query(free())),
)


def test_the_mended_box_office_keeps_its_laws(protocol: str) -> None:
    report = simulate(
        MendedBoxOffice,
        evening,
        seeds=range(2),
        seconds=2,
        protocol=protocol,
        invariant=no_seat_is_sold_twice,
        check=no_number_is_given_twice,
        describe=read,
    )
    assert report.commands > 20
    assert report.elsewhere == "2 other processes agree"


def test_hypothesis_finds_nothing_in_the_mended_box_office() -> None:
    report = simulate(MendedBoxOffice, OPERATIONS, seeds=range(3), invariant=no_seat_is_sold_twice)
    assert report.runs == 3


def test_the_bug_is_found_and_drawn(protocol: str) -> None:
    with pytest.raises(SimulationFailed) as caught:
        simulate(BoxOffice, evening, seeds=range(20), protocol=protocol, describe=read)
    failure, text = caught.value.failure, str(caught.value)
    assert failure.check == "machine-restore"
    assert f"seed {failure.options.seed}, {protocol}, " in text
    assert f"step {failure.step} at " in text
    assert "restored from a snapshot it replies" in text
    assert len(failure.smallest) <= 16
    assert isinstance(read(failure.smallest[-2].command), Cancel)
    drawn = [line for line in text.splitlines() if line.startswith("  client ") and "#" in line and "|" in line]
    assert len(drawn) == len(failure.smallest)


def test_hypothesis_shrinks_the_bug_to_bookings_of_which_the_newest_is_cancelled() -> None:
    with pytest.raises(SimulationFailed) as caught:
        simulate(BoxOffice, OPERATIONS, seeds=range(30), nodes=1)
    found = [read(given.command) for given in caught.value.failure.smallest]
    bookings = len(found) - 2
    assert found == [*[read(book("ann", 1))] * bookings, read(cancel(bookings)), read(book("ann", 1))]


def test_the_program_prints_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    printed = capsys.readouterr().out
    assert printed.startswith("BoxOffice [machine-restore] ")
    assert "commands are enough" in printed
    assert "replay: simulate(BoxOffice, " in printed
