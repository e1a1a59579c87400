"""What watchers are told: each way to break the law is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.sim.api.applied_history import Applied

from coterie.etcd.conversion import key_value
from coterie.etcd.wire import kv as wire
from coterie.machine.kv import protocol as kv
from coterie.sim.api.model import Change
from coterie.sim.api.watches import NO_DELETIONS, NO_PUTS, Watched
from coterie.sim.verdict import Violation


def applied() -> Applied:
    """Revisions 2 and 3 put e1, 4 puts e2 and e3 at once, 5 deletes e1, 6 puts f."""
    made = Applied()
    made.put(b"e1", b"a")
    made.put(b"e1", b"b")
    made.run(kv.Txn((), (kv.Put(b"e2", b"c"), kv.Put(b"e3", b"d"))))
    made.run(kv.DeleteRange(b"e1"))
    made.put(b"f", b"e")
    return made


def event(change: Change, *, previous: bool = False) -> wire.Event:
    before = key_value(change.before) if previous and change.before is not None else None
    kind = wire.Event.PUT if change.put else wire.Event.DELETE
    return wire.Event(type=kind, kv=key_value(change.item), prev_kv=before)


def events(made: Applied, first: int, last: int) -> list[wire.Event]:
    return [event(change) for change in made.model.changes(b"e", b"f", first, last)]


def watch(made: Applied, position: int = 2) -> Watched:
    begun = Watched(made.model, b"e", b"f")
    begun.position = position
    begun.created(made.model.revision)
    return begun


def test_who_is_told_everything_in_whole_revisions_is_told_right() -> None:
    made = applied()
    told = watch(made)
    told.told(events(made, 2, 2))
    told.told(events(made, 3, 4))
    told.told(events(made, 5, 5))
    told.bookmarked(6)
    assert told.behind == []
    assert told.told_events == 5


def test_who_names_no_start_begins_after_the_revision_that_its_creation_names() -> None:
    made = applied()
    told = Watched(made.model, b"e", b"f")
    told.created(4)
    told.told(events(made, 5, 5))


def test_filters_leave_out_what_they_name_and_no_more() -> None:
    made = applied()
    puts, deletions = (
        Watched(made.model, b"e", b"f", filters=[NO_DELETIONS]),
        Watched(made.model, b"e", b"f", filters=[NO_PUTS]),
    )
    puts.position = deletions.position = 2
    puts.told(events(made, 2, 4))
    deletions.told(events(made, 5, 5))
    assert puts.behind == deletions.behind == []


def test_previous_items_are_those_of_the_revision_before_and_may_be_compacted() -> None:
    made = applied()
    told = Watched(made.model, b"e1", b"", previous=True)
    told.position = 2
    changes = made.model.changes(b"e1", b"", 2, 5)
    told.told([event(change, previous=True) for change in changes[:2]])
    made.run(kv.Compact(6))
    told.told([event(changes[2])])


def test_a_compaction_cancels_who_needs_what_is_gone_and_it_goes_on_from_there() -> None:
    made = applied()
    told = watch(made)
    made.run(kv.Compact(4))
    told.compacted(4)
    told.told(events(made, 4, 5))


def a_gap(made: Applied) -> None:
    watch(made).told(events(made, 3, 3))


def a_repetition(made: Applied) -> None:
    told = watch(made)
    told.told(events(made, 2, 3))
    told.told(events(made, 3, 4))


def the_past_again(made: Applied) -> None:
    watch(made, 5).told(events(made, 3, 3))


def the_wrong_order(made: Applied) -> None:
    watch(made).told(list(reversed(events(made, 2, 3))))


def half_a_revision(made: Applied) -> None:
    watch(made, 4).told(events(made, 4, 4)[:1])


def what_is_not_committed(made: Applied) -> None:
    item = kv.Item(b"e1", b"z", 7, 7, 1)
    watch(made, 6).told([event(Change(item, None))])


def a_key_that_is_not_watched(made: Applied) -> None:
    watch(made, 6).told([event(change) for change in made.model.changes(b"f", b"", 6, 6)])


def a_wrong_version(made: Applied) -> None:
    told = events(made, 2, 3)
    told[1].kv.version = 1
    watch(made).told(told)


def a_wrong_creation(made: Applied) -> None:
    told = events(made, 2, 3)
    told[1].kv.create_revision = 3
    watch(made).told(told)


def a_missing_previous_item(made: Applied) -> None:
    told = Watched(made.model, b"e1", b"", previous=True)
    told.position = 3
    told.told([event(change) for change in made.model.changes(b"e1", b"", 3, 3)])


def a_previous_item_that_nobody_asked_for(made: Applied) -> None:
    told = [event(change, previous=True) for change in made.model.changes(b"e", b"f", 3, 3)]
    watch(made, 3).told(told)


def a_cancellation_for_a_compaction_that_was_not(made: Applied) -> None:
    watch(made).compacted(4)


def a_cancellation_though_nothing_is_missing(made: Applied) -> None:
    made.run(kv.Compact(4))
    watch(made, 4).compacted(4)


CRIMES = (
    a_gap,
    a_repetition,
    the_past_again,
    the_wrong_order,
    half_a_revision,
    what_is_not_committed,
    a_key_that_is_not_watched,
    a_wrong_version,
    a_wrong_creation,
    a_missing_previous_item,
    a_previous_item_that_nobody_asked_for,
    a_cancellation_for_a_compaction_that_was_not,
    a_cancellation_though_nothing_is_missing,
)


@pytest.mark.parametrize("crime", CRIMES, ids=lambda crime: crime.__name__)
def test_watch_complete_names(crime: Callable[[Applied], None]) -> None:
    with pytest.raises(Violation, match=r"^\[watch-complete\]"):
        crime(applied())


def test_watch_bookmark_names_a_promise_that_hides_what_was_not_told() -> None:
    with pytest.raises(Violation, match=r"^\[watch-bookmark\]"):
        watch(applied()).bookmarked(3)


def test_watch_bookmark_names_a_promise_of_what_is_not_committed() -> None:
    with pytest.raises(Violation, match=r"^\[watch-bookmark\]"):
        watch(applied()).bookmarked(7)
