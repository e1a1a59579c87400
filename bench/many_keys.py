"""A million keys and ten thousand leases, beside etcd's: memory, restart, what a writer notices of a snapshot.

    python bench/many_keys.py [--keys 1000000] [--leases 10000] [--protocol raft] [--only coterie|etcd] [--json]

Three nodes each, fsync on, everything through etcd's API with grpcio. Of each system, one after the other:

1. `load_s`: keys of 16 bytes with values of 256 are put, a hundred to a transaction; `memory_mb`: the resident memory
   of the member that has most, and `own_memory_mb`, what of it no file is behind.
2. `gets_per_s`, `get_cpu_us`: linearizable reads of keys picked at random, 64 at a time, and the CPU that all members
   took for one. (The load takes most of the processors: the rate says little.)
3. `pause_ms_alone`, `pause_ms_snapshot`: one writer puts one key after another; the longest time between two answers,
   by itself, and while `etcdctl snapshot save` reads the whole store from the leader (`snapshot_s`) and writes it to
   memory, where there is such a file system: it would keep the members' disk busy else.
4. `restart_s`: a follower is killed and started again; the time until it answers a linearizable read.
5. `grant_s`: leases of `--ttl` seconds are granted, a key for each; then all are kept alive, once in a third of the
   TTL, for twice the TTL. `keep_alive_s`: the longest time that one round of keep-alives took; `leases_kept`,
   `keys_kept`: how many are there at the end of it; `ended_s`: how long after the last keep-alive began the last of the
   keys is gone.
6. `collector_ms`, `collector_leases_ms`: the longest collection of garbage in any member, in time on a processor, from
   1. to 4., and in all (ours alone). It stops the process, and with others beside it may take longer.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.etcd.wire import rpc
from coterie.torture.cluster import Cluster
from coterie.torture.coterie_members import CoterieCluster
from coterie.torture.etcd_members import EtcdCluster
from coterie.torture.etcd_server import binary
from coterie.torture.hosts import local_hosts, wait_until
from grpc_calls import KV, LEASE, Caller, key_of, load
from measure import VALUE_BYTES, cpu_seconds, machine, scratch_directory
from node_samples import resident_bytes

NODES = 3
GETS = 50_000
WRITER_S = 8.0
STREAMS = 4
PREFIX = b"leased/"
MEMORY = Path("/dev/shm")
PROBE = Path(__file__).parent / "collector"
"""With a `sitecustomize.py`, which tells of the collector's pauses."""


def _gets(caller: Caller, cluster: Cluster, keys: int) -> dict[str, float]:
    rng = random.Random(1)
    requests = (rpc.RangeRequest(key=key_of(rng.randrange(keys))) for _ in range(GETS))
    used, began = cpu_seconds(cluster.pids), time.monotonic()
    for answer in caller.many(KV + "Range", requests, 64):
        if len(answer) < VALUE_BYTES:
            raise RuntimeError("an answer is too short to carry the value")
    took, used = time.monotonic() - began, cpu_seconds(cluster.pids) - used
    return {"gets_per_s": GETS / took, "get_cpu_us": used / GETS * 1e6}


class Writer:
    """Puts one key after the other, and keeps the longest time between two answers."""

    def __init__(self, address: str) -> None:
        self.longest = 0.0
        self.done = 0
        self._put = Caller(address).channel.unary_unary(KV + "Put")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        request = rpc.PutRequest(key=b"written", value=b"v" * VALUE_BYTES).SerializeToString()
        self._put(request, wait_for_ready=True)
        last = time.monotonic()
        while not self._stop.is_set():
            self._put(request)
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now
            self.done += 1

    def end(self) -> float:
        """Stop; the longest pause in milliseconds."""
        self._stop.set()
        self._thread.join()
        if self.done < 100:
            raise RuntimeError(f"the writer wrote {self.done} times only: its pauses mean nothing")
        return self.longest * 1000


def _pauses(address: str, scratch: Path) -> dict[str, float]:
    alone = Writer(address)
    time.sleep(WRITER_S)
    before = alone.end()
    saved = (MEMORY if MEMORY.is_dir() else scratch) / f"coterie-bench-{os.getpid()}.db"
    writer, began = Writer(address), time.monotonic()
    command = [str(Path(binary()).with_name("etcdctl")), f"--endpoints={address}", "snapshot", "save", str(saved)]
    subprocess.run(command, check=True, capture_output=True)
    took = time.monotonic() - began
    time.sleep(1.0)
    during = writer.end()
    size = saved.stat().st_size
    saved.unlink()
    return {"pause_ms_alone": before, "pause_ms_snapshot": during, "snapshot_s": took, "snapshot_mb": size / 1e6}


def _restart(cluster: Cluster, follower: int, keys: int) -> float:
    cluster.kill(follower)
    began = time.monotonic()
    cluster.restart(follower)
    request = rpc.RangeRequest(key=key_of(keys - 1)).SerializeToString()

    def answers() -> bool:
        with grpc.insecure_channel(cluster.hosts[follower].client) as channel:
            try:
                found = channel.unary_unary(KV + "Range")(request, timeout=2)
            except grpc.RpcError:
                return False
        return bool(rpc.RangeResponse.FromString(found).count == 1)

    wait_until(answers, 300, "the member that was started again answers")
    return time.monotonic() - began


