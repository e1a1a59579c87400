"""Places in the product where a choice may be made that is legal, and that a run hardly ever makes by itself.

A bug often hides behind what almost never happens: a heartbeat that is left out, a piece of a snapshot that is sent
twice, a leader that gives up for no reason. Each such place asks here ("Buggify", FoundationDB, SIGMOD 2021, section
4.2). In production the answer is always no, from a method that does nothing, and no place is on the way of a single
command: they stand where a batch, a round, an election or a chunk begins. The simulated world chooses some of them for
each run (`sim.whims`).

What a whim does must be allowed by the protocol at any time, so that a law that is broken is always a bug.
"""

from __future__ import annotations

from enum import StrEnum


class Whim(StrEnum):
    """One place each. The value is its name in figures and options."""

    HEARTBEAT_SKIPPED = "heartbeat-skipped"
    """A leader lets a heartbeat that is due pass."""
    LEADER_RESIGNS = "leader-resigns"
    """A leader that could lead on gives up."""
    SHORTEST_TIMEOUT = "shortest-timeout"
    """A member waits the least election timeout that may be drawn: several do, and split the vote."""
    EARLY_ELECTION = "early-election"
    """A member calls an election though its leader lives."""
    STICKS_TO_LEADER = "sticks-to-leader"
    """A member believes that its leader lives, and helps nobody to power."""
    PROBED_AGAIN = "probed-again"
    """A leader believes that what it sent to a follower is lost, and asks anew where it stands."""
    CHUNK_TWICE = "chunk-twice"
    """A piece of a snapshot is sent twice."""
    SNAPSHOT_GONE = "snapshot-gone"
    """A leader does not find its snapshot, and has another one made."""
    KEPT_NOTHING = "kept-nothing"
    """A log is compacted up to its snapshot, whoever still needs what lies before."""
    PROPOSED_APART = "proposed-apart"
    """What would share an entry is proposed in several."""
    FORWARDED_TWICE = "forwarded-twice"
    """Commands are forwarded to the leader twice."""
    NO_ROOM = "no-room"
    """A leader pretends to have no room for an entry."""
    PROMISE_CUT = "promise-cut"
    """A promise tells a single slot, and the rest in further parts (Multi-Paxos)."""


class Whims:
    """No whims: what production has."""

    def takes(self, whim: Whim) -> bool:
        """Whether to do the unlikely thing now."""
        return False


NO_WHIMS = Whims()
