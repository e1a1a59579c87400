"""Golden conversations: commands to a few replicas, and exactly what they answer.

A file opens with a paragraph that says what it shows. Then come blocks: commands, a line `----`,
the output, an empty line. `pytest tests/datadriven --rewrite` writes the outputs anew; the
diff is what changed in the protocol. CONTRIBUTING.md lists the commands.

Nothing moves by itself: a message arrives, a disk finishes, a timer runs out when a command says so.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

import msgspec
from tests.datadriven.disk import EMPTY
from tests.datadriven.seat import Seat
from tests.datadriven.words import (
    debt_words,
    entries_words,
    epoch_of,
    epoch_word,
    membership_words,
    name,
    number,
    settings_words,
    snapshot_word,
    vote_words,
)
from tests.datadriven.world import MAX_STEPS, World

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.settings import Settings
from coterie.core.types import (
    NO_EPOCH,
    NOBODY,
    Entry,
    EntryKind,
    HardState,
    Member,
    Membership,
    MembershipChange,
    Repair,
    Role,
    SnapshotMeta,
)

LIMITS = {
    "uncommitted": "max_uncommitted_bytes",
    "inflight": "max_inflight_messages",
    "inflight-bytes": "max_inflight_bytes",
    "append": "max_append_bytes",
    "cached": "max_cached_bytes",
    "reads": "max_pending_reads",
    "chunk": "max_snapshot_chunk_bytes",
    "chunks": "max_inflight_snapshot_chunks",
    "rate": "max_snapshot_bytes_per_s",
}
SETTLING = 300 * MILLISECOND
"""How long `cluster leader=n1` lets the new leader's heartbeats run."""


