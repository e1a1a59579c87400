"""Snapshots at one replica: what it takes, what it refuses, and what it says before its disk has done it."""

from __future__ import annotations

import msgspec
import pytest
from tests.core.one_member import (
    BYTES,
    DATA,
    EMPTY,
    FOUR,
    JOINT,
    KEEP_NONE,
    ONE,
    THREE,
    THREE_,
    TWO,
    OneMember,
    commands,
    first,
    reply,
    snapshot,
)

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.errors import SafetyViolation
from coterie.core.messages import AppendReply, InstallSnapshot, InstallSnapshotReply
from coterie.core.records import Compact, Put, Reset
from coterie.core.settings import Settings
from coterie.core.types import (
    NO_EPOCH,
    Entry,
    EntryKind,
    Epoch,
    MemberId,
    Membership,
    SnapshotMeta,
)

# -- installing ------------------------------------------------------------------------------


def test_nothing_is_said_and_nothing_installed_before_the_reset_is_durable() -> None:
    node = OneMember((first(),), applied=1)
    effects = node.install(snapshot(9))
    assert effects.store is not None
    assert effects.store.records == (Reset(snapshot(9)),)
    assert effects.install is None
    assert effects.send == []
    assert [message for _, _, message in effects.send_after] == [InstallSnapshotReply(ONE, 9, BYTES, True, 1, 0)]
    assert (node.replica.first_index, node.replica.last_index, node.replica.commit) == (10, 9, 9)
    # Entries that follow are taken, but neither acknowledged nor applied before it.
    effects = node.append(commands(10, 2), (9, ONE), commit=11)
    assert (effects.send, list(effects.committed), effects.more) == ([], [], False)
    node.replica.stored(0, 2)
    effects = node.drain()
    assert effects.install == snapshot(9)
    assert [entry.index for entry in effects.committed] == [10, 11]
    assert node.drain().install is None


def test_a_heartbeat_is_answered_while_the_reset_is_on_its_way_for_what_is_surely_the_leaders() -> None:
    """Entries 2 to 4 of the old log, though durable, are a deposed leader's: they are no copy of anything."""
    node = OneMember((first(), *commands(2, 3)), applied=1, epoch=TWO)
    node.install(snapshot(9, TWO), TWO)
    answer = reply(node.append((), (9, TWO), commit=9, epoch=TWO))
    assert isinstance(answer, AppendReply)
    assert (answer.accepted, answer.index) == (True, 0)
    node.stored()
    answer = reply(node.append((), (9, TWO), commit=9, epoch=TWO))
    assert isinstance(answer, AppendReply)
    assert (answer.accepted, answer.index) == (True, 9)


def test_the_joint_membership_of_the_snapshot_is_in_force_and_outlives_compaction() -> None:
    """Only the new voters of it would be a quorum of their own (catalogue N03)."""
    node = OneMember((first(),), applied=1)
    node.install(snapshot(9, membership=JOINT))
    node.stored()
    assert node.replica.membership == JOINT
    node.append(commands(10, 3), (9, ONE), commit=12)
    node.stored()
    node.replica.snapshot_taken(0, snapshot(11, membership=JOINT), BYTES)
    effects = node.drain()
    assert effects.store is not None
    assert effects.store.records == (Compact(snapshot(11, membership=JOINT)),)
    assert node.replica.membership == JOINT


def test_the_membership_and_settings_in_force_at_the_base_are_kept_not_the_newest() -> None:
    changed = Entry(3, ONE, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(JOINT))
    other = Settings(snapshot_keep_entries=0, lease_reads=True)
    setting = Entry(5, ONE, EntryKind.SETTINGS, 0, msgspec.msgpack.encode(other))
    node = OneMember(
        (first(), *commands(2, 1), changed, *commands(4, 1), setting, *commands(6, 1)),
        base=EMPTY,
        applied=2,
    )
    node.append((), (6, ONE), commit=6)
    for index, membership, settings in ((2, THREE, Settings()), (4, JOINT, Settings()), (6, JOINT, other)):
        # `keep` is the newest settings' business; what is in force at the base goes with it.
        node.replica.snapshot_taken(0, snapshot(index, membership=membership, settings=settings), BYTES)
        effects = node.drain()
        assert effects.store is not None
        assert effects.store.records == (Compact(snapshot(index, membership=membership, settings=settings)),)
    assert node.replica.settings == other


