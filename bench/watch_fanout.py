"""Watches beside etcd's: one writer and many watchers of one key; and what idle watchers cost.

    python bench/watch_fanout.py [--watchers 1000] [--writes 200] [--idle 10000] [--protocol raft] [--json]

Three nodes each, fsync on. The watchers are on `--streams` streams of grpcio's, to the leader; the writer puts the next
value when every watcher has been told of the one before, so latency is that of a whole fan-out. etcd first, then ours,
`--rounds` times; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import queue
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import msgspec

from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.etcd.wire import rpc
from measure import cpu_seconds, machine, scratch_directory
from peer_coterie import CoterieGrpc
from peer_etcd import Etcd

WATCH = "/etcdserverpb.Watch/Watch"
PUT = "/etcdserverpb.KV/Put"
KEY = b"watched"


class Fanout(msgspec.Struct, frozen=True):
    """One measurement of one side."""

    events_per_s: float
    p50_ms: float
    p99_ms: float
    """From the put's being sent to the event's arrival, over all watchers and writes."""
    cpu_us_per_event: float
    idle_bytes_per_watcher: float


class _Stream:
    """Some watches of one key on one stream, each told of as it arrives."""

    def __init__(self, channel: grpc.Channel, watches: int, key: bytes, told: queue.SimpleQueue[float]) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        create = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=key)).SerializeToString()
        for _ in range(watches):
            self._requests.put(create)
        self.answers: Any = channel.stream_stream(WATCH)(iter(self._requests.get, None))
        for _ in range(watches):
            created = rpc.WatchResponse.FromString(next(self.answers))
            assert created.created, created
        self._thread = threading.Thread(target=self._listen, args=(told,), daemon=True)
        self._thread.start()

    def _listen(self, told: queue.SimpleQueue[float]) -> None:
        try:
            for _ in self.answers:
                told.put(time.perf_counter())
        except grpc.RpcError:
            pass  # it was cancelled

    def close(self) -> None:
        self.answers.cancel()
        self._requests.put(None)
        self._thread.join()


def _memory(pids: list[int]) -> int:
    """Resident bytes of the processes."""
    total = 0
    for pid in pids:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        total += pages * 4096
    return total


def measure(subject: Any, options: argparse.Namespace) -> Fanout:
    """Start it, watch, write, stop it."""
    with scratch_directory() as scratch:
        try:
            subject.start(scratch)
            nodes = subject.nodes
            address = f"127.0.0.1:{nodes.leader()}"
            pids = nodes.pids
            told: queue.SimpleQueue[float] = queue.SimpleQueue()
            channels = [grpc.insecure_channel(address, [("coterie.bench", n)]) for n in range(options.streams)]
            share = options.watchers // options.streams
            streams = [_Stream(channel, share, KEY, told) for channel in channels]
            watchers = share * options.streams
            latencies, began, used = [], time.perf_counter(), cpu_seconds(pids)
            put = channels[0].unary_unary(PUT)
            request = rpc.PutRequest(key=KEY, value=b"v" * 256).SerializeToString()
            for _ in range(options.writes):
                sent = time.perf_counter()
                put(request, wait_for_ready=True)
                latencies += [told.get(timeout=30) - sent for _ in range(watchers)]
            took, used = time.perf_counter() - began, cpu_seconds(pids) - used
            for stream in streams:
                stream.close()
            before = _memory(pids)
            idle = [_Stream(channel, options.idle // options.streams, b"idle", told) for channel in channels]
            each = (_memory(pids) - before) / max(1, options.idle)
            for stream in idle:
                stream.close()
            for channel in channels:
                channel.close()
        finally:
            subject.stop()
    quantiles = statistics.quantiles(latencies, n=100)
    events = options.writes * watchers
    return Fanout(events / took, quantiles[49] * 1e3, quantiles[98] * 1e3, used / events * 1e6, each)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Watches beside etcd's")
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=4, help="each a connection of its own")
    parser.add_argument("--writes", type=int, default=200)
    parser.add_argument("--idle", type=int, default=10_000, help="watchers whose memory is looked at")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--protocol", choices=PROTOCOLS, default=DEFAULT_PROTOCOL)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, list[Fanout]] = {"etcd": [], "coterie": []}
    for number in range(options.rounds):
        print(f"Round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        found["etcd"].append(measure(Etcd(), options))
        found["coterie"].append(measure(CoterieGrpc(options.protocol), options))
    rows = {
        name: {
            field: round(statistics.median(getattr(sample, field) for sample in samples), 3)
            for field in Fanout.__struct_fields__
        }
        for name, samples in found.items()
    }
    if options.json:
        print(json.dumps({"rows": rows, "machine": machine()}))
        return
    print(f"{options.watchers} watchers, {options.protocol} beside etcd, three nodes; {machine()}")
    for field in Fanout.__struct_fields__:
        print(f"{field:>24}  etcd {rows['etcd'][field]:>12}  coterie {rows['coterie'][field]:>12}")


if __name__ == "__main__":
    main()
