"""The advice as an experiment: what the formulae expect, what the stage shows, and whether the two agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.lab.advise import claims
from coterie.lab.advise.availability import availability, minutes_a_year
from coterie.lab.advise.capacity import Capacity, capacity
from coterie.lab.advise.configuration import AFTERWARDS, Files, configuration
from coterie.lab.advise.demands import MAX_REPLICAS, Demands, counted
from coterie.lab.advise.figures import latencies_drawn
from coterie.lab.advise.outages import outages
from coterie.lab.advise.reasons import places, reasons
from coterie.lab.advise.refusal import refuse
from coterie.lab.advise.search import Plan, advised, best
from coterie.lab.advise.timing import Timing, failover_ms, timing
from coterie.lab.advise.trial import Bench, failovers, latencies, losses, quantile, serves_without, throughput
from coterie.lab.experiment import Cell, Claim, Conditions, Figure, Report, Table, Text
from coterie.lab.network.network import Network

CALLS, QUICK_CALLS = 150, 40
"""Of each client on the stage."""
LOADED_CALLS, QUICK_LOADED_CALLS = 4000, 1500
TRIALS, QUICK_TRIALS = 24, 8
OUTAGE_TIMEOUTS, QUICK_OUTAGE_TIMEOUTS = 600, 150
MUCH_QUICKER = 0.9
"""The default protocol is given up for one whose mean fail-over is less than this share of its own."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with all that follows from it by formula."""

    plan: Plan
    timing: Timing
    limits: Capacity
    failover_ms: float
    availability: float


def expected(network: Network, demands: Demands, plan: Plan) -> Expected:
    """By formula alone."""
    clock = timing(network, plan)
    lost = failover_ms(network, plan, clock)
    return Expected(
        plan=plan,
        timing=clock,
        limits=capacity(network, demands, plan, clock),
        failover_ms=lost,
        availability=availability(network, plan, lost),
    )


def advise(network: Network, demands: Demands, conditions: Conditions, write: Path | None = None) -> Report:
    """The whole report. Raises `Impossible` for what can't be had."""
    tell, quick = conditions.progress, conditions.quick
    tell(0.0, "searching")
    plan = advised(network, demands)
    if plan is None:
        raise refuse(network, demands)
    found = expected(network, demands, plan)
    bench = Bench(network, demands, plan, found.timing, found.limits, conditions.seed)
    tell(0.05, "fail-over on the stage")
    trials = QUICK_TRIALS if quick else TRIALS
    lost = _lost(bench, demands, found, trials)
    protocol, why_protocol = _protocol(demands, lost)
    tell(0.3, "latencies on the stage")
    seen, changes = latencies(bench, protocol, QUICK_CALLS if quick else CALLS)
    tell(0.5, "load on the stage")
    rate = throughput(bench, protocol, QUICK_LOADED_CALLS if quick else LOADED_CALLS)
    tell(0.6, "failures on the stage")
    out = None
    if plan.nodes > 1:
        out = outages(bench, protocol, QUICK_OUTAGE_TIMEOUTS if quick else OUTAGE_TIMEOUTS, found.failover_ms)
    tell(0.9, "every loss that it must survive")
    survived = _survived(bench, demands, protocol)
    files = configuration(network, demands, plan, found.timing, found.limits, protocol)
    made: list[Claim] = [
        *claims.latency(network, demands, plan, seen, changes),
        claims.rate(found.limits, rate, demands),
        *claims.failover(found, lost.get(protocol, []), demands),
        *claims.outage(plan, out),
        *claims.losses(demands, survived),
        _taken(files),
    ]
    if write is not None:
        files.write(write)
    tell(1.0, "done")
    rows = [
        ("protocol", protocol, why_protocol),
        *reasons(network, demands, plan, found.timing, found.limits, protocol),
    ]
    shown = {s: (quantile(x.writes, 0.5), quantile(x.writes, 0.99)) for s, x in seen.items()}
    more = _one_more(network, demands, found)
    return Report(
        experiment="advise",
        seed=conditions.seed,
        claims=made,
        summary=_summary(network, demands, found, protocol),
        data={
            "network": network.name,
            "demands": _demands(network, demands),
            "advice": _advice(network, found, protocol),
            "choices": {what: {"choice": choice, "why": why} for what, choice, why in rows},
            "expected": {
                "write_ms": {network.sites[s]: _pair(plan, network, demands, s) for s in demands.clients},
                "calls_per_s": found.limits.calls_per_s,
                "availability": found.availability,
                "failover_ms": found.failover_ms,
            },
            "simulated": {
                "write_ms": {network.sites[s]: {"p50": a, "p99": b} for s, (a, b) in shown.items()},
                "calls_per_s": rate,
                "failover_ms": lost,
                "outages": None if out is None else msgspec.to_builtins(out),
            },
            "configuration": files.nodes,
            "afterwards": files.afterwards,
        },
        parts=[
            Table(title="Advice", columns=("what", "choice", "why"), rows=tuple(rows)),
            Figure(
                title="Latencies by site: formula and stage",
                draw=lambda: latencies_drawn(network, demands, plan, seen),
                note="One call at a time from each site. The p99 of so few calls varies: the claims take all together.",
            ),
            claims.latency_table(network, demands, plan, seen),
            _expectations(network, demands, found),
            more,
            *_files(files, write),
        ],
    )


