"""Both protocols in real processes on this machine: what an operation costs with real processors, disks, sockets."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from coterie.client.config import ClientConfig
from coterie.client.load import Load, LoadOptions, LoadResult
from coterie.core.errors import CoterieError
from coterie.lab.compare.section import Extent, Section
from coterie.lab.compare.subjects import SHIPPED
from coterie.lab.errors import LabError
from coterie.lab.experiment import Cell, Claim, Figure, Table
from coterie.lab.reports.plots import COLOURS, HATCHES, plot
from coterie.runtime.event_loop import new_event_loop
from coterie.torture.coterie_members import CoterieCluster
from coterie.torture.errors import ClusterFailed, Missing
from coterie.torture.hosts import local_hosts
from coterie.torture.server_cpu import ServerCpu

VALUE_BYTES: Final = 256
MANY: Final = 64
"""Operations in flight."""
ALIKE: Final = 2.0
"""Processor time of one protocol as a multiple of the other's, at most: machines are noisy, rates even more."""
SHARED: Final = 1.3
"""How much cheaper an operation is, at least, when many are under way."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement: medians over the rounds."""

    protocol: str
    members: int
    work: str
    """`put`, `get`, or `get at a follower`: every client asks one member that does not lead."""
    in_flight: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float | None
    """Of all servers together, for one operation."""
    errors: int


WORK: Final = (("put", 1, False), ("put", MANY, False), ("get", MANY, False), ("get", MANY, True))
"""What is measured: operation, how many in flight, whether at a follower."""


def measured(protocol: str, members: int, seconds: float, work: Sequence[tuple[str, int, bool]]) -> list[Sample]:
    """Start a cluster, measure, stop it. Raises `LabError` if it does not come up, or serves nothing."""
    cluster = CoterieCluster(protocol)
    with tempfile.TemporaryDirectory(prefix="coterie-lab-") as scratch:
        try:
            cluster.start(Path(scratch), local_hosts(members))
            leader = cluster.leader()
            follower = next(cluster.hosts[i].client for i in cluster.members if i != leader)
            return [
                _sample(protocol, cluster, op, in_flight, seconds, follower if at_follower else "")
                for op, in_flight, at_follower in work
            ]
        except (ClusterFailed, Missing, TimeoutError, OSError) as error:
            raise LabError(f"{protocol} with {members} processes: {error}") from error
        except CoterieError as error:
            raise LabError(f"{protocol} with {members} processes served nothing: {error}") from error
        finally:
            cluster.stop()


def _sample(protocol: str, cluster: CoterieCluster, op: str, in_flight: int, seconds: float, only: str) -> Sample:
    options = LoadOptions(
        endpoints=only or cluster.endpoints,
        op=op,
        in_flight=in_flight,
        value_bytes=VALUE_BYTES,
        seconds=seconds,
        config=ClientConfig(name="coterie-lab", follow_members=not only),
    )
    cpu = ServerCpu(cluster.pids)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        result = runner.run(_load(options, cpu))
    used = cpu.microseconds()
    return Sample(
        protocol=protocol,
        members=len(cluster.members),
        work=f"{op} at a follower" if only else op,
        in_flight=in_flight,
        rate=result.done / result.seconds,
        p50_ms=result.latencies.quantile(0.5) / 1e6,
        p99_ms=result.latencies.quantile(0.99) / 1e6,
        cpu_us=used / result.done if used is not None and result.done else None,
        errors=result.errors,
    )


async def _load(options: LoadOptions, cpu: ServerCpu) -> LoadResult:
    return await Load(options, begun=cpu.begin, ended=cpu.look).run()


def _middle(samples: Sequence[Sample]) -> Sample:
    """The medians of some rounds of the same."""
    cpus = [sample.cpu_us for sample in samples if sample.cpu_us is not None]
    return msgspec.structs.replace(
        samples[0],
        rate=median(sample.rate for sample in samples),
        p50_ms=median(sample.p50_ms for sample in samples),
        p99_ms=median(sample.p99_ms for sample in samples),
        cpu_us=median(cpus) if cpus else None,
        errors=sum(sample.errors for sample in samples),
    )


def processes(extent: Extent, tell: Callable[[float, str], None] = lambda done, what: None) -> Section:
    """Both protocols in every size; every second round begins with the other one. `tell` hears how far it is."""
    seconds, rounds = (0.7, 1) if extent.quick else (4.0, 3)
    order = [subject.name for subject in SHIPPED]
    found: dict[tuple[str, int, str, int], list[Sample]] = {}
    runs = [(number, members) for number in range(rounds) for members in extent.sizes]
    for place, (number, members) in enumerate(runs):
        for half, protocol in enumerate(order if number % 2 == 0 else order[::-1]):
            tell((place + half / 2) / len(runs), f"{members} processes of {protocol}")
            work = WORK if members == extent.sizes[0] or not extent.quick else WORK[1:2]
            for sample in measured(protocol, members, seconds, work):
                found.setdefault((protocol, members, sample.work, sample.in_flight), []).append(sample)
    samples = [_middle(each) for each in found.values()]
    return Section(
        name="processes",
        claims=judge(samples),
        parts=[_table(samples, seconds, rounds), _figure(samples)],
        data={"seconds": seconds, "rounds": rounds, "cores": os.cpu_count(), "samples": msgspec.to_builtins(samples)},
    )


