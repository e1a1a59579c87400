"""The simulated world: the shipped engine and storage on a simulated network, disk and clock.

One thread, one heap of events, one seed: one run, byte for byte, on any machine. See
`docs/simulation.md`. `simulate` runs a machine of your own in it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coterie.sim.options import Options as Options
    from coterie.sim.options import choose as choose
    from coterie.sim.users.failure import SimulationFailed as SimulationFailed
    from coterie.sim.users.operations import Command as Command
    from coterie.sim.users.operations import Operation as Operation
    from coterie.sim.users.operations import Query as Query
    from coterie.sim.users.simulate import simulate as simulate
    from coterie.sim.users.trial import Report as Report
    from coterie.sim.verdict import Violation as Violation

_HOMES = {
    "Command": "coterie.sim.users.operations",
    "Operation": "coterie.sim.users.operations",
    "Options": "coterie.sim.options",
    "Query": "coterie.sim.users.operations",
    "Report": "coterie.sim.users.trial",
    "SimulationFailed": "coterie.sim.users.failure",
    "Violation": "coterie.sim.verdict",
    "choose": "coterie.sim.options",
    "simulate": "coterie.sim.users.simulate",
}
"""Where each public name lives. Loaded when first used, as in `coterie`: one room of it needs no other."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'coterie.sim' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
