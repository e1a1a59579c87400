"""What readers see while others write: the history judged, and how old the values were that they read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import msgspec

from coterie.check import REGISTER, linearizable
from coterie.core.config import MILLISECOND
from coterie.core.types import Nanos
from coterie.lab.pacelc.modes import Mode, set_up
from coterie.lab.stage.calls import Call, Outcome, history
from coterie.lab.stage.geography import Geography
from coterie.lab.stage.scene import Scene
from coterie.lab.stage.visitors import Visitor

WRITES_A_TRIP: Final = 3
READS_A_TRIP: Final = 5
"""A client pauses for this part of the longest round trip."""
SOON: Final[Nanos] = MILLISECOND // 20
TIMES: Final = 5
LIMIT: Final[Nanos] = 600_000 * MILLISECOND


class Contention(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    mode: Mode
    linearizable: bool | None
    """None: undecided."""
    calls: int
    stale_reads: int
    """Reads of a value that had been overwritten, by a write that was acknowledged, before they began."""
    stalest_ms: float
    """For how long it had been."""
    example: str
    """A read that no linearizable register could have answered so; empty if all could."""


def contend(
    mode: Mode, geography: Geography, members: Sequence[int], leader: int, rounds: int, seed: int
) -> Contention:
    """Writers in the two sites that are farthest apart write one key again and again, a reader in each site reads it,
    for so many of the longest round trips."""
    scene = set_up(mode, geography, members, leader, seed)
    first = len(scene.calls)
    sites = range(len(geography.sites))
    far = max(((a, b) for a in sites for b in sites if a <= b), key=lambda pair: geography.between_ms(*pair))
    trip = int(max(1.0, geography.between_ms(*far)) * MILLISECOND)
    end = scene.now + rounds * trip
    for number, site in enumerate(dict.fromkeys(far)):
        _Writer(scene, mode, scene.client(site), site, f"w{number}.", trip // WRITES_A_TRIP, end).begin()
    for site in sites:
        _Reader(scene, mode, scene.client(site), site, trip // READS_A_TRIP, end).begin()
    scene.run_until(end)
    scene.wait(lambda: all(call.over for call in scene.calls), "calls end", LIMIT)
    _at_once(scene, mode)
    _one_after_the_other(scene, mode)
    calls = scene.calls[first:]
    verdict = linearizable(history(calls), REGISTER)
    overdue = [(age, read) for read in calls if (age := _overwritten_for(read, calls)) is not None]
    stalest = max(overdue, key=lambda found: found[0], default=None)
    return Contention(
        mode=mode,
        linearizable=verdict.holds,
        calls=len(calls),
        stale_reads=len(overdue),
        stalest_ms=stalest[0] if stalest is not None else 0.0,
        example=_told(geography, scene, *stalest) if stalest is not None and verdict.holds is False else "",
    )


def _at_once(scene: Scene, mode: Mode) -> None:
    """A client beside the first member writes, and as soon as it is told so, a reader in every site reads: whoever can
    not have heard of the write yet, and answers alone, shows it."""
    sites = sorted(set(scene.ground.members.values()))
    home = scene.ground.members[min(scene.ground.members)]
    writer, readers = scene.client(home), {site: scene.client(site) for site in sites}

    def read() -> None:
        for site, reader in readers.items():
            reader.read(mode.asked(scene, site, write=False), "x", mode=mode.read_mode)

    def written(_: Call) -> None:
        scene.schedule.after(SOON, "readers", read)

    for number in range(TIMES):
        first = len(scene.calls)
        writer.write(mode.asked(scene, home, write=True), "x", f"fresh{number}", done=written)
        _wait_for(scene, first + 1 + len(readers))
        for call in scene.calls[first:]:
            _over(scene, call)


def _wait_for(scene: Scene, calls: int) -> None:
    scene.wait(lambda: len(scene.calls) >= calls, "a write is answered, and readers have begun", LIMIT)


def _one_after_the_other(scene: Scene, mode: Mode) -> None:
    """When all is quiet the first member's site writes, then the last one's (whose clock may be slow), and both read:
    while others write all the time, a write that was acknowledged and lost could pass for one that was overwritten."""
    members = sorted(scene.ground.members)
    sites = [scene.ground.members[member] for member in (members[0], members[-1])]
    clients = [scene.client(site) for site in sites]
    for number, (client, site) in enumerate(zip(clients, sites, strict=True)):
        _over(scene, client.write(mode.asked(scene, site, write=True), "x", f"last{number}"))
    for client, site in zip(clients, sites, strict=True):
        _over(scene, client.read(mode.asked(scene, site, write=False), "x", mode=mode.read_mode))


def _over(scene: Scene, call: Call) -> None:
    scene.finish(call, LIMIT)
    scene.run_for(MILLISECOND)  # A call that begins at the very moment when another ends counts as concurrent.


class _Busy(ABC):
    """A client that begins a call when the last one has been over for a while, until the end."""

    def __init__(self, scene: Scene, mode: Mode, client: Visitor, site: int, pause: Nanos, end: Nanos) -> None:
        self.scene, self.mode, self.client, self.site = scene, mode, client, site
        self._pause, self._end = pause, end

    @abstractmethod
    def begin(self) -> None:
        """The next call."""

    def again(self, _: Call) -> None:
        """The last is over."""
        if self.scene.now + self._pause < self._end:
            self.scene.schedule.after(self._pause, "client", self.begin)


class _Writer(_Busy):
    def __init__(
        self, scene: Scene, mode: Mode, client: Visitor, site: int, prefix: str, pause: Nanos, end: Nanos
    ) -> None:
        super().__init__(scene, mode, client, site, pause, end)
        self._prefix, self._number = prefix, 0

    def begin(self) -> None:
        """See `_Busy`."""
        self._number += 1
        asked = self.mode.asked(self.scene, self.site, write=True)
        self.client.write(asked, "x", f"{self._prefix}{self._number}", done=self.again)


class _Reader(_Busy):
    def begin(self) -> None:
        """See `_Busy`."""
        asked = self.mode.asked(self.scene, self.site, write=False)
        self.client.read(asked, "x", mode=self.mode.read_mode, done=self.again)


def _overwritten_for(read: Call, calls: Sequence[Call]) -> float | None:
    """For how long (ms) the value read had been overwritten when the read began; None if it had not been for certain:
    a write that began after this value's was acknowledged was itself acknowledged before."""
    if read.f != "read" or read.outcome is not Outcome.OK:
        return None
    own = next((c for c in calls if c.f == "write" and c.value == read.value), None)
    after = own.end if own is not None else 0
    later = [
        c.end for c in calls if c.f == "write" and c.outcome is Outcome.OK and c.start > after and c.end < read.start
    ]
    return (read.start - min(later)) / MILLISECOND if later else None


def _told(geography: Geography, scene: Scene, age: float, read: Call) -> str:
    site = geography.sites[scene.ground.clients[read.client]]
    return f"a read in {site} was answered {read.value!r}, which had been overwritten {age:.1f} ms before it began"
