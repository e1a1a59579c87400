"""PACELC, measured: latencies without a partition, what contention shows, and what a cut leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from coterie.core.errors import ConfigurationError
from coterie.core.protocols import PROTOCOLS
from coterie.lab.advise.demands import Demands
from coterie.lab.advise.search import best
from coterie.lab.experiment import Cell, Conditions, Figure, Report, Table
from coterie.lab.latency.deployment import Deployment
from coterie.lab.network.network import Network
from coterie.lab.pacelc import claims, figures
from coterie.lab.pacelc.contention import Contention, contend
from coterie.lab.pacelc.documented import DOCUMENTED
from coterie.lab.pacelc.latencies import Latency, at, measured
from coterie.lab.pacelc.modes import Mode, coterie_modes, every_mode
from coterie.lab.pacelc.partition import Cut, cut

DEFAULT_NETWORK: Final = "epaxos"
MOST_MEMBERS: Final = 7
CALLS, QUICK_CALLS = 100, 25
"""Of each kind, region and mode where the leader stands best ..."""
ELSEWHERE, QUICK_ELSEWHERE = 25, 11
"""... and where it stands elsewhere."""
TRIPS, QUICK_TRIPS = 24, 12
"""Longest round trips for which a key is fought over."""


def members_of(network: Network) -> list[int]:
    """One member in each site; of many sites the five that lose least; of few, three members in turn."""
    count = len(network.sites)
    if count < 3:
        return sorted(i % count for i in range(3))
    if count <= MOST_MEMBERS:
        return list(range(count))
    everyone = dict.fromkeys(range(count), 1 / count)
    plan = best(network, Demands(survive=2, survive_site=True, clients=everyone), 5)
    if plan is None:
        raise ConfigurationError(f"{network.name}: no five members of it survive the loss of two, and of any site")
    spread = list(dict.fromkeys(plan.replicas))
    spread += sorted(range(count), key=lambda site: network.geography.between_ms(plan.replicas[0], site))
    return sorted(list(dict.fromkeys(spread))[:5])


def pacelc(network: Network, conditions: Conditions, leader: str | None = None) -> Report:
    """The whole report. `leader`: its site in the tables; else where it stands best. Raises `ConfigurationError`."""
    geography, quick = network.geography, conditions.quick
    members = members_of(network)
    home = _home(network, members, leader)
    modes = every_mode(len(members))
    found = _latencies(network, members, home, modes, conditions)
    cuts: dict[Mode, Cut] = {}
    contentions: dict[Mode, Contention] = {}
    for i, mode in enumerate(modes):
        conditions.progress(0.7 + 0.3 * i / len(modes), f"contention and a cut: {mode.title}")
        trips = QUICK_TRIPS if quick else TRIPS
        contentions[mode] = contend(mode, geography, members, home, trips, conditions.seed)
        cuts[mode] = cut(mode, geography, members, home, conditions.seed)
    conditions.progress(1.0, "done")
    site = members[home]
    made = [
        claims.formula(geography, members, found),
        claims.protocols_alike(found),
        claims.leader_matters(geography, members, found),
        *claims.lower_bound(geography, found, contentions),
        claims.writes_need_a_quorum(cuts),
        *claims.classes(modes, cuts, contentions),
    ]
    points = figures.pareto_points(found, contentions, site)
    return Report(
        experiment="pacelc",
        seed=conditions.seed,
        claims=made,
        summary=_summary(network, members, points, site),
        data=_data(network, members, found, cuts, contentions, points),
        parts=[
            _classes(modes, cuts, contentions, points),
            Figure(
                title="Latency against consistency: the Pareto front",
                draw=lambda: figures.pareto(points),
                note=f"{PROTOCOLS[0]} stands for both protocols: their medians are alike (claim protocols-alike).",
            ),
            Figure(
                title="Where the leader stands: writes by region",
                draw=lambda: figures.leaders(geography, found, coterie_modes(PROTOCOLS[0])[0]),
            ),
            _regions(network, found, site),
            _placements(network, found),
            Table(title="Documented, not measured", columns=("system", "class", "why"), rows=DOCUMENTED),
        ],
    )


def _home(network: Network, members: Sequence[int], leader: str | None) -> int:
    """The place among the members from which the cluster is led."""
    if leader is not None:
        site = network.geography.number(leader)
        if site not in members:
            names = ", ".join(network.sites[member] for member in members)
            raise ConfigurationError(f"--leader {leader!r}: no member stands there; they stand in {names}")
        return list(members).index(site)
    sites = range(len(network.sites))
    means = [sum(Deployment(network.geography, members, i).write_mean(s) for s in sites) for i in range(len(members))]
    return means.index(min(means))


def _latencies(
    network: Network, members: Sequence[int], home: int, modes: Sequence[Mode], conditions: Conditions
) -> list[Latency]:
    """Coterie with each protocol and each leader, and the references led from home."""
    quick = conditions.quick
    groups: list[tuple[list[Mode], int, int]] = []
    places = list({members[place]: place for place in reversed(range(len(members)))}.values())
    for protocol in PROTOCOLS:
        own = [mode for mode in modes if mode.store == protocol]
        for place in places:
            calls = (QUICK_CALLS if quick else CALLS) if place == home else QUICK_ELSEWHERE if quick else ELSEWHERE
            groups.append(([mode for mode in own if not mode.lease], place, calls))
            if place == home:
                groups.append(([mode for mode in own if mode.lease], place, calls))
    groups += [([mode], home, QUICK_CALLS if quick else CALLS) for mode in modes if mode.store not in PROTOCOLS]
    found = []
    for i, (group, place, calls) in enumerate(groups):
        where = network.sites[members[place]]
        conditions.progress(0.7 * i / len(groups), f"latencies: {group[0].store}, led from {where}")
        found += measured(group, network.geography, members, place, calls, conditions.seed)
    return found


# -- what is shown --------------------------------------------------------------------------------


def _summary(network: Network, members: Sequence[int], points: Mapping[Mode, tuple[float, float]], site: int) -> str:
    names = ", ".join(network.sites[member] for member in members)
    best_ones = ", ".join(mode.title for mode in figures.front(points) if mode.store not in PROTOCOLS[1:])
    rough = "; its figures are approximate" if network.approximate else ""
    return (
        f"{network.name}{rough}: members in {names}, led from {network.sites[site]}. On the Pareto front of latency "
        f"and staleness: {best_ones}."
    )


def _classes(
    modes: Sequence[Mode],
    cuts: Mapping[Mode, Cut],
    contentions: Mapping[Mode, Contention],
    points: Mapping[Mode, tuple[float, float]],
) -> Table:
    rows = tuple(
        (
            mode.title,
            claims.measured_class(cuts[mode], contentions[mode]),
            points[mode][0],
            contentions[mode].linearizable,
            contentions[mode].stale_reads,
            points[mode][1],
            cuts[mode].few_read,
            cuts[mode].few_write,
            cuts[mode].many_read and cuts[mode].many_write,
            cuts[mode].consistent,
        )
        for mode in modes
    )
    columns = (
        "store, mode of reading",
        "reads are",
        "read p50 ms",
        "linearizable",
        "stale reads",
        "stalest ms",
        "cut: few read",
        "few write",
        "many read and write",
        "consistent throughout",
    )
    return Table(title="Classes by what was measured", columns=columns, rows=rows)


def _regions(network: Network, found: Sequence[Latency], site: int) -> Table:
    rows = tuple(
        (
            one.mode.title,
            network.sites[one.site],
            at(one.writes, 0.5),
            at(one.writes, 0.99),
            at(one.reads, 0.5),
            at(one.reads, 0.99),
        )
        for one in found
        if one.leader == site
    )
    columns = ("store, mode of reading", "clients in", "write p50 ms", "write p99", "read p50", "read p99")
    return Table(title=f"Latencies by region, led from {network.sites[site]}", columns=columns, rows=rows)


def _placements(network: Network, found: Sequence[Latency]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for protocol in PROTOCOLS:
        modes = [mode for mode in coterie_modes(protocol) if not mode.lease]
        for leader in sorted({one.leader for one in found if one.mode.store == protocol}):
            reads: tuple[Cell, ...] = tuple(figures.read_median(found, mode, leader) for mode in modes)
            rows.append((protocol, network.sites[leader], figures.write_median(found, modes[0], leader), *reads))
    columns = ("protocol", "led from", "write", *(mode.name for mode in coterie_modes(PROTOCOLS[0]) if not mode.lease))
    return Table(title="Leader placements: medians, mean of the regions, ms", columns=columns, rows=tuple(rows))


def _data(
    network: Network,
    members: Sequence[int],
    found: Sequence[Latency],
    cuts: Mapping[Mode, Cut],
    contentions: Mapping[Mode, Contention],
    points: Mapping[Mode, tuple[float, float]],
) -> dict[str, Any]:
    names = network.sites
    return {
        "network": {"name": network.name, "source": network.source, "date": network.date, "sites": list(names)},
        "members": [names[member] for member in members],
        "latencies": [
            {
                "store": one.mode.store,
                "mode": one.mode.name,
                "leader": names[one.leader],
                "clients": names[one.site],
                "write_p50_ms": at(one.writes, 0.5),
                "write_p99_ms": at(one.writes, 0.99),
                "read_p50_ms": at(one.reads, 0.5),
                "read_p99_ms": at(one.reads, 0.99),
            }
            for one in found
        ],
        "classes": [
            {
                "store": mode.store,
                "mode": mode.name,
                "reads": claims.measured_class(cuts[mode], contentions[mode]),
                "linearizable": contentions[mode].linearizable,
                "stalest_ms": contentions[mode].stalest_ms,
                "example": contentions[mode].example,
                "few": {"read": cuts[mode].few_read, "write": cuts[mode].few_write},
                "many": {"read": cuts[mode].many_read, "write": cuts[mode].many_write},
            }
            for mode in cuts
        ],
        "pareto": [mode.title for mode in figures.front(points)],
        "documented": [{"system": system, "class": kind, "why": why} for system, kind, why in DOCUMENTED],
    }
