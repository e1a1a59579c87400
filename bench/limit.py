"""The physical limit in Python: the same bytes with the same durability, and no protocol.

Three bare processes and a bare client. The leader passes each event-loop turn's operations to both followers in one
piece; every process appends what has arrived with one pwrite and one fdatasync in a thread, into a file that was
written before (so no metadata changes); the leader applies to a dict and answers when two of the three have synced.
A get is answered when a follower has echoed a round that began after the get arrived. No election, no epoch, no
check, no client identity, no crash safety: nothing that replicates can be quicker on this machine with this
language and this design, and everything is measured as a share of it.

    python bench/limit.py [--json] [--work put|get] [--seconds S]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from measure import (
    KEY_BYTES,
    VALUE_BYTES,
    Missing,
    Sample,
    connections,
    cpu_seconds,
    machine,
    read_line,
    scratch_directory,
    stop_processes,
)

_ID_BYTES = 8
_PUT_BYTES = _ID_BYTES + KEY_BYTES + VALUE_BYTES
_GET_BYTES = _ID_BYTES + KEY_BYTES
_LOG_BYTES = 64 * 1024 * 1024
_KEYS = 1000
IN_FLIGHT = (1, 64, 256, 1000)


class Log:
    """Appends and syncs in a thread of its own; `synced(bytes so far)` is called in the loop."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop, synced: Callable[[int], None]) -> None:
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR)
        for _ in range(_LOG_BYTES >> 20):
            os.write(self._fd, bytes(1 << 20))
        os.fsync(self._fd)
        self._loop = loop
        self._synced = synced
        self._queue: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.append = self._queue.put
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        total = position = 0
        while True:
            pieces = [self._queue.get()]
            while not self._queue.empty():
                pieces.append(self._queue.get())
            data = b"".join(pieces)
            if position + len(data) > _LOG_BYTES:
                position = 0
            os.pwrite(self._fd, data, position)
            os.fdatasync(self._fd)
            position += len(data)
            total += len(data)
            self._loop.call_soon_threadsafe(self._synced, total)


class Wire(asyncio.Protocol):
    """A connection that hands over what arrives."""

    def __init__(self, received: Callable[[Wire, bytes], None]) -> None:
        self._received = received
        self.transport: asyncio.WriteTransport | None = None
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        self._received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None  # answers to a client that has gone are dropped

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)


def whole(wire: Wire, data: bytes, size: int) -> bytes:
    """What has arrived, cut at a multiple of `size`; the rest waits for the next piece."""
    if wire.rest:
        data = wire.rest + data
    extra = len(data) % size
    if extra:
        wire.rest = data[-extra:]
        return data[:-extra]
    wire.rest = b""
    return data


async def follow(path: str, work: str) -> None:
    """Sync what arrives and acknowledge with the number of bytes synced; or echo rounds, for gets."""
    wires: list[Wire] = []
    log = Log(path, asyncio.get_running_loop(), lambda total: wires[0].write(total.to_bytes(8, "big")))

    def received(wire: Wire, data: bytes) -> None:
        wires[:1] = [wire]
        if work == "put":
            log.append(data)
        else:
            wire.write(whole(wire, data, 8)[-8:])

    await _serve(received)


