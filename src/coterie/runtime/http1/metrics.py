"""What a node counts, in the text format of Prometheus.

Where etcd has a metric with the same meaning, its name is used, so that dashboards and alerts made for etcd work.
Everything is read when somebody asks: nothing is counted for it on the way of a request.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from coterie.runtime.observation import Observation
from coterie.runtime.write_times import BOUNDS, SECOND


class _Once(Collector):
    """One observation's metrics."""

    def __init__(self, seen: Observation) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        yield from _consensus(self._seen)
        yield from _members(self._seen)
        yield _writes(self._seen)


def _consensus(seen: Observation) -> Iterator[Metric]:
    status = seen.status
    yield _gauge("etcd_server_has_leader", "Whether a leader is known.", bool(status.leader))
    yield _gauge("etcd_server_is_leader", "Whether this member leads.", status.role == "leader")
    yield _gauge("etcd_server_is_learner", "Whether this member is a learner.", status.role == "learner")
    yield _counter("etcd_server_leader_changes_seen", "Leaders that this process has seen come.", seen.leaders_seen)
    yield _gauge("etcd_server_proposals_committed_total", "Index of the last committed entry.", status.commit)
    yield _gauge("etcd_server_proposals_applied_total", "Index of the last applied entry.", status.applied)
    yield _gauge("coterie_log_last_index", "Index of the last entry in the log.", status.last_index)
    yield _gauge("coterie_epoch_round", "Round of the present epoch: the term, or the ballot's.", status.epoch_round)
    if status.revision is not None:
        yield _gauge("etcd_debugging_mvcc_current_revision", "The machine's revision.", status.revision)
    repairing = status.repairing_until is not None
    yield _gauge("coterie_repairing", "Whether a damaged log is being repaired: it counts for nothing.", repairing)
    version = GaugeMetricFamily("etcd_server_version", "The program's version.", labels=["server_version"])
    version.add_metric([status.version], 1)
    yield version
    identity = GaugeMetricFamily("etcd_server_id", "The member's id.", labels=["server_id"])
    identity.add_metric([f"{status.member:x}"], 1)
    yield identity
    yield _gauge("coterie_client_connections", "Open connections on the clients' port.", seen.client_connections)


def _members(seen: Observation) -> Iterator[Metric]:
    connected = GaugeMetricFamily(
        "coterie_peer_connected", "Whether a stream to the member is open.", labels=["peer_id", "peer"]
    )
    for member in seen.status.members:
        if member.id != seen.status.member:
            connected.add_metric([f"{member.id:x}", member.name], member.id in seen.connected)
    yield connected
    behind = GaugeMetricFamily(
        "coterie_peer_behind_entries", "Entries that a leader knows a member to lack.", labels=["peer_id", "peer"]
    )
    names = {member.id: member.name for member in seen.status.members}
    for progress in seen.progress:
        lacks = max(0, seen.status.last_index - progress.match)
        behind.add_metric([f"{progress.id:x}", names.get(progress.id, "")], lacks)
    yield behind


def _writes(seen: Observation) -> Metric:
    family = HistogramMetricFamily("etcd_disk_wal_fsync_duration_seconds", "Writes to the log, sync included.")
    buckets: list[tuple[str, float]] = []
    passed = 0
    bounds = [repr(bound / SECOND) for bound in BOUNDS]
    for bound, count in zip([*bounds, "+Inf"], seen.writes.counts, strict=True):
        passed += count
        buckets.append((bound, passed))
    family.add_metric([], buckets=buckets, sum_value=seen.writes.total / SECOND)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def exposed(seen: Observation) -> tuple[bytes, str]:
    """The text, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(seen))
    ProcessCollector(registry=registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST
