"""Partial partitions: members disagree on who is alive.

Ng and others, "Omni-Paxos: Breaking the Barriers of Partial Connectivity" (EuroSys 2023), section 2: quorum loss,
constrained election, and a chain. Its protocol recovers within four election time-outs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from coterie.check import REGISTER, linearizable
from coterie.core.config import MILLISECOND
from coterie.core.types import Nanos
from coterie.lab.compare.load import Crowd, Work
from coterie.lab.compare.outage import TIMEOUT_MS
from coterie.lab.compare.section import Extent, Section
from coterie.lab.compare.subjects import SUBJECTS, Setting, Subject
from coterie.lab.experiment import Cell, Claim, Table
from coterie.lab.stage.calls import Outcome, history
from coterie.lab.stage.geography import flat
from coterie.lab.stage.scene import Scene
from coterie.lab.stage.stage import Stage

LASTS: Final[Nanos] = 6000 * MILLISECOND
BOUND: Final = 4.0
"""Election time-outs."""


def quorum_loss(scene: Scene) -> None:
    """All but member 2 lose each other; the leader, too: it reaches member 2 alone."""
    scene.cut([(a, b) for a in range(5) for b in range(a) if 1 not in (a, b)])


def constrained_election(scene: Scene) -> None:
    """Member 2 misses what the leader writes for a while. Then the leader is cut off, and of the others only member 2
    reaches a quorum: with a log that is too short to be voted for."""
    scene.cut([(0, 1)])
    scene.run_for(300 * MILLISECOND)
    scene.cut([(0, other) for other in range(1, 5)] + [(a, b) for a in range(2, 5) for b in range(2, a)])


def chain(scene: Scene) -> None:
    """Of three members the first and the third lose each other; the leader is at an end."""
    scene.cut([(0, 2)])


SCENARIOS: Final[dict[str, tuple[int, Callable[[Scene], None]]]] = {
    "quorum loss": (5, quorum_loss),
    "constrained election": (5, constrained_election),
    "chain": (3, chain),
}


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """What one subject did in one scenario."""

    subject: str
    scenario: str
    hub: float | None
    """Milliseconds until a client of member 2, which reaches a quorum, had a write answered; None: never."""
    served: tuple[int, ...]
    """Members whose clients had writes answered in the last quarter of the partition."""
    elections: int | None
    """How often a member began to lead meanwhile; None where none does."""
    linearizable: bool | None


def partial(subject: Subject, scenario: str, seed: int) -> Partial:
    """A client at each member; the partition begins, lasts, and ends."""
    members, cut = SCENARIOS[scenario]
    scene = subject.stage(Setting(geography=flat(members, 1.0, disk_ms=0.5), members=range(members), seed=seed))
    work = Work(reads_permille=300, conflict_permille=500, think_ms=40, patience_ms=500)
    crowd = Crowd(scene, [(site, site + 1) for site in range(members)], work, seed)
    crowd.start()
    scene.run_for(500 * MILLISECOND)
    led = _reigns(scene)
    cut(scene)
    at = scene.now
    scene.run_for(LASTS)
    elections = _reigns(scene) - led
    scene.mend()
    scene.run_for(2000 * MILLISECOND)
    crowd.stop()
    scene.run_for(1000 * MILLISECOND)
    writes = [c for c in scene.calls if c.f == "write" and c.outcome is Outcome.OK and c.start >= at]
    during = [c for c in writes if c.end <= at + LASTS]
    hub = [c.end - at for c in during if c.at == 2]
    late = at + LASTS * 3 // 4
    return Partial(
        subject=subject.name,
        scenario=scenario,
        hub=min(hub) / MILLISECOND if hub else None,
        served=tuple(sorted({c.at for c in during if c.end >= late})),
        elections=elections if subject.led else None,
        linearizable=linearizable(history(scene.calls), REGISTER).holds,
    )


def _reigns(scene: Scene) -> int:
    if isinstance(scene, Stage):
        return len(scene.meter.reigns)
    reigns = getattr(scene, "reigns", ())
    return len(reigns)


def partials(extent: Extent) -> Section:
    """Every subject in every scenario, with some seeds."""
    seeds = range(extent.seed, extent.seed + extent.times(1, 5))
    found = [partial(subject, scenario, seed) for scenario in SCENARIOS for subject in SUBJECTS for seed in seeds]
    return Section(
        name="partial_partitions", claims=judge(found), parts=[_table(found)], data=msgspec.to_builtins(found)
    )


def judge(found: list[Partial]) -> list[Claim]:
    """Who reaches a quorum is served before long, and nothing is broken by it."""
    bound = BOUND * TIMEOUT_MS
    claims = []
    for name in ("raft", "multipaxos"):
        for scenario in SCENARIOS:
            mine = [p for p in found if (p.subject, p.scenario) == (name, scenario)]
            worst = max((p.hub if p.hub is not None else float("inf") for p in mine), default=float("nan"))
            claims.append(
                Claim(
                    id=f"{scenario.replace(' ', '-')}-{name}",
                    expected=f"served again within {BOUND:g} election time-outs ({bound:.0f} ms), and linearizable",
                    measured=f"after {worst:.0f} ms at worst of {len(mine)} runs; "
                    f"linearizable in {sum(p.linearizable is True for p in mine)}",
                    agrees=worst <= bound and all(p.linearizable is True for p in mine),
                    why="time to the first write answered at the member that reaches a quorum",
                )
            )
    free = [p for p in found if p.subject in ("abd", "dynamo")]
    slowest = max(p.hub if p.hub is not None else float("inf") for p in free)
    claims.append(
        Claim(
            id="partial-partitions-without-a-leader",
            expected="ABD and Dynamo-style: the member that reaches a quorum serves on, within 600 ms",
            measured=f"at most {slowest:.0f} ms",
            agrees=slowest <= 600,
            why="nobody needs to be elected; a client that had asked before the cut may have to ask again (500 ms)",
        )
    )
    lost = sorted({p.scenario for p in found if p.subject == "primary-backup" and p.linearizable is False})
    claims.append(
        Claim(
            id="partial-partitions-early-primary",
            expected="an early primary breaks linearizability in some of them",
            measured=f"in {', '.join(lost) or 'none'}",
            agrees=bool(lost),
            why="who hears nothing takes over without asking a quorum, and what the other acknowledged is gone",
        )
    )
    return claims


def _table(found: list[Partial]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for p in found:
        served = ", ".join(map(str, p.served)) or "none"
        hub = round(p.hub, 1) if p.hub is not None else None
        rows.append((p.scenario, p.subject, hub, served, p.elections, p.linearizable))
    columns = ("", " ", "member 2 serves after ms", "serving in the end", "elections", "linearizable")
    title = f"Partial partitions of {LASTS // MILLISECOND} ms; member 1 led, member 2 reaches a quorum throughout"
    return Table(title=title, columns=columns, rows=tuple(rows))
