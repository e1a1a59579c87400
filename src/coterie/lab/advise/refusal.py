"""What can't be had, and why: which demand is the one too many, and what there is instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from coterie.core.errors import CoterieError
from coterie.lab.advise.demands import MAX_REPLICAS, Demands, counted
from coterie.lab.advise.search import Plan, advised, least_nodes
from coterie.lab.latency.deployment import LINEARIZABLE, STALE
from coterie.lab.network.network import Network

HALVINGS: Final = 24
"""Steps in which the least limit that can be kept is found: to a millionth of the widest."""


class Impossible(CoterieError):
    """No plan does what is demanded; the message says why, and what would do."""


def refuse(network: Network, demands: Demands) -> Impossible:
    """Why `advised` found nothing."""
    reasons = [*_of_numbers(network, demands)] or [*_of_limits(network, demands)]
    if not reasons:
        reasons = ["no placement of the replicas on these sites does all that is demanded at once"]
    instead = [*_instead(network, demands)]
    more = f" What can be had: {'; '.join(instead)}." if instead else ""
    return Impossible(f"this can't be had: {'; '.join(reasons)}.{more}")


# -- numbers of replicas and sites ----------------------------------------------------------------


def _of_numbers(network: Network, demands: Demands) -> Iterator[str]:
    room = sum(network.capacity(site) for site in range(len(network.sites)))
    least = least_nodes(demands)
    survive = demands.survive
    if demands.nodes is not None and demands.nodes < least:
        why = (
            f"{counted(survive, 'failure')} take 2 x {survive} + 1 = {2 * survive + 1} replicas: a quorum that elects "
            "and one that commits must be left, and meet"
            if demands.nodes < 2 * survive + 1
            else "to lose a whole site takes three replicas in three sites"
        )
        yield f"--nodes {demands.nodes} is too few: {why}"
    elif room < least:
        yield f"{least} replicas are needed, and the sites of {network.name} can hold {room} (machines)"
    elif demands.survive_site:
        yield from _of_sites(network, least)


def _of_sites(network: Network, least: int) -> Iterator[str]:
    usable = [site for site in range(len(network.sites)) if network.capacity(site)]
    if len(usable) < 3:
        yield (
            f"--survive-site takes three sites, and {network.name} has {len(usable)} that can hold a replica: of two, "
            "one holds half of the replicas or more, and without it the others are no quorum that meets every other "
            "(they could not know whether it lives and goes on alone)"
        )
        return
    for nodes in range(least, MAX_REPLICAS + 1):
        most = nodes - (nodes // 2 + 1)
        if sum(min(network.capacity(site), most) for site in usable) >= nodes:
            return
    yield "--survive-site: no site may hold so many replicas that the others are no quorum, and then there is no room"


# -- limits on latency ----------------------------------------------------------------------------


def _of_limits(network: Network, demands: Demands) -> Iterator[str]:
    if demands.write_within_ms is not None:
        yield from _of_writes(network, demands, demands.write_within_ms)
    if demands.read_within_ms is not None:
        yield from _of_reads(network, demands, demands.read_within_ms)


def _of_writes(network: Network, demands: Demands, limit: float) -> Iterator[str]:
    free = msgspec.structs.replace(demands, read_within_ms=None)
    least = least_limit(network, free, "write_within_ms")
    if least is None or least <= limit:
        return
    g, names = network.geography, network.sites
    parts = [
        f"writes within {limit:g} ms at every site of clients: the least that any placement reaches is {least:.4g} ms"
    ]
    if demands.survive_site:
        far = {c: min(g.between_ms(c, s) for s in range(len(names)) if s != c) for c in demands.clients}
        worst = max(far, key=lambda site: far[site])
        if far[worst] > limit:
            parts.append(
                f"a write that is to outlive a whole site must be durable in another before it is acknowledged, and "
                f"from {names[worst]} the nearest other site is {far[worst]:.4g} ms away and back"
            )
    if len(demands.clients) > 1:
        reach = {s: max(g.between_ms(c, s) for c in demands.clients) for s in range(len(names))}
        home = min(reach, key=lambda site: reach[site])
        if reach[home] > limit:
            parts.append(
                f"all writes go through one leader, and wherever it stands some clients are far: in {names[home]}, the "
                f"best place for that, {reach[home]:.4g} ms from the farthest"
            )
    yield ", because ".join((parts[0], " and ".join(parts[1:]))) if len(parts) > 1 else parts[0]


def _of_reads(network: Network, demands: Demands, limit: float) -> Iterator[str]:
    free = msgspec.structs.replace(demands, write_within_ms=None)
    least = least_limit(network, free, "read_within_ms")
    if least is None or least <= limit:
        return
    said = f"reads within {limit:g} ms at every site of clients: the least that any placement reaches is {least:.4g} ms"
    if demands.model == LINEARIZABLE:
        round_ = "" if demands.lease else ", which asks a quorum whether it still leads"
        said += f", for a linearizable read must know of all writes acknowledged before: it goes to the leader{round_}"
    yield said


def least_limit(network: Network, demands: Demands, field: str) -> float | None:
    """The least value of a limit (ms) with which there is a plan; None if no value helps."""
    free = advised(network, msgspec.structs.replace(demands, **{field: None}))
    if free is None:
        return None
    low, high = 0.0, _reached(network, demands, free, field)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if advised(network, msgspec.structs.replace(demands, **{field: middle})) is None:
            low = middle
        else:
            high = middle
    return high


def _reached(network: Network, demands: Demands, plan: Plan, field: str) -> float:
    deployment = plan.deployment(network, lease=demands.lease)
    if field == "write_within_ms":
        return max(deployment.write_mean(client) for client in demands.clients)
    return max(deployment.read_mean(client, demands.model) for client in demands.clients)


# -- instead --------------------------------------------------------------------------------------


def _instead(network: Network, demands: Demands) -> Iterator[str]:
    """Each demand that would have to be given up alone, and what there is then."""
    for words, changes in _relaxations(demands):
        relaxed = msgspec.structs.replace(demands, **changes)
        plan = advised(network, relaxed)
        if plan is not None:
            yield f"{words}: {describe(network, relaxed, plan)}"
    for field, option in (("write_within_ms", "--write-within"), ("read_within_ms", "--read-within")):
        if getattr(demands, field) is not None:
            least = least_limit(network, demands, field)
            if least is not None:
                yield f"{option} {_rounded_up(least)}"


def _relaxations(demands: Demands) -> Iterator[tuple[str, dict[str, object]]]:
    if demands.nodes is not None and demands.nodes < least_nodes(demands):
        yield f"--nodes {least_nodes(demands)}", {"nodes": least_nodes(demands)}
    elif demands.nodes is not None:
        yield "without --nodes", {"nodes": None}
    if demands.survive_site:
        yield "without --survive-site", {"survive_site": False}
    for survive in range(demands.survive - 1, -1, -1):
        yield f"with --survive {survive}", {"survive": survive}
    if demands.model == LINEARIZABLE and demands.read_within_ms is not None:
        yield f"with --model {STALE}", {"model": STALE, "clock_drift_permille": None}


def describe(network: Network, demands: Demands, plan: Plan) -> str:
    """A plan in a few words."""
    deployment = plan.deployment(network, lease=demands.lease)
    places = ", ".join(network.sites[site] for site in plan.replicas)
    slowest = max(deployment.write_mean(client) for client in demands.clients)
    return f"{plan.nodes} replicas, {places} (the first leads), writes in {slowest:.4g} ms at most on average"


def _rounded_up(value: float) -> str:
    return f"{value + 0.05:.1f}"
