"""What a member does first: others wait for its acknowledgement, nobody for what it applies."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.contract.engine.cluster import Cluster, Ledger
from tests.contract.engine.test_requests import put

from coterie.core.messages import Accepted, AppendReply, decode
from coterie.engine.protocol import Answer
from coterie.machine.interface import Batch, Rejected


class Watching(Ledger):
    """Notes how many acknowledgements of entries were on their way when it applied each command."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster: Cluster | None = None
        self.sent: list[int] = []

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        assert self.cluster is not None
        messages = [decode(data) for _, _, data in self.cluster.packets]
        self.sent.append(sum(isinstance(message, AppendReply | Accepted) for message in messages))
        return super().apply(batch)


@pytest.mark.parametrize("quick", [True, False])
def test_a_member_with_a_quick_disk_acknowledges_an_entry_before_it_applies_the_one_before(quick: bool) -> None:
    cluster = Cluster(machine=Watching)
    for node in cluster.nodes.values():
        assert isinstance(node.machine, Watching)
        node.machine.cluster = cluster
    leader, (follower, _) = cluster.elect()
    cluster.nodes[follower].quick = quick
    machine = cluster.nodes[follower].machine
    assert isinstance(machine, Watching)
    cluster.request(leader, "client", put(1))
    while not cluster.answers.get(("client", 1)):
        assert cluster.step()
    assert machine.sent == []  # nobody has told it yet that the first is committed
    cluster.request(leader, "client", put(2))  # carries that news
    cluster.packets = [packet for packet in cluster.packets if packet[1] == follower]
    cluster.step()
    assert machine.sent == [1 if quick else 0]
    cluster.settle()
    assert isinstance(cluster.only_answer("client", 2), Answer)


def test_what_a_quick_disk_lets_go_is_as_safe_as_what_waits_for_a_slow_one() -> None:
    cluster = Cluster()
    leader, followers = cluster.elect()
    for node in cluster.nodes.values():
        node.quick = True
    for id in range(1, 30):
        cluster.request(leader, "client", put(id, b"%d" % id))
        cluster.step()
    cluster.run(1000)
    for member in [leader, *followers]:
        cluster.crash(member)
        cluster.restart(member)
    cluster.elect()
    lines = [b"%d" % id for id in range(1, 30)]
    assert [node.ledger.lines for node in cluster.nodes.values()] == [lines] * 3
