"""What is forbidden in the simulated world, and what the judge knows of each member."""

from __future__ import annotations

from typing import Final

from coterie.core.records import StoreBatch
from coterie.core.types import NO_EPOCH, Index, Membership, Role
from coterie.sim.shadow import ShadowLog

SHARED: Final = {
    "one-leader": "at most one member leads an epoch, once (Raft, Election Safety; Paxos Made Simple 2.2)",
    "leader-completeness": "who leads an epoch holds all that was chosen in earlier ones (Raft 5.4; P2c)",
    "chosen-stays": "no two members ever commit different entries at one index (State Machine Safety)",
    "commit-quorum": "an entry is committed only when a phase-2 quorum of the configuration in force has it on disk",
    "one-lease": "while a leader may answer reads alone, by its own clock, nobody is elected after it (6.4.1)",
    "read-current": "a linearizable read waits for all that was committed anywhere when it was asked for (6.4)",
    "voter-leads": "only a voter asks for votes or promises: no learner, no removed member (4.2)",
    "quorums-meet": "quorums that elect meet those that commit, of one configuration and of the one before it (4.3)",
    "one-change": "a membership is changed only when the one before is committed (4.1, 4.3)",
    "membership-kept": "after a restart the membership of the log is in force, a joint one included (4.1; 4.3)",
    "promoted-ready": "who becomes a voter has answered its leader in this epoch, unless somebody insists (4.2.1)",
    "change-own-epoch": "a leader changes the membership only when an entry of its epoch is committed (4.1, erratum)",
    "removed-committed": "a member is treated as removed only when its removal is committed (4.2.2)",
    "commit-in-log": "a member commits only what its log holds",
    "commit-monotonic": "a member's commit index never goes back",
    "epoch-monotonic": "a member's epoch never goes back, restarts included",
    "candidacy-durable": "a candidate asks for votes or promises only when its own epoch is on disk (5.2; 2.5)",
    "copy-refused": "a disk that was wiped or set back is refused by whoever saw more of the member",
    "honest-let-in": "a member with its own disk is let in",
    "wiped-claims": "an id that has a data directory is not given to another one",
    "log-kept": "what a disk was said to hold is there after a restart",
    "torn-start": "a member starts on what a crash leaves of a sound disk",
    "log-invented": "what is there after a restart was once given to the disk, in this order",
    "log-forgets-applied": "a log forgets only what is committed, and what a durable state holds (Raft 7)",
    "snapshot-chosen": "a log is reset only to a snapshot of what was committed (Raft 7)",
    "snapshot-newer": "a snapshot never replaces a log that has committed as much (Raft 7)",
    "snapshot-fits": "a snapshot says of its index what the log says: epoch, membership, settings (Raft 7)",
    "snapshot-held": "a snapshot that a log was reset to is whole, and stays until the machine has its state (Raft 7)",
    "state-kept": "after a restart, store or snapshot and log together hold all of the state",
    "same-state": "after the same entry all replicas have the same state, however they came to it",
    "state-replayed": "what an ended process leaves leads again to the state in which it ended (snapshot, store, log)",
    "time-monotonic": "cluster time never goes back from entry to entry: new leaders, restarts, snapshots or not",
    "same-time": "cluster time after an entry is the same everywhere, for ever",
    "same-revision": "a machine's revision after an entry is the same everywhere, for ever",
    "revision-monotonic": "a machine's revision never goes back",
    "applied-in-order": "a machine applies every batch once, in order, from where its snapshot ends",
    "same-applied": "replicas apply the same commands and get the same replies at the same index",
    "applied-once": "a command takes effect at most once",
    "damaged-silent": "a member whose log was damaged says nothing that counts until it is whole (core/repair.py)",
    "damaged-keeps-promises": "a member whose log was damaged still knows what it promised, and how far it had come",
    "repaired-whole": "a member whose log was damaged holds again all that was chosen with its help when it counts",
    "applied-committed": "a member applies only what is committed",
    "liveness": "once all is healed, or a quorum, every request completes, one leader stands, and replicas agree",
    "leader-kept": "a leader that a quorum hears stays, though another member hears it no more (6.2; 4.2.3)",
    "administered": "in peace, what administrators ask for is done: settings, members, quorums, a leader (3.10; 4)",
    "unrecoverable": "damage leaves what was chosen on the disks of those that go on: else liveness proves nothing",
}
"""What every protocol must keep."""

