"""What a node says of itself."""

from __future__ import annotations

from collections.abc import Iterable

from coterie.core.replica import Replica
from coterie.core.types import Role
from coterie.engine.config import Identity
from coterie.engine.protocol import MemberStatus, NodeStatus
from coterie.machine.host import Host
from coterie.machine.loading import machine_name

_ROLE_NAMES = {
    Role.FOLLOWER: "follower",
    Role.PRE_CANDIDATE: "candidate",
    Role.CANDIDATE: "candidate",
    Role.LEADER: "leader",
    Role.LEARNER: "learner",
}


def status_of(identity: Identity, protocol: str, replica: Replica, host: Host, elections: Iterable[str]) -> NodeStatus:
    """Of the node that these belong to. `elections`: the last ones, in words."""
    membership = replica.membership
    return NodeStatus(
        cluster=identity.cluster,
        protocol=protocol,
        member=identity.member,
        name=identity.name,
        version=identity.version,
        pid=identity.pid,
        boot=identity.boot,
        role=_ROLE_NAMES[replica.role],
        leader=replica.leader,
        epoch_round=replica.epoch.round,
        epoch_node=replica.epoch.node,
        commit=replica.commit,
        applied=host.applied,
        last_index=replica.last_index,
        revision=host.revision(),
        machine=machine_name(host.machine),
        members=tuple(
            MemberStatus(m.id, m.name, m.peer, m.client, m.id in membership.voters) for m in membership.members
        ),
        last_elections=tuple(elections),
        repairing_until=replica.repair.until if replica.repair is not None else None,
    )
