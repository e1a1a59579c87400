"""Disks that decay: what each way does to a log is noticed, and the same seed does the same."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from tests.storage.logs import DIRECTORY, FIRST, OWNER, base, entry

from coterie.core.records import Put, Reset, StoreBatch
from coterie.sim.decay import flip, lose_name, misdirect
from coterie.sim.disk import SimulatedFiles
from coterie.storage.errors import LogDamaged
from coterie.storage.frame import Pledge
from coterie.storage.log_store import LogStore
from coterie.storage.salvage import salvage

SEGMENT_BYTES = 3000
SEEDS = 60

Decay = Callable[[SimulatedFiles, str, Random], None]


def sound() -> tuple[SimulatedFiles, Pledge]:
    files = SimulatedFiles()
    store = LogStore.create(files, DIRECTORY, OWNER, (FIRST,), segment_bytes=SEGMENT_BYTES)
    store.prepare([StoreBatch(1, (Reset(base(1, voters=3)),))]).perform()
    for index in range(2, 16):
        store.prepare([StoreBatch(index, (Put((entry(index, b"v" * 500),)),))]).perform()
    store.close()
    files.sync_all()
    return files, store.pledge


def images(files: SimulatedFiles) -> dict[str, bytes]:
    return {path: files.image(path) for path in files.paths()}


@pytest.mark.parametrize("decay", [flip, misdirect, lose_name])
def test_a_seed_damages_in_one_way(decay: Decay) -> None:
    for seed in range(10):
        one, other = sound()[0], sound()[0]
        decay(one, DIRECTORY, Random(seed))
        decay(other, DIRECTORY, Random(seed))
        assert images(one) == images(other)


@pytest.mark.parametrize("decay", [misdirect, lose_name])
def test_what_it_does_is_noticed_and_what_binds_the_member_is_known(decay: Decay) -> None:
    found = 0
    for seed in range(SEEDS):
        files, pledge = sound()
        before = images(files)
        decay(files, DIRECTORY, Random(seed))
        if images(files) == before:
            continue  # The wrong place holds the same.
        with pytest.raises(LogDamaged) as damage:
            LogStore.open(files, DIRECTORY, OWNER, segment_bytes=SEGMENT_BYTES)
        assert salvage(files, DIRECTORY, OWNER.member, damage.value) == pledge
        found += 1
    assert found > SEEDS * 2 // 3


@pytest.mark.parametrize("decay", [flip, misdirect, lose_name])
def test_a_disk_decays_whatever_is_about_to_fail_on_it(decay: Decay) -> None:
    one, other = sound()[0], sound()[0]
    other.errors.failing_syncs = other.errors.failing_reads = 1
    decay(one, DIRECTORY, Random(1))
    decay(other, DIRECTORY, Random(1))
    assert images(one) == images(other)
    assert (other.errors.failing_syncs, other.errors.failing_reads) == (1, 1)


def test_an_empty_directory_cannot_decay() -> None:
    for decay in (flip, misdirect, lose_name):
        files = SimulatedFiles()
        decay(files, DIRECTORY, Random(1))
        assert files.paths() == ()


def test_an_overwritten_place_is_read_again_as_it_is_on_the_medium() -> None:
    files = SimulatedFiles()
    file = files.open("file", create=True)
    file.write_at(0, b"a" * 2000)
    file.sync()
    files.sync_directory("/")
    files.overwrite("file", 500, b"bcd" * 10)
    assert file.read_at(498, 34) == b"aa" + b"bcd" * 10 + b"aa"
    assert files.image("file") == file.read_at(0, 2000)
    with pytest.raises(ValueError, match="durable bytes"):
        files.overwrite("file", 1990, b"x" * 20)
