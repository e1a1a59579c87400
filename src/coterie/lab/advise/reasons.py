"""Each choice in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from coterie.core.quorum import majority
from coterie.lab.advise.capacity import Capacity
from coterie.lab.advise.demands import Demands, counted
from coterie.lab.advise.search import Plan
from coterie.lab.advise.timing import Timing
from coterie.lab.latency.deployment import LINEARIZABLE, SESSION
from coterie.lab.network.network import Network


def reasons(
    network: Network, demands: Demands, plan: Plan, timing: Timing, limits: Capacity, protocol: str
) -> Iterator[tuple[str, str, str]]:
    """(what, the choice, why)."""
    yield "replicas", *_replicas(network, demands, plan)
    yield "leader", *_leader(network, demands, plan)
    yield "quorums", *_quorums(plan)
    yield "reads", *_reads(network, demands, plan)
    yield (
        "timeouts",
        f"election {timing.election_timeout_ms} ms, heartbeat {timing.heartbeat_interval_ms} ms",
        (timing.sentence(network)),
    )
    batch = f"batch {limits.max_batch_bytes // 1024} KiB, in flight {limits.max_inflight_bytes // 1024} KiB"
    yield "batch and window", batch, limits.sentence(network)


def places(network: Network, plan: Plan) -> str:
    """The sites, with how many stand in each; the leader's first."""
    counted = Counter(plan.replicas)
    return ", ".join(network.sites[site] + (f" x{count}" if count > 1 else "") for site, count in counted.items())


def _replicas(network: Network, demands: Demands, plan: Plan) -> tuple[str, str]:
    need = 2 * demands.survive + 1
    if demands.nodes is not None:
        why = f"{plan.nodes} were asked for"
    elif plan.nodes == need:
        why = f"to survive {counted(demands.survive, 'failure')} takes 2 x {demands.survive} + 1 = {need}, no more"
    else:
        enough = f"{need} would do for {counted(demands.survive, 'failure')} alone"
        why = f"fewer than {plan.nodes} do not do what is demanded ({enough})"
    if demands.survive_site:
        why += "; no site has so many that the others could not elect and commit"
    elif len(set(plan.replicas)) == 1 and len(network.sites) > 1:
        why += "; they stand in one site, for only machines were said to fail: if the site may, say --survive-site"
    return f"{plan.nodes}: {places(network, plan)}", why


def _leader(network: Network, demands: Demands, plan: Plan) -> tuple[str, str]:
    home = network.sites[plan.replicas[0]]
    why = (
        "of all placements, leaders and quorum sizes that are allowed this has the least mean latency, "
        f"{plan.mean_ms:.4g} ms; after a fail-over another leads, so transfer it back"
    )
    if plan.nodes == 1:
        why = f"there is one; of all sites this has the least mean latency, {plan.mean_ms:.4g} ms"
    return home, why


def _quorums(plan: Plan) -> tuple[str, str]:
    choice = f"{plan.phase_1} elect, {plan.phase_2} commit"
    if plan.phase_1 == plan.phase_2 == majority(plan.nodes):
        return (
            choice,
            "majorities: with as many failures to survive, no smaller quorum that commits is allowed or quicker",
        )
    return choice, (
        f"a write waits for {plan.phase_2} disks and not for {majority(plan.nodes)}; every {plan.phase_1} meet every "
        f"{plan.phase_2} (Flexible Paxos). A leader that lives goes on without {plan.nodes - plan.phase_2}, but one is "
        f"elected without {plan.nodes - plan.phase_1} at most"
    )


def _reads(network: Network, demands: Demands, plan: Plan) -> tuple[str, str]:
    if demands.lease:
        return "linearizable, by a lease", (
            f"you vouch for clocks that differ by {demands.clock_drift_permille} thousandths in rate at most, so the "
            "leader answers alone; the price is a fail-over no sooner than the lease"
        )
    if demands.model == LINEARIZABLE:
        return "linearizable, by the read index", (
            "the leader asks a quorum whether it still leads: no clock is trusted. With --clock-drift it would "
            "answer alone"
        )
    what = "its own writes and nothing older than it saw" if demands.model == SESSION else "what the nearest member has"
    return demands.model, f"a reader wants {what}, so the nearest member answers alone"
