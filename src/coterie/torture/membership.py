"""A change of the members under load: a new one is added, started, promoted, and an old one removed."""

from __future__ import annotations

import time
from typing import Final

from coterie.core.errors import CoterieError
from coterie.torture.administration import Administrator, Standing
from coterie.torture.cluster import Cluster

LIMIT_S: Final = 60.0
_POLL_S: Final = 0.1


def replace_member(cluster: Cluster, new: int, old: int) -> bool:
    """Give host `new` a member, and take that of host `old` away; whether that was done in time. Other faults may
    strike meanwhile, so it looks at what is, and does what is next, until all is done."""
    deadline = time.monotonic() + LIMIT_S
    with cluster.administrator() as administrator:
        change = _Change(cluster, administrator, new, old)
        while time.monotonic() < deadline:
            try:
                if change.step():
                    return True
            except CoterieError:
                pass  # not now, or unknown: the next look tells
            time.sleep(_POLL_S)
    return False


class _Change:
    def __init__(self, cluster: Cluster, administrator: Administrator, new: int, old: int) -> None:
        self._cluster = cluster
        self._administrator = administrator
        self._new = new
        self._old = old
        self._added = False
        """Whether the member on host `new` is this change's. One of an earlier change, not finished in time, must leave
        first: its data are gone."""

    def step(self) -> bool:
        """Do what is next; whether nothing was left to do."""
        cluster, administrator, new, old = self._cluster, self._administrator, self._new, self._old
        members = administrator.members()
        found = members.get(new)
        if found is None or not self._added:
            self._begin(members)
        elif new not in cluster.members and cluster.ended(new):  # later, whoever killed it starts it again
            cluster.launch(new)
        elif not found.voter:
            if found.caught_up:
                administrator.promote(new)
        elif old in members:
            if new not in cluster.members:
                cluster.members.append(new)
            if old in cluster.members:
                cluster.members.remove(old)  # it ends by itself, and nothing more is done to it
            administrator.remove(old)
        else:
            return True
        return False

    def _begin(self, members: dict[int, Standing]) -> None:
        if self._new in members:
            self._administrator.remove(self._new)
        else:
            self._added = False
            self._cluster.join(self._new, [*members])
            self._administrator.add(self._new)
            self._added = True
