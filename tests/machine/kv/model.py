"""A key-value store so simple that it is right: the whole state, as a dict, for every revision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from coterie.machine.kv.protocol import (
    AlarmKind,
    AlarmReply,
    Compare,
    DeleteRange,
    DeleteReply,
    Grant,
    Item,
    KeepAlive,
    LeaseReply,
    Nested,
    Order,
    Put,
    PutReply,
    Range,
    RangeReply,
    Relation,
    Revoke,
    SetAlarm,
    SortTarget,
    Target,
    TimeToLive,
    Txn,
    TxnReply,
    command_decoder,
)

State: TypeAlias = dict[bytes, Item]
Operation: TypeAlias = Put | DeleteRange | Range | Nested
Writing: TypeAlias = Put | DeleteRange | Txn
ATTRIBUTES = {Target.VERSION: "version", Target.CREATE: "create", Target.MOD: "mod", Target.LEASE: "lease"}
SORTED_BY = {
    SortTarget.KEY: "key",
    SortTarget.VERSION: "version",
    SortTarget.CREATE: "create",
    SortTarget.MOD: "mod",
    SortTarget.VALUE: "value",
}


LeaseCommand: TypeAlias = Grant | Revoke | KeepAlive | TimeToLive
SECOND = 1_000_000_000


class Refused(Exception):
    """Why."""


class Model:
    """States and events by revision; answers are replies, or the reason for a refusal."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {1: {}}
        self.events: dict[int, list[Item]] = {1: []}
        self.revision = 1
        self.compacted = -1
        self.leases: dict[int, tuple[int, int]] = {}
        """Seconds, and the deadline, by id."""
        self.alarms: set[tuple[int, AlarmKind]] = set()

    # Alarms

    def set_alarm(self, command: SetAlarm) -> AlarmReply:
        """Raise or clear."""
        if command.on:
            named = {(command.member, command.kind)} - {(command.member, AlarmKind.NONE)}
            self.alarms |= named
        else:
            named = {
                (member, kind)
                for member, kind in self.alarms
                if (not command.member or command.member == member) and (not command.kind or command.kind == kind)
            }
            self.alarms -= named
        return AlarmReply(self.revision, tuple(sorted(named)))

    def _on(self, wanted: AlarmKind) -> bool:
        return any(kind is wanted for _, kind in self.alarms)

    def _check_alarms(self, needs_space: bool) -> None:
        if self._on(AlarmKind.CORRUPT):
            raise Refused("corrupt cluster")
        if needs_space and self._on(AlarmKind.NOSPACE):
            raise Refused("mvcc: database space exceeded")

    # Leases

    def pass_time(self, now: int, most: int) -> None:
        """End the leases that are due, `most` at most."""
        due = sorted((deadline, id) for id, (_, deadline) in self.leases.items() if deadline <= now)
        for _, id in due[:most]:
            self._end(id)

    def next_timer(self) -> int | None:
        """When the next lease ends."""
        if self._on(AlarmKind.CORRUPT):
            return None
        return min((deadline for _, deadline in self.leases.values()), default=None)

    def attached(self, id: int) -> tuple[bytes, ...]:
        """The keys of a lease."""
        return tuple(sorted(item.key for item in self.states[self.revision].values() if item.lease == id))

    def _end(self, id: int) -> None:
        state, keys = dict(self.states[self.revision]), self.attached(id)
        for key in keys:
            del state[key]
        if keys:
            self.events[self.revision + 1] = [Item(key, b"", 0, self.revision + 1, 0) for key in keys]
            self.revision += 1
            self.states[self.revision] = state
        del self.leases[id]

    def lease(self, command: LeaseCommand, fresh: int, now: int) -> LeaseReply | str:
        """One command about a lease; `fresh` is the id of a new one."""
        id, known = command.lease, self.leases.get(command.lease)
        if isinstance(command, Grant | Revoke):
            try:
                self._check_alarms(isinstance(command, Grant))
            except Refused as refused:
                return str(refused)
        if isinstance(command, Grant):
            if command.ttl > 9_000_000_000:
                return "too large lease TTL"
            if known is not None:
                return "lease already exists"
            ttl = max(command.ttl, 2)
            self.leases[id or fresh] = ttl, now + ttl * SECOND
            return LeaseReply(self.revision, id or fresh, ttl, ttl)
        if isinstance(command, Revoke):
            if known is None:
                return "requested lease not found"
            self._end(id)
            return LeaseReply(self.revision, id, 0)
        if isinstance(command, KeepAlive):
            if known is None:
                return LeaseReply(self.revision, id, 0)
            self.leases[id] = known[0], now + known[0] * SECOND
            return LeaseReply(self.revision, id, known[0], known[0])
        if known is None:
            return LeaseReply(self.revision, id, -1)
        left = max(0, known[1] - now) // SECOND
        return LeaseReply(self.revision, id, left, known[0], self.attached(id) if command.keys else ())

    # Keys

    def run(self, command: Writing) -> PutReply | DeleteReply | TxnReply | str:
        """One command, all or nothing."""
        state, events = dict(self.states[self.revision]), list[Item]()
        try:
            reply = self._run(command, state, events)
        except Refused as refused:
            return str(refused)
        if events:
            self.revision += 1
            self.states[self.revision] = state
            self.events[self.revision] = events
        return reply

    def _run(self, command: Writing, state: State, events: list[Item]) -> PutReply | DeleteReply | TxnReply:
        if isinstance(command, Txn):
            check(command, 128)
            for branch in (command.then, command.otherwise):
                check_keys(branch)
            self._check_alarms(has_put(command))
            way = list(self._way(command))
            self._check_way(way)
            return self._txn(command, state, events)
        check_operation(command)
        self._check_alarms(isinstance(command, Put))
        if isinstance(command, Put):
            self._check_lease(command)
            self._check_ignored(command)
            return self._put(command, state, events)
        return self._delete(command, state, events)

    def _way(self, txn: Txn) -> Iterator[Put | DeleteRange | Range]:
        """The operations that run."""
        for operation in txn.then if self._holds_all(txn) else txn.otherwise:
            if isinstance(operation, Nested):
                yield from self._way(unwrapped(operation))
            else:
                yield operation

    def _holds_all(self, txn: Txn) -> bool:
        return all(self._holds(compare) for compare in txn.compares)

    def _check_way(self, way: list[Put | DeleteRange | Range]) -> None:
        puts = [x for x in way if isinstance(x, Put)]
        if any(inside(put.key, x.key, x.end) for put in puts for x in way if isinstance(x, DeleteRange)):
            raise Refused("duplicate key given in txn request")
        for put in puts:
            self._check_ignored(put)
            self._check_lease(put)
        for operation in way:
            if isinstance(operation, Range):
                self._check_revision(operation.revision)
                if operation.revision < 0 and operation.revision < self.compacted:
                    raise Refused("mvcc: required revision has been compacted")

    def _check_ignored(self, put: Put) -> None:
        if (put.ignore_value or put.ignore_lease) and put.key not in self.states[self.revision]:
            raise Refused("key not found")

    def _check_lease(self, put: Put) -> None:
        if put.lease and put.lease not in self.leases:
            raise Refused("requested lease not found")

    def _txn(self, txn: Txn, state: State, events: list[Item]) -> TxnReply:
        succeeded = self._holds_all(txn)
        replies: list[PutReply | DeleteReply | RangeReply | TxnReply] = []
        for operation in txn.then if succeeded else txn.otherwise:
            if isinstance(operation, Nested):
                replies.append(self._txn(unwrapped(operation), state, events))
            elif isinstance(operation, Put):
                replies.append(self._put(operation, state, events))
            elif isinstance(operation, DeleteRange):
                replies.append(self._delete(operation, state, events))
            else:
                replies.append(self._range(operation, state, self.revision + bool(events)))
        return TxnReply(self.revision + bool(events), succeeded, tuple(replies))

    def _holds(self, compare: Compare) -> bool:
        state = self.states[self.revision]
        found = [state[key] for key in state if inside(key, compare.key, compare.end)]
        return all(relates(item, compare) for item in found) if found else relates(None, compare)

    def _put(self, put: Put, state: State, events: list[Item]) -> PutReply:
        writing, old = self.revision + 1, state.get(put.key)
        value, lease = put.value, put.lease
        if put.ignore_value:
            assert old is not None
            value = old.value
        if put.ignore_lease:
            assert old is not None
            lease = old.lease
        state[put.key] = new = (
            Item(put.key, value, writing, writing, 1, lease)
            if old is None
            else Item(put.key, value, old.create, writing, old.version + 1, lease)
        )
        events.append(new)
        return PutReply(writing, old if put.want_previous else None)

    def _delete(self, deletion: DeleteRange, state: State, events: list[Item]) -> DeleteReply:
        gone = [state.pop(key) for key in sorted(state) if inside(key, deletion.key, deletion.end)]
        events += [Item(item.key, b"", 0, self.revision + 1, 0) for item in gone]
        return DeleteReply(self.revision + bool(events), len(gone), tuple(gone) if deletion.want_previous else ())

    def _check_revision(self, revision: int) -> None:
        if revision > self.revision:
            raise Refused("mvcc: required revision is a future revision")
        if 0 < revision < self.compacted:
            raise Refused("mvcc: required revision has been compacted")

    def ask(self, question: Range) -> RangeReply | str:
        """Answer a question."""
        try:
            check_operation(question)
            self._check_alarms(False)
            self._check_revision(question.revision)
        except Refused as refused:
            return str(refused)
        return self._range(question, self.states[self.revision], self.revision)

    def _range(self, question: Range, present: State, revision: int) -> RangeReply:
        state = self.states[question.revision] if question.revision > 0 else present
        items = [state[key] for key in sorted(state) if inside(key, question.key, question.end)]
        count = len(items)
        if question.count_only:
            return RangeReply(revision, (), False, count)
        limit = question.limit if question.limit > 0 else count
        wanted = question.selection
        if wanted is not None:
            bounds = wanted.min_mod, wanted.max_mod, wanted.min_create, wanted.max_create
            if wanted.order is Order.NONE and not any(bounds):
                items = items[: limit + 1]
            items = [
                item
                for item in items
                if (not wanted.min_mod or item.mod >= wanted.min_mod)
                and (not wanted.max_mod or item.mod <= wanted.max_mod)
                and (not wanted.min_create or item.create >= wanted.min_create)
                and (not wanted.max_create or item.create <= wanted.max_create)
            ]
            if wanted.order is not Order.NONE or wanted.target is not SortTarget.KEY:
                attribute = SORTED_BY[wanted.target]
                items.sort(key=lambda item: getattr(item, attribute), reverse=wanted.order is Order.DESCEND)
        kept = items[:limit]
        if question.keys_only:
            kept = [Item(item.key, b"", item.create, item.mod, item.version, item.lease) for item in kept]
        return RangeReply(revision, tuple(kept), len(kept) < len(items), count)

    def compact(self, revision: int) -> str:
        """Returns the reason for refusing, empty if done."""
        if self._on(AlarmKind.CORRUPT):
            return "corrupt cluster"
        if revision <= self.compacted:
            return "mvcc: required revision has been compacted"
        if revision > self.revision:
            return "mvcc: required revision is a future revision"
        self.compacted = revision
        return ""


