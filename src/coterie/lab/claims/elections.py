"""How long a crashed leader is missed: the Raft paper's section 9.3 and figure 16, trial by trial."""

from __future__ import annotations

import random
from typing import Final

import msgspec

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.messages import Append, Message
from coterie.core.types import Index, MemberId, Nanos
from coterie.lab.claims.ensemble import SECOND, Ensemble, Timing
from coterie.lab.claims.plain import Dialect, plain
from coterie.lab.claims.seat import shipped
from coterie.lab.errors import LabError

SIZE: Final = 5
INSTANT: Final = Timing(one_way=MILLISECOND // 10, sync=MILLISECOND // 10)
"""While a trial is set up."""
LIMIT: Final = 12 * SECOND
"""A trial that has no leader by then ends: 'longer than 10 s' is all that the paper says of those."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the figure."""

    low_ms: int
    high_ms: int
    broadcast_ms: int = 15
    """What sending to every server and hearing its answers takes, its durable write included (5.6)."""
    network_ms: int = 5
    """How much of that is the network's, there and back."""
    eager: bool = True
    """Candidates ask for votes while their own disk writes the new term."""
    ships: bool = False
    """Raft as it ships; its timeouts are from [T, T + T/4), whatever `high_ms` says."""

    @property
    def name(self) -> str:
        """As in the paper's legend."""
        return f"{self.low_ms}-{self.high_ms} ms"

    @property
    def timing(self) -> Timing:
        """Of the network, and of the disks."""
        network = self.network_ms * MILLISECOND
        jitter = max(network // 10, MILLISECOND // 10)
        sync = (self.broadcast_ms - self.network_ms) * MILLISECOND
        return Timing(
            one_way=max(0, network // 2 - jitter // 2), jitter=jitter, sync=sync - sync // 20, sync_jitter=sync // 10
        )


class Lengths:
    """Keeps followers' logs at different lengths, though their leader is heard: what it sends to each ends where that
    one's log is to end, as if the leader had sent no more yet."""

    def __init__(self) -> None:
        self._ends: dict[MemberId, Index] = {}

    def set(self, ends: dict[MemberId, Index]) -> None:
        """Where each log ends from now on."""
        self._ends = ends

    def hears(self, to: MemberId, message: Message) -> Message:
        """See `Ensemble.hears`."""
        end = self._ends.get(to)
        if end is None or not isinstance(message, Append):
            return message
        if message.prev_index > end:
            # Every entry after the first is of the leader's own epoch.
            return msgspec.structs.replace(message, prev_index=end, prev_epoch=message.epoch, entries=())
        return msgspec.structs.replace(message, entries=tuple(e for e in message.entries if e.index <= end))


def downtimes(setting: Setting, seed: int, count: int) -> list[float]:
    """So many trials, in milliseconds. One whose leader loses an election before it is to be crashed (with timeouts
    near the broadcast time that happens) is no trial, and another takes its place."""
    rng = random.Random(f"{seed} {setting}")
    found: list[float] = []
    while len(found) < count:
        took = downtime(setting, rng.getrandbits(64))
        if took is not None:
            found.append(took / MILLISECOND)
    return found


def downtime(setting: Setting, seed: int) -> Nanos | None:
    """Nanoseconds from the crash of the leader to another one's election; `LIMIT` if there was none by then; None if
    the leader had lost its place before.

    It dies at a moment drawn evenly from its heartbeat interval, which is half of the least timeout; heartbeats leave
    to all at once. The logs of the others have four lengths, so that only two of them can win.
    """
    rng = random.Random(seed)
    low, spread = setting.low_ms * MILLISECOND, (setting.high_ms - setting.low_ms) * MILLISECOND
    config = ReplicaConfig(election_timeout=low, heartbeat_interval=low // 2)
    make = shipped("raft") if setting.ships else plain(Dialect(spread=spread, eager=setting.eager, check_quorum=True))
    group = Ensemble(make, SIZE, seed=rng.getrandbits(64), timing=INSTANT, config=config)
    lengths = Lengths()
    group.hears = lengths.hears
    leader = rng.choice(group.ids)
    if not group.lead(leader):
        raise LabError(f"seed {seed}: {leader} was not elected though its timer ran out first ({setting.name})")
    group.run_until(lambda: len({seat.replica.commit for seat in group.seats.values()}) == 1, SECOND)
    last = group.seats[leader].replica.last_index
    others = [member for member in group.ids if member != leader]
    rng.shuffle(others)
    lengths.set({member: last + more for more, member in enumerate(others)})
    for number in range(SIZE - 1):
        group.propose(leader, b"%d" % number)
    group.run(low)
    group.timing = setting.timing
    group.run(low + rng.randrange(low // 2))
    if group.leaders() != [leader]:
        return None
    began = group.now
    group.crash(leader)
    return group.now - began if group.run_until(lambda: bool(group.leaders()), LIMIT) else LIMIT
