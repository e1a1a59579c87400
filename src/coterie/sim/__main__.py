"""`python -m coterie.sim`: run seeds of the simulated world and say which laws were broken."""

from __future__ import annotations

import argparse
import os
import sys
import time

import msgspec

from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.sim.campaign import Plan, idleness, run_seeds
from coterie.sim.options import SECOND
from coterie.sim.verdict import Figures, Result


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m coterie.sim", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="run this seed alone")
    which.add_argument("--seeds", metavar="A..B", help="run the seeds from A up to, not including, B")
    parser.add_argument("--protocol", choices=PROTOCOLS, default=DEFAULT_PROTOCOL, help="what the members run")
    parser.add_argument("--nodes", type=int, help="cluster size (default: the seed chooses)")
    parser.add_argument("--seconds", type=float, default=30.0, help="simulated time with faults (default 30)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--faults", help="fault classes, with commas (default: the seed chooses)")
    parser.add_argument("--stop", action="store_true", help="stop at the first violation")
    parser.add_argument("--json", action="store_true", help="one JSON object a seed")
    return parser.parse_args(arguments)


def _seeds(text: str) -> range:
    first, separator, last = text.partition("..")
    try:
        if not separator:
            raise ValueError(text)
        return range(int(first), int(last))
    except ValueError:
        raise SystemExit(f"--seeds {text}: write A..B, two whole numbers") from None


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 no law was broken, 1 one was, 2 usage."""
    chosen = _parse(arguments)
    seeds = range(chosen.seed, chosen.seed + 1) if chosen.seeds is None else _seeds(chosen.seeds)
    plan = Plan(
        nodes=chosen.nodes,
        duration=round(chosen.seconds * 1000) * SECOND // 1000,
        protocol=chosen.protocol,
        faults=tuple(chosen.faults.split(",")) if chosen.faults else None,
    )
    began = time.monotonic()
    results: list[Result] = []
    for result in run_seeds(seeds, plan, min(chosen.jobs, len(seeds))):
        results.append(result)
        if chosen.json:
            sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
            sys.stdout.flush()
        elif result.check:
            sys.stdout.write(f"seed {result.seed}: {result.detail}\n\n")
            sys.stdout.flush()
        if result.check and chosen.stop:
            break
    bad = [r for r in results if r.check]
    if not chosen.json:
        _summary(results, bad, plan, time.monotonic() - began)
    return 1 if bad else 0


def _summary(results: list[Result], bad: list[Result], plan: Plan, took: float) -> None:
    if len(results) == 1 and not bad:
        sys.stdout.write(f"seed {results[0].seed}: {results[0].figures}\ntrace {results[0].trace}\n")
    totals = {name: sum(getattr(r.figures, name) for r in results) for name in Figures.__struct_fields__}
    sys.stdout.write(
        f"{len(results)} runs of {plan.duration / SECOND:g} simulated seconds in {took:.1f} s: "
        + ", ".join(f"{count} {name}" for name, count in totals.items())
        + f"; {len(bad)} with a violation: {[(r.seed, r.check) for r in bad[:40]]}\n"
    )
    for idle in idleness(results, plan) if len(results) >= 20 else ():
        sys.stdout.write(f"idle: median {idle.what} {idle.median:g}, needed {idle.needed:g}\n")


if __name__ == "__main__":
    sys.exit(main())
