"""Phase 1 of Multi-Paxos as the judges see it: who asked for which promises, who gave them, and what they told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec

from coterie.core.messages import Prepare, Promise
from coterie.core.types import NO_EPOCH, Epoch, Index, MemberId
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
        self._claimed: defaultdict[tuple[Epoch, MemberId, Index], dict[Index, Epoch]] = defaultdict(dict)
        """For a ballot, who was asked, and the slot from which on: what its proposer said that it knows. It may have
        asked several times; what it knows only grows."""
        self._heard: defaultdict[MemberId, dict[Index, Epoch]] = defaultdict(dict)
        """The highest ballot of which each proposer can know a value for a slot, because somebody told it: in this
        life of its process, in whichever ballot."""

    def started(self, member: MemberId) -> None:
        """The member's process begins, with nothing in its memory."""
        self._heard.pop(member, None)

    def given(self, ballot: Epoch) -> set[MemberId]:
        """Who has promised this ballot, and told all."""
        return {member for member, told in self._told.get(ballot, {}).items() if told.complete}

    def asked(self, member: MemberId, laws: MemberLaws, to: MemberId, message: Prepare) -> None:
        """A proposer asks, and says what it need not be told."""
        chosen = max(laws.commit, laws.written.base)
        told = self._told.get(message.epoch, {}).get(to)
        if message.first > max(chosen, told.through if told is not None else 0) + 1:
            raise Violation(
                "prepare-covers",
                f"{member} prepares {message.epoch} from slot {message.first} on; it knows what was chosen up to "
                f"{chosen} only, and {to} has told {told}",
            )
        if told is not None:
            # What lies between is chosen, and installed since: it need not be told any more.
            told.through = max(told.through, message.first - 1)
        claimed, heard = self._claimed[message.epoch, to, message.first], self._heard[member]
        for index, ballot in _each(message):
            held = max(laws.written.epoch_at(index) or NO_EPOCH, heard.get(index, NO_EPOCH))
            if held < ballot and index > laws.written.base:
                raise Violation(
                    "held-true",
                    f"{member} prepares {message.epoch} and says that it knows slot {index} of {ballot}; what it holds "
                    f"there, or can have been told, is of {held}",
                )
            claimed[index] = max(claimed.get(index, NO_EPOCH), ballot)

    def promised(self, member: MemberId, to: MemberId, durable: ShadowLog, message: Promise, unheard: bool) -> None:
        """A promise leaves. `unheard`: nothing hangs on what it tells, because its ballot is led already,
        without it, or because its proposer counts no longer."""
        if durable.hard_state.epoch < message.epoch:
            raise Violation(
                "promise-durable", f"{member} promises {message.epoch}; its disk has {durable.hard_state.epoch}"
            )
        heard = self._heard[to]
        for entry in message.entries:
            if not self._acceptances.accepted(member, entry.index, entry.epoch):
                raise Violation(
                    "promise-durable",
                    f"{member} promises {message.epoch} and reports slot {entry.index} of {entry.epoch}, which its "
                    f"disk never held",
                )
            self._acceptances.proposed(member, entry.index, slot_of(entry))
            heard[entry.index] = max(heard.get(entry.index, NO_EPOCH), entry.epoch)
        # Who has promised a higher ballot since, may have learned since what it could not report.
        if not unheard and durable.hard_state.epoch == message.epoch:
            self._check_report(member, durable, message)
        told = self._told.setdefault(message.epoch, {}).setdefault(member, _Told(message.first - 1))
        # What lies before a question was no secret to its proposer: that was looked at when it asked.
        if message.first <= told.through + 1 or (message.epoch, member, message.first) in self._claimed:
            told.through = max(told.through, message.through)
            told.complete = told.complete or told.through >= message.last

    def _check_report(self, member: MemberId, durable: ShadowLog, message: Promise) -> None:
        """Each slot of a lower ballot must be told, or be known to the proposer in no lower one: what the proposer does
        not know of, it may replace, and it may be chosen (2.2, P2c). What is compacted away nobody can tell: if the
        proposer lacks that, too, leader-completeness says so."""
        known = self._claimed.get((message.epoch, member, message.first), {})
        reported = {entry.index: entry.epoch for entry in message.entries}
        for index in range(max(message.first, durable.base + 1), durable.last_index + 1):
            accepted = durable.slots[index - durable.base - 1].epoch
            if message.through < index <= message.last or accepted >= message.epoch:
                continue  # It is told later; or it was accepted later.
            highest = max(reported.get(index, NO_EPOCH), known.get(index, NO_EPOCH))
            if highest < accepted:
                raise Violation(
                    "promise-reports",
                    f"{member} promises {message.epoch} and reports slots {message.first} to {message.through} (its "
                    f"last is {message.last}), but not slot {index}, which it accepted in {accepted}; the report, and "
                    f"what the proposer said that it knows, have {highest} there",
                )


def _each(message: Prepare) -> Iterator[tuple[Index, Epoch]]:
    """The slots that a proposer says it knows, each with its ballot."""
    ends = [first - 1 for first, _ in message.held[1:]] + [message.held_last]
    for (first, ballot), last in zip(message.held, ends, strict=False):
        for index in range(first, last + 1):
            yield index, ballot