RAFT: Final = {
    "one-vote": "a member votes for one candidate an epoch, restarts included (5.2)",
    "log-matching": "entries of one index and epoch are equal, and so are their predecessors (5.3)",
    "epoch-first": "a log holds no entry of a later epoch than its member's own (5.1; decision 0011)",
    "chosen-truncated": "no member drops an entry that it holds and that was committed",
    "vote-quorum": "a leader has the votes of a phase-1 quorum of the configuration in force (5.2, 4.3)",
    "commit-own-epoch": "a leader counts copies of its own epoch's entries only (5.4.2, figure 8)",
    "vote-durable": "a vote leaves only when it is on disk (5.2)",
    "ack-durable": "an acknowledgement leaves only when the entries are on disk (5.3)",
}

MULTIPAXOS: Final = {
    "ballot-owner": "a ballot is used only by the member that it names (Paxos Made Simple 2.2)",
    "one-value": "a ballot has one value for a slot, for ever and everywhere (2.2)",
    "later-ballots-agree": "once a ballot chose a value, every later one has that value for the slot (2.2, P2b)",
    "promise-kept": "a member accepts only in the ballot that it promised last, restarts included (2.2, P1a)",
    "promise-durable": "a promise leaves only when it and all that it reports are on disk (2.5)",
    "promise-reports": "a promise tells all that was accepted and its proposer does not know as high (2.2, phase 1b)",
    "held-true": "a proposer holds, or was told, what it says that it need not be told",
    "prepare-covers": "phase 1 leaves no slot out but what its proposer knows to be chosen (3)",
    "promise-quorum": "a leader has whole promises of a phase-1 quorum, by the newest membership they told (2.2; 4.3)",
    "learned-chosen": "what a leader sends of an older ballot than its own is chosen (3)",
    "acceptance-durable": "an acknowledgement leaves only when each slot is on disk, in its ballot or chosen (2.5)",
    "slots-in-order": "slots are written without a gap, and over lower ballots only (2.2)",
    "nothing-truncated": "what was accepted is never dropped from a log's end (2.2)",
    "accepted-kept": "a snapshot does not replace what was accepted in later slots (2.2)",
}

API: Final = {
    "effects-true": "what a command changes and answers is what the API says of it (etcd API, rpc.proto)",
    "watch-complete": "a watcher is told all events of its keys from its start on, in order, once, revisions whole, as "
    "they were committed; or that they were compacted (etcd API guarantees, Watch; Jepsen 3.4.3; robustness tests)",
    "watch-bookmark": "a progress notice's revision: all up to it has been told (etcd API guarantees, Bookmarkable)",
    "lease-not-early": "a lease lives as long as it was granted for since it was last kept alive (etcd API, Lease)",
    "lease-ends": "a lease that nobody keeps alive ends, by the entry that reaches its time; soon in peace",
    "lease-atomic": "a lease's keys are deleted when it ends, all at one revision (etcd API, Lease; lessor.go, Revoke)",
    "lease-told": "what is said of a lease, that it lives or does not, was so during the call (etcd PR 14177)",
    "one-holder": "who is told that it holds a lock or leads is the first in the queue, by a lease that lives; what it "
    "writes fenced follows what earlier holders wrote (Jepsen 3.4.3; etcd issue 11456)",
}
"""What the services of etcd's API must keep, whatever the protocol beneath: judged where clients call them."""

LAWS: Final = SHARED | RAFT | MULTIPAXOS | API


class MemberLaws:
    """What the laws know of one member."""

    def __init__(self) -> None:
        self.written = ShadowLog()
        """All that it was told to store, durable or not."""
        self.durable = ShadowLog()
        """What its disk holds for certain."""
        self.pending: list[StoreBatch] = []
        """Batches in `written` and not in `durable`."""
        self.boot = 0
        self.epoch = NO_EPOCH
        self.commit: Index = 0
        self.role = Role.FOLLOWER
        self.in_force: list[Membership] = []
        """The configurations that were in force since the member was last observed."""
        self.forgot: list[ShadowLog] = []
        """What its disk held before it was damaged, while it owes a repair: until then its copies may be counted, for
        nobody is elected by it without them."""
        self.exiled = False
        """Its disk was taken from it, or set back: what it does counts no longer, and nobody may heed it."""

    def campaigns_by(self) -> list[Membership]:
        """Memberships by which a member may ask for votes: all that are not committed, and the one before them, for
        it may be the only one that has them (4.2.2); and what was in force when its step began."""
        log = self.written
        known = max(self.commit, log.base)
        first = max(position for position, (index, _) in enumerate(log.memberships) if index <= known)
        return [*(membership for _, membership in log.memberships[first:]), *self.in_force]
