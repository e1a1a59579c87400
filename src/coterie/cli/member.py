"""`coterie member`: who belongs to the cluster."""

from __future__ import annotations

import shlex
import sys
import time
from typing import Annotated

import typer

from coterie.cli.cluster_file import STATE_DIRECTORY, certificates_of, local_cluster, node_tls
from coterie.cli.groups import group
from coterie.cli.outcome import (
    DEFAULT_TIMEOUT_S,
    EndpointsOption,
    JsonOption,
    TimeoutOption,
    ask,
    fail,
    fail_usage,
    open_client,
    print_json,
)
from coterie.cli.tables import plain_table, table_console
from coterie.client.admin_calls import change_members, member_list
from coterie.client.blocking import Client
from coterie.client.errors import NotNow
from coterie.core.errors import CoterieError
from coterie.core.protocols import DEFAULT_PROTOCOL
from coterie.engine.admin_requests import AddedMember, ChangeMembers, MemberInfo, MembersChanged
from coterie.engine.member_names import ADDRESS_RULE, NAME_RULE, legal_address, legal_name
from coterie.runtime.addresses import join_address, split_address
from coterie.runtime.configuration import DEFAULT_MACHINE

LOOK_INTERVAL_S = 0.2

app = group(
    "Add, promote, replace and remove members; list them.",
    "coterie member add n4 --peer 127.0.0.1:2386; coterie member promote n4",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The member's name.")]
PeerOption = Annotated[str, typer.Option("--peer", metavar="HOST:PORT", help="Where other members reach it.")]
ClientOption = Annotated[
    str | None,
    typer.Option("--client", metavar="HOST:PORT", help="Where clients reach it; else the port below the peer port."),
]
DataOption = Annotated[str | None, typer.Option("--data", metavar="DIR", help="Its data directory, in the command.")]
WaitOption = Annotated[
    float, typer.Option("--wait", min=0.0, metavar="S", help="Wait up to S seconds for it to catch up.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Although it has not caught up: until it has, writes may stop.")
]


@app.command()
def add(
    context: typer.Context,
    name: Name,
    peer: PeerOption,
    client: ClientOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Add a learner, and print the command that starts it. It has no vote until it is promoted.

    Example: coterie member add n4 --peer 127.0.0.1:2386 --client 127.0.0.1:2385
    """
    where = _client_address(name, peer, client)
    added = ask(
        context, endpoints, lambda c: c.add_member(name, peer, where, timeout=timeout), write=True, as_json=as_json
    )
    # Asked apart, for whoever starts the member: a failure here is no failure of the change.
    with open_client(context, endpoints) as c:
        command = start_command(c, added, data)
    if as_json:
        print_json({"applied": "yes", **_added_json(added), "command": command})
        return
    print(f"{name} is a learner now (id {added.id:016x}). Start it with:")
    print(f"  {command}")
    print(f"When it has caught up (coterie member list): coterie member promote {name}")


@app.command()
def promote(
    context: typer.Context,
    name: Name,
    force: ForceOption = False,
    wait: WaitOption = 0.0,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Make a learner that has caught up a voter.

    Example: coterie member promote n4 --wait 60
    """
    change = ChangeMembers(0, promote=(name,), force=force)
    _show_changed(_change(context, endpoints, change, timeout, wait, as_json), f"{name} is a voter now", as_json)


@app.command()
def remove(
    context: typer.Context,
    name: Name,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Remove a member: it is told, and ends. Its data directory is of no more use.

    Example: coterie member remove n1
    """
    change = ChangeMembers(0, remove=(name,))
    _show_changed(_change(context, endpoints, change, timeout, 0.0, as_json), f"{name} is removed", as_json)


@app.command()
def replace(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The member that leaves.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The member that takes its place.")],
    peer: Annotated[
        str | None, typer.Option("--peer", metavar="HOST:PORT", help="Where other members reach NEW, if it is new.")
    ] = None,
    client: ClientOption = None,
    data: DataOption = None,
    force: ForceOption = False,
    wait: WaitOption = 0.0,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Put NEW in OLD's place, in two steps. First NEW is added as a learner, and the command that starts it is
    printed; once it has caught up, the same command again makes NEW a voter and removes OLD, in one change.

    Example: coterie member replace n1 n4 --peer 127.0.0.1:2386
    """
    listed = ask(context, endpoints, lambda c: c.run(member_list(timeout=timeout)), write=False, as_json=as_json)
    known = {member.name: member for member in listed.members}
    if old not in known:
        fail_usage(f"no member is called {old!r}; the members are {', '.join(known)}")
    if new not in known:
        if peer is None:
            fail_usage(f"{new} is no member yet: say where other members reach it, with --peer HOST:PORT")
        where = _client_address(new, peer, client)
        added = ask(
            context, endpoints, lambda c: c.add_member(new, peer, where, timeout=timeout), write=True, as_json=as_json
        )
        with open_client(context, endpoints) as c:
            command = start_command(c, added, data)
        if as_json:
            print_json({"applied": "yes", "done": False, **_added_json(added), "command": command})
        else:
            print(f"{new} is a learner now (id {added.id:016x}). Start it with:")
            print(f"  {command}")
            print(f"When it has caught up: coterie member replace {old} {new}")
        if not wait:
            return
    elif peer is not None and known[new].peer != peer:
        fail_usage(f"{new} is a member already, at {known[new].peer}: leave --peer out, or remove it first")
    change = ChangeMembers(0, promote=(new,), remove=(old,), force=force)
    if new in known and known[new].voter:
        change = ChangeMembers(0, remove=(old,))
    changed = _change(context, endpoints, change, timeout, wait, as_json)
    _show_changed(changed, f"{new} is a voter now, and {old} is removed", as_json)


@app.command(name="list")
def list_members(
    context: typer.Context,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """The members as the leader knows them: role, entries behind, whether healthy.

    Example: coterie member list --json
    """
    members = ask(context, endpoints, lambda c: c.members(timeout=timeout), write=False, as_json=as_json)
    if as_json:
        print_json({"members": [_member_json(member) for member in members]})
        return
    table = plain_table()
    for column in ("member", "role", "behind", "caught up", "client", "peer", "id", "health"):
        table.add_column(column, justify="right" if column == "behind" else "left", no_wrap=True)
    for member in members:
        health = "[green]healthy[/]" if member.healthy else "[red]not heard of[/]"
        if not member.claimed:
            health = "[yellow]never started[/]"
        elif member.healthy and member.repairing:
            health = "[yellow]being repaired[/]"
        table.add_row(
            member.name,
            member.role,
            str(member.behind),
            "yes" if member.caught_up else "no",
            member.client,
            member.peer,
            f"{member.id:016x}",
            health,
        )
    table_console().print(table)


def _member_json(member: MemberInfo) -> dict[str, object]:
    return {
        "name": member.name,
        "id": f"{member.id:016x}",
        "role": member.role,
        "voter": member.voter,
        "caught_up": member.caught_up,
        "behind": member.behind,
        "peer": member.peer,
        "client": member.client,
        "healthy": member.healthy,
        "repairing": member.repairing,
    }


def _added_json(added: AddedMember) -> dict[str, object]:
    return {"name": added.name, "id": f"{added.id:016x}", "peer": added.peer, "client": added.client}


def _change(
    context: typer.Context,
    endpoints: str | None,
    change: ChangeMembers,
    timeout: float,
    wait: float,
    as_json: bool,
) -> MembersChanged:
    """Make a change; while what stands in its way may pass, try again for `wait` seconds."""
    deadline = time.monotonic() + wait
    with open_client(context, endpoints) as client:
        while True:
            try:
                return client.run(change_members(change, timeout=timeout))
            except NotNow as error:
                if time.monotonic() >= deadline:
                    fail(error, write=True, as_json=as_json)
            except CoterieError as error:
                fail(error, write=True, as_json=as_json)
            time.sleep(LOOK_INTERVAL_S)


def _show_changed(changed: MembersChanged, text: str, as_json: bool) -> None:
    if as_json:
        print_json({"applied": "yes", "warning": changed.warning or None})
    else:
        print(f"{text}.")
    if changed.warning:
        print(f"coterie: warning: {changed.warning}", file=sys.stderr)


def _client_address(name: str, peer: str, client: str | None) -> str:
    """The new member's client address, after a look at all that was given. Ends the process if it is wrong."""
    if not legal_name(name):
        fail_usage(f"{name!r} is not a member's name: {NAME_RULE}")
    for option, address in (("--peer", peer), ("--client", client)):
        if address is not None and not legal_address(address):
            fail_usage(f"{option} is {address!r}: {ADDRESS_RULE}")
    if client is not None:
        return client
    host, port = split_address(peer)
    if port < 2:
        fail_usage(f"no port is below the peer port {port}: name the client address with --client")
    return join_address(host, port - 1)


def start_command(client: Client, added: AddedMember, data: str | None) -> str:
    """The command that starts an added member, as one types it."""
    endpoints = []
    machine, protocol = DEFAULT_MACHINE, DEFAULT_PROTOCOL
    try:
        listed = client.run(member_list())
        endpoints = [member.client for member in listed.members if member.client and member.voter]
        machine, protocol = listed.machine, listed.protocol
    except CoterieError:
        pass  # The change is made; the endpoints that were given serve as well.
    joined = ",".join(endpoints) or client.endpoints
    local = local_cluster(joined)
    directory = data or (str(STATE_DIRECTORY / added.name) if local is not None else f"{added.name}.coterie")
    words = ["coterie", "node", "--name", added.name, "--data", directory, "--peer", added.peer]
    words += ["--client", added.client, "--join", joined]
    if machine != DEFAULT_MACHINE:
        words += ["--machine", machine]
    if protocol != DEFAULT_PROTOCOL:
        words += ["--protocol", protocol]
    if local is not None and local.tls:
        for key, path in node_tls(STATE_DIRECTORY, added.name).items():
            words += [f"--{key.replace('_', '-')}", path]
        certificates = ["coterie", "certs", str(certificates_of(STATE_DIRECTORY)), "--nodes", added.name]
        return f"{shlex.join(certificates)} && {shlex.join(words)}"
    return shlex.join(words)
