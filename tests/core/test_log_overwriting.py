"""The log of a protocol that overwrites slots: a higher epoch, and nothing beyond it is given up."""

from __future__ import annotations

import pytest
from tests.core.logs import BASE, BASE_EPOCH, Disk, empty_log, entry, meta

from coterie.core.errors import SafetyViolation
from coterie.core.outbox import Outbox
from coterie.core.records import Compact, Put
from coterie.core.types import Epoch, Index


def test_a_slot_is_overwritten_only_by_a_higher_epoch_and_all_beyond_it_stays() -> None:
    """Otherwise an acceptor would go back to a value that a later ballot may have replaced."""
    outbox = Outbox()
    log = empty_log(Disk(), outbox)
    log.put([entry(BASE + 1 + i, Epoch(round_, 0)) for i, round_ in enumerate((3, 5, 3, 3))])
    before = outbox.close_batch(0)
    for round_, first, count in ((3, 1, 1), (4, 1, 2), (2, 3, 9)):
        with pytest.raises(SafetyViolation, match=f"of epoch {round_} put in the place of entry"):
            log.put([entry(BASE + first + i, Epoch(round_, 0)) for i in range(count)])
    with pytest.raises(SafetyViolation, match=f"entry {BASE + 3} of epoch 9 put in the place of entry {BASE + 2}"):
        log.put([entry(BASE + 1, Epoch(9, 0)), entry(BASE + 3, Epoch(9, 0))])
    assert before is not None
    assert outbox.close_batch(0) is None, "what is refused changes nothing"
    assert log.epochs_since(BASE + 1) == tuple((BASE + 1 + i, Epoch(e, 0)) for i, e in enumerate((3, 5, 3)))
    log.put([entry(BASE + 2, Epoch(6, 0))])
    assert [log.epoch_at(BASE + 1 + i) for i in range(4)] == [Epoch(e, 0) for e in (3, 6, 3, 3)]
    assert log.last_epoch == Epoch(3, 0)


@pytest.mark.parametrize("first", [BASE - 1, BASE, BASE + 4])
def test_entries_are_put_neither_before_the_log_nor_beyond_a_gap(first: Index) -> None:
    log = empty_log(Disk(), Outbox())
    log.put([entry(BASE + 1, BASE_EPOCH), entry(BASE + 2, BASE_EPOCH)])
    log.put([])
    with pytest.raises(SafetyViolation, match=f"entry {first} put into a log of entries {BASE + 1} to {BASE + 2}"):
        log.put([entry(first, Epoch(9, 0))])


def test_an_overwritten_copy_counts_for_nothing_until_the_new_one_is_stored() -> None:
    """Counting it would let an acceptor answer for a value that it no longer has, or does not have yet."""
    outbox = Outbox()
    log = empty_log(Disk(), outbox)
    marks = []
    for first, count, round_ in ((1, 4, 3), (2, 1, 4), (1, 1, 4), (5, 1, 4)):
        log.put([entry(BASE + first + i, Epoch(round_, 0)) for i in range(count)])
        outbox.close_batch(0)
        log.batch_closed(outbox.last_mark)
        marks.append(outbox.last_mark)
    reached = []
    for mark in marks:
        log.stored(mark)
        reached.append(log.durable_index - BASE)
    assert reached == [0, 0, 4, 5]


def test_entries_put_in_between_are_one_record_in_the_order_in_which_they_came() -> None:
    outbox = Outbox()
    log = empty_log(Disk(), outbox)
    old, new = Epoch(3, 0), Epoch(4, 0)
    log.put([entry(BASE + 1, old), entry(BASE + 2, old)])
    log.put([entry(BASE + 3, old)])
    log.put([entry(BASE + 1, new)])
    log.put([entry(BASE + 2, new), entry(BASE + 3, new), entry(BASE + 4, new)])
    batch = outbox.close_batch(0)
    assert batch is not None
    assert batch.records == (
        Put(tuple(entry(BASE + i, old) for i in (1, 2, 3))),
        Put(tuple(entry(BASE + i, new) for i in (1, 2, 3, 4))),
    )


@pytest.mark.parametrize("index", [BASE, BASE + 3, BASE + 4])
def test_a_log_is_rebased_only_to_where_entries_stay(index: Index) -> None:
    log = empty_log(Disk(), Outbox())
    log.put([entry(BASE + 1 + i, BASE_EPOCH) for i in range(3)])
    with pytest.raises(SafetyViolation, match=f"to begin after entry {index}"):
        log.rebase(meta(index, Epoch(9, 0)))


def test_a_rebased_log_has_the_snapshots_epoch_at_its_base() -> None:
    outbox = Outbox()
    log = empty_log(Disk(), outbox)
    log.put([entry(BASE + 1 + i, BASE_EPOCH) for i in range(3)])
    outbox.close_batch(0)
    log.rebase(meta(BASE + 2, Epoch(9, 0)))
    batch = outbox.close_batch(0)
    assert batch is not None
    assert batch.records == (Compact(meta(BASE + 2, Epoch(9, 0))),)
    assert [log.epoch_at(BASE + i) for i in range(1, 5)] == [None, Epoch(9, 0), BASE_EPOCH, None]
    with pytest.raises(SafetyViolation, match=f"entry {BASE + 2} is asked for"):
        log.epochs_since(BASE + 2)
