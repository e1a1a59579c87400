"""What a user's test is told when a simulation fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from coterie.core.errors import CoterieError
from coterie.core.types import Nanos
from coterie.sim.options import Options
from coterie.sim.users.bench import TIME, Given
from coterie.sim.users.drawing import MAX_ROWS, MILLISECOND, Describe, draw, shortened
from coterie.sim.users.operations import Operation

_PURE: Final = (
    "Make the machine a function of its commands: time from Batch.time, a new id from Batch.index and the command's "
    "ordinal, sorted(...) where you iterate over a set; no random, clock, id(), hash(), environment or file."
)
_STATE: Final = (
    "Let `snapshot` and `digest` cover every field that a reply or a later state depends on, and let `restore` replace "
    "all of them."
)
ADVICE: Final = {
    "machine-deterministic": _PURE,
    "machine-batches": "Apply a batch's commands one after the other, each on the state that the last one left.",
    "machine-restore": _STATE,
    "machine-frozen": "Let `frozen` copy what `apply` changes in place, or leave it out: the default copies all.",
    "machine-raised": "Answer what the machine does not like with Rejected: an exception stops the node.",
    "machine-rejected": "Make all checks of a command before its first change.",
    "machine-query": "Let `query`, `snapshot` and `digest` change nothing.",
    "invariant": "Look at the last command below: it is the first after which the invariant does not hold.",
    "check": "Look at the history: what clients were told is not what your check wants.",
}
"""What to do, by the law that was broken. Where there is none the fault may be in Coterie: please report it."""
OURS: Final = "If your machine cannot be the cause, this is a fault of Coterie: please report it with this text."


class Failure(msgspec.Struct, kw_only=True):
    """What was found, for `SimulationFailed`."""

    machine: str
    check: str
    """The law that was broken: `docs/simulation.md` lists them."""
    detail: str
    options: Options
    step: int
    """Number of the event of the simulated world in which it was seen; 0 if it was seen outside of it."""
    now: Nanos
    """Simulated time, in nanoseconds."""
    at: Given | None
    """The command at which it was seen, if it was at one."""
    applied: int
    """Commands in the log until then."""
    smallest: Sequence[Given]
    """The fewest of them that show it without a cluster; empty if they alone do not."""
    alone: str
    """What was found with those few."""
    operations: Sequence[Operation]
    """All that clients did."""


class SimulationFailed(CoterieError, AssertionError):
    """A simulated cluster of the user's machine broke a law, or the user's invariant or check did not hold.

    `failure` has what was found; the message puts it into words, and ends with the call that shows it again.
    """

    def __init__(self, failure: Failure, describe: Describe) -> None:
        advice = ADVICE.get(failure.check, OURS)
        super().__init__(_text(failure, describe, advice), advice=advice)
        self.failure = failure


def _text(failure: Failure, describe: Describe, advice: str) -> str:
    options = failure.options
    faults = ", ".join(options.faults) or "none"
    when = f"step {failure.step} at {failure.now // MILLISECOND} ms" if failure.step else "outside the cluster"
    applied = f"{when}; {failure.applied} commands in the log"
    parts = [
        f"{failure.machine} [{failure.check}] {failure.detail}",
        f"seed {options.seed}, {options.protocol}, {options.nodes} members, faults: {faults}; {applied}",
    ]
    if failure.at is not None:
        place = "before its commands" if failure.at.ordinal == TIME else f"ordinal {failure.at.ordinal}"
        parts.append(f"at entry {failure.at.index}, {place}: {_words(failure.at, describe)}")
    if failure.smallest:
        count = f"{len(failure.smallest)} of {failure.applied} commands are enough, in this order:"
        first = max(0, len(failure.smallest) - MAX_ROWS)
        lines = [f"  ... {first} before"] if first else []
        for number, given in enumerate(failure.smallest[first:], first + 1):
            lines.append(f"  {number}. {shortened(_words(given, describe))}")
        parts.append("\n".join([count, *lines, f"  => {failure.alone}"]))
    parts += [draw(_chosen(failure), failure.now, describe), f"what to do: {advice}", f"replay: {_replay(failure)}"]
    return "\n\n".join(part for part in parts if part)


def _words(given: Given, describe: Describe) -> str:
    return f"the time is {given.time} ns" if given.ordinal == TIME else str(describe(given.command))


def _chosen(failure: Failure) -> list[Operation]:
    """The operations to draw: those of the smallest log, or the last ones before the failure."""
    places = {(given.index, given.ordinal) for given in failure.smallest}
    seen = [operation for operation in failure.operations if not operation.probe]
    chosen = [operation for operation in seen if operation.write and (operation.index, operation.ordinal) in places]
    if not chosen and failure.at is not None:
        here = failure.at.index, failure.at.ordinal
        logged = sorted((o for o in seen if o.index), key=lambda each: (each.index, each.ordinal))
        chosen = [operation for operation in logged if (operation.index, operation.ordinal) <= here]
    return (chosen or seen)[-MAX_ROWS:]


def _replay(failure: Failure) -> str:
    options = failure.options
    return (
        f"simulate({failure.machine}, ..., seeds=[{options.seed}], protocol={options.protocol!r}, "
        f"nodes={options.nodes}, seconds={options.duration / 1e9:g}, faults={options.faults!r})"
    )