def judge(samples: list[Sample]) -> list[Claim]:
    """What can be said of one machine that clients and servers share."""
    by = {(s.protocol, s.members, s.work, s.in_flight): s for s in samples}
    sizes = sorted({s.members for s in samples})
    small, large = sizes[0], sizes[-1]
    names = sorted({s.protocol for s in samples})
    ratios = {}
    for members in sizes:
        used = [by[name, members, "put", MANY].cpu_us or float("nan") for name in names]
        ratios[members] = max(used) / min(used)
    one = {name: by[name, small, "put", 1].cpu_us or 0.0 for name in names}
    many = {name: by[name, small, "put", MANY].cpu_us or 0.0 for name in names}
    most = {name: by[name, large, "put", MANY].cpu_us or 0.0 for name in names}
    followers = [by[name, small, "get at a follower", MANY] for name in names]
    errors = sum(sample.errors for sample in samples)
    return [
        Claim(
            id="processes-alike",
            expected=f"what a put costs the servers differs between the protocols by a factor of at most {ALIKE:g}",
            measured=", ".join(f"N={members} {ratio:.2f}" for members, ratio in ratios.items()),
            agrees=all(ratio <= ALIKE for ratio in ratios.values()),
            why=f"{MANY} puts in flight; the engine, the log and the transport are the same code",
        ),
        Claim(
            id="processes-share-batches",
            expected=f"with {MANY} puts in flight one costs the servers at most 1/{SHARED:g} of what a lone one costs",
            measured=", ".join(f"{name} {many[name]:.0f} of {one[name]:.0f} µs" for name in names),
            agrees=all(0 < many[name] * SHARED <= one[name] for name in names),
            why=f"N={small}: what came together is one entry, one write, one message to each follower",
        ),
        Claim(
            id="processes-cpu-of-more-nodes",
            expected=f"with {large} nodes a put costs the servers more processor time than with {small}",
            measured=", ".join(f"{name} {most[name]:.0f} and {many[name]:.0f} µs" for name in names),
            agrees=all(most[name] > many[name] > 0 for name in names),
            why="every member takes in, writes and applies every command",
        ),
        Claim(
            id="processes-followers-serve",
            expected="linearizable reads at a follower are all answered",
            measured=", ".join(f"{s.protocol} {s.rate:,.0f}/s, {s.errors} errors" for s in followers),
            agrees=all(s.rate > 0 and not s.errors for s in followers),
            why="a follower asks the leader for an index, and answers from its own state",
        ),
        Claim(
            id="processes-no-errors",
            expected="no operation fails",
            measured=f"{errors} errors",
            agrees=errors == 0,
            why="nothing was broken while this was measured",
        ),
    ]


def _table(samples: list[Sample], seconds: float, rounds: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for s in sorted(samples, key=lambda s: (s.members, s.work, s.in_flight, s.protocol)):
        cpu = round(s.cpu_us, 1) if s.cpu_us is not None else None
        rows.append((s.members, s.work, s.in_flight, s.protocol, round(s.rate), round(s.p50_ms, 2), cpu))
    columns = ("nodes", "work", "in flight", "", "a second", "p50 ms", "CPU µs")
    title = (
        f"Real processes on this machine ({os.cpu_count()} cores, clients included): {VALUE_BYTES}-byte values, "
        f"{seconds:g} s, medians of {rounds}"
    )
    return Table(title=title, columns=columns, rows=tuple(rows))


def _figure(samples: list[Sample]) -> Figure:
    def draw(figure: Any) -> None:
        sizes = sorted({s.members for s in samples})
        for place, (field, label) in enumerate((("rate", "puts a second"), ("cpu_us", "CPU of all servers, µs a put"))):
            axes = figure.add_subplot(1, 2, place + 1)
            for number, subject in enumerate(SHIPPED):
                mine = [s for s in samples if (s.protocol, s.work, s.in_flight) == (subject.name, "put", MANY)]
                heights = {s.members: getattr(s, field) or 0.0 for s in mine}
                where = [group + (number - 0.5) * 0.36 for group in range(len(sizes))]
                axes.bar(
                    where,
                    [heights.get(size, 0.0) for size in sizes],
                    0.34,
                    color=COLOURS[number],
                    hatch=HATCHES[number],
                    edgecolor="white",
                    label=subject.title if not place else None,
                )
            axes.set_xticks(range(len(sizes)), [f"{size} nodes" for size in sizes])
            axes.set_ylabel(label)
            axes.grid(visible=False, axis="x")
        figure.legend(loc="outside upper center", ncols=2)

    title = f"Real processes: {MANY} puts in flight"
    note = "All processes share this machine's cores, so more nodes are slower here than on machines of their own."
    return Figure(title=title, draw=lambda: plot(draw, height=3.2), note=note)
