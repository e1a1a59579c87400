"""How long a cluster whose leader fails serves no writes: Coterie beside etcd, both with their defaults.

    python bench/compare.py --work failover --peer etcd [--fault kill|stop|cut] [--trials 20] [--json]

Three faults: `kill`, SIGKILL of the leader's process; `stop`, SIGSTOP of it; `cut`, the leader's host loses its
network (`coterie/torture/namespaces.py`; needs root, skipped with the reason where it cannot be had). A trial: probes
write through all members (see `probes.py`); after half a second to a second, drawn at random so that the fault falls
anywhere between two heartbeats, the fault strikes whoever leads; the time from just before it to the first
acknowledgement of a write that was begun after it is the trial's figure. Then the fault is mended, the cluster is
waited for (all members answer, agree on the leader and are up to date), and every write that was acknowledged is read
back.

The trials are in rounds, one cluster up at a time; every second round begins with the other system. For Coterie a
client of its own kind, with the endpoints of all members, writes one key after another beside the probes: `our_client`
is what it sees.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import msgspec

from coterie.torture.cluster import Cluster
from coterie.torture.coterie_members import CoterieCluster
from coterie.torture.hosts import Host, local_hosts
from coterie.torture.namespaces import Network, NoNamespaces, network
from measure import scratch_directory
from probes import Follower, Probe, Watch, end, running

FAULTS = ("kill", "stop", "cut")
TRIALS = 20
NODES = 3
ROUND = 5
"""Trials of one cluster before it is the other's turn."""
SERVING_LIMIT_S = 30.0
OUTAGE_LIMIT_S = 30.0
"""A trial in which nothing is acknowledged for so long counts as this, and as unserved."""
CLIENT_LIMIT_S = 10.0
"""How much longer the native client is waited for."""
CALM_S = (0.5, 1.0)
AFTER_S = 0.05
"""The probes go on for so long once the system serves again: those writes must not be lost either."""


class Trial(msgspec.Struct, frozen=True):
    """One failure. Times in seconds."""

    outage: float
    client_outage: float | None
    """As the native client saw it; None if none was measured."""
    served: bool
    acknowledged: dict[bytes, bytes]


class Tally(msgspec.Struct):
    """All trials of one system under one fault."""

    outages: list[float] = []
    client_outages: list[float] = []
    acknowledged: int = 0
    lost: int = 0
    unserved: int = 0


class Fault(msgspec.Struct, frozen=True):
    """What befalls the leader, and how that is undone."""

    strike: Callable[[Cluster, int], None]
    mend: Callable[[Cluster, int], None]


def _fault(name: str, hosts: Network | None) -> Fault:
    if name == "kill":
        return Fault(lambda cluster, i: cluster.kill(i), lambda cluster, i: cluster.restart(i))
    if name == "stop":
        return Fault(lambda cluster, i: cluster.pause(i), lambda cluster, i: cluster.resume(i))
    assert hosts is not None
    return Fault(lambda _, i: hosts.cut(i), lambda _, i: hosts.heal(i))


async def _strike(cluster: Cluster, fault: Fault, prefix: bytes, rng: random.Random) -> tuple[int, Trial]:
    """Who led and was struck, and what was seen."""
    watch, client_watch = Watch(), Watch()
    probes = [Probe(await cluster.writer(i), prefix + b"%d/" % (i + 1), watch) for i in range(len(cluster.hosts))]
    native = cluster.native_writer()
    if native is not None:
        probes.append(Follower(native, prefix + b"c/", client_watch))
    tasks = await running(probes, rng, SERVING_LIMIT_S)
    try:
        await asyncio.sleep(rng.uniform(*CALM_S))
        leader = await asyncio.to_thread(cluster.leader)
        before = time.monotonic()
        fault.strike(cluster, leader)
        struck = time.monotonic()
        watch.struck(struck)
        client_watch.struck(struck)
        back = await watch.back(OUTAGE_LIMIT_S)
        client_back = None
        if native is not None:
            client_back = await client_watch.back(CLIENT_LIMIT_S)
        await asyncio.sleep(AFTER_S)
    finally:
        await end(tasks)
    outage = OUTAGE_LIMIT_S if back is None else back - before
    client_outage = None
    if native is not None:
        client_outage = outage + CLIENT_LIMIT_S if client_back is None else client_back - before
    written = watch.acknowledged | client_watch.acknowledged
    return leader, Trial(outage, client_outage, back is not None, written)


def _lost(cluster: Cluster, prefix: bytes, acknowledged: dict[bytes, bytes]) -> int:
    """How many acknowledged writes are not there, or not as they were written."""
    return missing(acknowledged, cluster.read(prefix, prefix[:-1] + bytes([prefix[-1] + 1])))


def missing(acknowledged: Mapping[bytes, bytes], found: Mapping[bytes, bytes]) -> int:
    """How many of the first are not in the second, with the same value."""
    return sum(found.get(key) != value for key, value in acknowledged.items())


