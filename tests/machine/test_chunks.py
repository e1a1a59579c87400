"""Snapshots come back whole however their chunks are cut, and never when something is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.machine.chunks import MAX_CHUNK_BYTES, MAX_RECORD_BYTES, Sections, pack, unpack


@given(st.lists(st.binary(max_size=20)), st.integers(1, 30))
def test_records_come_back_however_the_stream_is_cut(records: list[bytes], step: int) -> None:
    stream = b"".join(pack(records))
    assert list(unpack(stream[i : i + step] for i in range(0, len(stream), step))) == records


def test_chunks_keep_to_their_limit() -> None:
    records = [bytes(MAX_CHUNK_BYTES * 2 + 5), b"x", bytes(MAX_CHUNK_BYTES - 4)]
    chunks = list(pack(records))
    assert max(map(len, chunks)) == MAX_CHUNK_BYTES
    assert list(unpack(chunks)) == records


@given(st.lists(st.binary(max_size=5), min_size=1), st.data())
def test_a_stream_cut_inside_a_record_is_refused(records: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pack(records))
    boundaries = {0}
    for record in records:
        boundaries.add(max(boundaries) + 4 + len(record))
    cut = data.draw(st.integers(0, len(stream) - 1))
    if cut in boundaries:
        assert len(list(unpack([stream[:cut]]))) < len(records)
    else:
        with pytest.raises(ValueError, match="middle of a record"):
            list(unpack([stream[:cut]]))


def test_a_record_that_claims_too_much_is_refused_before_it_comes() -> None:
    with pytest.raises(ValueError, match="limit"):
        list(unpack([(MAX_RECORD_BYTES + 1).to_bytes(4, "big")]))
    with pytest.raises(ValueError, match="limit"):
        list(pack([bytes(MAX_RECORD_BYTES + 1)]))


def test_sections_are_read_run_by_run() -> None:
    sections = Sections(iter([b"A1", b"A2", b"B", b"E"]))
    assert list(sections.take(b"A")) == [b"1", b"2"]
    assert list(sections.take(b"A")) == []
    assert list(sections.take(b"B")) == [b""]
    sections.finish(b"E")
    with pytest.raises(ValueError, match="end"):
        Sections(iter([b"E", b"E"])).finish(b"E")
