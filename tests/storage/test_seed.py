"""The state that a data directory begins with: whole, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.sim.disk import SimulatedFiles
from coterie.storage.directory import DataDirectory, DirectoryRefused, Refusal
from coterie.storage.seed import INDEX_BYTES, NEW_SEED_NAME, find_seed, remove_seed, write_seed

WHERE = "data"
HEAD = (7).to_bytes(INDEX_BYTES, "big")


def disk() -> SimulatedFiles:
    files = SimulatedFiles()
    files.make_directory(WHERE)
    files.sync_directory(".")
    return files


@given(st.lists(st.binary(max_size=400_000), max_size=3))
def test_a_seed_reads_as_it_was_written_and_its_digest_is_that_of_its_content(pieces: list[bytes]) -> None:
    files = disk()
    digest = write_seed(files, WHERE, [HEAD, *pieces])
    survived = files.durable_files()
    seed = find_seed(survived, WHERE)
    assert seed is not None
    assert b"".join(seed.content()) == HEAD + b"".join(pieces)
    assert seed.digest() == digest == sha256(HEAD + b"".join(pieces)).digest()
    index, state = seed.parted()
    assert (index, b"".join(state)) == (7, b"".join(pieces))


def test_a_seed_that_a_crash_left_half_done_is_refused_and_the_next_one_takes_its_place() -> None:
    files = disk()
    left: list[SimulatedFiles] = []

    def pieces() -> Iterator[bytes]:
        for piece in (HEAD, b"x" * 5_000_000, b"y" * 5_000_000):
            yield piece
            left.append(files.durable_files())

    write_seed(files, WHERE, pieces())
    for survived in left:
        with pytest.raises(DirectoryRefused, match="was not finished") as refused:
            DataDirectory.open(survived, WHERE, "n1", "raft")
        assert refused.value.reason is Refusal.UNFINISHED
        assert "run the same `coterie restore` again" in refused.value.advice
        write_seed(survived, WHERE, [HEAD, b"again"])
        seed = find_seed(survived, WHERE)
        assert seed is not None
        assert b"".join(seed.content()) == HEAD + b"again"
        assert not survived.exists(f"{WHERE}/{NEW_SEED_NAME}")


def test_pieces_that_fail_leave_nothing() -> None:
    def pieces() -> Iterator[bytes]:
        yield HEAD
        raise ValueError("no more")

    files = disk()
    with pytest.raises(ValueError, match="no more"):
        write_seed(files, WHERE, pieces())
    assert files.list(WHERE) == []
    assert find_seed(files, WHERE) is None


def test_no_bit_of_a_seed_can_be_another_one() -> None:
    files = disk()
    write_seed(files, WHERE, [HEAD, b"state"])
    size = len(files.image(f"{WHERE}/restored"))
    for bit in range(size * 8):
        files.flip_bit(f"{WHERE}/restored", bit)
        with pytest.raises(DirectoryRefused, match="is damaged") as refused:
            DataDirectory.open(files, WHERE, "n1", "raft")
        assert refused.value.reason is Refusal.DAMAGED
        files.flip_bit(f"{WHERE}/restored", bit)
    DataDirectory.open(files, WHERE, "n1", "raft").close()


def test_a_member_knows_what_it_began_with_after_the_seed_is_gone() -> None:
    files = disk()
    digest = write_seed(files, WHERE, [HEAD, b"state"])
    for _ in range(2):
        directory = DataDirectory.open(files, WHERE, "n1", "multipaxos")
        assert directory.restored == digest
        directory.close()
        remove_seed(files, WHERE)
    with pytest.raises(ValueError, match="holds 'identity' already"):
        write_seed(files, WHERE, [HEAD])


def test_a_directory_with_a_restored_state_joins_no_cluster_that_runs() -> None:
    files = disk()
    write_seed(files, WHERE, [HEAD, b"state"])
    with pytest.raises(DirectoryRefused, match="cannot join one that runs"):
        DataDirectory.join(files, WHERE, "n1", "raft", member=1, cluster=2, claim=3)
    assert "identity" not in files.list(WHERE)


@pytest.mark.parametrize("head", [b"", b"\0" * 7, b"\0" * 8, b"\xff" * 8])
def test_an_index_that_no_log_has_is_refused(head: bytes) -> None:
    files = disk()
    write_seed(files, WHERE, [head])
    seed = find_seed(files, WHERE)
    assert seed is not None
    with pytest.raises(DirectoryRefused, match="which cannot be"):
        seed.parted()
