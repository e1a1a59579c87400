"""Phase 1 of Multi-Paxos as the judges see it: who asked for which promises, who gave them, and what they told."""

from __future__ import annotations

import msgspec

from coterie.core.messages import Prepare, Promise
from coterie.core.types import Epoch, Index, MemberId
from coterie.sim.acceptances import Acceptances
from coterie.sim.shadow import ShadowLog, slot_of
from coterie.sim.statute import MemberLaws
from coterie.sim.verdict import Violation


class _Told(msgspec.Struct):
    """What a member has told the proposer of one ballot."""

    through: Index = 0
    """All up to here, from where the proposer asked it to begin."""
    complete: bool = False
    """That was all."""


class Promises:
    """Every promise that was given."""

    def __init__(self, acceptances: Acceptances) -> None:
        self._acceptances = acceptances
        self._told: dict[Epoch, dict[MemberId, _Told]] = {}

    def given(self, ballot: Epoch) -> set[MemberId]:
        """Who has promised this ballot, and told all."""
        return {member for member, told in self._told.get(ballot, {}).items() if told.complete}

    def asked(self, member: MemberId, laws: MemberLaws, to: MemberId, message: Prepare) -> None:
        """A proposer asks, and says what it need not be told."""
        known = max(laws.commit, laws.written.base)
        told = self._told.get(message.epoch, {}).get(to)
        if message.first > max(known, told.through if told is not None else 0) + 1:
            raise Violation(
                "prepare-covers",
                f"{member} prepares {message.epoch} from slot {message.first} on; it knows what was chosen up to "
                f"{known} only, and {to} has told {told}",
            )
        ends = [first - 1 for first, _ in message.held[1:]] + [message.held_last]
        for (first, ballot), last in zip(message.held, ends, strict=False):
            for index in range(max(first, laws.written.base + 1), last + 1):
                held = laws.written.epoch_at(index)
                if held is None or held < ballot:
                    raise Violation(
                        "held-true",
                        f"{member} prepares {message.epoch} and says that it holds slot {index} in {ballot}; it holds "
                        f"{held} there",
                    )

    def promised(
        self, member: MemberId, durable: ShadowLog, message: Promise, proposer: ShadowLog | None, leads: bool
    ) -> None:
        """A promise leaves. `proposer`: what its proposer holds, if that can be trusted; `leads`: its ballot is led
        already, without this promise, so that nothing hangs on what it tells."""
        if durable.hard_state.epoch < message.epoch:
            raise Violation(
                "promise-durable", f"{member} promises {message.epoch}; its disk has {durable.hard_state.epoch}"
            )
        for entry in message.entries:
            if not self._acceptances.accepted(member, entry.index, entry.epoch):
                raise Violation(
                    "promise-durable",
                    f"{member} promises {message.epoch} and reports slot {entry.index} of {entry.epoch}, which its "
                    f"disk never held",
                )
            self._acceptances.proposed(member, entry.index, slot_of(entry))
        # Who has promised a higher ballot since, may have learned since what it could not report.
        if proposer is not None and not leads and durable.hard_state.epoch == message.epoch:
            _check_report(member, durable, message, proposer)
        told = self._told.setdefault(message.epoch, {}).setdefault(member, _Told(message.first - 1))
        if message.first <= told.through + 1:
            told.through = max(told.through, message.through)
            told.complete = told.complete or told.through >= message.last


def _check_report(member: MemberId, durable: ShadowLog, message: Promise, proposer: ShadowLog) -> None:
    """Each slot of a lower ballot must be told, or be held by the proposer in no lower one: what the proposer does not
    know of, it may replace, and it may be chosen (2.2, P2c). What is compacted away nobody can tell: if the proposer
    lacks that, too, leader-completeness says so."""
    reported = {entry.index: entry.epoch for entry in message.entries}
    for index in range(max(message.first, durable.base + 1), durable.last_index + 1):
        if message.through < index <= message.last:
            continue
        accepted = durable.slots[index - durable.base - 1].epoch
        if accepted >= message.epoch or index <= proposer.base:
            continue
        known = [epoch for epoch in (reported.get(index), proposer.epoch_at(index)) if epoch is not None]
        if not known or max(known) < accepted:
            raise Violation(
                "promise-reports",
                f"{member} promises {message.epoch} and reports slots {message.first} to {message.through} (its last "
                f"is {message.last}), but not slot {index}, which it accepted in {accepted}; of the proposer and the "
                f"report, the highest ballot there is {max(known, default=None)}",
            )
