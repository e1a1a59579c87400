"""What machines apply and come to: cluster time, revisions, and states that a restart must lead to again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coterie.core.types import Index, MemberId
from coterie.sim.applied import AppliedLaws, Standing
from coterie.sim.campaign import Plan, run_seed
from coterie.sim.options import SECOND
from coterie.sim.verdict import Violation


class Machines:
    """Members 1 and 2, whose machines have just begun with nothing."""

    def __init__(self) -> None:
        self.laws = AppliedLaws()
        self.digests = 0
        for member in (1, 2):
            self.laws.started(member)

    def reach(self, member: MemberId, entry: Index, state: bytes, *, time: int = 0, revision: int = 0) -> None:
        """The member applies an entry, and this is what its state is then."""

        def digest() -> bytes:
            self.digests += 1
            return state

        self.laws.reached(member, Standing(entry, time, revision), digest)

    def restart(self, member: MemberId, entry: Index, state: bytes) -> None:
        """The member's process ends with this state after this entry, and another begins with nothing."""
        self.laws.ended(member, entry, state)
        self.laws.started(member)


def test_a_state_that_comes_again_from_what_was_left_is_right_and_counted() -> None:
    machines = Machines()
    machines.reach(1, 1, b"one")
    machines.reach(1, 2, b"two")
    machines.restart(1, 2, b"two")
    machines.reach(1, 1, b"one")
    assert machines.laws.replays == 0
    machines.reach(1, 2, b"two")
    assert machines.laws.replays == 1
    machines.reach(2, 2, b"two")
    assert machines.laws.replays == 1, "that of another member is compared, and is no replay"


def test_states_are_hashed_only_where_there_is_one_to_compare_with() -> None:
    machines = Machines()
    for entry in (1, 2, 3):
        machines.reach(1, entry, b"%d" % entry)
    assert machines.digests == 0
    machines.restart(1, 2, b"2")
    for entry in (1, 2, 3):
        machines.reach(1, entry, b"%d" % entry)
    assert machines.digests == 1


def test_a_snapshot_beyond_the_state_that_ended_leaves_nothing_to_reach() -> None:
    machines = Machines()
    machines.restart(1, 2, b"two")
    machines.laws.resumed(1, Standing(3, 0, 0), b"three")
    machines.laws.started(1)
    machines.reach(1, 2, b"two")
    assert machines.laws.replays == 0


def test_what_a_lost_disk_held_need_not_come_again() -> None:
    machines = Machines()
    machines.restart(1, 2, b"two")
    machines.laws.lost(1)
    machines.reach(1, 2, b"two")
    assert machines.laws.replays == 0


def test_a_machine_that_lies_as_a_test_wants_it_is_not_judged() -> None:
    machines = Machines()
    machines.reach(2, 1, b"one", time=5)
    machines.laws.unjudged.add(1)
    machines.reach(1, 1, b"lie", time=9)
    machines.restart(1, 1, b"lie")
    machines.reach(1, 1, b"another")
    machines.laws.resumed(1, Standing(1, 7, 0), b"a third")


def a_state_that_what_was_left_does_not_lead_to(machines: Machines) -> None:
    machines.reach(1, 1, b"live")
    machines.restart(1, 1, b"live")
    machines.reach(1, 1, b"replayed")


def a_state_that_only_the_second_restart_shows_to_be_wrong(machines: Machines) -> None:
    machines.restart(1, 2, b"live")
    machines.reach(1, 1, b"one")
    machines.restart(1, 1, b"one")
    machines.reach(1, 1, b"one")
    machines.reach(1, 2, b"replayed")


def a_process_that_ends_with_another_state_than_others_had(machines: Machines) -> None:
    machines.laws.state(1, 1, b"one")
    machines.laws.ended(2, 1, b"other")


def a_state_on_the_way_in_which_another_did_not_end(machines: Machines) -> None:
    machines.laws.ended(1, 1, b"one")
    machines.reach(2, 1, b"other")


def a_clock_that_goes_back(machines: Machines) -> None:
    machines.reach(1, 1, b"", time=10)
    machines.reach(1, 2, b"", time=9)


def a_clock_that_goes_back_after_a_snapshot(machines: Machines) -> None:
    machines.laws.resumed(1, Standing(1, 10, 0), b"")
    machines.reach(1, 2, b"", time=9)


def clocks_that_differ(machines: Machines) -> None:
    machines.reach(1, 1, b"", time=10)
    machines.reach(2, 1, b"", time=11)


def a_snapshot_with_another_time(machines: Machines) -> None:
    machines.reach(1, 1, b"", time=10)
    machines.laws.resumed(2, Standing(1, 11, 0), b"")


def a_replay_with_another_time(machines: Machines) -> None:
    machines.reach(1, 1, b"", time=10)
    machines.restart(1, 1, b"")
    machines.reach(1, 1, b"", time=11)


def a_revision_that_goes_back(machines: Machines) -> None:
    machines.reach(1, 1, b"", revision=2)
    machines.reach(1, 2, b"", revision=1)


def a_snapshot_with_another_revision(machines: Machines) -> None:
    machines.reach(1, 1, b"", revision=2)
    machines.laws.resumed(2, Standing(1, 0, 1), b"")


@pytest.mark.parametrize(
    ("law", "crime"),
    [
        ("state-replayed", a_state_that_what_was_left_does_not_lead_to),
        ("state-replayed", a_state_that_only_the_second_restart_shows_to_be_wrong),
        ("same-state", a_process_that_ends_with_another_state_than_others_had),
        ("same-state", a_state_on_the_way_in_which_another_did_not_end),
        ("time-monotonic", a_clock_that_goes_back),
        ("time-monotonic", a_clock_that_goes_back_after_a_snapshot),
        ("same-time", clocks_that_differ),
        ("same-time", a_snapshot_with_another_time),
        ("same-time", a_replay_with_another_time),
        ("same-revision", a_snapshot_with_another_revision),
        ("revision-monotonic", a_revision_that_goes_back),
    ],
)
def test_each_crime_is_named(law: str, crime: Callable[[Machines], None]) -> None:
    with pytest.raises(Violation) as caught:
        crime(Machines())
    assert caught.value.check == law


@pytest.mark.parametrize("protocol", ["raft", "multipaxos"])
def test_members_that_crash_come_to_the_states_again_in_which_they_ended(protocol: str) -> None:
    plan = Plan(protocol=protocol, nodes=3, duration=5 * SECOND, faults=("crash", "snapshot"))
    results = [run_seed(seed, plan) for seed in (1, 2)]
    assert [result.check for result in results] == ["", ""]
    assert all(result.figures.replays > 0 for result in results)
