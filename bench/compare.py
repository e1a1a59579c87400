"""Coterie beside a peer, on this machine, in one run, with equal durability.

    python bench/compare.py --peer etcd|pysyncobj --work put|get [--protocol raft] [--json]
    python bench/compare.py --peer etcd --api grpc --work put|get|serializable [--keys N] [--protocol raft] [--json]
    python bench/compare.py --peer raft --protocol multipaxos --work put|get [--json]

Each round starts one cluster, warms it, measures it at every number in flight, stops it, and goes on to the next:
the peer, Coterie, and the physical limit (see limit.py); every second round begins with Coterie. Figures are medians
over the rounds; `ratio` is ours / the peer's rate, `cpu_ratio` ours / the peer's CPU of all servers per operation.
A protocol's name as the peer is Coterie with that protocol. The two differ by little, so there are more rounds, and
both ratios are medians of each round's own: what slows the machine for a while slows both alike.

    python bench/compare.py --peer etcd --work failover [--fault kill] [--trials 20] [--json]

How long no write is served when the leader fails: see failover.py.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import failover
from coterie.core.errors import CoterieError
from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from limit import Limit
from measure import ROOT, Sample, Subject, machine, scratch_directory
from peer_coterie import Coterie, CoterieGrpc
from peer_etcd import Etcd
from peer_pysyncobj import PySyncObj

IN_FLIGHT = {"etcd": (1, 64), "pysyncobj": (1, 64, 1000)} | dict.fromkeys(PROTOCOLS, (1, 64, 1000))
GRPC_IN_FLIGHT = (1, 64, 256)
ROUNDS = 3
ROUNDS_OF_PROTOCOLS = 5
WARM_UP_S = 1.0
WARM_UP_IN_FLIGHT = 64

Results: TypeAlias = dict[tuple[str, int], list[Sample]]
"""Samples of all rounds, by subject and number in flight."""


def measure_once(subject: Subject, work: str, levels: tuple[int, ...], seconds: float, results: Results) -> None:
    """Start the subject, measure it at every level, stop it."""
    with scratch_directory() as scratch:
        try:
            subject.start(scratch)
            subject.measure("put", WARM_UP_IN_FLIGHT, WARM_UP_S)  # gets need keys that exist
            for in_flight in levels:
                sample = subject.measure(work, in_flight, seconds)
                results.setdefault((subject.name, in_flight), []).append(sample)
                figures = f"{sample.ops_per_s:10.0f}/s  p50 {sample.p50_ms:.3f} ms"
                _say(f"  {subject.name:10} {in_flight:5} in flight {figures}")
        finally:
            subject.stop()


def in_turn(subjects: Sequence[Subject], number: int) -> Sequence[Subject]:
    """Peer, Coterie and limit in the order of this round: every second one begins with Coterie."""
    peer, ours, *limit = subjects
    return subjects if number % 2 == 0 else (ours, peer, *limit)


def make_peer(name: str, keys: int = 1) -> Subject:
    """The system, or Coterie with the protocol, of this name."""
    others: dict[str, Callable[[], Subject]] = {"etcd": lambda: Etcd(keys), "pysyncobj": PySyncObj}
    return others[name]() if name in others else Coterie(name, name=name)


def row(
    peer: str, work: str, in_flight: int, results: Results, *, paired: bool = False
) -> dict[str, str | int | float]:
    """The medians of one level. `paired`: ratios are medians of the rounds' ratios, not ratios of the medians."""

    def median(name: str, field: str) -> float:
        values: list[float] = [getattr(sample, field) for sample in results[name, in_flight]]
        return statistics.median(values)

    ours, theirs = median("coterie", "ops_per_s"), median(peer, "ops_per_s")
    our_cpu, their_cpu = median("coterie", "cpu_us"), median(peer, "cpu_us")
    ratio, cpu_ratio = ours / theirs, our_cpu / their_cpu if their_cpu else 0.0
    if paired:
        rounds = list(zip(results["coterie", in_flight], results[peer, in_flight], strict=True))
        ratio = statistics.median(mine.ops_per_s / other.ops_per_s for mine, other in rounds)
        cpu_ratio = statistics.median(mine.cpu_us / other.cpu_us if other.cpu_us else 0.0 for mine, other in rounds)
    figures: dict[str, str | int | float] = {
        "peer": peer,
        "work": work,
        "in_flight": in_flight,
        "ours": round(ours, 1),
        "peers": round(theirs, 1),
        "ratio": round(ratio, 3),
        "our_p50_ms": round(median("coterie", "p50_ms"), 4),
        "peer_p50_ms": round(median(peer, "p50_ms"), 4),
        "our_cpu_us": round(our_cpu, 2),
        "peer_cpu_us": round(their_cpu, 2),
        "cpu_ratio": round(cpu_ratio, 4),
    }
    if median("coterie", "p99_ms"):
        figures |= {
            "our_p99_ms": round(median("coterie", "p99_ms"), 4),
            "peer_p99_ms": round(median(peer, "p99_ms"), 4),
        }
    if ("limit", in_flight) in results:
        limit = median("limit", "ops_per_s")
        figures |= {
            "limit": round(limit, 1),
            "share_of_limit": round(ours / limit, 4),
            "peer_share_of_limit": round(theirs / limit, 4),
        }
    return figures


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _table(rows: list[dict[str, str | int | float]]) -> None:
    names = list(rows[0])[2:]
    widths = [max(len(name), *(len(str(each[name])) for each in rows)) for name in names]
    print("  ".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True)))
    for each in rows:
        print("  ".join(f"{each[name]:>{width}}" for name, width in zip(names, widths, strict=True)))


