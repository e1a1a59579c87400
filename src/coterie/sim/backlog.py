"""What a healed world has still to copy before its members agree, and how long that takes at least."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from coterie.core.types import MemberId, Nanos
from coterie.sim.process import STEP_DELAY

if TYPE_CHECKING:
    from coterie.sim.world import World

ENTRY_BYTES: Final = 100
"""Payload of an entry of one or two of the clients' commands, about: what fits into a message that may be longer."""
STEPS: Final = 4
"""Of processes, for each message: the leader takes an answer in and sends, the member takes that in, hands it to its
disk, and answers when it is told that the disk has it."""


def time_to_copy(world: World, core: list[MemberId]) -> Nanos:
    """How long the slowest of these members has to be sent entries, if nothing ever waits for a timeout.

    It counts where messages are small and few may be under way: then each costs a way there and back, and a write.
    (Where they are not it is next to nothing, and so are snapshots.) In Multi-Paxos the leader itself may have to be
    told all that first, in phase 1, one answer at a time.
    """
    laws, network = world.laws, world.network
    logs = [laws.log_of(member) for member in core]
    if not logs or world.terrain is not None:
        return 0
    furthest = max(logs, key=lambda log: log.last_index)
    compacted = min(log.base for log in logs)
    config = world.nodes[core[0]].config.replica
    in_message = max(1, config.max_append_bytes // ENTRY_BYTES)
    # Of two under way the second waits for the first one's write.
    writes = 1 if config.max_inflight_messages == 1 else 2
    way = 2 * network.usual_delay + STEPS * STEP_DELAY
    slowest, missing = 0, 0
    for member in core:
        needed = furthest.last_index - max(compacted, laws.holds_as(member, furthest))
        messages = -(-needed // in_message)
        trips = -(-messages // config.max_inflight_messages)
        slowest = max(slowest, trips * (way + writes * world.nodes[member].hardware.usual_sync))
        missing = max(missing, messages)
    return slowest + (missing * way if laws.tells_candidates else 0)
