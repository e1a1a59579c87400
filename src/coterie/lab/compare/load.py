"""Clients that keep a scene busy, and what they saw."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import quantiles
from typing import Final

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.types import MemberId, Nanos
from coterie.lab.stage.calls import Call, Outcome
from coterie.lab.stage.scene import Scene
from coterie.lab.stage.visitors import Visitor
from coterie.sim.chance import happens, stream

HOT: Final = "hot"


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What each client does, one call after the other."""

    reads_permille: int = 0
    conflict_permille: int = 0
    """Of a thousand calls, so many are on the one key that all clients share; the others on a key of the client's."""
    value_bytes: int = 16
    mode: str = "linearizable"
    """Of reads."""
    think_ms: int = 0
    """Between an answer and the next call."""
    patience_ms: int = 5000


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. Times in milliseconds of the simulated world, so they are exact."""

    writes: int
    reads: int
    failed: int
    seconds: float
    messages: int
    bytes: int
    write_ms: tuple[float, ...]
    """Sorted."""
    read_ms: tuple[float, ...]
    write_medians: tuple[float, ...] = ()
    """One for each member that was asked: how many asked which, plays no part in their mean."""
    read_medians: tuple[float, ...] = ()

    @property
    def done(self) -> int:
        """Calls that were answered."""
        return self.writes + self.reads

    @property
    def rate(self) -> float:
        """Answered calls a second."""
        return self.done / self.seconds

    @property
    def messages_each(self) -> float:
        """Messages between members for each answered call."""
        return self.messages / self.done

    @property
    def bytes_each(self) -> float:
        """Bytes between members for each answered call."""
        return self.bytes / self.done


def quantile(sorted_ms: Sequence[float], fraction: float) -> float:
    """Of values in order, none if there are none: nan."""
    if len(sorted_ms) < 2:
        return sorted_ms[0] if sorted_ms else float("nan")
    return quantiles(sorted_ms, n=1000, method="inclusive")[int(fraction * 1000) - 1]


class Crowd:
    """Clients that each ask one member, again and again."""

    def __init__(self, scene: Scene, seats: Sequence[tuple[int, MemberId]], work: Work, seed: int) -> None:
        """`seats`: for each client its site and its member."""
        self._scene = scene
        self._work = work
        self._rng = stream(seed, "crowd")
        self._seats = [(scene.client(site), member) for site, member in seats]
        self._going = False
        self._written = 0

    def start(self) -> None:
        """All begin at once, but for some microseconds: else they would stay in step for ever."""
        self._going = True
        for visitor, member in self._seats:
            delay = self._rng.randrange(MILLISECOND)
            self._scene.schedule.after(delay, "begins", partial(self._begin, visitor, member))

    def stop(self) -> None:
        """No call begins any more."""
        self._going = False

    def _begin(self, visitor: Visitor, member: MemberId) -> None:
        if not self._going:
            return
        work, rng = self._work, self._rng
        key = HOT if work.conflict_permille and happens(rng, work.conflict_permille) else f"k{visitor.number}"

        def again(call: Call) -> None:
            # Who was refused asks again a little later.
            delay = max(1000, work.think_ms * MILLISECOND) if call.outcome is Outcome.OK else 20 * MILLISECOND
            self._scene.schedule.after(delay, "again", lambda: self._begin(visitor, member))

        patience = work.patience_ms * MILLISECOND
        if work.reads_permille and happens(rng, work.reads_permille):
            visitor.read(member, key, mode=work.mode, patience=patience, done=again)
        else:
            self._written += 1
            value = f"{self._written}".ljust(work.value_bytes, "v")  # distinct, so that a checker can tell them apart
            visitor.write(member, key, value, patience=patience, done=again)


def measure(scene: Scene, crowd: Crowd, warm_up: Nanos, duration: Nanos) -> Seen:
    """Start the crowd, let it warm up, and measure what begins and ends within `duration`."""
    crowd.start()
    scene.run_for(warm_up)
    scene.meter.reset()
    began = scene.now
    scene.run_for(duration)
    ended = scene.now
    messages, sent = scene.meter.messages.total(), scene.meter.bytes.total()
    crowd.stop()
    calls = [call for call in scene.calls if call.over and began <= call.end <= ended]
    answered = [call for call in calls if call.outcome is Outcome.OK]
    return Seen(
        writes=sum(call.f == "write" for call in answered),
        reads=sum(call.f == "read" for call in answered),
        failed=len(calls) - len(answered),
        seconds=(ended - began) / 1e9,
        messages=messages,
        bytes=sent,
        write_ms=_latencies(answered, "write"),
        read_ms=_latencies(answered, "read"),
        write_medians=_medians(answered, "write"),
        read_medians=_medians(answered, "read"),
    )


def mean(values: Sequence[float]) -> float:
    """Of none: nan."""
    return sum(values) / len(values) if values else float("nan")


def _medians(calls: Sequence[Call], f: str) -> tuple[float, ...]:
    members = sorted({call.at for call in calls if call.f == f})
    return tuple(quantile(_latencies([call for call in calls if call.at == member], f), 0.5) for member in members)


def _latencies(calls: Sequence[Call], f: str) -> tuple[float, ...]:
    return tuple(sorted(call.latency / MILLISECOND for call in calls if call.f == f))
