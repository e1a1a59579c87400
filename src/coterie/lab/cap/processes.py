"""A partition of real processes: the leader's host is cut off from the two others, and clients ask on both sides."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from coterie.check import FOREVER, Operation
from coterie.client.blocking import connect
from coterie.core.protocols import PROTOCOLS
from coterie.lab.cap.caller import Told
from coterie.lab.cap.seats import ANSWER_S, Seat, parted_hosts
from coterie.lab.cap.sides import (
    LEASE,
    LINEARIZABLE,
    MAJORITY,
    MINORITY,
    MOVED,
    PLAIN,
    SESSION,
    SIDES,
    STALE,
    WRITE,
    Mode,
    Row,
    Side,
    row,
)
from coterie.torture.coterie_members import CoterieCluster
from coterie.torture.network import Joint

KEY: Final = "x"
ROUNDS: Final = 3
READ_AS: Final = {
    LINEARIZABLE.name: "linearizable", LEASE.name: "linearizable", SESSION.name: "session", MOVED.name: "session",
    STALE.name: "stale",
}  # fmt: skip
LEASE_READS_FOR_S: Final = 4.0


class _Scene:
    """The members of one cluster, those who ask, and what they were told."""

    def __init__(self, seats: Mapping[int, Seat], where: str, protocol: str) -> None:
        self.seats = seats
        self.where = where
        self.protocol = protocol
        self.places: dict[str, int] = {}
        """The host that is asked on each side."""
        self.cut_at: int | None = None
        """None while nothing is cut."""
        self.operations: dict[str, list[Operation]] = {}
        """By `read` or `write`, and mode."""
        self.sides: dict[tuple[str, str], Side] = {}
        self._values = 0

    def write(self, side: str, mode: Mode = WRITE) -> Future[Told]:
        """Write the next value."""
        self._values += 1
        value = f"{side} {self._values}"
        seat = self.seats[self.places[side]]
        future = seat.ask(f"{mode.name} writer", "write", KEY, value=value, session=mode is not PLAIN)
        return self._kept(future, side, mode.name, "write", value)

    def read(self, side: str, mode: Mode, *, at_least: int = 0, client: str = "") -> Future[Told]:
        """Read in this mode."""
        seat = self.seats[self.places[side]]
        future = seat.ask(client or mode.name, "read", KEY, mode=READ_AS[mode.name], at_least=at_least)
        return self._kept(future, side, mode.name, "read", None, client)

    def _kept(
        self, future: Future[Told], side: str, name: str, f: str, value: str | None, client: str = ""
    ) -> Future[Told]:
        """Its answer is counted when it comes, if it was asked while something was cut."""
        cut_at = self.cut_at
        process = f"{self.places[side]} {client or name} {f}"

        def keep(done: Future[Told]) -> None:
            if done.exception() is not None:
                return
            told = done.result()
            if cut_at is not None:
                counted = self.sides.setdefault((name, side), Side())
                counted.count(answered=told.ok, at_ms=(told.end - cut_at) / 1e6, refusal=told.message)
            if told.ok or told.unknown:
                self.operations.setdefault(f"{f} {name}", []).append(
                    Operation(
                        process=process,
                        f=f,
                        key=KEY,
                        argument=value,
                        result=told.value if f == "read" else None,
                        start=told.start,
                        end=told.end if told.ok else FOREVER,
                    )
                )

        future.add_done_callback(keep)
        return future

    def row(self, mode: Mode) -> Row:
        """What came of a mode."""
        sides = (self.sides.get((mode.name, MAJORITY), Side()), self.sides.get((mode.name, MINORITY), Side()))
        reads = LINEARIZABLE if mode in (WRITE, PLAIN) else mode
        history = [o for name in self._writes(mode) for o in self.operations.get(f"write {name}", ())]
        history += self.operations.get(f"read {reads.name}", ())
        return row(self.where, self.protocol, MINORITY, mode, sides, history)

    def _writes(self, mode: Mode) -> tuple[str, ...]:
        """Those that were made in the same partition."""
        return (LEASE.name,) if mode is LEASE else (WRITE.name, PLAIN.name)


def _wait(*futures: Future[Told]) -> list[Told]:
    return [future.result(ANSWER_S) for future in futures]


def rows(*, namespaces: bool = True) -> tuple[list[Row], str]:
    """The theorem's table for each protocol, by real processes, both at the same time; and why there were no namespaces
    (else empty). In the main thread only. Raises `ClusterFailed`; `TimeoutError` if a cluster does not become whole."""
    with ExitStack() as stack:
        joints, reason = stack.enter_context(parted_hosts(len(PROTOCOLS), 3, namespaces=namespaces))
        clusters = [CoterieCluster(protocol) for protocol in PROTOCOLS]
        workers = stack.enter_context(ThreadPoolExecutor(len(PROTOCOLS), "cap"))
        try:
            jobs = [workers.submit(_table, *one) for one in zip(PROTOCOLS, clusters, joints, strict=True)]
            return [one for job in jobs for one in job.result()], reason
        except BaseException:
            for cluster in clusters:
                cluster.stop()  # so that whoever waits for an answer gets none, and ends
            raise


def _table(protocol: str, cluster: CoterieCluster, joined: Joint) -> list[Row]:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coterie-cap-")))
        cluster.relays = joined.relays
        stack.callback(cluster.stop)
        cluster.start(scratch, joined.hosts)
        seats = {i: Seat(host) for i, host in enumerate(joined.hosts)}
        for seat in seats.values():
            stack.callback(seat.close)
        scene = _Scene(seats, f"processes, {joined.kind}", protocol)
        _by_default(scene, cluster, joined)
        _with_leases(scene, cluster, joined)
        modes = (WRITE, PLAIN, LINEARIZABLE, SESSION, MOVED, STALE, LEASE)
        return [scene.row(mode) for mode in modes]


def _settle(scene: _Scene, cluster: CoterieCluster) -> int:
    """The leader's host will be the minority; the next other one stands for the majority."""
    leader = cluster.leader()
    other = next(i for i in cluster.members if i != leader)
    scene.places = {MINORITY: leader, MAJORITY: other}
    return leader


