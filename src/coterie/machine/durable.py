"""Machines that keep their state in an ordered store, and how the host and its driver move it there.

A `DurableMachine` applies commands in memory, on top of what the store holds; from time to time what has
gathered goes to the store in one atomic batch, together with all that the `Host` keeps (sessions, origins,
cluster time, membership, settings, applied index and epoch). The log is the truth: what was not flushed is
applied again after a restart. A machine that is no `DurableMachine` lives in memory: it starts empty, and is
restored from the newest snapshot file.

**What whoever drives the host calls, in this order.**

1.  Start. ``host = Host(machine, store=store)``, with `store` an open, otherwise unused `OrderedStore`
    (`stores.open_store(path)` on disk, `MemoryStore()` in the simulated world). For a machine in memory leave
    the store out (`isinstance(machine, DurableMachine)` tells which); one that is given is not used. Then
    `host.applied` (and `host.applied_epoch`, `host.membership`, `host.settings`) is what the store holds, 0 if
    nothing. With `recovered` from the log:

    - host.applied < recovered.base.index: read the snapshot file at base (or a newer one) and
      ``host.restore(chunks)``, before anything is applied. It goes to the disk in bounded memory. A crash in
      the middle leaves an *empty* store: the next start comes here again.
    - host.applied > recovered.last_index: the store is ahead of the log, rightly. The log is reset to
      ``host.meta()`` (index, epoch, membership, settings).
    - Pass ``applied=host.applied`` to the replica.

2.  Applying. ``host.apply(entry, own, boot)`` as before, in the loop. `host.membership`, `host.settings` and
    the session limits follow the MEMBERSHIP and SETTINGS entries as they are applied.

3.  Flushing, whenever ``host.flush_due`` (ask after each batch of entries: it costs two comparisons), before a
    snapshot, and at a graceful stop::

        flush = host.begin_flush()      # in the loop: microseconds to a millisecond. None: nothing new, or not durable
        flush.perform()                 # in a thread of its own (not the log's): writes and syncs
        host.finish_flush(flush)        # in the loop, when perform returned

    One flush at a time; applies and queries go on meanwhile. `perform` raises `OSError`: with ENOSPC call it
    again later, the same object; any other ends the process, as a failed sync of the log does. If the process
    dies before `perform` returned, the store holds this flush wholly or not at all. After `finish_flush`,
    ``host.persisted`` is the index that the store holds durably: the log may be compacted up to it (for a
    machine in memory it stays 0: there only snapshot files count).

4.  Snapshots. Not while a flush is under way::

        view = host.snapshot_view()     # in the loop
        view.meta                       # SnapshotMeta: index, epoch, membership, settings
        for chunk in view.chunks():     # in any one thread, while applies and flushes go on
            ...                         # at most 1 MiB each
        view.close()                    # in any thread; always, or the store's file grows

    Of a durable machine it shows the state at `host.persisted` (flush first to have a new one); of a machine
    in memory the state at `host.applied`, and unless the machine offers a cheap `frozen` of its own, the chunks
    are all made in `snapshot_view`, in the loop.

5.  Installing a received snapshot (`Effects.install`), with no flush under way::

        install = host.begin_restore(chunks)    # in the loop; the chunks are not touched yet
        install.perform()                       # in a thread; raises ValueError (no such snapshot), OSError
        host.finish_restore(install)            # in the loop

    Until then nothing may be applied, and `host.query` refuses. `perform` may be called again after ENOSPC
    only if `chunks` can be iterated again (pass a list or an object with `__iter__`). After `ValueError` the
    host has no state: the node must end. ``host.restore(chunks)`` is the three in one. Views taken before stay
    readable.

6.  Comparing. ``host.chain`` after each `apply` is a 16-byte hash over everything applied so far (indexes,
    cluster time and replies), the same at every member at the same `host.applied`. It is in every snapshot and
    every flush. Compare only members that have applied the same index: remember it when an agreed index passes.

7.  End. Flush if there is time, then ``host.close()``, which closes the store; no flush, view or restore may be
    in use. A kill at any point is as good.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Protocol

from coterie.machine.interface import StateMachine
from coterie.machine.stores.interface import Change, OrderedStore, Reading

MACHINE_FIRST = b"m"
"""Keys of the machine in the store that it shares with the host begin with this byte ..."""
MACHINE_END = b"n"
"""... so they are all below this."""


class MachineFlush(Protocol):
    """What a machine set aside for the store."""

    def changes(self, view: Reading) -> Iterator[Change]:
        """In a thread, perhaps more than once: the changes. `view` shows the store before them."""
        ...


class DurableMachine(StateMachine):
    """A state machine that can keep its state in an ordered store, under keys that begin with `MACHINE_FIRST`.

    Without `attach` it is a machine in memory like any other. All methods are called in the loop, except where
    it says 'in a thread'.
    """

    @abstractmethod
    def attach(self, store: OrderedStore) -> None:
        """Once, before anything else: work on `store` from now on, and become what it holds (empty: the
        initial state). Only read from it: all writes go through flushes."""

    @abstractmethod
    def begin_flush(self) -> MachineFlush:
        """Set aside what was applied since the last flush, cheaply. One flush at a time."""

    @abstractmethod
    def finish_flush(self, flush: MachineFlush) -> None:
        """The flush's changes are in the store, durably: let go of what was set aside."""

    @property
    @abstractmethod
    def unflushed_items(self) -> int:
        """About how many items a flush would move to the store."""

    @abstractmethod
    def stored_chunks(self, view: Reading) -> Iterator[bytes]:
        """In a thread: what `snapshot` would give if the state were the one in the view. Must not look at
        anything that changes as commands are applied."""

    @abstractmethod
    def fill(self, store: OrderedStore, chunks: Iterable[bytes]) -> None:
        """In a thread: write a snapshot's state into a store that holds nothing of the machine, in bounded
        memory, in as many batches as it takes; the host's last batch makes them count. Raises `ValueError`
        if the chunks are no whole snapshot."""

    @abstractmethod
    def reload(self) -> None:
        """The store was filled anew: forget everything in memory and become what it holds."""

    @abstractmethod
    def detach(self) -> None:
        """Close what is open of the store. The machine is not to be used again."""
