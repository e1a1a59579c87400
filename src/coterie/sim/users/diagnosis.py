"""Why two copies of a machine differ, and the fewest commands that show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from coterie.core.types import Index
from coterie.machine.interface import Batch, Rejected
from coterie.sim.users.bench import (
    TIME,
    Bench,
    Given,
    Invariant,
    MakeMachine,
    Step,
    apply_one,
    differ,
    digest_of,
    pass_time,
)
from coterie.sim.verdict import Violation

TRIES = 5
"""Times that a log is applied anew: a machine that draws dice may draw the same once."""
MAX_APPLIED = 200_000
"""Commands that a search for the fewest applies before it is content with what it has."""


Fails: TypeAlias = Callable[[Sequence[Given]], str]
"""What is wrong when these commands are applied, in words; empty if nothing is."""


class Difference(msgspec.Struct, frozen=True):
    """The first command of a log at which two machines part."""

    number: int
    """Its place in the log, from 0."""
    what: str


def compare(make: MakeMachine, steps: Sequence[Step]) -> Difference | None:
    """Apply the log to a new machine; where it first does otherwise than it did before."""
    machine = make()
    for number, step in enumerate(steps):
        try:
            reply: bytes | Rejected = apply_one(machine, step.given)
        except Violation as violation:
            return Difference(number, f"it replied {step.reply!r}; applied anew, {violation.detail}")
        if reply != step.reply:
            return Difference(number, f"its reply: {step.reply!r} the first time, {reply!r} when applied anew")
        if (digest := digest_of(machine)) != step.digest:
            return Difference(number, f"its state: applied anew, {differ(step.digest, digest)}")
    return None


def in_batches(make: MakeMachine, steps: Sequence[Step], starts: set[tuple[Index, int]]) -> Difference | None:
    """Apply the log in the batches that replicas applied; where that first comes to something else."""
    machine = make()
    batches: list[list[Step]] = []
    for step in steps:
        if (step.given.index, step.given.ordinal) in starts or not batches:
            batches.append([])
        batches[-1].append(step)
    number = 0
    for batch in batches:
        first = batch[0].given
        ordinals = [step.given.ordinal for step in batch]
        if first.ordinal == TIME:
            pass_time(machine, first)
            replies: list[bytes | Rejected] = [b""]
        else:
            bodies = [step.given.command for step in batch]
            replies = list(machine.apply(Batch(first.index, first.time, ordinals, bodies)))
        for step, reply in zip(batch, replies, strict=True):
            if reply != step.reply:
                return Difference(number, f"its reply is {reply!r} in a batch of {len(batch)}, {step.reply!r} alone")
            number += 1
        if (digest := digest_of(machine)) != batch[-1].digest:
            return Difference(number - 1, f"its state: in a batch of {len(batch)}, {differ(batch[-1].digest, digest)}")
    return None


def varies(make: MakeMachine, steps: Sequence[Step]) -> Difference | None:
    """The earliest command at which a machine that is not deterministic was seen to be so."""
    found = [difference for _ in range(TRIES) if (difference := compare(make, steps)) is not None]
    return min(found, key=lambda difference: difference.number, default=None)


def fewest(log: Sequence[Given], fails: Fails) -> list[Given]:
    """A part of the log, in its order, that still fails and of which no command can be left out: delta debugging
    (Zeller and Hildebrandt, 2002), with complements alone. None of it, if it does not fail by itself."""
    kept, parts, applied = list(log), 2, len(log)
    if not fails(kept):
        return []
    while len(kept) > 1 and applied < MAX_APPLIED:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            applied += len(rest)
            if fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(kept))
    return kept


def breaks(make: MakeMachine, invariant: Invariant | None, check: str) -> Fails:
    """Whether a log breaks this law on a bench that tries everything at every command."""

    def fails(log: Sequence[Given]) -> str:
        try:
            Bench(make, invariant, every=1).run(log)
        except Violation as violation:
            return violation.detail if violation.check == check else ""
        return ""

    return fails


def unstable(make: MakeMachine) -> Fails:
    """Whether a log does not always come to the same."""

    def fails(log: Sequence[Given]) -> str:
        machine = make()
        try:
            steps = [Step(given, apply_one(machine, given), digest_of(machine)) for given in log]
        except Violation:
            return ""
        found = varies(make, steps)
        return found.what if found is not None else ""

    return fails
