"""Rows of the bug catalogue as changes of the shipped source: real bugs of real systems, planted here."""

from __future__ import annotations

from typing import Final

from tests.mutants.api import API_CONTROLS, API_ROWS
from tests.mutants.clients import CLIENT_ROWS
from tests.mutants.disks import DISK_ROWS
from tests.mutants.elections import ELECTION_ROWS, PULL_ROWS
from tests.mutants.groups_and_states import ROWS
from tests.mutants.laws import LAW_ROWS
from tests.mutants.not_applicable import NOT_APPLICABLE
from tests.mutants.paxos import PAXOS_ROWS
from tests.mutants.planting import SAFETY, planted
from tests.mutants.quorum_sizes import QUORUM_ROWS
from tests.mutants.repair import REPAIR_ROWS

from coterie.sim.mutants import Catalogue

ELECTION = "core/raft/election.py"
FOLLOWER = "core/raft/follower.py"
LEADER = "core/raft/leader.py"
LEADING = "core/leading/leadership.py"
MEMBER = "core/state.py"
PARTICIPANT = "core/participant.py"
STREAM = "core/following/stream.py"
TIMERS = "core/following/election.py"
STATE = "core/raft/state.py"
QUORUM = "core/quorum.py"
SYNCING = "storage/syncing.py"
FRAME = "storage/frame.py"
RECOVERY = "storage/recovery.py"

