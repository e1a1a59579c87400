"""`python -m coterie.sim.explore`: every order of events of three members, within bounds, for one protocol."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import msgspec

from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.sim.explorer import DEFAULT_LIMIT_STATES, TooManyStates
from coterie.sim.small_world import Bounds, explore_small_world


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    bounds: Bounds
    states: int
    transitions: int
    depth: int
    seconds: float
    counterexample: tuple[str, ...] = ()
    """The steps to a broken law, and what is wrong after them; empty: there is none."""


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m coterie.sim.explore", description=__doc__)
    parser.add_argument("--protocol", choices=PROTOCOLS, default=DEFAULT_PROTOCOL, help="what the members run")
    parser.add_argument("--candidates", type=int, default=1, choices=(1, 2, 3), help="members that call elections")
    parser.add_argument("--elections", type=int, default=1, help="timers that run out, in all")
    parser.add_argument("--proposals", type=int, default=1, help="commands")
    parser.add_argument("--crashes", type=int, default=0, help="crashes, each followed by a restart")
    parser.add_argument("--resends", type=int, default=0, help="times that a leader sends again what it sent to one")
    parser.add_argument("--quick-disks", action="store_true", help="what is written is durable at once")
    parser.add_argument("--depth", type=int, default=0, help="events at most (default: as many as there are)")
    parser.add_argument("--limit", type=int, default=DEFAULT_LIMIT_STATES, help="states at most")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 no law is broken in any state, 1 one is, 2 usage, or more states than the limit."""
    chosen = _parse(arguments)
    names = ("protocol", "candidates", "elections", "proposals", "crashes", "resends", "depth")
    bounds = Bounds(slow_disks=not chosen.quick_disks, **{name: getattr(chosen, name) for name in names})
    began = time.monotonic()

    def watch(depth: int, states: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{states} states, {depth} events deep, {time.monotonic() - began:.0f} s ")
            sys.stderr.flush()

    try:
        seen = explore_small_world(bounds, limit=chosen.limit, watch=watch)
    except TooManyStates as error:
        sys.stderr.write(f"\n{error}\n")
        return 2
    found = seen.counterexample
    steps = (*map(str, found.steps), found.reason) if found is not None else ()
    took = round(time.monotonic() - began, 1)
    if chosen.json:
        report = Report(
            bounds=bounds,
            states=seen.states,
            transitions=seen.transitions,
            depth=seen.depth,
            seconds=took,
            counterexample=steps,
        )
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        sys.stdout.write(f"{seen} in {took} s\n" if found is None else f"{seen}\n")
    return 1 if found is not None else 0


if __name__ == "__main__":
    sys.exit(main())
