"""Who leads, as members say it: each host is asked by a thread of its own, for one may not answer for long."""

from __future__ import annotations

import threading

from coterie.torture.cluster import Cluster, View

INTERVAL_S = 0.05


class Watchers:
    """Run from `start` to `stop`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._views: dict[int, View | None] = {}
        self._led: set[tuple[int, int]] = set()
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(i,), name=f"torture watcher {i + 1}", daemon=True)
            for i in range(len(cluster.hosts))
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, i: int) -> None:
        while not self._ending.wait(INTERVAL_S):
            view = self._cluster.view(i) if i in self._cluster.members else None
            self._views[i] = view
            if view is not None and view.leader:
                self._led.add((view.epoch, view.leader))

    def leader(self) -> int | None:
        """The host of whoever leads the highest epoch that a member told of."""
        views = {i: view for i, view in list(self._views.items()) if view is not None}
        newest = max((view for view in views.values() if view.leader), key=lambda view: view.epoch, default=None)
        return next((i for i, view in views.items() if newest is not None and view.member == newest.leader), None)

    @property
    def elections(self) -> int:
        """Leaders that were seen, each in an epoch of its own, after the first."""
        return max(0, len(list(self._led)) - 1)
