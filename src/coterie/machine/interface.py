"""The state machine that Coterie replicates: the interface a user's machine implements.

A machine is a deterministic function of the commands applied to it: same commands in the same
order, same state and same replies, on every member and at every replay. No clock, no randomness,
no iteration over a set, nothing from outside. What needs a fresh id takes it from `Batch.index`
and the command's ordinal; what needs time takes `Batch.time`. What is to happen at some time, whether
or not a command comes then, is told by `next_timer` and done in `pass_time`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from coterie.core.types import Index, Nanos


class Batch(msgspec.Struct, frozen=True):
    """Commands of one log entry that are to be applied in order: all that it has, or, where they are many, some.

    A command's name is (index, ordinals[i]): unique in the cluster's life. `time` is cluster time.
    """

    index: Index
    time: Nanos
    ordinals: Sequence[int]
    commands: Sequence[bytes]


class Rejected(msgspec.Struct, frozen=True):
    """A machine's deterministic 'no' to one command: it changed nothing. `reason` is for people."""

    reason: str


class StateMachine(ABC):
    """What a cluster replicates. Subclass it; `coterie up --machine package.module:Class` runs it."""

    @abstractmethod
    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        """Apply the commands in order and return a reply for each.

        An exception stops the node (another member might not raise it): answer a bad command with
        `Rejected`.
        """

    @abstractmethod
    def query(self, question: bytes) -> bytes | Rejected:
        """Answer a question from the present state without changing it."""

    @abstractmethod
    def snapshot(self) -> Iterator[bytes]:
        """The whole state in chunks of at most 1 MiB. `restore` of the chunks gives an equal machine."""

    def frozen(self) -> Iterable[bytes]:
        """What `snapshot` gives now, in a form that stays as it is while further batches are applied: it
        is iterated in another thread.

        This one takes all chunks at once, while nothing else runs: a large state stops the node for as long
        as `snapshot` takes. A machine that can freeze its state cheaply (a copied dict whose values never
        change, a persistent tree) returns an iterable of its own that makes the chunks from that.
        """
        return list(self.snapshot())

    @abstractmethod
    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the whole state by a snapshot's. Raises `ValueError` if it is not one. It may run in
        another thread than the other methods, while none of them runs."""

    @abstractmethod
    def digest(self) -> bytes:
        """A hash of the state: equal states give equal digests on any machine and any Python."""

    def next_timer(self) -> Nanos | None:
        """Cluster time at which the machine wants to act by itself; None (the default): it does not.

        A function of the state, as a reply is, and cheap: it is asked with every log entry, and more often. A
        snapshot must bring it back.
        """
        return None

    def pass_time(self, index: Index, time: Nanos) -> None:
        """Cluster time has reached `next_timer`: do what is due at `time` or before.

        It comes with the log entry `index`, before that entry's commands, and at every member with the same one. If
        nobody sends commands, the leader proposes an entry for it; so it comes late, by about a heartbeat or by as
        long as there is no leader, and never early. Afterwards `next_timer` should be later than `time`, or None;
        where it is not, there is more to do, and it comes again with the next entry. An exception stops the node.
        """
        return

    def for_members_alone(self, body: bytes) -> bool:
        """Whether a command or question, as a client sends it, is one that only members make: it is refused at the
        clients' port. Such commands say of themselves on whose behalf they come."""
        return False

    def revision(self) -> int | None:
        """A number that never decreases as commands are applied, for reads that ask for a state at
        least as new as one seen before. None (the default): the applied index serves."""
        return None
