"""What an engine says that is Raft's own: of messages no right member sends, and of quorums that Raft alone refuses."""

from __future__ import annotations

import pytest
from tests.contract.engine.cluster import Cluster
from tests.contract.engine.test_administration import Office

from coterie.core.errors import SafetyViolation
from coterie.core.messages import Append, VoteReply
from coterie.core.types import NO_EPOCH, Epoch
from coterie.engine.admin_requests import ChangeQuorums
from coterie.engine.protocol import FailureCode


def test_a_broken_safety_rule_ends_the_node() -> None:
    cluster = Cluster()
    _leader, (follower, other) = cluster.elect()
    node = cluster.nodes[follower]
    epoch = node.engine.replica.epoch
    node.engine.receive(cluster.now, other, Append(epoch, 0, NO_EPOCH, (), 0, 1, 0, -1))
    with pytest.raises(SafetyViolation, match="Election Safety"):
        cluster.flush(follower)
    assert node.events[-1].kind == "alarm"


def test_a_stray_vote_changes_nothing() -> None:
    cluster = Cluster()
    leader, (follower, other) = cluster.elect()
    engine = cluster.nodes[follower].engine
    engine.receive(cluster.now, other, VoteReply(engine.replica.epoch, True))
    engine.receive(cluster.now, other, VoteReply(Epoch(0, 0), True))
    cluster.run(300)
    assert cluster.leaders() == [leader]


def test_quorums_that_elect_must_meet_each_other() -> None:
    failure = Office().refused(ChangeQuorums(0, phase_1=1))
    assert failure.code == FailureCode.UNSAFE
    assert "n1 could elect a leader while n2 elect another" in failure.message
