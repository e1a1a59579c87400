"""`coterie settings`: what all members of a cluster share."""

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
from coterie.core.errors import ConfigurationError
from coterie.core.settings import Settings
from coterie.engine.setting_values import check_name, with_setting

app = group(
    "List, read and change the settings that all members share. They stand in the log.",
    "coterie settings set lease_reads true",
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
    found = _ask(context, endpoints, timeout, as_json)
    if as_json:
        print_json({"settings": msgspec.to_builtins(found)})
        return
    table = plain_table()
    for column in ("setting", "value", "default"):
        table.add_column(column, no_wrap=True)
    default = Settings()
    for name in Settings.__struct_fields__:
        value, usual = getattr(found, name), getattr(default, name)
        table.add_row(name, told(value), "" if value == usual else told(usual))
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

    Example: coterie settings get snapshot_log_bytes
    """
    try:
        check_name(name)
    except ConfigurationError as error:
        fail_usage(str(error))
    value = getattr(_ask(context, endpoints, timeout, as_json), name)
    if as_json:
        print_json({"name": name, "value": value})
    else:
        print(told(value))


@app.command(name="set")
def set_setting(
    context: typer.Context,
    name: Setting,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="A whole number, or true or false.")],
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Change a setting for all members, at one place in the log.

    Example: coterie settings set snapshot_keep_entries 10000
    """
    try:
        with_setting(Settings(), name, value)
    except ConfigurationError as error:
        fail_usage(str(error))
    changed = ask(
        context, endpoints, lambda c: c.set_setting(name, value, timeout=timeout), write=True, as_json=as_json
    )
    if as_json:
        print_json({"applied": "yes", "name": name, "value": getattr(changed, name)})
    else:
        print(f"{name} is {told(getattr(changed, name))}.")


def _ask(context: typer.Context, endpoints: str | None, timeout: float, as_json: bool) -> Settings:
    return ask(context, endpoints, lambda c: c.settings(timeout=timeout), write=False, as_json=as_json)


def told(value: object) -> str:
    """A value as people write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
