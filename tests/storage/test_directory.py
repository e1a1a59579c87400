"""A data directory: one member's, one process's, for one protocol, and it forgets nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coterie.core.types import Member
from coterie.storage.directory import DataDirectory, DirectoryRefused, Refusal
from coterie.storage.disk import DiskFile, DiskFiles
from coterie.storage.files import File, Lock
from coterie.storage.identity import MAX_STARTS, decode_identity

SOURCE = Path(__file__).parents[2] / "src"


def open_directory(path: Path, name: str = "n1", protocol: str = "raft") -> DataDirectory:
    return DataDirectory.open(DiskFiles(), str(path), name, protocol)


def others(own: DataDirectory) -> tuple[Member, ...]:
    return (
        Member(own.member_id, own.name, "h:1", "h:2"),
        Member(own.member_id ^ 1, "n2", "h:3", "h:4"),
        Member(own.member_id ^ 2, "n3", "h:5", "h:6"),
    )


@contextmanager
def refused(reason: Refusal, words: str) -> Iterator[None]:
    with pytest.raises(DirectoryRefused, match=words) as caught:
        yield
    assert caught.value.reason is reason
    assert caught.value.advice


def test_a_member_keeps_its_id_and_every_start_counts(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "data"
    first = open_directory(path)
    member = first.member_id
    assert 0 < member < 2**64
    assert (first.boot, first.name, first.protocol, first.first_members, first.cluster) == (1, "n1", "raft", None, None)
    assert first.log_directory == f"{path}/log"
    assert not Path(first.log_directory).exists()
    first.close()
    first.close()
    for boot in (2, 3):
        again = open_directory(path)
        assert (again.member_id, again.boot) == (member, boot)
        again.close()


def test_an_id_is_never_zero_and_never_more_than_64_bits(tmp_path: Path) -> None:
    draws = iter([0, 0, 2**64 - 1, 0, 5])
    directory = DataDirectory.open(DiskFiles(), str(tmp_path / "a"), "n1", "raft", mint=lambda: next(draws))
    assert directory.member_id == 2**64 - 1
    assert directory.starts == (5,)
    directory.close()
    assert open_directory(tmp_path / "a").member_id == 2**64 - 1
    with pytest.raises(ValueError, match="64 bits"):
        DataDirectory.open(DiskFiles(), str(tmp_path / "b"), "n1", "raft", mint=lambda: 2**64)


def test_two_directories_are_two_members(tmp_path: Path) -> None:
    assert open_directory(tmp_path / "a").member_id != open_directory(tmp_path / "b").member_id


# One process


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    program = (
        "import sys; from coterie.storage.directory import DataDirectory; from coterie.storage.disk import DiskFiles\n"
        "held = DataDirectory.open(DiskFiles(), sys.argv[1], 'n1', 'raft'); print(held.boot, flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        with refused(Refusal.IN_USE, f"in use by process {holder.pid}$"):
            open_directory(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    directory = open_directory(tmp_path)
    assert directory.boot == 2, "the refused start must not have counted"
    directory.close()


def test_a_refused_start_leaves_no_lock(tmp_path: Path) -> None:
    open_directory(tmp_path).close()
    with refused(Refusal.OTHER_MEMBER, "belongs to member 'n1', not to 'n2'"):
        open_directory(tmp_path, name="n2")
    with refused(Refusal.OTHER_PROTOCOL, "protocol 'raft', not 'multipaxos'"):
        open_directory(tmp_path, protocol="multipaxos")
    directory = open_directory(tmp_path)
    assert directory.boot == 2, "a refused start must not count"
    directory.close()


# Damage


def sealed(text: bytes) -> bytes:
    return text + b"crc32 %08x\n" % zlib.crc32(text)


def test_an_unknown_format_is_told_from_damage(tmp_path: Path) -> None:
    (tmp_path / "identity").write_bytes(sealed(b"coterie data directory, format 2\nwhatever it may be\n"))
    with refused(Refusal.UNKNOWN_FORMAT, "has format 2; this version of Coterie knows format 1"):
        open_directory(tmp_path)


def test_every_flipped_bit_and_every_cut_of_the_identity_is_found(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    directory.fix_first_members(others(directory))
    directory.close()
    whole = (tmp_path / "identity").read_bytes()
    damages = [bytes([*whole[:i], whole[i] ^ (1 << i % 8), *whole[i + 1 :]]) for i in range(len(whole))]
    damages += [whole[:i] for i in range(len(whole))]
    damages += [whole + b"\n", whole + whole, bytes(len(whole))]
    for damage in damages:
        with refused(Refusal.DAMAGED, "damaged"):
            decode_identity(str(tmp_path), damage)
    (tmp_path / "identity").write_bytes(damages[-1])
    with refused(Refusal.DAMAGED, "damaged"):
        open_directory(tmp_path)
    assert (tmp_path / "identity").read_bytes() == damages[-1], "evidence must stay"
    (tmp_path / "identity").write_bytes(whole)
    assert open_directory(tmp_path).first_members == directory.first_members


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"name":"n1","protocol":"raft","member_id":0,"boot":1}',
        b'{"name":"n1","protocol":"raft","member_id":18446744073709551616,"boot":1}',
        b'{"name":"n1","protocol":"raft","member_id":5,"boot":0}',
        b'{"name":"n1","protocol":"raft","member_id":5,"boot":1,"more":1}',
        b'{"name":"n1","protocol":"raft","member_id":5}',
        b'{"name":"n1","protocol":"raft","member_id":5,"boot":1,"claim":18446744073709551616}',
        b'{"name":"n1","protocol":"raft","member_id":5,"boot":1,"cluster":3,"joining":true}',
        b'{"name":"n1","protocol":"raft","member_id":5,"boot":1,"claim":3,"joining":true}',
        b'{"name":"n1","protocol":"raft","member_id":5,"boot":1,"starts":[1,2]}',
        b'{"name":"n1","protocol":"raft","member_id":5,"boot":1,"starts":[0]}',
    ],
)
def test_an_identity_that_makes_no_sense_is_damage(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "identity").write_bytes(sealed(b"coterie data directory, format 1\n" + body + b"\n"))
    with refused(Refusal.DAMAGED, "damaged"):
        open_directory(tmp_path)


def test_an_identity_beyond_its_limit_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "identity").open("wb") as file:
        file.truncate(1 << 40)  # sparse: reading it whole would exhaust memory
    with refused(Refusal.DAMAGED, "begin and end"):
        open_directory(tmp_path)


def test_a_log_without_an_identity_gets_no_new_one(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with refused(Refusal.DAMAGED, "holds a log and no file identity"):
        open_directory(tmp_path)
    assert not (tmp_path / "identity").exists()


# What is fixed


def test_the_first_members_are_fixed_once_and_for_all(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    members = others(directory)
    directory.fix_first_members(members)
    assert directory.first_members == members
    directory.fix_first_members(members[::-1])
    moved = (*members[:2], Member(members[2].id, "n3", "elsewhere:5", "h:6"))
    for _ in range(2):
        for other in (members[:2], moved, ()):
            with refused(Refusal.FIXED, "first members are fixed"):
                directory.fix_first_members(other)
        directory.close()
        directory = open_directory(tmp_path)
        assert directory.first_members == members
    directory.close()


def test_first_members_without_this_member_are_refused(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    members = others(directory)
    renamed = (Member(directory.member_id, "n9", "h:1", "h:2"), *members[1:])
    for wrong in (members[1:], renamed, ()):
        with refused(Refusal.FIXED, "is not among"):
            directory.fix_first_members(wrong)
    assert directory.first_members is None
    directory.fix_first_members(members)
    directory.close()


def test_more_first_members_than_there_is_room_for_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    members = (*others(directory), *(Member(i, f"x{i}" * 20, "h", "h") for i in range(1, 5000)))
    with refused(Refusal.FIXED, "limit"):
        directory.fix_first_members(members)
    assert directory.first_members is None
    directory.mark_started(1)
    directory.close()


def test_a_member_starts_in_one_cluster(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    members = others(directory)
    directory.fix_first_members(members)
    directory.mark_started(2**64 - 1)
    for _ in range(2):
        directory.mark_started(2**64 - 1)
        assert directory.cluster == 2**64 - 1
        with refused(Refusal.FIXED, "belongs to cluster ffffffffffffffff"):
            directory.mark_started(7)
        directory.close()
        directory = open_directory(tmp_path)
    assert directory.first_members == members
    for wrong in (0, -1, 2**64):
        with pytest.raises(ValueError, match="64 bits"):
            directory.mark_started(wrong)
    directory.close()


def test_a_member_that_started_takes_no_first_members(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    directory.mark_started(7)
    with refused(Refusal.FIXED, "started in a cluster already"):
        directory.fix_first_members(others(directory))
    directory.close()


def test_a_closed_directory_writes_no_more(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    directory.close()
    before = (tmp_path / "identity").read_bytes()
    with refused(Refusal.CLOSED, "closed"):
        directory.mark_started(7)
    assert (tmp_path / "identity").read_bytes() == before


# Joining a cluster that runs


def join_directory(
    path: Path, files: DiskFiles | None = None, *, name: str = "n1", member: int = 77, cluster: int = 5, claim: int = 99
) -> DataDirectory:
    return DataDirectory.join(
        files or DiskFiles(), str(path), name, "raft", member=member, cluster=cluster, claim=claim
    )


def test_a_directory_that_joins_keeps_the_id_it_was_given_and_its_claim(tmp_path: Path) -> None:
    for boot in (1, 2):
        directory = join_directory(tmp_path)
        assert (directory.member_id, directory.cluster, directory.claim, directory.boot) == (77, 5, 99, boot)
        assert directory.joining
        directory.close()
    directory = open_directory(tmp_path)
    assert (directory.member_id, directory.cluster, directory.claim, directory.boot) == (77, 5, 99, 3)
    assert directory.joining, "what was begun is told to a start that only opens it, too"
    directory.mark_started(5)
    directory.close()
    for again in (join_directory, open_directory):
        directory = again(tmp_path)
        assert (directory.member_id, directory.cluster, directory.claim, directory.joining) == (77, 5, 99, False)
        directory.close()


def test_a_directory_that_joins_takes_part_in_nothing_else(tmp_path: Path) -> None:
    directory = join_directory(tmp_path)
    with refused(Refusal.FIXED, "takes no first members"):
        directory.fix_first_members(others(directory))
    with refused(Refusal.FIXED, "belongs to cluster 0000000000000005"):
        directory.mark_started(6)
    directory.close()
    for wrong, words in (
        ({"claim": 98}, "another claim"),
        ({"member": 78}, "not 000000000000004e: it was removed and added again"),
        ({"cluster": 6}, "was made for a member of cluster 0000000000000005"),
        ({"name": "n2"}, "belongs to member 'n1'"),
    ):
        with refused(Refusal.OTHER_MEMBER, words):
            join_directory(tmp_path, **wrong)
    assert open_directory(tmp_path).boot == 2, "a refused start must not count"
    open_directory(tmp_path / "own").close()
    with refused(Refusal.OTHER_MEMBER, "begin a cluster of its own"):
        join_directory(tmp_path / "own")
    for number in ("member", "cluster", "claim"):
        for bits in (0, -1, 2**64):
            with pytest.raises(ValueError, match="64 bits"):
                join_directory(tmp_path / "new", **{number: bits})  # type: ignore[arg-type]  # as above
    assert not (tmp_path / "new").exists()


def test_a_death_at_any_change_of_joining_leaves_a_directory_that_joins_with_the_same_claim(tmp_path: Path) -> None:
    lives = FailingFiles()
    join_directory(tmp_path / "whole", lives).close()
    assert len(lives.changes) >= 8
    for at in range(1, len(lives.changes) + 1):
        path = tmp_path / str(at) / "data"
        path.parent.mkdir()
        with pytest.raises(Died):
            join_directory(path, FailingFiles(at))
        directory = join_directory(path)
        assert (directory.member_id, directory.cluster, directory.claim, directory.joining) == (77, 5, 99, True)
        directory.close()


def test_a_directory_of_an_older_version_is_read(tmp_path: Path) -> None:
    body = b'{"name":"n1","protocol":"raft","member_id":5,"boot":4,"first_members":[[5,"n1","h:1","h:2"]],"cluster":9}'
    (tmp_path / "identity").write_bytes(sealed(b"coterie data directory, format 1\n" + body + b"\n"))
    directory = open_directory(tmp_path)
    assert (directory.member_id, directory.boot, directory.cluster, directory.claim) == (5, 5, 9, 0)
    assert directory.first_members == (Member(5, "n1", "h:1", "h:2"),)
    assert not directory.joining
    assert len(directory.starts) == 1
    directory.close()


def test_every_start_leaves_bits_of_its_own_and_so_many_are_kept(tmp_path: Path) -> None:
    seen: list[int] = []
    for boot in range(1, MAX_STARTS + 4):
        directory = open_directory(tmp_path)
        seen.append(directory.starts[-1])
        assert directory.starts == tuple(seen[-MAX_STARTS:])
        assert directory.boot == boot
        directory.close()
    assert len(set(seen)) == len(seen)


# Disks that fail, processes that die


class Died(BaseException):
    """The process ends here."""


class FailingFiles(DiskFiles):
    """The real disk, on which the n-th change fails; it keeps the order in which changes were made."""

    def __init__(self, at: int = 0, failure: Callable[[], BaseException] = Died) -> None:
        self.left = at
        self.failure = failure
        self.changes: list[str] = []

    def change(self, what: str) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.failure()
        self.changes.append(what)

    def open(self, path: str, *, create: bool = False) -> File:
        if create:
            self.change(f"create {os.path.basename(path)}")
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0)
        return FailingFile(os.open(path, flags), self)

    def make_directory(self, path: str) -> None:
        self.change("make directory")
        super().make_directory(path)

    def rename(self, old: str, new: str) -> None:
        self.change(f"rename {os.path.basename(old)} to {os.path.basename(new)}")
        super().rename(old, new)

    def remove(self, path: str) -> None:
        self.change(f"remove {os.path.basename(path)}")
        super().remove(path)

    def sync_directory(self, path: str) -> None:
        self.change(f"sync {os.path.basename(path)}/")
        super().sync_directory(path)

    def lock(self, path: str) -> Lock:
        self.change("lock")
        return super().lock(path)


class FailingFile(DiskFile):
    def __init__(self, fd: int, files: FailingFiles) -> None:
        super().__init__(fd)
        self.files = files

    def write_at(self, offset: int, data: bytes) -> None:
        self.files.change("write")
        super().write_at(offset, data)

    def sync(self) -> None:
        self.files.change("sync")
        super().sync()


def live(files: DiskFiles, path: Path, told: list[int]) -> None:
    """One life of a member up to its start; `told` gets the boot once others may hear of it."""
    directory = DataDirectory.open(files, str(path), "n1", "raft", mint=lambda: 77)
    try:
        told.append(directory.boot)
        directory.fix_first_members(others(directory))
        directory.mark_started(5)
    finally:
        directory.close()


def test_what_is_durable_is_written_in_the_right_order(tmp_path: Path) -> None:
    files = FailingFiles()
    DataDirectory.open(files, str(tmp_path / "a" / "d"), "n1", "raft").close()
    parents = [f"sync {part}/" for part in ("a", tmp_path.name)]
    replaced = ["create identity.new", "write", "sync", "rename identity.new to identity", "sync d/"]
    assert files.changes[:4] == ["make directory", "lock", *parents]
    assert files.changes[-5:] == replaced
    again = FailingFiles()
    DataDirectory.open(again, str(tmp_path / "a" / "d"), "n1", "raft").close()
    assert again.changes == ["make directory", "lock", *replaced]


def test_a_death_at_any_change_leaves_a_directory_that_starts_and_no_boot_comes_twice(tmp_path: Path) -> None:
    lives = FailingFiles()
    live(lives, tmp_path / "whole", [])
    assert len(lives.changes) > 15
    for at in range(1, len(lives.changes) + 1):
        path = tmp_path / str(at) / "data"
        path.parent.mkdir()
        told: list[int] = []
        for files in (FailingFiles(at), FailingFiles(at), FailingFiles(at)):
            with pytest.raises(Died) if files.left <= 2 else _either():
                live(files, path, told)
        live(DiskFiles(), path, told)
        assert told == sorted(set(told)), f"a boot came twice, dying at change {at}: {told}"
        directory = open_directory(path)
        assert directory.boot > told[-1]
        assert (directory.member_id, directory.cluster) == (77, 5)
        assert directory.first_members == others(directory)
        assert sorted(os.listdir(path)) == ["LOCK", "identity"]
        directory.close()


@contextmanager
def _either() -> Iterator[None]:
    """A later life has less to do, and may end before its death."""
    try:
        yield
    except Died:
        pass


@pytest.mark.parametrize(
    ("number", "reason", "words"),
    [
        (errno.ENOSPC, Refusal.NO_SPACE, "no space left"),
        (errno.EROFS, Refusal.READ_ONLY, "cannot be written"),
        (errno.EIO, Refusal.DISK_ERROR, "Input/output error"),
    ],
)
def test_a_disk_that_refuses_at_any_change_is_a_refusal_that_says_so(
    tmp_path: Path, number: int, reason: Refusal, words: str
) -> None:
    open_directory(tmp_path).close()
    for at in range(1, 8):
        with refused(reason, words):
            DataDirectory.open(
                FailingFiles(at, lambda: OSError(number, os.strerror(number))), str(tmp_path), "n1", "raft"
            )
    directory = open_directory(tmp_path)
    assert directory.boot >= 2
    directory.close()


def test_after_a_failed_write_the_directory_writes_no_more(tmp_path: Path) -> None:
    files = FailingFiles()
    directory = DataDirectory.open(files, str(tmp_path), "n1", "raft")
    files.left, files.failure = 3, lambda: OSError(errno.EIO, "the sync failed")
    with refused(Refusal.DISK_ERROR, "the sync failed"):
        directory.mark_started(5)
    assert directory.cluster is None
    with refused(Refusal.CLOSED, "failed before"):
        directory.mark_started(5)
    directory.close()
    again = open_directory(tmp_path)
    again.mark_started(5)
    again.close()


def test_a_file_where_the_directory_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"mine")
    with refused(Refusal.NOT_A_DIRECTORY, "not a directory"):
        open_directory(tmp_path / "data")
    with refused(Refusal.NOT_A_DIRECTORY, "not a directory"):
        open_directory(tmp_path / "data" / "below")
    assert (tmp_path / "data").read_bytes() == b"mine"


def test_a_directory_that_may_not_be_written_is_refused() -> None:
    with tempfile.TemporaryDirectory() as place, _nobody_special(place):
        path = Path(place) / "data"
        path.mkdir()
        path.chmod(0o555)
        with refused(Refusal.READ_ONLY, "cannot be written .Permission denied at .*data/LOCK"):
            open_directory(path)
        assert os.listdir(path) == []
        path.chmod(0o755)


@contextmanager
def _nobody_special(place: str) -> Iterator[None]:
    """Without root's right to write everywhere; `place` is given to whom we are instead."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(place, 65534, -1)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
