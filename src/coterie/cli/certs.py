"""`coterie certs`: a CA and the certificates of a cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from coterie.cli.local_cluster import DEFAULT_CLIENT
from coterie.cli.outcome import JsonOption, fail, fail_usage, print_json
from coterie.cli.tables import plain_table, table_console
from coterie.core.errors import CoterieError


def certs(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files are, or are to be.")],
    nodes: Annotated[str, typer.Option(metavar="A,B,C", help="Members' names, with commas between.")] = "",
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="[NODE=]HOST", help="Where clients reach all nodes, or one; localhost if never said."),
    ] = None,
    clients: Annotated[
        str | None, typer.Option(metavar="A,B", help=f"Clients' names; {DEFAULT_CLIENT} if the CA is new.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="How long certificates are valid; 365. The CA: ten years.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace certificates that are there. Never the CA.")] = False,
    renew: Annotated[bool, typer.Option("--renew", help="Make all anew, for the names that they have.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Say what is there and when it ends; make nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a CA, a certificate for each member and one for a client. docs/tls.md says where each file goes.

    Example: coterie certs tls --nodes n1,n2,n3 --host n1=10.0.0.1 --host n2=10.0.0.2 --host n3=10.0.0.3
    """
    from coterie.cli.authority import DEFAULT_DAYS, Authority

    authority = Authority(directory)
    members = _names(nodes)
    making = bool(members or clients or host or force)
    if making + renew + show > 1:
        fail_usage("--renew and --show stand alone: they know the names by the files")
    if not making and not renew and not show:
        fail_usage("--nodes names the members that certificates are made for; or use --renew or --show")
    try:
        if renew:
            made = authority.renew(days=DEFAULT_DAYS if days is None else days)
        elif making:
            asked = DEFAULT_CLIENT if clients is None and not authority.exists else clients or ""
            hosts = _hosts(members, host or [])
            made = authority.make(hosts, _names(asked), days=DEFAULT_DAYS if days is None else days, force=force)
        else:
            made = []
        _show(authority, made, as_json)
    except CoterieError as error:
        fail(error, write=True, as_json=as_json)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _hosts(members: list[str], given: list[str]) -> dict[str, list[str]]:
    """Each member's hosts: what was said for all, and for it alone; this machine if nothing was."""
    from coterie.cli.authority import DEFAULT_HOSTS

    hosts: dict[str, list[str]] = {name: [] for name in members}
    for text in given:
        name, equals, where = text.rpartition("=")
        if equals and name not in hosts:
            fail_usage(f"--host {text}: {name!r} is not among --nodes")
        for each in [name] if equals else members:
            hosts[each].append(where)
    return {name: found or list(DEFAULT_HOSTS) for name, found in hosts.items()}


def _show(authority: object, made: list[str], as_json: bool) -> None:
    from coterie.cli.authority import Authority

    assert isinstance(authority, Authority)
    now = datetime.now(UTC)
    found = authority.describe()
    if as_json:
        print_json(
            {
                "directory": str(authority.directory),
                "made": made,
                "certificates": [
                    {"name": d.name, "kind": d.kind, "hosts": d.hosts, "ends": f"{d.ends:%Y-%m-%dT%H:%M:%SZ}"}
                    for d in found
                ],
            }
        )
        return
    table = plain_table()
    for column in ("file", "kind", "names", "ends (UTC)", "days", ""):
        table.add_column(column, no_wrap=True, justify="right" if column == "days" else "left")
    for d in found:
        left = (d.ends - now).days
        days = str(left) if d.ends > now else "[red]expired[/]"
        names = ", ".join(d.hosts) or d.name
        table.add_row(f"{d.name}.crt", d.kind, names, f"{d.ends:%Y-%m-%d %H:%M}", days, "new" if d.name in made else "")
    table_console().print(table)
    if made:
        print(f"In {authority.directory}. Keep ca.key apart: whoever has it makes members.")
