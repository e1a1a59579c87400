"""Planted bugs about damaged disks, and about coming back from one: row S19 of the catalogue, and the rules of
`core/repair.py` and `storage/salvage.py`, each left out once."""

from __future__ import annotations

from typing import Final

from tests.mutants.planting import PAXOS_SAFETY, SAFETY, planted

from coterie.sim.mutants import Mutant

REPAIR = "core/repair.py"
LOG_STORE = "storage/log_store.py"
SALVAGE = "storage/salvage.py"

DAMAGE: Final = "bit-rot,misdirect,crash,depose"
SILENCE: Final = frozenset({"damaged-silent"}) | SAFETY | PAXOS_SAFETY
WHOLE: Final = frozenset({"repaired-whole", "damaged-keeps-promises"}) | SAFETY | PAXOS_SAFETY


def _rows(protocol: str, mark: str) -> tuple[Mutant, ...]:
    """Each is hunted in the suite with one protocol, and with both by the command."""
    raft = protocol == "raft"
    return (
        planted(
            f"X01{mark}",
            "a member whose log is being repaired votes and promises",
            [(REPAIR, "    return owed is not None and isinstance(message, ASKS_FOR_A_WORD)\n", "    return False\n")],
            SILENCE,
            faults=DAMAGE,
            by_command=not raft,
            protocol=protocol,
        ),
        planted(
            f"X02{mark}",
            "a log is called whole with the first entries that a leader sends",
            [(REPAIR, "    if matched >= owed.until:\n", "    if matched >= min(owed.until, 2):\n")],
            WHOLE,
            faults=DAMAGE,
            by_command=raft,
            protocol=protocol,
        ),
        planted(
            f"X04{mark}",
            "a log is called whole as far as the leader tells, though it does not know yet what is committed",
            [(REPAIR, "m.epoch > owed.epoch and m.lag >= 0 and matched", "m.epoch > owed.epoch and matched")],
            WHOLE,
            faults=DAMAGE,
            by_command=raft,
            protocol=protocol,
        ),
        planted(
            f"S19{mark}",
            "the debt is forgotten where the log is begun anew",
            [(LOG_STORE, "owing = HardState(epoch, vote, Repair(last, epoch))\n", "owing = HardState(epoch, vote)\n")],
            frozenset({"damaged-silent"}),
            faults=DAMAGE,
            by_command=not raft,
            protocol=protocol,
        ),
        planted(
            f"X05{mark}",
            "the epoch is forgotten where the log is begun anew",
            [
                (
                    LOG_STORE,
                    "owing = HardState(epoch, vote, Repair(last, epoch))\n",
                    "owing = HardState(repair=Repair(last, epoch))\n",
                )
            ],
            frozenset({"damaged-keeps-promises", "epoch-monotonic"}),
            faults=DAMAGE,
            by_command=not raft,
            protocol=protocol,
        ),
        planted(
            f"X06{mark}",
            "what is promised is taken from the oldest frame that can be read",
            [
                (
                    SALVAGE,
                    "        newest, end = header, header.offset + header.span\n",
                    "        newest, end = newest or header, header.offset + header.span\n",
                ),
                (SALVAGE, "or not newest.offset ", ""),
            ],
            frozenset({"damaged-keeps-promises"}),
            faults=DAMAGE,
            by_command=raft,
            protocol=protocol,
        ),
    )


REPAIR_ROWS: Final = (*_rows("raft", ""), *_rows("multipaxos", "-paxos"))
