"""Runs of epochs against a list with one epoch for each entry."""

from __future__ import annotations

from itertools import groupby

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coterie.core.epochs import EpochRuns
from coterie.core.types import Entry, EntryKind, Epoch, Index

epochs = st.integers(1, 3).map(lambda round_: Epoch(round_, 0))
"""Few of them, so that neighbours are often of one epoch, and runs join."""


def entry(index: Index, epoch: Epoch) -> Entry:
    return Entry(index, epoch, EntryKind.COMMANDS, 0, b"")


def runs_of(base: Index, model: list[Epoch]) -> tuple[tuple[Index, Epoch], ...]:
    """The list as the fewest runs that say the same."""
    found = []
    for epoch, slots in groupby(enumerate(model, base + 1), key=lambda slot: slot[1]):
        found.append((next(slots)[0], epoch))
    return tuple(found)


class EpochsMachine(RuleBasedStateMachine):
    """Every way in which the epochs of a log change, at random."""

    def __init__(self) -> None:
        super().__init__()
        self.base = 2
        self.model: list[Epoch] = []
        self.runs = EpochRuns(self.base)

    def index(self, data: st.DataObject) -> Index:
        return data.draw(st.integers(self.base + 1, self.base + len(self.model)))

    @rule(epoch=epochs)
    def append(self, epoch: Epoch) -> None:
        self.runs.append(self.base + len(self.model) + 1, epoch)
        self.model.append(epoch)

    @rule(new=st.lists(epochs, min_size=1, max_size=6))
    def extend(self, new: list[Epoch]) -> None:
        first = self.base + len(self.model) + 1
        self.runs.extend([entry(index, epoch) for index, epoch in enumerate(new, first)])
        self.model.extend(new)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), epoch=epochs)
    def overwrite(self, data: st.DataObject, epoch: Epoch) -> None:
        index = self.index(data)
        self.runs.overwrite(index, epoch)
        self.model[index - self.base - 1] = epoch

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        first = self.index(data) + 1
        self.runs.truncate(first)
        del self.model[first - self.base - 1 :]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        index = self.index(data)
        self.runs.compact(index)
        del self.model[: index - self.base]
        self.base = index

    @rule(further=st.integers(0, 5))
    def reset(self, further: int) -> None:
        self.base += len(self.model) + further
        self.runs.reset(self.base)
        self.model = []

    @rule()
    def an_independent_copy_and_one_that_was_read_back_say_the_same(self) -> None:
        old, self.runs = self.runs, self.runs.copy()
        old.append(old.last + 1, Epoch(99, 0))
        assert EpochRuns(self.runs.last, self.runs.since(self.base + 1)).since(self.base + 1) == self.runs.since(
            self.base + 1
        )

    @invariant()
    def they_are_the_list_in_as_few_runs_as_can_be(self) -> None:
        runs, model, base = self.runs, self.model, self.base
        assert runs.last == base + len(model)
        assert runs.newest == (model[-1] if model else None)
        expected = runs_of(base, model)
        assert len(runs) == len(expected)
        for index, epoch in enumerate(model, base + 1):
            assert runs.epoch_at(index) == epoch
            assert runs.run_at(index) == max(run for run in expected if run[0] <= index)
            assert runs.since(index) == runs_of(index - 1, model[index - base - 1 :])
        assert runs.since(runs.last + 1) == ()


EpochsMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestEpochs = EpochsMachine.TestCase
