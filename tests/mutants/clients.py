"""Rows of the catalogue about reads, exactly-once effects and what replicas must do alike."""

from __future__ import annotations

from typing import Final

from tests.mutants.groups_and_states import STALE, STATES
from tests.mutants.planting import planted

ENGINE = "engine/engine.py"
FAILURES = "client/failures.py"
CLIENT = "client/core.py"
HOST = "machine/host.py"
INTAKE = "engine/intake.py"
LEADING = "core/leading/leadership.py"
ORIGINS = "machine/origins.py"
QUERIES = "engine/queries.py"
STREAM = "core/following/stream.py"
SUBMISSIONS = "engine/submissions.py"
TRANSACTIONS = "machine/kv/txn.py"

TOLD: Final = frozenset({"said-no", "said-yes", "write-true", "write-order", "acknowledged-stays"})
"""Checks that name a client that was told what is not so."""
ONCE: Final = frozenset({"applied-once", "applied-in-order"}) | TOLD

CLIENT_ROWS: Final = (
    planted(
        "Q10",
        "a member answers reads before it has replayed its log",
        [
            (
                QUERIES,
                "        if index <= self._host.applied:\n",
                "        if index <= self._host.applied or self._host.applied == self._began:\n",
            ),
            (
                QUERIES,
                "        self._order = count()\n",
                "        self._order = count()\n        self._began = host.applied\n",
            ),
        ],
        STALE,
        faults="crash,snapshot,delay",
        by_command=True,
        first=12,
    ),
    planted(
        "Q11",
        "who asks for nothing else gets a stale read",
        [(INTAKE, "        elif request.mode is ReadMode.LINEARIZABLE:\n", "        elif request.mode is None:\n")],
        STALE,
        faults="partition,depose",
        by_command=True,
    ),
    planted(
        "Q14",
        "nobody waits for a disk before a write is answered",
        [
            (
                LEADING,
                "        matches[state.own] = state.log.durable_index\n",
                "        matches[state.own] = state.log.last_index\n",
            ),
            (
                STREAM,
                "            self._state.outbox.promise(to, reply)",
                "            self._state.outbox.post(to, reply)",
            ),
        ],
        frozenset({"ack-durable", "commit-quorum"}),
        by_command=True,
    ),
    planted(
        "C01",
        "a session's command runs as often as it comes",
        [
            (HOST, "                    or seq in replies\n", ""),
            (HOST, "        kept = session.replies.get(seq)\n", "        kept = None\n"),
        ],
        ONCE,
        by_command=True,
        first=2,
    ),
    planted(
        "C04",
        "an unknown outcome is told as a failure",
        [
            (
                SUBMISSIONS,
                "self.fail(pending, FailureCode.TIMEOUT, Happened.UNKNOWN, text + cause)",
                "self.fail(pending, FailureCode.TIMEOUT, Happened.NO, text + cause)",
            )
        ],
        TOLD | {"applied-once"},
        faults="partition,depose,slow-disk,delay",
        first=19,
        by_command=True,
    ),
    planted(
        "C05",
        "the client's library sends again what may have happened",
        [
            (FAILURES, "    if failure.happened is Happened.UNKNOWN and not request.repeatable:\n", "    if False:\n"),
            (CLIENT, "            if not request.repeatable:\n", "            if False:\n"),
        ],
        ONCE | STALE,
        faults="crash,partition,depose",
        first=1,
    ),
    planted(
        "C07",
        "sessions live by each member's own clock",
        [
            (
                ENGINE,
                "            for done in host.apply(entry, identity.member, identity.boot, self._answer):\n",
                (
                    "            host.time = max(host.time, now)\n"
                    "            for done in host.apply(entry, identity.member, identity.boot, self._answer):\n"
                ),
            )
        ],
        STATES,
        faults="clock",
        by_command=True,
    ),
    planted(
        "C08",
        "a comparison is made before the command has its place in the log",
        [
            (
                TRANSACTIONS,
                "    succeeded = all(_holds(store, compare) for compare in plan.compares)\n",
                "    succeeded = True\n",
            )
        ],
        frozenset({"compare-true"}),
    ),
    planted(
        "C09",
        "what was forwarded twice runs twice",
        [
            (
                ORIGINS,
                "        if last <= passed:\n            return count\n",
                "        if last <= passed:\n            return 0\n",
            )
        ],
        ONCE,
        faults="duplicate,delay,depose",
        by_command=True,
    ),
    planted(
        "D01",
        "a machine looks at a clock",
        [
            (
                HOST,
                "        self.time += entry.elapsed\n",
                '        self.time += entry.elapsed + __import__("time").perf_counter_ns() % 7\n',
            )
        ],
        STATES,
        by_command=True,
    ),
    planted(
        "C10",
        "who waits for the second part of an entry is answered as those of the first were",
        [
            (
                HOST,
                "            tell(Done(number, results[start : start + ready]))\n",
                "            tell(Done(number, results[:ready]))\n",
            )
        ],
        ONCE | STALE,
    ),
    planted(
        "D03",
        "an id is drawn where the command is applied",
        [
            (
                HOST,
                "        id = session_id(self.applied, ordinal)\n",
                '        id = __import__("secrets").randbits(60) + 1\n',
            )
        ],
        STATES,
        by_command=True,
    ),
    planted(
        "D05",
        "what is applied depends on a member's own configuration",
        [
            (
                HOST,
                "        max_replies = self.limits.max_session_replies\n",
                "        max_replies = self.limits.max_session_replies if self._store is None else 1\n",
            )
        ],
        STATES,
        faults="snapshot",
        by_command=True,
    ),
)
