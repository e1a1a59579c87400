"""Models weaker than sequential consistency: what each process saw, over who read from whom.

The vocabulary is that of Viotti and Vukolic, "Consistency in Non-Transactional Distributed Storage Systems" (ACM
Computing Surveys 49(1), 2016): an operation sees a set of writes (*visibility*), and writes have an order
(*arbitration*) of which it reads the last that it sees. As in Ahamad et al., "Causal Memory" (Distributed Computing 9,
1995), and Perrin, "Distributed Systems: Concurrency and Consistency" (2017), each process has an arbitration of its
own: convergence is not asked for. In every model it keeps the order in which each process wrote. docs/check.md has the
formulae.

Once it is fixed which write each read reads from, each model is decided in polynomial time: the least visibility
demands an order of writes, and the model holds exactly if that order has no cycle. For causal memory and PRAM this is
the saturation of Bouajjani, Enea, Guerraoui and Hamza, "On Verifying Causal Consistency" (POPL 2017), section 5.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from enum import Enum
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from coterie.check.history import Operation, by_process, describe
from coterie.check.models.cells import Access, Cell


class Guarantee(Enum):
    """What a process may rely on, by its usual name."""

    CAUSAL = "causal"
    PRAM = "pram"
    WRITES_FOLLOW_READS = "writes-follow-reads"
    MONOTONIC_READS = "monotonic-reads"
    MONOTONIC_WRITES = "monotonic-writes"
    READ_YOUR_WRITES = "read-your-writes"


class Read(NamedTuple):
    """A read of a cell by an operation, by its position."""

    reader: int
    cell: Cell


Sources = Mapping[Read, int | None]
"""Which operation each read reads from; None for the first value of the cell. Reads that are missing tell nothing."""


class Breach(NamedTuple):
    """Why a guarantee does not hold."""

    culprit: int
    reason: str


class Execution:
    """A history as reads and writes: what all guarantees look at."""

    def __init__(self, history: Sequence[Operation], accesses: Sequence[Access], blank: Hashable) -> None:
        self.history = history
        self.accesses = accesses
        self.blank = blank
        place = {id(operation): position for position, operation in enumerate(history)}
        self.processes = {
            process: [place[id(operation)] for operation in mine] for process, mine in by_process(history).items()
        }
        self.writers: dict[Cell, list[int]] = {}
        for position, access in enumerate(accesses):
            for cell, _ in access.writes:
                self.writers.setdefault(cell, []).append(position)
        self.before: list[tuple[int, ...]] = [()] * len(history)
        """What the same process had done before: known operations alone, for one of unknown outcome may come late."""
        for mine in self.processes.values():
            known: list[int] = []
            for position in mine:
                self.before[position] = tuple(known)
                if history[position].known:
                    known.append(position)

    def reads(self) -> Iterator[tuple[Read, Hashable]]:
        """Every read that was answered, and its value, in the order of starts."""
        for position, operation in enumerate(self.history):
            if operation.known:
                for cell, value in self.accesses[position].reads:
                    yield Read(position, cell), value

    def candidates(self, read: Read, value: Hashable) -> list[int | None]:
        """From where it may have been read: the likeliest first, which is the latest that began before it ended."""
        found: list[int | None] = [
            writer
            for writer in self.writers.get(read.cell, ())
            if writer != read.reader
            and (read.cell, value) in self.accesses[writer].writes
            and read.reader not in self.before[writer]
        ]
        end = self.history[read.reader].end
        found.sort(key=lambda w: (self.history[w].start > end, -self.history[w].start) if w is not None else (True, 0))
        return [*found, None] if value == self.blank else found

    def writes_cell(self, position: int, cell: Cell) -> bool:
        """Whether it writes there."""
        return any(written == cell for written, _ in self.accesses[position].writes)

    def is_write(self, position: int) -> bool:
        """Whether it writes anywhere."""
        return bool(self.accesses[position].writes)

    def tell(self, position: int | None) -> str:
        """An operation in words."""
        if position is None:
            return "the first value"
        return f"{describe(self.history[position])} of process {self.history[position].process}"


def breach(execution: Execution, guarantee: Guarantee, process: int | str, sources: Sources) -> Breach | None:
    """Why the guarantee does not hold for a process, if reads read from where `sources` says; None if it holds.

    What holds with some reads missing from `sources` may break with all, never the other way round.
    """
    if guarantee in (Guarantee.CAUSAL, Guarantee.PRAM):
        return _view_breach(execution, process, sources, causal=guarantee is Guarantee.CAUSAL)
    return _Session(execution, guarantee, process, sources).breach()


def needs_all(guarantee: Guarantee) -> bool:
    """Whether what other processes read matters to a process."""
    return guarantee in (Guarantee.CAUSAL, Guarantee.WRITES_FOLLOW_READS)


class _Session:
    """One process and one of the four session guarantees (Terry et al., "Session Guarantees for Weakly Consistent
    Replicated Data", PDIS 1994)."""

    def __init__(self, execution: Execution, guarantee: Guarantee, process: int | str, sources: Sources) -> None:
        self._execution = execution
        self._guarantee = guarantee
        self._mine = [place for place in execution.processes.get(process, ()) if execution.history[place].known]
        self._sources = sources
        self._kept: set[int] = set()
        """What must be visible from now on."""

    def breach(self) -> Breach | None:
        order = _Order(self._execution)
        execution = self._execution
        for reader in self._mine:
            own = [Read(reader, cell) for cell, _ in execution.accesses[reader].reads]
            read_from = {self._sources[read] for read in own if read in self._sources}
            visible = self._see({source for source in read_from if source is not None})
            if not self._keep_order(order, visible):
                return Breach(reader, f"the writes that {execution.tell(reader)} sees come each after the other")
            for read in own:
                if read in self._sources:
                    found = self._compare(order, read, visible)
                    if found is not None:
                        return found
            if self._guarantee is Guarantee.READ_YOUR_WRITES and execution.is_write(reader):
                self._kept.add(reader)
        return None

    def _compare(self, order: _Order, read: Read, visible: set[int]) -> Breach | None:
        """The read's source must be the last visible write of the cell."""
        source, execution = self._sources[read], self._execution
        for write in sorted(visible):
            if write == source or not execution.writes_cell(write, read.cell):
                continue
            if source is None or not order.add(write, source):
                return Breach(
                    read.reader,
                    f"{execution.tell(read.reader)} must see {execution.tell(write)}, which cannot be older than "
                    f"{execution.tell(source)}",
                )
        return None

    def _see(self, sources: set[int]) -> set[int]:
        """What an operation that reads from these sees, at least; remembers what the next must see, too."""
        if self._guarantee is Guarantee.READ_YOUR_WRITES:
            return self._kept | sources
        if self._guarantee is Guarantee.MONOTONIC_READS:
            self._kept |= sources
            return set(self._kept)
        open_writes = list(sources)
        seen: set[int] = set()
        while open_writes:
            write = open_writes.pop()
            if write in seen:
                continue
            seen.add(write)
            earlier = self._earlier(write)
            if earlier:
                self._kept |= earlier | {write}
                open_writes += earlier
        return self._kept | seen

    def _keep_order(self, order: _Order, visible: set[int]) -> bool:
        """Writes that follow reads come after what was read, in the arbitration, too."""
        if self._guarantee is not Guarantee.WRITES_FOLLOW_READS:
            return True
        return all(order.add(earlier, write) for write in sorted(visible) for earlier in sorted(self._earlier(write)))

    def _earlier(self, write: int) -> set[int]:
        """The writes that whoever sees this one must see."""
        before = self._execution.before[write]
        if self._guarantee is Guarantee.MONOTONIC_WRITES:
            return {position for position in before if self._execution.is_write(position)}
        known = (write,) if self._execution.history[write].known else ()
        reads = (Read(one, cell) for one in (*before, *known) for cell, _ in self._execution.accesses[one].reads)
        found = {self._sources.get(read) for read in reads}
        return {source for source in found if source is not None and source != write}


class _Order:
    """An order of writes that grows, and keeps the order in which each process wrote."""

    def __init__(self, execution: Execution) -> None:
        self._after: dict[int, set[int]] = {}
        for mine in execution.processes.values():
            latest: int | None = None
            for position in mine:
                if execution.is_write(position):
                    if latest is not None:
                        self._after.setdefault(latest, set()).add(position)
                    if execution.history[position].known:
                        latest = position

    def add(self, earlier: int, later: int) -> bool:
        """Put one before the other; False if it comes after."""
        if earlier == later or self._reaches(later, earlier):
            return False
        self._after.setdefault(earlier, set()).add(later)
        return True

    def _reaches(self, begin: int, end: int) -> bool:
        seen, open_writes = {begin}, [begin]
        while open_writes:
            for following in self._after.get(open_writes.pop(), ()):
                if following == end:
                    return True
                if following not in seen:
                    seen.add(following)
                    open_writes.append(following)
        return False


def _view_breach(execution: Execution, process: int | str, sources: Sources, *, causal: bool) -> Breach | None:
    """Is there one order of all writes and the process's own operations, legal for its reads, that keeps the order of
    every process (PRAM: Lipton and Sandberg 1988), or what happened before in the sense of Lamport (causal memory)?"""
    mine = [place for place in execution.processes.get(process, ()) if execution.history[place].known]
    past = base_order(execution, sources if causal else {read: s for read, s in sources.items() if read.reader in mine})
    if past is None:
        reader = next(iter(sources)).reader if sources else 0
        return Breach(reader, "what happened before what, by who read from whom, goes round in a circle")
    own = [read for read in sources if execution.history[read.reader].process == process]
    own.sort(key=lambda read: read.reader)
    writes = {read.cell: sum(1 << w for w in execution.writers.get(read.cell, ())) for read in own}
    changed = True
    while changed:
        changed = False
        for read in own:
            source = sources[read]
            others = past[read.reader] & writes[read.cell] & ~(1 << read.reader)
            if source is not None:
                others &= ~(1 << source)
            for write in _bits(others):
                if source is None or past[write] >> source & 1 or write == source:
                    return Breach(
                        read.reader,
                        f"{execution.tell(read.reader)} comes after {execution.tell(write)}, which cannot be older "
                        f"than {execution.tell(source)}",
                    )
                if not past[source] >> write & 1:
                    changed = True
                    _put_before(past, write, source)
    return None


def base_order(execution: Execution, sources: Sources) -> list[int] | None:
    """For each operation the set of those that happened before it, as bits: earlier ones of its process, and those
    that it, or one of them, read from. None if some happened before itself."""
    direct = [0] * len(execution.history)
    for position, before in enumerate(execution.before):
        if before:
            direct[position] |= 1 << before[-1]
    for read, source in sources.items():
        if source is not None:
            direct[read.reader] |= 1 << source
    past = [0] * len(direct)
    try:
        for position in TopologicalSorter({one: [*_bits(mask)] for one, mask in enumerate(direct)}).static_order():
            gathered = direct[position]
            for one in _bits(direct[position]):
                gathered |= past[one]
            past[position] = gathered
    except CycleError:
        return None
    return past


def _put_before(past: list[int], earlier: int, later: int) -> None:
    """Add one edge to a transitive order."""
    gained = past[earlier] | 1 << earlier
    for position, known in enumerate(past):
        if position == later or known >> later & 1:
            past[position] = known | gained


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
