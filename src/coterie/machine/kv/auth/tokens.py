"""Tokens: who shows one is known as its user, for as long as it is used.

They live in the replicated state, so that a client may go to any member with the token that another one gave (etcd's
simple tokens are each member's own, kept alike by chance of the same log). Their time is cluster time.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace
from typing import NamedTuple

from coterie.core.types import Nanos

TOKEN_NS: Nanos = 300 * 1_000_000_000
"""A token ends when it was not used for so long (etcd's default, 300 s)."""
MAX_TOKENS = 1 << 17
"""More are refused: each takes memory at every member for five minutes."""
MAX_TOKEN_BYTES = 256
MAX_ENDED = 1024
"""Tokens that one entry ends; the next entries end the others that are due."""


class Token(NamedTuple):
    """What a token stands for."""

    user: str
    deadline: Nanos
    """Cluster time at which it ends."""


class TokenTable:
    """All tokens."""

    def __init__(self, tokens: Iterable[tuple[str, Token]] = ()) -> None:
        self.tokens: dict[str, Token] = dict(tokens)
        self._order = [(token.deadline, name) for name, token in self.tokens.items()]
        """A heap of (deadline, name), one per token. A use moves only the token's own deadline; the heap's follows
        when it comes to the top, so it is never later than the true one."""
        heapify(self._order)

    def set(self, name: str, user: str, now: Nanos) -> None:
        """A new token, or a used one: its time begins."""
        fresh = name not in self.tokens
        token = self.tokens[name] = Token(user, now + TOKEN_NS)
        if fresh:
            heappush(self._order, (token.deadline, name))

    def end(self, name: str) -> None:
        """The token is no more."""
        del self.tokens[name]
        if len(self._order) > 2 * len(self.tokens) + 64:  # mostly ended ones: bound the heap
            self._order = [(token.deadline, living) for living, token in self.tokens.items()]
            heapify(self._order)

    def next_end(self) -> tuple[str, Token] | None:
        """The token that ends next if it is not used."""
        order = self._order
        while order:
            shown, name = order[0]
            token = self.tokens.get(name)
            if token is None:
                heappop(order)
            elif token.deadline != shown:
                heapreplace(order, (token.deadline, name))
            else:
                return name, token
        return None