def _fail_over(options: argparse.Namespace) -> None:
    """Compare fail-over and print. A lost write is exit code 1."""
    began = time.monotonic()
    try:
        rows = failover.compare(options.fault or failover.FAULTS, options.trials, options.protocol)
    except (CoterieError, RuntimeError, TimeoutError) as error:
        raise SystemExit(f"compare: {error}") from error
    except KeyboardInterrupt:
        _say("compare: interrupted; nothing is left running")
        raise SystemExit(130) from None
    if options.json:
        print(json.dumps({"rows": rows, "machine": machine(), "took_s": round(time.monotonic() - began, 1)}))
    else:
        print(f"failover, three nodes, defaults, seconds; {machine()}")
        failover.show(rows)
    if any(each.get("our_lost") for each in rows):
        raise SystemExit("compare: acknowledged writes of ours were lost")


def _interrupted(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)  # so that every cluster is stopped on the way out


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description="Coterie beside a peer")
    parser.add_argument("--peer", choices=sorted(IN_FLIGHT), required=True, help="a system, or a protocol of ours")
    parser.add_argument("--work", choices=["put", "get", "serializable", "failover"], required=True)
    parser.add_argument("--protocol", choices=PROTOCOLS, default=DEFAULT_PROTOCOL, help="ours")
    parser.add_argument("--api", choices=["native", "grpc"], default="native", help="how ours is loaded")
    parser.add_argument("--keys", type=int, default=1, help="--api grpc: how many keys calls are spread over (10^n)")
    parser.add_argument("--level", type=int, action="append", help="requests in flight; repeatable")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}; {ROUNDS_OF_PROTOCOLS} beside a protocol of ours")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--trials", type=int, default=failover.TRIALS, help="failover: of each fault")
    parser.add_argument("--fault", choices=failover.FAULTS, action="append", help="failover: this one only; repeatable")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.work == "failover" and options.peer != "etcd":
        parser.error("--work failover has one peer: etcd")
    grpc = options.api == "grpc"
    if grpc and options.peer != "etcd":
        parser.error("--api grpc has one peer: etcd")
    if options.work == "serializable" and not grpc:
        parser.error("--work serializable goes with --api grpc")
    if options.keys != 1 and not grpc:
        parser.error("--keys goes with --api grpc")
    if options.keys < 1 or str(options.keys).strip("0") != "1":
        parser.error(f"--keys is {options.keys}: it must be 1, 10, 100, ...")
    if options.trials < 1:
        parser.error(f"--trials is {options.trials}: it must be at least 1")
    signal.signal(signal.SIGTERM, _interrupted)
    if (ROOT / ".coterie" / "cluster.json").exists():
        _say("A cluster of this directory is up: `make down` first, or it takes part of the machine.")
    if options.work == "failover":
        _fail_over(options)
        return
    ours_too = options.peer in PROTOCOLS
    ours = CoterieGrpc(options.protocol, options.keys) if grpc else Coterie(options.protocol)
    subjects: list[Subject] = [make_peer(options.peer, options.keys), ours, *([] if grpc else [Limit()])]
    levels = tuple(options.level or (GRPC_IN_FLIGHT if grpc else IN_FLIGHT[options.peer]))
    rounds = options.rounds or (ROUNDS_OF_PROTOCOLS if ours_too else ROUNDS)
    results: Results = {}
    began = time.monotonic()
    try:
        for number in range(rounds):
            _say(f"Round {number + 1} of {rounds}")
            for subject in in_turn(subjects, number):
                measure_once(subject, options.work, levels, options.seconds, results)
    except (CoterieError, RuntimeError, TimeoutError) as error:
        raise SystemExit(f"compare: {error}") from error
    rows = [row(options.peer, options.work, in_flight, results, paired=ours_too) for in_flight in levels]
    if options.json:
        about = {"machine": machine(), "keys": options.keys, "rounds": rounds, "seconds": options.seconds}
        print(json.dumps({"rows": rows, **about, "took_s": round(time.monotonic() - began, 1)}))
    else:
        print(f"{options.work}, {options.protocol} beside {options.peer}, three nodes, fsync on; {machine()}")
        _table(rows)


if __name__ == "__main__":
    main()
