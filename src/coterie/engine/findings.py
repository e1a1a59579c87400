"""What people should know of this member's disk: what was found at the start, and how a repair goes on."""

from __future__ import annotations

from collections.abc import Sequence

from coterie.core.replica import Replica
from coterie.engine.ports import Event, Ports


class Findings:
    """Tells each once."""

    def __init__(self, found: Sequence[Event], replica: Replica, ports: Ports) -> None:
        """`found`: at the start."""
        self._replica = replica
        self._ports = ports
        self._found = list(found)
        self._owed = owed = replica.repair
        if owed is not None:
            text = (
                f"the log was damaged: until a leader has given back what it held up to entry {owed.until}, this "
                "member neither votes nor counts"
            )
            self._found.append(Event("repairing", text, {"until": owed.until, "epoch": owed.epoch.round}))

    def tell(self) -> None:
        """Say what is new; cheap if nothing is."""
        if self._owed is not None and self._replica.repair is None:
            self._owed = None
            self._found.append(Event("repaired", "the log is whole again: this member votes and counts"))
        if self._found:
            found, self._found = self._found, []
            for event in found:
                self._ports.event(event)
