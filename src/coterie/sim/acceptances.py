"""What Multi-Paxos's members ever accepted, by their disks: for each slot and ballot the value, and who has had it.

That is never undone: who overwrites a slot, compacts it or loses its disk has accepted it all the same, and what a
quorum accepted in one ballot is chosen, whether or not anybody found out ("Paxos Made Simple", 2.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from coterie.core.types import Epoch, Index, MemberId, Membership
from coterie.sim.configurations import commits, counting
from coterie.sim.shadow import Slot
from coterie.sim.verdict import Violation


class _Proposal(NamedTuple):
    """One ballot's value for one slot."""

    value: bytes
    holders: list[MemberId]
    """On whose disks it has been."""


class _Choice(NamedTuple):
    """A slot's chosen value, and the lowest ballot that is known to have chosen it."""

    ballot: Epoch
    value: bytes


class Acceptances:
    """Every proposal, and what became of it."""

    def __init__(self) -> None:
        self._slots: dict[Index, dict[Epoch, _Proposal]] = {}
        self._choices: dict[Index, _Choice] = {}
        self._counted_by: dict[Epoch, Membership] = {}
        """By which membership each ballot's leader counts."""

    def known(self, index: Index, ballot: Epoch) -> bool:
        """Whether the ballot has a value for this slot."""
        return ballot in self._slots.get(index, ())

    def carried_on(self, index: Index, slot: Slot) -> bool:
        """Whether a lower ballot had the same value for this slot: then its proposer did not think of it first."""
        proposals = self._slots.get(index, {})
        return any(ballot < slot.epoch and known.value == slot.digest for ballot, known in proposals.items())

    def accepted(self, member: MemberId, index: Index, ballot: Epoch) -> bool:
        """Whether the member's disk has held the ballot's value for this slot, now or at any time."""
        known = self._slots.get(index, {}).get(ballot)
        return known is not None and member in known.holders

    def proposed(self, member: MemberId, index: Index, slot: Slot) -> None:
        """The member sends this to be accepted, reports or writes it: a ballot's value never changes, and no ballot
        has another value than a lower one that was chosen (P2b)."""
        proposals = self._slots.setdefault(index, {})
        known = proposals.get(slot.epoch)
        if known is not None:
            if known.value != slot.digest:
                raise Violation(
                    "one-value",
                    f"{member} has {slot.digest.hex()} for slot {index} in ballot {slot.epoch}; the value of that "
                    f"ballot was {known.value.hex()}",
                )
            return
        choice = self._choices.get(index)
        if choice is not None and slot.epoch >= choice.ballot and slot.digest != choice.value:
            raise _disagreement(index, choice, slot.epoch, slot.digest)
        proposals[slot.epoch] = _Proposal(slot.digest, [])

    def counts(self, ballot: Epoch, membership: Membership) -> None:
        """The leader of this ballot counts by this membership from now on."""
        self._counted_by[ballot] = membership

    def stored(self, member: MemberId, index: Index, slot: Slot) -> None:
        """The member's disk holds this; it was proposed before."""
        holders = self._slots[index][slot.epoch].holders
        if member in holders:
            return
        holders.append(member)
        counted_by = self._counted_by.get(slot.epoch)
        if counted_by is not None and commits(counted_by, holders):
            self._choose(index, slot.epoch, slot.digest)

    def chosen(self, index: Index, value: bytes) -> bool:
        """Whether a ballot has chosen this, by its leader's membership as it is now or was then."""
        for ballot, proposal in self._slots.get(index, {}).items():
            counted_by = self._counted_by.get(ballot)
            if proposal.value == value and counted_by is not None and commits(counted_by, proposal.holders):
                self._choose(index, ballot, value)
        choice = self._choices.get(index)
        return choice is not None and choice.value == value

    def _choose(self, index: Index, ballot: Epoch, value: bytes) -> None:
        """The ballot has chosen the value. Had a lower one chosen it, that is the one to measure others by."""
        known = self._choices.get(index)
        if known is not None and known.ballot <= ballot:
            return
        choice = self._choices[index] = _Choice(ballot, value)
        for later, proposal in self._slots[index].items():
            if later > ballot and proposal.value != value:
                raise _disagreement(index, choice, later, proposal.value)

    def check_quorum(self, index: Index, slot: Slot, in_force: Iterable[Membership]) -> None:
        """Somebody commits this: some ballot must have chosen it, by one of these memberships. The newest that did is
        taken for the one: by a membership of now, an older ballot's few may be a quorum that they were not then."""
        memberships = list(in_force)
        holders: dict[str, list[MemberId]] = {}
        for ballot, proposal in sorted(self._slots.get(index, {}).items(), reverse=True):
            if proposal.value == slot.digest:
                if any(commits(membership, proposal.holders) for membership in memberships):
                    self._choose(index, ballot, slot.digest)
                    return
                holders[str(ballot)] = proposal.holders
        raise Violation(
            "commit-quorum",
            f"slot {index} is committed as {slot.digest.hex()}; ballots and whose disks held that: {holders}; in force "
            f"were {[counting(m) for m in memberships]}",
        )


def _disagreement(index: Index, choice: _Choice, ballot: Epoch, value: bytes) -> Violation:
    return Violation(
        "later-ballots-agree",
        f"ballot {ballot} has {value.hex()} for slot {index}; ballot {choice.ballot} chose {choice.value.hex()} there",
    )
