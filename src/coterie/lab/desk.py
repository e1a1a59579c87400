"""One member at work: a replica that ships, driven as the contract in `core.replica` says."""

from __future__ import annotations

import random
from collections.abc import Callable

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.errors import SafetyViolation
from coterie.core.messages import Message
from coterie.core.protocols import make_replica
from coterie.core.replica import Accepted, Effects, Lost, Outcome, Refused, Replica, RoleChange
from coterie.core.types import Entry, EntryKind, Index, Mark, MemberId, Membership, MembershipChange, Nanos, Token
from coterie.lab.clockwork import Clockwork
from coterie.lab.disk import Disk
from coterie.lab.errors import LabError
from coterie.lab.links import Links
from coterie.lab.recording import CLIENT, Event, Kind
from coterie.lab.wording import ANSWERS, membership_words, message_words, name, role_words

CONFIG = ReplicaConfig(election_timeout=300 * MILLISECOND, heartbeat_interval=150 * MILLISECOND)
"""Heartbeats so seldom that they do not hide what a drawing is about."""

Deliver = Callable[[str, MemberId, Message], bool]
"""Hands a message (to whom, from whom) over; False: nobody is there."""


class Desk:
    """A member: its disk stays; what else it holds goes with its process."""

    def __init__(
        self, protocol: str, member: MemberId, disk: Disk, clockwork: Clockwork, links: Links, deliver: Deliver
    ) -> None:
        self.name = name(member)
        self.disk = disk
        self.ahead: Nanos = 0
        """How much its clock is ahead of the lab's."""
        self._protocol = protocol
        self._member = member
        self._clockwork = clockwork
        self._links = links
        self._deliver = deliver
        self._forget()

    def _forget(self) -> None:
        self.replica: Replica | None = None
        self.deadline: Nanos = 0
        self.applied: Index = 0
        self.values: dict[str, str] = {}
        self._held: list[tuple[Mark, MemberId, Message]] = []
        self._asked: dict[Token, str] = {}
        """What the client asked for, by the token that the replica knows it by."""
        self._writes: dict[Index, tuple[bytes, str]] = {}
        """The entry that the client waits for at this index, and what it asked."""
        self._reads: list[tuple[Index, str]] = []
        """Reads that may be answered once this index is applied."""
        self._tokens = 0
        self._told_role = ""
        self._told_membership: Membership | None = None

    # -- its process -------------------------------------------------------------------------

    def start(self, dice: random.Random) -> None:
        """The process starts, from what the disk holds."""
        self.disk.stored = self._stored
        self.replica = make_replica(
            self._protocol,
            own=self._member,
            config=CONFIG,
            recovered=self.disk.recovered(),
            reader=self.disk,
            applied=0,
            rng=dice,
            now=self.clock,
        )
        self.drain()

    def crash(self) -> None:
        """The process dies. What it has sent travels on."""
        self.disk.lose_power()
        self._forget()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.replica is not None

    @property
    def running(self) -> Replica:
        """The replica. Raises `LabError` if the process does not run."""
        if self.replica is None:
            raise LabError(f"{self.name} does not run")
        return self.replica

    @property
    def clock(self) -> Nanos:
        """What its own clock shows."""
        return self._clockwork.now + self.ahead

    # -- inputs ------------------------------------------------------------------------------

    def wake(self) -> None:
        """Its timer has run out."""
        self.running.wake(self.clock)
        self.drain()

    def hasten(self) -> None:
        """Its timer runs out now: its own clock jumps there."""
        self.ahead += max(0, self.deadline - self.clock)
        self.wake()

    def receive(self, sender: MemberId, message: Message) -> None:
        """A message arrives."""
        self.running.receive(self.clock, sender, message)
        self.drain()

    def connection_closed(self, peer: MemberId) -> None:
        """Its connection to a process that is gone closes."""
        self.running.connection_closed(self.clock, peer, True)
        self.drain()

    def put(self, command: str) -> None:
        """The client's write has come."""
        self.running.propose(self.clock, self._token(f"put {command}"), command.encode())
        self.drain()

    def get(self, key: str) -> None:
        """The client's linearizable read has come."""
        self.running.read(self.clock, self._token(f"get {key}"))
        self.drain()

    def change(self, asked: str, change: MembershipChange) -> None:
        """Another membership is wanted; `asked` says so in words."""
        self.running.change_membership(self.clock, self._token(asked), change)
        self.drain()

    def _token(self, asked: str) -> Token:
        self._tokens += 1
        self._asked[self._tokens] = asked
        return self._tokens

    # -- outputs -----------------------------------------------------------------------------

    def drain(self) -> None:
        """Do what the replica wants."""
        more = True
        while more:
            effects = self.running.drain(self.clock)
            if effects.alarm is not None:
                raise SafetyViolation(f"{self.name}: {effects.alarm.rule}: {effects.alarm.evidence}")
            self.deadline, more = effects.deadline, effects.more
            if effects.role is not None:
                self._tell(effects.role)
            for outcome in effects.outcomes:
                self._outcome(outcome)
            self._apply(effects)
            for to, message in effects.send:
                self._post(to, message)
            self._held.extend(effects.send_after)
            if effects.store is not None:
                self.disk.write(effects.store)

    def _stored(self, mark: Mark) -> None:
        ready = [held for held in self._held if held[0] <= mark]
        self._held = [held for held in self._held if held[0] > mark]
        self.running.stored(self.clock, mark)
        for waited_for, to, message in ready:
            self._post(to, message, waited_for)
        self.drain()

    def _post(self, to: MemberId, message: Message, mark: Mark = 0) -> None:
        event = Event(
            at_ms=0,
            kind=Kind.SENT,
            source=self.name,
            to=name(to),
            text=message_words(message),
            type=type(message).__name__,
            mark=mark,
            answer=isinstance(message, ANSWERS),
        )
        self._links.send(event, lambda: self._deliver(name(to), self._member, message))

    def _tell(self, change: RoleChange) -> None:
        role = role_words(change)
        if role != self._told_role:
            self._told_role = role
            self._clockwork.note(Kind.ROLE, self.name, role)
        if change.membership != self._told_membership:
            self._told_membership = change.membership
            self._clockwork.note(Kind.MEMBERSHIP, self.name, f"counts by {membership_words(change.membership)}")

    # -- the machine, and the client ---------------------------------------------------------

    def _outcome(self, outcome: Outcome) -> None:
        asked = self._asked.pop(outcome.token)
        if isinstance(outcome, Accepted):
            payload = outcome.payload or asked.removeprefix("put ").encode()
            self._writes[outcome.index] = (payload, asked)
        elif isinstance(outcome, Refused | Lost):
            detail = f": {outcome.detail}" if isinstance(outcome, Refused) and outcome.detail else ""
            self._answer(f"{asked}: refused{detail}")

    def _apply(self, effects: Effects) -> None:
        if effects.committed:
            self._clockwork.note(Kind.COMMIT, self.name, f"commits to {effects.committed[-1].index}")
        for entry in effects.committed:
            self._apply_entry(entry)
        for ready in effects.reads:
            self._reads.append((ready.index, self._asked.pop(ready.token)))
        for index, asked in self._reads:
            if index <= self.applied:
                key = asked.removeprefix("get ")
                self._answer(f"{key} is {self.values.get(key, 'not set')}")
        self._reads = [(index, asked) for index, asked in self._reads if index > self.applied]

    def _apply_entry(self, entry: Entry) -> None:
        self.applied = entry.index
        if entry.kind is EntryKind.COMMANDS:
            key, _, value = entry.payload.decode().partition("=")
            self.values[key] = value
        waited = self._writes.pop(entry.index, None)
        if waited is not None:
            payload, asked = waited
            # What is committed there may be another leader's.
            self._answer(f"{asked}: done" if entry.payload == payload else f"{asked}: it did not happen")

    def _answer(self, words: str) -> None:
        event = Event(at_ms=0, kind=Kind.SENT, source=self.name, to=CLIENT, text=words, answer=True)
        self._links.send(event, lambda: True)
