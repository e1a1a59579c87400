"""A long run: does the log stay small, does memory stay bounded, do writes never pause, is a restart quick?

    python bench/endurance.py [--bytes 1G | --seconds 600] [--history 10000] [--json] [--out DIR]

Starts three nodes with `coterie up`, loads them with the load of `coterie bench put` (see `steady_puts.py`) until so
many bytes of keys and values are written, and looks once a second at every node: log, snapshots and store on disk,
resident memory; at the load: the rate and the longest pause between two acknowledgements. Then it kills a follower with
SIGKILL and starts it again, some times, and measures how long from the start of the process until it has applied all
that was committed. Writes `endurance.json` (figures and samples) and `endurance.html` (plots) to DIR.

`log_limit`: a node takes a snapshot once its log has `snapshot_log_bytes`, and `snapshot_log_ratio` times the bytes of
its last snapshot; what follows a snapshot is a log of `snapshot_keep_entries` entries, rounded up to whole segments;
so the log may have the first plus the second and two segments (the one that is written, and the one that is half
needed) while the snapshot is written. The limit is that sum with the biggest snapshot seen, `log_ok` whether no log
was ever bigger.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from coterie.cli.cluster_file import LocalNode, read_cluster, write_cluster
from coterie.cli.node_process import start_node
from coterie.client.one_status import ask_status
from coterie.core.errors import CoterieError
from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.core.settings import Settings
from coterie.engine.protocol import NodeStatus
from coterie.storage.log_store import DEFAULT_SEGMENT_BYTES
from measure import ROOT, VALUE_BYTES, Missing, cpu_seconds, machine, scratch_directory, wait_until
from node_samples import NodeSample, nodes_of, sample
from peer_coterie import Coterie
from plots import Chart, Series, page
from steady_puts import Moment, bytes_of, moments, size, steady_puts

BYTES = 10**9
HISTORY = 10_000
RESTARTS = 3
RESTART_TIMEOUT_S = 300.0
MB = 1e6
PER_MB = 100
"""Restarts are given per so many MB of log."""


class Sample(msgspec.Struct, frozen=True):
    """The load and every node, at the end of one second."""

    seconds: float
    """Since the load began."""
    puts: int
    rate: float
    """Puts a second, in this second."""
    pause_ms: float
    late_ms: float
    nodes: tuple[NodeSample, ...]


class Restart(msgspec.Struct, frozen=True):
    """One restart."""

    log_bytes: int
    """What was on disk when it began."""
    seconds: float
    """From the start of the process until it had applied what was committed then."""


def watch(child: subprocess.Popen[bytes], nodes: Sequence[LocalNode]) -> tuple[list[Sample], int]:
    """Sample until the load ends; the samples, and how many puts failed."""
    samples: list[Sample] = []
    began: float | None = None
    last: Moment | None = None
    for moment in moments(child):
        elapsed = moment.at - last.at if last is not None else 1.0
        began = moment.at - elapsed if began is None else began
        rate = (moment.puts - (last.puts if last is not None else 0)) / elapsed
        now = Sample(
            seconds=moment.at - began,
            puts=moment.puts,
            rate=rate,
            pause_ms=moment.pause_ms,
            late_ms=moment.late_ms,
            nodes=tuple(sample(node) for node in nodes),
        )
        last = moment
        samples.append(now)
        log = max(each.log for each in now.nodes) / MB
        snapshots = max(len(each.snapshot_names) for each in now.nodes)
        say(
            f"  {now.seconds:6.0f} s  {rate:8.0f} puts/s  longest pause {now.pause_ms:6.1f} ms  log {log:7.1f} MB  "
            f"{snapshots} snapshots  memory {max(each.own_memory for each in now.nodes) / MB:6.1f} MB"
        )
    if last is None:
        raise RuntimeError("the load said nothing")
    return samples, last.errors


def log_limit(settings: Settings, newest_snapshot: int, entry_bytes: float) -> int:
    """See the module's docstring."""
    trigger = max(settings.snapshot_log_bytes, settings.snapshot_log_ratio * newest_snapshot)
    return trigger + int(settings.snapshot_keep_entries * entry_bytes) + 2 * DEFAULT_SEGMENT_BYTES


