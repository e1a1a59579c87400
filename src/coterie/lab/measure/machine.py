"""This machine as a network of one site, when none is given: members on one host, over loopback."""

from __future__ import annotations

import socket
import tempfile
import threading
from typing import Final

from coterie.lab.measure.round_trips import QUICK_SAMPLES, Trip, jitter_of, measure
from coterie.lab.network.network import Network
from coterie.lab.stage.geography import Geography
from coterie.storage.probe import DiskReport, probe_disk

HERE: Final = "here"
DISK_ROUNDS: Final = 300
DISK_SECONDS: Final = 5.0


def loopback(samples: int = QUICK_SAMPLES) -> Trip:
    """Round trips to a port of our own on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        over = threading.Event()
        thread = threading.Thread(target=_accept, args=(listener, over), daemon=True)
        thread.start()
        try:
            return measure(f"127.0.0.1:{listener.getsockname()[1]}", samples)
        finally:
            over.set()
            thread.join()


def _accept(listener: socket.socket, over: threading.Event) -> None:
    """Take connections and close them: what is measured is the kernel."""
    while not over.is_set():
        try:
            link, _ = listener.accept()
        except OSError:
            continue
        link.close()


def disk(directory: str | None = None, rounds: int = DISK_ROUNDS) -> DiskReport:
    """How quickly a disk makes writes durable; of the working directory, or another."""
    with tempfile.TemporaryDirectory(dir=directory or ".", prefix=".coterie-probe") as place:
        return probe_disk(place, rounds=rounds, time_limit_s=DISK_SECONDS)


def mean_ms(found: DiskReport) -> float:
    """The stage's disks have a mean and a short tail; what a real one does half of the time is the nearest to it."""
    return found.p50_us / 1000


def this_machine(directory: str | None = None) -> Network:
    """One site, `here`, whose members stand on this host."""
    trip, probed = loopback(), disk(directory)
    mean = mean_ms(probed)
    geography = Geography(
        sites=(HERE,), round_trip_ms=((round(trip.median, 4),),), disk_ms=mean, jitter=round(jitter_of([trip]), 3)
    )
    return Network(
        name="this machine",
        geography=geography,
        source="measured",
        disk_p99_ms=max(mean, probed.p99_us / 1000),
        addresses=(("127.0.0.1:2379",),),
    )
