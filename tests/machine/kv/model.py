"""A key-value store so simple that it is right: the whole state, as a dict, for every revision."""

from __future__ import annotations

from coterie.machine.kv.protocol import (
    Compare,
    DeleteRange,
    DeleteReply,
    Item,
    Put,
    PutReply,
    Range,
    RangeReply,
    Relation,
    Target,
    Txn,
    TxnReply,
)

State = dict[bytes, Item]


class Model:
    """States and events by revision; answers are replies, or the reason for a refusal."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {1: {}}
        self.events: dict[int, list[Item]] = {1: []}
        self.revision = 1
        self.compacted = -1

    def run(self, command: Put | DeleteRange | Txn) -> PutReply | DeleteReply | TxnReply | str:
        """One command, all or nothing."""
        state, events = dict(self.states[self.revision]), list[Item]()
        if isinstance(command, Txn):
            reply: PutReply | DeleteReply | TxnReply | str = self._txn(command, state, events)
        elif not command.key:
            return "key is not provided"
        else:
            done = self._operation(command, state, events)
            assert not isinstance(done, RangeReply)
            reply = done
        if events and not isinstance(reply, str):
            self.revision += 1
            self.states[self.revision] = state
            self.events[self.revision] = events
        return reply

    def _txn(self, txn: Txn, state: State, events: list[Item]) -> TxnReply | str:
        operations = txn.then + txn.otherwise
        if not all(x.key for x in txn.compares + operations):
            return "key is not provided"
        for branch in (txn.then, txn.otherwise):
            puts = [x.key for x in branch if isinstance(x, Put)]
            deletions = [x for x in branch if isinstance(x, DeleteRange)]
            if len(set(puts)) < len(puts) or any(inside(key, d.key, d.end) for key in puts for d in deletions):
                return "duplicate key given in txn request"
        succeeded = all(self._holds(compare) for compare in txn.compares)
        branch = txn.then if succeeded else txn.otherwise
        for operation in branch:
            if isinstance(operation, Range) and (refused := self._refuse(operation.revision)):
                return refused
        replies = tuple([self._operation(operation, state, events) for operation in branch])
        return TxnReply(self.revision + bool(events), succeeded, replies)

    def _holds(self, compare: Compare) -> bool:
        item = self.states[self.revision].get(compare.key)
        left: bytes | int
        right: bytes | int
        if compare.target == Target.VALUE:
            if item is None:
                return False
            left, right = item.value, compare.value
        else:
            names = {Target.VERSION: "version", Target.CREATE: "create", Target.MOD: "mod"}
            left, right = 0 if item is None else getattr(item, names[compare.target]), compare.number
        return {
            Relation.EQUAL: left == right,
            Relation.NOT_EQUAL: left != right,
            Relation.GREATER: left > right,  # type: ignore[operator]  # both bytes or both int
            Relation.LESS: left < right,  # type: ignore[operator]  # both bytes or both int
        }[compare.relation]

    def _operation(
        self, operation: Put | DeleteRange | Range, state: State, events: list[Item]
    ) -> PutReply | DeleteReply | RangeReply:
        writing = self.revision + 1
        if isinstance(operation, Range):
            return self._range(operation, state, self.revision + bool(events))
        if isinstance(operation, Put):
            old = state.get(operation.key)
            state[operation.key] = new = (
                Item(operation.key, operation.value, writing, writing, 1)
                if old is None
                else Item(operation.key, operation.value, old.create, writing, old.version + 1)
            )
            events.append(new)
            return PutReply(writing, old if operation.want_previous else None)
        gone = [state.pop(key) for key in sorted(state) if inside(key, operation.key, operation.end)]
        events += [Item(item.key, b"", 0, writing, 0) for item in gone]
        return DeleteReply(self.revision + bool(events), len(gone), tuple(gone) if operation.want_previous else ())

    def _refuse(self, revision: int) -> str:
        if revision > self.revision:
            return "mvcc: required revision is a future revision"
        if 0 < revision < self.compacted:
            return "mvcc: required revision has been compacted"
        return ""

    def ask(self, question: Range) -> RangeReply | str:
        """Answer a question."""
        if not question.key:
            return "key is not provided"
        return self._refuse(question.revision) or self._range(question, self.states[self.revision], self.revision)

    def _range(self, question: Range, present: State, revision: int) -> RangeReply:
        state = self.states[question.revision] if question.revision > 0 else present
        items = [state[key] for key in sorted(state) if inside(key, question.key, question.end)]
        if question.count_only:
            return RangeReply(revision, (), False, len(items))
        kept = items[: question.limit] if question.limit > 0 else items
        if question.keys_only:
            kept = [Item(item.key, b"", item.create, item.mod, item.version) for item in kept]
        return RangeReply(revision, tuple(kept), len(kept) < len(items), len(items))

    def compact(self, revision: int) -> str:
        """Returns the reason for refusing, empty if done."""
        if revision <= self.compacted:
            return "mvcc: required revision has been compacted"
        if revision > self.revision:
            return "mvcc: required revision is a future revision"
        self.compacted = revision
        return ""


def inside(key: bytes, first: bytes, end: bytes) -> bool:
    """Whether the key is meant by `first` and `end`."""
    if not end:
        return key == first
    return key >= first and (end == b"\0" or key < end)
