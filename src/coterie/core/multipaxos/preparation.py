"""Phase 1 of one ballot, for every slot that is not known to be chosen, at once ("Paxos Made Simple" 2.2 and 3; the
scout of PMMC 2).

A proposer asks the electors for their promise, and for what they have accepted. With *whole* promises of a phase-1
quorum it knows enough (P2c): of each slot it takes the value of the highest ballot that was told, or that it holds
itself. That value may have been chosen; one that nobody of the quorum has accepted was not. Slots without any value
become no-ops.

*Chosen already.* Who promises tells how far it knows its slots to be chosen; what it holds there, or what is held in a
higher ballot, is the chosen value. These slots need no second decision.

*Which quorum?* The one that is in force in a slot, and what is in force there may be told by the very slots before it.
So when the promises reveal a membership that the proposer did not know, its electors are asked, too, and phase 1 is
complete only when the newest membership in the log, as it would be now, has its quorum. (A joint configuration contains
a quorum of the one before it, and is left only when it is chosen: so it is found by a quorum of the one before. Those
before the newest are over: it was made from a chosen one, up to whose slot all is accepted by quorums of its own, too.
What breaks if they are asked for: members that left long ago, and are gone, would have to promise.)
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from coterie.core import quorum
from coterie.core.errors import ConfigurationError, SafetyViolation
from coterie.core.messages import Prepare, Promise
from coterie.core.multipaxos.state import PaxosState, follows
from coterie.core.multipaxos.synod import Proposal, refuse_contradiction, value_to_propose
from coterie.core.settings import Settings
from coterie.core.state import membership_of, settings_of
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch, Index, MemberId, Membership, Nanos

MAX_HELD_RUNS = 256
"""Runs of ballots that a `Prepare` lists: what lies after them is told again."""


class Value(NamedTuple):
    """What is agreed on in a slot; the ballot is not part of it."""

    kind: EntryKind
    elapsed: Nanos
    payload: bytes


NOTHING = Value(EntryKind.NOOP, 0, b"")
"""Fills a slot in which nothing can have been chosen ("Paxos Made Simple" 3)."""


def proposal(entry: Entry) -> Proposal[Value]:
    """An accepted entry as single-decree Paxos sees it."""
    return Proposal(entry.epoch, Value(entry.kind, entry.elapsed, entry.payload))


class Unreadable(SafetyViolation):
    """A membership, or settings, that cannot be read here: who skipped them would count by the wrong quorums."""


class Recovered(NamedTuple):
    """What phase 1 found: entries to write, in order, and up to where they are chosen."""

    entries: list[Entry]
    chosen: Index


class Reports:
    """What has been told of slots, by whomever, in whichever ballot's phase 1: facts, which do not grow old.

    So an attempt that is given up has not been for nothing: the next one need not be told the same again.
    """

    def __init__(self, state: PaxosState) -> None:
        self._state = state
        self._told: dict[Index, Entry] = {}
        self._told_memberships: set[Index] = set()

    def add(self, entry: Entry) -> None:
        """Keep it if it is of the highest ballot so far. Raises `SafetyViolation` if one ballot has two values, and
        `Unreadable`."""
        try:
            if entry.kind is EntryKind.MEMBERSHIP:
                membership_of(entry)
            elif entry.kind is EntryKind.SETTINGS:
                settings_of(entry)
        except (msgspec.DecodeError, ConfigurationError) as error:
            raise Unreadable(f"slot {entry.index} ({entry.kind.name}) cannot be read here: {error}") from error
        known = self._told.get(entry.index)
        if known is not None:
            refuse_contradiction(proposal(known), proposal(entry))
        if known is None or entry.epoch > known.epoch:
            self._told[entry.index] = entry
            if entry.kind is EntryKind.MEMBERSHIP:
                self._told_memberships.add(entry.index)
            else:
                self._told_memberships.discard(entry.index)

    def forget(self, through: Index) -> None:
        """These slots are chosen here by now."""
        for index in [index for index in self._told if index <= through]:
            del self._told[index]
            self._told_memberships.discard(index)

    def clear(self) -> None:
        """All that was told is written, or nobody needs it."""
        self._told.clear()
        self._told_memberships.clear()

    @property
    def last(self) -> Index:
        """The last slot of which a value is known, told or held."""
        return max(self._state.log.last_index, max(self._told, default=0))

    def held(self, first: Index) -> tuple[tuple[tuple[Index, Epoch], ...], Index]:
        """Ballots of the values known from slot `first` on, as runs, and up to where that goes."""
        log, last = self._state.log, self.last
        ballots = dict(log.epochs_since(first))
        if last >= max(first, log.last_index + 1):
            ballots[max(first, log.last_index + 1)] = NO_EPOCH
        # By runs, and what wins over them: a question that went slot by slot through a long log would take too long.
        for index in sorted(index for index in self._told if index >= first):
            entry = self._told[index]
            if self._wins(entry):
                ballots[index] = entry.epoch
                if index < last:
                    ballots.setdefault(index + 1, log.epoch_at(index + 1) or NO_EPOCH)
        runs: list[tuple[Index, Epoch]] = []
        for index in sorted(ballots):
            if not runs or runs[-1][1] != ballots[index]:
                if len(runs) == MAX_HELD_RUNS:
                    return tuple(runs), index - 1
                runs.append((index, ballots[index]))
        return tuple(runs), max(first - 1, last)

    def membership(self) -> Membership:
        """The newest in the log as it would be, by what wins in each slot so far: each follows on the one before it.
        Not always the newest that we hold: if a higher ballot has something else in its slot, it was not chosen."""
        state = self._state
        standing = dict(state.accepted_memberships())
        for index in [index for index in standing if index in self._told]:
            if self._wins(self._told[index]):
                del standing[index]
        for index in self._told_memberships:
            if self._wins(self._told[index]):
                standing[index] = membership_of(self._told[index])
        newest, _ = state.at(state.commit)
        for index in sorted(standing):
            if follows(newest, standing[index]):
                newest = standing[index]
        return newest

    def _wins(self, told: Entry) -> bool:
        """Whether it is of a higher ballot than what we hold in its slot ourselves."""
        return told.epoch > (self._state.log.epoch_at(told.index) or NO_EPOCH)

    def recover(self, ballot: Epoch, chosen: Index) -> Recovered:
        """The values to go on with: those up to `chosen` as they were told, later ones again, in `ballot` (P2c)."""
        state, log, last = self._state, self._state.log, self.last
        chosen = min(chosen, last)
        entries: list[Entry] = []
        held: dict[Index, Entry] = {}
        newest = Newest(*state.at(state.commit))
        for index in range(state.commit + 1, last + 1):
            told = self._told.get(index)
            if told is None and log.epoch_at(index) is None and index <= chosen:
                raise SafetyViolation(f"slot {index} is chosen, but nobody of a phase-1 quorum told its value")
            if index <= log.last_index and index not in held:
                held = {e.index: e for e in log.entries(index, log.last_index, state.config.max_append_bytes)}
            mine = held.get(index)
            if index <= chosen:
                if told is not None and self._wins(told):
                    entries.append(told)
                    newest.follows(told)
                elif mine is not None:
                    newest.follows(mine)
                continue
            reports = (proposal(mine) if mine is not None else None, proposal(told) if told is not None else None)
            value = value_to_propose(reports, NOTHING)
            entry = Entry(index, ballot, value.kind, value.elapsed, value.payload)
            if not newest.follows(entry):
                # Made from what was not chosen, so not chosen itself: see `state.py`.
                entry = Entry(index, ballot, *NOTHING)
            entries.append(entry)
        return Recovered(entries, chosen)


class Newest:
    """The newest membership and settings, going up the log."""

    def __init__(self, membership: Membership, settings: Settings) -> None:
        self._membership = membership
        self._settings = settings

    def follows(self, entry: Entry) -> bool:
        """Whether the entry, if it is a membership or settings, follows on those before it; it is then the newest."""
        if entry.kind is EntryKind.MEMBERSHIP:
            membership = membership_of(entry)
            if not follows(self._membership, membership):
                return False
            self._membership = membership
        elif entry.kind is EntryKind.SETTINGS:
            settings = settings_of(entry)
            if not follows(self._settings, settings):
                return False
            self._settings = settings
        return True


def _is_sound(m: Promise) -> bool:
    """Whether its slots are those that it claims to tell of, and it gets on: else it is dropped, and asked for again.

    What breaks without: one index that is beyond all measure, and as many no-ops.
    """
    if m.through < m.first - 1 or m.commit > max(m.last, m.through) or (m.through < m.first and m.through < m.last):
        return False
    return all(m.first <= entry.index <= m.through for entry in m.entries)


class Preparation:
    """Who was asked in this ballot, who has told everything, and what follows."""

    def __init__(self, now: Nanos, state: PaxosState, reports: Reports, transfer: bool) -> None:
        self._state = state
        self._reports = reports
        self._transfer = transfer
        self._first = state.commit + 1
        self._next: dict[MemberId, Index] = {}
        """The first slot that each of those asked has not told of yet."""
        self._knew: dict[MemberId, Index] = {}
        """Up to where each knew its slots to be chosen when it told the first of them."""
        self._asked_at: Nanos = now
        self.whole: set[MemberId] = set()
        """Those whose promise is whole."""
        self.chosen: Index = state.commit
        """The highest index up to which one of them knows its slots to be chosen."""
        reports.forget(state.commit)

    @property
    def membership(self) -> Membership:
        """Whose quorum must promise, as it is known now: a snapshot may have been installed since phase 1 began. (What
        breaks without: quorums of other sizes, or of other members, commit without any of those that promised.)"""
        return self._reports.membership()

    def ask(self, now: Nanos) -> None:
        """Ask who has not been asked yet, and again whose answer may be lost: from where it left off."""
        state = self._state
        again = now - self._asked_at >= state.config.heartbeat_interval
        if again:
            self._asked_at = now
        membership = self.membership
        for member in (*membership.voters, *membership.outgoing):
            if member != state.own and member not in self.whole and (again or member not in self._next):
                self._next.setdefault(member, self._first)
                self._send(member)

    def _send(self, member: MemberId) -> None:
        # What we have installed meanwhile need not be told any more.
        first = self._next[member] = max(self._next[member], self._state.log.base_index + 1)
        held, last = self._reports.held(first)
        # After the own ballot is durable: else it could be used twice, with different values ("Made Simple" 2.5).
        self._state.outbox.promise(member, Prepare(self._state.epoch, first, held, last, self._transfer))

    def take(self, sender: MemberId, m: Promise) -> bool:
        """A promise, or the next part of one. Returns whether it is whole now. Raises `SafetyViolation`.

        What it knows to be chosen by the *first* part counts. Until the last it may have installed a snapshot: then it
        knows of more, but what it told before of those slots need not be what was chosen.
        """
        if self._next.get(sender) != m.first or sender in self.whole or not _is_sound(m):
            return False
        for entry in m.entries:
            self._reports.add(entry)
        self._knew.setdefault(sender, m.commit)
        if m.through < m.last:
            self._next[sender] = m.through + 1
            self._send(sender)
            return False
        self.whole.add(sender)
        self.chosen = max(self.chosen, self._knew[sender])
        return True

    @property
    def complete(self) -> bool:
        """Whether a phase-1 quorum has promised wholly (`whole`, once it holds the proposer itself)."""
        return quorum.phase_1(self.membership).reached(self.whole)

    def deadline(self) -> Nanos:
        """When to ask again."""
        return self._asked_at + self._state.config.heartbeat_interval

    def recover(self) -> Recovered:
        """What the leader of this ballot goes on with."""
        return self._reports.recover(self._state.epoch, self.chosen)