FIRST_ROWS: Final = (
    planted(
        "R01",
        "the vote is answered before it is durable",
        [
            (
                ELECTION,
                "state.outbox.promise(sender, VoteReply(state.epoch, True))",
                "state.outbox.post(sender, VoteReply(state.epoch, True))",
            )
        ],
        frozenset({"vote-durable", "one-vote", "one-leader"}),
    ),
    planted(
        "R02",
        "epoch and vote are not read back after a restart",
        [
            (MEMBER, "self.epoch: Epoch = recovered.hard_state.epoch", "self.epoch: Epoch = Epoch(0, 0)"),
            (STATE, "self.vote: MemberId = recovered.hard_state.vote", "self.vote: MemberId = NOBODY"),
        ],
        frozenset({"epoch-monotonic", "one-vote"}),
    ),
    planted(
        "R05",
        "the vote of an older epoch is kept",
        [
            (
                STATE,
                "        self.epoch = epoch\n        self.vote = vote\n",
                "        self.epoch = epoch\n        self.vote = vote or self.vote\n",
            )
        ],
        frozenset({"liveness"}) | SAFETY,
    ),
    planted(
        "R07",
        "votes of an older epoch count",
        [
            (
                ELECTION,
                "if state.role is not Role.CANDIDATE or m.epoch != state.epoch or not m.granted:",
                "if state.role is not Role.CANDIDATE or not m.granted:",
            )
        ],
        SAFETY,
        faults="delay,depose,crash,hold",
        nodes=3,
        first=44,
        by_command=True,
    ),
    planted(
        "R08",
        "a vote that comes twice counts twice",
        [
            (TIMERS, "        self._votes: set[MemberId] = set()", "        self._votes: list[MemberId] = []"),
            (
                TIMERS,
                "        self._votes = set()\n        self._own_vote_mark = None\n        if leader",
                "        self._votes = []\n        self._own_vote_mark = None\n        if leader",
            ),
            (TIMERS, "self._votes = {state.own}", "self._votes = [state.own]"),
            (
                ELECTION,
                "        self._votes = set()\n        self._wait_for_outcome(now)\n        request",
                "        self._votes = []\n        self._wait_for_outcome(now)\n        request",
            ),
            (TIMERS, "self._votes.add(self._state.own)\n", "self._votes.append(self._state.own)\n"),
            (
                TIMERS,
                "        self._votes.add(sender)\n        if state",
                "        self._votes.append(sender)\n        if state",
            ),
            (
                ELECTION,
                "        self._votes.add(sender)\n        return",
                "        self._votes.append(sender)\n        return",
            ),
            (
                QUORUM,
                "sum(1 for voter in self.voters if voter in votes) >= self.size",
                "sum(1 for vote in votes if vote in self.voters) >= self.size",
            ),
        ],
        SAFETY,
        faults="duplicate,partition,loss",
        nodes=5,
        first=52,
        by_command=True,
    ),
    planted(
        "R09",
        "the longer log wins, whatever its epochs",
        [
            (
                STATE,
                "return (last_epoch, last_index) >= (self.log.last_epoch, self.log.last_index)",
                "return last_index >= self.log.last_index",
            )
        ],
        SAFETY,
        faults="delay,depose,crash",
        nodes=5,
        first=165,
    ),
    planted(
        "R10",
        "only a strictly better log gets the vote",
        [
            (
                STATE,
                "return (last_epoch, last_index) >= (self.log.last_epoch, self.log.last_index)",
                "return (last_epoch, last_index) > (self.log.last_epoch, self.log.last_index)",
            )
        ],
        frozenset({"liveness"}),
        first=1,
    ),
    planted(
        "R12",
        "half is a majority",
        [(QUORUM, "return count // 2 + 1 if count else 0", "return (count + 1) // 2 if count else 0")],
        SAFETY,
        nodes=4,
    ),
    planted(
        "R20",
        "pre-votes count as votes",
        [
            (
                ELECTION,
                "        self.campaign_began = now\n        self._votes = set()\n",
                "        self.campaign_began = now\n",
            )
        ],
        SAFETY,
        first=13,
    ),
    planted(
        "R24",
        "a candidate asks for votes before its own epoch is durable",
        [
            (
                ELECTION,
                "            state.outbox.promise(member, request)\n",
                "            state.outbox.post(member, request)\n",
            )
        ],
        frozenset({"candidacy-durable", "one-vote", "one-leader", "log-matching"}),
    ),
    planted(
        "L01",
        "an entry of an older epoch is committed by counting copies (figure 8)",
        [
            (
                LEADER,
                "return self._state.log.epoch_at(index) == self._state.epoch",
                "return True",
            )
        ],
        SAFETY,
        faults="delay,depose,crash",
        nodes=5,
    ),
    planted(
        "L03",
        "the epoch of the entry before is not compared",
        [
            (
                FOLLOWER,
                "if log.epoch_at(prev_index) != prev_epoch:",
                "if log.epoch_at(prev_index) is None:",
            )
        ],
        SAFETY,
        faults="delay,depose,crash",
        nodes=5,
        first=12,
    ),
    planted(
        "L04",
        "every Append cuts the log off behind it",
        [
            (
                FOLLOWER,
                "            if held == entry.epoch:\n                continue\n",
                "            if held == entry.epoch and entry.index <= state.commit:\n                continue\n",
            )
        ],
        SAFETY | {"ack-durable"},
    ),
    planted(
        "L05",
        "a follower commits beyond what the Append matched",
        [
            (
                FOLLOWER,
                "state.commit = max(state.commit, min(m.commit, matched))",
                "state.commit = max(state.commit, min(m.commit, log.last_index))",
            )
        ],
        SAFETY,
        faults="delay,depose,crash",
        nodes=5,
        first=43,
    ),
    planted(
        "L06",
        "the commit index goes back",
        [
            (
                FOLLOWER,
                "state.commit = max(state.commit, min(m.commit, matched))",
                "state.commit = min(m.commit, matched)",
            )
        ],
        frozenset({"commit-monotonic"}),
    ),
    planted(
        "L09",
        "a refusal advances what is known to match",
        [(LEADING, "        if m.accepted:\n            if progress.", "        if True:\n            if progress.")],
        SAFETY,
    ),
    planted(
        "L18",
        "entries of a deposed leader are taken",
        [(PARTICIPANT, "        if m.epoch < state.epoch:\n", "        if False:\n")],
        SAFETY,
        first=27,
    ),
    planted(
        "L21",
        "a leader counts its own copy before it is durable",
        [
            (
                LEADING,
                "        matches[state.own] = state.log.durable_index\n",
                "        matches[state.own] = state.log.last_index\n",
            )
        ],
        frozenset({"commit-quorum"}),
    ),
    planted(
        "L23",
        "a new leader appends no entry of its own",
        [
            (LEADER, '        self._append(now, EntryKind.NOOP, b"")\n        self._commit', "        self._commit"),
        ],
        frozenset({"liveness"}),
    ),
    planted(
        "S01",
        "entries are acknowledged before they are durable",
        [
            (
                STREAM,
                "            self._state.outbox.promise(to, reply)",
                "            self._state.outbox.post(to, reply)",
            )
        ],
        frozenset({"ack-durable", "commit-quorum"}),
    ),
    planted(
        "S03",
        "a failed sync is tried again, and believed",
        [
            (
                SYNCING,
                "where) from error\n        raise\n",
                "where) from error\n        sync()\n",
            )
        ],
        frozenset({"torn-start", "log-kept", "epoch-monotonic"}),
        faults="sync-error,crash",
        first=0,
    ),
    planted(
        "S04",
        "the checksum of a frame is not compared",
        [
            (
                FRAME,
                "if len(body) != header.body_bytes or crc32(body) != header.body_crc:",
                "if len(body) != header.body_bytes:",
            )
        ],
        frozenset({"log-kept", "log-invented", "epoch-monotonic"}),
        faults="bit-rot,crash",
        first=4,
    ),
    planted(
        "S05",
        "a torn tail refuses the start",
        [(RECOVERY, "            if not torn:\n", "            if not torn or header is not Broken.BLANK:\n")],
        frozenset({"torn-start"}),
        faults="crash,slow-disk",
        first=3,
    ),
    planted(
        "S07",
        "damage inside the log is cut off like a torn tail",
        [
            (RECOVERY, "            if later is not None:\n", "            if False:\n"),
            (RECOVERY, "            if not torn:\n", "            if False:\n"),
        ],
        frozenset({"log-kept", "epoch-monotonic"}),
        faults="bit-rot,crash",
        first=2,
    ),
    planted(
        "O01",
        "what was found at a start is believed before it is durable",
        [
            (
                RECOVERY,
                "        file.sync()\n        self._files.sync_directory(self._directory)\n        if torn:\n",
                "        if torn:\n            file.sync()\n",
            )
        ],
        frozenset({"log-kept", "epoch-monotonic"}),
        faults="sync-error,crash",
        first=58,
    ),
)

