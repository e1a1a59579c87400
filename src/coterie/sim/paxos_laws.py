"""The laws of Multi-Paxos: one value a ballot and slot, promises that are kept and tell all, nothing forgotten.

Chosen values are compared as values: members may have accepted one in different ballots. Sections are of "Paxos Made
Simple".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from coterie.core.messages import (
    Accept,
    Accepted,
    Canvass,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    Prepare,
    Promise,
)
from coterie.core.records import Put, Record, StoreBatch
from coterie.core.types import NO_EPOCH, Entry, Epoch, HardState, Index, MemberId, Membership, Role, SnapshotMeta
from coterie.sim.acceptances import Acceptances
from coterie.sim.configurations import counting, elects
from coterie.sim.laws import Laws
from coterie.sim.promises import Promises
from coterie.sim.shadow import ShadowLog, Slot, slot_of
from coterie.sim.statute import MemberLaws
from coterie.sim.verdict import Figures, Violation


class _Acceptor(msgspec.Struct):
    """What is known of one member as an acceptor."""

    began: Epoch = NO_EPOCH
    """What it had promised when its process began."""
    settled: Index = 0
    """Its disk holds what was chosen, in every slot up to here."""
    vouched: tuple[Epoch, Index] = (NO_EPOCH, 0)
    """The newest ballot in which it acknowledged, and up to where that was found true."""


class PaxosLaws(Laws):
    """The judge of a cluster that runs Multi-Paxos."""

    electors_meet = False
    """A ballot has one owner (2.2)."""
    tells_candidates = True

    def __init__(self, members: Iterable[MemberId], figures: Figures) -> None:
        super().__init__(members, figures)
        self._acceptances = Acceptances()
        self._promises = Promises(self._acceptances)
        self._acceptors: defaultdict[MemberId, _Acceptor] = defaultdict(_Acceptor)

    # -- the disk ------------------------------------------------------------------------------

    def store(self, member: MemberId, batch: StoreBatch, role: Role = Role.FOLLOWER, commit: Index = 0) -> None:
        """See `Laws.store`."""
        super().store(member, batch, role, commit)
        log = self._members[member].written
        if role is Role.LEADER and log.hard_state.epoch.node == member:
            self._acceptances.counts(log.hard_state.epoch, log.membership)

    def _found(self, member: MemberId, laws: MemberLaws) -> None:
        log = laws.durable
        self._acceptors[member].began = log.hard_state.epoch
        self._promises.started(member)
        for index, slot in enumerate(log.slots, log.base + 1):
            # What is not known yet, an initial member's directory began with.
            self._acceptances.proposed(member, index, slot)
            self._acceptances.stored(member, index, slot)

    def holds_as(self, member: MemberId, log: ShadowLog) -> Index:
        """In a new ballot it vouches only for what it knows to be chosen, whatever its disk holds beyond."""
        return self._members[member].commit

    def _forgot(self, member: MemberId) -> None:
        self._acceptors[member] = _Acceptor(began=self._acceptors[member].began)

    def _begins(self, laws: MemberLaws, entry: Entry, slot: Slot) -> bool:
        """A new leader writes again what others began (2.5): that is no change of its own."""
        own = entry.epoch == laws.written.hard_state.epoch
        return own and not self._acceptances.carried_on(entry.index, slot)

    def _write(self, member: MemberId, laws: MemberLaws, index: Index, slot: Slot, changed: Membership | None) -> None:
        """To accept is to promise (P1a): an entry is of the ballot that the member has promised last. Those of older
        ballots are learned as chosen: others accepted them."""
        log, ballot = laws.written, slot.epoch
        if ballot != log.hard_state.epoch and not self._is_chosen(index, slot):
            raise Violation(
                "promise-kept",
                f"{member} accepts slot {index} in ballot {ballot}, and has promised {log.hard_state.epoch}; what it "
                f"accepts ({slot.digest.hex()}) is not chosen",
            )
        if not self._acceptances.known(index, ballot) and ballot.node != member:
            raise Violation("ballot-owner", f"{member} writes slot {index} of ballot {ballot}, which nobody proposed")
        self._acceptances.proposed(member, index, slot)
        try:
            log.put(index, slot, changed)
        except ValueError as error:
            raise Violation("slots-in-order", f"{member}: {error}") from error

    def _is_chosen(self, index: Index, slot: Slot | None) -> bool:
        """Whether the value is the chosen one. A leader that falls in a step may know so before anybody has seen it
        commit that: then the disks tell."""
        if slot is None:
            return False
        chosen = self._chosen.get(index)
        return chosen.digest == slot.digest if chosen is not None else self._acceptances.chosen(index, slot.digest)

    def _truncate(self, member: MemberId, laws: MemberLaws, first: Index) -> None:
        raise Violation("nothing-truncated", f"{member} drops what it has accepted from slot {first} on")

    def _hard_state(self, member: MemberId, laws: MemberLaws, state: HardState) -> None:
        """Nothing: it has no vote, and its epoch does not go back."""

    def _compact(self, member: MemberId, laws: MemberLaws, base: SnapshotMeta, commit: Index) -> None:
        """The member need not hold the chosen value there itself: a snapshot may have come in its place."""
        last = laws.written.last_index
        if base.index > min(self._top, last):
            raise Violation(
                "log-forgets-applied",
                f"{member} forgets slots up to {base.index}; its log ends at {last}, and what is chosen at {self._top}",
            )

    def _reset(self, member: MemberId, laws: MemberLaws, base: SnapshotMeta) -> None:
        if base.index not in self._chosen:
            raise Violation("snapshot-chosen", f"{member} resets its log to {base.index}; nothing is chosen there")
        if laws.written.last_index > base.index:
            raise Violation(
                "accepted-kept",
                f"{member} resets its log to {base.index}, and forgets what it has accepted from there to "
                f"{laws.written.last_index}",
            )

    def _kept(self, member: MemberId, laws: MemberLaws, record: Record) -> None:
        if isinstance(record, Put):
            for entry in record.entries:
                slot = laws.durable.slot(entry.index)
                assert slot is not None
                self._acceptances.stored(member, entry.index, slot)

    # -- messages ------------------------------------------------------------------------------

    def _said(self, member: MemberId, laws: MemberLaws, to: MemberId, message: Message) -> None:
        match message:
            case Accepted(accepted=True):
                self._acknowledge(member, laws, message)
            case Accept():
                self._accept(member, laws, message)
            case Canvass():
                self.configurations.check_candidate(member, laws.campaigns_by())
            case Prepare():
                self._prepare(member, laws, to, message)
            case Promise():
                self._promise(member, laws, to, message)
            case InstallSnapshot():
                if message.epoch != NO_EPOCH:  # else it is lent, by no leader
                    self._owns(member, message.epoch)
            case InstallSnapshotReply(installed=True):
                self._acknowledge_snapshot(member, laws, message.index)
            case _:
                pass

    @staticmethod
    def _owns(member: MemberId, ballot: Epoch) -> None:
        if ballot.node != member:
            raise Violation("ballot-owner", f"{member} speaks in ballot {ballot}, which is another member's")

    def _prepare(self, member: MemberId, laws: MemberLaws, to: MemberId, message: Prepare) -> None:
        self._owns(member, message.epoch)
        self.configurations.check_candidate(member, laws.campaigns_by())
        if laws.durable.hard_state.epoch < message.epoch:
            raise Violation(
                "candidacy-durable",
                f"{member} prepares {message.epoch}; its disk has {laws.durable.hard_state.epoch}",
            )
        self._promises.asked(member, laws, to, message)

    def _promise(self, member: MemberId, laws: MemberLaws, to: MemberId, message: Promise) -> None:
        self._keeps_its_word(member, message.epoch)
        proposer = self._members.get(to)
        unheard = message.epoch in self.leaders or proposer is None or proposer.exiled
        self._promises.promised(member, to, laws.durable, message, unheard)
        # What it says to be chosen, a new leader relies upon.
        self._commit(member, laws, max(laws.commit, message.commit))

    def _keeps_its_word(self, member: MemberId, ballot: Epoch) -> None:
        """Messages may wait for the disk while the member promises a higher ballot; but not from one life to the
        next."""
        began = self._acceptors[member].began
        if ballot < began:
            raise Violation("promise-kept", f"{member} answers in ballot {ballot}; it began with a promise of {began}")

    def _accept(self, member: MemberId, laws: MemberLaws, message: Accept) -> None:
        self._owns(member, message.epoch)
        self._lead(member, laws, message.epoch)
        for entry in message.entries:
            slot = slot_of(entry)
            if slot.epoch == message.epoch:
                self._acceptances.proposed(member, entry.index, slot)
            elif not self._is_chosen(entry.index, slot):
                raise Violation(
                    "learned-chosen",
                    f"{member} sends in ballot {message.epoch} slot {entry.index} of {entry.epoch} "
                    f"({slot.digest.hex()}), which is not chosen",
                )
        # In the step in which it takes over, what it says leaves before what it adopted is handed to its disk.
        if laws.role is Role.LEADER and laws.epoch == message.epoch:
            self._commit(member, laws, max(laws.commit, message.commit))

    def _acknowledge(self, member: MemberId, laws: MemberLaws, message: Accepted) -> None:
        """A slot that was accepted in this ballot may be overwritten in a later one meanwhile."""
        self._keeps_its_word(member, message.epoch)
        ballot, last = message.epoch, message.index
        vouched = self._acceptors[member].vouched
        first = max(self._settle(member, laws), vouched[1] if vouched[0] == ballot else 0) + 1
        for index in range(first, last + 1):
            slot = laws.durable.slot(index)
            if not (self._acceptances.accepted(member, index, ballot) or self._is_chosen(index, slot)):
                raise Violation(
                    "acceptance-durable",
                    f"{member} acknowledges slots up to {last} in {ballot}; slot {index} was not on its disk in that "
                    f"ballot, and what is there now is not chosen: {slot}",
                )
        self._acceptors[member].vouched = (ballot, max(first - 1, last))

    def _settle(self, member: MemberId, laws: MemberLaws) -> Index:
        """Up to where the member's disk holds what was chosen."""
        acceptor, log = self._acceptors[member], laws.durable
        acceptor.settled = max(acceptor.settled, log.base)
        while self._is_chosen(acceptor.settled + 1, log.slot(acceptor.settled + 1)):
            acceptor.settled += 1
        return acceptor.settled

    def _acknowledge_snapshot(self, member: MemberId, laws: MemberLaws, index: Index) -> None:
        """Its log begins there, or it had all of that already."""
        settled = self._settle(member, laws)
        if index > settled:
            raise Violation(
                "acceptance-durable",
                f"{member} acknowledges the snapshot at {index}; its disk holds what was chosen up to {settled} only",
            )

    # -- leaders -------------------------------------------------------------------------------

    def _elected(self, member: MemberId, laws: MemberLaws, epoch: Epoch) -> None:
        self._owns(member, epoch)
        if laws.durable.hard_state.epoch < epoch:
            raise Violation(
                "candidacy-durable", f"{member} leads {epoch}; its disk has {laws.durable.hard_state.epoch}"
            )
        given = self._given(member, epoch)
        if not any(elects(membership, given) for membership in laws.in_force):
            raise _too_few(member, epoch, given, laws.in_force)

    def _given(self, member: MemberId, epoch: Epoch) -> set[MemberId]:
        """Promises leave before they are counted, so whoever promised is known; the own one counts, being durable."""
        return self._promises.given(epoch) | {member}

    def _took_over(self, member: MemberId, laws: MemberLaws, epoch: Epoch) -> None:
        """Its log is now what phase 1 made of it, and a quorum of the newest membership in it must have promised. (That
        meets the quorums of the one before, whose own slot, and so all before it, a quorum of it accepted: nobody
        writes a change before the last one is chosen.)"""
        given = self._given(member, epoch)
        if not elects(laws.written.membership, given):
            raise _too_few(member, epoch, given, [laws.written.membership])
        self._complete(member, laws, epoch, max(laws.commit, laws.written.base) + 1)

    def _complete(self, member: MemberId, laws: MemberLaws, epoch: Epoch, first: Index) -> None:
        log = laws.written
        for index in range(max(first, log.base + 1), self._top + 1):
            if not self._is_chosen(index, log.slot(index)):
                raise Violation(
                    "leader-completeness",
                    f"{member} leads {epoch} without what was chosen in slot {index} "
                    f"({self._chosen[index].digest.hex()}): it has {log.slot(index)}",
                )

    # -- commit --------------------------------------------------------------------------------

    def _same(self, one: Slot, other: Slot) -> bool:
        return one.digest == other.digest

    def _check_quorum(self, member: MemberId, committer: MemberLaws, first: Index, commit: Index) -> None:
        """A quorum for the last slot says nothing of those before it: each needs its own."""
        if committer.role is Role.LEADER and not self._is_chosen(commit, committer.durable.slot(commit)):
            self._figures.early_commits += 1
        for index in range(first, commit + 1):
            self._acceptances.check_quorum(index, self._chosen[index], committer.in_force)


def _too_few(member: MemberId, epoch: Epoch, given: set[MemberId], in_force: list[Membership]) -> Violation:
    return Violation(
        "promise-quorum",
        f"{member} leads {epoch} with the whole promises of {sorted(given)}; in force were "
        f"{[counting(m) for m in in_force]}",
    )
