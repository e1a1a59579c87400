"""The shipped engine, with its reads watched: what a linearizable read must not miss is known when it is asked for."""

from __future__ import annotations

from coterie.core.replica import ReadReady
from coterie.core.types import Index, MemberId, Nanos, Token
from coterie.engine.engine import Engine
from coterie.sim.laws import Laws


class ObservedEngine(Engine):
    """Tells the judge what index each read waits for. Nothing is judged before `watch`."""

    _laws: Laws | None = None
    _own: MemberId
    _asked: dict[Token, Index]

    def watch(self, member: MemberId, laws: Laws) -> None:
        """Judge what this member's process reads from now on."""
        self._laws, self._own, self._asked = laws, member, {}

    def _read(self, now: Nanos, token: Token) -> None:
        if self._laws is not None:
            self._asked[token] = self._laws.chosen
        super()._read(now, token)

    def _read_ready(self, ready: ReadReady) -> None:
        if self._laws is not None:
            self._laws.read(self._own, ready.index, self._asked.pop(ready.token))
        super()._read_ready(ready)

    def _read_unanswered(self, now: Nanos, token: Token) -> None:
        if self._laws is not None:
            self._asked.pop(token, None)
        super()._read_unanswered(now, token)
