"""Rows of the catalogue about snapshots, membership, reads and leases, and data directories."""

from __future__ import annotations

from typing import Final

from tests.mutants.planting import SAFETY, planted

CATCH_UP = "core/leading/catch_up.py"
CHANGES = "core/leading/changes.py"
COMPACTION = "core/leading/compaction.py"
LEADING = "core/leading/leadership.py"
MEMBER = "core/state.py"
LEASE = "core/leading/lease.py"
QUORUM = "core/quorum.py"
READS = "core/leading/reads.py"
RECEIVER = "core/following/snapshot_receiver.py"
MEMBERSHIP = "core/leading/membership.py"
TRANSFER = "core/leading/transfer.py"
ADMINISTRATION = "engine/administration.py"
MEMBER_CHANGES = "engine/member_changes.py"
QUERIES = "engine/queries.py"
HOST = "machine/host_state.py"
PERSISTENCE = "machine/persistence.py"
HANDSHAKE = "runtime/handshake.py"
SNAPSHOTS = "storage/snapshots.py"

STATES: Final = frozenset(
    {"same-state", "state-replayed", "same-time", "same-revision", "same-applied", "applied-in-order", "applied-once"}
) | {"state-kept", "alarm"}
"""Checks that name a state that is not what the log says."""
STALE: Final = frozenset({"read-fresh", "linearizable", "one-lease", "read-current"})
VOTERS: Final = frozenset({"commit-quorum", "vote-quorum", "one-leader", "leader-completeness", "chosen-stays"})
"""Checks that name a quorum that is none."""

SNAPSHOT_ROWS: Final = (
    planted(
        "N01",
        "an older snapshot replaces a newer log",
        [
            (
                RECEIVER,
                (
                    "        if m.meta.index <= state.commit or (m.epoch != NO_EPOCH and state.holds(m.meta)):\n"
                    "            self._decline(now, sender, m)\n            return\n"
                ),
                "",
            ),
            (
                RECEIVER,
                "        if meta.index > state.commit and (incoming.epoch == NO_EPOCH or not state.holds(meta)):\n",
                "        if meta.index != state.log.base_index:\n",
            ),
        ],
        frozenset({"snapshot-newer", "alarm"}),
        faults="snapshot,hold,duplicate,crash,delay",
        nodes=3,
        first=36,
        by_command=True,
    ),
    planted(
        "N03",
        "of a joint configuration only the new half comes back with a snapshot",
        [
            (
                MEMBER,
                "self._memberships = Timeline(base.index, base.membership)",
                "self._memberships = Timeline(base.index, msgspec.structs.replace(base.membership, outgoing=()))",
            ),
            (
                MEMBER,
                "else meta.membership\n",
                "else msgspec.structs.replace(meta.membership, outgoing=())\n",
            ),
        ],
        VOTERS | {"quorums-meet", "membership-kept", "snapshot-fits"},
        faults="snapshot,membership,crash,partition",
        first=3,
    ),
    planted(
        "N05",
        "the sessions are left out of a snapshot",
        [(HOST, "list(self._table.records()), self.machine.frozen()", "[], self.machine.frozen()")],
        STATES,
        faults="snapshot,crash",
        first=3,
    ),
    planted(
        "N07",
        "a snapshot's state is newer than it says",
        [
            (
                HOST,
                "lambda: tagged_records(now, *frozen))",
                "lambda: tagged_records(now, self._table.records(), self.machine.snapshot()))",
            )
        ],
        STATES,
        faults="snapshot,crash",
        first=3,
    ),
    planted(
        "N09",
        "an older snapshot is used with a later log",
        [
            (
                SNAPSHOTS,
                "        for name in self.names():\n            if name.at < at_least:\n                break\n",
                "        for name in reversed(self.names()):\n",
            )
        ],
        STATES,
        faults="snapshot,crash",
        first=20,
    ),
    planted(
        "N12",
        "a snapshot that is being installed is removed when newer ones come",
        [
            (
                "engine/snapshots.py",
                "        self._directory.hold(meta)  # newer ones may come before this one is in\n",
                "",
            )
        ],
        frozenset({"snapshot-held"}),
        faults="snapshot,slow-disk,absence,loss",
        nodes=3,
        first=1440,
        by_command=True,
    ),
    planted(
        "N10",
        "the log forgets more than the snapshot holds",
        [
            (
                COMPACTION,
                "    return min(index, snapshot, *held)",
                "    return log.last_index",
            ),
        ],
        STATES | {"log-forgets-applied"},
        faults="snapshot,crash",
        first=6,
    ),
    planted(
        "N11",
        "the log is reset before the snapshot is durable",
        [
            (
                SNAPSHOTS,
                "            if not receiver.complete:\n                return False\n            receiver.finish()\n",
                "            if not receiver.complete:\n                return False\n            receiver.abandon()\n",
            )
        ],
        STATES | {"torn-start", "snapshot-held"},
        faults="snapshot,crash,depose",
        first=231,
    ),
    planted(
        "S11",
        "the applied index is written apart from the data",
        [
            (
                PERSISTENCE,
                "            self._store.write(self._changes(view))\n",
                (
                    "            changes = list(self._changes(view))\n"
                    "            self._store.write(changes[:-1])\n"
                    "            self._store.write(changes[-1:])\n"
                ),
            )
        ],
        STATES,
        faults="snapshot,crash",
        first=63,
    ),
    planted(
        "L15",
        "entries are sent where a snapshot is needed",
        [
            (
                LEADING,
                "                self.snapshots.begin(member, progress)\n                return sent\n",
                "                progress.next = state.log.base_index + 1\n",
            ),
            (
                "core/raft/follower.py",
                "        if log.epoch_at(prev_index) != prev_epoch:\n",
                "        if log.epoch_at(prev_index) not in (None, prev_epoch):\n",
            ),
        ],
        SAFETY | {"ack-durable", "commit-in-log"},
        faults="snapshot,crash,depose",
    ),
)

