"""Does what the schedule says to a cluster, and remembers when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Final

import msgspec

from coterie.torture.cluster import Cluster
from coterie.torture.coterie_members import CoterieCluster
from coterie.torture.disks import FILLER, fill
from coterie.torture.membership import replace_member
from coterie.torture.network import Joint
from coterie.torture.schedule import Strike

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


class Havoc:
    """One run's faults. One thread; changes of members have threads of their own."""

    def __init__(self, cluster: Cluster, joint: Joint, leader: Callable[[], int | None]) -> None:
        """`leader`: the host of the member that leads, as far as is known."""
        self._cluster = cluster
        self._joint = joint
        self._leader = leader
        self._struck: set[int] = set()
        """Hosts that a fault befalls now: one at a time."""
        self._changes: list[threading.Thread] = []
        self.bands: list[Band] = []
        self.passed_over = 0
        """Faults of the schedule that found nobody to befall: all were struck, or a change was under way."""

    def run(self, strikes: Sequence[Strike], began: float, tick: Callable[[], None]) -> None:
        """All of it, then everything is whole again. `tick` is called many times a second."""
        agenda: list[tuple[float, int, Callable[[], None]]] = []
        for number, strike in enumerate(strikes):
            heappush(agenda, (strike.at, number, lambda strike=strike: self._strike(strike, agenda)))  # type: ignore[misc]  # mypy has no type for a lambda's default
        while agenda or any(change.is_alive() for change in self._changes):
            tick()
            now = time.monotonic() - began
            if agenda and agenda[0][0] <= now:
                heappop(agenda)[2]()
            else:
                time.sleep(0.01)

    def _strike(self, strike: Strike, agenda: list[tuple[float, int, Callable[[], None]]]) -> None:
        cluster = self._cluster
        free = [i for i in cluster.members if i not in self._struck]
        if strike.kind == "membership":
            self._change(strike, free)
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

    def _change(self, strike: Strike, free: Sequence[int]) -> None:
        cluster = self._cluster
        hosts = [i for i in range(len(cluster.hosts)) if i not in cluster.members]
        if not isinstance(cluster, CoterieCluster) or not hosts or not free or self._changing:
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

        thread = threading.Thread(target=change, name="torture membership", daemon=True)
        self._changes.append(thread)
        thread.start()

    @property
    def _changing(self) -> bool:
        return any(change.is_alive() for change in self._changes)
