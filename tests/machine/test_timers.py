"""The machine's own timer: when the host lets it act, before what, and what becomes of a machine that errs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pytest
from tests.machine.machines import SECOND, A, Recorder, entry, noop, plain, segment

from coterie.core.messages import SessionOpen
from coterie.core.types import Entry, EntryKind, Epoch
from coterie.machine.host import Host, MachineFailed
from coterie.machine.interface import Batch, Rejected
from coterie.machine.stores.interface import StoreFailed


class Alarm(Recorder):
    """A command is a number of seconds, after which the machine notes that they are over."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[int] = []

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        self.due += [batch.time + int(command) * SECOND for command in batch.commands]
        return super().apply(batch)

    def next_timer(self) -> int | None:
        return min(self.due, default=None)

    def pass_time(self, index: int, time: int) -> None:
        self.ran += [b"over %d at %d" % (due, index) for due in sorted(self.due) if due <= time]
        self.due = [due for due in self.due if due > time]

    def snapshot(self) -> Iterator[bytes]:
        yield from (b"%d" % due for due in self.due)

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.due = [int(chunk) for chunk in chunks]


@pytest.mark.parametrize("kind", [EntryKind.NOOP, EntryKind.COMMANDS])
def test_the_machine_acts_with_the_first_entry_that_reaches_its_timer_before_its_commands(kind: EntryKind) -> None:
    machine = Alarm()
    host = Host(machine)
    host.apply(entry(1, segment(1, plain(b"10"), plain(b"12"))), A, 1)
    assert host.next_timer() == 10 * SECOND
    host.apply(noop(2, 10 * SECOND - 1), A, 1)
    assert machine.ran == [b"10", b"12"]
    if kind is EntryKind.NOOP:
        host.apply(noop(3, 1), A, 1)
    else:
        host.apply(entry(3, segment(3, plain(b"50")), elapsed=1), A, 1)
    commands = [b"50"] if kind is EntryKind.COMMANDS else []
    assert machine.ran == [b"10", b"12", b"over 10000000000 at 3", *commands]
    assert host.next_timer() == 12 * SECOND


def test_a_timer_in_the_past_is_reached_with_the_next_entry() -> None:
    machine = Alarm()
    host = Host(machine)
    host.apply(entry(1, segment(1, plain(b"0"))), A, 1)
    host.apply(noop(2), A, 1)
    assert machine.ran == [b"0", b"over 0 at 2"]


def test_the_next_timer_is_the_sooner_of_the_machines_and_a_sessions() -> None:
    host = Host(Alarm())
    assert host.next_timer() is None
    host.apply(entry(1, segment(1, SessionOpen(7 * SECOND))), A, 1)
    assert host.next_timer() == 7 * SECOND
    host.apply(entry(2, segment(2, plain(b"3"), plain(b"9"))), A, 1)
    assert host.next_timer() == 3 * SECOND
    host.apply(noop(3, 3 * SECOND), A, 1)
    assert host.next_timer() == 7 * SECOND
    host.apply(noop(4, 4 * SECOND), A, 1)
    assert host.next_timer() == 9 * SECOND


def test_a_machine_that_is_being_restored_is_not_asked_for_its_timer() -> None:
    source, host = Host(Alarm()), Host(Alarm())
    source.apply(entry(1, segment(1, plain(b"3"))), A, 1)
    restoration = host.begin_restore(list(source.snapshot()))
    restoration.perform()
    assert host.next_timer() is None
    host.finish_restore(restoration)
    assert host.next_timer() == 3 * SECOND


class Faulty(Alarm):
    """Does what it is told to do wrong."""

    error: Exception | None = None
    timer: object = None

    def next_timer(self) -> int | None:
        if self.timer is not None:
            return self.timer  # type: ignore[return-value]  # the wrong type is the point
        return super().next_timer()

    def pass_time(self, index: int, time: int) -> None:
        if self.error is not None:
            raise self.error


def test_a_machine_that_raises_when_time_passes_has_failed() -> None:
    machine = Faulty()
    machine.due, machine.error = [1], ZeroDivisionError("boom")
    with pytest.raises(MachineFailed, match=r"Faulty raised ZeroDivisionError: boom \(in pass_time, entry 1\)"):
        Host(machine).apply(Entry(1, Epoch(1, 0), EntryKind.NOOP, 1, b""), A, 1)


def test_a_disk_that_fails_while_time_passes_is_not_the_machines_fault() -> None:
    machine = Faulty()
    machine.due, machine.error = [1], StoreFailed("it is broken")
    with pytest.raises(StoreFailed):
        Host(machine).apply(noop(1, 1), A, 1)


def test_a_timer_that_is_no_number_of_nanoseconds_is_the_machines_failure() -> None:
    machine = Faulty()
    machine.timer = 1.5
    with pytest.raises(MachineFailed, match="has float as its timer: it is int"):
        Host(machine).apply(noop(1), A, 1)
    machine.timer = None
    machine.due = ["soon"]  # type: ignore[list-item]  # the wrong type is the point
    with pytest.raises(MachineFailed, match="has str as its timer"):
        Host(machine).next_timer()
