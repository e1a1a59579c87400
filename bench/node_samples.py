"""What the nodes of a local cluster take: disk, by what it is for, and memory."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from coterie.cli.cluster_file import LocalNode, read_cluster

LOG, SNAPSHOTS = "log", "snapshots"
_SECTOR = 512
"""The unit of st_blocks."""


class NodeSample(msgspec.Struct, frozen=True):
    """One node at one moment. Bytes."""

    name: str
    log: int
    snapshots: int
    """All of them: while one is made, or arrives, that one too."""
    newest_snapshot: int
    """The newest that is whole; 0 if there is none."""
    snapshot_names: tuple[str, ...]
    store: int
    """All else in the data directory."""
    rss: int
    """Resident memory; 0 if it does not run."""
    own_memory: int
    """What of it no file is behind. (The rest is mostly the store's pages, mapped: the system's cache, and given up
    when memory is wanted for something else.)"""


def nodes_of(directory: Path) -> tuple[LocalNode, ...]:
    """The nodes of what `coterie up` started there."""
    cluster = read_cluster(directory)
    if cluster is None:
        raise RuntimeError(f"there is no cluster in {directory}")
    return cluster.nodes


def sample(node: LocalNode) -> NodeSample:
    """Look at a node's directory and its process."""
    data = Path(node.data)
    log, snapshots = disk_bytes(data / LOG), disk_bytes(data / SNAPSHOTS)
    files = sorted((data / SNAPSHOTS).glob("*")) if (data / SNAPSHOTS).is_dir() else []
    whole = [path for path in files if path.suffix == ".snap"]
    rss, own_memory = resident_bytes(node.pid)
    return NodeSample(
        name=node.name,
        log=log,
        snapshots=snapshots,
        newest_snapshot=disk_bytes(whole[-1]) if whole else 0,
        snapshot_names=tuple(path.name for path in files),
        store=disk_bytes(data) - log - snapshots,
        rss=rss,
        own_memory=own_memory,
    )


def disk_bytes(path: Path) -> int:
    """What the disk holds of a file or of everything below a directory: a sparse file counts as what it fills.
    What vanishes meanwhile counts as nothing."""
    total, waiting = 0, [path]
    while waiting:
        this = waiting.pop()
        try:
            if this.is_dir():
                waiting.extend(this.iterdir())
            else:
                total += this.stat().st_blocks * _SECTOR
        except OSError:
            continue
    return total


def resident_bytes(pid: int) -> tuple[int, int]:
    """Resident memory of a process, and what of it no file is behind; 0 if there is no such process."""
    try:
        resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1:3])
    except (OSError, ValueError):
        return 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    return resident * page, (resident - shared) * page
