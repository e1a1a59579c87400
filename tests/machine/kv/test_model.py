"""The key-value machine does what a naive model of every revision does, whatever is asked of it."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.machine.kv.model import Model

from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv import KeyValue, store
from coterie.machine.kv.protocol import (
    Command,
    Compact,
    CompactReply,
    Compare,
    DeleteRange,
    Put,
    Range,
    Relation,
    Reply,
    Target,
    Txn,
    encoder,
    reply_decoder,
)

KEYS = st.sampled_from([b"a", b"b", b"c", b"a\0"] * 6 + [b"\0", b"ab", b"\xff", b"\xff\xff", b""])
ENDS = st.sampled_from([b"", b"", b"\0", b"a", b"b", b"b\0", b"c", b"\xff"])
VALUES = st.sampled_from([b"", b"1", b"2", b"22"])
NUMBERS = st.integers(-1, 12)
PUTS = st.builds(Put, KEYS, VALUES, st.booleans())
DELETIONS = st.builds(DeleteRange, KEYS, ENDS, st.booleans())
RANGES = st.builds(Range, KEYS, ENDS, st.one_of(st.just(0), NUMBERS), st.integers(-1, 4), st.booleans(), st.booleans())
COMPARES = st.builds(Compare, KEYS, st.sampled_from(Target), st.sampled_from(Relation), NUMBERS, VALUES)
BRANCHES = st.lists(st.one_of(PUTS, DELETIONS, RANGES), max_size=4).map(tuple)
TXNS = st.builds(Txn, st.lists(COMPARES, max_size=2).map(tuple), BRANCHES, BRANCHES)


class Comparison(RuleBasedStateMachine):
    """Each step goes to the machine and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = KeyValue()
        self.model = Model()
        self.index = 0
        self.log: list[list[bytes]] = []

    def run(self, *commands: Command) -> list[Reply | str]:
        """The commands as one batch; replies decoded, refusals as their reason."""
        self.index += 1
        bodies = [encoder.encode(command) for command in commands]
        self.log.append(bodies)
        replies = self.machine.apply(Batch(self.index, 0, range(len(bodies)), bodies))
        return [r.reason if isinstance(r, Rejected) else reply_decoder.decode(r) for r in replies]

    @rule(commands=st.lists(st.one_of(PUTS, DELETIONS, TXNS), min_size=1, max_size=5))
    def commands(self, commands: list[Put | DeleteRange | Txn]) -> None:
        assert self.run(*commands) == [self.model.run(command) for command in commands]

    @initialize(commands=st.lists(st.one_of(PUTS, DELETIONS), min_size=8, max_size=8))
    def begin(self, commands: list[Put | DeleteRange | Txn]) -> None:
        """Some history to work on."""
        self.commands(commands)

    @rule(back=st.integers(-1, 12))
    def compact(self, back: int) -> None:
        revision = self.model.revision - back
        expected = self.model.compact(revision) or CompactReply(self.model.revision)
        assert self.run(Compact(revision)) == [expected]

    @rule(question=RANGES)
    def ask(self, question: Range) -> None:
        answer = self.machine.query(encoder.encode(question))
        got = answer.reason if isinstance(answer, Rejected) else reply_decoder.decode(answer)
        assert got == self.model.ask(question)

    @rule()
    def restore(self) -> None:
        """A machine made of the snapshot takes over: equal, and the same from then on."""
        twin = KeyValue()
        twin.restore(self.machine.snapshot())
        assert twin.digest() == self.machine.digest()
        assert list(twin.snapshot()) == list(self.machine.snapshot())
        assert twin.store.histories == self.machine.store.histories
        self.machine = twin

    @rule()
    def replay(self) -> None:
        """The same commands, otherwise batched, give the same state."""
        twin = KeyValue()
        for number, body in enumerate((body for batch in self.log for body in batch), start=1):
            twin.apply(Batch(number, 0, [0], [body]))
        assert twin.digest() == self.machine.digest()

    @invariant()
    def every_revision_reads_as_it_was(self) -> None:
        first = max(self.model.compacted, 1)
        for revision in range(first, self.model.revision + 1):
            items = self.machine.store.range(b"\0", b"\0", revision)
            assert {item.key: item for item in items} == self.model.states[revision]
            assert list(self.machine.events(revision)) == self.model.events[revision]
        assert self.machine.revision() == self.model.revision

    def teardown(self) -> None:
        """What compaction left is freed in the end: one item for each living key is all."""
        self.run(Compact(self.model.revision))
        self.machine.store.sweep(self.model.revision)
        assert self.machine.store.histories == 0


class LazyStore(store.Store):
    """Frees what one revision left, then waits for the next batch."""

    def sweep(self, revisions: int = 1) -> None:
        super().sweep(revisions)


class SlowSweep(Comparison):
    """The same in the midst of freeing what compaction left."""

    def __init__(self) -> None:
        super().__init__()
        self.machine.store = LazyStore()


TestComparison = Comparison.TestCase
TestComparison.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestSlowSweep = SlowSweep.TestCase
TestSlowSweep.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