def _by_default(scene: _Scene, cluster: CoterieCluster, joined: Joint) -> None:
    leader = _settle(scene, cluster)
    _wait(scene.write(MINORITY))
    _wait(scene.write(MAJORITY))
    everybody = (LINEARIZABLE, SESSION, MOVED, STALE)
    _wait(*(scene.read(side, mode) for side in SIDES for mode in everybody if mode is not STALE))
    joined.cut(leader)
    scene.cut_at = time.monotonic_ns()
    blocked = [scene.write(MINORITY), scene.write(MINORITY, PLAIN), scene.read(MINORITY, LINEARIZABLE)]
    (written,) = _wait(scene.write(MAJORITY))
    blocked += [scene.read(MINORITY, LINEARIZABLE, client="later linearizable")]
    blocked += [scene.read(MINORITY, MOVED, at_least=written.revision)]
    for _ in range(ROUNDS):
        _wait(*(scene.read(MAJORITY, mode, at_least=written.revision) for mode in everybody))
        _wait(scene.read(MINORITY, SESSION), scene.read(MINORITY, STALE))
    _wait(scene.write(MAJORITY), scene.write(MAJORITY, PLAIN))
    _wait(*blocked)
    joined.mend(leader)
    scene.cut_at = None
    cluster.wait_whole()
    _wait(*(scene.read(side, mode) for side in SIDES for mode in (LINEARIZABLE, SESSION, MOVED)))


def _with_leases(scene: _Scene, cluster: CoterieCluster, joined: Joint) -> None:
    with connect(cluster.endpoints) as client:
        client.set_setting("lease_reads", True)
    cluster.wait_whole()
    leader = _settle(scene, cluster)
    _wait(scene.write(MAJORITY, LEASE))
    _wait(*(scene.read(side, LEASE) for side in SIDES))
    joined.cut(leader)
    scene.cut_at = time.monotonic_ns()
    written = scene.write(MAJORITY, LEASE)
    alone = scene.read(MINORITY, LEASE)
    # It is asked again as soon as it has answered: while its lease lasts, it does.
    ends = time.monotonic() + LEASE_READS_FOR_S
    while time.monotonic() < ends:
        (told,) = _wait(alone)
        if not told.ok:
            break
        alone = scene.read(MINORITY, LEASE)
    _wait(written, scene.read(MAJORITY, LEASE))
    _wait(alone, scene.read(MAJORITY, LEASE), scene.write(MAJORITY, LEASE))
    joined.mend(leader)
    scene.cut_at = None
    cluster.wait_whole()
    _wait(*(scene.read(side, LEASE) for side in SIDES))