class Leader:
    """Takes operations, replicates, applies, answers."""

    def __init__(self, path: str, work: str, followers: list[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ports = followers
        self._peers: list[Wire] = []
        self._synced = [0, 0, 0]
        self._log = Log(path, self._loop, lambda total: self._acknowledged(0, total))
        self._data = {b"%016d" % i: b"v" * VALUE_BYTES for i in range(_KEYS)}
        self._arrived: list[tuple[Wire, bytes]] = []
        self._waiting: deque[tuple[int, list[tuple[Wire, bytes]]]] = deque()
        self._end = 0
        self._work = work

    async def run(self) -> None:
        for place, port in enumerate(self._ports, 1):
            _, wire = await self._loop.create_connection(partial(Wire, self._from(place)), "127.0.0.1", port)
            self._peers.append(wire)
        await _serve(self._put if self._work == "put" else self._get)

    def _from(self, place: int) -> Callable[[Wire, bytes], None]:
        return lambda wire, data: self._acknowledged(place, int.from_bytes(whole(wire, data, 8)[-8:], "big"))

    def _take(self, wire: Wire, data: bytes) -> None:
        if not self._arrived:
            self._loop.call_soon(self._replicate)
        self._arrived.append((wire, data))

    def _put(self, wire: Wire, data: bytes) -> None:
        if operations := whole(wire, data, _PUT_BYTES):
            self._take(wire, operations)

    def _get(self, wire: Wire, data: bytes) -> None:
        if operations := whole(wire, data, _GET_BYTES):
            self._take(wire, operations)

    def _replicate(self) -> None:
        batch, self._arrived = self._arrived, []
        if self._work == "put":
            data = b"".join([piece for _, piece in batch])
            self._end += len(data)
            self._log.append(data)
        else:
            self._end += 1
            data = self._end.to_bytes(8, "big")
            self._synced[0] = self._end
        for peer in self._peers:
            peer.write(data)
        self._waiting.append((self._end, batch))

    def _acknowledged(self, place: int, total: int) -> None:
        self._synced[place] = max(total, self._synced[place])
        durable = sorted(self._synced)[1]
        answer = self._apply if self._work == "put" else self._read
        while self._waiting and self._waiting[0][0] <= durable:
            for wire, operations in self._waiting.popleft()[1]:
                wire.write(answer(operations))

    def _apply(self, operations: bytes) -> bytes:
        data = self._data
        ids = []
        for at in range(0, len(operations), _PUT_BYTES):
            key = at + _ID_BYTES
            value = key + KEY_BYTES
            data[operations[key:value]] = operations[value : value + VALUE_BYTES]
            ids.append(operations[at:key])
        return b"".join(ids)

    def _read(self, operations: bytes) -> bytes:
        data = self._data
        answers: list[bytes] = []
        for at in range(0, len(operations), _GET_BYTES):
            key = at + _ID_BYTES
            answers += (operations[at:key], data[operations[key : key + KEY_BYTES]])
        return b"".join(answers)


async def _serve(received: Callable[[Wire, bytes], None]) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Wire(received), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Load:
    """A closed loop over some connections; an answer lets the next operation go."""

    def __init__(self, work: str, in_flight: int, seconds: float) -> None:
        self._value = b"v" * VALUE_BYTES if work == "put" else b""
        self._answer_bytes = _ID_BYTES if work == "put" else _ID_BYTES + VALUE_BYTES
        self._in_flight = in_flight
        self._seconds = seconds
        self._keys = [b"%016d" % i for i in range(_KEYS)]
        self._began: list[float] = []
        self._durations: list[float] = []
        self._deadline = 0.0

    async def run(self, port: int) -> dict[str, float]:
        loop = asyncio.get_running_loop()
        links = connections(self._in_flight)
        wires = [
            (await loop.create_connection(lambda: Wire(self._answered), "127.0.0.1", port))[1] for _ in range(links)
        ]
        start = time.perf_counter()
        self._deadline = start + self._seconds
        for wire in wires:
            wire.write(self._operations(self._in_flight // links, start))
        await asyncio.sleep(self._seconds)
        self._deadline = 0.0
        for wire in wires:
            if wire.transport is not None:
                wire.transport.close()
        durations = self._durations
        return {"ops": len(durations), "p50_ms": statistics.median(durations) * 1000 if durations else 0.0}

    def _operations(self, count: int, now: float) -> bytes:
        first = len(self._began)
        self._began += [now] * count
        keys, value = self._keys, self._value
        return b"".join(
            [b"%b%b%b" % (n.to_bytes(8, "big"), keys[n % _KEYS], value) for n in range(first, first + count)]
        )

    def _answered(self, wire: Wire, data: bytes) -> None:
        now = time.perf_counter()
        if now > self._deadline:
            return
        data = whole(wire, data, self._answer_bytes)
        began = self._began
        for at in range(0, len(data), self._answer_bytes):
            self._durations.append(now - began[int.from_bytes(data[at : at + _ID_BYTES], "big")])
        if data:
            wire.write(self._operations(len(data) // self._answer_bytes, now))


class Limit:
    """See `measure.Subject`. Servers are started anew for each kind of work."""

    name = "limit"

    def __init__(self) -> None:
        self._servers: list[subprocess.Popen[bytes]] = []
        self._scratch = Path()
        self._work = ""
        self._port = 0

    def start(self, scratch: Path) -> None:
        """Remember where the logs go."""
        self._scratch = scratch

    def _spawn(self, *arguments: str) -> int:
        command = [sys.executable, __file__, *arguments]
        self._servers.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        return int(read_line(self._servers[-1].stdout, "a server of the limit"))

    def measure(self, work: str, in_flight: int, seconds: float) -> Sample:
        """Load the bare leader."""
        if work != self._work:
            self.stop()
            ports = [self._spawn("--follow", str(self._scratch / f"follow{i}"), "--work", work) for i in (1, 2)]
            peers = [str(port) for port in ports]
            self._port = self._spawn("--lead", str(self._scratch / "lead"), "--work", work, "--peers", *peers)
            self._work = work
        load = Load(work, in_flight, seconds)
        pids = [server.pid for server in self._servers]
        before = cpu_seconds(pids)
        result = uvloop.run(load.run(self._port))
        used = cpu_seconds(pids) - before
        if not result["ops"]:
            raise RuntimeError("the bare processes answered nothing")
        return Sample(ops_per_s=result["ops"] / seconds, p50_ms=result["p50_ms"], cpu_us=used / result["ops"] * 1e6)

    def stop(self) -> None:
        """End the servers."""
        stop_processes(self._servers)
        self._servers.clear()
        self._work = ""


def main() -> None:
    """Be a server, or measure."""
    parser = argparse.ArgumentParser(description="What three bare Python processes reach on this machine")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--work", choices=["put", "get"], help="only this work")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--follow", help=argparse.SUPPRESS)
    parser.add_argument("--lead", help=argparse.SUPPRESS)
    parser.add_argument("--peers", type=int, nargs="*", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        uvloop.run(follow(options.follow, options.work))
    elif options.lead:
        uvloop.run(_lead(options.lead, options.work, options.peers))
    else:
        try:
            report([options.work] if options.work else ["put", "get"], options.seconds, options.json)
        except Missing as missing:
            raise SystemExit(f"limit: {missing}") from None


async def _lead(path: str, work: str, peers: list[int]) -> None:
    await Leader(path, work, peers).run()


def report(works: list[str], seconds: float, as_json: bool) -> None:
    """Measure every number in flight and print it."""
    rows = []
    with scratch_directory() as scratch:
        limit = Limit()
        limit.start(scratch)
        try:
            for work in works:
                for in_flight in IN_FLIGHT:
                    sample = limit.measure(work, in_flight, seconds)
                    rows.append({"work": work, "in_flight": in_flight, "ops_per_s": round(sample.ops_per_s)})
                    rows[-1] |= {"p50_ms": round(sample.p50_ms, 3), "server_cpu_us_per_op": round(sample.cpu_us, 2)}
                    if not as_json:
                        print(
                            f"{work} {in_flight:5d} in flight {sample.ops_per_s:10.0f}/s   p50 {sample.p50_ms:7.3f} ms"
                            f"   {sample.cpu_us:6.2f} us of server CPU"
                        )
        finally:
            limit.stop()
    if as_json:
        print(json.dumps({"machine": machine(), "rows": rows}))


if __name__ == "__main__":
    main()
