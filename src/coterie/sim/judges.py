"""The judges of the simulated world: each protocol has its own laws beside those that all must keep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from coterie.core.types import MemberId
from coterie.sim.laws import Laws
from coterie.sim.paxos_laws import PaxosLaws
from coterie.sim.raft_laws import RaftLaws
from coterie.sim.verdict import Figures

JUDGES: Final[dict[str, type[Laws]]] = {"raft": RaftLaws, "multipaxos": PaxosLaws}
"""By the protocol's name in `core.protocols`."""


def judge(protocol: str, members: Iterable[MemberId], figures: Figures) -> Laws:
    """Who judges a cluster of these members that runs this protocol."""
    return JUDGES[protocol](members, figures)
