"""Does what the schedule says to a cluster, and remembers when."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from heapq import heappop, heappush
from typing import Final

import msgspec

from coterie.torture.cluster import Cluster
from coterie.torture.disks import FILLER, fill
from coterie.torture.membership import replace_member
from coterie.torture.network import Joint
from coterie.torture.schedule import Strike

LOOK_S: Final = 0.01
SLOW_MS: Final = (20, 60, 150, 300)
LOSS_PERCENT: Final = (2, 10, 30)


class Band(msgspec.Struct):
    """A fault that was done."""

    kind: str
    member: str
    """Whom it befell; `all` for all."""
    start: int
    """Nanoseconds of the monotonic clock."""
    end: int = 0
    """0 while it lasts."""
    done: bool = True
    """False of a change of the members that was not finished in time."""


class Death(msgspec.Struct, frozen=True):
    """A process that ended though nobody had killed it. It is started again."""

    member: str
    at: int
    """Nanoseconds of the monotonic clock."""
    last_words: str
    """The end of its log."""


class Havoc:
    """One run's faults. One thread; changes of members have one of their own."""

    def __init__(
        self, cluster: Cluster, joint: Joint, leader: Callable[[], int | None], administrator: ThreadPoolExecutor
    ) -> None:
        """`leader`: the host of the member that leads, as far as is known. `administrator`: one thread, that lives as
        long as the members: a member is killed when the thread that started it ends (see `Cluster`)."""
        self._cluster = cluster
        self._joint = joint
        self._leader = leader
        self._struck: set[int] = set()
        """Hosts that a fault befalls now: one at a time."""
        self._administrator = administrator
        self._change: Future[None] | None = None
        self.bands: list[Band] = []
        self.deaths: list[Death] = []
        self.passed_over = 0
        """Faults of the schedule that found nobody to befall: all were struck, or a change was under way."""

    def run(self, strikes: Sequence[Strike], began: float, tick: Callable[[], None]) -> None:
        """All of it, then everything is whole again. `tick` is called many times a second."""
        agenda: list[tuple[float, int, Callable[[], None]]] = []
        for number, strike in enumerate(strikes):
            begin: Callable[[], None] = partial(self._strike, strike, agenda)
            heappush(agenda, (strike.at, number, begin))
        while agenda or self._changing:
            self._look(tick)
            now = time.monotonic() - began
            if agenda and agenda[0][0] <= now:
                heappop(agenda)[2]()

    def wait(self, until: float, tick: Callable[[], None]) -> None:
        """Do nothing more until then, a time of the monotonic clock."""
        while time.monotonic() < until:
            self._look(tick)

    def _look(self, tick: Callable[[], None]) -> None:
        tick()
        self._raise_the_dead()
        time.sleep(LOOK_S)

    def _raise_the_dead(self) -> None:
        for i in [*self._cluster.members]:
            if i not in self._struck and self._cluster.ended(i):
                words = self._cluster.last_words(i)
                self.deaths.append(Death(self._cluster.name_of(i), time.monotonic_ns(), words))
                self._cluster.restart(i)

    def _strike(self, strike: Strike, agenda: list[tuple[float, int, Callable[[], None]]]) -> None:
        cluster = self._cluster
        free = [i for i in cluster.members if i not in self._struck and not cluster.ended(i)]
        if strike.kind == "membership":
            self._change_members(strike, free)
            return
        if not free or (strike.kind == "kill-all" and len(free) < len(cluster.members)):
            self.passed_over += 1
            return
        leader = self._leader()
        chosen = leader if strike.leader and leader in free else free[strike.draw % len(free)]
        targets = free if strike.kind == "kill-all" else [chosen]
        self._struck.update(targets)
        band = Band(strike.kind, "all" if strike.kind == "kill-all" else cluster.name_of(chosen), time.monotonic_ns())
        self.bands.append(band)
        for i in targets:
            self._begin(strike, i)

        def mend() -> None:
            for i in targets:
                self._end(strike, i)
            self._struck.difference_update(targets)
            band.end = time.monotonic_ns()

        heappush(agenda, (strike.at + strike.seconds, -len(self.bands), mend))

    def _begin(self, strike: Strike, i: int) -> None:
        match strike.kind:
            case "kill" | "kill-all":
                self._cluster.kill(i)
            case "pause":
                self._cluster.pause(i)
            case "cut":
                self._joint.cut(i)
            case "slow":
                self._joint.impair(i, delay_ms=SLOW_MS[strike.draw % len(SLOW_MS)], loss_percent=0)
            case "loss":
                self._joint.impair(i, delay_ms=0, loss_percent=LOSS_PERCENT[strike.draw % len(LOSS_PERCENT)])
            case "disk-full":
                fill(self._cluster.disks[i])

    def _end(self, strike: Strike, i: int) -> None:
        match strike.kind:
            case "kill" | "kill-all":
                self._cluster.restart(i)
            case "pause":
                self._cluster.resume(i)
            case "cut" | "slow" | "loss":
                self._joint.mend(i)
            case "disk-full":
                (self._cluster.disks[i] / FILLER).unlink()

    def _change_members(self, strike: Strike, free: Sequence[int]) -> None:
        cluster = self._cluster
        hosts = [i for i in range(len(cluster.hosts)) if i not in cluster.members]
        if not hosts or not free or self._changing:
            self.passed_over += 1
            return
        new, old = hosts[0], free[strike.draw % len(free)]
        self._struck.add(old)
        band = Band(strike.kind, f"{cluster.name_of(old)} by {cluster.name_of(new)}", time.monotonic_ns())
        self.bands.append(band)

        def change() -> None:
            band.done = replace_member(cluster, new, old)
            band.end = time.monotonic_ns()
            self._struck.discard(old)

        self._change = self._administrator.submit(change)

    @property
    def _changing(self) -> bool:
        """Whether a change of the members is under way. Raises what ended one that should not have ended."""
        if self._change is None or not self._change.done():
            return self._change is not None
        self._change.result()
        return False
