"""Small histories of transactions, and the models of those: strict serializable, serializable, snapshot isolation.

The first two are decided by `coterie.check`: a transaction is one operation that touches several keys; strict
serializability is linearizability of those, and serializability (Papadimitriou 1979) is sequential consistency where
each transaction is a process of its own. Snapshot isolation (Berenson et al. 1995; Adya 1999, section 4.3; Cerone and
Gotsman 2016) is decided here, by trying every order of beginnings and commits: each transaction reads what was
committed when it began, and no two that overlap write the same key.

In the enumeration transactions come one after the other, and what a read finds was written before, as in `small.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations
from typing import Final

import msgspec

from coterie.check import KEY_VALUE, Operation, satisfies
from coterie.check.lattice import LINEARIZABLE, SEQUENTIAL
from coterie.lab.models.small import KEYS, Step

STRICT: Final = "strict-serializable"
SERIALIZABLE: Final = "serializable"
SNAPSHOT: Final = "snapshot-isolation"
TRANSACTIONAL: Final = (STRICT, SERIALIZABLE, SNAPSHOT)
IMPLIES: Final[dict[str, tuple[str, ...]]] = {STRICT: (SERIALIZABLE,), SERIALIZABLE: (SNAPSHOT,)}
MOST_OPERATIONS: Final = 4
MOST_TRANSACTIONS: Final = 3

Transaction = tuple[Step, ...]
"""Its operations in order; `process` is its number."""
Transactions = tuple[Transaction, ...]


class Found(msgspec.Struct):
    """What all small histories of transactions showed."""

    judged: int = 0
    witnesses: dict[tuple[str, str], Transactions] = msgspec.field(default_factory=dict)
    """The smallest that the weaker model (first) allows, and the stronger forbids."""
    breaches: dict[tuple[str, str], Transactions] = msgspec.field(default_factory=dict)
    """Allowed by the stronger (first) and forbidden by the weaker: against the lattice."""
    nothing: Transactions | None = None
    """The smallest that all three forbid."""
    not_composable: dict[str, Transactions] = msgspec.field(default_factory=dict)
    """The smallest of which each key alone satisfies the model and the whole does not. (None is found for strict
    serializability, which needs transactions that overlap in time for that.)"""
    single: int = 0
    """Histories whose transactions are single operations, ..."""
    mismatch: Transactions | None = None
    """... and one of them that is strict serializable and not linearizable, or the other way round."""


def search(most: int = MOST_OPERATIONS) -> Found:
    """Judge every history of up to so many operations by every model."""
    found = Found()
    for size in range(1, most + 1):
        for history in histories(size):
            found.judged += 1
            verdicts = {model: holds(history, model) for model in TRANSACTIONAL}
            for weaker, stronger in ((SERIALIZABLE, STRICT), (SNAPSHOT, SERIALIZABLE)):
                if verdicts[weaker] and not verdicts[stronger]:
                    found.witnesses.setdefault((weaker, stronger), history)
                if verdicts[stronger] and not verdicts[weaker]:
                    found.breaches.setdefault((stronger, weaker), history)
            if found.nothing is None and not any(verdicts.values()):
                found.nothing = history
            for model in TRANSACTIONAL:
                if not verdicts[model] and model not in found.not_composable and _each_key(history, model):
                    found.not_composable[model] = history
            if all(len(transaction) == 1 for transaction in history):
                found.single += 1
                if _fresh(history) != verdicts[STRICT]:
                    found.mismatch = found.mismatch or history
    return found


def _each_key(history: Transactions, model: str) -> bool:
    """Whether what was done with each key satisfies the model by itself."""
    for key in range(len(KEYS)):
        alone = [tuple(step for step in transaction if step.key == key) for transaction in history]
        if not holds(tuple(transaction for transaction in alone if transaction), model):
            return False
    return True


def histories(size: int, keys: int = len(KEYS)) -> Iterator[Transactions]:
    """All of so many operations in `MOST_TRANSACTIONS` at most."""
    for count in range(1, min(size, MOST_TRANSACTIONS) + 1):
        yield from _continued((), size, count, keys)


def _continued(done: Transactions, size: int, count: int, keys: int) -> Iterator[Transactions]:
    left = size - sum(map(len, done))
    if len(done) == count:
        if not left:
            yield done
        return
    most = left - (count - len(done) - 1)
    for length in range(1, most + 1) if len(done) < count - 1 else (left,):
        for transaction in _transactions(done, (), length, keys):
            yield from _continued((*done, transaction), size, count, keys)


def _transactions(done: Transactions, begun: Transaction, left: int, keys: int) -> Iterator[Transaction]:
    if not left:
        yield begun
        return
    before = [step for transaction in done for step in transaction] + [*begun]
    seen = 1 + max((step.key for step in before), default=-1)
    written = sum(step.write for step in before)
    for key in range(min(keys, seen + 1)):
        values = (0, *(step.value for step in before if step.write and step.key == key))
        steps = [Step(len(done), key, True, written + 1), *(Step(len(done), key, False, value) for value in values)]
        for step in steps:
            yield from _transactions(done, (*begun, step), left - 1, keys)


def holds(history: Transactions, model: str) -> bool:
    """Whether a history satisfies one of `TRANSACTIONAL`."""
    if model == SNAPSHOT:
        return snapshot_isolation(history)
    verdict = satisfies(operations(history), KEY_VALUE, LINEARIZABLE if model == STRICT else SEQUENTIAL)
    assert verdict is not None  # The steps suffice for a few transactions.
    return verdict


def operations(history: Transactions) -> list[Operation]:
    """As `coterie.check` takes it: each transaction an operation of a process of its own, one after the other."""
    return [_operation(transaction, place) for place, transaction in enumerate(history)]


@cache
def _operation(transaction: Transaction, place: int) -> Operation:
    parts = tuple(
        ("w" if step.write else "r", KEYS[step.key], str(step.value) if step.value else None) for step in transaction
    )
    return Operation(process=f"T{place + 1}", f="txn", argument=parts, result=parts, start=2 * place, end=2 * place + 1)


def snapshot_isolation(history: Transactions) -> bool:
    """Whether each transaction has a beginning and a later commit such that it reads what was committed before its
    beginning (or what it wrote itself), and writes no key that another wrote between the two."""
    count = len(history)
    events = [(number, commits) for number in range(count) for commits in (False, True)]
    return any(
        _isolated(history, order)
        for order in permutations(events)
        if all(order.index((number, False)) < order.index((number, True)) for number in range(count))
    )


def _isolated(history: Transactions, order: Sequence[tuple[int, bool]]) -> bool:
    committed: dict[int, int] = {}
    last_commit: dict[int, int] = {}
    """When each key was last written."""
    begun: dict[int, int] = {}
    for moment, (number, commits) in enumerate(order):
        if not commits:
            begun[number] = moment
            if not _reads(history[number], committed):
                return False
            continue
        for step in history[number]:
            if step.write:
                if last_commit.get(step.key, -1) > begun[number]:
                    return False
                committed[step.key] = step.value
        last_commit.update({step.key: moment for step in history[number] if step.write})
    return True


def _reads(transaction: Transaction, snapshot: dict[int, int]) -> bool:
    own = dict(snapshot)
    for step in transaction:
        if step.write:
            own[step.key] = step.value
        elif own.get(step.key, 0) != step.value:
            return False
    return True


def _fresh(history: Transactions) -> bool:
    """Whether single operations, one after the other in real time, each find what was written last: linearizability."""
    return _reads(tuple(step for transaction in history for step in transaction), {})


def told(history: Transactions) -> str:
    """For people: a line a transaction, one after the other in time."""
    lines, indent = [], 0
    for number, transaction in enumerate(history, 1):
        words = "  ".join(
            f"write({KEYS[s.key]}, {s.value})" if s.write else f"read({KEYS[s.key]}): {s.value or 'nothing'}"
            for s in transaction
        )
        lines.append(f"T{number}  {' ' * indent}{words}")
        indent += len(words) + 2
    return "\n".join(lines)
