"""The live view of a local cluster: roles, epochs, commit, lag."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from coterie.cli.cluster_file import LocalCluster
from coterie.engine.protocol import NodeStatus

_STYLES = {"leader": "bold green", "candidate": "yellow", "pre_candidate": "yellow", "learner": "cyan"}


def cluster_table(cluster: LocalCluster, statuses: Sequence[NodeStatus | None]) -> Table:
    """A row a node. `lag`: log entries that the furthest member has committed and this one has not applied."""
    table = Table(title=f"{len(cluster.present)} nodes, {cluster.protocol}", title_justify="left")
    for name in ("node", "role", "epoch", "commit", "applied", "lag", "pid", "client"):
        table.add_column(name, justify="right" if name in {"epoch", "commit", "applied", "lag", "pid"} else "left")
    furthest = max((status.commit for status in statuses if status is not None), default=0)
    for node, status in zip(cluster.present, statuses, strict=True):
        if status is None:
            table.add_row(node.name, "[red]no answer[/]", "", "", "", "", "", node.client)
            continue
        style = _STYLES.get(status.role, "default")
        lag = furthest - status.applied
        table.add_row(
            node.name,
            f"[{style}]{status.role}[/]",
            f"{status.epoch_round}",
            f"{status.commit}",
            f"{status.applied}",
            f"[yellow]{lag}[/]" if lag > 0 else "0",
            f"{status.pid}",
            node.client,
        )
    return table