class KeptAlive:
    """Leases that are kept alive on some streams."""

    def __init__(self, address: str, leases: list[int]) -> None:
        self._shares = [leases[number::STREAMS] for number in range(STREAMS)]
        self._queues: list[queue.SimpleQueue[bytes | None]] = [queue.SimpleQueue() for _ in self._shares]
        self._answers = [
            Caller(address).channel.stream_stream(LEASE + "LeaseKeepAlive")(iter(each.get, None))
            for each in self._queues
        ]

    def round(self) -> float:
        """Keep each alive once; the seconds until all are answered. Raises `RuntimeError` if one has ended."""
        began = time.monotonic()
        for waiting, share in zip(self._queues, self._shares, strict=True):
            for lease in share:
                waiting.put(rpc.LeaseKeepAliveRequest(ID=lease).SerializeToString())
        for answers, share in zip(self._answers, self._shares, strict=True):
            for lease in share:
                said = rpc.LeaseKeepAliveResponse.FromString(next(answers))
                if lease != said.ID or said.TTL <= 0:
                    raise RuntimeError(f"lease {lease:x} is told to have {said.TTL} s")
        return time.monotonic() - began

    def close(self) -> None:
        for each in self._queues:
            each.put(None)


def _count(caller: Caller) -> int:
    request = rpc.RangeRequest(key=PREFIX, range_end=PREFIX[:-1] + b"0", count_only=True)
    return int(rpc.RangeResponse.FromString(caller.call(KV + "Range", request)).count)


def _leases(caller: Caller, address: str, count: int, ttl: int) -> dict[str, float]:
    began = time.monotonic()
    grants = (rpc.LeaseGrantRequest(TTL=ttl) for _ in range(count))
    leases = [int(rpc.LeaseGrantResponse.FromString(each).ID) for each in caller.many(LEASE + "LeaseGrant", grants)]
    kept = KeptAlive(address, leases)
    puts = (rpc.PutRequest(key=PREFIX + b"%d" % lease, value=b"held", lease=lease) for lease in leases)
    for _ in caller.many(KV + "Put", puts):
        pass
    granted, rounds = time.monotonic() - began, []
    until, last = time.monotonic() + 2 * ttl, 0.0
    while (last := time.monotonic()) < until:
        rounds.append(kept.round())
        time.sleep(max(0.0, last + ttl / 3 - time.monotonic()))
    listed = rpc.LeaseLeasesResponse.FromString(caller.call(LEASE + "LeaseLeases", rpc.LeaseLeasesRequest()))
    keys = _count(caller)
    last = time.monotonic()
    rounds.append(kept.round())
    kept.close()
    wait_until(lambda: _count(caller) == 0, 4 * ttl, "the keys of leases that nobody keeps are gone")
    ended = time.monotonic() - last
    found = {"grant_s": granted, "keep_alive_s": max(rounds), "leases_kept": len(listed.leases), "keys_kept": keys}
    return {**found, "ended_s": ended}


@contextmanager
def _collector_told(scratch: Path) -> Iterator[Callable[[], float | None]]:
    """While this lasts, processes of Python that are started write down their collector's pauses."""
    pauses = scratch / "pauses"
    pauses.mkdir()
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PROBE), *([before] if before else [])])
    os.environ["COLLECTOR_PAUSES"] = str(pauses)

    def longest() -> float | None:
        lines = [line for each in pauses.iterdir() for line in each.read_text(encoding="ascii").splitlines()]
        return max((float(line.split()[1]) for line in lines), default=None)

    try:
        yield longest
    finally:
        del os.environ["COLLECTOR_PAUSES"]
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def measure(cluster: Cluster, options: argparse.Namespace) -> dict[str, float | None]:
    """All of it, of one system."""
    with scratch_directory() as scratch, _collector_told(scratch) as longest:
        try:
            cluster.start(scratch, local_hosts(NODES))
            leader = cluster.leader()
            address = cluster.hosts[leader].client
            caller = Caller(address)
            found: dict[str, float | None] = {"load_s": load(caller, options.keys)}
            cluster.wait_whole()
            memory = [resident_bytes(pid) for pid in cluster.pids]
            found["memory_mb"] = max(resident for resident, _ in memory) / 1e6
            found["own_memory_mb"] = max(own for _, own in memory) / 1e6
            found.update(_gets(caller, cluster, options.keys))
            found.update(_pauses(address, scratch))
            found["restart_s"] = _restart(cluster, next(i for i in range(NODES) if i != leader), options.keys)
            cluster.wait_whole()
            found["collector_ms"] = longest()
            address = cluster.hosts[cluster.leader()].client
            found.update(_leases(Caller(address), address, options.leases, options.ttl))
            found["collector_leases_ms"] = longest()
        finally:
            cluster.stop()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Many keys and leases, beside etcd's")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--leases", type=int, default=10_000)
    parser.add_argument("--ttl", type=int, default=30, help="of each lease, seconds")
    parser.add_argument("--protocol", choices=PROTOCOLS, default=DEFAULT_PROTOCOL)
    parser.add_argument("--only", choices=("coterie", "etcd"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: dict[str, dict[str, float | None]] = {}
    for cluster in (EtcdCluster(), CoterieCluster(options.protocol)):
        if options.only in (None, cluster.name):
            print(f"{cluster.name}", file=sys.stderr, flush=True)
            rows[cluster.name] = measure(cluster, options)
    if options.json:
        print(json.dumps({"rows": rows, "keys": options.keys, "leases": options.leases, "machine": machine()}))
        return
    print(f"{options.keys:,} keys, {options.leases:,} leases, {options.protocol}, three nodes; {machine()}")
    for field in next(iter(rows.values())):
        values = "".join(
            f"  {name} {'-' if row[field] is None else format(row[field], ',.2f'):>12}" for name, row in rows.items()
        )
        print(f"{field:>20}{values}")


if __name__ == "__main__":
    main()
