"""How much of the log stays behind a snapshot."""

from __future__ import annotations

from tests.core.logs import BASE, Disk, empty_log, entry

from coterie.core.leading.compaction import FOLLOWER_ENTRIES, TRANSFER_BYTES, compaction_index
from coterie.core.log import WEIGHT_STEP_BYTES, Log
from coterie.core.outbox import Outbox
from coterie.core.settings import Settings
from coterie.core.types import Epoch, Index

SNAPSHOT = BASE + 5000


def log(payload: int = 0) -> Log:
    made = empty_log(Disk(), Outbox())
    for index in range(BASE + 1, SNAPSHOT + 11):
        made.append([entry(index, Epoch(3, 0), payload)])
    return made


def index(keep: int, *needs: Index, payload: int = 0, log_bytes: int = 1 << 30) -> Index:
    chosen = Settings(snapshot_keep_entries=keep, snapshot_log_bytes=log_bytes)
    return compaction_index(log(payload), chosen, SNAPSHOT, needs)


def test_it_keeps_the_entries_that_the_setting_says() -> None:
    assert index(0) == SNAPSHOT
    assert index(100) == SNAPSHOT - 100


def test_followers_that_need_no_more_than_that_change_nothing() -> None:
    assert index(100, SNAPSHOT - 50, SNAPSHOT + 8) == SNAPSHOT - 100


def test_it_waits_for_a_follower_that_is_a_little_behind() -> None:
    assert index(0, SNAPSHOT - 70, SNAPSHOT - 3) == SNAPSHOT - 70
    assert index(400, SNAPSHOT - 1600) == SNAPSHOT - 1600


def test_a_follower_that_is_far_behind_holds_nothing_back() -> None:
    assert index(0, SNAPSHOT - FOLLOWER_ENTRIES - 1, SNAPSHOT - 3) == SNAPSHOT - 3
    assert index(400, SNAPSHOT - 1601) == SNAPSHOT - 400


def test_what_is_kept_is_bounded_in_bytes_too() -> None:
    kept = SNAPSHOT - index(4000, payload=1024, log_bytes=4 << 20)
    assert ((1 << 20) - 2 * WEIGHT_STEP_BYTES) // 1024 <= kept <= (1 << 20) // 1024
    for_a_follower = SNAPSHOT - index(4000, SNAPSHOT - 1900, payload=1024, log_bytes=4 << 20)
    assert for_a_follower == 1900
    assert SNAPSHOT - index(4000, SNAPSHOT - 2100, payload=1024, log_bytes=4 << 20) == kept


def test_it_waits_for_a_follower_that_is_sent_a_snapshot_longer_if_the_snapshot_is_larger() -> None:
    heavy = log(64 * 1024)  # some 300 MiB after the base
    behind = SNAPSHOT - 3000
    chosen = Settings(snapshot_keep_entries=0, snapshot_log_bytes=1 << 20)
    assert TRANSFER_BYTES < 64 * 1024 * 3000
    assert compaction_index(heavy, chosen, SNAPSHOT, (), [(behind, 1 << 20)]) == SNAPSHOT
    assert compaction_index(heavy, chosen, SNAPSHOT, (), [(behind, 100 << 20)]) == behind


def test_a_log_that_is_short_already_is_left_alone() -> None:
    assert index(6000) <= BASE
