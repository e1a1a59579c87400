"""The acceptor: phase 1b and phase 2b for every slot ("Paxos Made Simple" 2.2, P1a; PMMC, figure 4)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from coterie.core.following.stream import Stream
from coterie.core.messages import Accept, Accepted, Prepare, Promise
from coterie.core.multipaxos.state import PaxosState
from coterie.core.multipaxos.synod import may_accept, may_promise
from coterie.core.types import NO_EPOCH, Entry, Epoch, Index, MemberId, Nanos
from coterie.core.whims import Whim

PROMISED_SLOTS = 65536
"""Slots that one `Promise` covers at most, however little it has to tell of them."""


class Acceptor(Stream):
    """Promises ballots, accepts what their leaders ask for, and acknowledges what is durable."""

    _state: PaxosState

    # -- phase 1b ----------------------------------------------------------------------------

    def promise(self, sender: MemberId, m: Prepare) -> None:
        """Tell what was accepted in the slots from `m.first` on, as far as it fits; the ballot is promised already.

        Leaves only when the promise is durable, and so is all that it reports: a proposer relies on both. Of a slot
        that the proposer holds in the same ballot or a higher one it need not hear: the highest wins anyway (P2c).
        """
        state, log = self._state, self._state.log
        assert may_promise(state.epoch, m.epoch)
        held = Held(m)
        entries: list[Entry] = []
        room = 1 if state.config.whims.takes(Whim.PROMISE_CUT) else state.config.max_append_bytes
        index, end = m.first, min(log.last_index + 1, m.first + PROMISED_SLOTS)
        while index < end:
            accepted = log.epoch_at(index)
            assert accepted is not None
            if accepted <= held.ballot(index):
                index += 1
                continue
            told = self._told(index, end, held, room)
            size = sum(len(entry.payload) for entry in told)
            if entries and size > room:
                break
            entries.extend(told)
            room -= size
            index = told[-1].index + 1
            if room <= 0:
                break
        promise = Promise(state.epoch, m.first, tuple(entries), index - 1, log.last_index, state.commit)
        state.outbox.promise(sender, promise)

    def _told(self, first: Index, end: Index, held: Held, limit_bytes: int) -> Sequence[Entry]:
        """A run of entries, at least one, that the proposer has to hear of."""
        entries = self._state.log.entries(first, end - 1, max(1, limit_bytes))
        for count, entry in enumerate(entries):
            if entry.epoch <= held.ballot(entry.index):
                return entries[:count]
        return entries

    # -- phase 2b ----------------------------------------------------------------------------

    def handle_accept(self, now: Nanos, sender: MemberId, m: Accept) -> None:
        """An `Accept` of the present ballot, from its leader: accept its slots, unless one before them is missing."""
        state = self._state
        assert may_accept(state.epoch, m.epoch)
        vouched = state.vouched
        if m.prev_index > vouched:
            # What lies in between may be an older ballot's: it is not this ballot's to vouch for (catalogue P13).
            repairing = state.repair is not None
            state.outbox.post(sender, Accepted(state.epoch, False, m.prev_index, vouched, m.round, now, repairing))
            return
        through = m.prev_index + len(m.entries)
        self._check_known(sender, m, vouched)
        if through > vouched:
            self._accept(sender, m.epoch, m.entries[vouched - m.prev_index :])
            state.vouch(through)
        # No further than this member vouches: what it holds beyond may be something else (see `state.py`).
        state.commit = max(state.commit, min(m.commit, state.vouched))
        self._remember_freshness(now, m)
        self._acknowledge(now, sender, m, through)

    def _accept(self, sender: MemberId, ballot: Epoch, entries: Sequence[Entry]) -> None:
        """Write the slots. Of a chosen slot, told with the ballot that its leader holds it in, we may hold the same
        value in a higher one, which stays."""
        state, log = self._state, self._state.log
        if entries[0].index > log.last_index:
            state.append(tuple(entries))
            return
        taken: list[Entry] = []
        for entry in entries:
            held = log.epoch_at(entry.index)
            if held is None or entry.epoch > held:
                taken.append(entry)
            elif entry.epoch < ballot:
                self._check(sender, entry)
        state.put(taken)

    def _check_known(self, sender: MemberId, m: Accept, vouched: Index) -> None:
        """What comes again of slots that are known to be chosen must be what was chosen."""
        state = self._state
        if m.prev_index < state.commit:
            for entry in m.entries[: vouched - m.prev_index]:
                if state.log.base_index < entry.index <= state.commit and state.log.remembers(entry.index):
                    self._check(sender, entry)

    def _check(self, sender: MemberId, entry: Entry) -> None:
        """Two values for a slot of which one is chosen: nothing that is done from here on would be right (P2)."""
        state = self._state
        (held,) = state.log.entries(entry.index, entry.index, 1)
        if (held.kind, held.elapsed, held.payload) != (entry.kind, entry.elapsed, entry.payload):
            state.outbox.raise_alarm(
                "Only a single value is chosen (Paxos Made Simple 2.1, P2)",
                f"leader {state.name(sender)} of ballot {state.epoch} sent slot {entry.index} as of ballot "
                f"{entry.epoch}, but this member holds another value for it, of ballot {held.epoch}: one of the two "
                "is chosen",
            )

    def _accepted(self, index: Index, round_: int, now: Nanos) -> Accepted:
        state = self._state
        return Accepted(state.epoch, True, index, index, round_, now, state.repair is not None)


class Held:
    """What a proposer says that it holds itself."""

    def __init__(self, m: Prepare) -> None:
        self._starts = [first for first, _ in m.held]
        self._ballots = [ballot for _, ballot in m.held]
        self._last = m.held_last

    def ballot(self, index: Index) -> Epoch:
        """The ballot in which it holds the slot; `NO_EPOCH` if it does not, or did not say."""
        run = bisect_right(self._starts, index) - 1
        return self._ballots[run] if run >= 0 and index <= self._last else NO_EPOCH
