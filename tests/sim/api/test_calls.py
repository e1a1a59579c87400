"""How calls travel: in order, within the reader's window, and to their end, whoever ends them."""

from __future__ import annotations

import random

from coterie.core.types import MemberId
from coterie.etcd.calls import ANYBODY
from coterie.etcd.status import Code
from coterie.sim.api.host import HostStream
from coterie.sim.api.wire import UNBOUNDED, Call, Calls, TellHost
from coterie.sim.schedule import Schedule

STALL = 400


class Reader:
    """A caller, and the member's end of its call."""

    def __init__(self, window: int = UNBOUNDED, *, life: int = 1) -> None:
        self.life = life
        self.told: list[TellHost] = []
        self.got: list[bytes] = []
        self.ends: list[tuple[Code, str]] = []
        self.drained_times = 0
        self.schedule = Schedule()
        self.calls = Calls(self.schedule, self, random.Random(1))
        self.call: Call = self.calls.open(
            1, "/path", b"", self.got.append, lambda code, text: self.ends.append((code, text)), window=window
        )
        self.stream = HostStream(self.calls, self.call.number, window, STALL)
        self.stream.handler = self

    # `Members`, and `Handler`

    def life_of(self, member: MemberId) -> int:
        return self.life

    def tell_host(self, member: MemberId, life: int, tell: TellHost) -> None:
        self.told.append(tell)

    def received(self, message: bytes) -> bool:
        return True

    def ended(self) -> None: ...

    def cancelled(self) -> None: ...

    def drained(self) -> None:
        self.drained_times += 1

    def run(self) -> None:
        while self.schedule.step():
            pass


def test_messages_arrive_in_the_order_in_which_they_were_sent_and_the_end_comes_last() -> None:
    reader = Reader()
    sent = [b"%d" % number for number in range(200)]
    for message in sent:
        reader.stream.send(message)
    reader.stream.finish(Code.OK)
    reader.run()
    assert reader.got == sent
    assert reader.ends == [(Code.OK, "")]


def test_a_slow_reader_is_sent_its_window_and_the_rest_waits_where_the_services_see_it() -> None:
    reader = Reader(window=10)
    for _ in range(20):
        reader.stream.send(b"12345678")
    reader.run()
    assert len(reader.got) == 2
    assert reader.stream.unsent == 18 * 8
    assert reader.drained_times == 0
    reader.stream.credited(16 * 8)
    assert reader.drained_times == 1
    reader.run()
    assert len(reader.got) == 18


def test_a_call_that_was_finished_ends_for_a_slow_reader_when_it_has_read() -> None:
    reader = Reader(window=1)
    reader.stream.send(b"first")
    reader.stream.send(b"second")
    reader.stream.finish(Code.UNKNOWN, "why")
    reader.stream.send(b"nothing comes after the end")
    reader.run()
    assert reader.ends == []
    reader.stream.credited(100)
    reader.run()
    assert reader.got == [b"first", b"second"]
    assert reader.ends == [(Code.UNKNOWN, "why")]
    assert reader.stream.done


def test_the_end_of_a_process_closes_its_calls_once() -> None:
    reader = Reader()
    reader.stream.send(b"sent before")
    reader.calls.member_died(1)
    reader.calls.member_died(1)
    reader.run()
    assert reader.got == [b"sent before"]
    assert [code for code, _ in reader.ends] == [Code.UNAVAILABLE]


def test_a_cut_ends_the_call_at_once_for_its_caller_and_later_for_the_member() -> None:
    reader = Reader()
    reader.run()
    reader.stream.send(b"on its way")
    before = len(reader.told)
    reader.calls.cut(reader.call)
    assert [code for code, _ in reader.ends] == [Code.UNAVAILABLE]
    assert len(reader.told) == before
    reader.run()
    assert len(reader.told) == before + 1
    assert reader.got == []


def test_who_cancels_is_told_nothing_more() -> None:
    reader = Reader()
    reader.stream.send(b"on its way")
    reader.calls.cancel(reader.call)
    reader.run()
    assert (reader.got, reader.ends) == ([], [])


def test_a_call_of_a_member_that_is_down_is_refused_and_nothing_reaches_it() -> None:
    reader = Reader(life=0)
    reader.run()
    assert reader.told == []
    assert [code for code, _ in reader.ends] == [Code.UNAVAILABLE]
    assert ANYBODY.token == ""
