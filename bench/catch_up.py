"""What writes notice of a snapshot of many keys, and of a new member that catches up.

    python bench/catch_up.py [--keys 1M] [--in-flight 64] [--json]

Starts three nodes with `coterie up`, loads the keys, and then keeps the load of `coterie bench put` running (see
`steady_puts.py`), looking at it every tenth of a second:

1. `rate_before`: some seconds of the load alone.
2. `rate_during`: a member is added with `coterie member add`, started as that command says, and catches up; `ratio` is
   `rate_during` / `rate_before`. Caught up means, as in the Raft dissertation (4.2.1), that it has applied within a
   second what the leader had committed at that second's begin.
3. `pause_ms_snapshot`: the leader writes a snapshot for it (a machine whose data are in a store needs none for
   itself); the longest pause between two acknowledgements meanwhile, beside `pause_ms_before`, that of the load alone.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from coterie.cli.cluster_file import LocalNode
from coterie.client.one_status import ask_status
from coterie.core.errors import CoterieError
from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.torture.hosts import Host, local_hosts
from load_keys import load_keys
from measure import VALUE_BYTES, machine, scratch_directory, stop_processes, wait_until
from node_samples import SNAPSHOTS, nodes_of, sample
from peer_coterie import Coterie
from steady_puts import Moment, moments, size, steady_puts

KEYS = 1_000_000
INTERVAL_S = 0.1
BEFORE_S = 10.0
CATCH_UP_S = 600.0
ROUND_S = 1.0
NEW_MEMBER = "n4"
UNFINISHED = (".new", ".part")
LOOK_S = 0.02


class Span(msgspec.Struct, frozen=True):
    """A time, in monotonic seconds."""

    begin: float
    end: float

    def holds(self, moment: Moment) -> bool:
        """Whether the moment's interval and this time have a part in common."""
        return moment.at > self.begin and moment.at - INTERVAL_S < self.end


class Recording:
    """What the load says, taken down by a thread."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.moments: list[Moment] = []
        self.failure: RuntimeError | None = None
        self._thread = threading.Thread(target=self._read, args=(child,), daemon=True)
        self._thread.start()

    def _read(self, child: subprocess.Popen[bytes]) -> None:
        try:
            for moment in moments(child):
                self.moments.append(moment)
        except RuntimeError as error:
            self.failure = error
        except ValueError:
            pass  # its output was closed: it is being stopped

    def wait(self, seconds: float) -> Span:
        """Let the load go on for so long."""
        began = time.monotonic()
        wait_until(lambda: self.reached(began + seconds), seconds + 30, "the load goes on")
        return Span(began, time.monotonic())

    def reached(self, at: float) -> bool:
        """The load has told of this time. Raises `RuntimeError` if it has ended."""
        if self.failure is not None:
            raise self.failure
        return bool(self.moments) and self.moments[-1].at >= at

    def rate(self, span: Span) -> float:
        """Puts a second over a time: from the first to the last moment that it holds."""
        held = [moment for moment in tuple(self.moments) if span.begin <= moment.at <= span.end]
        if len(held) < 2:
            raise RuntimeError(f"too short to measure: {span.end - span.begin:.2f} s")
        return (held[-1].puts - held[0].puts) / (held[-1].at - held[0].at)

    def pause_ms(self, spans: Sequence[Span]) -> float | None:
        """The longest pause in these times; None if no moment belongs to them."""
        found = [moment.pause_ms for moment in tuple(self.moments) if any(span.holds(moment) for span in spans)]
        return round(max(found), 2) if found else None


class SnapshotWatch:
    """When the nodes were writing snapshots, seen by the files in their directories."""

    def __init__(self, nodes: Sequence[LocalNode]) -> None:
        self._directories = [Path(node.data) / SNAPSHOTS for node in nodes]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.spans: list[Span] = []
        self.begun: dict[Path, float] = {}
        """Unfinished ones."""
        self.taken = 0

    def _look(self) -> None:
        known = {path for directory in self._directories for path in _files(directory)}
        last = time.monotonic()
        while not self._ended.wait(LOOK_S):
            now = time.monotonic()
            found = {path for directory in self._directories for path in _files(directory)}
            for path in found - known:
                if path.suffix in UNFINISHED:
                    self.begun[path] = last
                elif path.suffix == ".snap":
                    self.taken += 1
                    if path.with_suffix(".new") not in self.begun and path.with_suffix(".snap.new") not in self.begun:
                        self.spans.append(Span(last, now))  # written between two looks
            for path in [path for path in self.begun if path not in found]:
                self.spans.append(Span(self.begun.pop(path), now))
            known, last = found, now

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch inside of the `with`."""
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()


