"""Probes and metrics of real processes: well, without a quorum, and well again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.runtime.cluster import FAST, Process, leader_of, processes, put, until

import coterie
from coterie.runtime.addresses import split_address
from coterie.runtime.write_times import BOUNDS, SECOND, WriteTimes

HASTY = (*FAST, "--request-timeout-ms", "1500")


def get(node: Process, path: str, method: str = "GET") -> tuple[int, str]:
    visitor = HTTPConnection(*split_address(node.client), timeout=20)
    try:
        visitor.request(method, path)
        answer = visitor.getresponse()
        return answer.status, answer.read().decode()
    finally:
        visitor.close()


def metrics(node: Process) -> dict[str, float]:
    status, text = get(node, "/metrics")
    assert status == 200
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Process]]:
    with processes(Path(tmp_path_factory.mktemp("pages")), 3, flags=HASTY) as nodes:
        for node in nodes:
            node.start()
        until(lambda: leader_of(nodes) is not None and all(node.status() is not None for node in nodes))
        yield nodes


def test_every_member_of_a_cluster_that_works_is_well(trio: list[Process]) -> None:
    for node in trio:
        assert get(node, "/health") == (200, '{"health":"true","reason":""}\n')
        assert get(node, "/livez") == (200, "ok\n")
        assert get(node, "/readyz?verbose") == (
            200,
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n",
        )
        assert get(node, "/health", "HEAD") == (200, "")


def test_a_member_says_what_it_is_and_which_pages_there_are(trio: list[Process]) -> None:
    status, text = get(trio[0], "/version")
    assert (status, json.loads(text)["coterie"]) == (200, coterie.__version__)
    assert "/metrics" in get(trio[0], "/")[1]
    status, text = get(trio[0], "/nothing")
    assert (status, "/readyz" in text) == (404, True)
    status, text = get(trio[0], "/metrics", "POST")
    assert (status, "GET" in text) == (405, True)


def test_metrics_are_what_status_says_under_the_names_that_etcd_has(trio: list[Process]) -> None:
    leader = leader_of(trio)
    assert leader is not None
    put(leader, b"a", b"b")
    before = metrics(leader)
    put(leader, b"a", b"c")
    after = metrics(leader)
    assert after["etcd_debugging_mvcc_current_revision"] == before["etcd_debugging_mvcc_current_revision"] + 1
    assert after["etcd_server_proposals_committed_total"] > before["etcd_server_proposals_committed_total"]
    assert (
        after["etcd_disk_wal_fsync_duration_seconds_count"] > before["etcd_disk_wal_fsync_duration_seconds_count"] > 0
    )
    assert after["etcd_disk_wal_fsync_duration_seconds_sum"] > 0
    assert after["coterie_client_connections"] >= 1
    assert after["process_resident_memory_bytes"] > 1_000_000
    for node in trio:
        seen = metrics(node)
        assert seen["etcd_server_has_leader"] == 1
        assert seen["etcd_server_is_leader"] == (node is leader)
        assert seen["etcd_server_leader_changes_seen_total"] >= 1
    _, text = get(leader, "/metrics")
    for node in trio:
        if node is not leader:
            assert f'coterie_peer_connected{{peer="{node.name}"' in text
            assert f'coterie_peer_behind_entries{{peer="{node.name}"' in text


def test_the_documentation_names_every_metric_and_no_other(trio: list[Process]) -> None:
    leader = leader_of(trio)
    assert leader is not None
    _, text = get(leader, "/metrics")
    served = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    page = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:etcd|coterie)_\w+)`", page))
    assert named == {name for name in served if not name.startswith("process_")}


def test_without_a_quorum_it_lives_and_is_not_ready_and_says_why(tmp_path: Path) -> None:
    with processes(tmp_path, 3, flags=HASTY) as nodes:
        for node in nodes:
            node.start()
        until(lambda: leader_of(nodes) is not None and all(node.status() is not None for node in nodes))
        for node in nodes[1:]:
            node.kill()
        until(lambda: get(nodes[0], "/health")[0] == 503)
        until(lambda: metrics(nodes[0])["etcd_server_has_leader"] == 0)
        status, text = get(nodes[0], "/health")
        assert (status, json.loads(text)) == (503, {"health": "false", "reason": "RAFT NO LEADER"})
        assert get(nodes[0], "/health?serializable=true")[0] == 200
        assert get(nodes[0], "/livez") == (200, "ok\n")
        status, text = get(nodes[0], "/readyz")
        assert status == 503
        assert "[-]linearizable_read failed: RAFT NO LEADER" in text
        assert get(nodes[0], "/readyz?exclude=linearizable_read")[0] == 200
        nodes[1].start()
        until(lambda: get(nodes[0], "/readyz")[0] == 200)


def test_writes_are_counted_in_the_class_whose_bound_they_do_not_exceed() -> None:
    times = WriteTimes()
    for duration in (0, BOUNDS[0], BOUNDS[0] + 1, BOUNDS[-1], BOUNDS[-1] + 1):
        times.took(duration)
    assert times.counts[0] == 2
    assert times.counts[1] == 1
    assert times.counts[-2:] == [1, 1]
    assert sum(times.counts) == 5
    assert times.total == 2 * BOUNDS[0] + 2 * BOUNDS[-1] + 2
    assert BOUNDS[-1] < 10 * SECOND
