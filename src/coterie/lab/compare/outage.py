"""No leader: how long after a crash, and what clients feel."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

import msgspec

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.types import Nanos
from coterie.lab.compare.load import Crowd, Work
from coterie.lab.compare.section import Extent, Section
from coterie.lab.compare.subjects import SUBJECTS, Setting, Subject
from coterie.lab.experiment import Cell, Claim, Figure, Table
from coterie.lab.reports.plots import COLOURS, LINES, plot
from coterie.lab.stage.calls import Call, Outcome
from coterie.lab.stage.geography import flat
from coterie.sim.chance import stream

MEMBERS: Final = 5
BEFORE: Final[Nanos] = 300 * MILLISECOND
AFTER: Final[Nanos] = 1800 * MILLISECOND
BUCKET: Final[Nanos] = 50 * MILLISECOND
TIMEOUT_MS: Final = ReplicaConfig().election_timeout / MILLISECOND
HEARTBEAT_MS: Final = ReplicaConfig().heartbeat_interval / MILLISECOND
SPREAD: Final = 1.25
"""Election timers run out within this multiple of the time-out."""
SLACK_MS: Final = 60.0
"""For an election's messages and writes, at 1 ms each; and for an early primary's clock of a beat."""


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """One crash of the leader; of a member, where none leads. Milliseconds."""

    subject: str
    noticed: bool
    leaderless: float | None
    """Until another member leads; None where none does."""
    silence: float
    """The longest time in which no client's write was answered."""
    timeline: tuple[int, ...] = ()
    """Writes answered in each `BUCKET`, from `BEFORE` the crash on."""


def outage(subject: Subject, seed: int, *, noticed: bool) -> Outage:
    """Clients at all members but the first write without a pause; the first loses its power, for ever."""
    scene = subject.stage(
        Setting(geography=flat(MEMBERS, 1.0, disk_ms=0.5), members=range(MEMBERS), seed=seed, noticed=noticed)
    )
    seats = [(site, site + 1) for site in range(1, MEMBERS)]
    crowd = Crowd(scene, seats, Work(think_ms=8, patience_ms=300), seed)
    crowd.start()
    scene.run_for(BEFORE + stream(seed, "crash").randrange(int(HEARTBEAT_MS * MILLISECOND)))
    at = scene.now
    scene.crash(1)
    leaderless: float | None = None
    if subject.led:
        scene.wait(lambda: scene.leader() not in (0, 1), "another member leads")
        leaderless = (scene.now - at) / MILLISECOND
    scene.run_until(at + AFTER)
    crowd.stop()
    ends = _answered(scene.calls)
    # What was answered before the crash and after it: the longest gap is the one around it, or as long as any other.
    kept = [end for end in ends if end >= at - BEFORE]
    gaps = [later - earlier for earlier, later in zip([at - BEFORE, *kept], [*kept, at + AFTER], strict=True)]
    return Outage(
        subject=subject.name,
        noticed=noticed,
        leaderless=leaderless,
        silence=max(gaps) / MILLISECOND,
        timeline=_timeline(kept, at),
    )


def _answered(calls: list[Call]) -> list[Nanos]:
    return sorted(call.end for call in calls if call.outcome is Outcome.OK)


