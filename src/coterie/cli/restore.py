"""`coterie restore`: a snapshot file, of etcd or of Coterie, becomes a new cluster."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from coterie.cli.cluster_file import STATE_DIRECTORY
from coterie.cli.local_cluster import Wanted
from coterie.cli.outcome import JsonOption, fail, fail_usage, print_json
from coterie.core.errors import ConfigurationError, CoterieError
from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.etcd.backup.restoring import Options, Restored


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `etcdctl snapshot save` wrote.")],
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", "--data", metavar="DIR", help="Make one member's data directory, for `coterie node`."
        ),
    ] = None,
    cluster: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help=f"Make a cluster of this machine, for `coterie up`; {STATE_DIRECTORY} if not given."
        ),
    ] = None,
    nodes: Annotated[int | None, typer.Option(help="How many nodes that cluster has; 3.")] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Of that cluster, {' or '.join(PROTOCOLS)}; {DEFAULT_PROTOCOL}.")
    ] = None,
    client_port: Annotated[int | None, typer.Option(help="Its first client port; 2379.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="It speaks TLS.")] = False,
    bump_revision: Annotated[
        int, typer.Option(metavar="N", help="Raise the revision by N, with --mark-compacted.")
    ] = 0,
    mark_compacted: Annotated[
        bool, typer.Option("--mark-compacted", help="Compact all before the raised revision: watchers begin anew.")
    ] = False,
    skip_hash_check: Annotated[
        bool,
        typer.Option("--skip-hash-check", help="Do not look at the file's hash: a copy of a member's file has none."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Begin a new cluster with the keys, leases and users in a snapshot file.

    Example: coterie restore backup.db; coterie up
    """
    wanted = Wanted(nodes=nodes, protocol=protocol, client_port=client_port, tls=tls or None)
    try:
        options = Options(not skip_hash_check, bump_revision, mark_compacted)
        if data_dir is None:
            _local(file, cluster or STATE_DIRECTORY, wanted, options, as_json)
        elif cluster is not None or wanted != Wanted():
            raise ConfigurationError(
                "with --data-dir one member's directory is made, and its cluster is told to `coterie node`: leave out "
                "--cluster, --nodes, --protocol, --client-port and --tls"
            )
        else:
            _member(file, data_dir, options, as_json)
    except ConfigurationError as error:
        fail_usage(str(error))
    except CoterieError as error:
        fail(error, write=True, as_json=as_json)


def _member(file: Path, directory: Path, options: Options, as_json: bool) -> None:
    from coterie.etcd.backup.restoring import restore as restore_member

    restored = restore_member(file, directory.absolute(), options)
    command = f"coterie node --data {shlex.quote(str(directory))} --name NAME --initial-members NAME=HOST:PORT,..."
    if as_json:
        print_json(_as_json(file, [directory], restored, command))
        return
    print(_told(restored, str(directory)))
    print("Restore the same file, with the same options, for every other initial member. Then start each as a new one:")
    print(f"  {command} --peer HOST:PORT --client HOST:PORT")


def _local(file: Path, directory: Path, wanted: Wanted, options: Options, as_json: bool) -> None:
    from coterie.cli.local_restore import restore_cluster

    made, restored = restore_cluster(file, directory, wanted, options)
    command = "coterie up" if directory == STATE_DIRECTORY else f"coterie up --data {shlex.quote(str(directory))}"
    if as_json:
        print_json(_as_json(file, [Path(node.data) for node in made.nodes], restored, command))
        return
    print(_told(restored, f"{directory}, for {len(made.nodes)} nodes, {made.protocol}"))
    print(f"Start it: {command}")


def _told(restored: Restored, where: str) -> str:
    history = f"revision {restored.revision}"
    if restored.compacted > 0:
        history += f", compacted at {restored.compacted}"
    return (
        f"Restored into {where}: {history}; {restored.items} items of the history, {restored.leases} leases, "
        f"{restored.users} users. State {restored.state[:16]}."
    )


def _as_json(file: Path, directories: list[Path], restored: Restored, command: str) -> dict[str, object]:
    return {
        "applied": "yes",
        "file": str(file),
        "directories": [str(directory) for directory in directories],
        "state": restored.state,
        "revision": restored.revision,
        "compacted": restored.compacted if restored.compacted > 0 else None,
        "items": restored.items,
        "leases": restored.leases,
        "users": restored.users,
        "members_before": [member.name for member in restored.origin.members],
        "command": command,
    }
