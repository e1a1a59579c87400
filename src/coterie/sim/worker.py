"""`python -m coterie.sim.worker`: runs seeds for another process, which may be of another version of the package.

It reads one `Order` as a line of JSON and writes each `Result` as a line of JSON, until all are done or its reader
closes the pipe.
"""

from __future__ import annotations

import sys

import msgspec

from coterie.sim.campaign import Plan, collect_seldom, run_seed


class Order(msgspec.Struct, frozen=True):
    """Seeds to run, one after the other: from `first` up to, not including, `end`."""

    first: int
    end: int
    plan: Plan


def work() -> None:
    """Take the order, and answer."""
    collect_seldom()
    order = msgspec.json.decode(sys.stdin.readline(), type=Order)
    for seed in range(order.first, order.end):
        sys.stdout.write(msgspec.json.encode(run_seed(seed, order.plan)).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    work()