def test_the_log_of_a_restart_after_compaction_knows_its_membership() -> None:
    node = OneMember(commands(10, 2), base=snapshot(9, membership=JOINT), applied=9, own=2)
    assert node.replica.membership == JOINT
    assert node.replica.first_index == 10


def test_a_machine_that_lags_behind_the_log_is_refused() -> None:
    """The entries would be applied onto a state that lacks what came before (catalogue N09)."""
    with pytest.raises(SafetyViolation, match="restore it from the snapshot at 9"):
        OneMember(commands(10, 2), base=snapshot(9), applied=8)


# -- what is there already -------------------------------------------------------------------


def test_a_snapshot_of_what_is_committed_is_declined_and_the_log_stays() -> None:
    node = OneMember((first(), *commands(2, 8)), applied=6)
    effects = node.offer(snapshot(6))
    assert reply(effects) == InstallSnapshotReply(ONE, 6, BYTES, True, 1, 0)
    assert (effects.chunks, effects.store, node.replica.last_index) == ([], None, 9)


def test_a_snapshot_of_what_is_compacted_away_is_declined_too() -> None:
    """The log no longer says which epoch that entry had: it was committed, so there is nothing to compare."""
    node = OneMember(commands(10, 2), base=snapshot(9), applied=9)
    for index in (7, 9):
        effects = node.offer(snapshot(index))
        assert reply(effects) == InstallSnapshotReply(ONE, index, BYTES, True, 1, 0)
        assert effects.chunks == []


def test_a_snapshot_whose_last_entry_the_log_holds_commits_it_and_keeps_what_follows() -> None:
    node = OneMember((first(), *commands(2, 8)), applied=1)
    effects = node.offer(snapshot(6))
    assert reply(effects) == InstallSnapshotReply(ONE, 6, BYTES, True, 1, 0)
    assert (node.replica.commit, node.replica.last_index, effects.chunks) == (6, 9, [])
    assert [entry.index for entry in effects.committed] == [2, 3, 4, 5, 6]


def test_what_is_not_durable_is_not_said_to_be_there() -> None:
    node = OneMember((first(),), applied=1)
    node.append(commands(2, 5), (1, NO_EPOCH), commit=1)
    effects = node.offer(snapshot(4))
    assert effects.send == []
    assert [mark for mark, _, m in effects.send_after if isinstance(m, InstallSnapshotReply)] == [1]


def test_entries_of_another_epoch_give_way() -> None:
    node = OneMember((first(), *commands(2, 8)), applied=1, epoch=TWO)
    effects = node.install(snapshot(6, TWO), TWO)
    assert effects.store is not None
    assert isinstance(effects.store.records[0], Reset)
    assert node.replica.last_index == 6


def test_entries_that_came_while_it_was_checked_are_not_taken_back() -> None:
    node = OneMember((first(),), applied=1)
    node.offer(snapshot(3))
    node.append(commands(2, 5), (1, NO_EPOCH), commit=5)
    node.replica.snapshot_received(0, snapshot(3))
    effects = node.drain()
    assert (effects.store, effects.install, node.replica.last_index) == (None, None, 6)
    assert [type(m) for _, _, m in effects.send_after] == [InstallSnapshotReply]


# -- chunks ----------------------------------------------------------------------------------


def chunk(
    node: OneMember, offset: int, count: int, meta: SnapshotMeta, *, epoch: Epoch = ONE, sender: MemberId = 1
) -> int:
    """Give it a piece; how much it says that it holds."""
    data = DATA[offset : offset + count]
    answer = reply(node.receive(InstallSnapshot(epoch, meta, BYTES, offset, data, 1), sender))
    assert isinstance(answer, InstallSnapshotReply)
    assert not answer.installed
    return answer.offset


def test_chunks_are_taken_in_order_once() -> None:
    node = OneMember((first(),), applied=1)
    meta = snapshot(9)
    assert chunk(node, 0, 0, meta) == 0
    assert chunk(node, 2, 2, meta) == 0
    assert chunk(node, 0, 2, meta) == 2
    assert chunk(node, 0, 2, meta) == 2
    assert chunk(node, 4, 2, meta) == 2
    assert chunk(node, 2, 2, meta) == 4
    assert chunk(node, 4, 2, meta) == 6
    assert chunk(node, 4, 2, meta) == 6
    assert chunk(node, 0, 0, meta) == 6


