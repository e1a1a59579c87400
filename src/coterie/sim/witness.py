"""Who watches a run: it is told what members do, and does nothing to them."""

from __future__ import annotations

from collections.abc import Sequence

from coterie.core.messages import Message
from coterie.core.records import StoreBatch
from coterie.core.replica import Replica
from coterie.core.types import Mark, MemberId, Nanos
from coterie.engine.protocol import Request, Response


class Witness:
    """Sees nothing; `coterie.lab.film` keeps what it sees. Whoever watches draws no chance and schedules nothing: so a
    run that is watched is the same run. Times are nanoseconds since the world began."""

    def sent(self, at: Nanos, number: int, source: MemberId, to: MemberId, message: Message) -> None:
        """A message, or one more copy of it, is under way; `number` tells it from all others."""

    def arrived(self, at: Nanos, number: int) -> None:
        """It has come to its receiver, if somebody is there."""

    def lost(self, at: Nanos, number: int) -> None:
        """It never will."""

    def cut(self, at: Nanos, pairs: Sequence[tuple[MemberId, MemberId]]) -> None:
        """These one-way links are cut."""

    def mended(self, at: Nanos, pairs: Sequence[tuple[MemberId, MemberId]]) -> None:
        """One cut of each of these links is undone."""

    def healed(self, at: Nanos) -> None:
        """The whole network works from now on."""

    def started(self, at: Nanos, member: MemberId) -> None:
        """A process begins."""

    def ended(self, at: Nanos, member: MemberId) -> None:
        """A process is gone."""

    def stepped(self, at: Nanos, member: MemberId, replica: Replica) -> None:
        """A member has taken in what came, and this is its replica now."""

    def wrote(self, at: Nanos, member: MemberId, batch: StoreBatch) -> None:
        """A member hands a batch to its disk."""

    def stored(self, at: Nanos, member: MemberId, mark: Mark) -> None:
        """Every batch of the member up to this one is durable."""

    def asked(self, at: Nanos, client: int, member: MemberId, request: Request) -> None:
        """A client's request arrives at a member."""

    def answered(self, at: Nanos, member: MemberId, client: int, response: Response) -> None:
        """A member's answer arrives at a client."""
