"""The simulated world: the shipped engine and storage on a simulated network, disk and clock.

One thread, one heap of events, one seed: one run, byte for byte, on any machine. See
`docs/simulation.md`.
"""

from coterie.sim.options import Options, choose
from coterie.sim.verdict import Violation

__all__ = ["Options", "Violation", "choose"]
