"""Rows of the catalogue's section 11, and what is this Multi-Paxos's own (V): vouching, whole promises, snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tests.mutants.groups_and_states import STALE
from tests.mutants.planting import PAXOS_SAFETY, planted

from coterie.sim.mutants import Mutant

ACCEPTOR = "core/multipaxos/acceptor.py"
BALLOTS = "core/multipaxos/ballots.py"
LEADING = "core/leading/leadership.py"
PARTICIPANT = "core/participant.py"
PREPARATION = "core/multipaxos/preparation.py"
STATE = "core/multipaxos/state.py"
STREAM = "core/following/stream.py"
SYNOD = "core/multipaxos/synod.py"


def _row(
    row: str,
    name: str,
    changes: list[tuple[str, str, str]],
    killers: Iterable[str] = (),
    *,
    faults: str = "",
    nodes: int = 0,
    first: int = 0,
    by_command: bool = False,
) -> Mutant:
    return planted(
        row,
        name,
        changes,
        frozenset(killers) or PAXOS_SAFETY,
        faults=faults,
        nodes=nodes,
        first=first,
        by_command=by_command,
        protocol="multipaxos",
    )


PAXOS_ROWS: Final = (
    _row(
        "P01",
        "a promise is forgotten",
        [
            (
                STATE,
                "        self._vouched = self.commit\n        self.save_hard_state()\n",
                "        self._vouched = self.commit\n",
            )
        ],
        {"promise-durable", "candidacy-durable", "promise-kept", "acceptance-durable"},
    ),
    _row(
        "P02",
        "accepted is said before it is durable",
        [
            (
                STREAM,
                "            self._state.outbox.promise(to, reply)",
                "            self._state.outbox.affirm(to, reply)",
            )
        ],
        {"acceptance-durable", "commit-quorum"},
    ),
    _row(
        "P03",
        "a proposer uses its own value",
        [(PREPARATION, "proposal(told) if told is not None else None)\n", "None)\n")],
        first=26,
    ),
    _row(
        "P04",
        "a proposer takes the value of the lowest ballot",
        [
            (
                SYNOD,
                "highest is None or report.ballot > highest.ballot:",
                "highest is None or report.ballot < highest.ballot:",
            )
        ],
        faults="crash,partition,delay,depose,hold",
        nodes=5,
        first=70,
    ),
    _row(
        "P05",
        "ballots collide",
        [
            (SYNOD, "return Epoch(highest.round + 1, node)", "return Epoch(highest.round + 1, 0)"),
            (BALLOTS, "if m.epoch.node != sender:", "if m.epoch.node:"),
            ("core/multipaxos/replica.py", "message.epoch.node == sender and ", ""),
        ],
        {"ballot-owner", "one-value", "one-leader"},
    ),
    _row(
        "P07",
        "promises of an older ballot count",
        [(BALLOTS, " or m.epoch != self._state.epoch or preparation is None", " or preparation is None")],
        {"promise-quorum", "promise-kept", "leader-completeness"},
        faults="delay,depose,crash,hold,duplicate",
        first=19,
    ),
    _row(
        "P08",
        "an acceptor ignores its promise",
        [
            (
                PARTICIPANT,
                "        if m.epoch < state.epoch:\n",
                "        if m.epoch < state.epoch and isinstance(m, InstallSnapshot):\n",
            ),
            (ACCEPTOR, "        assert may_accept(state.epoch, m.epoch)\n", ""),
        ],
        {"promise-kept", "acceptance-durable", "later-ballots-agree", "one-value", "alarm"},
        first=33,
    ),
    _row(
        "P11",
        "a new leader skips the open slots that it holds itself",
        [(PREPARATION, "        self._first = state.commit + 1\n", "        self._first = state.log.last_index + 1\n")],
        {"prepare-covers", "promise-reports", "leader-completeness"},
    ),
    _row(
        "P12",
        "slots are filled before a quorum has promised",
        [
            (
                PREPARATION,
                "return quorum.phase_1(self.membership).reached(self.whole)",
                "return bool(self.whole)",
            )
        ],
        {"promise-quorum", "leader-completeness"},
    ),
    _row(
        "P13",
        "slots are accepted over a gap",
        [
            (ACCEPTOR, "        if m.prev_index > vouched:\n", "        if m.prev_index > state.log.last_index:\n"),
            (ACCEPTOR, "m.entries[vouched - m.prev_index :])", "m.entries[max(0, vouched - m.prev_index) :])"),
        ],
        {"slots-in-order", "chosen-stays", "acceptance-durable"},
        faults="loss,crash,partition,hold",
        first=142,
    ),
    _row(
        "P15",
        "a new leader reads before it knows what was chosen",
        [
            (
                LEADING,
                "ask = self.reads.ready_to_ask and self.has_committed and not",
                "ask = self.reads.ready_to_ask and not",
            ),
        ],
        STALE,
        faults="depose,crash,delay,slow-disk",
    ),
    _row(
        "P20",
        "a membership that a promise reveals is not asked",
        [
            (
                PREPARATION,
                "        return self._reports.membership()\n",
                "        return self._state.membership\n",
            )
        ],
        {"promise-quorum", "quorums-meet", "leader-completeness"},
        faults="membership,partition,crash,depose",
        nodes=3,
        first=42,
    ),
    _row(
        "P23",
        "a leader reads by a lease that nobody gave it",
        [
            (
                LEADING,
                "        return self.has_committed and self.lease.holds(now)\n",
                "        return self.has_committed\n",
            )
        ],
        STALE,
        faults="depose,pause,clock",
    ),
    _row(
        "V01",
        "the commit index vouches for slots of older ballots",
        [(ACCEPTOR, "min(m.commit, state.vouched))", "min(m.commit, state.log.last_index))")],
        {"chosen-stays", "same-applied", "learned-chosen"},
        first=68,
    ),
    _row(
        "V02",
        "what a member vouches for outlives the ballot",
        [(STATE, "        self._vouched = self.commit\n", "        pass\n")],
        {"chosen-stays", "acceptance-durable", "slots-in-order", "learned-chosen"},
        first=10,
    ),
    _row(
        "V03",
        "part of a promise counts as the whole",
        [(PREPARATION, "        if m.through < m.last:\n", "        if m.through < m.last and not m.entries:\n")],
        {"promise-quorum", "leader-completeness", "promise-reports", "later-ballots-agree"},
        first=3,
    ),
    _row(
        "V04",
        "a snapshot takes the place of what was accepted after it",
        [(STATE, "        if meta.index >= self.log.last_index:\n", "        if meta.index > 0:\n")],
        {"accepted-kept", "nothing-truncated"},
        faults="snapshot,crash,partition,hold",
    ),
    _row(
        "V05",
        "a lent snapshot is declined because of what the log holds",
        [
            (
                "core/following/snapshot_receiver.py",
                "(m.epoch != NO_EPOCH and state.holds(m.meta))",
                "state.log.epoch_at(m.meta.index) is not None",
            )
        ],
        {"acceptance-durable", "chosen-stays", "learned-chosen", "same-applied"},
        faults="snapshot,crash,partition,hold,absence",
        first=65,
    ),
    _row(
        "V06",
        "what others know to be chosen is taken from what they hold",
        [
            (
                PREPARATION,
                "        self.chosen = max(self.chosen, self._knew[sender])\n",
                "        self.chosen = max(self.chosen, m.last)\n",
            )
        ],
        {"chosen-stays", "commit-quorum", "learned-chosen"},
        first=3,
    ),
    _row(
        "V07",
        "a prepare leaves before the own ballot is durable",
        [
            (
                PREPARATION,
                "        self._state.outbox.promise(member, Prepare(",
                "        self._state.outbox.post(member, Prepare(",
            )
        ],
        {"candidacy-durable"},
    ),
    _row(
        "V08",
        "a promise leaves before it is durable",
        [(ACCEPTOR, "        state.outbox.promise(sender, promise)", "        state.outbox.post(sender, promise)")],
        {"promise-durable"},
    ),
    _row(
        "V09",
        "a promise leaves out what was accepted",
        [(ACCEPTOR, "            entries.extend(told)\n", "            entries.extend(told[1:])\n")],
        {"promise-reports", "leader-completeness", "later-ballots-agree"},
    ),
)