def test_what_waits_for_a_slow_disk_is_not_acknowledged_before_it_is_kept() -> None:
    node = OneMember((first(),), applied=1)
    meta = snapshot(9)
    for offset in (0, 2):
        effects = node.hear(InstallSnapshot(ONE, meta, BYTES, offset, DATA[offset : offset + 2], 1))
        assert ([piece.offset for piece in effects.chunks], effects.send) == ([offset], [])
    # Asked meanwhile, or sent the same again, it says nothing: "0 bytes" would make its leader send all of it anew.
    for data in (b"", DATA[:2]):
        effects = node.hear(InstallSnapshot(ONE, meta, BYTES, 0, data, 1))
        assert (effects.chunks, effects.send) == ([], [])
    node.replica.snapshot_kept(0, meta, 2)
    assert reply(node.drain()) == InstallSnapshotReply(ONE, 9, 2, False, 1, 0)
    node.replica.snapshot_kept(0, snapshot(7), 4)
    node.replica.snapshot_kept(0, meta, 6)
    assert node.drain().send == []


def test_bytes_past_the_end_are_not_taken() -> None:
    node = OneMember((first(),), applied=1)
    effects = node.receive(InstallSnapshot(ONE, snapshot(9), BYTES, 0, DATA + b"!", 1))
    assert effects.chunks == []


def test_a_newer_snapshot_of_the_leader_replaces_one_under_way_and_a_late_chunk_does_not() -> None:
    node = OneMember((first(),), applied=1)
    assert chunk(node, 0, 2, snapshot(9)) == 2
    assert chunk(node, 0, 2, snapshot(12)) == 2
    assert chunk(node, 2, 2, snapshot(9)) == 0
    assert chunk(node, 2, 2, snapshot(12)) == 4


def test_another_leader_begins_anew_even_with_an_older_snapshot() -> None:
    node = OneMember((first(),), applied=1)
    assert chunk(node, 0, 2, snapshot(9)) == 2
    assert chunk(node, 2, 2, snapshot(9), epoch=TWO, sender=2) == 0
    assert chunk(node, 0, 2, snapshot(9), epoch=TWO, sender=2) == 2
    assert chunk(node, 0, 2, snapshot(7), epoch=THREE_, sender=1) == 2
    assert chunk(node, 0, 2, snapshot(6), epoch=FOUR, sender=1) == 2


def test_one_that_is_being_checked_is_not_disturbed() -> None:
    node = OneMember((first(),), applied=1)
    node.offer(snapshot(9))
    effects = node.offer(snapshot(12), TWO, sender=2)
    assert effects.chunks == []
    assert reply(effects) == InstallSnapshotReply(TWO, 12, 0, False, 1, 0)
    node.replica.snapshot_received(0, snapshot(9))
    effects = node.drain()
    assert isinstance(effects.store.records[-1] if effects.store else None, Reset)
    # Who sent it leads no more: nobody is told.
    assert not [m for _, _, m in effects.send_after if isinstance(m, InstallSnapshotReply)]
    assert node.offer(snapshot(12), TWO, sender=2).chunks != []


def test_a_deposed_leaders_chunk_is_answered_with_the_newer_epoch() -> None:
    node = OneMember((first(),), applied=1, epoch=TWO)
    effects = node.offer(snapshot(9), ONE)
    assert reply(effects) == InstallSnapshotReply(TWO, 9, 0, False, 1, 0)
    assert effects.chunks == []


def test_a_chunk_is_a_sign_of_life_of_the_leader() -> None:
    node = OneMember((first(),), applied=1)
    for _ in range(10):
        node.now += 900 * MILLISECOND
        node.replica.wake(node.now)
        node.receive(InstallSnapshot(ONE, snapshot(9), BYTES, 3, b"", 1))
        assert node.replica.leader == 1


def test_a_member_that_cannot_keep_it_waits_longer_each_time() -> None:
    node = OneMember((first(),), applied=1)
    timeout = ReplicaConfig().election_timeout
    for doubling in (0, 1, 2):
        node.offer(snapshot(9))
        node.replica.snapshot_failed(node.now, snapshot(9), "no space")
        assert reply(node.drain()) == InstallSnapshotReply(ONE, 9, 0, False, 1, node.now)
        node.now += (timeout << doubling) - 1
        effects = node.offer(snapshot(9))
        assert (effects.chunks, effects.send) == ([], [])
        node.now += 1


def test_the_driver_may_not_answer_for_what_it_was_not_given() -> None:
    node = OneMember((first(),), applied=1)
    with pytest.raises(ValueError, match="no snapshot at 9"):
        node.replica.snapshot_received(0, snapshot(9))
    node.offer(snapshot(9))
    with pytest.raises(ValueError, match="no snapshot at 8"):
        node.replica.snapshot_received(0, snapshot(8))


