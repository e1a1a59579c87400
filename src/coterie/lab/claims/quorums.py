"""Flexible Paxos: only quorums that elect and quorums that commit must meet."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.quorum import flaw, majority
from coterie.core.types import MemberId
from coterie.lab.claims.ensemble import SECOND, Ensemble, Timing
from coterie.lab.claims.rows import Found, Row, Task
from coterie.lab.claims.seat import shipped
from coterie.lab.errors import LabError
from coterie.lab.experiment import Claim, Conditions, Table

PROTOCOL: Final = "multipaxos"
COMMANDS: Final = 20
LONG: Final = 60
"""Election timeouts: who has no leader then, has none."""


class Half(msgspec.Struct, frozen=True):
    """What a group did of which just half, the leader among them, was up."""

    committed: int
    """Of `COMMANDS`, while the others were down."""
    kept: int
    """Of these, known to the next leader, which was elected by those that were down before and as few others as can
    be."""


def _group(size: int, seed: int, phase_1: int, phase_2: int) -> Ensemble:
    timing = Timing(jitter=MILLISECOND // 2)
    group = Ensemble(shipped(PROTOCOL), size, seed=seed, timing=timing, phase_1=phase_1, phase_2=phase_2)
    if not group.lead(1):
        raise LabError("1 was not elected though its timer ran out first")
    group.run(SECOND)
    return group


def half_up(size: int, seed: int, phase_1: int, phase_2: int) -> Half:
    """Half of the members are down, the leader commits what it can; then it dies, with as many of those that have it as
    may, and the others come back."""
    group = _group(size, seed, phase_1, phase_2)
    others = list(group.ids[1:])
    group.rng.shuffle(others)
    down, with_it = others[: size // 2], others[size // 2 :]
    group.crash(*down)
    for number in range(COMMANDS):
        group.propose(1, b"%d" % number)
    group.run(SECOND // 2)
    committed = group.payloads()
    dead = [1, *with_it][: size - (phase_1 or majority(size))]
    group.crash(*dead)
    for member in down:
        group.seats[member].start()
    led = group.run_until(lambda: any(group.serves(m) for m in group.alive()), 10 * SECOND)
    if not led:
        raise LabError(f"{size} members, quorums of {phase_1} and {phase_2}: nobody came to lead")
    known = _applied(group, next(m for m in group.alive() if group.serves(m)))
    return Half(len(committed), sum(payload in known for payload in committed))


def _applied(group: Ensemble, member: MemberId) -> set[bytes]:
    last = group.seats[member].applied
    return {entry.payload for index, entry in group.chosen.items() if index <= last}


class Failures(msgspec.Struct, frozen=True):
    """Five members, two of which commit."""

    others_fail: int
    """Of `COMMANDS`, committed after two that do not lead have failed."""
    leader_fails: bool
    """Whether anybody led, at any time, after the leader and another had failed."""
    back: bool
    """And whether somebody did once one of them was back."""


def two_of_five(seed: int, phase_1: int, phase_2: int) -> Failures:
    """Two members fail: two others; or the leader and one more."""
    group = _group(5, seed, phase_1, phase_2)
    group.crash(4, 5)
    for number in range(COMMANDS):
        group.propose(1, b"%d" % number)
    group.run(SECOND)
    others_fail = len(group.payloads())
    group = _group(5, seed, phase_1, phase_2)
    group.crash(1, 5)
    timeouts = LONG * group.config.election_timeout
    leader_fails = group.run_until(lambda: bool(group.leaders()), timeouts)
    group.seats[5].start()
    return Failures(others_fail, leader_fails, group.run_until(lambda: bool(group.leaders()), timeouts))


def _sizes(conditions: Conditions) -> tuple[int, ...]:
    return (4, 6) if conditions.quick else (4, 6, 8, 10)


def _seeds(conditions: Conditions) -> range:
    return range(conditions.seed * 100, conditions.seed * 100 + (2 if conditions.quick else 10))


def _halves(conditions: Conditions) -> list[tuple[int, int, int, int]]:
    sizes = ((n, seed) for n in _sizes(conditions) for seed in _seeds(conditions))
    return [(n, seed, *phases) for n, seed in sizes for phases in ((n // 2 + 1, n // 2), (0, 0))]


def _pairs(conditions: Conditions) -> list[tuple[int, int, int]]:
    return [(seed, *phases) for seed in _seeds(conditions) for phases in ((4, 2), (0, 0))]


def tasks(conditions: Conditions) -> list[Task]:
    """See `Row`."""
    halves = [Task(half_up, arguments) for arguments in _halves(conditions)]
    return halves + [Task(two_of_five, arguments) for arguments in _pairs(conditions)]


def judge(conditions: Conditions, results: list[Any]) -> Found:
    """See `Row`."""
    planned = _halves(conditions)
    halves = list(zip(planned, results[: len(planned)], strict=True))
    pairs = list(zip(_pairs(conditions), results[len(planned) :], strict=True))
    shrunk = [h for (_, _, first, _), h in halves if first]
    plain = [h for (_, _, first, _), h in halves if not first]
    flexible = [f for (_, first, _), f in pairs if first]
    usual = [f for (_, first, _), f in pairs if not first]
    sizes = _sizes(conditions)
    refused = [n for n in sizes if flaw([f"n{i}" for i in range(n)], n // 2, n // 2, electors_meet=False)]
    claims = [
        Claim(
            id="even-phase-2-shrinks-by-one",
            expected="N even: N/2 suffice to commit beside N/2 + 1 that elect, and nothing committed is lost",
            measured=f"half up: {_share([h.committed for h in shrunk])} of the commands committed, "
            f"{_share([h.kept for h in shrunk])} known to the next leader",
            agrees=all(h.committed == COMMANDS == h.kept for h in shrunk) and all(h.committed == 0 for h in plain),
            why=f"N = {', '.join(map(str, sizes))}; with majorities in both phases "
            f"{_share([h.committed for h in plain])} commit with half up",
        ),
        Claim(
            id="even-phase-1-does-not",
            expected="N/2 in both phases are not enough",
            measured=f"refused for {len(refused)} of {len(sizes)} sizes",
            agrees=len(refused) == len(sizes),
            why=flaw(["n1", "n2", "n3", "n4"], 2, 2, electors_meet=False) or "not refused",
        ),
        Claim(
            id="two-failures-block-an-election",
            expected="5 members, 2 commit (so 4 elect): two failures can block an election",
            measured=f"leader and another fail: a leader in {sum(f.leader_fails for f in flexible)} of "
            f"{len(flexible)} runs "
            f"within {LONG} election timeouts; {sum(f.back for f in flexible)} once one is back",
            agrees=all(not f.leader_fails and f.back for f in flexible) and all(f.leader_fails for f in usual),
            why=f"with majorities it is a leader in {sum(f.leader_fails for f in usual)} of {len(usual)}",
        ),
        Claim(
            id="two-other-failures-do-not",
            expected="while the leader lives, two failures delay nothing",
            measured=f"{_share([f.others_fail for f in flexible])} of the commands committed",
            agrees=all(f.others_fail == COMMANDS for f in flexible),
            why="the leader and one more are a quorum that commits",
        ),
    ]
    rows = tuple(
        (n, first or majority(n), second or majority(n), seed, h.committed, h.kept)
        for (n, seed, first, second), h in halves
        if seed == _seeds(conditions)[0]
    )
    columns = ("members", "elect", "commit", "seed", f"of {COMMANDS} committed with half up", "kept by the next leader")
    data = [msgspec.structs.asdict(h) | {"members": a[0], "phase_1": a[2], "phase_2": a[3]} for a, h in halves]
    return Found(
        claims=claims,
        parts=[Table(title="Flexible Paxos: half of the members are up", columns=columns, rows=rows)],
        data={"flexible_paxos": data},
    )


def _share(counts: list[int]) -> str:
    return f"{100 * sum(counts) / (COMMANDS * len(counts)):.0f} %"


ROW: Final = Row("flexible-paxos", "Howard, Malkhi, Spiegelman, Flexible Paxos, OPODIS 2016", tasks, judge)
