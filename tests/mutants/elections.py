"""Rows of the catalogue about elections and replication beside the first ones, and of Raft's pull (U: no row of the
catalogue, for the rules are this Raft's own)."""

from __future__ import annotations

from typing import Final

from tests.mutants.planting import SAFETY, planted

CANVASS = "core/following/election.py"
CHANGES = "core/leading/changes.py"
ELECTION = "core/raft/election.py"
LEADING = "core/leading/leadership.py"
LOG = "core/log.py"
PULL = "core/raft/pull.py"

LIVENESS: Final = frozenset({"liveness"})

ELECTION_ROWS: Final = (
    planted(
        "R04",
        "the vote is kept after the decision: of two requests at once each finds none",
        [
            (
                ELECTION,
                "            state.save_hard_state()\n        self._wait_whole(now)\n",
                "            state.save_hard_state()\n            state.vote = NOBODY\n        self._wait_whole(now)\n",
            )
        ],
        SAFETY,
        faults="delay,depose,crash,hold",
        by_command=True,
        first=6,
    ),
    planted(
        "R13",
        "every election timeout is the same, and of two that call an election at once neither yields",
        [
            (
                CANVASS,
                "        self._timeout = base + self._state.rng.randrange(max(1, base // SPREAD))\n",
                "        self._timeout = base\n",
            ),
            (
                CANVASS,
                "            self._timeout = delay + self._state.rng.randrange(max(1, delay))\n",
                "            self._timeout = delay\n",
            ),
            (
                ELECTION,
                "        return (m.last_epoch, m.last_index, sender) > (log.last_epoch",
                "        return bool(0) and (m.last_epoch, m.last_index, sender) > (log.last_epoch",
            ),
        ],
        LIVENESS,
        nodes=5,
        first=119,
    ),
    planted(
        "R14",
        "whoever calls an election delays everybody else's, and soon calls another",
        [
            (
                ELECTION,
                "        state, log = self._state, self._state.log\n        if state.newer_log(m.last_epoch",
                (
                    "        state, log = self._state, self._state.log\n"
                    "        self._wait_whole(now)\n"
                    "        if state.newer_log(m.last_epoch"
                ),
            ),
            (
                CANVASS,
                "        self._wait(now, (whole // SPREAD) << min(self._attempts, SPREAD))\n",
                "        self._wait(now, whole // SPREAD)\n",
            ),
        ],
        LIVENESS,
        faults="absence,snapshot,crash",
        nodes=3,
        first=188,
    ),
    planted(
        "R15",
        "a pre-vote of a lower epoch is not answered",
        [
            (
                ELECTION,
                "        state, log = self._state, self._state.log\n        if state.newer_log(m.last_epoch",
                (
                    "        state, log = self._state, self._state.log\n"
                    "        if m.epoch <= state.epoch:\n"
                    "            return\n"
                    "        if state.newer_log(m.last_epoch"
                ),
            )
        ],
        LIVENESS,
        faults="transfer,ambush,absence,snapshot",
        nodes=3,
        first=192,
    ),
    planted(
        "R17",
        "a leader that hears no quorum goes on",
        [
            (
                LEADING,
                "        if now - self._answered_at > timeout:\n            silent",
                "        if False:\n            silent",
            ),
            (
                LEADING,
                "        deadline = min(self._next_heartbeat, self._answered_at + timeout + 1)\n",
                "        deadline = self._next_heartbeat\n",
            ),
        ],
        LIVENESS,
        faults="partial,partition,absence",
        nodes=5,
        first=1,
    ),
    planted(
        "R18",
        "who hears its leader votes for others all the same",
        [
            (
                CANVASS,
                "        return now - self._heard_at < state.config.election_timeout\n",
                "        return False\n",
            )
        ],
        frozenset({"leader-kept"}),
        nodes=3,
    ),
    planted(
        "L14",
        "an entry that is not there has the epoch of none, and matches it",
        [
            (
                LOG,
                "        if index > self.last_index or index < self.base_index:\n            return None\n",
                "        if index > self.last_index or index < self.base_index:\n            return NO_EPOCH\n",
            )
        ],
        SAFETY | {"commit-in-log", "ack-durable", "alarm"},
        faults="membership,snapshot,crash",
        by_command=True,
        first=16,
    ),
    planted(
        "M08",
        "a learner refuses to vote",
        [
            (
                ELECTION,
                "        if m.epoch < state.epoch or (self._leader_is_alive(now) and not m.transfer):\n",
                (
                    "        if state.own not in (*state.membership.voters, *state.membership.outgoing):\n"
                    "            return\n"
                    "        if m.epoch < state.epoch or (self._leader_is_alive(now) and not m.transfer):\n"
                ),
            )
        ],
        LIVENESS,
        faults="membership,ambush,absence,crash",
        first=21,
    ),
    planted(
        "M14",
        "a learner that never answered is promoted",
        [(CHANGES, "            if shortfall:\n", "            if False:\n")],
        frozenset({"promoted-ready"}),
        faults="membership,crash",
        first=33,
    ),
    planted(
        "M10",
        "who is new is a voter at once",
        [
            (
                CHANGES,
                "self._behind(now, change, leadership) or self._silent(now, planned, leadership)\n",
                "None\n",
            )
        ],
        frozenset({"promoted-ready"}),
        faults="membership,crash",
        by_command=True,
        first=3,
    ),
)

# Of a pull's other rules several must be left out before chance finds the chain of events that they prevent. Where they
# are, `tests/core/raft/test_pull_model.py` looks at every order of events, and finds it.
PULL_ROWS: Final = (
    planted(
        "U02",
        "the entry before what is pulled is not compared",
        [
            (
                PULL,
                "        if log.epoch_at(m.prev_index) == m.prev_epoch:\n            if not",
                "        if log.epoch_at(m.prev_index) is not None:\n            if not",
            ),
            (PULL, "        elif log.epoch_at(prev) != prev_epoch:\n", "        elif log.epoch_at(prev) is None:\n"),
        ],
        SAFETY,
        faults="partial,depose,crash",
        first=4,
    ),
)