# -- what is tried --------------------------------------------------------------------------------


def _lost(bench: Bench, demands: Demands, found: Expected, trials: int) -> dict[str, list[float]]:
    """Fail-over times by protocol; none where nobody can succeed the leader."""
    if not found.failover_ms:
        return {}
    asked = PROTOCOLS if demands.protocol is None else (demands.protocol,)
    return {protocol: failovers(bench, protocol, trials) for protocol in asked}


def _protocol(demands: Demands, lost: dict[str, list[float]]) -> tuple[str, str]:
    if demands.protocol is not None:
        return demands.protocol, "it was asked for"
    if len(lost) < 2:
        return DEFAULT_PROTOCOL, "nothing of what was asked for tells them apart; it is the default"
    means = {name: sum(times) / len(times) for name, times in lost.items()}
    measured = ", ".join(f"{name} {mean:.0f} ms" for name, mean in means.items())
    quickest = min(means, key=lambda name: means[name])
    said = f"messages, disks and quorums of a write are the same in both; mean fail-over on the stage: {measured}"
    if means[quickest] < MUCH_QUICKER * means[DEFAULT_PROTOCOL]:
        return quickest, said
    return DEFAULT_PROTOCOL, f"{said}: no difference that counts, so the default"


def _survived(bench: Bench, demands: Demands, protocol: str) -> dict[str, tuple[bool, ...]]:
    """Whether a write succeeds after each loss that must be survived; and after one machine more, which it need not."""
    plan = bench.plan
    found = {}
    groups = {"machines": losses(plan, demands.survive, sites=False)} if demands.survive else {}
    if demands.survive_site:
        groups["sites"] = losses(plan, 1, sites=True)
    groups["too many"] = [tuple(range(1, plan.nodes - plan.phase_2 + 2))]
    salt = 100
    for name, sets in groups.items():
        found[name] = tuple(serves_without(bench, protocol, gone, salt + i) for i, gone in enumerate(sets))
        salt += len(sets)
    return found


def _taken(files: Files) -> Claim:
    try:
        taken = files.check()
        problem = ""
    except ConfigurationError as error:
        taken, problem = [], str(error)
    return Claim(
        id="configuration-taken",
        expected=f"{len(files.nodes)} files that `coterie node` takes",
        measured=problem or f"{len(taken)} taken",
        agrees=len(taken) == len(files.nodes),
        why="each was read by the product's own reader of configurations",
    )


# -- what is shown --------------------------------------------------------------------------------


def _summary(network: Network, demands: Demands, found: Expected, protocol: str) -> str:
    plan = found.plan
    warned = f" {len(network.estimated)} distances of {network.name} are bounds, not measured." * bool(
        network.estimated
    )
    return (
        f"{protocol} on {plan.nodes} replicas in {places(network, plan)}, led from {network.sites[plan.replicas[0]]}; "
        f"{plan.phase_1} elect, {plan.phase_2} commit. Mean latency of the calls {plan.mean_ms:.4g} ms; it survives "
        f"{counted(plan.survives(), 'failure')}; {minutes_a_year(found.availability):.3g} minutes a year without "
        f"service, at the rates of failure that are assumed.{warned}"
    )


def _demands(network: Network, demands: Demands) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(demands, str_keys=True)
    plain["clients"] = {network.sites[site]: share for site, share in demands.clients.items()}
    return plain


