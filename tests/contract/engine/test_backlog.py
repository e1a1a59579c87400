"""A member that has much to apply takes part in consensus meanwhile: it applies in pieces, and inputs come between."""

from __future__ import annotations

from tests.contract.engine.cluster import Cluster
from tests.contract.engine.test_requests import put

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.types import MemberId, Nanos
from coterie.engine.engine import EngineConfig

PIECE = ReplicaConfig().max_committed_entries


class Watched(Cluster):
    """Notes how much members apply in one flush."""

    most = 0
    """Entries, in any flush so far."""
    cost: Nanos = 0
    """How long it takes to apply one. (There is one clock: members take turns, as on a machine with one core.)"""

    def flush(self, member: MemberId) -> None:
        before = self.nodes[member].engine.host.applied
        super().flush(member)
        applied = self.nodes[member].engine.host.applied - before
        self.most = max(self.most, applied)
        self.now += applied * self.cost


def started_again(entries: int) -> Watched:
    """A cluster with so many commands in its log, each in an entry of its own, which nobody has applied yet."""
    cluster = Watched(config=EngineConfig(replica=ReplicaConfig(max_cached_bytes=1000)))
    leader, _ = cluster.elect()
    for number in range(1, entries + 1):
        cluster.request(leader, "client", put(number))
        cluster.settle()
    for member in [*cluster.nodes]:
        cluster.crash(member)
        cluster.restart(member)
    assert all(node.engine.host.applied <= 1 for node in cluster.nodes.values()), "but for the first membership"
    return cluster


def behind(cluster: Cluster) -> MemberId | None:
    """A member that does not lead and has more to apply, if there is one."""
    members = (i for i, node in cluster.nodes.items() if node.engine.behind and not node.engine.leads)
    return next(members, None)


def test_a_long_log_is_applied_in_pieces_and_all_of_it() -> None:
    cluster = started_again(3 * PIECE)
    cluster.elect()
    cluster.run(1000, until=lambda: all(len(node.ledger.lines) == 3 * PIECE for node in cluster.nodes.values()))
    assert 0 < cluster.most <= PIECE
    assert not any(node.engine.behind for node in cluster.nodes.values())


def test_a_member_that_is_applying_acknowledges_what_its_leader_sends() -> None:
    cluster = started_again(4 * PIECE)
    cluster.run(10_000, until=lambda: behind(cluster) is not None)
    member = behind(cluster)
    assert member is not None
    node = cluster.nodes[member]
    leader = node.engine.replica.leader
    cluster.now += cluster.config.replica.heartbeat_interval
    cluster.flush(leader)
    before = node.engine.host.applied
    assert cluster.step()
    assert any((sender, to) == (member, leader) for sender, to, _ in cluster.packets), "it has answered"
    assert node.engine.behind, "and has not applied all: the answer did not wait for that"
    assert node.engine.host.applied > before, "nor did applying stand still"


def test_a_leader_is_not_deposed_because_all_have_much_to_apply() -> None:
    cluster = started_again(4 * PIECE)
    cluster.cost = MILLISECOND // 2
    engines = [node.engine for node in cluster.nodes.values()]
    before = max(engine.replica.epoch.round for engine in engines)
    assert len(engines) * 4 * PIECE * cluster.cost > cluster.config.replica.election_timeout
    cluster.run(60_000, until=lambda: all(len(node.ledger.lines) == 4 * PIECE for node in cluster.nodes.values()))
    cluster.run(1000)
    assert {engine.replica.epoch.round for engine in engines} == {before + 1}, "one election, and no other"
