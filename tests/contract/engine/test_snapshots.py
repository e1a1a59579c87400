"""Snapshots as the engine drives them: taken when the log has grown, sent, installed, and found again at a restart."""

from __future__ import annotations

import errno

import msgspec
import pytest
from tests.contract.engine.cluster import Cluster, Node
from tests.contract.engine.test_administration import Office

from coterie.core.types import Entry, EntryKind, MemberId
from coterie.engine.admin_requests import ChangeSetting
from coterie.engine.protocol import Answer, Failure, FailureCode, Happened, Submit
from coterie.engine.snapshots import RETRY_INTERVAL, NoState
from coterie.engine.work import Job

ME = "client"
SECOND = 1_000_000_000


class Workplace:
    """A cluster whose logs are to be compacted early, and somebody who writes into it."""

    def __init__(self, log_bytes: int = 2000, keep: int = 0) -> None:
        self.cluster = Cluster()
        self.leader, self.others = self.cluster.elect()
        self.written = 0
        self.last = 1_000_000
        for name, value in (
            ("snapshot_log_bytes", log_bytes),
            ("snapshot_log_ratio", 1),
            ("snapshot_keep_entries", keep),
        ):
            self.last += 1
            self.cluster.request(self.leader, ME, ChangeSetting(self.last, name, str(value)))
            self.cluster.run(1000, until=lambda: (ME, self.last) in self.cluster.answers)
            assert isinstance(self.cluster.only_answer(ME, self.last), Answer)

    def write(self, count: int, size: int = 100) -> None:
        """So many commands, one entry each."""
        for _ in range(count):
            self.written += 1
            self.cluster.request(self.leader, ME, Submit(self.written, 0, 0, 0, b"%d" % self.written + b"." * size))
            self.cluster.run(1000, until=lambda: (ME, self.written) in self.cluster.answers)
            assert isinstance(self.cluster.only_answer(ME, self.written), Answer)

    def node(self, member: MemberId) -> Node:
        return self.cluster.nodes[member]

    def agree(self, *members: MemberId) -> None:
        """All of these hold all that was written, and the same."""
        chosen = members or tuple(self.cluster.nodes)
        self.cluster.run(5000, until=lambda: all(len(self.node(m).ledger.lines) == self.written for m in chosen))
        assert len({self.node(m).engine.host.digest() for m in chosen}) == 1


def test_a_log_that_grows_is_compacted_and_a_restart_begins_with_the_snapshot() -> None:
    work = Workplace()
    work.write(100)
    work.cluster.run(500)
    for member, disk in work.cluster.disks.items():
        assert work.node(member).heard("snapshot-taken")
        assert disk.base.index > 30, "much of the log is gone"
        assert len(disk.log) < 80
    member = work.others[0]
    work.cluster.crash(member)
    node = work.cluster.restart(member)
    assert node.engine.host.applied >= work.cluster.disks[member].base.index, "it did not begin with entry 1"
    work.write(5)
    work.agree()


def test_members_do_not_all_take_one_at_once() -> None:
    work = Workplace(log_bytes=20_000)
    work.write(100)
    counts = sorted(len(work.node(m).heard("snapshot-taken")) for m in work.cluster.nodes)
    assert counts[0] == 0
    work.write(150)
    assert all(work.node(m).heard("snapshot-taken") for m in work.cluster.nodes)


def test_a_member_that_fell_far_behind_gets_a_snapshot_and_goes_on() -> None:
    work = Workplace()
    lost = work.others[0]
    work.cluster.cut(lost)
    work.write(60)
    work.cluster.heal()
    work.agree()
    assert work.node(lost).heard("snapshot-received")
    assert work.node(lost).heard("snapshot-installed")
    work.write(10)
    work.agree()


def hold_installation(node: Node) -> list[Job]:
    """The machine's disk takes its time: the job that installs a snapshot is put here, and not performed."""
    held: list[Job] = []
    work = node.work

    def hold(job: Job) -> None:
        if type(job).__name__ == "InstallJob":
            held.append(job)
        else:
            work(job)

    node.work = hold  # type: ignore[method-assign]
    return held


def test_while_a_snapshot_is_installed_nothing_is_applied_and_nothing_is_lost() -> None:
    work = Workplace()
    lost = work.others[0]
    work.cluster.cut(lost)
    work.write(60)
    work.cluster.heal()
    node = work.node(lost)
    held = hold_installation(node)
    work.cluster.run(5000, until=lambda: bool(held))
    applied = node.engine.host.applied
    work.write(10)
    assert node.engine.host.applied == applied
    node.perform(held[0], work.cluster.now)
    work.cluster.flush(lost)
    work.agree()


def test_a_command_of_a_member_that_fell_behind_has_an_unknown_outcome() -> None:
    work = Workplace()
    lost = work.others[0]
    work.cluster.request(lost, ME, Submit(900, 0, 0, 0, b"mine"))
    work.cluster.tamper = lambda packets: [p for p in packets if p[1] != lost]
    work.cluster.run(100)
    work.written += 1
    work.write(40)
    assert (ME, 900) not in work.cluster.answers
    work.cluster.heal()
    work.cluster.run(5000, until=lambda: (ME, 900) in work.cluster.answers)
    answer = work.cluster.only_answer(ME, 900)
    assert isinstance(answer, Failure)
    assert (answer.code, answer.happened) == (FailureCode.LEADER_LOST, Happened.UNKNOWN)


