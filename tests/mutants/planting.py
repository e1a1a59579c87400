"""How a row of the bug catalogue is written down, and which checks name which kind of fault."""

from __future__ import annotations

from typing import Final

from coterie.core.protocols import DEFAULT_PROTOCOL
from coterie.sim.mutants import Change, Mutant
from coterie.sim.options import NATIVE
from coterie.sim.statute import MULTIPAXOS

SAFETY: Final = frozenset(
    {
        "one-leader",
        "one-vote",
        "vote-quorum",
        "log-matching",
        "leader-completeness",
        "chosen-stays",
        "chosen-truncated",
        "commit-quorum",
        "commit-own-epoch",
        "same-applied",
        "alarm",
    }
)
"""Checks that name a broken election, replication or commit rule. `alarm`: the product's own assertion."""

PAXOS_SAFETY: Final = frozenset(MULTIPAXOS) | {
    "one-leader",
    "leader-completeness",
    "chosen-stays",
    "commit-quorum",
    "same-applied",
    "alarm",
}
"""The same of Multi-Paxos."""


def planted(
    row: str,
    name: str,
    changes: list[tuple[str, str, str]],
    killers: frozenset[str],
    *,
    faults: str = "",
    nodes: int = 0,
    first: int = 0,
    by_command: bool = False,
    protocol: str = DEFAULT_PROTOCOL,
    api: str = NATIVE,
) -> Mutant:
    """A row; `changes`: file, old text, new text."""
    texts = tuple(Change(*change) for change in changes)
    return Mutant(
        row=row,
        name=name,
        changes=texts,
        killers=killers,
        faults=faults,
        nodes=nodes,
        first=first,
        by_command=by_command,
        protocol=protocol,
        api=api,
    )
