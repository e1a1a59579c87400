"""Load and capacity of a leader (Paxi, SIGMOD 2019), by formula and in a run in which every message costs time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.messages import Message
from coterie.core.protocols import PROTOCOLS
from coterie.core.quorum import majority
from coterie.core.types import Entry, EntryKind, MemberId, Nanos
from coterie.lab.claims.ensemble import SECOND, Ensemble, Timing
from coterie.lab.claims.rows import Found, Row, Task
from coterie.lab.claims.seat import shipped
from coterie.lab.errors import LabError
from coterie.lab.experiment import Claim, Conditions, Table

SERVICE: Final = MILLISECOND // 10
"""What one message costs whoever sends it, and again whoever takes it."""
CLIENTS: Final = 32
"""Commands under way: enough that the leader is never idle."""
CONFIG: Final = ReplicaConfig(commit_notice_delay=100 * MILLISECOND)
"""The next command carries what is committed, as in the formula; no message goes out for that alone."""
CLOSE: Final = 0.05
"""By how much a run may differ from the formula."""


def load(quorum: int, leaders: int = 1, conflicts: float = 0.0) -> float:
    """Round trips a command at the busiest member: (1 + c)(Q + L - 2) / L (Paxi, section 6)."""
    return (1 + conflicts) * (quorum + leaders - 2) / leaders


def capacity(round_trips: float) -> float:
    """Commands a second: a round trip is a message out and one in, and so is a client's request and its answer."""
    return SECOND / (SERVICE * (2 * round_trips + 2))


