"""Planted bugs that show in cluster time, revisions and replayed states before they show anywhere else: see
`sim/applied.py`."""

from __future__ import annotations

from typing import Final

from tests.mutants.planting import planted

from coterie.sim.mutants import Mutant

HOST = "machine/host.py"
HOST_STATE = "machine/host_state.py"
LAYERED = "machine/kv/layered.py"


def _rows(protocol: str, mark: str) -> tuple[Mutant, ...]:
    """Each is hunted in the suite with one protocol, and with both by the command."""
    raft = protocol == "raft"
    return (
        planted(
            f"Y01{mark}",
            "cluster time is what passed since the last entry, at every member",
            [(HOST, "        self.time += entry.elapsed\n", "        self.time = entry.elapsed\n")],
            frozenset({"time-monotonic"}),
            by_command=raft,
            protocol=protocol,
        ),
        planted(
            f"Y02{mark}",
            "a snapshot's cluster time is not taken over",
            [(HOST_STATE, "        self.time = record.time\n", "")],
            frozenset({"same-time"}),
            faults="snapshot,crash",
            by_command=not raft,
            protocol=protocol,
        ),
        planted(
            f"Y03{mark}",
            "a member that replays its own commands of an earlier life takes them for those of this one",
            [
                (
                    HOST,
                    "self._origins.pass_numbers(segment.origin, segment.boot, segment.first, len(commands))\n",
                    (
                        "self._origins.pass_numbers(\n"
                        "                segment.origin, boot if segment.origin == own else segment.boot,\n"
                        "                segment.first, len(commands),\n"
                        "            )\n"
                    ),
                )
            ],
            frozenset({"state-replayed"}),
            faults="crash",
            by_command=not raft,
            protocol=protocol,
        ),
        planted(
            f"Y04{mark}",
            "a store begins again one revision before its last",
            [(LAYERED, "        self.revision = state.revision\n", "        self.revision = state.revision - 1\n")],
            frozenset({"same-revision"}),
            faults="snapshot,crash",
            by_command=raft,
            protocol=protocol,
        ),
    )


LAW_ROWS: Final = (*_rows("raft", ""), *_rows("multipaxos", "-paxos"))
