"""A flush of the key-value data: a layer of what was written in memory, on its way to the ordered store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from coterie.machine.kv.blocks import blocks, blocks_of
from coterie.machine.kv.layer import Layer
from coterie.machine.kv.protocol import Item, encoder
from coterie.machine.kv.records import FORMAT, ROW_PLACES, STATE_KEY, State, index_pair, index_rows, puts_pair
from coterie.machine.kv.sweeping import Sweep
from coterie.machine.stores.interface import Change, Pair, Reading

PIECE_REVISIONS = 1024
"""Revisions that a flush makes blocks of at a time; faster where each wrote one item, as most do."""


class LayeredFlush:
    """A frozen layer on its way to the store."""

    def __init__(self, layer: Layer, state: State, sweep: Sweep, discarded: list[Layer]) -> None:
        self._layer = layer
        self._keys = layer.rows()
        self._state = state
        self.sweep = sweep
        self._discarded = discarded
        self._positions: dict[tuple[bytes, int], int] = {}
        """By key and revision: the positions that are not 0."""

    def changes(self, view: Reading) -> Iterator[Change]:
        """See `MachineFlush`."""
        while self._discarded:  # here, in a thread: freeing what the flush before left is work too
            for _ in self._discarded[-1].discard():
                pass
            self._discarded.pop()
        layer = self._layer
        yield from self._blocks()
        older, newest, positions = layer.older, layer.newest, self._positions
        for row in self._keys:
            for key in row:
                item = newest.get(key)
                if item is None:  # it was taken back
                    continue
                before = older.get(key)
                if before is None:
                    yield index_pair(item, positions.get((key, item.mod), 0) if positions else 0)
                elif len(before) < ROW_PLACES and not positions and item.version - len(before) == before[0].version > 0:
                    yield puts_pair(before, item)
                else:
                    yield from index_rows([*before, item], positions)
        yield from self.sweep.changes(view)
        state = self._state
        yield (
            STATE_KEY,
            encoder.encode(
                State(
                    FORMAT, state.revision, state.compacted, self.sweep.swept, state.bounds, state.counts, state.leased
                )
            ),
        )

    def _blocks(self) -> Iterator[Pair]:
        log = self._layer.log
        for start in range(0, len(log), PIECE_REVISIONS):
            piece = log[start : start + PIECE_REVISIONS]
            if tuple in map(type, piece):
                yield from blocks(self._placed(piece))
            else:
                yield from blocks_of(cast("list[Item]", piece))

    def _placed(self, events: list[Item | tuple[Item, ...]]) -> Iterator[tuple[Item, int]]:
        for event in events:
            if isinstance(event, tuple):
                for position, item in enumerate(event):
                    if position:
                        self._positions[item.key, item.mod] = position
                    yield item, position
            else:
                yield event, 0
