"""The whole node, synchronous: replica, log, machine, sessions. No asyncio, no clock, no I/O.

The shell (asyncio runtime or simulated world) calls the inputs as things happen and then `flush`
once for the batch; see `docs/contract.md`. What `flush` raises ends the node.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from coterie.core.errors import SafetyViolation
from coterie.core.messages import Forward, ForwardRefused, Message, StateDigest
from coterie.core.protocols import make_replica
from coterie.core.records import Recovered
from coterie.core.replica import Accepted, Effects, LogReader, ReadReady, RoleChange
from coterie.core.types import NOBODY, Entry, EntryKind, Mark, MemberId, Nanos, Role, SnapshotMeta, Token
from coterie.engine.administration import Administration
from coterie.engine.backlog import Backlog
from coterie.engine.config import EngineConfig as EngineConfig
from coterie.engine.config import Identity as Identity
from coterie.engine.divergence import DivergenceCheck
from coterie.engine.findings import Findings
from coterie.engine.group import Group
from coterie.engine.history import History, memberships_up_to
from coterie.engine.intake import Intake
from coterie.engine.node_status import status_of
from coterie.engine.ports import Event, Ports
from coterie.engine.proposals import Proposals
from coterie.engine.protocol import FailureCode, Happened, NodeStatus, Request, View
from coterie.engine.queries import Queries
from coterie.engine.snapshots import ENTRY_OVERHEAD_BYTES, Snapshots, restore_newest
from coterie.engine.submissions import Submissions
from coterie.engine.work import Job
from coterie.machine.durable import DurableMachine
from coterie.machine.host import Host, MakeHost
from coterie.machine.interface import StateMachine
from coterie.machine.loading import machine_name
from coterie.machine.outcomes import Done
from coterie.machine.stores.interface import OrderedStore
from coterie.storage.snapshots import SnapshotDirectory

MAX_ELECTIONS_REMEMBERED = 16
NEVER: Nanos = 1 << 62


class Engine:
    """One node. Every input takes `now`, monotonic nanoseconds read after the input arrived."""

    def __init__(
        self,
        *,
        identity: Identity,
        config: EngineConfig,
        protocol: str,
        recovered: Recovered,
        reader: LogReader,
        machine: StateMachine,
        ports: Ports,
        rng: random.Random,
        now: Nanos,
        store: OrderedStore | None = None,
        snapshots: SnapshotDirectory | None = None,
        log_bytes: int = 0,
        make_host: MakeHost = Host.over,
    ) -> None:
        """`store`: where a durable machine keeps its state; None: in memory. `snapshots`: None: none are taken, and
        the log keeps everything. `log_bytes`: of the log as it was found. `make_host`: another one is watched.

        Raises `NoState` if neither store nor snapshot holds what the log begins after, `ProgramTooOld`, and what
        store and directory raise.
        """
        self.identity = identity
        self.config = config
        self.protocol = protocol
        self.host = make_host(machine, store)
        found = restore_newest(self.host, snapshots, recovered)
        self._machine_name = machine_name(machine)
        self._ports = ports
        self.replica = make_replica(
            protocol,
            own=identity.member,
            config=config.replica,
            recovered=recovered,
            reader=reader,
            snapshots=snapshots,
            applied=self.host.applied,
            rng=rng,
            now=now,
        )
        self._findings = Findings(found, self.replica, ports)
        self._submissions = Submissions(identity.member, identity.boot, ports, config.request_timeout)
        self._queries = Queries(self.host, ports, config.request_timeout)
        self._proposals = Proposals(
            identity, config, self.replica, self._submissions, ports, self._new_token, config.replica.whims
        )
        known = [*memberships_up_to(recovered, self.host.applied), self.host.membership]
        history = History(identity.member, known)
        self._group = Group(identity.member, config.supported_version, self.replica, ports, history)
        self._group.must_support(self.host.settings)
        self._snapshots = Snapshots(
            own=identity.member,
            host=self.host,
            replica=self.replica,
            ports=ports,
            directory=snapshots,
            durable=store is not None and isinstance(machine, DurableMachine),
            log_bytes=log_bytes,
        )
        self._snapshots.begin(now)
        self._backlog = Backlog(config.replica)
        self.behind = False
        """After `flush`: there is more to apply, so it is to be called again at once, after whatever inputs have
        come. (Replaying a long log must not keep a member from consensus.)"""
        self._version_token: Token = 0
        self._administration = Administration(
            cluster=identity.cluster,
            member=identity.member,
            protocol=protocol,
            machine=self._machine_name,
            timeout=config.request_timeout,
            election_timeout=config.replica.election_timeout,
            replica=self.replica,
            ports=ports,
            rng=rng,
            new_token=self._new_token,
            history=history,
        )
        self._intake = Intake(
            config, self._submissions, self._queries, self._administration, ports, self.age_bound, self.status
        )
        # Peers answer reads by token: one of an earlier boot must never be taken for one of this.
        self._last_token: Token = identity.boot << 40
        self._held: deque[tuple[Mark, MemberId, Message]] = deque()
        self._stored_mark: Mark = 0
        self.disk_full = False
        """Whether the log lacks the space for what it was given."""
        self._role: RoleChange | None = None
        self._elections: deque[str] = deque(maxlen=MAX_ELECTIONS_REMEMBERED)
        self._retry_reads_at: Nanos = NEVER
        self._look_at: Nanos = now  # the deadline that the last flush returned

    def _new_token(self) -> Token:
        self._last_token += 1
        return self._last_token

    # -- inputs ------------------------------------------------------------------------------

    def receive(self, now: Nanos, sender: MemberId, message: Message) -> bool:
        """A peer's message. Returns whether a flush is needed: if no input since the last flush needs
        one, it may be left out."""
        if isinstance(message, Forward):
            self._proposals.forwarded(sender, message)
        elif isinstance(message, ForwardRefused):
            self._proposals.forward_refused(now, sender, message)
        elif isinstance(message, StateDigest):
            self._group.received(sender, message)
        else:
            self.replica.receive(now, sender, message)
            return not self.replica.settled
        return True

    def request(self, now: Nanos, client: object, *requests: Request) -> None:
        """A client's requests, in this order; `client` is a hashable handle that `Ports.reply` gets back."""
        self._intake.take(now, client, requests)

    def stored(self, now: Nanos, mark: Mark) -> bool:
        """Store batches up to `mark` are durable: what waited for that leaves at once. Returns whether a flush is
        needed, as `receive` does."""
        self._stored_mark = max(self._stored_mark, mark)
        self.disk_full = False
        self.replica.stored(now, mark)
        self._release_held()
        return not self.replica.settled

    def _release_held(self) -> None:
        """Votes, promises, acknowledgements: what waited for the disk may leave."""
        held = self._held
        while held and held[0][0] <= self._stored_mark:
            _, to, message = held.popleft()
            self._ports.send(to, message)

    def store_failed(self, now: Nanos, mark: Mark) -> None:
        """No space for the batch; the shell keeps trying."""
        self.disk_full = True
        self.replica.store_failed(now, mark)

    def connection_closed(self, now: Nanos, peer: MemberId, refused: bool) -> None:
        """See `Replica.connection_closed`."""
        self.replica.connection_closed(now, peer, refused)

    def wake(self, now: Nanos) -> None:
        """The deadline that `flush` returned has come."""
        self.replica.wake(now)

    def stop(self, now: Nanos) -> None:
        """Take no more requests (they fail with STOPPING); what is under way goes on."""
        self._intake.stopping = True

    def worked(self, now: Nanos, job: Job, problem: Exception | None) -> None:
        """A job that `Ports.work` was given is done, or failed with `problem`. Raises what ends the node."""
        meta = self._snapshots.worked(now, job, problem)
        if meta is not None:
            self._restored(now, meta)

    def flush_store(self) -> bool:
        """Begin to bring what the machine gathered in memory into its store; returns whether that is under way. It is
        over when `flushing` is false."""
        return self._snapshots.flush_store()

    @property
    def flushing(self) -> bool:
        """Whether the machine's store is being written."""
        return self._snapshots.flushing

    def hand_over(self, now: Nanos) -> bool:
        """Before `stop`: if this member leads, let another take over (3.10); returns whether that began. It is
        over when `leads` is false, or after an election timeout."""
        return self._administration.hand_over(now)

    @property
    def leads(self) -> bool:
        """Whether this member is the leader, as far as it knows."""
        return self.replica.role is Role.LEADER

    @property
    def expelled(self) -> bool:
        """This member was removed from the group: it is of no more use, and may end."""
        return self._group.expelled

    @property
    def idle(self) -> bool:
        """No request is under way: after `stop`, the node may end."""
        return self._submissions.count == 0 and self._queries.count == 0 and self._administration.count == 0

    # -- flush -------------------------------------------------------------------------------

    def flush(self, now: Nanos) -> Nanos:
        """Do what the inputs since the last flush led to, through the ports; returns the deadline: `now` if it is
        `behind`.

        Raises `SafetyViolation` when a safety rule was seen broken: stop, keep the evidence.
        """
        self._intake.flush(now)
        self._intake.overloaded_until = self._proposals.overloaded_until
        if now >= self._look_at:
            # Whatever came since the last flush has a later deadline than this one's.
            self._submissions.expire(now, f" (the disk of {self.identity.name} is full)" if self.disk_full else "")
            self._queries.expire(now)
            self._administration.expire(now)
        self._ask_reads(now)
        self._findings.tell()
        while True:
            self._administration.dispatch(now, self.host.applied_epoch)
            self._proposals.dispatch(now, self._timer_due())
            effects = self.replica.drain(now)
            again = self._perform(now, effects)
            self.behind = effects.more or (bool(self._backlog.entries) and not self._snapshots.busy)
            if self.behind:
                self._look_at_group(now)
                self._snapshots.flush(now)
                self._look_at = self._deadline(effects.deadline)
                return now
            if not (again or self._look_at_group(now) or self._snapshots.flush(now)):
                self._look_at = self._deadline(effects.deadline)
                return self._look_at

    def _look_at_group(self, now: Nanos) -> bool:
        """Whether something was asked of the replica."""
        asked = self._group.flush(now, self._last_token + 1)
        if asked:
            self._version_token = self._new_token()
        return asked

    def _perform(self, now: Nanos, effects: Effects) -> bool:
        """Do what the replica wants done. Returns whether that led to more inputs for it."""
        if effects.alarm is not None:
            alarm = effects.alarm
            self._ports.event(Event("alarm", f"{alarm.rule}: {alarm.evidence}. {alarm.advice}"))
            raise SafetyViolation(f"{alarm.rule}: {alarm.evidence}", advice=alarm.advice)
        send = self._ports.send
        for to, message in effects.send:
            send(to, message)
        if effects.store is not None:
            self._ports.store(effects.store)
        self._held.extend(effects.send_after)
        again = False
        if effects.role is not None:
            again = self._role_changed(now, effects.role)
        for outcome in effects.outcomes:
            if isinstance(outcome, Accepted):
                if not self._proposals.accepted(now, outcome):
                    self._administration.outcome(outcome)
            elif outcome.token == self._version_token:
                self._group.version_refused()
            elif not (self._administration.outcome(outcome) or self._proposals.refused(now, outcome)):
                self._read_unanswered(now, outcome.token)
        if effects.chunks:
            self._snapshots.chunks(effects.chunks)
        if effects.snapshot_wanted:
            self._snapshots.want()
        if effects.install is not None:
            self._snapshots.install(effects.install)
            self._backlog.forget(effects.install.index)
        committed = effects.committed
        if self._backlog.entries or (committed and self._snapshots.busy):
            self._backlog.add(committed)
            committed = () if self._snapshots.busy else self._backlog.take()
        if committed:
            if effects.store is not None:
                again = self._leave_first(now) or again
            self._apply(now, committed)
            again = again or self._proposals.waiting or self._administration.queued
        for ready in effects.reads:
            self._read_ready(ready)
        return again or self._proposals.owes_refusals

    def _leave_first(self, now: Nanos) -> bool:
        """What is stored need not wait until this member has applied what is committed already: with one client, each
        entry brings the news that the one before it is. Returns whether that led to more inputs for the replica.

        `now` stays the turn's, however long the disk took. A read that a lease answers with it was asked before, when
        nobody else could lead; rounds and stamps that bear it promise less than they could (6.4)."""
        while (mark := self._ports.leave()) is not None:
            self.stored(now, mark)
        return not self.replica.settled

    def _apply(self, now: Nanos, entries: Sequence[Entry]) -> None:
        """Apply committed entries and answer the clients whose commands they carry."""
        identity, host, administration = self.identity, self.host, self._administration
        period = host.settings.divergence_check_ms
        grown = 0
        for entry in entries:
            time = host.time
            grown += len(entry.payload) + ENTRY_OVERHEAD_BYTES
            for done in host.apply(entry, identity.member, identity.boot, self._answer):
                self._answer(done)
            self._proposals.applied(now, entry)
            if entry.kind is not EntryKind.COMMANDS:
                self._group.agreed(entry)
                period = host.settings.divergence_check_ms
            if administration.waits_for_entry:
                administration.applied(entry)
            if host.time != time and DivergenceCheck.due(time, host.time, period):
                self._group.state(entry.index, host.chain)
        self._snapshots.grown += grown
        if self._queries.count:
            self._queries.applied()

    def _answer(self, done: Done) -> None:
        self._submissions.applied(done, self.host.revision())

    def _restored(self, now: Nanos, meta: SnapshotMeta) -> None:
        """The machine's state is a snapshot's now; go on with what was committed after it."""
        text = "this member fell behind and took over a snapshot: the command may have taken effect before it"
        self._submissions.fail_sent(FailureCode.LEADER_LOST, Happened.UNKNOWN, text)
        self._group.restored(meta.membership, meta.settings)
        self._administration.restored()
        self._backlog.forget(meta.index)

    # -- reads -------------------------------------------------------------------------------

    def _ask_reads(self, now: Nanos) -> None:
        """One read index for all queries that arrived since the last."""
        if now >= self._retry_reads_at:
            self._retry_reads_at = NEVER
            for _ in range(self._queries.unanswered_count):
                token = self._new_token()
                self._queries.ask_again(token)
                self._read(now, token)
        if self._queries.to_ask:
            token = self._new_token()
            self._queries.ask(now, token)
            self._read(now, token)

    def _read(self, now: Nanos, token: Token) -> None:
        self.replica.read(now, token)

    def _read_ready(self, ready: ReadReady) -> None:
        self._queries.ready(ready.token, ready.index)

    def _read_unanswered(self, now: Nanos, token: Token) -> None:
        """No leader for this read: ask again when one is known, or after a heartbeat."""
        self._queries.unanswered(token)
        self._retry_reads_at = min(self._retry_reads_at, now + self.config.replica.heartbeat_interval)

    def age_bound(self, now: Nanos) -> Nanos:
        """How old this member's state can be: see `Replica.age_bound`."""
        return self.replica.age_bound(now, self.host.applied)

    # -- roles, time -------------------------------------------------------------------------

    def _role_changed(self, now: Nanos, role: RoleChange) -> bool:
        """Tell people and clients; send what waits to the leader that is now known."""
        before, self._role = self._role, role
        name = self._name(role.leader) if role.leader != NOBODY else "nobody"
        if before is None or (before.leader, before.epoch) != (role.leader, role.epoch):
            text = f"epoch {role.epoch.round}: {name} leads; {self.identity.name} is {role.role.name.lower()}"
            text = f"{text} ({role.reason})"
            self._elections.append(text)
            self._ports.event(Event("role", text, {"epoch": role.epoch.round, "leader": name}))
        if before is None or before.leader != role.leader or before.membership is not role.membership:
            self._ports.publish(self.view())
        self._proposals.leader_changed(now, role.leader, role.epoch)
        self._group.leader_changed(role.leader)
        if role.leader != NOBODY and self._queries.unanswered_count:
            self._retry_reads_at = now
            self._ask_reads(now)
        return True

    def _name(self, member: MemberId) -> str:
        known = self.replica.membership.member(member)
        return known.name if known is not None else f"{member:016x}"

    def _timer_due(self) -> bool:
        """Whether cluster time, as far as a quorum confirmed it, has reached a session's end or the machine's timer, or
        is on its way there for so long that it should not be lost: only an entry can carry it."""
        elapsed = self.replica.confirmed_elapsed()  # none, unless it leads
        if not elapsed:
            return False
        timer = self.host.next_timer()
        return timer is not None and elapsed >= min(timer - self.host.time, self.config.time_interval)

    def _deadline(self, deadline: Nanos) -> Nanos:
        """The earliest of the replica's `deadline` and everybody else's."""
        others = (
            self._proposals.deadline(),
            self._queries.deadline() if self._queries.count else NEVER,
            self._administration.deadline(),
            self._submissions.deadline() if self._submissions.count else NEVER,
            self._group.deadline(),
            self._snapshots.deadline(),
            self._retry_reads_at,
        )
        return min(deadline, *others)

    # -- what others may look at -------------------------------------------------------------

    def view(self) -> View:
        """The leader and members, for clients that have just connected."""
        members = tuple((m.id, m.name, m.client) for m in self.replica.membership.members)
        return View(self.replica.leader, members)

    def status(self) -> NodeStatus:
        """What this node says of itself."""
        return status_of(self.identity, self.protocol, self.replica, self.host, self._elections)