class Conversation(World):
    """Commands to the world, and what they make it say."""

    def run(self, command: str) -> list[str]:
        """Run one command and return its output."""
        self.lines = []
        verb, *arguments = shlex.split(command)
        options = dict(word.split("=", 1) for word in arguments if "=" in word)
        words = [word for word in arguments if "=" not in word]
        method: Callable[[list[str], dict[str, str]], None] = getattr(self, f"do_{verb.replace('-', '_')}")
        hidden = self.teller.hidden & {verb, *options}
        assert not hidden, f"{command}: {min(hidden)} is one protocol's own, and this conversation is for all"
        quiet = "quiet" in words
        self.muted += quiet
        method([word for word in words if word != "quiet"], options)
        self.teller.done(self.seats, quiet=quiet or verb == "cluster")
        self.muted -= quiet
        return self.lines

    # -- the cluster -------------------------------------------------------------------------

    def do_cluster(self, words: list[str], options: dict[str, str]) -> None:
        """cluster N [leader=n1] [learners=n4] [joining=n4] [keep=N] [log-bytes=N] [LIMIT=N]: N members that start for
        the first time; with `leader`, that one was elected, and all have heard of it. Who is joining has an empty
        disk. `keep`: entries kept behind a snapshot; `log-bytes`: the log's limit."""
        ids = tuple(range(1, int(words[0]) + 1))
        learners = tuple(number(word) for word in options.get("learners", "").split(",") if word)
        joining = tuple(number(word) for word in options.get("joining", "").split(",") if word)
        members = tuple(Member(i, name(i), f"n{i}:2380", f"n{i}:2379") for i in ids)
        membership = Membership(members, tuple(i for i in ids if i not in learners), learners=learners)
        first = Entry(1, NO_EPOCH, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(membership))
        limits = {LIMITS[option]: int(value) for option, value in options.items() if option in LIMITS}
        self.config = msgspec.structs.replace(ReplicaConfig(), **limits)
        self.now, self.messages = 0, []
        self.cut.clear()
        self.seats.clear()
        self.muted += 1
        for i in ids:
            settings = Settings(
                snapshot_keep_entries=int(options.get("keep", Settings().snapshot_keep_entries)),
                snapshot_log_bytes=int(options.get("log-bytes", Settings().snapshot_log_bytes)),
            )
            base = SnapshotMeta(0, NO_EPOCH, Membership((), ()), settings)
            self.seats[i] = Seat(() if i in joining else (first,), base)
            self.start(i)
        if "leader" in options:
            self.do_campaign([options["leader"]], {})
            self.do_stabilize([], {})
            self.do_run([f"{SETTLING // MILLISECOND}ms"], {})
        self.muted -= 1

    def do_log(self, words: list[str], options: dict[str, str]) -> None:
        """log n1 1 1 2:x [epoch=5]: the member starts with entries of these epochs on its disk, from index 2
        on, and in this epoch (the highest entry's, if none is given). Ballots: log n1 1.n2 2.n1:x [epoch=5.n3]."""
        member = number(words[0])
        disk = self.seats[member].disk
        del disk.entries[1:]
        for index, word in enumerate(words[1:], start=2):
            epoch, _, text = word.partition(":")
            disk.entries.append(Entry(index, epoch_of(epoch), EntryKind.COMMANDS, 0, text.encode()))
        current = max(entry.epoch for entry in disk.entries)
        disk.hard_state = HardState(epoch_of(options["epoch"]) if "epoch" in options else current, NOBODY)
        self.start(member)

    def do_crash(self, words: list[str], options: dict[str, str]) -> None:
        """crash n1 [records=1]: the process dies; what its disk had not finished is lost, but for the first records of
        the batch under way. What it has sent still travels."""
        seat = self.seats[number(words[0])]
        seat.disk.perform_part(int(options.get("records", "0")))
        seat.replica = None
        seat.disk.batches = []
        seat.disk.part = None

    def do_restart(self, words: list[str], options: dict[str, str]) -> None:
        """restart n1: from what its disk holds."""
        self.start(number(words[0]))

    # -- time and disks ----------------------------------------------------------------------

    def do_campaign(self, words: list[str], options: dict[str, str]) -> None:
        """campaign n1: its clock, and no other, jumps to the end of its election timer."""
        seat = self.seats[number(words[0])]
        assert seat.running.role is not Role.LEADER, "a leader has no election timer"
        seat.ahead += max(0, seat.deadline - self.clock(number(words[0])))
        self.do_wake(words, options)

    def do_wait(self, words: list[str], options: dict[str, str]) -> None:
        """wait 100ms [n1 n2]: time passes; timers of the named members (of all, if none is named) run."""
        until = self.now + int(words[0].removesuffix("ms")) * MILLISECOND
        while (due := self.next_due(words[1:])) is not None and due[0] <= until:
            self.now = max(self.now, due[0])
            self.wake(due[1])
        self.now = until

    def do_run(self, words: list[str], options: dict[str, str]) -> None:
        """run 500ms: time passes and everything works: timers, disks that do not hang, messages. It says what
        changed, not each message."""
        until = self.now + int(words[0].removesuffix("ms")) * MILLISECOND
        for _ in range(MAX_STEPS):
            self.settle(telling=False)
            due = self.next_due([])
            if due is None or due[0] > until:
                self.now = until
                return
            self.now = max(self.now, due[0])
            self.wake(due[1])
        raise AssertionError(f"still busy after {MAX_STEPS} steps")

    def do_wake(self, words: list[str], options: dict[str, str]) -> None:
        """wake n1: its process runs (again), and looks at its clock."""
        self.seats[number(words[0])].asleep = False
        self.wake(number(words[0]))

    def do_sleep(self, words: list[str], options: dict[str, str]) -> None:
        """sleep n1: its process stops running until `wake n1`; what arrives waits in its sockets."""
        self.seats[number(words[0])].asleep = True

    def do_sync(self, words: list[str], options: dict[str, str]) -> None:
        """sync n1 [batches=1]: its disk finishes all that is under way (or the first batches), and hangs no
        longer."""
        for word in words:
            self.seats[number(word)].disk.hangs = False
            self.sync(number(word), batches=int(options.get("batches", "0")))

    def do_drift(self, words: list[str], options: dict[str, str]) -> None:
        """drift n1 20: from now on its clock runs so many thousandths faster than true time (slower, if negative)."""
        member = number(words[0])
        before = self.clock(member)
        self.seats[member].drift = int(words[1])
        self.seats[member].ahead += before - self.clock(member)

    def do_hang(self, words: list[str], options: dict[str, str]) -> None:
        """hang n1: its disk finishes nothing until `sync n1`."""
        self.seats[number(words[0])].disk.hangs = True

    def do_no_space(self, words: list[str], options: dict[str, str]) -> None:
        """no-space n1: its disk is full; the batch under way is tried again until `sync n1`."""
        member = number(words[0])
        seat = self.seats[member]
        seat.disk.hangs = True
        seat.running.store_failed(self.clock(member), seat.disk.batches[0].mark)
        self.drain(member)

    # -- messages ----------------------------------------------------------------------------

    def do_deliver(self, words: list[str], options: dict[str, str]) -> None:
        """deliver [from=n1] [to=n2] [type=Append] [epoch=1] [keep]: messages in flight now, in order, of
        this type, with fields of these values; `keep`: the network delivers them once more later."""
        chosen = [message for message in self.messages if self.matches(message, options)]
        if "keep" not in words:
            self.messages = [message for message in self.messages if not self.matches(message, options)]
        for message in chosen:
            self.deliver(*message)

    def do_drop(self, words: list[str], options: dict[str, str]) -> None:
        """drop [from=n1] [to=n2] [type=Append] [epoch=1]: messages in flight are lost."""
        for message in [message for message in self.messages if self.matches(message, options)]:
            self.messages.remove(message)
            self.teller.message(*message, lost=True)

    def do_stabilize(self, words: list[str], options: dict[str, str]) -> None:
        """stabilize: disks work and messages travel until nothing is left to do; no time passes."""
        self.settle(telling=True)

    def do_cut(self, words: list[str], options: dict[str, str]) -> None:
        """cut n1 n2 n3: no message passes between the first and the others."""
        for word in words[1:]:
            self.cut |= {(number(words[0]), number(word)), (number(word), number(words[0]))}

    def do_heal(self, words: list[str], options: dict[str, str]) -> None:
        """heal: every message passes again."""
        self.cut.clear()

    def do_close(self, words: list[str], options: dict[str, str]) -> None:
        """close n2 n1 [refused]: n2 sees its connection to n1 closed, and perhaps a new one refused."""
        member = number(words[0])
        self.seats[member].running.connection_closed(self.clock(member), number(words[1]), "refused" in words)
        self.drain(member)

    # -- clients -----------------------------------------------------------------------------

    def do_propose(self, words: list[str], options: dict[str, str]) -> None:
        """propose n1 x: a client's command; `propose leader x`: given to whoever leads."""
        member = self.leader() if words[0] == "leader" else number(words[0])
        self.token += 1
        self.seats[member].running.propose(self.clock(member), self.token, " ".join(words[1:]).encode())
        self.drain(member)

    def do_read(self, words: list[str], options: dict[str, str]) -> None:
        """read n1 [n1 ...]: clients' linearizable reads, at the same moment."""
        for word in words:
            self.token += 1
            self.seats[number(word)].running.read(self.clock(number(word)), self.token)
        for member in sorted({number(word) for word in words}):
            self.drain(member)

    # -- snapshots ---------------------------------------------------------------------------

    def do_snapshot(self, words: list[str], options: dict[str, str]) -> None:
        """snapshot n1: its driver takes a snapshot of what the machine has applied, and tells when it is durable."""
        member = number(words[0])
        seat = self.seats[member]
        seat.disk.snapshots[seat.applied.index] = (seat.applied, seat.machine)
        self.teller.has_snapshot(member, seat.applied, len(seat.machine))
        seat.running.snapshot_taken(self.clock(member), seat.applied, len(seat.machine))
        self.drain(member)

    def do_lose_snapshots(self, words: list[str], options: dict[str, str]) -> None:
        """lose-snapshots n1 [but=7]: its snapshot files are gone (all but that one)."""
        disk = self.seats[number(words[0])].disk
        disk.snapshots = {i: found for i, found in disk.snapshots.items() if str(i) == options.get("but")}

    def do_damage(self, words: list[str], options: dict[str, str]) -> None:
        """damage n2: the log of a member that is down is lost, but for what binds it (`storage/salvage.py`)."""
        seat = self.seats[number(words[0])]
        assert seat.replica is None, "it runs"
        disk = seat.disk
        state, last = disk.hard_state, disk.last_index
        disk.hard_state = HardState(state.epoch, state.vote, Repair(last, state.epoch))
        disk.entries, disk.base = [], EMPTY

    def do_spoil(self, words: list[str], options: dict[str, str]) -> None:
        """spoil n3: the snapshot that it was sent, all bytes of it, turns out to be damaged."""
        member = number(words[0])
        seat = self.seats[member]
        assert seat.disk.whole, "no whole snapshot is waiting"
        assert seat.disk.part is not None
        meta, seat.disk.part = seat.disk.part[0], None
        seat.running.snapshot_failed(self.clock(member), meta, "its checksum is wrong")
        self.drain(member)

    # -- operators ---------------------------------------------------------------------------

    def do_join(self, words: list[str], options: dict[str, str]) -> None:
        """join n4: a process with an empty disk starts, and waits until the leader adds it."""
        for word in words:
            self.seats[number(word)] = Seat((), EMPTY)
            self.start(number(word))

    def do_change(self, words: list[str], options: dict[str, str]) -> None:
        """change n1 [add=n4,n5] [promote=n4] [remove=n2] [update=n3] [claim=7] [name=x] [peer=x] [force] [phase-1=4]
        [phase-2=2]: one change of the membership, asked of n1. `claim`, `name` and `peer` are those of who is added or
        updated; `phase-1` and `phase-2` are quorum sizes, 0 for a majority."""
        member = number(words[0])
        some = {field: options.get(field, "").split(",") for field in ("add", "promote", "remove", "update")}
        ids = {field: tuple(number(word) for word in chosen if word) for field, chosen in some.items()}
        self.token += 1
        change = MembershipChange(
            add=tuple(self.described(i, options) for i in ids["add"]),
            promote=ids["promote"],
            remove=ids["remove"],
            update=tuple(self.described(i, options) for i in ids["update"]),
            force="force" in words,
            phase_1=int(options["phase-1"]) if "phase-1" in options else None,
            phase_2=int(options["phase-2"]) if "phase-2" in options else None,
        )
        self.seats[member].running.change_membership(self.clock(member), self.token, change)
        self.drain(member)

    def do_settings(self, words: list[str], options: dict[str, str]) -> None:
        """settings n1 [lease_reads=true] [clock_drift_permille=20]: new settings, asked of n1; without any, what each
        named member holds to be in force."""
        member = number(words[0])
        if not options:
            for word in words:
                self.say(f"{word}: {settings_words(self.seats[number(word)].running.settings)}")
            return
        self.token += 1
        changed = {
            field: value == "true" if value in ("true", "false") else int(value) for field, value in options.items()
        }
        settings = msgspec.structs.replace(self.seats[member].running.settings, **changed)
        self.seats[member].running.change_settings(self.clock(member), self.token, settings)
        self.drain(member)

    def do_transfer(self, words: list[str], options: dict[str, str]) -> None:
        """transfer n1 [n2]: n1 is asked to hand leadership over to n2, or to whoever is most advanced."""
        member = number(words[0])
        self.token += 1
        to = number(words[1]) if len(words) > 1 else NOBODY
        self.seats[member].running.transfer_leadership(self.clock(member), self.token, to)
        self.drain(member)

    def do_members(self, words: list[str], options: dict[str, str]) -> None:
        """members [n1]: the membership by which each of them counts."""
        for word in words or [name(member) for member, seat in self.seats.items() if seat.replica is not None]:
            replica = self.seats[number(word)].running
            text = membership_words(replica.membership) or "not known"
            self.say(f"{word}: {text}" + (", removed" if replica.removed else ""))

    def described(self, member: int, options: dict[str, str]) -> Member:
        label = options.get("name", name(member))
        peer = options.get("peer", f"{name(member)}:2380")
        return Member(member, label, peer, f"{name(member)}:2379", int(options.get("claim", "0")))

    # -- looking -----------------------------------------------------------------------------

    def do_status(self, words: list[str], options: dict[str, str]) -> None:
        """status [n1]: role, epoch, leader, commit and log of every member, or of these."""
        for member in map(number, words) if words else self.seats:
            self.teller.status(member, self.seats[member].replica)

    def do_leads(self, words: list[str], options: dict[str, str]) -> None:
        """leads n2 n3: whether one of these leads and everybody else who runs knows it, whoever of them it is."""
        led = {seat.replica.leader for seat in self.seats.values() if seat.replica is not None}
        (leader,) = led if len(led) == 1 else {NOBODY}
        good = leader in map(number, words) and self.seats[leader].running.role is Role.LEADER
        self.say("yes" if good else f"no: the leaders known are {' '.join(map(name, sorted(led)))}")

    def do_disk(self, words: list[str], options: dict[str, str]) -> None:
        """disk n1: what is durable there."""
        for word in words:
            disk = self.seats[number(word)].disk
            state = f"epoch={epoch_word(disk.hard_state.epoch)}{vote_words(disk.hard_state, '=')}"
            begin = f"after {snapshot_word(disk.base)} | " if disk.base.index else ""
            state += debt_words(disk.hard_state)
            self.say(f"{word} disk: {state} | {begin}{entries_words(disk.entries)}".rstrip())

    def do_machine(self, words: list[str], options: dict[str, str]) -> None:
        """machine n1 [n2]: what the machine has applied."""
        for word in words:
            self.teller.machine(number(word), self.seats[number(word)])

    def do_progress(self, words: list[str], options: dict[str, str]) -> None:
        """progress n1: what a leader knows of the others, and where its log begins."""
        replica = self.seats[number(words[0])].running
        self.teller.progress(number(words[0]), replica, replica.progress(self.clock(number(words[0]))))

    def do_age(self, words: list[str], options: dict[str, str]) -> None:
        """age n1 [n2]: how old a stale read of what it has applied can be."""
        for word in words:
            seat = self.seats[number(word)]
            age = seat.running.age_bound(self.clock(number(word)), seat.applied.index)
            text = f"at most {age // MILLISECOND} ms old" if age >= 0 else "of unknown age"
            self.say(f"{word}: state at {seat.applied.index} is {text}")

    def do_time(self, words: list[str], options: dict[str, str]) -> None:
        """time n1: cluster time that its applied log carries, and what a leader could add now."""
        for word in words:
            seat = self.seats[number(word)]
            credit = seat.running.confirmed_elapsed() // MILLISECOND
            self.say(f"{word}: cluster time {seat.cluster_time // MILLISECOND} ms, {credit} ms more confirmed")
