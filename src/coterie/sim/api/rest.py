"""After all is well: leases that nobody keeps alive end, and watchers are told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from coterie.core.config import MILLISECOND
from coterie.sim.api.judge import ApiHistory
from coterie.sim.api.lease_caller import LONGEST_S
from coterie.sim.api.model import SECOND
from coterie.sim.verdict import Violation

if TYPE_CHECKING:
    from coterie.sim.world import World

BOUND_TIMEOUTS: Final = 20
"""Election timeouts that the longest lease may take beyond its time, by a clock that is a tenth slow."""


def let_leases_end(world: World) -> bool:
    """Wait until no lease lives; False if nobody uses them here. Raises `Violation` if one lives for too long."""
    judge = world.subject.judge
    if not isinstance(judge, ApiHistory):
        return False
    schedule = world.schedule
    deadline = schedule.now + LONGEST_S * SECOND * 10 // 9 + BOUND_TIMEOUTS * world.options.election_timeout
    while judge.model.leases:
        if schedule.now > deadline:
            raise Violation("lease-ends", f"in a healthy cluster {judge.model.leases} live at {schedule.now}")
        world.run_until(schedule.now + 50 * MILLISECOND)
    return True
