"""Laws of what replicas apply, and of the states that it leads to: `laws.LAWS` names them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from coterie.core.types import Index, MemberId, Nanos
from coterie.machine.interface import Batch, Rejected
from coterie.sim.verdict import Violation

_TIME = -1
"""As an ordinal: the machine's timer was reached, before the entry's commands."""


class _Place(NamedTuple):
    """Where a batch stands: equal at all replicas."""

    entry: Index
    ordinal: int


class Standing(NamedTuple):
    """How far a machine is, after one entry."""

    entry: Index
    time: Nanos
    """Cluster time."""
    revision: int


class _Replica:
    """How far one replica's machine is."""

    def __init__(self) -> None:
        self.index: Index = 0
        self.position = 0
        """Batches that lie behind it."""
        self.standing = Standing(0, 0, 0)


def _always(command: bytes) -> bool:
    return True


class AppliedLaws:
    """One sequence of batches, that every replica applies without gap and without repetition, from wherever a
    snapshot or its store let it begin."""

    def __init__(self) -> None:
        self._replicas: dict[MemberId, _Replica] = {}
        self._places: list[_Place] = []
        self._chains: list[bytes] = []
        """Hash of each batch, its replies, and all batches before it."""
        self._bodies: dict[bytes, _Place] = {}
        self._states: dict[Index, tuple[MemberId, bytes]] = {}
        self._standings: dict[Index, Standing] = {}
        """After each entry."""
        self._looked_at: set[Index] = set()
        """After which entries some process ended: there everybody's state is compared."""
        self._ended: dict[MemberId, dict[Index, bytes]] = {}
        """The states in which a member's processes ended, and which later ones have not reached yet."""
        self.unjudged: set[MemberId] = set()
        """Members whose machines lie, as a test wants it: what they apply is not judged here."""
        self.unique: Callable[[bytes], bool] = _always
        """Whether no client sends the same command a second time."""
        self.replays = 0
        """How often such a state was reached again."""

    def index_of(self, member: MemberId) -> Index:
        """The entry of the newest batch that the member applied, or that its state began with."""
        return self._replicas[member].index

    def started(self, member: MemberId) -> None:
        """The member's machine begins with nothing."""
        self._replicas[member] = _Replica()

    def resumed(self, member: MemberId, standing: Standing, digest: bytes) -> None:
        """The member's machine has a state that it was given: from a snapshot, or from its store."""
        if member in self.unjudged:
            return
        replica, index = self._replicas[member], standing.entry
        self._compare(member, standing)
        replica.index, replica.standing = index, standing
        replica.position = bisect_right(self._places, _Place(index, 1 << 62))
        self.state(member, index, digest)
        owed = self._ended.get(member, {})
        for passed in [at for at in owed if at <= index]:
            del owed[passed]  # that at the index itself was just compared

    def ended(self, member: MemberId, index: Index, digest: bytes) -> None:
        """The member's process ends with this state after entry `index`: what it leaves must lead there again."""
        if index and member not in self.unjudged:
            self._looked_at.add(index)
            self._ended.setdefault(member, {})[index] = digest
            self.state(member, index, digest)

    def lost(self, member: MemberId) -> None:
        """What the member's processes left is gone, or of another time."""
        self._ended.pop(member, None)

    def reached(self, member: MemberId, standing: Standing, digest: Callable[[], bytes]) -> None:
        """The member has just applied an entry, commands or not. (A digest costs more than a hundred entries: it is
        taken where some process ended, and so left one to compare it with.)"""
        if member in self.unjudged:
            return
        replica, index = self._replicas[member], standing.entry
        before, replica.standing = replica.standing, standing
        if standing.time < before.time:
            raise Violation("time-monotonic", f"{member} goes from {before} to {standing}")
        self._compare(member, standing)
        if standing.revision < before.revision:
            raise Violation("revision-monotonic", f"{member} goes from {before} to {standing}")
        if index in self._looked_at:
            state = digest()
            self._check_replay(member, index, state)
            self.state(member, index, state)

    def _compare(self, member: MemberId, standing: Standing) -> None:
        known = self._standings.setdefault(standing.entry, standing)
        if known != standing:
            law = "same-time" if known.time != standing.time else "same-revision"
            raise Violation(law, f"{member} has {standing}, another {known}")

    def _check_replay(self, member: MemberId, index: Index, digest: bytes) -> None:
        before = self._ended.get(member, {}).pop(index, None)
        if before is None:
            return
        self.replays += 1
        if before != digest:
            raise Violation(
                "state-replayed",
                f"{member} had state {before.hex()[:16]} after entry {index} when it ended; from what that left it "
                f"comes to {digest.hex()[:16]}",
            )

    def state(self, member: MemberId, index: Index, digest: bytes) -> None:
        """The hash of the member's state after entry `index`, machine, sessions, members and all."""
        if not index or member in self.unjudged:
            return
        first, known = self._states.setdefault(index, (member, digest))
        if known != digest:
            raise Violation(
                "same-state",
                f"after entry {index} the state of {member} is {digest.hex()[:16]}; that of {first} was "
                f"{known.hex()[:16]}",
            )

    def applied(self, member: MemberId, batch: Batch, replies: Sequence[bytes | Rejected]) -> None:
        """The member's machine applied a batch and replied."""
        place = _Place(batch.index, batch.ordinals[0])
        self._take(member, place, lambda before: self._chain(member, place, batch, replies, before))

    def passed(self, member: MemberId, index: Index, time: Nanos) -> None:
        """The member's machine acted because its timer was reached."""
        place = _Place(index, _TIME)
        self._take(member, place, lambda before: blake2b(before + b"%d %d" % place, digest_size=16).digest())

    def _take(self, member: MemberId, place: _Place, chain_of: Callable[[bytes], bytes]) -> None:
        """The next in the one sequence of batches and of times that passed."""
        replica = self._replicas[member]
        position = replica.position
        frontier = position == len(self._places)
        if frontier and self._places and place <= self._places[-1]:
            raise Violation("applied-in-order", f"{member} applies {place} after {self._places[-1]}")
        if not frontier and place != self._places[position]:
            raise Violation("applied-in-order", f"{member} applies {place}; others applied {self._places[position]}")
        chain = chain_of(self._chains[position - 1] if position else b"")
        if frontier:
            self._places.append(place)
            self._chains.append(chain)
        elif self._chains[position] != chain:
            raise Violation("same-applied", f"{member} differs from another replica after applying {place}")
        replica.index, replica.position = place.entry, position + 1

    def _chain(
        self, member: MemberId, place: _Place, batch: Batch, replies: Sequence[bytes | Rejected], before: bytes
    ) -> bytes:
        digest = blake2b(before, digest_size=16)
        digest.update(b"%d %d" % (batch.index, batch.time))
        for ordinal, body, reply in zip(batch.ordinals, batch.commands, replies, strict=True):
            digest.update(b"%d %d " % (ordinal, len(body)))
            digest.update(body)
            digest.update(reply.reason.encode() if isinstance(reply, Rejected) else reply)
            if not self.unique(body):
                continue
            here = _Place(batch.index, ordinal)
            first = self._bodies.setdefault(body, here)
            if first != here:
                raise Violation("applied-once", f"{member} applies at {here} what was applied at {first}: {body!r}")
        return digest.digest()
