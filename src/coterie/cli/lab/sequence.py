"""`coterie lab sequence`: see for yourself how the protocols work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coterie.cli.lab.showing import write_file
from coterie.cli.outcome import JsonOption, fail, fail_usage, print_json
from coterie.cli.tables import plain_table, table_console
from coterie.core.errors import ConfigurationError, CoterieError
from coterie.core.protocols import PROTOCOLS
from coterie.lab.drawing.mermaid import draw_mermaid
from coterie.lab.drawing.svg import draw_svg
from coterie.lab.drawing.text import draw_text
from coterie.lab.recording import Recording
from coterie.lab.scenarios import DEFAULT_SEED, SCENARIOS, play


def sequence(
    scenario: Annotated[str | None, typer.Argument(metavar="SCENARIO", help="Left out: a list of them.")] = None,
    protocol: Annotated[str, typer.Option(metavar="NAME", help=f"{' or '.join(PROTOCOLS)}.")] = PROTOCOLS[0],
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a space-time diagram, for print.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Mermaid diagram, for Markdown.")] = False,
    as_json: JsonOption = False,
    seed: Annotated[int, typer.Option(help="Delays and timers; the same seed is the same run.")] = DEFAULT_SEED,
) -> None:
    """Run the protocol in memory, and draw who says what, and what waits for which disk.

    Example: coterie lab sequence failover --protocol multipaxos --svg failover.svg
    """
    if scenario is None:
        _list(as_json)
        return
    if sum((svg is not None, markdown, as_json)) > 1:
        fail_usage("--svg, --markdown and --json are three different drawings: choose one")
    try:
        recording = play(scenario, protocol, seed)
    except ConfigurationError as error:
        fail_usage(str(error))
    except CoterieError as error:
        fail(error, write=False, as_json=as_json)
    if as_json:
        print_json(recording)
    elif markdown:
        print(f"```mermaid\n{draw_mermaid(recording)}\n```")
    elif svg is not None:
        write_file(svg, draw_svg(recording))
        print(f"{svg} is written.")
    else:
        _show(recording)


def _list(as_json: bool) -> None:
    if as_json:
        print_json({"scenarios": {name: scenario.line for name, scenario in SCENARIOS.items()}})
        return
    table = plain_table()
    table.add_column("scenario", no_wrap=True)
    table.add_column("what it shows")
    for name, scenario in SCENARIOS.items():
        table.add_row(name, scenario.line)
    table_console().print(table)
    print(f"coterie lab sequence SCENARIO --protocol {'|'.join(PROTOCOLS)}")


def _show(recording: Recording) -> None:
    console = table_console()
    title = f"{recording.scenario}, {recording.protocol}, seed {recording.seed}: {SCENARIOS[recording.scenario].line}"
    console.print(title, style="bold", highlight=False, markup=False, soft_wrap=True)
    console.print(draw_text(recording), soft_wrap=True, end="")
