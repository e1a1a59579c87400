"""What can be looked at: the same situations for each protocol, so that what differs is the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from coterie.core.config import MILLISECOND
from coterie.core.errors import ConfigurationError
from coterie.core.protocols import PROTOCOLS
from coterie.core.types import MembershipChange
from coterie.lab.desk import CONFIG
from coterie.lab.recording import CLIENT, Recording
from coterie.lab.sequence import Sequence, described

SETTLING_MS = 1000
"""How long a new member keeps up before it is made a voter: more than the leader asks for."""
WAIT_FOR_LEADER_MS = 120
"""How long the partition stays as it is, if nobody comes to lead: each has tried by then."""

DEFAULT_SEED: Final = 20
"""One with which no scenario is disturbed by two timers that run out at nearly the same time."""


class Scenario(NamedTuple):
    """A situation."""

    line: str
    """What it shows, for people."""
    play: Callable[[Sequence], None]
    voters: int = 3
    spare: int = 0
    """Processes that nobody has added yet."""


def _election(lab: Sequence) -> None:
    lab.record()
    lab.until("somebody leads", lambda: lab.leader != "" and lab.agreed())
    lab.put(lab.leader, "x=1")
    lab.until("the write is applied everywhere", lambda: all(lab.holds(who, "x", "1") for who in lab.living))
    lab.quiesce()


def _write(lab: Sequence) -> None:
    lab.elect("n1")
    lab.record()
    lab.put("n1", "x=1")
    lab.during(3)
    lab.put("n1", "y=2")
    lab.until("both writes are applied everywhere", lambda: all(lab.holds(who, "y", "2") for who in lab.living))
    lab.quiesce()


def _read(lab: Sequence) -> None:
    lab.elect("n1")
    lab.put("n1", "x=1")
    lab.until("the write is applied everywhere", lambda: all(lab.holds(who, "x", "1") for who in lab.living))
    lab.quiesce()
    lab.record()
    lab.get("n3", "x")
    lab.during(1)
    lab.quiesce()


def _failover(lab: Sequence) -> None:
    lab.elect("n1")
    lab.record()
    lab.lose_next("n1", "n3")
    lab.put("n1", "x=1")
    # On the disks of n1 and n2: a majority. But nobody has heard of it yet.
    lab.until("n2 has stored the write", lambda: len(lab.desks["n2"].disk.log) == 3)
    lab.crash("n1")
    # n3, which lacks the entry, is the first to call an election.
    lab.until("n3 hears that n1 is gone", lambda: not lab.desks["n3"].running.leader)
    lab.desks["n3"].hasten()
    lab.until("another leads", lambda: lab.leader in ("n2", "n3") and lab.agreed())
    lab.quiesce()


def _repair(lab: Sequence) -> None:
    lab.elect("n1")
    lab.cut("n1", "n2", "n3")
    for command in ("a=1", "b=1", "c=1"):
        lab.put("n1", command)
    lab.until("n1 has stored them", lambda: len(lab.desks["n1"].disk.log) == 5)
    lab.quiesce()
    lab.crash("n1")
    lab.until("another leads", lambda: lab.leader != "" and lab.agreed())
    leader = lab.leader
    lab.put(leader, "x=2")
    lab.until("the write is applied", lambda: all(lab.holds(who, "x", "2") for who in lab.living))
    lab.quiesce()
    lab.heal("n1", "n2", "n3")
    lab.record()
    lab.show_logs()
    lab.restart("n1")
    lab.until("n1 has what was decided", lambda: lab.holds("n1", "x", "2"))
    lab.quiesce()
    lab.put(leader, "y=2")
    lab.until("the next write is applied everywhere", lambda: all(lab.holds(who, "y", "2") for who in lab.living))
    lab.quiesce()
    lab.show_logs()


def _partition(lab: Sequence) -> None:
    lab.elect("n1")
    lab.cut("n1", "n2")
    lab.put("n1", "x=1")
    lab.until("the write is applied", lambda: lab.agreed("n1", "n3", "n4") and lab.holds("n3", "x", "1"))
    lab.quiesce()
    lab.record()
    lab.show_logs()
    lab.cut("n3", "n4")
    lab.lose_machine("n1")
    # Until nobody sticks to the old leader any more. Then the only one that reaches a majority is the first to try.
    lab.during(CONFIG.election_timeout // MILLISECOND)
    lab.desks["n2"].hasten()
    if not lab.during(WAIT_FOR_LEADER_MS, lambda: lab.leader != ""):
        lab.heal("n3", "n4")
    lab.until("somebody leads, and all agree", lambda: lab.leader != "" and lab.agreed())
    lab.quiesce()


def _membership(lab: Sequence) -> None:
    lab.elect("n1")
    lab.change("n1", "add n4", MembershipChange(add=(described(4),)))
    lab.during(SETTLING_MS)
    lab.until("n4 has the log", lambda: lab.agreed("n1", "n2", "n3", "n4"))
    lab.quiesce()
    lab.record()
    lab.change("n1", "replace n3 by n4", MembershipChange(promote=(4,), remove=(3,)))
    lab.until("n3 has left", lambda: lab.agreed() and lab.desks["n3"].running.removed)
    lab.quiesce()


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "election": Scenario("a cluster starts: the first election, then a write", _election),
    "write": Scenario("two writes, one close behind the other", _write),
    "read": Scenario("a linearizable read, asked of a follower", _read),
    "failover": Scenario("the leader dies; an entry that nobody knows to be committed is carried on", _failover),
    "repair": Scenario("a deposed leader comes back with entries that were never chosen", _repair),
    "partition": Scenario(
        "the leader dies; only a member with an old log still reaches a majority (constrained election)",
        _partition,
        voters=4,
    ),
    "membership": Scenario("a voter is replaced, through a joint configuration", _membership, spare=1),
}


def play(scenario: str, protocol: str, seed: int = DEFAULT_SEED) -> Recording:
    """Run a scenario. Raises `ConfigurationError` if there is no such scenario or protocol."""
    chosen = SCENARIOS.get(scenario)
    if chosen is None:
        raise ConfigurationError(f"there is no scenario {scenario!r}: it must be one of {', '.join(SCENARIOS)}")
    if protocol not in PROTOCOLS:
        raise ConfigurationError(f"there is no protocol {protocol!r}: it must be one of {', '.join(PROTOCOLS)}")
    lab = Sequence(protocol, seed, chosen.voters, chosen.spare)
    chosen.play(lab)
    return Recording(scenario, protocol, seed, (CLIENT, *lab.desks), tuple(lab.events))
