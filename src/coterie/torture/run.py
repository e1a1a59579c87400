"""One run: a cluster of real processes, clients, faults, the verdict."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from coterie.check import Operation
from coterie.torture.clients import Clients, Connect, History
from coterie.torture.cluster import Cluster
from coterie.torture.coterie_members import CoterieCluster
from coterie.torture.disks import NoSmallDisks, small_disks
from coterie.torture.errors import ClusterFailed
from coterie.torture.havoc import Havoc
from coterie.torture.judging import judge
from coterie.torture.network import Joint, joint
from coterie.torture.report import (
    NANOS,
    UNAVAILABLE_S,
    EndedMember,
    FaultWindow,
    Report,
    Window,
    figures_of,
    gaps,
    longest,
    seconds,
    throughput,
)
from coterie.torture.schedule import plan
from coterie.torture.stores import CoterieStore, EtcdStore, Refused, Store, Unsure
from coterie.torture.watchers import Watchers

DISK_MIB: Final = 128
"""Of a member's own small file system; it takes memory only as it is filled."""
LAST_READER: Final = -1
"""The process that reads all once more at the end."""
SPARE_HOSTS: Final = 1
"""Where a new member goes."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    seconds: float
    """With faults."""
    seed: int
    system: str = "coterie"
    """Or `etcd`."""
    protocol: str = ""
    nodes: int = 3
    kinds: tuple[str, ...] = ()
    """Of faults."""


class Progress(msgspec.Struct, frozen=True):
    """How far a run is, for whoever shows it."""

    seconds: float
    operations: int
    unknown: int
    elections: int
    faults: int
    now: str
    """What befalls the cluster at present."""


class Finished(msgspec.Struct, frozen=True):
    """A run that came to its end."""

    report: Report
    history: list[Operation]


def torture(wanted: Wanted, show: Callable[[Progress], None]) -> Finished:
    """All of it. Raises `Missing` where this machine lacks what is needed, `ClusterFailed` and `TimeoutError` if the
    cluster did not even begin."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coterie-torture-")))
        cluster = _cluster(wanted)
        joined = stack.enter_context(joint(wanted.nodes + SPARE_HOSTS, relays=wanted.system == "coterie"))
        if isinstance(cluster, CoterieCluster):
            cluster.relays = joined.relays
        skipped = _skipped(wanted, joined, cluster, scratch, stack)
        administrator = stack.enter_context(ThreadPoolExecutor(1, "torture administrator"))
        stack.callback(cluster.stop)
        cluster.start(scratch, joined.hosts, SPARE_HOSTS)
        return _run(wanted, cluster, joined, administrator, skipped, show)


def _cluster(wanted: Wanted) -> Cluster:
    if wanted.system == "coterie":
        return CoterieCluster(wanted.protocol)
    from coterie.torture.etcd_members import EtcdCluster  # raises Missing where grpcio is not installed

    return EtcdCluster()


def _skipped(wanted: Wanted, joined: Joint, cluster: Cluster, scratch: Path, stack: ExitStack) -> dict[str, str]:
    """The kinds of faults that cannot be had, and why. Gives the members small disks, if they are to be filled."""
    skipped = {kind: reason for kind, reason in joined.lacks.items() if kind in wanted.kinds}
    if "disk-full" in wanted.kinds:
        try:
            disks = stack.enter_context(small_disks(scratch, len(joined.hosts), DISK_MIB))
        except NoSmallDisks as error:
            skipped["disk-full"] = str(error)
        else:
            cluster.disks = dict(enumerate(disks))
    return skipped


