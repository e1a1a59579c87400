"""What callers of the API are told of keys, leases and locks: each law speaks up when it is broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.sim.api.applied_history import Applied

from coterie.machine.kv import protocol as kv
from coterie.sim.api.answers import check_deletion, check_previous, check_range, check_refused_range
from coterie.sim.api.holders import FENCED, LOCK
from coterie.sim.api.leases import LeaseLaws
from coterie.sim.api.model import SECOND, Ended, Leased
from coterie.sim.verdict import Violation

# -- keys --------------------------------------------------------------------------------------------


def written() -> Applied:
    """e1 is `a`, then `b`; e2 is `c`, and is deleted; revision 5."""
    made = Applied()
    for key, value in ((b"e1", b"a"), (b"e1", b"b"), (b"e2", b"c")):
        made.put(key, value)
    made.run(kv.DeleteRange(b"e2"))
    return made


EVERYTHING = kv.Range(b"e", b"f")


def test_true_answers_about_keys_break_no_law() -> None:
    made = written()
    judge, past, now = made.judge, made.model.range(b"e", b"f", 4), made.model.range(b"e", b"f")
    check_range(judge, EVERYTHING, 5, 5, now, 1, False)
    check_range(judge, kv.Range(b"e", b"f", 4), 5, 5, past, 2, False)
    check_range(judge, kv.Range(b"e", b"f", 4, 1), 0, 5, past[:1], 2, True)
    check_refused_range(judge, kv.Range(b"e", b"f", 9), 5, "mvcc: required revision is a future revision")
    check_previous(judge, b"e1", 3, made.model.item(b"e1", 2))
    check_deletion(judge, kv.DeleteRange(b"e2", want_previous=True), 4, 5, 1, past[1:])
    check_deletion(judge, kv.DeleteRange(b"e7"), 5, 5, 0, ())


def an_item_that_is_gone(made: Applied) -> None:
    check_range(made.judge, EVERYTHING, 0, 5, made.model.range(b"e", b"f", 4), 2, False)


def a_wrong_count(made: Applied) -> None:
    check_range(made.judge, EVERYTHING, 0, 5, made.model.range(b"e", b"f"), 2, False)


def a_revision_that_is_not_there(made: Applied) -> None:
    check_range(made.judge, EVERYTHING, 0, 6, made.model.range(b"e", b"f"), 1, False)


def an_old_read(made: Applied) -> None:
    check_range(made.judge, EVERYTHING, 5, 4, made.model.range(b"e", b"f", 4), 2, False)


def a_future_that_was_acknowledged(made: Applied) -> None:
    check_refused_range(made.judge, kv.Range(b"e", b"f", 5), 5, "mvcc: required revision is a future revision")


def a_compaction_that_was_not(made: Applied) -> None:
    check_refused_range(made.judge, kv.Range(b"e", b"f", 3), 5, "mvcc: required revision has been compacted")


def a_wrong_previous_item(made: Applied) -> None:
    check_previous(made.judge, b"e1", 3, None)


def a_deletion_of_nothing(made: Applied) -> None:
    check_deletion(made.judge, kv.DeleteRange(b"e2"), 4, 5, 2, ())


def an_old_deletion(made: Applied) -> None:
    check_deletion(made.judge, kv.DeleteRange(b"e2"), 5, 5, 1, ())


@pytest.mark.parametrize(
    ("crime", "law"),
    [
        (an_item_that_is_gone, "read-true"),
        (a_wrong_count, "read-true"),
        (a_revision_that_is_not_there, "read-true"),
        (an_old_read, "read-fresh"),
        (a_future_that_was_acknowledged, "read-fresh"),
        (a_compaction_that_was_not, "read-true"),
        (a_wrong_previous_item, "write-true"),
        (a_deletion_of_nothing, "write-true"),
        (an_old_deletion, "read-fresh"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_false_answer_about_keys_is_named(crime: Callable[[Applied], None], law: str) -> None:
    with pytest.raises(Violation, match=rf"^\[{law}\]"):
        crime(written())


# -- leases ------------------------------------------------------------------------------------------


def leases() -> LeaseLaws:
    """Lease 7 began at second 1."""
    made = LeaseLaws(fast_ppm=100_000)
    made.granted(7, SECOND)
    return made


def ended(*, expired: bool = True) -> Ended:
    return Ended(Leased(7, 2, 0), (), expired)


def test_lease_not_early_a_lease_lives_as_long_as_was_said_by_the_fastest_clock() -> None:
    made = leases()
    made.promised(7, 11, 2 * SECOND, 3 * SECOND)
    made.ended(ended(), 12 * SECOND)
    early = leases()
    early.promised(7, 11, 2 * SECOND, 3 * SECOND)
    with pytest.raises(Violation, match=r"^\[lease-not-early\]"):
        early.ended(ended(), 11 * SECOND)


def test_lease_not_early_the_promise_may_arrive_after_the_end() -> None:
    made = leases()
    made.ended(ended(), 4 * SECOND)
    with pytest.raises(Violation, match=r"^\[lease-not-early\]"):
        made.promised(7, 11, 2 * SECOND, 5 * SECOND)


def test_lease_not_early_a_clock_that_stood_still_and_caught_up_excuses_as_much() -> None:
    made = leases()
    made.promised(7, 11, 2 * SECOND, 3 * SECOND)
    made.clock_stopped(SECOND)
    made.ended(ended(), 11 * SECOND)


def test_lease_not_early_nobody_but_clients_revokes() -> None:
    made = leases()
    made.revoking(7)
    made.ended(ended(expired=False), 2 * SECOND)
    with pytest.raises(Violation, match=r"^\[lease-not-early\]"):
        leases().ended(ended(expired=False), 2 * SECOND)


def test_lease_told_a_lease_that_lives_is_not_denied() -> None:
    made = leases()
    made.denied(7, 0, 2 * SECOND)
    made.denied(8, 2 * SECOND, 3 * SECOND)
    with pytest.raises(Violation, match=r"^\[lease-told\]"):
        made.denied(7, 2 * SECOND, 3 * SECOND)


def test_lease_told_a_lease_that_has_ended_is_not_said_to_live() -> None:
    made = leases()
    made.ended(ended(), 4 * SECOND)
    with pytest.raises(Violation, match=r"^\[lease-told\]"):
        made.promised(7, 2, 5 * SECOND, 6 * SECOND)


def test_lease_told_an_id_may_be_granted_again() -> None:
    made = leases()
    made.ended(ended(), 4 * SECOND)
    made.granted(7, 6 * SECOND)
    made.promised(7, 2, 6 * SECOND, 7 * SECOND)
    made.denied(7, 3 * SECOND, 7 * SECOND)


# -- locks and elections -----------------------------------------------------------------------------


def queue() -> Applied:
    """lock/a has the turn from second 1 on, lock/b from second 2 on."""
    made = Applied()
    made.now = SECOND
    made.put(LOCK + b"/a", b"")
    made.put(LOCK + b"/b", b"")
    made.now = 2 * SECOND
    made.run(kv.DeleteRange(LOCK + b"/a"))
    return made


def fenced(place: bytes, value: bytes) -> kv.Txn:
    compare = kv.Compare(place, kv.Target.CREATE, kv.Relation.GREATER, 0)
    return kv.Txn((compare,), (kv.Put(FENCED + LOCK, value),))


def test_one_holder_who_has_the_turn_during_the_call_may_be_told_so() -> None:
    made = queue()
    made.judge.holders.told(LOCK, LOCK + b"/b", 3, 0, 3 * SECOND)
    made.judge.holders.told(LOCK, LOCK + b"/a", 0, 0, 3 * SECOND)
    made.run(fenced(LOCK + b"/b", b"x"))


def test_one_holder_who_never_had_the_turn_is_not_told_so() -> None:
    with pytest.raises(Violation, match=r"^\[one-holder\]"):
        queue().judge.holders.told(LOCK, LOCK + b"/c", 0, 0, 3 * SECOND)


def test_one_holder_whose_turn_was_over_before_the_call_is_not_told_so() -> None:
    with pytest.raises(Violation, match=r"^\[one-holder\]"):
        queue().judge.holders.told(LOCK, LOCK + b"/a", 0, 2 * SECOND + 1, 3 * SECOND)


def test_one_holder_who_is_told_another_fencing_token_is_not_the_holder() -> None:
    with pytest.raises(Violation, match=r"^\[one-holder\]"):
        queue().judge.holders.told(LOCK, LOCK + b"/b", 2, 0, 3 * SECOND)


def test_one_holder_an_observer_is_told_of_turns_in_their_order() -> None:
    holders = queue().judge.holders
    first = holders.observed(LOCK, LOCK + b"/a", 2, 0)
    second = holders.observed(LOCK, LOCK + b"/b", 3, first)
    with pytest.raises(Violation, match=r"^\[one-holder\]"):
        holders.observed(LOCK, LOCK + b"/a", 2, second)


def test_one_holder_who_waits_does_not_write_what_is_fenced() -> None:
    made = queue()
    made.put(LOCK + b"/c", b"")
    with pytest.raises(Violation, match=r"^\[one-holder\]"):
        made.run(fenced(LOCK + b"/c", b"y"))