def status_of(node: LocalNode) -> NodeStatus:
    """What a node says of itself. Raises `RuntimeError` if it does not answer."""
    status = ask_status(node.client)
    if status is None:
        raise RuntimeError(f"{node.name} does not answer")
    return status


def restart(directory: Path, node: LocalNode, committed: int) -> Restart:
    """Kill the node, start it, wait until it has applied `committed`."""
    os.kill(node.pid, signal.SIGKILL)
    wait_until(lambda: not _runs(node.pid), 30, f"{node.name} ends")
    log_bytes = sample(node).log
    began = time.monotonic()
    process = start_node(directory, node.name)
    cluster = read_cluster(directory)
    assert cluster is not None
    pids = {each.name: each.pid for each in cluster.nodes} | {node.name: process.pid}
    write_cluster(directory, cluster.with_pids(pids))  # so that `coterie down` knows it

    def caught_up() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{node.name} ended at its start with {process.returncode}")
        status = ask_status(node.client)
        return status is not None and status.applied >= committed

    wait_until(caught_up, RESTART_TIMEOUT_S, f"{node.name} has caught up")
    return Restart(log_bytes, time.monotonic() - began)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def restarts(directory: Path, count: int) -> list[Restart]:
    """Restart one follower so many times."""
    statuses = {node.name: status_of(node) for node in nodes_of(directory)}
    leader = next((status for status in statuses.values() if status.member == status.leader), None)
    if leader is None:
        raise RuntimeError("nobody leads after the load")
    name = next(name for name, status in statuses.items() if status is not leader)
    done = []
    for number in range(count):
        node = next(node for node in nodes_of(directory) if node.name == name)
        done.append(restart(directory, node, leader.commit))
        log = done[-1].log_bytes / MB
        say(f"  restart {number + 1} of {name}: {done[-1].seconds:.2f} s, with {log:.1f} MB of log")
    return done


def settings_of(cluster: Coterie) -> Settings:
    """The cluster's settings, or the defaults where `coterie settings` is not to be had."""
    with suppress(RuntimeError, msgspec.DecodeError, msgspec.ValidationError, CoterieError):
        said = json.loads(cluster.command("settings", "list", "--json"))
        known = said.get("settings", said)
        return Settings(**{name: known[name] for name in Settings.__struct_fields__ if name in known})
    return Settings()


def figures(
    samples: Sequence[Sample],
    failed: int,
    done: Sequence[Restart],
    value_bytes: int,
    entries: int,
    cpu: float,
    settings: Settings,
) -> dict[str, object]:
    """What `--json` prints."""
    every = [node for each in samples for node in each.nodes]
    last = samples[-1]
    written = bytes_of(last.puts, value_bytes)
    limit = log_limit(settings, max(node.newest_snapshot for node in every), written / max(1, entries))
    log_max = max(node.log for node in every)
    restart_s = statistics.median(each.seconds for each in done) if done else None
    log_bytes = int(statistics.median(each.log_bytes for each in done)) if done else None
    per_100_mb = restart_s / (log_bytes / MB) * PER_MB if restart_s is not None and log_bytes else None
    whole = {name for node in every for name in node.snapshot_names if name.endswith(".snap")}
    return {
        "bytes_written": written,
        "puts": last.puts,
        "errors": failed,
        "seconds": round(last.seconds, 1),
        "puts_per_s": round(last.puts / last.seconds, 1),
        "server_cpu_us_per_put": round(cpu / last.puts * 1e6, 2) if last.puts else None,
        "log_bytes_max": log_max,
        "log_limit": limit,
        "log_ok": log_max <= limit,
        "snapshots_seen": len(whole),
        "snapshot_bytes": max(node.newest_snapshot for node in every),
        "store_bytes": max(node.store for node in last.nodes),
        "rss_max": max(node.rss for node in every),
        "own_memory_max": max(node.own_memory for node in every),
        "pause_ms_max": round(max(each.pause_ms for each in samples), 2),
        "late_ms_max": round(max(each.late_ms for each in samples), 2),
        "restart_s": round(restart_s, 3) if restart_s is not None else None,
        "restart_s_worst": round(max(each.seconds for each in done), 3) if done else None,
        "restart_log_bytes": log_bytes,
        "restart_s_per_100_mb": round(per_100_mb, 3) if per_100_mb is not None else None,
    }


