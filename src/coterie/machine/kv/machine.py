"""The key-value machine: commands and questions in MessagePack, to and from the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain

from coterie.core.types import Index, Nanos
from coterie.machine.chunks import pack, unpack
from coterie.machine.durable import DurableMachine, MachineFlush
from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv.alarms import Alarms, read_alarms
from coterie.machine.kv.auth.answering import answer_auth
from coterie.machine.kv.auth.commands import run_auth
from coterie.machine.kv.auth.gate import UNREADABLE, admit, admit_question
from coterie.machine.kv.auth.protocol import (
    ORDINARY,
    AuthCommand,
    Authorised,
    AuthorisedQuestion,
    AuthQuestion,
    AuthReply,
    for_members_alone,
)
from coterie.machine.kv.auth.store import AuthStore, read_auth
from coterie.machine.kv.auth.stored import AuthChanges, changes_of
from coterie.machine.kv.data import FIRST_REVISION, Data
from coterie.machine.kv.filling import fill, write_in_batches
from coterie.machine.kv.hashing import hash_items
from coterie.machine.kv.keyspace import Keyspace
from coterie.machine.kv.layered import LayeredStore
from coterie.machine.kv.layered_flush import LayeredFlush
from coterie.machine.kv.leases import LeaseChanges, LeaseTable, read_leases
from coterie.machine.kv.leasing import run_lease
from coterie.machine.kv.plans import has_put, plan_of
from coterie.machine.kv.protocol import (
    AlarmReply,
    AskAlarms,
    Command,
    Compact,
    CompactReply,
    DeleteRange,
    Item,
    Leases,
    LeasesReply,
    Put,
    PutReply,
    Question,
    Range,
    Reply,
    SetAlarm,
    Txn,
    command_decoder,
    encoder,
    question_decoder,
)
from coterie.machine.kv.reading import read_range, refuse_range
from coterie.machine.kv.refusals import CORRUPT, EMPTY_KEY
from coterie.machine.kv.sizes import MAX_ANSWER_BYTES, TOO_LARGE, reply_size
from coterie.machine.kv.snapshots import header_of, read_contents, records, stored_records
from coterie.machine.kv.store import Store
from coterie.machine.kv.txn import run_txn
from coterie.machine.kv.writing import (
    MAX_KEY_BYTES,
    delete_range,
    put,
    refuse_compaction,
    refuse_keeping,
    refuse_lease,
    refuse_put,
)
from coterie.machine.stores.interface import Change, OrderedStore, Reading


class KeyValueFlush:
    """What changed of items, leases, auth and alarms, on its way to the store."""

    def __init__(self, items: LayeredFlush, leases: LeaseChanges, auth: AuthChanges, alarms: list[Change]) -> None:
        self.items = items
        self._auth = auth
        self._leases = leases
        self._alarms = alarms

    def changes(self, view: Reading) -> Iterator[Change]:
        """See `MachineFlush`."""
        yield from self._alarms
        yield from self._auth.changes()
        yield from self._leases.changes()
        yield from self.items.changes(view)


class KeyValue(DurableMachine):
    """Keys and values with revisions, as etcd has them: every revision can be read until compaction.

    As it is made, all of it is in memory. `attach` puts it on an ordered store: the host does that when it is
    given one (`Host(KeyValue(), store=open_store(directory))`); memory then holds only what no flush has
    moved there yet, the leases, and all of auth.
    """

    def __init__(self) -> None:
        self.space = Keyspace(Store(), LeaseTable(), Alarms())
        self.auth = AuthStore()
        """Who may do what. For the member that serves, too: see there what it may ask."""
        self._layered: LayeredStore | None = None
        """The items, if they are on disk."""

    @property
    def store(self) -> Data:
        """The items."""
        return self.space.data

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        """Run `protocol.Command`s; the replies are `protocol.Reply`s. What is malformed is rejected."""
        decode = command_decoder.decode
        replies: list[bytes | Rejected] = []
        puts: list[Put] = []
        auth = self.auth
        plain = self._plain()
        for body in batch.commands:
            try:
                command = decode(body)
            except UNREADABLE as error:
                self._put_each(puts, replies)
                replies.append(Rejected(f"not a key-value command: {error}"))
                continue
            if (
                type(command) is plain
                and not (command.want_previous or command.lease or command.ignore_value or command.ignore_lease)
                and command.key
                # A short body has no key or value that is too long.
                and (len(body) <= MAX_KEY_BYTES or refuse_put(command) is None)
            ):
                puts.append(command)
                continue
            self._put_each(puts, replies)
            if auth.enabled or type(command) is Authorised:
                reply = self._run_admitted(command, batch, len(replies))
            else:
                reply = self._run(command, batch, len(replies))
            replies.append(reply if isinstance(reply, Rejected) else encoder.encode(reply))
            plain = self._plain()
        self._put_each(puts, replies)
        self.space.data.end_batch()
        return replies

    def _plain(self) -> type[Put] | None:
        """The kind of command of which many run at once; none while an alarm or auth is on."""
        return None if self.space.alarms.any or self.auth.enabled else Put

    def _put_each(self, puts: list[Put], replies: list[bytes | Rejected]) -> None:
        """Run the puts that were gathered, none of which is to be refused."""
        if puts:
            space = self.space
            first = space.data.revision + 1
            space.data.put_each(puts)
            if space.leases.attached:
                space.leases.release(puts)
            encode = encoder.encode
            replies += [encode(PutReply(revision)) for revision in range(first, first + len(puts))]
            puts.clear()

    def _run_admitted(self, command: Command, batch: Batch, place: int) -> Reply | Rejected:
        """`_run`, if whoever asks for the command may do that."""
        admitted = admit(self.auth, self.space.leases.keys_of, command)
        return admitted if isinstance(admitted, Rejected) else self._run(admitted, batch, place)

    def _run(self, command: Command, batch: Batch, place: int) -> Reply | Rejected:
        """Any command, the common put aside. It is the batch's at `place`."""
        space = self.space
        if isinstance(command, Put):
            return self._put(command)
        if isinstance(command, Txn):
            return self._txn(command)
        if isinstance(command, DeleteRange):
            return self._delete(command)
        if isinstance(command, Compact):
            return self._compact(command)
        if isinstance(command, SetAlarm):
            return space.alarms.set(command, space.data.revision)
        if isinstance(command, AuthCommand):
            return run_auth(self.auth, command, batch.time) or AuthReply(space.data.revision)
        assert not isinstance(command, Authorised), "what is wrapped twice is refused at the gate"
        refused = space.alarms.refuse(command)
        if refused is not None:
            return refused
        return run_lease(space, command, batch.index, batch.ordinals[place], batch.time)

    def _put(self, command: Put) -> Reply | Rejected:
        space = self.space
        refused = (
            refuse_put(command)
            or space.alarms.refuse(command)
            or refuse_lease(space, command)
            or refuse_keeping(space, command)
        )
        if refused is not None:
            return refused
        reply = put(space, command)
        space.commit()
        return reply

    def _txn(self, command: Txn) -> Reply | Rejected:
        plan = plan_of(command)
        if isinstance(plan, Rejected):
            return plan
        alarms = self.space.alarms
        refused = alarms.refuse(command, has_put(plan)) if alarms.any else None
        return refused if refused is not None else run_txn(self.space, plan)

    def _compact(self, command: Compact) -> Reply | Rejected:
        data = self.space.data
        refused = self.space.alarms.refuse(command) or refuse_compaction(data, command.revision)
        if refused is not None:
            return refused
        data.compact(command.revision)
        return CompactReply(data.revision)

    def _delete(self, command: DeleteRange) -> Reply | Rejected:
        refused = self.space.alarms.refuse(command) if command.key else EMPTY_KEY
        if refused is not None:
            return refused
        deleted = delete_range(self.space.data, command)
        if reply_size(deleted) > MAX_ANSWER_BYTES:
            self.space.data.rollback()
            return TOO_LARGE
        self.space.commit()
        return deleted

    def next_timer(self) -> Nanos | None:
        """When the next lease or token ends. No lease does while the cluster is said to be corrupt."""
        lease, token = self.space.leases.next_end(), self.auth.next_end()
        if lease is None or self.space.alarms.corrupt:
            return token
        return lease.deadline if token is None else min(lease.deadline, token)

    def pass_time(self, index: Index, time: Nanos) -> None:
        """End the leases and tokens that are due."""
        if not self.space.alarms.corrupt:  # a token's time may have come: leases wait on
            self.space.end_leases(time)
        self.auth.pass_time(time)

    def query(self, question: bytes) -> bytes | Rejected:
        """Answer a `protocol.Question` from the present state or a past one."""
        try:
            asked = question_decoder.decode(question)
        except UNREADABLE as error:
            return Rejected(f"not a key-value question: {error}")
        if self.auth.enabled or type(asked) is AuthorisedQuestion:
            admitted = admit_question(self.auth, asked)
            answer = admitted if isinstance(admitted, Rejected) else self._answer(admitted)
        else:
            answer = self._answer(asked)
        return answer if isinstance(answer, Rejected) else encoder.encode(answer)

    def _answer(self, asked: Question) -> Reply | Rejected:
        data = self.space.data
        if isinstance(asked, Range):
            refused = CORRUPT if self.space.alarms.corrupt and asked.key else refuse_range(data, asked)
            return refused if refused is not None else read_range(data, asked, data.revision)
        if isinstance(asked, Leases):
            return LeasesReply(data.revision, tuple(sorted(self.space.leases.granted)))
        if isinstance(asked, AskAlarms):
            return AlarmReply(data.revision, self.space.alarms.of_kind(asked.kind))
        if isinstance(asked, AuthQuestion):
            return answer_auth(self.auth, asked, data.revision)
        assert not isinstance(asked, AuthorisedQuestion), "what is wrapped twice is refused at the gate"
        return hash_items(data, asked)

    def for_members_alone(self, body: bytes) -> bool:
        """See `StateMachine`."""
        # Nearly all begin with an array's length in one byte, and a tag in another: no decoder is asked about them.
        return body[:2] not in ORDINARY and for_members_alone(body)

    def revision(self) -> int:
        """The store's revision: 1 when empty, one more with every command that wrote, and every lease that ended and
        had keys."""
        return self.space.data.revision

    def events(self, revision: int) -> Sequence[Item]:
        """What a revision changed (see `Store.events`)."""
        return self.space.data.events(revision)

    def snapshot(self) -> Iterator[bytes]:
        """The whole state, history included. Nothing may be applied before the last chunk is taken."""
        return pack(self._records())

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the whole state by a snapshot's; in memory, on `ValueError` the state is as it was."""
        assert self._layered is None, "a machine on a store is restored by its host"
        contents = read_contents(unpack(chunks))
        store, leases, alarms = Store(), LeaseTable(contents.leases), Alarms(contents.alarms)
        auth = AuthStore(contents.auth)
        store.load(contents.revision, contents.compacted, leases.watch(contents.items))
        self.space, self.auth = Keyspace(store, leases, alarms), auth

    def digest(self) -> bytes:
        """Hash of everything that can be read: items, history, revision, compaction, leases, auth and alarms."""
        state = blake2b(digest_size=32)
        for record in self._records():
            state.update(len(record).to_bytes(4, "big"))
            state.update(record)
        return state.digest()

    def _records(self) -> Iterator[bytes]:
        space, data = self.space, self.space.data
        header = header_of(data.revision, data.compacted)
        return records(header, space.alarms.records(), self.auth.records(), space.leases.records(), data.items())

    # On an ordered store: see `DurableMachine`

    def attach(self, store: OrderedStore) -> None:
        """See `DurableMachine`."""
        assert self.space.data.revision == FIRST_REVISION, "attach comes before anything else"
        self._layered = LayeredStore(store)
        self._become(self._layered)

    def _become(self, layered: LayeredStore) -> None:
        """Be what the store holds."""
        self.space = Keyspace(layered, read_leases(layered.view), read_alarms(layered.view))
        self.auth = read_auth(layered.view)

    @property
    def _on_store(self) -> LayeredStore:
        assert self._layered is not None, "the machine is in memory: attach it first"
        return self._layered

    def begin_flush(self) -> MachineFlush:
        """See `DurableMachine`."""
        space = self.space
        return KeyValueFlush(
            self._on_store.begin_flush(),
            space.leases.take_changes(),
            self.auth.take_changes(),
            space.alarms.take_changes(),
        )

    def finish_flush(self, flush: MachineFlush) -> None:
        """See `DurableMachine`."""
        assert isinstance(flush, KeyValueFlush)
        self._on_store.finish_flush(flush.items)

    @property
    def unflushed_items(self) -> int:
        """See `DurableMachine`."""
        return self._on_store.unflushed_items + self.space.leases.unflushed + self.auth.unflushed

    @property
    def sweep_left(self) -> bool:
        """Whether compaction left something on disk, which flushes free."""
        return isinstance(self.store, LayeredStore) and self.store.sweep_left

    def stored_chunks(self, view: Reading) -> Iterator[bytes]:
        """See `DurableMachine`."""
        return pack(stored_records(view))

    def fill(self, store: OrderedStore, chunks: Iterable[bytes]) -> None:
        """See `DurableMachine`."""
        contents = read_contents(unpack(chunks))
        leases, alarms = LeaseTable(contents.leases), Alarms(contents.alarms)
        auth = AuthStore(contents.auth)
        fill(store, contents.revision, contents.compacted, leases.watch(contents.items))
        write_in_batches(store, chain(alarms.changes(), changes_of(auth.records()), leases.changes()))

    def reload(self) -> None:
        """See `DurableMachine`."""
        self._on_store.reload()
        self._become(self._on_store)

    def detach(self) -> None:
        """See `DurableMachine`."""
        self._on_store.close()