def damage(work: Workplace, member: MemberId, newest: int, how: str) -> None:
    """Harm the snapshot files of a member that is down: the newest ones."""
    files = work.cluster.disks[member].files
    names = sorted((n for n in files.list("data/snapshots") if n.endswith(".snap")), reverse=True)
    for name in names[:newest]:
        file = files.open(f"data/snapshots/{name}")
        size = file.size()
        if how == "cut":
            file.truncate(size // 2)
        else:
            middle = size // 2
            (byte,) = file.read_at(middle, 1)
            file.write_at(middle, bytes([byte ^ 1]))
        file.close()


@pytest.mark.parametrize("how", ["cut", "bit"])
def test_a_damaged_snapshot_that_the_log_needs_is_refused_with_what_to_do(how: str) -> None:
    work = Workplace()
    work.write(100)
    member = work.others[0]
    work.cluster.crash(member)
    damage(work, member, 9, how)
    with pytest.raises(NoState, match="holds the state") as refused:
        work.cluster.restart(member)
    assert "add it again" in refused.value.advice


@pytest.mark.parametrize("how", ["cut", "bit"])
def test_an_older_snapshot_does_if_the_log_reaches_back_to_it_and_that_is_told(how: str) -> None:
    work = Workplace()
    work.write(120)
    member = work.others[0]
    work.cluster.crash(member)
    disk = work.cluster.disks[member]
    kept = [meta.index for meta, _ in disk.snapshots().kept()]
    assert len(kept) == 2
    damage(work, member, 1, how)
    assert disk.base.index <= kept[1]
    node = work.cluster.restart(member)
    assert node.heard("snapshot-fallback")
    work.write(3)
    work.agree()


def test_no_space_for_a_snapshot_costs_nothing_and_is_tried_again() -> None:
    work = Workplace()
    node = work.node(work.leader)
    node.disk_problem = OSError(errno.ENOSPC, "full")
    work.write(60)
    assert node.heard("snapshot-no-space")
    assert not node.heard("snapshot-taken")
    node.disk_problem = None
    work.cluster.run(RETRY_INTERVAL // 1_000_000 + 1000)
    work.write(1)
    assert node.heard("snapshot-taken")
    work.agree()


def test_no_space_for_a_received_snapshot_is_told_and_it_is_sent_again() -> None:
    work = Workplace()
    lost = work.others[0]
    node = work.node(lost)
    work.cluster.cut(lost)
    work.write(60)
    node.disk_problem = OSError(errno.ENOSPC, "full")
    work.cluster.heal()
    work.cluster.run(5000, until=lambda: bool(node.heard("snapshot-refused")))
    assert node.heard("snapshot-refused")
    node.disk_problem = None
    work.agree()


def test_a_disk_that_fails_under_a_snapshot_ends_the_node() -> None:
    work = Workplace()
    work.node(work.leader).disk_problem = OSError(errno.EIO, "broken")
    with pytest.raises(OSError, match="broken"):
        work.write(60)


def test_a_restart_in_the_middle_of_an_installation_finishes_it() -> None:
    work = Workplace()
    lost = work.others[0]
    work.cluster.cut(lost)
    work.write(60)
    work.cluster.heal()
    node = work.node(lost)
    held = hold_installation(node)
    work.cluster.run(5000, until=lambda: bool(held))
    assert work.cluster.disks[lost].base.index > node.engine.host.applied
    assert not node.heard("snapshot-installed")
    work.cluster.crash(lost)
    again = work.cluster.restart(lost)
    assert again.engine.host.applied >= work.cluster.disks[lost].base.index
    work.agree()


def test_a_member_that_joins_an_old_cluster_begins_with_a_snapshot() -> None:
    office = Office()
    for name, value in (("snapshot_log_bytes", "500"), ("snapshot_log_ratio", "0"), ("snapshot_keep_entries", "0")):
        office.send(ChangeSetting(0, name, value))
        office.cluster.run(500)
    for id in range(1, 80):
        office.cluster.request(office.leader, ME, Submit(id, 0, 0, 0, b"." * 100))
        office.cluster.run(100)
    assert office.cluster.disks[office.leader].base.index > 10
    joined = office.join()
    assert office.cluster.nodes[joined].heard("snapshot-installed")
    assert msgspec.msgpack.encode(office.cluster.nodes[joined].ledger.lines) == msgspec.msgpack.encode(
        office.cluster.nodes[office.leader].ledger.lines
    )


def test_a_log_that_holds_something_else_than_was_applied_gives_way_to_the_newest_snapshot() -> None:
    """What a quorum has committed may be applied, and snapshotted, before it is on the own disk; where the process ends
    then, the disk still holds what an older leader wrote there."""
    work = Workplace(keep=50)
    work.write(60)
    member, cluster = work.others[0], work.cluster
    work.node(member).hangs = True
    cluster.crash(work.leader)
    cluster.restart(work.leader)
    cluster.run(10_000, until=lambda: any(leader != member for leader in cluster.leaders()))
    work.leader = next(leader for leader in cluster.leaders() if leader != member)
    work.write(60)
    cluster.run(500)
    cluster.crash(member)
    disk = cluster.disks[member]
    (newest, _), (older, _) = disk.snapshots().kept()[:2]
    while disk.last_index <= newest.index:
        disk.log.append(Entry(disk.last_index + 1, disk.log[-1].epoch, EntryKind.COMMANDS, 0, b"of an older leader"))
    assert disk.base.index <= older.index, "the log spans both"
    node = cluster.restart(member)
    assert node.engine.host.applied == newest.index
    assert node.engine.replica.first_index == newest.index + 1
    work.write(5)
    work.agree()