def _advice(network: Network, found: Expected, protocol: str) -> dict[str, Any]:
    plan = found.plan
    return {
        "protocol": protocol,
        "replicas": [network.sites[site] for site in plan.replicas],
        "leader": network.sites[plan.replicas[0]],
        "phase_1_quorum": plan.phase_1,
        "phase_2_quorum": plan.phase_2,
        "mean_ms": plan.mean_ms,
        "election_timeout_ms": found.timing.election_timeout_ms,
        "heartbeat_interval_ms": found.timing.heartbeat_interval_ms,
        "max_batch_bytes": found.limits.max_batch_bytes,
        "max_inflight_bytes": found.limits.max_inflight_bytes,
    }


def _pair(plan: Plan, network: Network, demands: Demands, site: int) -> dict[str, float]:
    delay = plan.deployment(network, lease=demands.lease).write(site)
    return {"p50": delay.quantile(0.5), "p99": delay.quantile(0.99)}


def _expectations(network: Network, demands: Demands, found: Expected) -> Table:
    plan, limits = found.plan, found.limits
    deployment = plan.deployment(network, lease=demands.lease)
    writes, reads = deployment.writes(demands.clients), deployment.reads(demands.clients, demands.model)
    rows: Sequence[tuple[str, str, str]] = (
        (
            "write, all clients",
            f"p50 {writes.quantile(0.5):.4g} ms, p99 {writes.quantile(0.99):.4g} ms",
            "one at a time",
        ),
        ("read, all clients", f"p50 {reads.quantile(0.5):.4g} ms, p99 {reads.quantile(0.99):.4g} ms", "one at a time"),
        ("calls a second", f"{limits.calls_per_s:,.0f}", f"{demands.in_flight} in flight, {demands.reads:.0%} reads"),
        ("most writes a second", f"{limits.network_ceiling:,.0f}", "the leader's bandwidth"),
        ("", f"{limits.window_ceiling:,.0f}", "bytes in flight to the slowest follower of the quorum"),
        ("", "33,000", "a processor: measured on 2 cores that ran all three members (docs/performance.md), not here"),
        (
            "fail-over",
            f"{found.failover_ms:,.0f} ms on average",
            "a lost machine; a process that ends is noticed at once",
        ),
        (
            "availability",
            f"{found.availability:.6%}, {minutes_a_year(found.availability):.3g} minutes a year without",
            _assumed(network),
        ),
    )
    return Table(title="Expected by formula", columns=("what", "value", "under which conditions"), rows=tuple(rows))


def _assumed(network: Network) -> str:
    rates = network.rates
    return (
        f"assumed: machines fail {rates.machine_failures_per_year:g} times a year for {rates.machine_repair_hours:g} h"
        f", a site {rates.site_failures_per_year:g} times for {rates.site_repair_hours:g} h"
    )


def _one_more(network: Network, demands: Demands, found: Expected) -> Table:
    """The best plans of one and two replicas more."""
    rows: list[tuple[Cell, ...]] = []
    for nodes in range(found.plan.nodes, min(found.plan.nodes + 2, MAX_REPLICAS) + 1):
        asked = msgspec.structs.replace(demands, nodes=nodes)
        plan = found.plan if nodes == found.plan.nodes else best(network, asked, nodes)
        if plan is None:
            rows.append((nodes, "not on these sites, with these demands", None, None, None, None))
            continue
        one = expected(network, asked, plan)
        rows.append(
            (
                nodes,
                places(network, plan),
                f"{plan.phase_1} + {plan.phase_2}",
                plan.mean_ms,
                plan.survives(),
                minutes_a_year(one.availability),
            )
        )
    columns = ("replicas", "where (the first leads)", "elect + commit", "mean ms", "survives", "minutes a year without")
    return Table(title="What one more node would buy", columns=columns, rows=tuple(rows))


def _files(files: Files, write: Path | None) -> list[Text]:
    name, text = next(iter(files.nodes.items()))
    where = f"written to {write}/" if write is not None else "--write DIR writes all"
    note = "; host names are placeholders" if files.placeholders else ""
    return [
        Text(title=f"{name}.toml ({where}{note})", body=text.rstrip()),
        Text(title=AFTERWARDS, body=files.afterwards.rstrip()),
    ]
