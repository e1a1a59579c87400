"""Where a log begins and ends, and the epochs in between: what decides which records may follow."""

from __future__ import annotations

from collections.abc import Sequence

from coterie.core.epochs import EpochRuns
from coterie.core.records import Compact, Put, Record, Reset, Truncate
from coterie.core.types import Entry, Epoch, Index, SnapshotMeta


class Impossible(ValueError):
    """A record that cannot follow those before it."""


class Bounds:
    """The bounds of a log, as the records so far leave them. A record that is refused leaves them as they were, but
    for a `Put`, of which some entries may have been taken."""

    __slots__ = ("base", "epochs")

    def __init__(self, base: SnapshotMeta, epochs: EpochRuns) -> None:
        self.base = base
        """The log begins just after this."""
        self.epochs = epochs
        """Of the entries after `base`."""

    @property
    def last(self) -> Index:
        """Index of the last entry; that of the base, if the log holds none."""
        return self.epochs.last

    def copy(self) -> Bounds:
        """An independent copy."""
        return Bounds(self.base, self.epochs.copy())

    def take(self, record: Record) -> None:
        """Follow one record. Raises `Impossible` if entries leave a gap, go back before the base or overwrite others
        without a higher epoch, or if what is forgotten is not there."""
        if isinstance(record, Put):
            self._put_all(record.entries)
        elif isinstance(record, Truncate):
            self.truncate(record.first)
        elif isinstance(record, Compact):
            self.compact(record.base)
        elif isinstance(record, Reset):
            self.reset(record.base)

    def _put_all(self, entries: Sequence[Entry]) -> None:
        if not entries:
            raise Impossible("nothing is put into the log")
        expected = first = entries[0].index
        for entry in entries:
            if entry.index != expected:
                raise Impossible(f"entry {entry.index} put together with entry {expected - 1}, and just after it")
            expected += 1
        if first == self.last + 1:
            self.epochs.extend(entries)
            return
        for entry in entries:
            self.put(entry.index, entry.epoch)

    def put(self, index: Index, epoch: Epoch) -> None:
        """An entry of this epoch, at the end or in the place of another. Raises `Impossible`."""
        epochs = self.epochs
        if index == epochs.last + 1:
            epochs.append(index, epoch)
            return
        if index > epochs.last:
            raise Impossible(f"entry {index} put into a log that ends with entry {epochs.last}")
        if index <= self.base.index:
            raise Impossible(f"entry {index} put into a log that begins after entry {self.base.index}")
        held = epochs.epoch_at(index)
        if held >= epoch:
            # The older of two ballots would win, or one ballot have two values for the slot.
            raise Impossible(f"entry {index} of epoch {epoch} put in the place of one of epoch {held}")
        epochs.overwrite(index, epoch)

    def truncate(self, first: Index) -> None:
        """The entries from `first` on hold no more. Raises `Impossible`."""
        if first <= self.base.index:
            raise Impossible(f"entry {first} cut off a log that begins after entry {self.base.index}")
        self.epochs.truncate(first)

    def compact(self, base: SnapshotMeta) -> None:
        """The entries up to `base` hold no more, those after it do. Raises `Impossible`."""
        first, last = self.base.index + 1, self.last
        if not first <= base.index + 1 <= last + 1:
            raise Impossible(f"a log of entries {first} to {last} forgets those up to {base.index}")
        self.epochs.compact(base.index)
        self.base = base

    def reset(self, base: SnapshotMeta) -> None:
        """No entry holds; the log begins after `base`."""
        self.epochs.reset(base.index)
        self.base = base
