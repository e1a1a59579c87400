"""LeaseGuard (arXiv 2512.15659) beside Coterie's leases: what a read costs, and how long a new leader serves none."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.protocols import PROTOCOLS
from coterie.core.settings import Settings
from coterie.core.types import Nanos, Token
from coterie.lab.claims.ensemble import SECOND, Ensemble, Timing
from coterie.lab.claims.rows import Found, Row, Task
from coterie.lab.claims.seat import shipped
from coterie.lab.errors import LabError
from coterie.lab.experiment import Claim, Conditions, Table

ONE_WAY: Final = 5 * MILLISECOND
ROUND_MS: Final = (2 * ONE_WAY + 2 * (ONE_WAY // 10)) / MILLISECOND
"""To another member and back, at most."""
READS: Final = 200
LEASE: Final = Settings().lease_ms * MILLISECOND
AT_ONCE: Final = 0.99
"""Share of reads that LeaseGuard's new leader answered at once."""


class Reign(msgspec.Struct, frozen=True):
    """One change of leaders, in milliseconds."""

    steady: tuple[float, ...]
    """What reads took while all was well."""
    elected: float
    """From the crash to the next leader."""
    first_commit: float
    """From its election until it had committed an entry of its own."""
    waits: tuple[float, ...]
    """What reads took that were asked of it every millisecond, for a lease's time from its election on."""


def reign(protocol: str, lease: bool, seed: int) -> Reign:
    """Three members; the leader's process dies, and the others see that at once."""
    timing = Timing(one_way=ONE_WAY, jitter=ONE_WAY // 10)
    group = Ensemble(shipped(protocol), 3, seed=seed, timing=timing)
    if not group.run_until(lambda: any(group.serves(member) for member in group.ids), 20 * SECOND):
        raise LabError("nobody came to lead")
    (leader,) = group.leaders()
    group.set(leader, Settings(lease_reads=lease))
    group.run(SECOND + group.rng.randrange(SECOND))
    steady = []
    for _ in range(READS):
        steady.append((group.now, group.read(leader)))
        group.run(MILLISECOND)
    group.run(SECOND)
    group.crash(leader)
    crashed = group.now
    group.run(2 * ONE_WAY)
    for member in group.alive():
        group.seats[member].process_gone(leader)
    if not group.run_until(lambda: bool(group.leaders()), 20 * SECOND):
        raise LabError("nobody came to lead after the crash")
    (leader,) = group.leaders()
    won = group.now
    asked: list[tuple[Nanos, Token]] = []
    committed: Nanos | None = None
    while group.now < won + LEASE:
        asked.append((group.now, group.read(leader)))
        group.run_until(lambda: False, MILLISECOND)
        if committed is None and group.serves(leader):
            committed = group.committed_at[group.seats[leader].replica.commit]
    group.run(SECOND // 10)
    if committed is None:
        raise LabError("the new leader committed nothing for a whole lease")
    return Reign(
        _took(group, steady),
        (won - crashed) / MILLISECOND,
        (committed - won) / MILLISECOND,
        _took(group, asked),
    )


def _took(group: Ensemble, asked: list[tuple[Nanos, Token]]) -> tuple[float, ...]:
    """How long each read took. Raises `LabError` if one had no answer."""
    missing = [token for _, token in asked if token not in group.answers]
    if missing:
        raise LabError(f"{len(missing)} of {len(asked)} reads were not answered")
    return tuple((group.answers[token] - at) / MILLISECOND for at, token in asked)


def _planned(conditions: Conditions) -> list[tuple[str, bool, int]]:
    seeds = range(2 if conditions.quick else 20)
    return [(p, lease, conditions.seed * 100 + seed) for p in PROTOCOLS for lease in (True, False) for seed in seeds]


def tasks(conditions: Conditions) -> list[Task]:
    """See `Row`."""
    return [Task(reign, arguments) for arguments in _planned(conditions)]


def judge(conditions: Conditions, results: list[Any]) -> Found:
    """See `Row`."""
    seen: dict[tuple[str, bool], list[Reign]] = {}
    for (protocol, lease, _), found in zip(_planned(conditions), results, strict=True):
        seen.setdefault((protocol, lease), []).append(found)
    leased = [r for (_, lease), found in seen.items() if lease for r in found]
    plain = [r for (_, lease), found in seen.items() if not lease for r in found]
    steady = [took for r in leased for took in r.steady]
    rounds = median(took for r in plain for took in r.steady)
    at_once = _at_once([took for r in leased for took in r.waits])
    waited = max(max(r.waits) for r in leased)
    late = max(max(r.waits) - r.first_commit for r in leased)
    elected, sooner = median(r.elected for r in leased), median(r.elected for r in plain)
    claims = [
        Claim(
            id="lease-reads-need-no-round-trip",
            expected="a leader with a lease answers with no round trip",
            measured=f"{100 * _at_once(steady):.1f} % of {len(steady)} reads at once",
            agrees=_at_once(steady) == 1.0,
            why=f"without leases they take a round: {rounds:.1f} ms at 5 ms one way",
        ),
        Claim(
            id="new-leader-serves-at-once",
            expected="a new leader serves 99 % of the reads at once, in the time of one lease",
            measured=f"{100 * at_once:.1f} %; the longest waits {waited:.1f} ms",
            agrees=at_once >= AT_ONCE,
            why="reads wait until the new leader has committed an entry of its own, and then for the round that "
            "earns its "
            f"lease: they were answered {late:.1f} ms after that commit at the latest, a round being "
            f"{ROUND_MS:.0f} ms at "
            "most. LeaseGuard's leader answers by the lease that it inherits meanwhile",
            explained=late <= ROUND_MS,
        ),
        Claim(
            id="leases-do-not-delay-elections",
            expected="leases do not interfere with elections: a crashed leader is replaced as soon as without",
            measured=f"{elected:.0f} ms with leases, {sooner:.0f} ms without (medians, crash to election)",
            agrees=elected <= 2 * sooner,
            why="Coterie's lease is a promise of the voters: none of them elects another for lease_ms "
            f"({LEASE // MILLISECOND} ms) after it heard the leader, even where the process is seen to be gone; "
            "LeaseGuard's is in the log, and the next leader waits before it commits, not before it is elected",
            explained=elected >= 0.9 * LEASE / MILLISECOND > sooner,
        ),
    ]
    rows = tuple(
        (
            protocol,
            lease,
            median(took for r in found for took in r.steady),
            median(r.elected for r in found),
            median(r.first_commit for r in found),
            100 * _at_once([took for r in found for took in r.waits]),
            max(max(r.waits) for r in found),
            median(r.elected + r.waits[0] for r in found),
        )
        for (protocol, lease), found in seen.items()
    )
    columns = (
        "protocol",
        "leases",
        "read, ms",
        "crash to election",
        "election to first commit",
        "% of reads at once",
        "longest wait",
        "crash to first read",
    )
    keys = ("protocol", "lease", "read_ms", "elected_ms", "commit_ms", "at_once_percent", "longest_ms", "served_ms")
    table = Table(
        title="Leases: reads, and a change of leaders (medians, ms; 5 ms one way)", columns=columns, rows=rows
    )
    return Found(claims=claims, parts=[table], data={"leaseguard": [dict(zip(keys, r, strict=True)) for r in rows]})


def _at_once(times: list[float]) -> float:
    """Share of those that took no time at all: nothing was asked of anybody."""
    return sum(took == 0 for took in times) / len(times)


ROW: Final = Row("leaseguard", "Davis, Demirbas, Deng, LeaseGuard: Raft Leases Done Right, 2025", tasks, judge)
