"""Laws of snapshots and compaction, in any order of events: machines that have applied as much are equal, and
once everything works again, all of them catch up."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.datadriven.conversation import Conversation

MEMBERS = 3
JOINING = 4
SEATS = st.integers(1, JOINING)


class Cluster(RuleBasedStateMachine):
    """Three voters and a learner that joins with an empty log: messages are lost, doubled and reordered, disks are
    late, processes crash, snapshots are taken, lost and spoilt."""

    protocol = ""

    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation(self.protocol)
        self.proposed = 0
        self.truth: dict[int, bytes] = {}

    @initialize(keep=st.integers(0, 2), chunk=st.integers(1, 6), log_bytes=st.sampled_from([1, 1 << 20]))
    def begin(self, keep: int, chunk: int, log_bytes: int) -> None:
        self.run(
            f"cluster {JOINING} leader=n1 learners=n4 joining=n4 keep={keep} chunk={chunk} chunks=2 append=4 "
            f"log-bytes={log_bytes}"
        )

    def run(self, command: str) -> None:
        for line in self.conversation.run(command):
            assert "ALARM" not in line, line

    def up(self, member: int) -> bool:
        return self.conversation.seats[member].replica is not None

    @rule(member=SEATS)
    def propose(self, member: int) -> None:
        if self.up(member):
            self.proposed += 1
            self.run(f"propose n{member} {self.proposed}")

    @rule(member=SEATS)
    def snapshot(self, member: int) -> None:
        if self.up(member) and self.conversation.seats[member].machine:
            self.run(f"snapshot n{member}")

    @rule(member=SEATS)
    def lose_old_snapshots(self, member: int) -> None:
        newest = self.conversation.seats[member].disk.newest()
        if newest is not None:
            self.run(f"lose-snapshots n{member} but={newest[0].index}")

    @rule(member=SEATS)
    def spoil(self, member: int) -> None:
        if self.up(member) and self.conversation.seats[member].disk.whole:
            self.run(f"spoil n{member}")

    @rule(member=SEATS, batches=st.integers(0, 2))
    def sync(self, member: int, batches: int) -> None:
        if self.up(member):
            self.run(f"sync n{member} batches={batches}")

    @rule(member=SEATS)
    def crash(self, member: int) -> None:
        if self.up(member):
            self.run(f"crash n{member}")

    @rule(member=SEATS)
    def restart(self, member: int) -> None:
        if not self.up(member):
            self.run(f"restart n{member}")

    @rule(member=SEATS, others=st.booleans())
    def fall_behind(self, member: int, others: bool) -> None:
        """It is away while the others write and compact, and comes back: a transfer begins."""
        seats = self.conversation.seats
        self.crash(member)
        self.let_it_work(1500)
        for other, seat in seats.items():
            if seat.replica is not None and seat.replica.role.name == "LEADER":
                self.propose(other)
                self.propose(other)
        self.let_it_work(1500)
        for other, seat in seats.items():
            if seat.replica is not None and (others or seat.replica.role.name == "LEADER"):
                self.snapshot(other)
        self.restart(member)
        self.run("stabilize")
        self.run("wait 100ms")
        for _ in range(3):
            self.run("deliver")

    @rule(member=st.integers(1, MEMBERS))
    def campaign(self, member: int) -> None:
        if self.up(member) and self.conversation.seats[member].running.role.name != "LEADER":
            self.run(f"campaign n{member}")

    @rule(member=SEATS, peer=SEATS)
    def close(self, member: int, peer: int) -> None:
        if self.up(member) and member != peer:
            self.run(f"close n{member} n{peer}")

    @rule(place=st.integers(0, 30), twice=st.booleans())
    def deliver_one(self, place: int, twice: bool) -> None:
        """Out of order, and perhaps once more later."""
        messages = self.conversation.messages
        if messages:
            message = messages[place % len(messages)]
            if not twice:
                messages.remove(message)
            self.conversation.lines = []
            self.conversation.deliver(*message)
            assert not any("ALARM" in line for line in self.conversation.lines)

    @rule(place=st.integers(0, 30))
    def lose_one(self, place: int) -> None:
        messages = self.conversation.messages
        if messages:
            messages.pop(place % len(messages))

    @rule(rounds=st.integers(1, 3))
    def deliver(self, rounds: int) -> None:
        for _ in range(rounds):
            self.run("deliver")

    @rule(milliseconds=st.sampled_from([10, 100, 700, 1500]))
    def wait(self, milliseconds: int) -> None:
        self.run(f"wait {milliseconds}ms")

    @rule(milliseconds=st.sampled_from([100, 1500]))
    def let_it_work(self, milliseconds: int) -> None:
        self.run(f"run {milliseconds}ms")

    @invariant()
    def machines_that_have_applied_as_much_are_equal(self) -> None:
        for seat in self.conversation.seats.values():
            assert self.truth.setdefault(seat.applied.index, seat.machine) == seat.machine

    @invariant()
    def nothing_is_lost_behind_the_base(self) -> None:
        """A process that starts now finds a snapshot that its log follows from."""
        for seat in self.conversation.seats.values():
            base = seat.disk.base
            newest = seat.disk.newest()
            assert base.index == 0 or (newest is not None and newest[0].index >= base.index)

    def teardown(self) -> None:
        if not self.conversation.seats:
            return
        for member, seat in self.conversation.seats.items():
            seat.disk.hangs = False
            if seat.replica is None:
                self.run(f"restart n{member}")
        for _ in range(40):
            self.run("run 1000ms")
            for member, seat in self.conversation.seats.items():
                if seat.running.role.name == "LEADER" and seat.machine:
                    # As a driver does that is asked for one.
                    self.run(f"snapshot n{member}")
            self.machines_that_have_applied_as_much_are_equal()
            if self.settled():
                return
        raise AssertionError(f"the members do not catch up: {self.conversation.run('status')}")

    def settled(self) -> bool:
        replicas = [seat.running for seat in self.conversation.seats.values()]
        applied = {seat.applied.index for seat in self.conversation.seats.values()}
        return len(applied) == 1 and any(r.role.name == "LEADER" and r.last_index in applied for r in replicas)


class RaftCluster(Cluster):
    protocol = "raft"


class MultiPaxosCluster(Cluster):
    protocol = "multipaxos"


TestRaftSnapshots = RaftCluster.TestCase
TestMultiPaxosSnapshots = MultiPaxosCluster.TestCase
TestRaftSnapshots.settings = TestMultiPaxosSnapshots.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None
)