def _run(
    wanted: Wanted,
    cluster: Cluster,
    joined: Joint,
    administrator: ThreadPoolExecutor,
    skipped: dict[str, str],
    show: Callable[[Progress], None],
) -> Finished:
    kinds = [kind for kind in wanted.kinds if kind not in skipped]
    watchers = Watchers(cluster)
    havoc = Havoc(cluster, joined, watchers.leader, administrator)
    clients = Clients(_connector(cluster), wanted.seed)
    start, began = time.monotonic_ns(), time.monotonic()

    def tick() -> None:
        lasting = ", ".join(f"{band.kind} {band.member}" for band in havoc.bands if not band.end)
        history = clients.history
        show(
            Progress(
                time.monotonic() - began,
                len(history.operations),
                history.unknown,
                watchers.elections,
                len(havoc.bands),
                lasting,
            )
        )

    with _running(watchers, clients):
        havoc.run(plan(wanted.seed, wanted.seconds, kinds), began, tick)
        havoc.wait(began + wanted.seconds, tick)
        trouble = _trouble(cluster)
    end = time.monotonic_ns()
    if not trouble:
        asyncio.run(_last_reads(_connector(cluster), clients.history))
    verdict = judge(clients.history.operations)
    report = _report(wanted, joined, havoc, watchers, clients.history, skipped, start, end, verdict, trouble)
    return Finished(report, clients.history.operations)


@contextmanager
def _running(watchers: Watchers, clients: Clients) -> Iterator[None]:
    """Watchers and clients, which end whatever happens."""
    watchers.start()
    clients.start()
    try:
        yield
    finally:
        clients.stop()
        watchers.stop()


def _trouble(cluster: Cluster) -> str:
    """Wait until all is well after the last fault; what is not, if it does not come to that."""
    try:
        cluster.wait_whole()
    except (TimeoutError, ClusterFailed) as error:
        return str(error)
    return ""


def _connector(cluster: Cluster) -> Connect:
    """Makes clients: of Coterie they know all members, of etcd each asks one."""

    async def connect(number: int) -> Store:
        if isinstance(cluster, CoterieCluster):
            return await CoterieStore.connect(cluster.endpoints, f"torture {number}")
        return EtcdStore(cluster, number)

    return connect


async def _last_reads(connect: Connect, history: History) -> None:
    """Read once more every key that was written last, so that no write is lost unseen."""
    keys = sorted({operation.key for operation in history.operations if isinstance(operation.key, str)})
    store = await connect(0)
    try:
        for key in keys:
            start = time.monotonic_ns()
            try:
                value = await store.read(key)
            except (Refused, Unsure):
                continue
            history.operations.append(
                Operation(process=LAST_READER, f="read", key=key, result=value, start=start, end=time.monotonic_ns())
            )
    finally:
        await store.close()


def _report(
    wanted: Wanted,
    joined: Joint,
    havoc: Havoc,
    watchers: Watchers,
    history: History,
    skipped: dict[str, str],
    start: int,
    end: int,
    verdict: tuple[str, str],
    trouble: str,
) -> Report:
    found = gaps(history.acknowledged, start, end)
    return Report(
        system=wanted.system,
        protocol=wanted.protocol,
        seed=wanted.seed,
        seconds=seconds(end, start),
        verdict=verdict[0],
        reason=verdict[1],
        whole=not trouble,
        trouble=trouble,
        operations=len(history.operations),
        acknowledged_writes=len(history.acknowledged),
        unknown=history.unknown,
        refused=history.refused,
        elections=watchers.elections,
        network=joined.kind,
        faults=figures_of(havoc.bands, found),
        passed_over=havoc.passed_over,
        ended_by_themselves=[
            EndedMember(death.member, seconds(death.at, start), death.last_words) for death in havoc.deaths
        ],
        unfinished_changes=sum(not band.done for band in havoc.bands),
        skipped=skipped,
        longest_gap_s=seconds(longest(found, start, end), 0),
        unavailable=[
            Window(seconds(begin, start), seconds(stop, start))
            for begin, stop in found
            if stop - begin >= UNAVAILABLE_S * NANOS
        ],
        timeline=[
            FaultWindow(band.kind, band.member, seconds(band.start, start), seconds(band.end, start))
            for band in havoc.bands
        ],
        throughput=throughput(history.acknowledged, start, end),
    )
