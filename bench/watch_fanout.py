"""Watches beside etcd's: one writer and many watchers of one key; and what idle watchers cost.

    python bench/watch_fanout.py [--watchers 1000] [--writes 200] [--idle 10000] [--protocol raft] [--client grpcio]

Three nodes each, fsync on. The watchers are on `--streams` connections to the leader; the writer puts the next value
when every watcher has been told of the one before, so latency is that of a whole fan-out. etcd first, then ours,
`--rounds` times; figures are medians.

The watchers are `h2load`'s, each a call of its own: half-closed, for it sends one request, and never answered to the
end. When they are told is seen in how much h2load has read (`/proc/PID/io`). With `--client grpcio` they are many to a
call, in this process: then most of what is measured is grpcio's work.
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import grpc
import msgspec

from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.etcd.wire import rpc
from measure import VALUE_BYTES, Missing, cpu_seconds, machine, scratch_directory
from peer_coterie import CoterieGrpc
from peer_etcd import Etcd

WATCH = "/etcdserverpb.Watch/Watch"
PUT = "/etcdserverpb.KV/Put"
KEY = b"watched"
PATIENCE_S = 30.0
"""How long all watchers may take to be told of a put."""
SETTLED_S = 0.3
"""Nothing came for so long: nothing is on its way."""
LOOK_EVERY_S = 0.0003
"""How often it is looked at what h2load has read; so exact are the latencies."""
CONTROL_BYTES = 100
"""Of HTTP/2's own frames, between two events."""
REVISIONS_OF_ONE_BYTE = 128
"""So many puts at most, and a revision takes two bytes of an event, as it does for 16 256 more."""


class Fanout(msgspec.Struct, frozen=True):
    """One measurement of one side."""

    events_per_s: float
    p50_ms: float
    p99_ms: float
    """From the put's being sent to the event's arrival, over all watchers and writes."""
    cpu_us_per_event: float
    idle_bytes_per_watcher: float


class Watchers(Protocol):
    """Many of them, of one key."""

    def told(self, since: float) -> list[float]:
        """Wait until each has been told of a put more; seconds after `since` that it took."""
        ...

    def close(self) -> None:
        """Watch no more."""
        ...


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


class GrpcioWatchers:
    """On streams of grpcio's."""

    def __init__(self, channels: Sequence[grpc.Channel], watchers: int) -> None:
        self._told: queue.SimpleQueue[float] = queue.SimpleQueue()
        share = watchers // len(channels)
        self._streams = [_Stream(channel, share, KEY, self._told) for channel in channels]
        self._watchers = share * len(channels)

    def told(self, since: float) -> list[float]:
        """See `Watchers`."""
        return [self._told.get(timeout=PATIENCE_S) - since for _ in range(self._watchers)]

    def close(self) -> None:
        """See `Watchers`."""
        for stream in self._streams:
            stream.close()


class H2loadWatchers:
    """Calls of h2load's. It reads from its sockets with read(2), whose bytes the kernel counts."""

    def __init__(self, address: str, connections: int, watchers: int, scratch: Path, put: Callable[[], None]) -> None:
        """`put` is called until an event has the size that those to come will have."""
        create = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=KEY)).SerializeToString()
        body = scratch / "watch.bin"
        body.write_bytes(b"\0" + len(create).to_bytes(4, "big") + create)
        command = ["h2load", "-t1", f"-c{connections}", f"-m{watchers // connections}", "-D3600", f"-d{body}"]
        command += ["-Hcontent-type: application/grpc", "-Hte: trailers", f"http://{address}{WATCH}"]
        self._h2load = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._watchers = watchers // connections * connections
        try:
            self._settled()
            for _ in range(REVISIONS_OF_ONE_BYTE):
                put()
            before = self._settled()
            put()
            self._before = self._settled()
            self._bytes, rest = divmod(self._before - before, self._watchers)
            if rest > CONTROL_BYTES or self._bytes < VALUE_BYTES:
                raise RuntimeError(f"an event came as {self._bytes} bytes to each watcher, and {rest} besides")
        except BaseException:
            self.close()
            raise

    def told(self, since: float) -> list[float]:
        """See `Watchers`."""
        latencies: list[float] = []
        while len(latencies) < self._watchers:
            time.sleep(LOOK_EVERY_S)
            told, now = (self._read() - self._before) // self._bytes, time.perf_counter() - since
            latencies += [now] * (min(told, self._watchers) - len(latencies))
            if now > PATIENCE_S:
                raise RuntimeError(f"{len(latencies)} of {self._watchers} watchers were told in {PATIENCE_S} s")
        self._before += self._watchers * self._bytes
        return latencies

    def close(self) -> None:
        """See `Watchers`."""
        self._h2load.kill()
        self._h2load.wait()

    def _read(self) -> int:
        counted: str = Path(f"/proc/{self._h2load.pid}/io").read_text(encoding="ascii")
        return int(counted.split("rchar: ", 1)[1].split(maxsplit=1)[0])

    def _settled(self) -> int:
        """Wait until nothing more comes for a while; the bytes read by then."""
        before, now = -1, self._read()
        while now != before:
            time.sleep(SETTLED_S)
            before, now = now, self._read()
        return now


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
            channels = [grpc.insecure_channel(address, [("coterie.bench", n)]) for n in range(options.streams)]
            call = channels[0].unary_unary(PUT)
            request = rpc.PutRequest(key=KEY, value=b"v" * VALUE_BYTES).SerializeToString()

            def put() -> None:
                call(request, wait_for_ready=True)

            watchers: Watchers
            if options.client == "grpcio":
                watchers = GrpcioWatchers(channels, options.watchers)
            else:
                watchers = H2loadWatchers(address, options.streams, options.watchers, scratch, put)
            with closing(watchers):
                latencies, began, used = [], time.perf_counter(), cpu_seconds(pids)
                for _ in range(options.writes):
                    sent = time.perf_counter()
                    put()
                    latencies += watchers.told(sent)
                took, used = time.perf_counter() - began, cpu_seconds(pids) - used
            before = _memory(pids)
            told: queue.SimpleQueue[float] = queue.SimpleQueue()
            idle = [_Stream(channel, options.idle // options.streams, b"idle", told) for channel in channels]
            each = (_memory(pids) - before) / max(1, options.idle)
            for stream in idle:
                stream.close()
            for channel in channels:
                channel.close()
        finally:
            subject.stop()
    quantiles = statistics.quantiles(latencies, n=100)
    events = len(latencies)
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
    parser.add_argument("--client", choices=("h2load", "grpcio"), default="h2load", help="whose the watchers are")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.client == "h2load" and shutil.which("h2load") is None:
        raise SystemExit(str(Missing("h2load is missing: apt-get install nghttp2-client; or --client grpcio")))
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