def test_that_a_snapshot_failed_which_another_took_the_place_of_is_no_news() -> None:
    node = OneMember((first(),), applied=1)
    node.offer(snapshot(9), offset=0)
    node.replica.snapshot_failed(0, snapshot(8), "no space")
    assert node.drain().send == []
    node.replica.snapshot_received(0, snapshot(9))


# -- the driver's own ------------------------------------------------------------------------


def test_a_snapshot_that_the_log_does_not_lead_to_is_an_error_of_the_driver() -> None:
    node = OneMember((first(), *commands(2, 4)), applied=5)
    node.append(commands(6, 1), (5, ONE), commit=5)
    with pytest.raises(ValueError, match="but the log has epoch"):
        node.replica.snapshot_taken(0, snapshot(4, TWO, settings=Settings()), BYTES)
    with pytest.raises(ValueError, match="no more than 5 is committed"):
        node.replica.snapshot_taken(0, snapshot(6, settings=Settings()), BYTES)
    with pytest.raises(ValueError, match="membership or settings"):
        node.replica.snapshot_taken(0, snapshot(4, membership=JOINT, settings=Settings()), BYTES)


@pytest.mark.parametrize("entries", [(first(),), (first(), *commands(2, 8)), ()])
def test_at_the_start_the_log_gives_way_to_a_snapshot_that_was_durable_before_it(entries: tuple[Entry, ...]) -> None:
    node = OneMember(entries, applied=0, epoch=TWO)
    node.replica.snapshot_taken(0, snapshot(6, TWO), BYTES)
    effects = node.drain()
    assert effects.store is not None
    assert effects.store.records == (Reset(snapshot(6, TWO)),)
    assert (effects.install, list(effects.committed)) == (None, [])
    assert node.stored().install == snapshot(6, TWO)


def test_at_the_start_nothing_is_installed_over_a_machine_that_holds_as_much() -> None:
    node = OneMember((first(), *commands(2, 8)), applied=7, epoch=TWO)
    node.replica.snapshot_taken(0, snapshot(6, TWO), BYTES)
    effects = node.drain()
    assert effects.store is not None
    assert effects.store.records == (Reset(snapshot(6, TWO)),)
    assert node.stored().install is None
    # What it has applied beyond the log is not handed out again.
    assert [e.index for e in node.append(commands(7, 2, TWO), (6, TWO), commit=8, epoch=TWO).committed] == [8]


def test_the_log_keeps_what_the_machine_has_not_been_given() -> None:
    base = SnapshotMeta(0, NO_EPOCH, Membership((), ()), KEEP_NONE)
    node = OneMember((first(), *commands(2, 8)), base=base, applied=3)
    node.replica.snapshot_taken(0, snapshot(8), 0)
    effects = node.drain()
    assert effects.store is not None
    assert effects.store.records == (Compact(snapshot(3)),)
    assert [entry.index for entry in effects.committed] == [4, 5, 6, 7, 8]


def test_a_snapshot_older_than_the_log_is_no_use() -> None:
    """Who got it would lack the entries between (catalogue N09)."""
    node = OneMember(commands(10, 2), base=snapshot(9), applied=9)
    node.replica.snapshot_taken(0, snapshot(8), BYTES)
    assert node.drain().store is None


# -- joining ---------------------------------------------------------------------------------


def test_an_empty_log_without_members_never_campaigns_and_takes_the_first_entry() -> None:
    node = OneMember((), own=4, epoch=NO_EPOCH)
    for _ in range(5):
        node.now = node.drain().deadline
        node.replica.wake(node.now)
        assert node.drain().send == []
    effects = node.append((first(), *commands(2, 2)), (0, NO_EPOCH), commit=3)
    assert effects.store is not None
    assert isinstance(effects.store.records[-1], Put)
    assert [entry.index for entry in effects.committed] == [1, 2, 3]
    assert node.replica.membership == THREE


def test_an_empty_log_refuses_what_it_has_no_beginning_for() -> None:
    node = OneMember((), own=4, epoch=NO_EPOCH)
    answer = reply(node.append(commands(6, 1), (5, ONE), commit=6))
    assert isinstance(answer, AppendReply)
    assert (answer.accepted, answer.hint_index, answer.hint_epoch) == (False, 0, NO_EPOCH)
