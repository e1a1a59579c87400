"""What the simulated network does to messages."""

from __future__ import annotations

from functools import partial

import msgspec

from coterie.core.messages import Message, VoteReply
from coterie.core.types import Epoch
from coterie.runtime.handshake import PeerIdentity
from coterie.sim.network import Network, Sender
from coterie.sim.options import Options, choose
from coterie.sim.schedule import Schedule


def sender(member: int) -> Sender:
    return Sender(
        PeerIdentity(cluster=1, member=member, name=f"n{member}", boot=1, process=member, protocol="raft"), life=1
    )


def message(number: int) -> VoteReply:
    return VoteReply(Epoch(number, 0), True)


def quiet(**changes: object) -> Options:
    return msgspec.structs.replace(choose(10), **changes)


class Wire:
    def __init__(self, options: Options) -> None:
        self.schedule = Schedule()
        self.arrived: list[tuple[int, int, int]] = []
        self.network = Network(options, self.schedule, self._arrive)

    def _arrive(self, source: Sender, target: int, message: Message) -> None:
        assert isinstance(message, VoteReply)
        self.arrived.append((source.member, target, message.epoch.round))

    def run(self) -> list[int]:
        while self.schedule.step():
            pass
        return [number for _, _, number in self.arrived]


def test_without_faults_messages_arrive_once_and_in_order() -> None:
    wire = Wire(quiet())
    for number in range(200):
        wire.network.send(sender(1), 2, message(number))
    assert wire.run() == list(range(200))


def test_loss_loses_some_and_duplication_doubles_some() -> None:
    lossy = Wire(quiet(loss_permille=200))
    doubling = Wire(quiet(duplicate_permille=200))
    for number in range(500):
        lossy.network.send(sender(1), 2, message(number))
        doubling.network.send(sender(1), 2, message(number))
    assert 350 < len(lossy.run()) < 450
    doubled = doubling.run()
    assert 550 < len(doubled) < 650
    assert set(doubled) == set(range(500))


def test_reordering_lets_messages_overtake() -> None:
    wire = Wire(quiet(reorder_permille=300))
    for number in range(200):
        wire.network.send(sender(1), 2, message(number))
    arrived = wire.run()
    assert arrived != sorted(arrived)
    assert sorted(arrived) == list(range(200))


def test_a_cut_is_one_way_and_counts() -> None:
    wire = Wire(quiet())
    wire.network.cut([(1, 2)])
    wire.network.cut([(1, 2)])
    wire.network.send(sender(1), 2, message(1))
    wire.network.send(sender(2), 1, message(2))
    wire.network.mend([(1, 2)])
    wire.network.send(sender(1), 2, message(3))
    wire.network.mend([(1, 2)])
    wire.network.send(sender(1), 2, message(4))
    assert sorted(wire.run()) == [2, 4]


def test_what_is_under_way_when_a_link_is_cut_is_lost_or_not_and_what_comes_later_is() -> None:
    outcomes = []
    for seed in range(20):
        wire = Wire(quiet(seed=seed))
        wire.network.send(sender(1), 2, message(1))
        wire.schedule.at(1, "cut", partial(wire.network.cut, [(1, 2)]))
        wire.schedule.at(2, "send", partial(wire.network.send, sender(1), 2, message(2)))
        outcomes.append(wire.run())
    assert all(outcome in ([], [1]) for outcome in outcomes)
    assert [] in outcomes
    assert [1] in outcomes


def test_in_a_steady_network_every_message_takes_as_long() -> None:
    wire = Wire(quiet())
    wire.network.heal(steady=True)
    times = set()
    for number in range(20):
        began = wire.schedule.now
        wire.network.send(sender(1), 2 + number % 2, message(number))
        wire.run()
        times.add(wire.schedule.now - began)
    assert len(times) == 1


def test_held_messages_arrive_much_later_even_through_a_cut() -> None:
    wire = Wire(quiet(hold_permille=1000))
    for number in range(50):
        wire.network.send(sender(1), 2, message(number))
    wire.network.cut([(1, 2)])
    assert sorted(set(wire.run())) == list(range(50))
    assert wire.schedule.now > 500_000_000


def test_a_healed_network_loses_nothing() -> None:
    wire = Wire(quiet(loss_permille=1000, hold_permille=1000))
    wire.network.cut([(1, 2)])
    wire.network.heal()
    for number in range(50):
        wire.network.send(sender(1), 2, message(number))
    assert wire.run() == list(range(50))
