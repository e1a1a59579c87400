"""Ranges that are sorted, or filtered by revision.

The rules are etcd's (server/etcdserver/apply.go, `applierV3backend.Range`), odd ones included: with an order or a
bound the whole range is looked at, and the limit cuts what is left, sorted. With a target alone the limit comes first:
what is sorted then are the first keys of the range, one more than the limit.

Memory is bounded, whatever the range holds: no answer has more than `MAX_ITEMS` items, so no more are kept, and values
are read of those alone that are in the answer, except to sort by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any

from coterie.machine.interface import Rejected
from coterie.machine.kv.data import Data
from coterie.machine.kv.protocol import Item, Order, Range, RangeReply, Selection, SortTarget
from coterie.machine.kv.sizes import ITEM_BYTES, MAX_ANSWER_BYTES, TOO_LARGE, item_size

MAX_ITEMS = MAX_ANSWER_BYTES // ITEM_BYTES
"""An answer of more is too large, whatever is in it."""
MAX_HELD_BYTES = 16 * MAX_ANSWER_BYTES
"""Keys and values that a sort holds at once."""
_SLACK_ITEMS = 1024

_ATTRIBUTES = {
    SortTarget.KEY: attrgetter("key"),
    SortTarget.VERSION: attrgetter("version"),
    SortTarget.CREATE: attrgetter("create"),
    SortTarget.MOD: attrgetter("mod"),
    SortTarget.VALUE: attrgetter("value"),
}


def select(store: Data, question: Range, selection: Selection, revision: int) -> RangeReply | Rejected:
    """As `read_range`, of a question that has a selection and asks for more than a count."""
    at, limit = max(question.revision, 0), max(question.limit, 0)
    by_value = selection.target is SortTarget.VALUE
    scan = _Scan(store.range(question.key, question.end, at, values=by_value), selection)
    found: Iterable[Item] = scan
    if limit and not scan.whole:
        found = _first(scan, limit + 1)
    kept = _sorted(found, selection, min(limit, MAX_ITEMS) or MAX_ITEMS)
    if kept is None:
        return TOO_LARGE
    for _ in scan.rest():  # for the count
        pass
    more = bool(limit) and len(kept) > limit
    items: list[Item] = []
    size = 0
    for item in kept[:limit] if more else kept:
        if question.keys_only and not store.leased:
            item = item.without_value()
        elif not by_value:
            read = store.get(item.key, at)
            assert read is not None, "it was in the range"
            item = read
        if question.keys_only:
            item = item.without_value()
        size += item_size(item)
        if size > MAX_ANSWER_BYTES:
            return TOO_LARGE
        items.append(item)
    return RangeReply(revision, tuple(items), more, scan.count)


class _Scan:
    """The items of a range that are within a selection's bounds, and how many there are in all."""

    def __init__(self, items: Iterator[Item], selection: Selection) -> None:
        self._items = items
        self._selection = selection
        self._bounded = any((selection.min_mod, selection.max_mod, selection.min_create, selection.max_create))
        self.whole = self._bounded or selection.order is not Order.NONE
        """Whether all of the range is to be looked at."""
        self.count = 0

    def __iter__(self) -> Iterator[Item]:
        for item in self.rest():
            if not self._bounded or self._within(item):
                yield item

    def rest(self) -> Iterator[Item]:
        """What has not been looked at."""
        for item in self._items:
            self.count += 1
            yield item

    def _within(self, item: Item) -> bool:
        wanted = self._selection
        return (
            (not wanted.max_mod or item.mod <= wanted.max_mod)
            and (not wanted.min_mod or item.mod >= wanted.min_mod)
            and (not wanted.max_create or item.create <= wanted.max_create)
            and (not wanted.min_create or item.create >= wanted.min_create)
        )


def _first(items: Iterable[Item], number: int) -> Iterator[Item]:
    for item in items:
        yield item
        number -= 1
        if not number:
            return


def _sorted(items: Iterable[Item], selection: Selection, limit: int) -> list[Item] | None:
    """The first `limit` + 1 in the order that is asked for; equal ones by key. None: to tell would take too much
    memory."""
    attribute: Callable[[Item], Any] | None = _ATTRIBUTES[selection.target]
    if selection.order is Order.NONE and selection.target is SortTarget.KEY:
        attribute = None
    backwards = selection.order is Order.DESCEND
    weigh = selection.target is SortTarget.VALUE  # else a value is there or not, as it comes
    kept: list[Item] = []
    held = 0
    for item in items:
        kept.append(item)
        if weigh:
            held += item_size(item)
        if len(kept) > 2 * limit + _SLACK_ITEMS or held > MAX_HELD_BYTES:
            if attribute is not None:
                kept.sort(key=attribute, reverse=backwards)
            del kept[limit + 1 :]
            held = sum(map(item_size, kept)) if weigh else 0
            if held > MAX_HELD_BYTES // 2:
                return None
    if attribute is not None:
        kept.sort(key=attribute, reverse=backwards)
    return kept[: limit + 1]