def _round(
    runner: asyncio.Runner, cluster: Cluster, hosts: Sequence[Host], fault: Fault, trials: int, tally: Tally, label: str
) -> None:
    """Start the cluster, strike it so many times, stop it."""
    rng = random.Random()
    written: dict[bytes, bytes] = {}
    with scratch_directory() as scratch:
        try:
            cluster.start(scratch, hosts)
            for number in range(trials):
                prefix = b"trial/%03d/" % number
                leader, trial = runner.run(_strike(cluster, fault, prefix, rng))
                fault.mend(cluster, leader)
                began = time.monotonic()
                cluster.wait_whole()
                whole = time.monotonic() - began
                lost = _lost(cluster, prefix, trial.acknowledged)
                written |= trial.acknowledged
                tally.outages.append(trial.outage)
                if trial.client_outage is not None:
                    tally.client_outages.append(trial.client_outage)
                tally.acknowledged += len(trial.acknowledged)
                tally.lost += lost
                tally.unserved += not trial.served
                seen = f", the client {trial.client_outage:.3f} s" if trial.client_outage is not None else ""
                say(
                    f"  {label:12} {len(tally.outages):3}  {trial.outage:7.3f} s{seen}; whole after {whole:.1f} s; "
                    f"{len(trial.acknowledged)} writes acknowledged, {lost} lost"
                )
            # Once more, after all that befell the cluster later; each of these was there in its own trial.
            again = _lost(cluster, b"trial/", written)
            if again > 0:
                say(f"  {label}: {again} of {len(written)} acknowledged writes are gone at the round's end")
                tally.lost = max(tally.lost, again)
        finally:
            cluster.stop()


def _measure(
    runner: asyncio.Runner, name: str, peer: Cluster, ours: Cluster, trials: int, hosts: Network | None
) -> dict[str, object]:
    """The row of one fault."""
    tallies = {peer.name: Tally(), ours.name: Tally()}
    fault = _fault(name, hosts)
    rounds = [min(ROUND, trials - first) for first in range(0, trials, ROUND)]
    for number, size in enumerate(rounds):
        say(f"{name}: round {number + 1} of {len(rounds)}")
        for cluster in (peer, ours) if number % 2 == 0 else (ours, peer):
            places = hosts.hosts if hosts is not None else local_hosts(NODES)
            label = f"{cluster.name} {name}"
            _round(runner, cluster, places, fault, size, tallies[cluster.name], label)
    return row(peer.name, name, tallies[ours.name], tallies[peer.name])


def row(peer: str, fault: str, ours: Tally, peers: Tally) -> dict[str, object]:
    """The figures of one fault. Times in seconds."""
    our_median, peer_median = statistics.median(ours.outages), statistics.median(peers.outages)
    return {
        "peer": peer,
        "work": "failover",
        "fault": fault,
        "trials": len(ours.outages),
        "ours": round(our_median, 4),
        "peers": round(peer_median, 4),
        "ratio": round(our_median / peer_median, 4),
        "our_worst": round(max(ours.outages), 4),
        "peer_worst": round(max(peers.outages), 4),
        "our_client": round(statistics.median(ours.client_outages), 4),
        "our_client_worst": round(max(ours.client_outages), 4),
        "our_acknowledged": ours.acknowledged,
        "peer_acknowledged": peers.acknowledged,
        "our_lost": ours.lost,
        "peer_lost": peers.lost,
        "our_unserved": ours.unserved,
        "peer_unserved": peers.unserved,
        "our_trials_s": [round(each, 4) for each in ours.outages],
        "peer_trials_s": [round(each, 4) for each in peers.outages],
    }


def skipped(peer: str, fault: str, reason: str) -> dict[str, object]:
    """The row of a fault that cannot be had on this machine."""
    figures = {"trials": 0, "ours": None, "peers": None, "ratio": None}
    return {"peer": peer, "work": "failover", "fault": fault, **figures, "skipped": reason}


def compare(faults: Sequence[str], trials: int, protocol: str) -> list[dict[str, object]]:
    """A row a fault. Raises `Missing`, `ClusterFailed`, `RuntimeError`, `TimeoutError`."""
    from coterie.torture.etcd_members import EtcdCluster  # raises Missing where grpcio is not installed

    rows = []
    with asyncio.Runner() as runner:
        for name in faults:
            peer, ours = EtcdCluster(), CoterieCluster(protocol)
            with ExitStack() as stack:
                hosts = None
                if name == "cut":
                    try:
                        hosts = stack.enter_context(network(NODES))
                    except NoNamespaces as error:
                        say(f"cut: skipped: {error}")
                        rows.append(skipped(peer.name, name, str(error)))
                        continue
                rows.append(_measure(runner, name, peer, ours, trials, hosts))
    return rows


def show(rows: Sequence[dict[str, object]]) -> None:
    """A table for people."""
    names = (
        "fault",
        "trials",
        "ours",
        "peers",
        "ratio",
        "our_worst",
        "peer_worst",
        "our_client",
        "our_lost",
        "peer_lost",
    )
    print("  ".join(f"{name:>10}" for name in names))
    for each in rows:
        print("  ".join(f"{'-' if (value := each.get(name)) is None else str(value):>10}" for name in names))
        if "skipped" in each:
            print(f"{each['fault']} was skipped: {each['skipped']}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
