"""Latencies without any partition, by mode and by the client's site: calls of clients that are alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.types import Nanos
from coterie.lab.pacelc.modes import Mode, set_up
from coterie.lab.stage.geography import Geography

BETWEEN: Final[Nanos] = 10 * MILLISECOND


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Of one mode, one placement of the leader, one site's clients. Times in ms."""

    mode: Mode
    leader: int
    """Site."""
    site: int
    writes: tuple[float, ...]
    reads: tuple[float, ...]


def at(times: Sequence[float], share: float) -> float:
    """A quantile, by nearest rank."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measured(
    modes: Sequence[Mode], geography: Geography, members: Sequence[int], leader: int, calls: int, seed: int
) -> list[Latency]:
    """All modes that one cluster can serve: they differ in the read only."""
    scene = set_up(modes[0], geography, members, leader, seed)
    home = members[leader]
    found = []
    for site in range(len(geography.sites)):
        client = scene.client(site)
        writes = [
            scene.undisturbed_ms(client.write(modes[0].asked(scene, site, write=True), f"k{site}", str(i)), BETWEEN)
            for i in range(calls)
        ]
        for mode in modes:
            reads = []
            for _ in range(calls):
                client.seen = 0
                member = mode.asked(scene, site, write=False)
                reads.append(scene.undisturbed_ms(client.read(member, f"k{site}", mode=mode.read_mode), BETWEEN))
            found.append(Latency(mode=mode, leader=home, site=site, writes=tuple(writes), reads=tuple(reads)))
    return found