MUTANTS: Final = (
    *(FIRST_ROWS + ELECTION_ROWS + DISK_ROWS + ROWS + QUORUM_ROWS + CLIENT_ROWS + PAXOS_ROWS + PULL_ROWS + REPAIR_ROWS),
    *LAW_ROWS,
    *API_ROWS,
)

CONTROLS: Final = (
    planted("K0", "nothing is changed", [], frozenset()),
    planted(
        "K1",
        "a leader commits before its own sync: its followers' copies are enough",
        [],
        frozenset(),
        faults="slow-disk",
    ),
    planted(
        "K2",
        "the commit index is learned anew at each start",
        [],
        frozenset(),
        faults="crash",
    ),
    planted(
        "K8",
        "every Append and every vote is sent twice",
        [
            (
                ELECTION,
                "        state.outbox.promise(sender, VoteReply(state.epoch, True))\n",
                "        state.outbox.promise(sender, VoteReply(state.epoch, True))\n" * 2,
            ),
            (
                LEADING,
                "        # A follower commits only what the message vouches for (L05): more it was not told.\n",
                "        state.outbox.send.append(state.outbox.send[-1])\n",
            ),
        ],
        frozenset(),
    ),
    planted(
        "K3",
        "a learner grants its vote when asked, and every member counts it only if it is a voter",
        [],
        frozenset(),
        faults="membership,crash,depose",
    ),
    planted(
        "K11",
        "a snapshot is taken at every entry",
        [
            (
                "engine/snapshots.py",
                "        limit = max(settings.snapshot_log_bytes, settings.snapshot_log_ratio * self._last_size)\n",
                "        limit = 1\n",
            )
        ],
        frozenset(),
        faults="snapshot,crash",
    ),
    planted(
        "K12",
        "a lease is held for half as long as it may be",
        [
            (
                "core/leading/lease.py",
                "    return settings.lease_ms * MILLISECOND * 1000 // (1000 + settings.clock_drift_permille)\n",
                "    return settings.lease_ms * MILLISECOND * 500 // (1000 + settings.clock_drift_permille)\n",
            )
        ],
        frozenset(),
        faults="lease,clock,depose,transfer",
    ),
    *API_CONTROLS,
)

CATALOGUE: Final = Catalogue(MUTANTS, CONTROLS, NOT_APPLICABLE)
