"""Operations of clients as text: one line each, time to the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coterie.check import FOREVER
from coterie.core.types import Nanos
from coterie.machine.interface import Rejected
from coterie.sim.users.operations import Operation

WIDTH = 36
"""Characters for the whole time."""
MAX_ROWS = 16
MAX_TEXT = 60
"""Characters of one command or reply."""
MILLISECOND = 1_000_000

Describe = Callable[[bytes], object]


def shortened(text: str) -> str:
    """At most `MAX_TEXT` characters."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def told(operation: Operation) -> str:
    """What became of it, in words."""
    reply = operation.reply
    said = f"rejected: {reply.reason}" if isinstance(reply, Rejected) else repr(reply)
    match operation.outcome:
        case "ok" | "rejected":
            return shortened(said)
        case "no":
            return "did not happen"
        case "yes":
            return shortened(f"happened, its reply was lost: {said}")
        case _:
            tells = "outcome unknown" if operation.outcome else "under way"
            return shortened(f"{tells}; in the log: {said}") if operation.index else f"{tells}; not in the log"


def bar(operation: Operation, first: Nanos, last: Nanos) -> str:
    """From its beginning to its answer."""
    span = max(last - first, 1)

    def column(when: Nanos) -> int:
        return (min(when, last) - first) * (WIDTH - 1) // span

    begin, end = column(operation.start), column(operation.end)
    open_end = operation.end >= FOREVER
    body = "|" + "-" * max(0, end - begin - 1) + (">" if open_end else "|" if end > begin else "")
    return (" " * begin + body).ljust(WIDTH + 1)


def draw(operations: Sequence[Operation], now: Nanos, describe: Describe) -> str:
    """The operations in the order of the log, those outside it by their beginning; `describe` puts a command into
    words."""
    if not operations:
        return ""
    first = min(operation.start for operation in operations)
    last = max(now if operation.end >= FOREVER else operation.end for operation in operations)
    span = f"operations, from {first // MILLISECOND} ms to {last // MILLISECOND} ms of simulated time"
    lines = [f"{span} (| begun and answered, > never answered; #entry.ordinal):"]
    for operation in sorted(operations, key=lambda each: (each.index == 0, each.index, each.ordinal, each.start)):
        place = f"#{operation.index}.{operation.ordinal}" if operation.index and operation.write else "read"
        place = place if operation.index else "-"
        what = shortened(str(describe(operation.body)))
        lines.append(
            f"  client {operation.client} {place:>7} {bar(operation, first, last)} {what} -> {told(operation)}"
        )
    return "\n".join(lines)
