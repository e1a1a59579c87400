"""Questions on their way: linearizable by a read index, session reads by revision, stale at once."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count

from coterie.core.types import Index, Nanos, Token
from coterie.engine.ports import Ports
from coterie.engine.protocol import Answer, Failure, FailureCode, Fence, Happened, Query
from coterie.machine.host import Host
from coterie.machine.interface import Rejected

NEVER: Nanos = 1 << 62


class Asked:
    """Queries that share one read: they arrived before it began."""

    __slots__ = ("deadline", "queries")

    def __init__(self, queries: list[tuple[object, Query | Fence]], deadline: Nanos) -> None:
        self.queries = queries
        self.deadline = deadline


class Queries:
    """The questions that this member's clients wait for."""

    def __init__(self, host: Host, ports: Ports, timeout: Nanos) -> None:
        self._host = host
        self._ports = ports
        self._timeout = timeout
        self._new: list[tuple[object, Query | Fence]] = []
        self._asked: dict[Token, Asked] = {}
        self._again: deque[Asked] = deque()
        """Reads that found no leader: to be asked again."""
        self._by_index: list[tuple[Index, int, Asked]] = []
        self._by_revision: list[tuple[int, int, Nanos, object, Query | Fence]] = []
        self._order = count()
        self.count = 0
        """Queries taken and not answered."""

    def add(self, client: object, query: Query | Fence) -> None:
        """Queue a linearizable query."""
        self._new.append((client, query))
        self.count += 1

    def await_revision(self, now: Nanos, client: object, query: Query | Fence) -> None:
        """Answer when the machine has reached the revision `query.at_least`."""
        heapq.heappush(self._by_revision, (query.at_least, next(self._order), now + self._timeout, client, query))
        self.count += 1

    def answer(self, client: object, query: Query | Fence, age: Nanos) -> None:
        """Ask the machine now, and send its answer."""
        body = self._host.fence() if isinstance(query, Fence) else self._host.query(query.question)
        if isinstance(body, Rejected):
            self._ports.reply(client, Failure(query.id, FailureCode.REJECTED, Happened.NO, body.reason))
        else:
            self._ports.reply(client, Answer(query.id, self._host.revision(), age, body))

    # -- linearizable reads ------------------------------------------------------------------

    @property
    def to_ask(self) -> bool:
        """Whether a read should be asked of the replica."""
        return bool(self._new)

    def ask(self, now: Nanos, token: Token) -> None:
        """All new queries go with the read `token`."""
        self._asked[token] = Asked(self._new, now + self._timeout)
        self._new = []

    def ready(self, token: Token, index: Index) -> None:
        """The read's index is known: answer when it is applied (6.4, step 4; catalogue Q03)."""
        asked = self._asked.pop(token, None)
        if asked is None:
            return
        if index <= self._host.applied:
            self._answer_all(asked)
        else:
            heapq.heappush(self._by_index, (index, next(self._order), asked))

    def unanswered(self, token: Token) -> None:
        """The read found no leader, or lost it: it has no effect, so it is asked again later."""
        asked = self._asked.pop(token, None)
        if asked is not None:
            self._again.append(asked)

    @property
    def unanswered_count(self) -> int:
        """Reads that wait to be asked again."""
        return len(self._again)

    def ask_again(self, token: Token) -> None:
        """Let the oldest unanswered read go with `token`."""
        self._asked[token] = self._again.popleft()

    # -- progress ----------------------------------------------------------------------------

    def applied(self) -> None:
        """The machine moved on: answer what waited for it."""
        if not self.count:
            return
        while self._by_index and self._by_index[0][0] <= self._host.applied:
            self._answer_all(heapq.heappop(self._by_index)[2])
        if self._by_revision:
            revision = self._host.revision()
            while self._by_revision and self._by_revision[0][0] <= revision:
                _, _, _, client, query = heapq.heappop(self._by_revision)
                self.count -= 1
                self.answer(client, query, 0)

    def _answer_all(self, asked: Asked) -> None:
        self.count -= len(asked.queries)
        for client, query in asked.queries:
            self.answer(client, query, 0)

    def expire(self, now: Nanos) -> None:
        """Give up what has waited too long."""
        if not self.count:
            return
        for token in [token for token, asked in self._asked.items() if asked.deadline <= now]:
            self._fail(self._asked.pop(token), FailureCode.TIMEOUT, "no quorum confirmed the read in time")
        while self._again and self._again[0].deadline <= now:
            self._fail(self._again.popleft(), FailureCode.NO_LEADER, "no leader was found in time")
        if any(item[2].deadline <= now for item in self._by_index):
            late = [item for item in self._by_index if item[2].deadline <= now]
            self._by_index = [item for item in self._by_index if item[2].deadline > now]
            heapq.heapify(self._by_index)
            for item in late:
                self._fail(item[2], FailureCode.TIMEOUT, "this member did not apply the log as far in time")
        if any(item[2] <= now for item in self._by_revision):
            waiting, self._by_revision = self._by_revision, []
            for at_least, order, deadline, client, query in waiting:
                if deadline > now:
                    self._by_revision.append((at_least, order, deadline, client, query))
                    continue
                self.count -= 1
                text = f"this member is at revision {self._host.revision()} and did not reach {at_least} in time"
                self._ports.reply(client, Failure(query.id, FailureCode.TIMEOUT, Happened.NO, text))
            heapq.heapify(self._by_revision)

    def deadline(self) -> Nanos:
        """When the first of them is to be given up; far away if none waits."""
        if not self.count:
            return NEVER
        deadline = min((asked.deadline for asked in self._asked.values()), default=NEVER)
        if self._again:
            deadline = min(deadline, self._again[0].deadline)
        deadline = min(deadline, min((item[2].deadline for item in self._by_index), default=NEVER))
        return min(deadline, min((item[2] for item in self._by_revision), default=NEVER))

    def _fail(self, asked: Asked, code: FailureCode, text: str) -> None:
        self.count -= len(asked.queries)
        for client, query in asked.queries:
            self._ports.reply(client, Failure(query.id, code, Happened.NO, text))