def _files(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def start_command(said: str, name: str, data: Path, host: Host, endpoints: str) -> list[str]:
    """What `member add --json` says starts the member, with our places in it; as documented, if it does not say."""
    printed = _find_command(_decode(said))
    words = shlex.split(printed) if printed else ["coterie", "node"]
    words = words[words.index("node") :]
    options = {"--name": name, "--data": str(data), "--peer": host.peer, "--client": host.client}
    options["--join"] = _value(words, "--join") or endpoints
    return [sys.executable, "-m", "coterie", "node", *(word for pair in options.items() for word in pair)]


def _decode(said: str) -> Any:
    try:
        return json.loads(said)
    except ValueError:
        return said


def _find_command(said: Any) -> str | None:
    """The first text in there that starts a node."""
    if isinstance(said, str):
        line = next((line for line in said.splitlines() if " node " in line and "--join" in line), None)
        return line.strip() if line is not None else None
    if isinstance(said, list) and all(isinstance(each, str) for each in said) and "--join" in said:
        return shlex.join(said)
    below = said.values() if isinstance(said, dict) else said if isinstance(said, list) else ()
    return next((found for each in below if (found := _find_command(each)) is not None), None)


def _value(words: Sequence[str], option: str) -> str | None:
    for number, word in enumerate(words):
        if word == option and number + 1 < len(words):
            return words[number + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _reason(error: RuntimeError) -> str:
    """Why a command did not do what it should, in a line."""
    lines = [line.strip(" │") for line in str(error).splitlines()]
    return next((line for line in lines if line.startswith("No such command")), lines[0])


def _committed(nodes: Sequence[LocalNode]) -> int:
    return max((status.commit for node in nodes if (status := ask_status(node.client)) is not None), default=0)


def _catch_up(process: subprocess.Popen[bytes], nodes: Sequence[LocalNode], host: Host, log: Path) -> None:
    """Wait until a round takes at most `ROUND_S`."""
    deadline = time.monotonic() + CATCH_UP_S
    while True:
        target, began = _committed(nodes), time.monotonic()

        def reached(target: int = target) -> bool:
            if process.poll() is not None:
                words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
                raise RuntimeError(f"{NEW_MEMBER} ended with {process.returncode}: {' / '.join(words)}")
            status = ask_status(host.client)
            return status is not None and 0 < target <= status.applied

        wait_until(reached, max(0.0, deadline - time.monotonic()), f"{NEW_MEMBER} has caught up")
        if time.monotonic() - began <= ROUND_S:
            return


def _add(cluster: Coterie, recording: Recording) -> dict[str, object]:
    """Add a member while the load runs; the figures of its catch-up."""
    nodes, host = nodes_of(cluster.directory), local_hosts(1)[0]
    data, log = cluster.directory / NEW_MEMBER, cluster.directory / f"{NEW_MEMBER}.log"
    try:
        said = cluster.command("member", "add", NEW_MEMBER, "--peer", host.peer, "--json")
    except RuntimeError as error:
        return {"catch_up_s": None, "rate_during": None, "catch_up_skipped": _reason(error)}
    say(f"{NEW_MEMBER} catches up, with the load")
    began = time.monotonic()
    with log.open("wb") as file:
        command = start_command(said, NEW_MEMBER, data, host, cluster.endpoints)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
    try:
        _catch_up(process, nodes, host, log)
        span = Span(began, time.monotonic())
        wait_until(lambda: recording.reached(span.end), 30, "the load goes on")
        listed = json.loads(cluster.command("member", "list", "--json"))["members"]
        stranger = LocalNode(name=NEW_MEMBER, pid=process.pid, peer=host.peer, client=host.client, data=str(data))
        own = sample(stranger)
    finally:
        stop_processes([process])
    return {
        "catch_up_s": round(span.end - span.begin, 2),
        "rate_during": round(recording.rate(span), 1),
        "pause_ms_during": recording.pause_ms([span]),
        "caught_up": next((each["caught_up"] for each in listed if each["name"] == NEW_MEMBER), None),
        "new_member_bytes": own.log + own.snapshots + own.store,
    }


def run(options: argparse.Namespace) -> dict[str, object]:
    """All of it. Raises `Missing`, `RuntimeError`, `TimeoutError`, `CoterieError`."""
    cluster = Coterie(options.protocol)
    with scratch_directory() as scratch:
        try:
            cluster.start(scratch)
            say(f"Loading {options.keys:,} keys")
            load_s = load_keys(cluster.endpoints, options.keys, options.value)
            watch = SnapshotWatch(nodes_of(cluster.directory))
            arguments = ["--in-flight", str(options.in_flight), "--value", str(options.value)]
            arguments += ["--interval", str(INTERVAL_S)]
            with watch.running(), steady_puts(cluster.endpoints, *arguments) as child:
                recording = Recording(child)
                wait_until(lambda: recording.reached(0.0), 30, "the load begins")
                say(f"{options.before:g} s of the load alone")
                before = recording.wait(options.before)
                added = _add(cluster, recording)
                spans = tuple(watch.spans)
                rate_before = recording.rate(before)
                during = added["rate_during"]
                errors = recording.moments[-1].errors
                return {
                    "keys": options.keys,
                    "load_s": round(load_s, 1),
                    "load_keys_per_s": round(options.keys / load_s, 1),
                    "rate_before": round(rate_before, 1),
                    **added,
                    "ratio": round(during / rate_before, 3) if isinstance(during, float) else None,
                    "snapshots": watch.taken,
                    "pause_ms_snapshot": recording.pause_ms(spans) if spans else None,
                    "pause_ms_before": recording.pause_ms([before]),
                    "snapshot_s": round(sum(span.end - span.begin for span in spans), 2),
                    "late_ms_max": round(max(moment.late_ms for moment in recording.moments), 2),
                    "errors": errors,
                }
        finally:
            cluster.stop()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _interrupted(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Snapshots of many keys, and a new member, under a load of puts")
    parser.add_argument("--keys", type=size, default=KEYS, help="how many are there before (default: 1M)")
    parser.add_argument("--value", type=int, default=VALUE_BYTES, help="bytes of each value")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--before", type=float, default=BEFORE_S, help="seconds of the load alone")
    parser.add_argument("--protocol", choices=PROTOCOLS, default=DEFAULT_PROTOCOL)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        figures = {**run(options), "machine": machine()}
    except (RuntimeError, TimeoutError, CoterieError) as error:
        raise SystemExit(f"catch_up: {error}") from error
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
