"""Where formula and stage must agree, and by how much they may differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from coterie.lab.advise.capacity import Capacity
from coterie.lab.advise.demands import Demands, counted
from coterie.lab.advise.outages import Outages
from coterie.lab.advise.search import Plan
from coterie.lab.advise.trial import Seen, quantile
from coterie.lab.experiment import Claim, Table
from coterie.lab.latency.delay import Delay
from coterie.lab.network.network import Network

if TYPE_CHECKING:
    from coterie.lab.advise.experiment import Expected

MEDIAN_ERROR: Final = 0.03
STANDARD_ERRORS: Final = 4
ABSOLUTE_MS: Final = 0.05
"""Errors below this are none: steps of a process that meet, which the formulae leave out, come to some hundredths."""
RATE_ERROR: Final = 0.05
FAILOVER_ERROR: Final = 0.15
OUTAGE_ERROR: Final = 0.025
"""Of the whole time."""


def latency(network: Network, demands: Demands, plan: Plan, seen: Mapping[int, Seen], changes: int) -> Iterator[Claim]:
    """p50, p90 and p99 of every site's writes and reads; and that the timeouts let a leader live that has no fault."""
    worst, said = 0.0, ""
    for site, kind, delay, times in _both(demands, network, plan, seen):
        expected, measured = delay.quantile(0.5), quantile(times, 0.5)
        off = max(0.0, abs(measured - expected) - ABSOLUTE_MS) / expected
        if off >= worst:
            worst = off
            said = f"{off:.1%} at most ({kind} from {network.sites[site]}: {measured:.4g} ms for {expected:.4g})"
    yield Claim(
        id="latency-p50",
        expected=f"every site's writes and reads as by formula, within {MEDIAN_ERROR:.0%}",
        measured=said,
        agrees=worst <= MEDIAN_ERROR,
        why=f"{len(next(iter(seen.values())).writes)} writes and as many reads of each site, one at a time",
    )
    for share in (0.9, 0.99):
        yield _tail(
            share, [(delay.quantile(share), times) for _, _, delay, times in _both(demands, network, plan, seen)]
        )
    yield Claim(
        id="no-needless-election",
        expected="0 changes of the leader",
        measured=f"{changes}",
        agrees=changes == 0,
        why="no fault while the latencies were measured, with the timeouts that are advised",
    )


def _tail(share: float, found: Sequence[tuple[float, Sequence[float]]]) -> Claim:
    """That the p90s and p99s are what they say: of all calls together one in ten, or in a hundred, takes longer than
    its own. (The p99 of some dozens of calls would be no more than the slowest of them.) Of few calls, none may exceed
    a p99 by chance: that it is not far too high is the p90's to show."""
    calls = sum(len(times) for _, times in found)
    beyond, certainly, perhaps = (
        sum(time > limit + moved for limit, times in found for time in times)
        for moved in (0.0, ABSOLUTE_MS, -ABSOLUTE_MS)
    )
    rest = 1 - share
    error = STANDARD_ERRORS * math.sqrt(rest * share / calls)
    return Claim(
        id=f"latency-p{share * 100:.0f}",
        expected=f"{rest:.0%} of the calls beyond, within {STANDARD_ERRORS} standard errors ({error:.2%})",
        measured=f"{beyond / calls:.2%} ({beyond} of {calls})",
        agrees=certainly / calls <= rest + error and perhaps / calls >= rest - error,
        why=f"each call is held against the quantile of its own site and kind; a quantile may be {ABSOLUTE_MS} ms off",
    )


def _both(
    demands: Demands, network: Network, plan: Plan, seen: Mapping[int, Seen]
) -> Iterator[tuple[int, str, Delay, tuple[float, ...]]]:
    deployment = plan.deployment(network, lease=demands.lease)
    for site, found in seen.items():
        yield site, "writes", deployment.write(site), found.writes
        yield site, "reads", deployment.read(site, demands.model), found.reads


