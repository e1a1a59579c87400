"""Where settings of other systems lie, by what their documents say. Nothing here is measured."""

from __future__ import annotations

from typing import Final

DOCUMENTED: Final = (
    (
        "etcd, linearizable reads (default)",
        "PC/EC",
        "Raft; a read asks a quorum by the read index (etcd documentation, API guarantees)",
    ),
    (
        "etcd, serializable reads",
        "PA/EL for reads",
        "the member asked answers alone, and may be behind (API guarantees: serializable); writes stay PC/EC",
    ),
    (
        "ZooKeeper, reads as they are",
        "PC/EL",
        "writes by a quorum, reads local and perhaps behind; a server without a quorum serves none (guide)",
    ),
    ("ZooKeeper, sync and then read", "PC/EC", "sync brings the server up to the leader first (programmer's guide)"),
    (
        "Cassandra, ONE and ONE",
        "PA/EL",
        "one replica is enough, and the last timestamp wins (Cassandra documentation, Dynamo)",
    ),
    (
        "Cassandra, QUORUM and QUORUM",
        "PC/EC by intent",
        "quorums meet, and a side without one refuses; but the last timestamp wins, so a slow clock may lose a write",
    ),
    (
        "Dynamo, (3, 2, 2) with sloppy quorums",
        "PA/EL",
        "writes are always taken, versions are brought together later (DeCandia et al. 2007, 4.5 and 4.6; Abadi 2012)",
    ),
)
"""(system and setting, class, why)."""