MEMBERSHIP_ROWS: Final = (
    planted(
        "M01",
        "a new leader changes the membership before it has committed anything",
        [
            (CHANGES, "        if not leadership.has_committed:\n", "        if False:\n"),
            (
                ADMINISTRATION,
                "        elif applied_epoch == self._replica.epoch:\n",
                "        else:\n",
            ),
        ],
        frozenset({"change-own-epoch", "one-change"}),
        faults="membership,depose,crash,delay",
        first=3,
    ),
    planted(
        "M02",
        "two changes of the membership at once",
        [
            (CHANGES, "        if rejection is None and leadership.change_under_way:\n", "        if False:\n"),
        ],
        frozenset({"one-change", "quorums-meet"}),
        faults="membership,delay",
        first=18,
    ),
    planted(
        "M06",
        "a configuration takes effect when the next one is appended",
        [
            (
                MEMBER,
                "        self._memberships.append(entry.index, membership)\n        self._refresh_quorums()\n",
                "        self._refresh_quorums()\n        self._memberships.append(entry.index, membership)\n",
            )
        ],
        VOTERS,
        faults="membership,partition,crash",
        first=2,
    ),
    planted(
        "M07",
        "learners count",
        [
            (
                QUORUM,
                "    incoming = Threshold(membership.voters, size or majority(len(membership.voters)))\n",
                (
                    "    everyone = (*membership.voters, *membership.learners)\n"
                    "    incoming = Threshold(everyone, size or majority(len(everyone)))\n"
                ),
            )
        ],
        VOTERS,
        faults="membership,partition,crash",
    ),
    planted(
        "M09",
        "a learner campaigns",
        [
            (
                MEMBER,
                (
                    "            if self.own in membership.voters or self.own in membership.outgoing:\n"
                    "                return True\n"
                ),
                "            if membership.member(self.own) is not None:\n                return True\n",
            )
        ],
        frozenset({"voter-leads"}),
        faults="membership,partition,crash",
    ),
    planted(
        "M12",
        "a member retires before its removal is committed",
        [
            (
                MEMBER,
                "if self.is_member or self.membership_index > self.commit or not self.membership.members:",
                "if self.is_member or not self.membership.members:",
            )
        ],
        frozenset({"removed-committed"}),
        faults="membership,partition,depose",
        first=5,
    ),
    planted(
        "M16",
        "the joint configuration is left before it is committed",
        [
            (
                LEADING,
                "        self._changing = entry.index\n",
                (
                    "        self._changing = entry.index\n"
                    "        if membership.outgoing:\n"
                    "            left = rules.leave(membership)\n"
                    "            entry = self._append(now, EntryKind.MEMBERSHIP, rules.encode(membership, left))\n"
                    "            self._changing = entry.index\n"
                ),
            )
        ],
        frozenset({"one-change"}),
        faults="membership,partition,crash",
    ),
    planted(
        "M17",
        "voters change without a joint phase",
        [
            (
                "core/leading/membership.py",
                "    return msgspec.structs.replace(joint, outgoing_phase_1=now.phase_1, outgoing_phase_2=now.phase_2)",
                "    return Membership(members, voters, (), learners, *sizes)",
            )
        ],
        frozenset({"quorums-meet"}),
        faults="membership",
        first=5,
    ),
    planted(
        "L19",
        "a leader that is no voter any more counts its own copy",
        [
            (
                LEADING,
                "        index = state.phase_2.agreed(matches)\n",
                (
                    "        if state.own not in state.membership.voters and state.membership.voters:\n"
                    "            matches[state.membership.voters[0]] = state.log.durable_index\n"
                    "        index = state.phase_2.agreed(matches)\n"
                ),
            )
        ],
        frozenset({"commit-quorum"}),
        faults="membership,slow-disk,partition",
        first=6,
    ),
    planted(
        "S13",
        "a disk that was wiped, or set back, votes under the old id",
        [
            (
                HANDSHAKE,
                "    boots.check(hello.name, hello.member, hello.boot, hello.process, hello.starts)\n",
                "",
            )
        ],
        frozenset({"copy-refused"}),
        faults="wipe,restore,crash",
        nodes=3,
        first=3,
    ),
    planted(
        "S20",
        "an id that has a data directory is given to another one",
        [
            (
                MEMBER_CHANGES,
                "    if member.claim != UNCLAIMED or member.id in membership.voters:\n",
                "    if False:\n",
            )
        ],
        frozenset({"wiped-claims"}),
        faults="wipe",
        nodes=3,
    ),
)

