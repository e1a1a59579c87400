"""`coterie sim explore`: every order of events of three members, within bounds."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from coterie.cli.outcome import Exit, JsonOption, fail_usage, print_json
from coterie.core.protocols import PROTOCOLS
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


def explore(
    protocol: Annotated[str, typer.Option(metavar="NAME", help=f"{' or '.join(PROTOCOLS)}.")] = PROTOCOLS[0],
    candidates: Annotated[int, typer.Option(min=1, max=3, help="Members that call elections.")] = 1,
    elections: Annotated[int, typer.Option(min=0, max=9, help="Timers that run out, in all.")] = 1,
    proposals: Annotated[int, typer.Option(min=0, max=9, help="Commands, in all.")] = 1,
    crashes: Annotated[int, typer.Option(min=0, max=9, help="Crashes, each followed by a restart.")] = 0,
    resends: Annotated[int, typer.Option(min=0, max=9, help="Times that a leader sends again to one member.")] = 0,
    quick_disks: Annotated[bool, typer.Option("--quick-disks", help="What is written is durable at once.")] = False,
    depth: Annotated[int, typer.Option(min=0, max=1000, help="Events at most; 0: as many as there are.")] = 15,
    limit: Annotated[int, typer.Option(min=1, max=100_000_000, help="States at most.")] = DEFAULT_LIMIT_STATES,
    as_json: JsonOption = False,
) -> None:
    """Visit every state that three members of the shipped core can reach, in every order of messages, syncs and
    crashes, within bounds; the first broken law is shown by the shortest way there. Exit code 0: none is broken; 1: one
    is; 2: there are more states than the limit.

    Example: coterie sim explore --protocol multipaxos --candidates 2 --elections 2 --quick-disks --depth 11
    """
    if protocol not in PROTOCOLS:
        fail_usage(f"--protocol {protocol}: it must be one of {', '.join(PROTOCOLS)}")
    bounds = Bounds(
        protocol=protocol,
        candidates=candidates,
        elections=elections,
        proposals=proposals,
        crashes=crashes,
        resends=resends,
        slow_disks=not quick_disks,
        depth=depth,
    )
    began = time.monotonic()
    with Console(stderr=True, quiet=as_json).status("exploring") as progress:

        def watch(deep: int, states: int) -> None:
            progress.update(f"{states:,} states, {deep} events deep")

        try:
            seen = explore_small_world(bounds, limit=limit, watch=watch)
        except TooManyStates as error:
            fail_usage(f"{error}. {error.advice}")
    seconds = round(time.monotonic() - began, 1)
    found = seen.counterexample
    if as_json:
        print_json(
            Report(
                bounds=bounds,
                states=seen.states,
                transitions=seen.transitions,
                depth=seen.depth,
                seconds=seconds,
                counterexample=(*map(str, found.steps), found.reason) if found is not None else (),
            )
        )
    else:
        print(f"{seen} in {seconds} s" if found is None else seen)
    if found is not None:
        raise typer.Exit(Exit.NOT_FOUND)
