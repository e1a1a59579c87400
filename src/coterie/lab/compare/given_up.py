"""What each store gives up, seen: the same small scripts for all, and the checker's verdict on what clients saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from coterie.check import REGISTER, linearizable, smallest
from coterie.check.drawing.text import draw_text
from coterie.core.config import MILLISECOND
from coterie.core.types import MemberId
from coterie.lab.compare.load import Crowd, Work
from coterie.lab.compare.section import Extent, Section
from coterie.lab.compare.subjects import SUBJECTS, Setting, Subject
from coterie.lab.experiment import Cell, Claim, Part, Table, Text
from coterie.lab.stage.calls import Call, Outcome, history
from coterie.lab.stage.geography import flat
from coterie.lab.stage.scene import Scene
from coterie.sim.chance import stream

ROUND_TRIP_MS: Final = 10.0
KEY: Final = "x"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Of one subject in one script."""

    subject: str
    script: str
    linearizable: bool | None
    answered: int
    not_answered: int
    counterexample: str = ""
    """Drawn, if it is not linearizable."""


def _write(scene: Scene, site: int, value: str, patience: int = 1000) -> Call:
    client = scene.client(site)
    return scene.finish(client.write(site + 1, KEY, value, patience=patience * MILLISECOND))


def _read(scene: Scene, site: int) -> Call:
    return scene.finish(scene.client(site).read(site + 1, KEY, patience=1000 * MILLISECOND))


def _read_until_answered(scene: Scene, site: int, times: int = 20) -> None:
    """A leader may have to be elected first."""
    for _ in range(times):
        if _read(scene, site).outcome is Outcome.OK:
            return
        scene.run_for(200 * MILLISECOND)


# -- scripts -------------------------------------------------------------------------------------


def crash_after_acknowledgement(scene: Scene) -> None:
    """A client in site 1 is told that its write is done; at once the member that told it loses power, for ever. Then a
    client of another member reads."""
    _write(scene, 0, "1")
    scene.crash(1)
    _read_until_answered(scene, 1)


def two_sides(scene: Scene) -> None:
    """Member 1 is cut off from 2 and 3. Clients on both sides write, and read, for three seconds; then the cut ends."""
    scene.split([0], [1, 2])
    for number in range(3):
        _write(scene, 0, f"left {number}", 500)
        _write(scene, 1, f"right {number}", 500)
        _read(scene, 0)
        _read(scene, 2)
        scene.run_for(500 * MILLISECOND)
    scene.mend()
    scene.run_for(2000 * MILLISECOND)
    _read(scene, 0)
    _read(scene, 1)


def wrong_clock(scene: Scene) -> None:
    """Member 1's clock is wrong. A client writes there; when that is done, another writes at member 2, and reads."""
    _write(scene, 0, "1")
    _write(scene, 1, "2")
    _read(scene, 1)
    _read(scene, 2)


def unfinished_write(scene: Scene) -> None:
    """A write begins at member 1 while it is cut off, and nobody knows what becomes of it. The cut ends, a client reads
    at member 1, and as soon as it is answered member 1 loses power. Then a client reads elsewhere."""
    _write(scene, 1, "1")
    scene.split([0], [1, 2])
    _write(scene, 0, "2", 100)
    scene.run_for(100 * MILLISECOND)  # what an early primary ships, is lost
    scene.mend()
    _read(scene, 0)
    scene.crash(1)
    _read_until_answered(scene, 1)


SCRIPTS: Final[dict[str, Callable[[Scene], None]]] = {
    "crash after the acknowledgement": crash_after_acknowledgement,
    "both sides of a partition": two_sides,
    "a wrong clock": wrong_clock,
    "a read of an unfinished write": unfinished_write,
}
GIVES_UP: Final[dict[str, tuple[str, ...]]] = {
    "raft": (),
    "multipaxos": (),
    "abd": (),
    "dynamo": ("a wrong clock", "a read of an unfinished write"),
    "primary-backup": (
        "crash after the acknowledgement",
        "both sides of a partition",
        "a read of an unfinished write",
    ),
}
"""In which scripts a subject is not linearizable, by what it is."""
WHY: Final = {
    "raft": "a write is acknowledged when a quorum has it, and a read when a quorum confirms the leader",
    "multipaxos": "a write is acknowledged when a quorum has accepted it, and a read when a quorum confirms the leader",
    "abd": "every operation meets every other in some member, and reads write back what they answer",
    "dynamo": "its order is that of clocks, and a read answers what no quorum has",
    "primary-backup": "only the primary has what it acknowledged last, and in a partition two lead",
}


