"""A member whose log was damaged: what it tells people, what its leader tells of it, and what is refused meanwhile."""

from __future__ import annotations

import msgspec
from tests.contract.engine.cluster import EMPTY
from tests.contract.engine.test_administration import ME, Office

from coterie.core.types import Repair
from coterie.engine.admin_requests import TransferLeadership
from coterie.engine.protocol import Submit


def test_a_repair_is_told_from_its_beginning_to_its_end_and_nothing_is_entrusted_to_the_member_meanwhile() -> None:
    office = Office()
    cluster, patient = office.cluster, office.others[0]
    office.cluster.crash(patient)
    disk = cluster.disks[patient]
    until = disk.last_index + 3
    # Its log was longer than the leader's is: so it takes a few more entries until it is whole.
    disk.hard_state = msgspec.structs.replace(disk.hard_state, repair=Repair(until, disk.hard_state.epoch))
    disk.log, disk.base = [], EMPTY
    node = cluster.restart(patient)
    cluster.run(2000)
    (told,) = node.heard("repairing")
    assert f"what it held up to entry {until}, this member neither votes nor counts" in told
    assert node.engine.status().repairing_until == until
    listed = office.members()[f"n{patient}"]
    assert (listed.repairing, listed.healthy, listed.caught_up) == (True, True, False)
    refused = office.refused(TransferLeadership(0, f"n{patient}"))
    assert "is being repaired" in refused.message
    for number in range(1, 5):
        cluster.request(office.leader, ME, Submit(1000 + number, 0, 0, 0, b"x"))
        cluster.run(200)
    assert node.heard("repaired") == ["the log is whole again: this member votes and counts"]
    assert node.engine.status().repairing_until is None
    assert not office.members()[f"n{patient}"].repairing
    assert node.ledger.lines == cluster.nodes[office.leader].ledger.lines
