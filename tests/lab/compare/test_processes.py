"""Real processes: a cluster is started, loaded, measured, and nothing of it is left."""

from __future__ import annotations

import pytest

from coterie.lab.compare.processes import measured


@pytest.mark.thorough
def test_puts_and_reads_at_a_follower_are_measured_on_real_processes() -> None:
    samples = measured("multipaxos", 3, 0.3, (("put", 8, False), ("get", 8, True)))
    assert [sample.work for sample in samples] == ["put", "get at a follower"]
    for sample in samples:
        assert sample.rate > 0
        assert sample.errors == 0
        assert sample.cpu_us is not None
        assert sample.cpu_us > 0
