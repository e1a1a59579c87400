"""The load of `coterie bench put`, for as long as it is wanted, with what it is like in each moment.

    python bench/steady_puts.py --endpoints A,B,C [--in-flight 64] [--value 256] [--bytes 1G] [--seconds 60]

A process of its own, so that nothing else that a benchmark does delays it. Prints one JSON line an interval (see
`Moment`) until the bytes are written, the time is up, or SIGTERM or the end of its input says that it is enough.
`--history N` compacts all but the newest N revisions each second, so that a store of old revisions does not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from coterie.client.asynchronous import AsyncClient, connect_async
from coterie.client.config import ClientConfig
from coterie.client.histogram import Histogram
from coterie.client.load import KEY_BYTES, Load, LoadOptions
from coterie.core.errors import CoterieError
from coterie.runtime.event_loop import new_event_loop
from measure import ROOT, VALUE_BYTES, stop_processes

FOREVER_S = 10.0**8
GC_THRESHOLD = 50_000
"""As in `coterie bench`."""
LOOK_S = 0.005
"""How often this process looks whether it is late itself."""
COMPACT_INTERVAL_S = 1.0
MILLISECONDS = 1e3
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


class Moment(msgspec.Struct, frozen=True):
    """One interval."""

    at: float
    """Its end, in monotonic seconds."""
    puts: int
    """Acknowledged since the load began."""
    errors: int
    """Since the load began."""
    pause_ms: float
    """The longest time without an acknowledgement: what ended in the interval, or lasts at its end."""
    late_ms: float
    """How late this process was at most: a pause that is no longer than this may be its own."""


class Acknowledgements(Histogram):
    """Latencies, and when the last of them was counted."""

    __slots__ = ("last", "longest")

    def __init__(self) -> None:
        super().__init__()
        self.last = time.monotonic_ns()
        self.longest = 0

    def record(self, duration: int) -> None:
        """Count one, now."""
        now = time.monotonic_ns()
        if now - self.last > self.longest:
            self.longest = now - self.last
        self.last = now
        super().record(duration)

    def take_longest(self) -> float:
        """The longest pause since the last call, in seconds; one that is not over is not forgotten."""
        longest = max(self.longest, time.monotonic_ns() - self.last)
        self.longest = 0
        return longest / 1e9


class _Lateness:
    """Whether this process gets to run when it wants to."""

    def __init__(self) -> None:
        self._longest = 0.0

    async def watch(self) -> None:
        while True:
            due = time.monotonic() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self._longest = max(self._longest, time.monotonic() - due)

    def take_longest(self) -> float:
        longest, self._longest = self._longest, 0.0
        return longest


def size(text: str) -> int:
    """`1G`, `64M`, `4096`: bytes, with decimal units. Raises `argparse.ArgumentTypeError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)B?", text, re.IGNORECASE)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write 4096, 64M or 1G")
    return int(float(match[1]) * UNITS[match[2].upper()])


def bytes_of(puts: int, value_bytes: int) -> int:
    """Keys and values that so many puts have written."""
    return puts * (KEY_BYTES + value_bytes)


async def _compact(endpoints: str, history: int) -> None:
    async with connect_async(endpoints) as client:
        while True:
            await asyncio.sleep(COMPACT_INTERVAL_S)
            await _compact_once(client, history)


async def _compact_once(client: AsyncClient, history: int) -> None:
    try:
        status = await client.status()
        if status.revision > history:
            await client.compact(status.revision - history)
    except CoterieError as error:
        print(f"compact: {error}", file=sys.stderr)


async def _run(options: argparse.Namespace) -> None:
    load_options = LoadOptions(
        endpoints=options.endpoints,
        op="put",
        in_flight=options.in_flight,
        value_bytes=options.value,
        seconds=FOREVER_S,
        config=ClientConfig(name="coterie-bench"),
    )
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, enough.set)
    loop.add_reader(sys.stdin.fileno(), _until_end_of_input(enough))
    begun = asyncio.Event()
    load = Load(load_options, begun=begun.set)
    acknowledgements, lateness = Acknowledgements(), _Lateness()
    load.latencies = acknowledgements
    tasks = [asyncio.ensure_future(load.run()), asyncio.ensure_future(lateness.watch())]
    if options.history:
        tasks.append(asyncio.ensure_future(_compact(options.endpoints, options.history)))
    try:
        waiting = asyncio.ensure_future(begun.wait())
        await asyncio.wait([tasks[0], waiting], return_when=asyncio.FIRST_COMPLETED)
        acknowledgements.last, end = time.monotonic_ns(), time.monotonic() + (options.seconds or FOREVER_S)
        at = time.monotonic()
        while not enough.is_set() and not tasks[0].done():
            at += options.interval
            try:
                async with asyncio.timeout_at(min(at, end)):
                    await enough.wait()
            except TimeoutError:
                pass
            pause, late = acknowledgements.take_longest(), lateness.take_longest()
            moment = Moment(time.monotonic(), load.done, load.errors, pause * MILLISECONDS, late * MILLISECONDS)
            print(msgspec.json.encode(moment).decode(), flush=True)
            written = bytes_of(load.done, options.value)
            if time.monotonic() >= end or (options.bytes and written >= options.bytes):
                enough.set()
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _until_end_of_input(enough: asyncio.Event) -> Callable[[], None]:
    def read() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            enough.set()

    return read


@contextmanager
def steady_puts(endpoints: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The load as a child, ended at the end; its output is what `moments` reads."""
    command = [sys.executable, str(ROOT / "bench" / "steady_puts.py"), "--endpoints", endpoints, *arguments]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    try:
        yield child
    finally:
        stop_processes([child])


def moments(child: subprocess.Popen[bytes]) -> Iterator[Moment]:
    """What the load says, as it says it. Raises `RuntimeError` if it fails."""
    assert child.stdout is not None
    for line in child.stdout:
        yield msgspec.json.decode(line, type=Moment)
    if child.wait():
        raise RuntimeError(f"the load ended with {child.returncode}")


def main() -> None:
    """Load, and tell of it."""
    parser = argparse.ArgumentParser(description="puts, for as long as they are wanted")
    parser.add_argument("--endpoints", required=True)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--value", type=int, default=VALUE_BYTES, help="bytes of each value")
    parser.add_argument("--bytes", type=size, default=0, help="of keys and values, to write in all (default: no end)")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long (default: no end)")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds of each line")
    parser.add_argument("--history", type=int, default=0, help="keep so many revisions (default: all)")
    options = parser.parse_args()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_run(options))
    except CoterieError as error:
        raise SystemExit(f"steady_puts: {error}") from error


if __name__ == "__main__":
    main()
