"""`coterie status`."""

from __future__ import annotations

import asyncio
import sys

import typer

from coterie.cli.connection_options import tls_of
from coterie.cli.outcome import TLS_OPTIONS, EndpointsOption, Exit, JsonOption, endpoints_of, fail_usage, print_json
from coterie.cli.survey import Seen, Survey, pid_here, survey
from coterie.cli.tables import plain_table, table_console
from coterie.core.errors import ConfigurationError

ROLES = {
    "leader": "leader",
    "follower": "follower",
    "candidate": "candidate",
    "pre_candidate": "candidate",
    "learner": "learner",
}
LAST_ELECTIONS = 3


def status(context: typer.Context, as_json: JsonOption = False, endpoints: EndpointsOption = None) -> None:
    """Ask every member what it is: who leads, who is down, how far each one is.

    Example: coterie status --json
    """
    where = endpoints_of(context, endpoints)
    try:
        found = asyncio.run(survey(where, tls_of(context, where)))
    except ConfigurationError as error:
        fail_usage(str(error))
    if as_json:
        print_json(_json(found))
    elif found.members:
        _show(found)
    if found.newest is None:
        print(f"coterie: no member answers: {'; '.join(found.problems)}", file=sys.stderr)
        advice = "`coterie up --detach` starts a cluster here; --endpoints names another"
        if any("TLS" in problem or "certificate" in problem for problem in found.problems):
            advice = f"see {TLS_OPTIONS}; docs/tls.md says what is checked"
        print(f"What to do: {advice}.", file=sys.stderr)
        raise typer.Exit(Exit.DID_NOT_HAPPEN)


def _json(found: Survey) -> dict[str, object]:
    return {
        "cluster_id": f"{found.newest.cluster:016x}" if found.newest is not None else None,
        "protocol": found.protocol,
        "leader": found.leader.name if found.leader is not None else None,
        "members": [_member(member) for member in found.members],
    }


def _member(member: Seen) -> dict[str, object]:
    said = member.status
    repairing = said.repairing_until if said is not None else None
    return {
        "name": member.name,
        "id": f"{member.id:016x}" if member.id else None,
        "pid": pid_here(member),
        "role": ROLES.get(said.role.lower()) if said is not None else None,
        "epoch": {"round": said.epoch_round, "node": said.epoch_node} if said is not None else None,
        "commit": said.commit if said is not None else None,
        "applied": said.applied if said is not None else None,
        "peer": member.peer,
        "client": member.client,
        "healthy": member.healthy,
        **({"repairing_until": repairing} if repairing is not None else {}),
    }


def _show(found: Survey) -> None:
    console = table_console()
    newest = found.newest
    title = f"cluster {newest.cluster:016x}, {found.protocol}" if newest is not None else f"{found.protocol} cluster"
    leader = found.leader.name if found.leader is not None else "none that answers"
    table = plain_table(f"{title}, leader: {leader}")
    for column in ("member", "role", "epoch", "commit", "applied", "pid", "client", "peer", "health"):
        table.add_column(
            column, justify="right" if column in {"epoch", "commit", "applied", "pid"} else "left", no_wrap=True
        )
    for member in found.members:
        said = member.status
        repairing = said.repairing_until if said is not None else None
        health = "[green]healthy[/]" if member.healthy else "[yellow]no leader[/]" if said else "[red]no answer[/]"
        if repairing is not None:
            health = f"[yellow]{'' if member.healthy else 'no leader, '}being repaired, up to {repairing}[/]"
        table.add_row(
            member.name,
            (ROLES.get(said.role.lower()) or said.role) if said is not None else "" if member.voter else "learner",
            str(said.epoch_round) if said is not None else "",
            str(said.commit) if said is not None else "",
            str(said.applied) if said is not None else "",
            str(pid_here(member) or ""),
            member.client or "",
            member.peer or "",
            health,
        )
    console.print(table)
    if newest is not None and newest.last_elections:
        console.print(f"Last changes of leader, as {newest.name} saw them:", highlight=False)
        for line in newest.last_elections[-LAST_ELECTIONS:]:
            console.print(f"  {line}", highlight=False, markup=False)
