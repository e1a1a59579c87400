"""How far apart everybody is, for a world that is laid out on purpose instead of drawn from a seed."""

from __future__ import annotations

from typing import Protocol

from coterie.core.types import MemberId, Nanos


class Terrain(Protocol):
    """Distances, in nanoseconds of true time. A world that is given none draws them as its options say.

    Faults of the network (cuts, slow links, loss) come on top where the options have them.
    """

    def message(self, source: MemberId, target: MemberId, size: int) -> Nanos:
        """How long a message of `size` bytes travels between two members."""
        ...

    def request(self, client: int, member: MemberId) -> Nanos:
        """How long a request, or an answer, travels between a client and a member."""
        ...

    def sync(self, member: MemberId) -> Nanos:
        """How long the member's next write takes until it is durable."""
        ...

    def hears_of_end(self, member: MemberId, ended: MemberId) -> bool:
        """Whether a member sees its connection close when the process of another has ended, and none take its place."""
        ...
