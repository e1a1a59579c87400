"""The epochs of a log's entries, kept as runs: a log of millions of entries has a few of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from coterie.core.types import Entry, Epoch, Index


class EpochRuns:
    """The epoch of each entry after a log's base, up to `last`: (first index, epoch) of each run of equal ones.

    In Raft the epochs never fall along the log; in Multi-Paxos, which overwrites single slots, they may.
    """

    __slots__ = ("_epochs", "_starts", "last")

    def __init__(self, last: Index, runs: Sequence[tuple[Index, Epoch]] = ()) -> None:
        """`runs` are ascending, no two neighbours have one epoch, and they cover base + 1 .. `last`: none, if the
        log is empty."""
        self.last: Index = last
        """The last index that has an epoch; of an empty log, its base."""
        self._starts: list[Index] = [start for start, _ in runs]
        self._epochs: list[Epoch] = [epoch for _, epoch in runs]

    def __len__(self) -> int:
        """Runs kept in memory."""
        return len(self._starts)

    def copy(self) -> EpochRuns:
        """An independent copy."""
        other = EpochRuns.__new__(EpochRuns)
        other.last, other._starts, other._epochs = self.last, self._starts[:], self._epochs[:]
        return other

    @property
    def newest(self) -> Epoch | None:
        """The epoch of the last entry; None if there is none."""
        return self._epochs[-1] if self._epochs else None

    def epoch_at(self, index: Index) -> Epoch:
        """The epoch of the entry at `index`, which must lie after the base and not after `last`."""
        return self._epochs[bisect_right(self._starts, index) - 1]

    def run_at(self, index: Index) -> tuple[Index, Epoch]:
        """The run that the entry at `index` belongs to: where it begins, and its epoch."""
        run = bisect_right(self._starts, index) - 1
        return self._starts[run], self._epochs[run]

    def since(self, index: Index) -> tuple[tuple[Index, Epoch], ...]:
        """The runs that cover `index` .. `last`; the first begins at `index`. None if that lies past the end."""
        if index > self.last:
            return ()
        run = bisect_right(self._starts, index) - 1
        later = zip(self._starts[run + 1 :], self._epochs[run + 1 :], strict=True)
        return ((index, self._epochs[run]), *later)

    def append(self, index: Index, epoch: Epoch) -> None:
        """The entry at `index` = `last` + 1 is of `epoch`."""
        if not self._epochs or self._epochs[-1] != epoch:
            self._starts.append(index)
            self._epochs.append(epoch)
        self.last = index

    def extend(self, entries: Sequence[Entry]) -> None:
        """Entries follow the last one: at least one."""
        newest = self._epochs[-1] if self._epochs else None
        for entry in entries:
            if entry.epoch != newest:
                newest = entry.epoch
                self._starts.append(entry.index)
                self._epochs.append(newest)
        self.last = entries[-1].index

    def overwrite(self, index: Index, epoch: Epoch) -> None:
        """The entry at `index`, which has one, gets this epoch; all others keep theirs."""
        starts, epochs = self._starts, self._epochs
        run = bisect_right(starts, index) - 1
        held = epochs[run]
        if held == epoch:
            return
        after = run + 1
        end = starts[after] - 1 if after < len(starts) else self.last
        pieces: list[tuple[Index, Epoch]] = []
        if starts[run] < index:
            pieces.append((starts[run], held))
        elif run > 0 and epochs[run - 1] == epoch:
            run -= 1
            pieces.append((starts[run], epoch))
        if not pieces or pieces[-1][1] != epoch:
            pieces.append((index, epoch))
        if index < end:
            pieces.append((index + 1, held))
        elif after < len(starts) and epochs[after] == epoch:
            after += 1
        starts[run:after] = [start for start, _ in pieces]
        epochs[run:after] = [each for _, each in pieces]

    def truncate(self, first: Index) -> None:
        """The entries from `first` on are gone."""
        while self._starts and self._starts[-1] >= first:
            self._starts.pop()
            self._epochs.pop()
        self.last = min(self.last, first - 1)

    def compact(self, base: Index) -> None:
        """The entries up to `base` are gone; those after it stay."""
        if base >= self.last:
            self.reset(base)
            return
        run = bisect_right(self._starts, base + 1) - 1
        del self._starts[:run], self._epochs[:run]
        self._starts[0] = base + 1

    def reset(self, base: Index) -> None:
        """Every entry is gone; the log begins after `base`."""
        self._starts.clear()
        self._epochs.clear()
        self.last = base