def unwrapped(nested: Nested) -> Txn:
    """What is nested."""
    txn = command_decoder.decode(nested.txn)
    assert isinstance(txn, Txn)
    return txn


def has_put(txn: Txn) -> bool:
    """Is there a put in it anywhere?"""
    return any(
        has_put(unwrapped(operation)) if isinstance(operation, Nested) else isinstance(operation, Put)
        for operation in txn.then + txn.otherwise
    )


def check(txn: Txn, room: int) -> None:
    """Is the transaction fit to run, whatever the state?"""
    count = max(len(txn.compares), len(txn.then), len(txn.otherwise))
    if count > room:
        raise Refused("too many operations in txn request")
    if not all(compare.key for compare in txn.compares):
        raise Refused("key is not provided")
    for operation in txn.then + txn.otherwise:
        if isinstance(operation, Nested):
            check(unwrapped(operation), room - count)
        else:
            check_operation(operation)


def check_operation(operation: Put | DeleteRange | Range) -> None:
    """Is it fit to run, whatever the state?"""
    if not operation.key:
        raise Refused("key is not provided")
    if isinstance(operation, Put) and operation.ignore_value and operation.value:
        raise Refused("value is provided")
    if isinstance(operation, Put) and operation.ignore_lease and operation.lease:
        raise Refused("lease is provided")


