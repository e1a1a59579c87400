"""A cluster on this machine that begins with the state in a snapshot file: its directory, for `coterie up` to start.

`cluster.json` comes last, so what a crash leaves before is no cluster; without it, `RESTORE_FILE` says that all there
is may go.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from coterie.cli.cluster_file import (
    CLUSTER_FILE,
    LOCK_FILE,
    RESTORE_FILE,
    LocalCluster,
    LocalClusterError,
    locked,
    read_cluster,
    write_cluster,
)
from coterie.cli.local_cluster import Wanted, check_empty, make_directory, plan
from coterie.etcd.backup.restoring import Options, Restored, restore, restore_copy
from coterie.runtime.configuration import MAX_MEMBERS
from coterie.storage.disk import DiskFiles


def restore_cluster(file: Path, directory: Path, wanted: Wanted, options: Options) -> tuple[LocalCluster, Restored]:
    """Make the directory of a new cluster, each of whose nodes begins with the state in the file: all or nothing.

    Raises `LocalClusterError`, `ConfigurationError`, and what `restore` raises.
    """
    directory = directory.resolve()
    cluster = plan(directory, wanted)
    _check(directory)
    made = make_directory(directory)
    try:
        with locked(directory):
            _check(directory)
            try:
                return cluster, _restore(file, directory, cluster, options)
            except BaseException:
                _clear(directory)
                raise
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                (directory / LOCK_FILE).unlink()
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()  # only if it is empty
        raise


def _check(directory: Path) -> None:
    """Raise `LocalClusterError` if the directory is not free."""
    if read_cluster(directory) is not None:
        raise LocalClusterError(
            f"{directory} holds a cluster already",
            advice="choose another directory with --cluster, or stop that cluster with `coterie down` and move it away",
        )
    if not (directory / RESTORE_FILE).exists():
        check_empty(directory)


def _restore(file: Path, directory: Path, cluster: LocalCluster, options: Options) -> Restored:
    try:
        _clear(directory)
        (directory / RESTORE_FILE).touch()
        DiskFiles().sync_directory(str(directory))
        first, *others = (Path(node.data) for node in cluster.nodes)
        restored = restore(file, first, options)
        for other in others:
            if restore_copy(first, other).hex() != restored.state:
                raise LocalClusterError(f"what {first} holds has changed meanwhile", advice="restore again")
        write_cluster(directory, cluster)
        DiskFiles().sync_directory(str(directory))
        (directory / RESTORE_FILE).unlink()
    except OSError as error:
        raise LocalClusterError(f"cannot write in {directory}: {error.strerror}") from error
    return restored


def _clear(directory: Path) -> None:
    """Remove what an attempt made, and nothing else."""
    for number in range(1, MAX_MEMBERS + 1):
        shutil.rmtree(directory / f"n{number}", ignore_errors=True)
    for name in (CLUSTER_FILE, RESTORE_FILE):
        (directory / name).unlink(missing_ok=True)