def _timeline(ends: list[Nanos], at: Nanos) -> tuple[int, ...]:
    counts = [0] * ((BEFORE + AFTER) // BUCKET)
    for end in ends:
        place = (end - at + BEFORE) // BUCKET
        if 0 <= place < len(counts):
            counts[place] += 1
    return tuple(counts)


def outages(extent: Extent) -> Section:
    """Crashes of every subject, by seeds; and of the protocols with connections that close."""
    seeds = range(extent.seed, extent.seed + extent.times(2, 20))
    found = [outage(subject, seed, noticed=False) for subject in SUBJECTS for seed in seeds]
    noticed = [outage(subject, seed, noticed=True) for subject in SUBJECTS if subject.ships for seed in seeds]
    return Section(
        name="outage",
        claims=judge([*found, *noticed]),
        parts=[_table([*found, *noticed]), _figure(found)],
        data=msgspec.to_builtins([*found, *noticed]),
    )


def judge(found: list[Outage]) -> list[Claim]:
    """Who must notice silence waits a time-out; who has no leader does not wait."""
    claims = []
    low, high = TIMEOUT_MS - HEARTBEAT_MS, SPREAD * TIMEOUT_MS + SLACK_MS
    for name in ("raft", "multipaxos"):
        times = [o.leaderless for o in found if o.subject == name and not o.noticed and o.leaderless is not None]
        claims.append(
            Claim(
                id=f"without-a-leader-{name}",
                expected=f"{low:.0f} to {high:.0f} ms after a leader's machine lost power",
                measured=f"{min(times):.0f} to {max(times):.0f} ms, median {median(times):.0f}, {len(times)} crashes",
                agrees=all(low <= time <= high for time in times),
                why=f"timers of {TIMEOUT_MS:g} ms and up to a quarter more run from the last heartbeat, at most "
                f"{HEARTBEAT_MS:g} ms before; the first to run out is elected",
            )
        )
        quick = [o.leaderless for o in found if o.subject == name and o.noticed and o.leaderless is not None]
        claims.append(
            Claim(
                id=f"without-a-leader-noticed-{name}",
                expected=f"less than {HEARTBEAT_MS:g} ms if the leader's process ends, and its host closes connections",
                measured=f"{min(quick):.1f} to {max(quick):.1f} ms, {len(quick)} crashes",
                agrees=all(time < HEARTBEAT_MS for time in quick),
                why="a closed connection that is refused anew is a hint, and for it stickiness is over",
            )
        )
    for name in ("abd", "dynamo"):
        gaps = [o.silence for o in found if o.subject == name]
        claims.append(
            Claim(
                id=f"no-outage-{name}",
                expected=f"writes go on: never {HEARTBEAT_MS:g} ms without one",
                measured=f"at most {max(gaps):.0f} ms, {len(gaps)} crashes",
                agrees=max(gaps) < HEARTBEAT_MS,
                why="nobody leads: a majority of the others answers as before",
            )
        )
    return claims


def _table(found: list[Outage]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, noticed in dict.fromkeys((o.subject, o.noticed) for o in found):
        mine = [o for o in found if (o.subject, o.noticed) == (name, noticed)]
        times = [o.leaderless for o in mine if o.leaderless is not None]
        without = (round(median(times), 1), round(max(times), 1)) if times else (None, None)
        gaps = [o.silence for o in mine]
        rows.append((name, noticed, len(mine), *without, round(median(gaps), 1), round(max(gaps), 1)))
    columns = ("", "connections close", "crashes", "no leader: median ms", "worst", "no write: median ms", "worst ")
    return Table(title="After a crash of the leader, five nodes, 1 ms", columns=columns, rows=tuple(rows))


def _figure(found: list[Outage]) -> Figure:
    first = {o.subject: o for o in reversed(found) if o.timeline}

    def draw(figure: Any) -> None:
        axes = figure.subplots(len(SUBJECTS), 1, sharex=True)
        for place, (axis, subject) in enumerate(zip(axes, SUBJECTS, strict=True)):
            counts = first[subject.name].timeline
            times = [(number * BUCKET - BEFORE) / MILLISECOND for number in range(len(counts) + 1)]
            counts = (*counts, counts[-1])  # So that the last one has its width, too.
            axis.step(times, counts, where="post", color=COLOURS[place], linestyle=LINES[0], label=subject.title)
            axis.fill_between(times, counts, step="post", color=COLOURS[place], alpha=0.25)
            axis.axvline(0, color="black", linestyle="--", linewidth=1)
            axis.set_ylim(bottom=0)
            axis.set_title(subject.title, loc="left", fontsize=9)
        axes[-1].set_xlabel("ms after the crash (dashed)")
        figure.supylabel(f"writes answered in {BUCKET // MILLISECOND} ms", fontsize=9)

    note = "One run of each: clients at the four members that live on. An early primary loses what it had not shipped."
    return Figure(title="Availability after a crash", draw=lambda: plot(draw, height=6.5), note=note)
