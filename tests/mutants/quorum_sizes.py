"""Rows of the catalogue about quorums that are not majorities."""

from __future__ import annotations

from typing import Final

from tests.mutants.planting import SAFETY, planted

CHANGES = "core/leading/changes.py"
ELECTION = "core/raft/election.py"
MEMBERSHIP = "core/leading/membership.py"
QUORUM = "core/quorum.py"

QUORUM_ROWS: Final = (
    planted(
        "P19",
        "flexible quorums do not meet",
        [(QUORUM, "    if elects + commits <= len(voters):\n", "    if elects + commits < len(voters):\n")],
        frozenset({"quorums-meet"}),
        faults="quorums",
        nodes=4,
    ),
    planted(
        "R25",
        "quorums that elect do not meet, as if votes were for ballots",
        [(CHANGES, "electors_meet=self._state.electors_meet", "electors_meet=False")],
        frozenset({"quorums-meet"}),
        faults="quorums",
        nodes=4,
    ),
    planted(
        "R26",
        "votes are counted by the size of quorums that commit",
        [
            (
                ELECTION,
                "        self._votes.add(sender)\n        return self._won()",
                "        self._votes.add(sender)\n        return state.phase_2.reached(self._votes)",
            )
        ],
        SAFETY,
        faults="quorums,crash,partition",
        nodes=5,
    ),
    planted(
        "M18",
        "quorum sizes change without a joint phase",
        [
            (
                MEMBERSHIP,
                "    if set(voters) == set(now.voters) and sizes == (now.phase_1, now.phase_2):\n",
                "    if set(voters) == set(now.voters):\n",
            )
        ],
        frozenset({"quorums-meet"}),
        faults="quorums",
        nodes=5,
    ),
    planted(
        "M19",
        "the old half of a joint configuration counts by the new sizes",
        [
            (
                QUORUM,
                "Threshold(membership.outgoing, outgoing_size or majority(len(membership.outgoing)))",
                "Threshold(membership.outgoing, size or majority(len(membership.outgoing)))",
            )
        ],
        SAFETY,
        faults="quorums,crash,partition",
        nodes=5,
    ),
)
