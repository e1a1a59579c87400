"""A proof that a history is sequentially consistent: the order itself, as the revisions tell it.

Deciding sequential consistency is exponential; checking one order is not. Every answer of Coterie's machine names the
revision of the state that it came from, and a value that is read the revision that wrote it. Where the operations in
the order of their revisions are an order that the registers allow and that keeps each process's own, the history is
sequentially consistent, whoever says so. Where they are not, nothing is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from coterie.lab.stage.calls import Call, Outcome


def proves_sequential(calls: Sequence[Call]) -> bool:
    """Whether revisions order the calls as sequential consistency demands. Calls are in the order in which they began,
    each client's one after the other; a write of unknown outcome that nobody read is left out: it need not have
    happened."""
    found = {c.value: c.changed for c in calls if c.f == "read" and c.outcome is Outcome.OK and c.value is not None}
    placed: list[tuple[int, bool, int, Call]] = []
    for place, call in enumerate(calls):
        if call.outcome is Outcome.OK:
            placed.append((call.revision, call.f == "read", place, call))
        elif call.f == "write" and call.outcome is not Outcome.REFUSED and call.value in found:
            placed.append((found[call.value], False, place, call))
    placed.sort(key=lambda one: one[:3])
    held: dict[str, str | None] = {}
    reached: dict[int, int] = {}
    """How far down its calls each client has come."""
    for _, _, place, call in placed:
        if call.outcome is Outcome.OK and place < reached.get(call.client, -1):
            return False  # Only a write of unknown outcome may take effect after what its client did later.
        reached[call.client] = max(place, reached.get(call.client, -1))
        if call.f == "write":
            held[call.key] = call.value
        elif held.get(call.key) != call.value:
            return False
    return True