def play(subject: Subject, script: str, seed: int) -> Verdict:
    """One subject in one script."""
    skewed = script == "a wrong clock"
    scene = subject.stage(
        Setting(geography=flat(3, ROUND_TRIP_MS, disk_ms=0.5), members=range(3), seed=seed, skewed=skewed)
    )
    scene.run_for(1000 * MILLISECOND)
    SCRIPTS[script](scene)
    return judge_calls(subject.name, script, scene.calls)


def judge_calls(subject: str, script: str, calls: list[Call]) -> Verdict:
    """The checker's verdict."""
    operations = history(calls)
    holds = linearizable(operations, REGISTER).holds
    example = smallest(operations, REGISTER) if holds is False else None
    answered = sum(call.outcome is Outcome.OK for call in calls)
    return Verdict(
        subject=subject,
        script=script,
        linearizable=holds,
        answered=answered,
        not_answered=len(calls) - answered,
        counterexample=draw_text(example) if example is not None else "",
    )


def ordeal(subject: Subject, seed: int) -> Verdict:
    """A crowd on one key while one member after the other crashes, or is cut off: never more than one of five."""
    scene = subject.stage(
        Setting(geography=flat(5, ROUND_TRIP_MS, disk_ms=0.5), members=range(5), seed=seed, loss_permille=20)
    )
    work = Work(reads_permille=500, conflict_permille=1000, think_ms=10, patience_ms=1500)
    crowd = Crowd(scene, [(site, site + 1) for site in range(5)], work, seed)
    crowd.start()
    rng = stream(seed, "ordeal")
    for _ in range(4):
        victim: MemberId = rng.randrange(1, 6)
        scene.run_for(rng.randrange(50, 300) * MILLISECOND)
        if rng.getrandbits(1):
            scene.crash(victim)
            scene.run_for(rng.randrange(100, 900) * MILLISECOND)
            scene.restart(victim)
        else:
            scene.split([victim - 1], [site for site in range(5) if site != victim - 1])
            scene.run_for(rng.randrange(100, 900) * MILLISECOND)
            scene.mend()
    scene.run_for(1500 * MILLISECOND)
    crowd.stop()
    scene.run_for(2000 * MILLISECOND)
    return judge_calls(subject.name, f"crashes and cuts, seed {seed}", scene.calls)


def given_up(extent: Extent) -> Section:
    """Every subject in every script; and those that give up nothing, in ordeals."""
    found = [play(subject, script, extent.seed) for script in SCRIPTS for subject in SUBJECTS]
    safe = [subject for subject in SUBJECTS if not GIVES_UP[subject.name]]
    seeds = range(extent.seed, extent.seed + extent.times(2, 12))
    suffered = [ordeal(subject, seed) for subject in safe for seed in seeds]
    parts: list[Part] = [_table(found, suffered)]
    parts += [
        Text(
            title=f"{v.subject}: {v.script}", body=f"{(SCRIPTS[v.script].__doc__ or '').strip()}\n\n{v.counterexample}"
        )
        for v in found
        if v.counterexample
    ]
    return Section(
        name="given_up",
        claims=[*judge(found), *judge_ordeals(suffered)],
        parts=parts,
        data={"scripts": msgspec.to_builtins(found), "ordeals": msgspec.to_builtins(suffered)},
    )


def judge(found: list[Verdict]) -> list[Claim]:
    """Each gives up what it is said to, and nothing else."""
    claims = []
    for name, expected in GIVES_UP.items():
        broken = tuple(v.script for v in found if v.subject == name and v.linearizable is not True)
        claims.append(
            Claim(
                id=f"gives-up-{name}",
                expected=f"not linearizable after: {', '.join(expected) or 'nothing'}",
                measured=f"not linearizable after: {', '.join(broken) or 'nothing'}",
                agrees=sorted(broken) == sorted(expected) and any(v.subject == name for v in found),
                why=WHY[name],
            )
        )
    return claims


def judge_ordeals(suffered: list[Verdict]) -> list[Claim]:
    """A minority that is away changes nothing."""
    claims = []
    for name in dict.fromkeys(v.subject for v in suffered):
        mine = [v for v in suffered if v.subject == name]
        good = sum(v.linearizable is True for v in mine)
        answered = sum(v.answered for v in mine)
        claims.append(
            Claim(
                id=f"linearizable-through-faults-{name}",
                expected="linearizable in every run with crashes, cuts of one of five, and loss",
                measured=f"{good} of {len(mine)} runs, {answered} calls answered",
                agrees=good == len(mine) and answered >= 50 * len(mine),
                why="the checker judged what all clients saw of one key",
            )
        )
    return claims


def _table(found: list[Verdict], suffered: list[Verdict]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (v.script, v.subject, v.linearizable, v.answered, v.not_answered) for v in (*found, *suffered)
    ]
    columns = ("what happens", "", "linearizable", "answered", "refused or unknown")
    return Table(title="What is given up: by the checker's verdict", columns=columns, rows=tuple(rows))
