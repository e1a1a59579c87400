"""Messages between members: late, lost, doubled, out of order, held back for seconds, cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from coterie.core.messages import (
    CanvassReply,
    Message,
    Prepare,
    PreVoteReply,
    Promise,
    RequestVote,
    VoteReply,
    decode,
    encode,
)
from coterie.core.types import MemberId, Nanos
from coterie.runtime.handshake import PeerIdentity
from coterie.sim.chance import exponential, happens, stream
from coterie.sim.options import SECOND, Options
from coterie.sim.schedule import Schedule
from coterie.sim.terrain import Terrain
from coterie.sim.witness import Witness

MAX_HELD: Final = 2000
"""Messages held back at one time; beyond that a message that would be held is lost."""

ELECTING: Final = (RequestVote, VoteReply, PreVoteReply, Prepare, Promise, CanvassReply)
VOTES_HELD_MORE_OFTEN: Final = 5
HEALED_SHARE: Final = 200
"""A healed network's mean delay is at most this part of the election timeout: no protocol can promise to elect
a leader where a round trip takes as long as the timeout."""
LEAST_DELAY: Final = 50_000
MAX_DELAY: Final = 2 * SECOND
"""No message that is not held back takes longer."""


class Sender(NamedTuple):
    """Who sends: a member, in one of its lives."""

    identity: PeerIdentity
    life: int
    copied_at: int | None = None
    """None if its disk is its own, and whole; else the last boot that its history truly has: of a copy, the one that
    was copied; 0 of an empty disk."""

    @property
    def honest(self) -> bool:
        return self.copied_at is None

    @property
    def member(self) -> MemberId:
        return self.identity.member


Deliver = Callable[[Sender, MemberId, Message], None]


class Network:
    """Carries encoded messages; what arrives was decoded anew, as on a wire."""

    def __init__(
        self,
        options: Options,
        schedule: Schedule,
        deliver: Deliver,
        witness: Witness | None = None,
        terrain: Terrain | None = None,
    ) -> None:
        self._options = options
        self._terrain = terrain
        self._schedule = schedule
        self._deliver = deliver
        self._witness = witness if witness is not None else Witness()
        self._copies = 0
        self._rng = stream(options.seed, "network")
        self._cut: dict[tuple[MemberId, MemberId], int] = {}
        self._cut_at: dict[tuple[MemberId, MemberId], Nanos] = {}
        """Links that were cut so that what was under way then still arrives."""
        self._cuts = stream(options.seed, "cuts")
        self._slow: dict[tuple[MemberId, MemberId], int] = {}
        self._newest: dict[tuple[MemberId, MemberId], Nanos] = {}
        self._held = 0
        self.faulty = True
        """False once the world is healed: messages are no longer lost, doubled or held."""
        self._steady = False
        self.messages = 0
        self.bytes = 0
        """Of all messages that members sent, without what a transport adds."""

    # -- what the fault injector does ---------------------------------------------------------

    def cut(self, pairs: Sequence[tuple[MemberId, MemberId]]) -> None:
        """Cut these one-way links. A link cut twice needs mending twice. What is under way is lost with half of the
        cuts; it has left the machine, and may arrive, with the others. (On a given terrain, where nothing is left to
        chance, it is lost.)"""
        passes = self._terrain is None and self._cuts.getrandbits(1)
        self._witness.cut(self._schedule.now, pairs)
        for pair in pairs:
            self._cut[pair] = self._cut.get(pair, 0) + 1
            if passes and self._cut[pair] == 1:
                self._cut_at[pair] = self._schedule.now

    def mend(self, pairs: Sequence[tuple[MemberId, MemberId]]) -> None:
        """Undo one cut of each of these links."""
        self._witness.mended(self._schedule.now, pairs)
        for pair in pairs:
            left = self._cut.get(pair, 0) - 1
            if left > 0:
                self._cut[pair] = left
            else:
                self._cut.pop(pair, None)
                self._cut_at.pop(pair, None)

    def slow(self, pair: tuple[MemberId, MemberId], factor: int) -> None:
        """Make a link this many times slower; 1 restores it."""
        self._slow[pair] = factor

    def heal(self, *, steady: bool = False) -> None:
        """End every fault. What was held back still arrives, late. `steady`: from now on every message takes as long
        as any other."""
        self._witness.healed(self._schedule.now)
        self._cut.clear()
        self._cut_at.clear()
        self._slow.clear()
        self._newest.clear()
        self.faulty = False
        self._steady = steady

    def linked(self, source: MemberId, target: MemberId) -> bool:
        """Whether messages pass from `source` to `target` at present."""
        return (source, target) not in self._cut

    # -- what members do -----------------------------------------------------------------------

    def send(self, sender: Sender, target: MemberId, message: Message) -> None:
        """Take a message; it may arrive once, twice or never."""
        self.messages += 1
        data = encode(message)
        self.bytes += len(data)
        self._schedule.record(data)
        pair = (sender.member, target)
        if pair in self._cut:
            self._lose(pair, message)
            return
        options, rng = self._options, self._rng
        if self.faulty:
            if options.loss_permille and happens(rng, options.loss_permille):
                self._lose(pair, message)
                return
            if options.hold_permille and happens(rng, self._hold_permille(message)):
                self._hold(sender, target, message, data)
                if rng.getrandbits(1):
                    return
            if options.duplicate_permille and happens(rng, options.duplicate_permille):
                self._travel(sender, target, message, data, self._delay(pair, len(data)) * rng.randrange(1, 20))
        arrival = self._schedule.now + self._delay(pair, len(data))
        if not (self.faulty and options.reorder_permille and happens(rng, options.reorder_permille)):
            arrival = max(arrival, self._newest.get(pair, 0))
            self._newest[pair] = arrival
        self._travel(sender, target, message, data, arrival - self._schedule.now)

    def _hold_permille(self, message: Message) -> int:
        """Messages of elections are few, and an old one can do the most harm."""
        vote = isinstance(message, ELECTING)
        return self._options.hold_permille * (VOTES_HELD_MORE_OFTEN if vote else 1)

    def _delay(self, pair: tuple[MemberId, MemberId], size: int) -> Nanos:
        if self._terrain is not None:
            return self._terrain.message(*pair, size) * self._slow.get(pair, 1)
        mean = self._options.delay_mean if self.faulty else self._healed_mean
        delay = LEAST_DELAY + (mean if self._steady else exponential(self._rng, mean))
        if self.faulty and self._options.has("delay") and happens(self._rng, 20):
            delay *= self._rng.randrange(5, 60)
        return min(delay * self._slow.get(pair, 1), MAX_DELAY)

    @property
    def usual_delay(self) -> Nanos:
        """How long a message takes on average in the healed network."""
        return LEAST_DELAY + self._healed_mean

    @property
    def _healed_mean(self) -> Nanos:
        return min(self._options.delay_mean, self._options.election_timeout // HEALED_SHARE)

    def _lose(self, pair: tuple[MemberId, MemberId], message: Message) -> None:
        self._witness.lost(self._schedule.now, self._copy(*pair, message))

    def _copy(self, source: MemberId, target: MemberId, message: Message) -> int:
        """One more message is under way: its number."""
        self._copies += 1
        self._witness.sent(self._schedule.now, self._copies, source, target, message)
        return self._copies

    def _travel(self, sender: Sender, target: MemberId, message: Message, data: bytes, delay: Nanos) -> None:
        pair = (sender.member, target)
        number, sent_at = self._copy(*pair, message), self._schedule.now

        def arrive() -> None:
            if pair in self._cut and sent_at > self._cut_at.get(pair, -1):
                self._witness.lost(self._schedule.now, number)
                return
            self._witness.arrived(self._schedule.now, number)
            self._deliver(sender, target, decode(data))

        self._schedule.after(delay, "arrive", arrive)

    def _hold(self, sender: Sender, target: MemberId, message: Message, data: bytes) -> None:
        """Keep it for seconds: it arrives terms later, whatever the partition is then."""
        if self._held >= MAX_HELD:
            return
        self._held += 1
        number = self._copy(sender.member, target, message)

        def release() -> None:
            self._held -= 1
            self._witness.arrived(self._schedule.now, number)
            self._deliver(sender, target, decode(data))

        timeout = self._options.election_timeout
        delay = self._rng.randrange(timeout // 2, timeout * self._rng.choice((2, 4, 30)))
        self._schedule.after(delay, "release", release)
