"""The search tells models apart, and notices when a model is not what it is said to be."""

import pytest

from coterie.check import REGISTER, judge
from coterie.check.lattice import STRONGEST_FIRST
from coterie.lab.errors import LabError
from coterie.lab.models import availability, forever, transactions
from coterie.lab.models.small import Small, Step, histories, operations, told
from coterie.lab.models.witnesses import Judge, search, timeless


def test_a_history_of_each_size_comes_once_whatever_its_names() -> None:
    for size, count in ((1, 2), (2, 18), (3, 225)):
        found = [*histories(size)]
        assert len(found) == len(set(found)) == count


def test_every_model_decided_by_itself_is_what_the_lattice_says() -> None:
    holds = Judge()
    for small in histories(3):
        together = judge(operations(small), REGISTER)
        assert together.holds == tuple(model for model in STRONGEST_FIRST if holds(small, model)), told(small)


def test_the_smallest_history_that_is_sequential_and_not_linearizable_misses_a_write_of_another() -> None:
    found = search(Judge(), models=("linearizable", "sequential"), exhaustive=2, most=2)
    assert not found.breaches
    assert told(found.witnesses["sequential", "linearizable"]) == ("A  write(x, 1)\nB               read(x): nothing")


def test_a_causal_model_that_forgets_own_writes_is_seen_to_break_the_lattice() -> None:
    right = Judge()

    def wrong(small: Small, model: str) -> bool:
        return right(small, "monotonic-reads" if model == "causal" else model)

    found = search(wrong, models=("causal", "read-your-writes"), exhaustive=2, most=2)
    assert told(found.breaches["causal", "read-your-writes"]) == "A  write(x, 1)  read(x): nothing"


def test_sequential_keys_do_not_make_a_sequential_store_and_linearizable_ones_do() -> None:
    found = search(Judge(), models=("linearizable", "sequential"), exhaustive=4, most=4)
    assert set(found.not_composable) == {"sequential"}


def test_histories_of_the_same_processes_stand_for_each_other() -> None:
    sequences = [small for small in histories(3) if len({step.process for step in small}) == 2]
    assert len({timeless(small) for small in sequences}) < len(sequences)
    assert all(timeless(timeless(small)) == timeless(small) for small in sequences)


def test_what_goes_on_for_ever_must_agree_to_be_eventual() -> None:
    found = forever.search(Judge(), {}, most=4)
    assert found.breach is None
    assert found.apart is not None
    assert forever.causal(*found.apart)
    assert not forever.eventual(*found.apart)
    assert not forever.sequential(*found.apart)


def test_transactions_are_told_apart_by_real_time_and_by_write_skew() -> None:
    found = transactions.search()
    assert (found.breaches, found.mismatch) == ({}, None)
    skew = found.witnesses[transactions.SNAPSHOT, transactions.SERIALIZABLE]
    assert all({step.write for step in transaction} == {True, False} for transaction in skew)
    assert len(found.witnesses[transactions.SERIALIZABLE, transactions.STRICT]) == 2


def test_snapshot_isolation_loses_no_update_and_shows_no_half_of_a_transaction() -> None:
    step = Step
    lost = ((step(0, 0, False, 0), step(0, 0, True, 1)), (step(1, 0, False, 0), step(1, 0, True, 2)))
    half = ((step(0, 0, True, 1), step(0, 1, True, 2)), (step(1, 0, False, 1), step(1, 1, False, 0)))
    assert not transactions.snapshot_isolation(lost)
    assert not transactions.snapshot_isolation(half)
    assert transactions.snapshot_isolation(half[:1])


@pytest.mark.parametrize(
    ("model", "kind"),
    [("linearizable", "none"), ("sequential", "none"), ("read-your-writes", "sticky"), ("monotonic-reads", "total")],
)
def test_what_two_sides_that_do_not_hear_each_other_can_answer(model: str, kind: str) -> None:
    assert availability.available(model, Judge(), most=4).kind == kind


def test_a_model_that_no_rule_gives_and_nothing_refutes_is_not_called_available() -> None:
    def undecided(small: Small, model: str) -> bool:
        """Whoever wrote, and then reads twice, must not read the same twice: neither rule answers so."""
        first, *rest = small
        alone = first.write and len(rest) == 2 and {(s.process, s.key, s.write) for s in rest} == {(0, 0, False)}
        return not alone or rest[0].value != rest[1].value

    with pytest.raises(LabError, match="no rule"):
        availability.available("undecided", undecided, most=3)
