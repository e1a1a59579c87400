"""PySyncObj: three processes with its journal on, loaded from inside the node that leads.

It has no client: commands are issued by a process that is a member, so its server CPU contains the load's. It has
no linearizable read but one that goes through the log, so a get is a replicated method that returns the value.
Run as a program, this file is one such member, told what to do by lines of JSON on its standard input.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from measure import (
    KEY_BYTES,
    VALUE_BYTES,
    Missing,
    Sample,
    cpu_seconds,
    free_ports,
    read_line,
    stop_processes,
    wait_until,
)

_NODES = 3
_KEYS = 1000


class PySyncObj:
    """See `measure.Subject`."""

    name = "pysyncobj"

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, scratch: Path) -> None:
        """Start three members; the first is given the shortest election timeout, so that it leads."""
        if importlib.util.find_spec("pysyncobj") is None:
            raise Missing("PySyncObj is missing: pip install 'coterie[bench]'")
        ports = free_ports(_NODES)
        addresses = [f"127.0.0.1:{port}" for port in ports]
        for i, own in enumerate(addresses):
            others = [address for address in addresses if address != own]
            command = [sys.executable, __file__, str(scratch / f"journal{i}"), str(i), own, *others]
            self._processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        for process in self._processes:
            read_line(process.stdout, "a PySyncObj member")
        wait_until(self._first_leads, 30, "PySyncObj's first member leads")

    def _first_leads(self) -> bool:
        return bool(self._tell({"do": "leads"}))

    def _tell(self, order: dict[str, Any]) -> Any:
        first = self._processes[0]
        if first.stdin is None:
            raise RuntimeError("the member has no standard input")
        first.stdin.write(json.dumps(order).encode() + b"\n")
        first.stdin.flush()
        return json.loads(read_line(first.stdout, "a PySyncObj member"))

    def measure(self, work: str, in_flight: int, seconds: float) -> Sample:
        """One in flight: a synchronous caller. More: that many callbacks outstanding."""
        pids = [process.pid for process in self._processes]
        before = cpu_seconds(pids)
        result = self._tell({"do": work, "in_flight": in_flight, "seconds": seconds})
        used = cpu_seconds(pids) - before
        if result["failed"] or not result["ops"]:
            raise RuntimeError(f"PySyncObj completed {result['ops']} operations, {result['failed']} failed")
        return Sample(
            ops_per_s=result["ops"] / result["seconds"],
            p50_ms=result["p50_ms"],
            cpu_us=used / result["ops"] * 1e6,
        )

    def stop(self) -> None:
        """End the members."""
        stop_processes(self._processes)
        self._processes.clear()


class _Load:
    """A closed loop of replicated calls: each callback issues the next."""

    def __init__(self, store: Any, work: str, in_flight: int, seconds: float) -> None:
        self._call = store.set if work == "put" else store.fetch
        self._arguments: tuple[str, ...] = ("v" * VALUE_BYTES,) if work == "put" else ()
        self._work = work
        self._in_flight = in_flight
        self._seconds = seconds
        self._issued = 0
        self._outstanding = in_flight
        self._deadline = 0.0
        self._durations: list[float] = []
        self._failed = 0
        self._finished = threading.Event()

    def run(self) -> dict[str, float]:
        start = time.perf_counter()
        self._deadline = start + self._seconds
        if self._in_flight == 1:
            self._synchronous()
        else:
            for _ in range(self._in_flight):
                self._issue()
            self._finished.wait(self._seconds + 60)
        return {
            "ops": len(self._durations),
            "failed": self._failed,
            "seconds": time.perf_counter() - start,
            "p50_ms": statistics.median(self._durations) * 1000 if self._durations else 0.0,
        }

    def _key(self) -> str:
        self._issued += 1
        return f"k{self._issued % _KEYS:0{KEY_BYTES - 1}d}"

    def _synchronous(self) -> None:
        while (began := time.perf_counter()) < self._deadline:
            answer = self._call(self._key(), *self._arguments, sync=True)
            self._failed += self._work == "get" and answer is None
            self._durations.append(time.perf_counter() - began)

    def _issue(self) -> None:
        began = time.perf_counter()

        def done(answer: object, error: int) -> None:
            now = time.perf_counter()
            if error or (self._work == "get" and answer is None):
                self._failed += 1
            else:
                self._durations.append(now - began)
            if now < self._deadline:
                self._issue()
                return
            self._outstanding -= 1
            if not self._outstanding:
                self._finished.set()

        self._call(self._key(), *self._arguments, callback=done)


def member(journal: str, position: int, own: str, others: list[str]) -> None:
    """Be a member until standard input ends."""
    from pysyncobj import SyncObj, SyncObjConf, replicated
    from pysyncobj.batteries import ReplDict

    class Store(ReplDict):  # type: ignore[misc]  # PySyncObj has no types
        @replicated  # type: ignore[untyped-decorator]  # PySyncObj has no types
        def fetch(self, key: str) -> Any:
            return self.get(key)

    store = Store()
    patience = {"raftMinTimeout": 0.4, "raftMaxTimeout": 0.6} if position == 0 else {"raftMinTimeout": 2.0}
    conf = SyncObjConf(journalFile=journal, **{"raftMaxTimeout": 3.4} | patience)
    node = SyncObj(own, others, conf, consumers=[store])
    print("started", flush=True)
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line)
        answer: object
        if order["do"] == "leads":
            leader = node.isReady() and node.getStatus()["leader"]
            answer = bool(leader) and str(leader.address if hasattr(leader, "address") else leader) == own
            if answer:
                for i in range(_KEYS):
                    store.set(f"k{i:0{KEY_BYTES - 1}d}", "v" * VALUE_BYTES, callback=lambda answer, error: None)
                store.set("ready", "", sync=True)
        else:
            answer = _Load(store, order["do"], order["in_flight"], order["seconds"]).run()
        print(json.dumps(answer), flush=True)
    node.destroy()


if __name__ == "__main__":
    member(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:])