def check_keys(branch: tuple[Operation, ...]) -> tuple[list[bytes], list[DeleteRange]]:
    """What it may put and delete; no key twice."""
    deletions = [x for x in branch if isinstance(x, DeleteRange)]
    puts: list[bytes] = []

    def add(keys: list[bytes]) -> None:
        if any(key in puts or any(inside(key, d.key, d.end) for d in deletions) for key in keys):
            raise Refused("duplicate key given in txn request")
        puts.extend(keys)

    for nested in [unwrapped(x) for x in branch if isinstance(x, Nested)]:
        then, otherwise = check_keys(nested.then), check_keys(nested.otherwise)
        add(sorted({*then[0], *otherwise[0]}))
        deletions += then[1] + otherwise[1]
    for operation in branch:
        if isinstance(operation, Put):
            add([operation.key])
    return puts, deletions


def relates(item: Item | None, compare: Compare) -> bool:
    """Does the comparison hold for this item, or for a missing key?"""
    left: bytes | int
    right: bytes | int
    if compare.target == Target.VALUE:
        if item is None:
            return False
        left, right = item.value, compare.value
    else:
        left, right = 0 if item is None else getattr(item, ATTRIBUTES[compare.target]), compare.number
    return {
        Relation.EQUAL: left == right,
        Relation.NOT_EQUAL: left != right,
        Relation.GREATER: left > right,  # type: ignore[operator]  # both bytes or both int
        Relation.LESS: left < right,  # type: ignore[operator]  # both bytes or both int
    }[compare.relation]


def inside(key: bytes, first: bytes, end: bytes) -> bool:
    """Whether the key is meant by `first` and `end`."""
    if not end:
        return key == first
    return key >= first and (end == b"\0" or key < end)
