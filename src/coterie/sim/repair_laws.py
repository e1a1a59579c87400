"""What a member must keep to whose log was damaged, until the others have repaired it (`core/repair.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from coterie.core.messages import (
    Accept,
    Accepted,
    Append,
    AppendReply,
    Canvass,
    CanvassReply,
    InstallSnapshotReply,
    Message,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    RequestVote,
    VoteReply,
)
from coterie.core.types import NOBODY, HardState, Index, MemberId, Repair
from coterie.sim.shadow import ShadowLog, Slot
from coterie.sim.statute import MemberLaws
from coterie.sim.verdict import Violation

Same = Callable[[Slot, Slot], bool]
"""Whether two slots are the same choice."""


def check_begun_anew(member: MemberId, was: ShadowLog, state: HardState) -> None:
    """The member's disk held `was`; its log was damaged and begun anew with this hard state."""
    if state.repair is None:
        raise Violation("damaged-silent", f"{member} lost its log and starts as if nothing were: {state}")
    last = max(was.last_index, was.hard_state.repair.until if was.hard_state.repair is not None else 0)
    old = was.hard_state
    forgot = state.epoch < old.epoch or (state.epoch == old.epoch and old.vote not in (NOBODY, state.vote))
    if forgot or state.repair.epoch < old.epoch or state.repair.until < last:
        raise Violation(
            "damaged-keeps-promises",
            f"{member} had {old} and entries up to {last} on disk; its log was damaged, and now it has {state}",
        )


def check_whole(member: MemberId, laws: MemberLaws, owed: Repair, chosen: Mapping[Index, Slot], same: Same) -> None:
    """The member is about to say that its log is whole again. (In the epoch that it had reached, what it
    acknowledged last may be committed by that any time.)"""
    log = laws.written
    if log.hard_state.epoch <= owed.epoch and log.last_index < owed.until:
        raise Violation(
            "repaired-whole", f"{member} ends its repair in {owed.epoch} with {log.last_index} of {owed.until} entries"
        )
    for was in laws.forgot:
        for index, slot in enumerate(was.slots, was.base + 1):
            known = chosen.get(index)
            if known is not None and same(known, slot) and not _has(log, index, known, same):
                raise Violation(
                    "repaired-whole",
                    f"{member} ends its repair without entry {index} of {known.epoch}, which it held and which is "
                    f"committed; it holds {log.base + 1} to {log.last_index}, and there {log.slot(index)}",
                )


def _has(log: ShadowLog, index: Index, chosen: Slot, same: Same) -> bool:
    """Whether the log holds this, or begins after it."""
    held = log.slot(index)
    return index <= log.base or (held is not None and same(held, chosen))


def counts(message: Message) -> bool:
    """Whether the message is a vote, a promise, an acknowledgement, or asks for one: the word of a whole member."""
    match message:
        case AppendReply(accepted=True) | Accepted(accepted=True) | InstallSnapshotReply(installed=True):
            return not message.repairing
        case PreVoteReply() | VoteReply() | CanvassReply():
            return message.granted
        case _:
            return isinstance(message, Promise | PreVote | RequestVote | Canvass | Prepare | Append | Accept)
