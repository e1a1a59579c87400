"""One administrator's request, asked of whoever leads until its outcome is certain."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from coterie.core.types import NOBODY, MemberId, Nanos
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.protocol import Answer, Failure, FailureCode, Happened, Response
from coterie.sim.clients import Wire

OPERATOR: Final = 1000
"""The client number of all administrators."""
CERTAIN: Final = (FailureCode.INVALID, FailureCode.UNSAFE, FailureCode.REJECTED)
"""No later attempt will fare better."""

Make = Callable[[bool], AdminRequest]
"""Makes the request; True: an earlier attempt of it may have happened."""
Done = Callable[[Answer | Failure | None], None]
"""None: nobody answered in time."""


class Cluster(Wire, Protocol):
    """What an administrator needs of the world."""

    def leader(self) -> MemberId:
        """Who leads, as the world knows."""
        ...

    def serving(self) -> Sequence[MemberId]:
        """Members whose processes live."""
        ...


class Question:
    """Asks until there is an answer, or a refusal for good, or `patience` is over."""

    def __init__(
        self, cluster: Cluster, rng: random.Random, timeout: Nanos, patience: Nanos, make: Make, done: Done
    ) -> None:
        self._cluster = cluster
        self._rng = rng
        self._timeout = timeout
        self._deadline = cluster.schedule.now + patience
        self._make = make
        self._done: Done | None = done
        self._connection = 0
        self._attempt = 0
        self.uncertain = False
        """Some attempt has no outcome: what it asked for may have happened, or happen yet."""
        self._last: Failure | None = None
        self._try()

    @property
    def over(self) -> bool:
        """Whether `done` was told."""
        return self._done is None

    def abandon(self) -> None:
        """Ask no more; nobody is told."""
        self._done = None

    def _try(self) -> None:
        if self.over:
            return
        if self._cluster.schedule.now >= self._deadline:
            self._finish(self._last)
            return
        self._attempt += 1
        attempt = self._attempt
        target = self._cluster.leader()
        serving = self._cluster.serving()
        if target == NOBODY or not self._rng.randrange(8):
            target = self._rng.choice(serving) if serving else NOBODY
        self._cluster.schedule.after(self._timeout, "admin timeout", lambda: self._expired(attempt))
        if target == NOBODY:
            return
        self._connection = self._cluster.connect(
            OPERATOR, target, partial(self._receive, attempt), partial(self._closed, attempt)
        )
        self._cluster.request(self._connection, self._make(self.uncertain))

    def _expired(self, attempt: int) -> None:
        if not self.over and attempt == self._attempt:
            self.uncertain = True
            self._hang_up()
            self._try()

    def _closed(self, attempt: int, connection: int) -> None:
        if not self.over and attempt == self._attempt:
            self.uncertain = True
            self._again()

    def _receive(self, attempt: int, connection: int, response: Response) -> None:
        if self.over or attempt != self._attempt or not isinstance(response, (Answer, Failure)):
            return
        self._hang_up()
        if isinstance(response, Answer) or response.code in CERTAIN:
            self._finish(response)
            return
        self._last = response
        self.uncertain = self.uncertain or response.happened is Happened.UNKNOWN
        self._again()

    def _again(self) -> None:
        self._attempt += 1  # nothing of this attempt is heard any more
        self._cluster.schedule.after(self._timeout // 8, "admin again", self._try)

    def _hang_up(self) -> None:
        if self._connection:
            self._cluster.close(self._connection)
            self._connection = 0

    def _finish(self, outcome: Answer | Failure | None) -> None:
        done, self._done = self._done, None
        if isinstance(outcome, Answer):
            self.uncertain = False
        if done is not None:
            done(outcome)
