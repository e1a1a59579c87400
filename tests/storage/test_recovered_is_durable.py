"""What recovery found, it has made durable: a replica takes it for promised from then on."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from coterie.core.records import Put, StoreBatch
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch
from coterie.sim.disk import DiskErrors, SimulatedFiles
from coterie.storage.log_store import LogHeader, LogStore

OWNER = LogHeader(1, 2, "raft")


def entry(index: int) -> Entry:
    return Entry(index, Epoch(1, 0) if index > 1 else NO_EPOCH, EntryKind.COMMANDS, 0, b"x" * 700)


class Killed(BaseException):
    pass


class Deadly(DiskErrors):
    """Lets the process die at a sync when it is told to."""

    deadly = False

    def sync_fails(self, path: str) -> bool:
        if self.deadly:
            raise Killed
        return super().sync_fails(path)


def kill_before_sync(errors: Deadly, store: LogStore, mark: int) -> None:
    """The process ends between the write and its sync."""
    write = store.prepare([StoreBatch(mark, (Put((entry(mark + 1),)),))])
    errors.deadly = True
    with pytest.raises(Killed):
        write.perform()
    errors.deadly = False


def fail_sync(errors: Deadly, store: LogStore, mark: int) -> None:
    """The sync fails; the pages that it should have written are called clean."""
    write = store.prepare([StoreBatch(mark, (Put((entry(mark + 1),)),))])
    errors.failing_syncs = 1
    with pytest.raises(OSError, match="Input/output"):
        write.perform()


@pytest.mark.parametrize("end", [kill_before_sync, fail_sync])
@pytest.mark.parametrize("segment_bytes", [1 << 20, 1500])
@pytest.mark.parametrize("earlier", [0, 1, 2])
def test_what_an_ended_process_left_in_the_page_cache_is_durable_once_recovered(
    end: Callable[[Deadly, LogStore, int], None], segment_bytes: int, earlier: int
) -> None:
    for seed in range(8):
        errors = Deadly()
        files = SimulatedFiles(errors=errors)
        store = LogStore.create(files, "log", OWNER, (entry(1),), segment_bytes=segment_bytes)
        files.sync_all()
        for mark in range(1, earlier + 1):
            store.prepare([StoreBatch(mark, (Put((entry(mark + 1),)),))]).perform()
        end(errors, store, earlier + 1)
        files.crash(random.Random(seed), power=False)
        found = LogStore.open(files, "log", OWNER, segment_bytes=segment_bytes).recovered
        files.crash(random.Random(seed), power=True)
        assert LogStore.open(files, "log", OWNER, segment_bytes=segment_bytes).recovered == found
