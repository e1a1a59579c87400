"""Real disks that are damaged while a member is down: the others repair it under load, or it says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.contract.processes.cluster import PATIENT, cluster, lines_with, status_of
from tests.contract.processes.load import Load, read_everywhere
from tests.contract.processes.members import coterie
from tests.runtime.cluster import Process, put, until

from coterie.storage.frame import HEADER_BYTES, SECTOR, FrameHeader, decode_header
from coterie.storage.segment import segment_number

pytestmark = pytest.mark.any_protocol

EXIT_NOT_STARTED = 3


def newest_segment(node: Process) -> Path:
    return max(path for path in (node.data / "log").iterdir() if segment_number(path.name) is not None)


def frames(segment: Path) -> list[FrameHeader]:
    number = segment_number(segment.name)
    assert number is not None
    data, found, offset = segment.read_bytes(), [], 0
    while isinstance(header := decode_header(data[offset : offset + SECTOR], number, offset), FrameHeader):
        found.append(header)
        offset += header.span
    return found


def flip(segment: Path, offset: int) -> None:
    with open(segment, "r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def is_whole(node: Process) -> bool:
    status = node.status()
    return status is not None and status.leader != 0 and status.repairing_until is None


def test_damage_inside_the_log_and_in_its_last_batch_is_repaired_under_load(tmp_path: Path) -> None:
    with cluster(tmp_path, flags=PATIENT) as members:
        members.ready()
        patient = members.followers()[0]
        with Load(members.endpoints, workers=2) as load:
            for batch in ("in the middle", "the last"):
                load.progress(20)
                members.kill(patient)
                segment = newest_segment(patient)
                written = frames(segment)
                hit = written[len(written) // 2 if batch == "in the middle" else -1]
                flip(segment, hit.offset + HEADER_BYTES + 3)
                told = len(lines_with(patient, "repaired"))
                patient.start()
                until(lambda: is_whole(patient), 30)
                assert lines_with(patient, "log-notice", f"{segment.name} is damaged at byte {hit.offset}")
                assert lines_with(patient, "repairing", f"up to entry {written[-1].pledge.last}")
                assert len(lines_with(patient, "repaired")) > told
                assert segment.with_suffix(".damaged").exists()
            load.progress(20)
            # Whole again, it is needed: another member goes.
            members.kill(next(node for node in members.nodes if node is not patient))
            load.progress(20)
        members.ready()
        read_everywhere(load.history, [node.client for node in members.nodes])
        assert load.history.problems() == []


def test_damage_that_may_have_hit_a_promise_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with cluster(tmp_path, flags=PATIENT) as members:
        members.ready()
        put(members.nodes[0], b"k", b"v")
        spent, *others = members.followers()
        members.kill(spent)
        segment = newest_segment(spent)
        before = segment.read_bytes()
        flip(segment, frames(segment)[-1].offset + HEADER_BYTES - 4)
        spent.start()
        assert spent.wait() == EXIT_NOT_STARTED
        said = spent.lines().splitlines()[-1]
        assert "the others cannot repair it" in said
        assert "coterie member remove" in said
        assert "coterie member add" in said
        after = segment.read_bytes()
        assert len(after) == len(before)
        assert sum(one != other for one, other in zip(before, after, strict=True)) == 1, "nothing was changed"
        assert all(status_of(node).leader for node in others)


def test_a_member_whose_state_is_lost_gets_it_from_the_others(tmp_path: Path) -> None:
    """Its store is gone, and its log begins after the first entry: alone it could not come back."""
    with cluster(tmp_path, flags=PATIENT) as members:
        members.ready()
        for name, value in (("snapshot-log-bytes", "20000"), ("snapshot-keep-entries", "0")):
            assert coterie(tmp_path, members.endpoints, "settings", "set", name, value).code == 0
        patient = members.followers()[0]
        with Load(members.endpoints, workers=2) as load:
            load.progress(10)
            while not lines_with(patient, "repaired"):
                for number in range(10):
                    put(members.leader(), b"large%d" % number, bytes(30_000))
                members.kill(patient)
                shutil.rmtree(patient.data / "store")
                patient.start()
                until(lambda: is_whole(patient), 30)
            load.progress(20)
        assert lines_with(patient, "log-notice", "no store and no snapshot here holds the state up to it")
        read_everywhere(load.history, [node.client for node in members.nodes])
        assert load.history.problems() == []
