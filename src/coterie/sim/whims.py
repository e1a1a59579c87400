"""What makes the product do, now and then, what it may do and hardly ever does: `core.whims`, and some of the driver's.

A run with the class `whims` has each place with p = 0.25 (`options.choose`); then it fires with a small probability,
each time that it is asked. What fired is counted, so a campaign can show that no place is asleep.
"""

from __future__ import annotations

import random
from collections import Counter
from enum import StrEnum
from typing import Final

import msgspec

from coterie.core.whims import Whim, Whims
from coterie.engine.config import EngineConfig
from coterie.sim.chance import happens, stream


class Quirk(StrEnum):
    """The same of whoever drives the engine, as the contract allows it; and limits that nobody would choose."""

    WOKEN_FOR_NOTHING = "woken-for-nothing"
    """A wake before any deadline."""
    CLOSED_FOR_NOTHING = "closed-for-nothing"
    """A connection to a peer closes though both live."""
    STEP_PUT_OFF = "step-put-off"
    """Inputs wait long for the flush that takes them all in."""
    WRITTEN_APART = "written-apart"
    """Of several batches that wait for the disk, one is written at a time."""
    TINY_SEGMENTS = "tiny-segments"
    """Each write begins a segment of the log."""
    FEW_REQUESTS = "few-requests"
    """A member takes few requests at a time, and refuses the rest."""
    FEW_READS = "few-reads"
    """A leader lets few reads wait."""
    ONE_CHUNK = "one-chunk"
    """Of a snapshot one piece is under way at a time."""
    SLOW_NOTICE = "slow-notice"
    """Followers are told late of what is committed."""
    QUICK_RESEND = "quick-resend"
    """Forwarded commands are sent again at once."""
    WRITTEN_AT_ONCE = "written-at-once"
    """A member that has something to apply writes first, without another step: as on a quick disk."""


WHIMS: Final[tuple[str, ...]] = (*Whim, *Quirk)
"""All of them. A new one goes to the end of its list, and draws for itself."""
ACTIVE_PERMILLE: Final = 250
"""Of the runs with whims, so many in a thousand have each of them."""
OFTEN: Final[dict[str, int]] = {
    Whim.HEARTBEAT_SKIPPED: 200,
    Whim.LEADER_RESIGNS: 5,
    Whim.SHORTEST_TIMEOUT: 500,
    Whim.EARLY_ELECTION: 10,
    Whim.STICKS_TO_LEADER: 300,
    Whim.PROBED_AGAIN: 100,
    Whim.CHUNK_TWICE: 200,
    Whim.SNAPSHOT_GONE: 300,
    Whim.KEPT_NOTHING: 300,
    Whim.PROPOSED_APART: 300,
    Whim.FORWARDED_TWICE: 200,
    Whim.NO_ROOM: 20,
    Whim.PROMISE_CUT: 500,
    Quirk.WOKEN_FOR_NOTHING: 50,
    Quirk.CLOSED_FOR_NOTHING: 3,
    Quirk.STEP_PUT_OFF: 20,
    Quirk.WRITTEN_APART: 300,
    Quirk.WRITTEN_AT_ONCE: 700,
}
"""How often in a thousand each does what it does. What is not here holds for a whole run."""


def drawn(seed: int) -> tuple[str, ...]:
    """The whims that a seed has, if it has any."""
    return tuple(whim for whim in WHIMS if happens(stream(seed, f"whim {whim}"), ACTIVE_PERMILLE))


class MemberWhims(Whims):
    """One member's whims, in all lives of its process."""

    def __init__(self, rng: random.Random, active: tuple[str, ...], fired: Counter[str]) -> None:
        """`active`: which the run has. `fired`: how often each did something, of all members."""
        self._rng = rng
        self._active = active
        self._fired = fired
        self.on = True
        """Until the world is healed."""

    def takes(self, whim: Whim | Quirk) -> bool:
        """See `Whims.takes`."""
        if whim not in self._active or not self.on or not happens(self._rng, OFTEN[whim]):
            return False
        self._fired[whim] += 1
        return True

    def has(self, quirk: Quirk) -> bool:
        """Whether this run has one that holds for all of it."""
        if quirk not in self._active:
            return False
        self._fired[quirk] += 1
        return True

    def limit(self, config: EngineConfig) -> EngineConfig:
        """The configuration of a member with these whims."""
        replica = msgspec.structs.replace(config.replica, whims=self)
        if self.has(Quirk.FEW_READS):
            replica = msgspec.structs.replace(replica, max_pending_reads=2)
        if self.has(Quirk.ONE_CHUNK):
            replica = msgspec.structs.replace(replica, max_inflight_snapshot_chunks=1)
        if self.has(Quirk.SLOW_NOTICE):
            replica = msgspec.structs.replace(replica, commit_notice_delay=replica.heartbeat_interval)
        config = msgspec.structs.replace(config, replica=replica)
        if self.has(Quirk.FEW_REQUESTS):
            config = msgspec.structs.replace(config, max_pending_requests=4)
        if self.has(Quirk.QUICK_RESEND):
            config = msgspec.structs.replace(config, resend_interval=replica.election_timeout // 10)
        return config
