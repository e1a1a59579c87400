"""What Howard and Abraham, and OmniPaxos, say of partial partitions."""

from __future__ import annotations

from typing import Any, Final

from coterie.core.config import MILLISECOND
from coterie.core.protocols import PROTOCOLS
from coterie.lab.claims.partial import (
    DEAF_LEADER,
    DISTURBED,
    MAKERS,
    NEVER,
    SHAPES,
    SITUATIONS,
    VARIANTS,
    Unrest,
    recovery,
    unrest,
)
from coterie.lab.claims.rows import Found, Row, Task
from coterie.lab.experiment import Claim, Conditions, Table

DELAYS: Final = (MILLISECOND, 10 * MILLISECOND, 40 * MILLISECOND)
"""One way; the election timeout is a second."""
BOUND: Final = 4
WITHOUT_PULL: Final = "Raft without its pull"


# -- Howard and Abraham ------------------------------------------------------------------------------


def _watched(conditions: Conditions) -> list[tuple[str, str, int, int]]:
    seeds, timeouts = (1, 60) if conditions.quick else (3, 120)
    return [
        (variant, situation, conditions.seed * 100 + seed, timeouts)
        for situation in SITUATIONS
        for variant in VARIANTS
        for seed in range(seeds)
    ]


def _watch_tasks(conditions: Conditions) -> list[Task]:
    return [Task(unrest, arguments) for arguments in _watched(conditions)]


def _judge_settling(conditions: Conditions, results: list[Any]) -> Found:
    seen: dict[tuple[str, str], list[Unrest]] = {}
    for (variant, situation, _, _), found in zip(_watched(conditions), results, strict=True):
        seen.setdefault((variant, situation), []).append(found)
    ours = [f"Coterie, {protocol}" for protocol in PROTOCOLS]
    both = "with pre-vote and check-quorum"
    claims = [
        _settles(seen, "plain-raft-never-settles", ["plain Raft"], DISTURBED, settles=False),
        _settles(seen, "pre-vote-settles-it", ["with pre-vote"], DISTURBED, settles=True),
        _settles(seen, "pre-vote-alone-is-not-enough", ["with pre-vote"], DEAF_LEADER, settles=False),
        _settles(seen, "pre-vote-and-check-quorum-suffice", [both], *SITUATIONS, settles=True),
        _settles(seen, "coterie-settles", ours, *SITUATIONS, settles=True),
    ]
    rows = [
        (
            situation,
            variant,
            sum(u.settled for u in found),
            len(found),
            sum(u.reigns for u in found) / len(found),
            100 * sum(u.served for u in found) / sum(u.stretches for u in found),
        )
        for (variant, situation), found in seen.items()
    ]
    timeouts = results[0].timeouts
    table = Table(
        title=f"Howard and Abraham: watched for {timeouts} election timeouts, after 20",
        columns=("situation", "Raft", "settled", "of", "leaders", "% of the time commits"),
        rows=tuple(rows),
    )
    columns = ("situation", "variant", "settled", "runs", "leaders", "percent_served")
    data = [dict(zip(columns, row, strict=True)) for row in rows]
    return Found(claims=claims, parts=[table], data={"howard_abraham": data})


def _settles(
    seen: dict[tuple[str, str], list[Unrest]], name: str, variants: list[str], *situations: str, settles: bool
) -> Claim:
    runs = [run for variant in variants for situation in situations for run in seen[variant, situation]]
    settled = sum(run.settled for run in runs)
    reigns = sum(run.reigns for run in runs) / len(runs)
    served = 100 * sum(run.served for run in runs) / sum(run.stretches for run in runs)
    if settles:
        agrees = settled == len(runs)
    else:  # Never: in none of the runs, and it is not merely slow.
        agrees = settled == 0
    return Claim(
        id=name,
        expected=f"{', '.join(variants)}: {'settles' if settles else 'never settles'} ({'; '.join(situations)})",
        measured=f"settled in {settled} of {len(runs)} runs; {reigns:.0f} leaders in {runs[0].timeouts} election "
        f"timeouts, commands committed in {served:.0f} % of the time",
        agrees=agrees,
        why="settled: one leader in one epoch, and something committed in every heartbeat interval, from the 20th "
        "election timeout on",
    )


SETTLING: Final = Row(
    "howard-abraham",
    "Howard and Abraham, Raft does not Guarantee Liveness in the face of Network Faults, 2020",
    _watch_tasks,
    _judge_settling,
)

# -- OmniPaxos ---------------------------------------------------------------------------------------


def _tried(conditions: Conditions) -> list[tuple[str, str, int, int, int]]:
    seeds = 3 if conditions.quick else 40
    return [
        (maker, shape, conditions.seed * 1000 + seed, delay, 30 if maker == WITHOUT_PULL else 20)
        for maker in MAKERS
        for shape in SHAPES
        if maker != WITHOUT_PULL or shape == "constrained, 5"
        for delay in DELAYS
        for seed in range(seeds)
    ]


def _recovery_tasks(conditions: Conditions) -> list[Task]:
    return [Task(recovery, arguments) for arguments in _tried(conditions)]


def _judge_recovery(conditions: Conditions, results: list[Any]) -> Found:
    took: dict[tuple[str, str], list[float]] = {}
    for (maker, shape, _, _, _), found in zip(_tried(conditions), results, strict=True):
        took.setdefault((maker, shape), []).append(found)
    claims = []
    for protocol in PROTOCOLS:
        for kind in ("quorum loss", "constrained", "chained"):
            times = [t for (m, shape), found in took.items() if m == protocol and shape.startswith(kind) for t in found]
            stuck = sum(t == NEVER for t in times)
            claims.append(
                Claim(
                    id=f"recovery-{protocol}-{kind.replace(' ', '-')}",
                    expected=f"{kind}, {protocol}: commits again within {BOUND} election timeouts of the cut",
                    measured=f"{stuck} of {len(times)} runs never did" if stuck else f"{max(times):.1f} at most",
                    agrees=not stuck and max(times) <= BOUND,
                    why=f"{len(times)} runs: members, seeds, one-way delays of 1, 10 and 40 thousandths of the timeout",
                )
            )
    without = took[WITHOUT_PULL, "constrained, 5"]
    stuck = sum(t == NEVER for t in without)
    claims.append(
        Claim(
            id="raft-without-pull-is-stuck",
            expected="constrained, Raft as others have it (pre-vote, check-quorum): never recovers",
            measured=f"{stuck} of {len(without)} runs had not after 30 election timeouts",
            agrees=stuck == len(without),
            why="who reaches a quorum has the shorter log, and nobody may vote for it; Coterie's Raft pulls what "
            "it lacks "
            "(docs/decisions/0011-raft-partial-partitions.md)",
        )
    )
    rows = []
    for (maker, shape), times in took.items():
        over = sorted(t for t in times if t != NEVER)
        middle, worst = (over[len(over) // 2], over[-1]) if over else (None, None)
        rows.append((maker, shape, len(times), len(times) - len(over), middle, worst))
    table = Table(
        title="OmniPaxos's partitions: election timeouts from the cut to the first commit of a later command",
        columns=("protocol", "partition, members", "runs", "never", "median", "worst"),
        rows=tuple(rows),
    )
    data = [dict(zip(("protocol", "partition", "runs", "never", "median", "worst"), row, strict=True)) for row in rows]
    return Found(claims=claims, parts=[table], data={"omnipaxos": data})


RECOVERY: Final = Row("omnipaxos", "Ng, Haridi, Carbone, Omni-Paxos, EuroSys 2023", _recovery_tasks, _judge_recovery)
