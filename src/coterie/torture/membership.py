"""A change of the members under load: a new one is added, started, promoted, and an old one removed."""

from __future__ import annotations

import time
from typing import Final

from coterie.client.admin_calls import add_member, member_list, promote, remove
from coterie.client.blocking import Client, connect
from coterie.client.config import ClientConfig
from coterie.core.errors import CoterieError
from coterie.torture.coterie_members import CoterieCluster

LIMIT_S: Final = 60.0
_CALL_S: Final = 5.0
_POLL_S: Final = 0.1


def replace_member(cluster: CoterieCluster, new: int, old: int) -> bool:
    """Give host `new` a member, and take that of host `old` away; whether that was done in time. Other faults may
    strike meanwhile, so it looks at what is, and does what is next, until all is done."""
    deadline = time.monotonic() + LIMIT_S
    cluster.discard(new)  # a member that was removed and has not ended yet
    cluster.join(new)
    with connect(cluster.endpoints, ClientConfig(name="torture administrator")) as client:
        while time.monotonic() < deadline:
            try:
                if _step(cluster, client, new, old):
                    return True
            except CoterieError:
                pass  # not now, or unknown: the next look tells
            time.sleep(_POLL_S)
    return False


def _step(cluster: CoterieCluster, client: Client, new: int, old: int) -> bool:
    members = {member.name: member for member in client.run(member_list(timeout=_CALL_S)).members}
    joining, leaving = cluster.name_of(new), cluster.name_of(old)
    found = members.get(joining)
    if found is None:
        client.run(add_member(joining, cluster.hosts[new].peer, cluster.hosts[new].client, timeout=_CALL_S))
    elif new not in cluster.members and cluster.ended(new):  # later, whoever killed it starts it again
        cluster.launch(new)
    elif not found.voter:
        if found.caught_up:
            client.run(promote(joining, timeout=_CALL_S))
    elif leaving in members:
        if new not in cluster.members:
            cluster.members.append(new)
        if old in cluster.members:
            cluster.members.remove(old)  # it ends by itself, and nothing more is done to it
        client.run(remove(leaving, timeout=_CALL_S))
    else:
        return True
    return False
