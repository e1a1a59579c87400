"""The data directory as a node opens it: first start, joining, restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from coterie.core.records import SaveHardState, StoreBatch
from coterie.core.types import Epoch, HardState
from coterie.runtime.configuration import NodeConfiguration
from coterie.runtime.disk import OpenDisk
from coterie.storage.directory import DataDirectory, DirectoryRefused
from coterie.storage.disk import DiskFiles
from coterie.storage.errors import NoLog, StorageError

CLUSTER = 5


def configuration(path: Path) -> NodeConfiguration:
    return NodeConfiguration(name="n4", data=str(path))


def made_to_join(path: Path) -> None:
    DataDirectory.join(DiskFiles(), str(path), "n4", "raft", member=77, cluster=CLUSTER, claim=99).close()


def test_a_member_that_joins_begins_with_an_empty_log(tmp_path: Path) -> None:
    made_to_join(tmp_path)
    for boot in (2, 3):
        disk = OpenDisk(configuration(tmp_path))
        assert (disk.member, disk.cluster, disk.claim, disk.boot) == (77, CLUSTER, 99, boot)
        assert disk.directory.joining is (boot == 2)
        log = disk.open_log(CLUSTER)
        assert not disk.directory.joining
        assert (log.recovered.last_index, log.recovered.base.index, log.recovered.memberships) == (0, 0, ())
        assert disk.snapshots(CLUSTER).kept() == []
        disk.close()


def test_a_crash_between_the_empty_log_and_the_note_of_it_does_no_harm(tmp_path: Path) -> None:
    made_to_join(tmp_path)
    before = (tmp_path / "identity").read_bytes()
    for _ in range(3):
        disk = OpenDisk(configuration(tmp_path))
        assert disk.directory.joining
        assert disk.open_log(CLUSTER).recovered.last_index == 0
        disk.close()
        (tmp_path / "identity").write_bytes(before)


def test_a_log_that_holds_a_promise_is_never_made_anew(tmp_path: Path) -> None:
    """Whatever the identity says, for it may be the part of the directory that went back in time."""
    made_to_join(tmp_path)
    before = (tmp_path / "identity").read_bytes()
    disk = OpenDisk(configuration(tmp_path))
    log = disk.open_log(CLUSTER)
    log.prepare([StoreBatch(1, (SaveHardState(HardState(Epoch(3, 0), 1)),))]).perform()
    disk.close()
    (tmp_path / "identity").write_bytes(before)
    disk = OpenDisk(configuration(tmp_path))
    with pytest.raises(StorageError, match="already"):
        disk.open_log(CLUSTER)
    disk.close()
    (tmp_path / "identity").unlink()
    with pytest.raises(DirectoryRefused, match="holds a log"):
        made_to_join(tmp_path)


def test_a_member_that_lost_its_log_is_not_given_an_empty_one(tmp_path: Path) -> None:
    made_to_join(tmp_path)
    disk = OpenDisk(configuration(tmp_path))
    disk.open_log(CLUSTER)
    disk.close()
    for file in (tmp_path / "log").iterdir():
        file.unlink()
    disk = OpenDisk(configuration(tmp_path))
    with pytest.raises(NoLog):
        disk.open_log(CLUSTER)
    disk.close()
