"""`coterie settings`: what all members of a cluster share. Quorum sizes are shown among them, though they are part of
the membership."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from coterie.cli.groups import group
from coterie.cli.outcome import (
    DEFAULT_TIMEOUT_S,
    EndpointsOption,
    JsonOption,
    TimeoutOption,
    ask,
    fail_usage,
    print_json,
)
from coterie.cli.tables import plain_table, table_console
from coterie.client.blocking import Client
from coterie.core.errors import ConfigurationError
from coterie.core.settings import Settings
from coterie.engine import quorum_sizes
from coterie.engine.admin_requests import QuorumSizes
from coterie.engine.quorum_sizes import MAJORITY, PHASE_1, PHASE_2, shown
from coterie.engine.setting_values import setting_named, with_setting

app = group(
    "List, read and change the settings that all members share. They stand in the log.",
    "coterie settings set lease-reads true",
)

Setting = Annotated[str, typer.Argument(metavar="NAME", help="The setting; `coterie settings list` names all.")]


@app.command(name="list")
def list_settings(
    context: typer.Context,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Every setting: its value, and its default if that differs.

    Example: coterie settings list --json
    """

    def both(client: Client) -> tuple[Settings, QuorumSizes]:
        return client.settings(timeout=timeout), client.quorum_sizes(timeout=timeout)

    found, sizes = ask(context, endpoints, both, write=False, as_json=as_json)
    if as_json:
        print_json({"settings": {**msgspec.to_builtins(found), **_sizes_json(sizes)}})
        return
    table = plain_table()
    for column in ("setting", "value", "default"):
        table.add_column(column, no_wrap=True)
    default = Settings()
    for name in Settings.__struct_fields__:
        value, usual = getattr(found, name), getattr(default, name)
        table.add_row(shown(name), told(value), "" if value == usual else told(usual))
    for name, size in _sizes_json(sizes).items():
        table.add_row(shown(name), quorum_sizes.counted(size, sizes.voters), MAJORITY if size else "")
    table_console().print(table)


@app.command()
def get(
    context: typer.Context,
    name: Setting,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """One setting's value.

    Example: coterie settings get snapshot-log-bytes
    """
    try:
        name = setting_named(name)
    except ConfigurationError as error:
        fail_usage(str(error))

    def value_of(client: Client) -> object:
        if name in quorum_sizes.NAMES:
            return _sizes_json(client.quorum_sizes(timeout=timeout))[name]
        return getattr(client.settings(timeout=timeout), name)

    value = ask(context, endpoints, value_of, write=False, as_json=as_json)
    if as_json:
        print_json({"name": name, "value": value})
    else:
        print(MAJORITY if name in quorum_sizes.NAMES and value == 0 else told(value))


@app.command(name="set")
def set_setting(
    context: typer.Context,
    name: Setting,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="A whole number, or true or false; of a quorum also `majority`.")
    ],
    other: Annotated[
        tuple[str, str] | None,
        typer.Option("--and", metavar="NAME VALUE", help="The other quorum size, to change both at once."),
    ] = None,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Change a setting for all members, at one place in the log.

    Of `phase-1-quorum` (how many voters elect) and `phase-2-quorum` (how many commit), the one that is not named stays,
    or, if it would not do with the other, becomes the least that does.

    Example: coterie settings set snapshot-keep-entries 10000
    """
    try:
        name = setting_named(name)
        if name in quorum_sizes.NAMES:
            sizes = _sizes_of(name, value, other)
        elif other is not None:
            raise ConfigurationError(f"--and is for the other quorum size: {shown(PHASE_1)} and {shown(PHASE_2)}")
        else:
            with_setting(Settings(), name, value)
            sizes = {}
    except ConfigurationError as error:
        fail_usage(str(error))
    if sizes:
        _resize(context, endpoints, name, sizes, timeout, as_json)
        return
    changed = ask(
        context, endpoints, lambda c: c.set_setting(name, value, timeout=timeout), write=True, as_json=as_json
    )
    if as_json:
        print_json({"applied": "yes", "name": name, "value": getattr(changed, name)})
    else:
        print(f"{shown(name)} is {told(getattr(changed, name))}.")


def _sizes_of(name: str, value: str, other: tuple[str, str] | None) -> dict[str, int]:
    """The quorum sizes that the command names. Raises `ConfigurationError`."""
    sizes = {name: quorum_sizes.size_of(name, value)}
    if other is not None:
        second = setting_named(other[0])
        if second not in quorum_sizes.NAMES or second == name:
            wanted = PHASE_2 if name == PHASE_1 else PHASE_1
            raise ConfigurationError(f"beside {shown(name)}, --and may name {shown(wanted)} only")
        sizes[second] = quorum_sizes.size_of(second, other[1])
    return sizes


def _resize(
    context: typer.Context, endpoints: str | None, name: str, sizes: dict[str, int], timeout: float, as_json: bool
) -> None:
    def change(client: Client) -> QuorumSizes:
        return client.set_quorum_sizes(phase_1=sizes.get(PHASE_1), phase_2=sizes.get(PHASE_2), timeout=timeout)

    changed = ask(context, endpoints, change, write=True, as_json=as_json)
    held = _sizes_json(changed)
    if as_json:
        print_json({"applied": "yes", "name": name, "value": held[name], **held, "note": changed.note})
        return
    for named in sizes:
        print(f"{shown(named)} is {quorum_sizes.counted(held[named], changed.voters)}.")
    if changed.note:
        print(f"{changed.note}.")


def _sizes_json(sizes: QuorumSizes) -> dict[str, int]:
    return {PHASE_1: sizes.phase_1, PHASE_2: sizes.phase_2}


def told(value: object) -> str:
    """A value as people write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
