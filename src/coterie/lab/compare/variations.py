"""One thing at a time: the size of values, messages that are lost, clients that want the same key."""

from __future__ import annotations

from typing import Final

import msgspec

from coterie.check import REGISTER, linearizable
from coterie.core.config import MILLISECOND
from coterie.lab.compare.distance import layouts
from coterie.lab.compare.load import Crowd, Seen, Work, mean, measure, quantile
from coterie.lab.compare.section import Extent, Section, claim_each
from coterie.lab.compare.subjects import SUBJECTS, Setting, Subject
from coterie.lab.experiment import Cell, Claim, Table
from coterie.lab.references.quorum_register import WriteBack, quorum_register
from coterie.lab.references.stage import ReferenceStage
from coterie.lab.stage.calls import history
from coterie.lab.stage.geography import flat
from coterie.lab.stage.scene import Scene

MEMBERS: Final = 3
ROUND_TRIP_MS: Final = 10.0
SMALL: Final = 16
LARGE: Final = 65_536
LOSSES: Final = (0, 10, 50)
"""Thousandths."""
CONFLICTS: Final = (0, 500, 1000)
"""Thousandths of the calls that are on one key."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What a subject did in one case."""

    subject: str
    case: int
    write_p50: float
    """Mean over members of the medians there, in ms."""
    write_p99: float
    read_p50: float
    read_p99: float
    messages: float
    bytes: float
    failed: int
    linearizable: bool | None
    """By the checker; None: not asked, or not decided."""


def _point(name: str, case: int, seen: Seen, holds: bool | None) -> Point:
    return Point(
        subject=name,
        case=case,
        write_p50=mean(seen.write_medians),
        write_p99=quantile(seen.write_ms, 0.99),
        read_p50=mean(seen.read_medians),
        read_p99=quantile(seen.read_ms, 0.99),
        messages=seen.messages_each,
        bytes=seen.bytes_each,
        failed=seen.failed,
        linearizable=holds,
    )


def _run(name: str, scene: Scene, case: int, work: Work, extent: Extent, *, judged: bool, slow: int = 1) -> Point:
    """Two clients at each member. `slow`: how many times longer than usual it is measured."""
    scene.run_for(300 * MILLISECOND)
    crowd = Crowd(scene, [(site, site + 1) for site in (0, 1, 2) * 2], work, extent.seed)
    seen = measure(scene, crowd, 200 * MILLISECOND, extent.times(1000, 5000) * slow * MILLISECOND)
    scene.run_for(500 * MILLISECOND)
    holds = linearizable(history(scene.calls), REGISTER).holds if judged else None
    return _point(name, case, seen, holds)


def _scene(subject: Subject, extent: Extent, loss: int = 0) -> Scene:
    geography = flat(MEMBERS, ROUND_TRIP_MS, disk_ms=0.5)
    return subject.stage(Setting(geography=geography, members=range(MEMBERS), seed=extent.seed, loss_permille=loss))


def values(extent: Extent) -> list[Point]:
    """Small and large values."""
    return [
        _run(subject.name, _scene(subject, extent), size, Work(value_bytes=size, think_ms=20), extent, judged=False)
        for subject in SUBJECTS
        for size in ((SMALL, LARGE) if extent.quick else (SMALL, 1024, 16_384, LARGE))
    ]


def losses(extent: Extent) -> list[Point]:
    """Messages between members are lost."""
    work = Work(reads_permille=500, conflict_permille=300)
    return [
        _run(subject.name, _scene(subject, extent, loss), loss, work, extent, judged=True)
        for subject in SUBJECTS
        for loss in LOSSES
    ]


LAZY: Final = "abd, one trip if agreed"


def conflicts(extent: Extent) -> list[Point]:
    """Clients at all members read and write one key, over a wide area. Beside the five, a register whose reads write
    back only where members disagree."""
    found = []
    geography = layouts()["wide 3"]
    setting = Setting(geography=geography, members=range(MEMBERS), seed=extent.seed)
    for share in CONFLICTS:
        work = Work(reads_permille=500, conflict_permille=share)
        lazy = ReferenceStage(
            geography, range(MEMBERS), seed=extent.seed, reference=quorum_register(WriteBack.UNLESS_AGREED)
        )
        scenes = [(subject.name, subject.stage(setting)) for subject in SUBJECTS if subject.name != "primary-backup"]
        for name, scene in (*scenes, (LAZY, lazy)):
            found.append(_run(name, scene, share, work, extent, judged=True, slow=6))
    return found