def charts(samples: Sequence[Sample], limit: int) -> list[Chart]:
    """The plots."""
    names = [node.name for node in samples[0].nodes]

    def nodes(title: str, field: str, *more: Series) -> Chart:
        lines = [
            Series(name, [(each.seconds, getattr(each.nodes[i], field) / MB) for each in samples])
            for i, name in enumerate(names)
        ]
        return Chart(title, "MB", [*lines, *more])

    ends = (samples[0].seconds, samples[-1].seconds)
    return [
        Chart("Acknowledged writes", "puts a second", [Series("puts/s", [(s.seconds, s.rate) for s in samples])]),
        Chart(
            "Longest pause in each second",
            "ms",
            [
                Series("acknowledgements", [(s.seconds, s.pause_ms) for s in samples]),
                Series("the load itself", [(s.seconds, s.late_ms) for s in samples], dashed=True),
            ],
        ),
        nodes("Log on disk", "log", Series("limit", [(x, limit / MB) for x in ends], dashed=True)),
        nodes("Snapshots on disk", "snapshots"),
        nodes("Store on disk", "store"),
        nodes("Resident memory", "rss"),
        nodes("Memory of its own: no file is behind it", "own_memory"),
    ]


def run(options: argparse.Namespace) -> tuple[dict[str, object], list[Sample]]:
    """All of it. Raises `Missing`, `RuntimeError`, `TimeoutError`."""
    cluster = Coterie(options.protocol)
    with scratch_directory() as scratch:
        try:
            cluster.start(scratch)
            settings = settings_of(cluster)
            nodes = nodes_of(cluster.directory)
            entries, cpu = status_of(nodes[0]).last_index, cpu_seconds([node.pid for node in nodes])
            wanted = ["--seconds", str(options.seconds)] if options.seconds else ["--bytes", str(options.bytes)]
            wanted += ["--in-flight", str(options.in_flight), "--value", str(options.value)]
            wanted += ["--history", str(options.history)]
            with steady_puts(cluster.endpoints, *wanted) as child:
                samples, failed = watch(child, nodes)
            cpu = cpu_seconds([node.pid for node in nodes]) - cpu
            entries = status_of(nodes[0]).last_index - entries
            done = restarts(cluster.directory, options.restarts)
        finally:
            cluster.stop()
    return figures(samples, failed, done, options.value, entries, cpu, settings), samples


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _interrupted(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Run, write, print."""
    parser = argparse.ArgumentParser(description="A long run of puts, and restarts")
    parser.add_argument("--bytes", type=size, default=BYTES, help="of keys and values, to write (default: 1G)")
    parser.add_argument("--seconds", type=float, default=0.0, help="write for so long instead")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--value", type=int, default=VALUE_BYTES, help="bytes of each value")
    parser.add_argument("--history", type=int, default=HISTORY, help="revisions that are kept; 0: all")
    parser.add_argument("--restarts", type=int, default=RESTARTS)
    parser.add_argument("--protocol", choices=PROTOCOLS, default=DEFAULT_PROTOCOL)
    parser.add_argument("--out", type=Path, default=ROOT / ".bench" / "endurance", help="where to write")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        found, samples = run(options)
    except (Missing, RuntimeError, TimeoutError, CoterieError) as error:
        raise SystemExit(f"endurance: {error}") from error
    facts = {**found, "machine": machine(), "in_flight": options.in_flight, "value": options.value}
    options.out.mkdir(parents=True, exist_ok=True)
    whole = {"figures": facts, "samples": samples}
    (options.out / "endurance.json").write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))
    limit = found["log_limit"]
    assert isinstance(limit, int)
    text = page("Coterie: a long run", facts, charts(samples, limit))
    (options.out / "endurance.html").write_text(text, encoding="utf-8")
    say(f"Written: {options.out / 'endurance.json'}, {options.out / 'endurance.html'}")
    if options.json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            print(f"{name:22} {value}")


if __name__ == "__main__":
    main()
