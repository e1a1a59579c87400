"""A few members in memory, with everything that they say and do written down.

Here a message takes the time of its link and a write the time of a disk; a decision takes none. So what a drawing shows
is what waits for what: who answers only when its disk is done, which message crosses which, where a quorum is complete.
Links, timers and dice come from one seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.messages import Message
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Member, MemberId, Membership, MembershipChange, Nanos, Role
from coterie.lab.clockwork import Clockwork
from coterie.lab.desk import Desk
from coterie.lab.disk import Disk
from coterie.lab.errors import LabError
from coterie.lab.links import Links
from coterie.lab.recording import CLIENT, Event, Kind
from coterie.lab.wording import held_words, name

MAX_STEPS = 20_000
PATIENCE_MS = 10_000
"""How long a scenario waits for what it leads to."""


def described(member: MemberId) -> Member:
    """A member as memberships know it."""
    return Member(member, name(member), f"{name(member)}:2380", f"{name(member)}:2379")


class Sequence:
    """The lab's world. Scenarios act through its methods; time passes only in `until`, `during` and `quiesce`."""

    def __init__(self, protocol: str, seed: int, voters: int, spare: int = 0) -> None:
        """Voters n1, n2, ...; and `spare` further processes, with empty disks, whom nobody has added yet."""
        self._dice = random.Random(seed)
        self._clockwork = Clockwork()
        ids = range(1, voters + spare + 1)
        self._links = Links(self._clockwork, [name(i) for i in ids], self._dice)
        members = tuple(described(i) for i in ids[:voters])
        membership = Membership(members, tuple(member.id for member in members))
        first = Entry(1, NO_EPOCH, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(membership))
        self.desks: dict[str, Desk] = {}
        for i in ids:
            disk = Disk(self._clockwork, name(i), (first,) if i <= voters else ())
            self.desks[name(i)] = Desk(protocol, i, disk, self._clockwork, self._links, self._deliver)
        for desk in self.desks.values():
            desk.start(random.Random(self._dice.randrange(1 << 32)))

    @property
    def events(self) -> list[Event]:
        """What was written down."""
        return self._clockwork.events

    # -- what scenarios do -------------------------------------------------------------------

    def record(self) -> None:
        """What happens from now on is written down; the present is time 0."""
        self._clockwork.record()

    def elect(self, who: str) -> None:
        """Let the member's timer run out first, and the election take its course; all learn of it."""
        self.desks[who].hasten()
        self.until(f"{who} leads", lambda: self.leader == who and self.agreed())
        self.quiesce()

    def put(self, who: str, command: str) -> None:
        """The client sends a write, such as `x=1`, to a member."""
        self._ask(who, f"put {command}", lambda: self.desks[who].put(command))

    def get(self, who: str, key: str) -> None:
        """The client sends a linearizable read to a member."""
        self._ask(who, f"get {key}", lambda: self.desks[who].get(key))

    def change(self, who: str, what: str, change: MembershipChange) -> None:
        """An operator's client asks a member for another membership: `what`, in words."""
        self._ask(who, what, lambda: self.desks[who].change(what, change))

    def crash(self, who: str) -> None:
        """The process dies, and its connections close: the others see it as soon as they can hear of it."""
        self._clockwork.note(Kind.CRASH, who, "crashes")
        self.desks[who].crash()
        for other in self.living:
            if self._links.passes(who, other):
                self._clockwork.later(self._links.delay(who, other), self._closing(other, who))

    def lose_machine(self, who: str) -> None:
        """The whole machine is gone. It closes no connection: the others only notice that it is silent."""
        self._clockwork.note(Kind.CRASH, who, "its machine is lost")
        self.desks[who].crash()

    def restart(self, who: str) -> None:
        """The process starts again from what its disk holds."""
        self._clockwork.note(Kind.RESTART, who, "starts again")
        self.desks[who].start(random.Random(self._dice.randrange(1 << 32)))

    def cut(self, one: str, *others: str) -> None:
        """Nothing passes between the first and the others."""
        for other in others:
            self._links.cut(one, other)

    def lose_next(self, source: str, to: str) -> None:
        """The next message from one member to the other is lost."""
        self._links.lose_next(source, to)

    def heal(self, one: str, *others: str) -> None:
        """Everything passes again between the first and the others."""
        for other in others:
            self._links.heal(one, other)

    def show_logs(self) -> None:
        """Note what each member's disk holds after the first entry, which is the same for all."""
        for who, desk in self.desks.items():
            self._clockwork.note(Kind.NOTE, who, f"log: {held_words(desk.disk.log[1:]) or 'empty'}")

    # -- what scenarios look at --------------------------------------------------------------

    @property
    def living(self) -> list[str]:
        """Members whose process runs."""
        return [who for who, desk in self.desks.items() if desk.alive]

    @property
    def leader(self) -> str:
        """Of the living members that lead, the one with the highest epoch; empty if none does."""
        leading = [who for who in self.living if self.desks[who].running.role is Role.LEADER]
        return max(leading, key=lambda who: self.desks[who].running.epoch, default="")

    def agreed(self, *among: str) -> bool:
        """Whether somebody leads, and these members (those that live, if none is named) have applied all of its log."""
        if not self.leader:
            return False
        last = self.desks[self.leader].running.last_index
        return all(self.desks[who].applied == last for who in among or self._members())

    def _members(self) -> list[str]:
        membership = self.desks[self.leader].running.membership
        return [member.name for member in membership.members if self.desks[member.name].alive]

    def holds(self, who: str, key: str, value: str) -> bool:
        """Whether the member's machine has this value."""
        return self.desks[who].values.get(key) == value

    # -- time --------------------------------------------------------------------------------

    def until(self, what: str, reached: Callable[[], bool]) -> None:
        """Let time pass until something is so. Raises `LabError` if it never is."""
        if not self.during(PATIENCE_MS, reached):
            raise LabError(f"in {PATIENCE_MS} ms it did not come about that {what}", advice="try another seed")

    def during(self, milliseconds: int, reached: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass, until something is so or for this long. Returns whether it came to be so."""
        end = self._clockwork.now + milliseconds * MILLISECOND
        for _ in range(MAX_STEPS):
            if reached():
                return True
            if not self._step(end):
                self._clockwork.now = end
                return reached()
        raise LabError(f"still busy after {MAX_STEPS} steps")

    def quiesce(self) -> None:
        """Let what is under way come to rest: messages arrive, disks finish. The next heartbeat is not awaited."""
        self.until(
            "nothing is under way",
            lambda: self._links.flying == 0 and not any(desk.disk.busy for desk in self.desks.values()),
        )

    def _step(self, end: Nanos) -> bool:
        """Go to the next thing that happens, and do it. False: nothing does until `end`."""
        clockwork = self._clockwork
        due = clockwork.next_due
        timers = [(desk.deadline - desk.ahead, who) for who, desk in self.desks.items() if desk.alive]
        timer, who = min(timers, default=(end + 1, ""))
        if due is not None and due <= max(timer, clockwork.now):
            if due > end:
                return False
            clockwork.do_next()
            return True
        if timer > end:
            return False
        clockwork.now = max(clockwork.now, timer)
        self.desks[who].wake()
        return True

    # -- messages ----------------------------------------------------------------------------

    def _deliver(self, to: str, sender: MemberId, message: Message) -> bool:
        if not self.desks[to].alive:
            return False
        self.desks[to].receive(sender, message)
        return True

    def _ask(self, who: str, words: str, take: Callable[[], None]) -> None:
        def arrive() -> bool:
            if not self.desks[who].alive:
                return False
            take()
            return True

        self._links.send(Event(at_ms=0, kind=Kind.SENT, source=CLIENT, to=who, text=words), arrive)

    def _closing(self, who: str, peer: str) -> Callable[[], None]:
        def close() -> None:
            if self.desks[who].alive and not self.desks[peer].alive:
                self._clockwork.note(Kind.CLOSED, who, f"its connection to {peer} closes", peer)
                self.desks[who].connection_closed(int(peer.removeprefix("n")))

        return close