def variations(extent: Extent) -> Section:
    """All three."""
    sizes, lost, shared = values(extent), losses(extent), conflicts(extent)
    parts = [
        _table("Value size, three nodes, a client at each", "bytes of a value", sizes),
        _table("Loss between members: half reads, three clients in ten calls on one key", "lost, ‰", lost),
        _table("Conflicts over a wide area, three sites: half reads", "calls on one key, ‰", shared),
    ]
    data = {"value_size": sizes, "loss": lost, "conflict": shared}
    return Section(
        name="variations",
        claims=[*judge_values(sizes), *judge_losses(lost), *judge_conflicts(shared)],
        parts=parts,
        data=msgspec.to_builtins(data),
    )


COPIES: Final = {
    # Two of three clients ask a member that does not lead, which passes the value on to the one that does.
    "raft": MEMBERS - 1 + 2 / 3,
    "multipaxos": MEMBERS - 1 + 2 / 3,
    "abd": float(MEMBERS - 1),
    "dynamo": float(MEMBERS - 1),
}
"""How often a written value travels between members. (An early primary answers its own client more often than the
others', so its mix is not even.)"""


def judge_values(points: list[Point]) -> list[Claim]:
    """Each value travels to each other member once, and once more where it was passed on."""
    found = {(p.subject, p.case): p.bytes for p in points}
    cases = [(name, (found[name, LARGE] - found[name, SMALL]) / (LARGE - SMALL), n) for name, n in COPIES.items()]
    why = f"bytes a write at {LARGE} bytes less those at {SMALL}, over the difference; clients at all members"
    return [claim_each("values-travel-once", "N-1, and 1 more for a write that was passed on", cases, 0.12, why)]


def judge_losses(points: list[Point]) -> list[Claim]:
    """Loss makes the slowest slower, and nothing wrong."""
    worst = max(LOSSES)
    found = {(p.subject, p.case): p for p in points}
    safe = [name for name in ("raft", "multipaxos", "abd") if all(p.linearizable for p in points if p.subject == name)]
    tails = {n: found[n, worst].write_p99 / found[n, 0].write_p99 for n in ("raft", "multipaxos", "abd", "dynamo")}
    return [
        Claim(
            id="loss-breaks-nothing",
            expected="Raft, Multi-Paxos and ABD are linearizable at every loss",
            measured=f"linearizable: {', '.join(safe) or 'none'}",
            agrees=len(safe) == 3,
            why="the checker judged every history; what is lost is sent again",
        ),
        Claim(
            id="loss-is-in-the-tail",
            expected=f"with {worst / 10:g} % lost the p99 of writes grows more than the median, for all that wait",
            measured=", ".join(f"{name} p99 {ratio:.1f} times" for name, ratio in tails.items()),
            agrees=all(
                ratio > found[name, worst].write_p50 / found[name, 0].write_p50 or name == "dynamo"
                for name, ratio in tails.items()
            ),
            why="a quorum does without any one message; only if enough are lost does an operation wait for the next",
        ),
    ]


def judge_conflicts(points: list[Point]) -> list[Claim]:
    """Who orders everything anyway does not care; the lazy register pays a second trip."""
    found = {(p.subject, p.case): p for p in points}
    none, all_shared = CONFLICTS[0], CONFLICTS[-1]
    cases = [(n, found[n, all_shared].write_p50, found[n, none].write_p50) for n in ("raft", "multipaxos", "abd")]
    lazy = found[LAZY, all_shared].read_p99 / found[LAZY, none].read_p99
    eager = found["abd", all_shared].read_p99 / found["abd", none].read_p99
    why = "every command has a place in one order, whatever its key"
    return [
        claim_each("conflicts-cost-a-leader-nothing", "the same median write on one key as on many", cases, 0.15, why),
        Claim(
            id="conflicts-cost-a-second-trip",
            expected="a register that writes back only if members disagree has slow reads of nearly twice the time",
            measured=f"p99 of reads {lazy:.2f} times with one key; of the one that always does {eager:.2f} times",
            agrees=lazy >= 1.5 and lazy > eager,
            why="a read beside a write finds two values, and must make sure of the one it answers",
        ),
    ]


def _table(title: str, case: str, points: list[Point]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for p in points:
        times = [round(t, 2) if t == t else None for t in (p.write_p50, p.write_p99, p.read_p50, p.read_p99)]
        rows.append((p.subject, p.case, *times, round(p.messages, 2), round(p.bytes), p.failed, p.linearizable))
    columns = ("", case, "write p50 ms", "p99", "read p50 ms", "p99", "messages each", "bytes each", "refused")
    return Table(title=title, columns=(*columns, "linearizable"), rows=tuple(rows))