class Served(Ensemble):
    """An ensemble in which each member does one thing at a time, and each message takes `SERVICE` of it, out and in."""

    working = False
    """Set once the load begins."""

    def __init__(self, protocol: str, size: int, seed: int, phase_1: int, phase_2: int) -> None:
        timing = Timing(one_way=MILLISECOND // 20, sync=1000)
        self._free: dict[MemberId, Nanos] = {}
        self.leader: MemberId = 0
        self.done = 0
        """Commands whose answer has left."""
        self.peer_messages = 0
        """Messages between the leader and other members."""
        make = shipped(protocol)
        super().__init__(make, size, seed=seed, timing=timing, config=CONFIG, phase_1=phase_1, phase_2=phase_2)

    def _serve(self, member: MemberId, act: Callable[[], None]) -> None:
        if not self.working:
            act()
            return
        free = self._free[member] = max(self.now, self._free.get(member, 0)) + SERVICE
        self.later(free - self.now, act)

    def post(self, source: MemberId, to: MemberId, message: Message) -> None:
        """See `Around`."""
        self.peer_messages += source == self.leader
        leave = super().post
        self._serve(source, lambda: leave(source, to, message))

    def arrive(self, source: MemberId, to: MemberId, message: Message) -> None:
        """See `Ensemble.arrive`."""
        if not self.seats[to].alive:
            return
        self.peer_messages += to == self.leader
        arrive = super().arrive
        self._serve(to, lambda: arrive(source, to, message))

    def submit(self) -> None:
        """A client's command reaches the leader."""
        self._serve(self.leader, lambda: self.propose(self.leader, b"x" * 16))

    def committed(self, member: MemberId, entry: Entry) -> None:
        """See `Around`. The leader answers, and the client sends its next command."""
        super().committed(member, entry)
        if self.working and member == self.leader and entry.kind is EntryKind.COMMANDS:
            self._serve(member, self._answered)

    def _answered(self) -> None:
        self.done += 1
        self.submit()


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What is loaded."""

    protocol: str
    size: int
    phase_2: int = 0
    """Members that must hold a command; 0: a majority."""
    thrifty: bool = True
    """Only a quorum is up: the leader speaks to no more."""

    @property
    def quorum(self) -> int:
        """How many must hold a command."""
        return self.phase_2 or majority(self.size)


class Measured(msgspec.Struct, frozen=True):
    """At the leader, once the load is steady."""

    per_second: float
    round_trips: float
    """With other members, a command."""


def saturate(case: Case, seed: int) -> Measured:
    """Load a leader with as much as it takes."""
    phase_1 = case.size - case.phase_2 + 1 if case.phase_2 else 0
    group = Served(case.protocol, case.size, seed, phase_1, case.phase_2)
    if not group.lead(1):
        raise LabError("1 was not elected though its timer ran out first")
    if case.thrifty:
        group.crash(*group.ids[case.quorum :])
    group.run(2 * group.config.election_timeout)
    group.leader, group.working = 1, True
    for _ in range(CLIENTS):
        group.submit()
    group.run(SECOND // 2)  # Those that are gone are sent a window of messages first.
    group.done = group.peer_messages = 0
    group.run(SECOND)
    if group.leaders() != [1]:
        raise LabError("the leader was lost under the load")
    return Measured(float(group.done), group.peer_messages / 2 / group.done)


def _cases(conditions: Conditions) -> list[Case]:
    sizes = (3, 5) if conditions.quick else (3, 5, 7, 9)
    cases = [Case(protocol=p, size=n, thrifty=thrifty) for p in PROTOCOLS for n in sizes for thrifty in (True, False)]
    return [*cases, Case(protocol="multipaxos", size=5, phase_2=2)]


def tasks(conditions: Conditions) -> list[Task]:
    """See `Row`."""
    return [Task(saturate, (case, conditions.seed)) for case in _cases(conditions)]


def judge(conditions: Conditions, results: list[Any]) -> Found:
    """See `Row`."""
    found = list(zip(_cases(conditions), results, strict=True))
    thrifty = [(case, m) for case, m in found if case.thrifty]
    whole = [(case, m) for case, m in found if not case.thrifty]
    loads = max(_off(m.round_trips, load(case.quorum)) for case, m in thrifty)
    rates = max(_off(m.per_second, capacity(load(case.quorum))) for case, m in thrifty)
    to_all = max(_off(m.round_trips, case.size - 1) for case, m in whole)
    too_much = max(m.round_trips / load(case.quorum) for case, m in whole)
    why = f"{len(thrifty)} groups of 3 to {max(c.size for c, _ in thrifty)} members of which just a quorum is up"
    claims = [
        Claim(
            id="load-of-a-leader",
            expected="load = (1 + c)(Q + L - 2)/L, so Q - 1 round trips a command with one leader",
            measured=f"within {100 * loads:.1f} %",
            agrees=loads <= CLOSE,
            why=f"{why}; counted at the leader under a load that leaves it no rest",
        ),
        Claim(
            id="capacity-of-a-leader",
            expected="capacity = 1/load: with a service time s a message 1/(2s(Q - 1) + 2s)",
            measured=f"within {100 * rates:.1f} %",
            agrees=rates <= CLOSE,
            why=f"{why}; 2s of it is the client's request and its answer; s = {SERVICE / 1000:.0f} µs",
        ),
        Claim(
            id="load-when-all-are-up",
            expected="load Q - 1 when all members are up, too",
            measured=f"up to {too_much:.2f} times that",
            agrees=too_much <= 1 + CLOSE,
            why=f"Coterie's leader sends to all members, not to a quorum of them, so that any may fail without "
            "delay: N - 1 "
            f"round trips, within {100 * to_all:.1f} %",
            explained=to_all <= CLOSE,
        ),
    ]
    rows = tuple(
        (
            case.protocol,
            case.size,
            case.quorum,
            case.quorum if case.thrifty else case.size,
            load(case.quorum) if case.thrifty else case.size - 1.0,
            m.round_trips,
            capacity(load(case.quorum) if case.thrifty else case.size - 1),
            m.per_second,
        )
        for case, m in found
    )
    columns = ("protocol", "members", "Q", "up", "round trips, formula", "run", "commands/s, formula", "run")
    table = Table(title="Load and capacity of a leader: formula and run", columns=columns, rows=rows)
    keys = ("protocol", "members", "quorum", "up", "load_formula", "load_run", "capacity_formula", "capacity_run")
    return Found(claims=claims, parts=[table], data={"paxi": [dict(zip(keys, row, strict=True)) for row in rows]})


def _off(measured: float, formula: float) -> float:
    return abs(measured - formula) / formula


ROW: Final = Row(
    "paxi",
    "Ailijiang, Charapko, Demirbas, Dissecting the Performance of Strongly-Consistent Replication Protocols, "
    "SIGMOD 2019",
    tasks,
    judge,
)
