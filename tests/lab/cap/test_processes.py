"""The theorem's table by real processes, with relays between them that are cut; `tests/cli/test_lab_cap.py` has
namespaces where the machine allows them."""

import pytest

from coterie.core.protocols import PROTOCOLS
from coterie.lab.cap.processes import rows
from coterie.lab.cap.seats import Seat
from coterie.lab.errors import LabError
from coterie.torture.hosts import local_hosts


@pytest.mark.thorough
def test_each_mode_of_real_members_gives_up_what_is_said_of_it() -> None:
    found, reason = rows(namespaces=False)
    assert reason == "relays were asked for"
    assert {one.protocol for one in found} == set(PROTOCOLS)
    assert {one.where for one in found} == {"processes, relays"}
    for one in found:
        assert one.as_expected, one
        assert one.gives_up == ("A" if one.mode.consistent else "C")


@pytest.mark.thorough
def test_a_question_to_nobody_is_refused_in_the_clients_words_and_one_to_an_ended_process_at_once() -> None:
    seat = Seat(local_hosts(1)[0])
    try:
        told = seat.ask("a", "read", "x", mode="stale").result(30)
        assert (told.ok, told.unknown, told.value) == (False, False, None)
        assert told.message
        waiting = seat.ask("a", "read", "x", mode="stale")
    finally:
        seat.close()
    with pytest.raises(LabError, match="ended before"):
        waiting.result(30)