def latency_table(network: Network, demands: Demands, plan: Plan, seen: Mapping[int, Seen]) -> Table:
    """Both, side by side."""
    deployment = plan.deployment(network, lease=demands.lease)
    rows = []
    for site, found in seen.items():
        for kind, delay, times in (
            ("write", deployment.write(site), found.writes),
            ("read", deployment.read(site, demands.model), found.reads),
        ):
            rows.append(
                (
                    network.sites[site],
                    demands.clients[site],
                    kind,
                    delay.quantile(0.5),
                    quantile(times, 0.5),
                    delay.quantile(0.99),
                    quantile(times, 0.99),
                )
            )
    columns = (
        "clients in",
        "share",
        "call",
        "p50 by formula",
        "p50 on the stage",
        "p99 by formula",
        "p99 on the stage",
    )
    return Table(title="Latencies, ms", columns=columns, rows=tuple(rows))


def rate(limits: Capacity, measured: float, demands: Demands) -> Claim:
    """Calls a second under load."""
    off = (measured - limits.calls_per_s) / limits.calls_per_s
    least, most = limits.bounds
    return Claim(
        id="throughput",
        expected=f"{limits.calls_per_s:,.0f} calls/s, from {least:,.0f} to {most:,.0f}, {RATE_ERROR:.0%} beyond",
        measured=f"{measured:,.0f} calls/s ({off:+.1%})",
        agrees=least * (1 - RATE_ERROR) <= measured <= most * (1 + RATE_ERROR),
        why=f"{demands.in_flight} clients on the stage, each with one call under way; processors cost nothing there. "
        "The bounds: every call waits for all that it might, and none waits for another",
    )


def failover(found: Expected, times: list[float], demands: Demands) -> Iterator[Claim]:
    """Time without a leader."""
    if not times:
        return
    mean, expected = sum(times) / len(times), found.failover_ms
    off = abs(mean - expected) / expected
    if demands.lease:
        # A voter keeps its promise for as long as the election timeout, from the same moment: no later than without.
        expected = max(expected, float(found.timing.election_timeout_ms))
    yield Claim(
        id="fail-over",
        expected=f"{expected:.0f} ms on average, within {FAILOVER_ERROR:.0%}",
        measured=f"{mean:.0f} ms, {max(times):.0f} at most",
        agrees=off <= FAILOVER_ERROR,
        why=f"{len(times)} times the leader's machine was lost, at random within two heartbeats",
    )


def outage(plan: Plan, found: Outages | None) -> Iterator[Claim]:
    """Availability under failures."""
    if found is None:
        return
    off = found.simulated - found.by_formula
    bound = plan.phase_1 == plan.phase_2
    words = f"{found.by_formula:.1%}" if bound else f"at least {found.by_formula:.1%}"
    yield Claim(
        id="availability",
        expected=f"{words} of the time, within {OUTAGE_ERROR:.1%} of it",
        measured=f"{found.simulated:.1%}",
        agrees=abs(off) <= OUTAGE_ERROR if bound else off >= -OUTAGE_ERROR,
        why=f"{found.probes} writes while machines failed at random, {found.leaders_lost} leaders that others could "
        f"succeed, and {found.regained} times enough were up again; the formula was asked about the same "
        "failures, which are far more frequent than in life",
    )


def losses(demands: Demands, survived: Mapping[str, tuple[bool, ...]]) -> Iterator[Claim]:
    """What must be survived is; what is too much is refused, or the trial would prove nothing."""
    words = {"machines": f"any {counted(demands.survive, 'machine')}", "sites": "any site"}
    for name, outcomes in survived.items():
        must = name != "too many"
        yield Claim(
            id=f"survives-{name}" if must else "too-many-losses-stop-it",
            expected=f"a write succeeds without {words[name]}" if must else "no write succeeds",
            measured=f"{sum(outcomes)} of {len(outcomes)} did",
            agrees=all(outcomes) if must else not any(outcomes),
            why="each set of machines was lost at once, with what was not on their disks"
            if must
            else "so many machines were lost, the leader's too, that fewer are left than commit",
        )