READ_ROWS: Final = (
    planted(
        "Q01",
        "a leader reads without asking anybody",
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
    planted(
        "Q02",
        "a read index is given before an entry of the own epoch is committed",
        [
            (
                LEADING,
                "ask = self.reads.ready_to_ask and self.has_committed and not",
                "ask = self.reads.ready_to_ask and not",
            )
        ],
        STALE,
        faults="depose,crash,delay,slow-disk",
    ),
    planted(
        "Q03",
        "a read does not wait until its index is applied",
        [(QUERIES, "        if index <= self._host.applied:\n", "        if True:\n")],
        STALE,
        faults="delay",
    ),
    planted(
        "Q05",
        "answers to an earlier round confirm a read",
        [
            (
                READS,
                "        if not self.asked or confirmed_round < self.round:\n",
                "        if not self.asked or confirmed_round < self.round - 1:\n",
            )
        ],
        STALE,
        faults="depose,hold,clock,pause,delay",
        first=204,
    ),
    planted(
        "Q07",
        "a lease is trusted beyond what the clocks allow",
        [
            (
                LEASE,
                "    return settings.lease_ms * MILLISECOND * 1000 // (1000 + settings.clock_drift_permille)\n",
                "    return settings.lease_ms * MILLISECOND * 4\n",
            )
        ],
        STALE,
        faults="lease,clock,depose,pause",
        first=3,
    ),
    planted(
        "Q08",
        "a voter does not keep what it promised to the lease",
        [
            (
                LEASE,
                "        return until is not None and now < until\n",
                "        return False\n",
            ),
        ],
        STALE,
        faults="lease,depose,clock",
        by_command=True,
    ),
    planted(
        "Q09",
        "the time by which a lease is checked was read before the process slept",
        [
            (
                "engine/engine.py",
                "        self._look_at: Nanos = now  #",
                "        self._then = now\n        self._look_at: Nanos = now  #",
            ),
            (
                "engine/engine.py",
                "        self.replica.wake(now)\n\n    def stop",
                "        self.replica.wake(self._then)\n\n    def stop",
            ),
            (
                "engine/engine.py",
                "            effects = self.replica.drain(now)\n",
                "            effects = self.replica.drain(self._then)\n",
            ),
            (
                "engine/engine.py",
                "                return self._look_at\n",
                "                self._then = now\n                return self._look_at\n",
            ),
        ],
        STALE,
        faults="lease,pause,depose,partition",
        nodes=3,
        first=58,
    ),
    planted(
        "Q12",
        "what is not committed is applied",
        [
            (
                MEMBER,
                "        if self.handed_out >= self.commit:\n",
                "        if self.handed_out >= self.log.last_index:\n",
            ),
            (
                MEMBER,
                "last = min(self.commit, self.handed_out",
                "last = min(self.log.last_index, self.handed_out",
            ),
        ],
        frozenset({"applied-committed"}),
    ),
    planted(
        "Q15",
        "a lease is not fenced while leadership is handed over",
        [
            (
                TRANSFER,
                "        leadership.handing_over = leadership.lease.fenced = True\n",
                "        leadership.handing_over = True\n",
            ),
            (TRANSFER, "        leadership.lease.spent = True\n", ""),
        ],
        STALE,
        faults="lease,transfer,depose",
        first=50,
    ),
)

WISH_ROWS: Final = (
    planted(
        "V11",
        "a transfer is forgotten as soon as it is asked for",
        [
            (TRANSFER, "        self.current = Transfer(token, to,", "        _ = Transfer(token, to,"),
        ],
        frozenset({"administered"}),
    ),
    planted(
        "V12",
        "the successor is never told to stand",
        [(TRANSFER, "        state.outbox.post(transfer.to, TimeoutNow(state.epoch))\n", "")],
        frozenset({"administered"}),
    ),
    planted(
        "V13",
        "a change of the members is always said to be under way",
        [
            (
                CHANGES,
                "        if rejection is None and leadership.change_under_way:\n",
                "        if rejection is None:\n",
            )
        ],
        frozenset({"administered"}),
    ),
    planted(
        "V14",
        "a learner's being near begins anew with each heartbeat",
        [
            (
                CATCH_UP,
                "                self._near_since.setdefault(member, now)\n",
                "                self._near_since[member] = now\n",
            )
        ],
        frozenset({"administered"}),
        faults="membership,crash,partition",
    ),
    planted(
        "V15",
        "of the quorum sizes that are asked for, that for phase 1 is forgotten when the joint configuration is left",
        [
            (
                MEMBERSHIP,
                "joint.learners, joint.phase_1, joint.phase_2)",
                "joint.learners, joint.outgoing_phase_1, joint.phase_2)",
            )
        ],
        frozenset({"administered", "quorums-meet"}),
    ),
)
"""Not of the catalogue: what an administrator asks for, and never gets."""

ROWS: Final = SNAPSHOT_ROWS + MEMBERSHIP_ROWS + READ_ROWS + WISH_ROWS
