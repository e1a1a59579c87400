"""`coterie bench put` and `coterie bench get`."""

from __future__ import annotations

import asyncio
import gc
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from coterie.cli.connection_options import credentials_of, tls_of
from coterie.cli.groups import group
from coterie.cli.outcome import EndpointsOption, JsonOption, endpoints_of, fail, fail_usage, print_json
from coterie.cli.survey import pid_here, survey
from coterie.client.config import ClientConfig
from coterie.client.load import Load, LoadOptions, LoadResult
from coterie.core.errors import ConfigurationError, CoterieError
from coterie.runtime.event_loop import new_event_loop
from coterie.torture.server_cpu import ServerCpu

LOOK_INTERVAL_S = 0.2
GC_THRESHOLD = 50_000
"""Objects between collections of the young generation: requests in flight are no garbage yet."""
NANOS_PER_MILLISECOND = 1_000_000

app = group(
    "Measure: a fixed number of operations in flight for some seconds, each in a frame of its own.",
    "coterie bench put --in-flight 64 --value 256 --seconds 10 --json",
)

InFlight = Annotated[int, typer.Option("--in-flight", min=1, max=65536, metavar="N", help="Operations in flight.")]
Value = Annotated[int, typer.Option("--value", min=0, max=1024 * 1024, metavar="BYTES", help="Size of each value.")]
Seconds = Annotated[float, typer.Option("--seconds", min=0.1, metavar="S", help="How long to measure.")]
SessionOption = Annotated[
    bool, typer.Option("--session/--no-session", help="With: each put takes effect exactly once, as clients do.")
]


@app.command()
def put(
    context: typer.Context,
    in_flight: InFlight = 64,
    value: Value = 256,
    seconds: Seconds = 10.0,
    session: SessionOption = True,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
) -> None:
    """Puts of values under 16-byte keys.

    Example: coterie bench put --in-flight 1000 --seconds 5
    """
    _bench(context, endpoints, "put", in_flight, value, seconds, session, as_json)


@app.command()
def get(
    context: typer.Context,
    in_flight: InFlight = 64,
    value: Value = 256,
    seconds: Seconds = 10.0,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
) -> None:
    """Linearizable gets of keys that are written first.

    Example: coterie bench get --in-flight 64 --seconds 5
    """
    _bench(context, endpoints, "get", in_flight, value, seconds, True, as_json)


def _bench(
    context: typer.Context,
    endpoints: str | None,
    op: str,
    in_flight: int,
    value: int,
    seconds: float,
    session: bool,
    as_json: bool,
) -> None:
    try:
        where = endpoints_of(context, endpoints)
        options = LoadOptions(
            endpoints=where,
            op=op,
            in_flight=in_flight,
            value_bytes=value,
            seconds=seconds,
            session=session,
            config=ClientConfig(name="coterie-bench", give_up_unreachable=True, credentials=credentials_of(context)),
            tls=tls_of(context, where),
        )
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            result, cpu = runner.run(_measure(options, show=not as_json))
    except ConfigurationError as error:
        fail_usage(str(error))
    except CoterieError as error:
        fail(error, write=False, as_json=as_json)
    figures = _figures(options, result, cpu)
    if as_json:
        print_json(figures)
    else:
        _show(figures, result)


async def _measure(options: LoadOptions, show: bool) -> tuple[LoadResult, int | None]:
    """Run the load; beside it, watch the servers' CPU and draw a bar."""
    found = await survey(options.endpoints, options.tls)
    cpu = ServerCpu(pid for pid in map(pid_here, found.members) if pid is not None)
    load = Load(options, begun=cpu.begin, ended=cpu.look)
    running = asyncio.ensure_future(load.run())
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not show, transient=True) as progress:
        bar = progress.add_task(f"{options.op}, {options.in_flight} in flight", total=options.seconds, rate="")
        done = 0
        while True:
            await asyncio.wait([running], timeout=LOOK_INTERVAL_S)
            if running.done():
                break
            if load.running:
                cpu.look()
                progress.update(bar, advance=LOOK_INTERVAL_S, rate=f"{(load.done - done) / LOOK_INTERVAL_S:,.0f}/s")
                done = load.done
    return running.result(), cpu.microseconds()


def _figures(options: LoadOptions, result: LoadResult, cpu: int | None) -> dict[str, object]:
    def milliseconds(fraction: float) -> float | None:
        return round(result.latencies.quantile(fraction) / NANOS_PER_MILLISECOND, 4) if result.done else None

    return {
        "op": options.op,
        "in_flight": options.in_flight,
        "ops_per_s": round(result.done / result.seconds, 1),
        "p50_ms": milliseconds(0.5),
        "p99_ms": milliseconds(0.99),
        "p999_ms": milliseconds(0.999),
        "server_cpu_us_per_op": round(cpu / result.done, 2) if cpu is not None and result.done else None,
        "errors": result.errors,
    }


def _show(figures: dict[str, object], result: LoadResult) -> None:
    print(f"{figures['op']}, {figures['in_flight']} in flight: {result.done / result.seconds:,.0f} a second")
    print(f"latency ms: p50 {figures['p50_ms']}  p99 {figures['p99_ms']}  p99.9 {figures['p999_ms']}")
    cpu = figures["server_cpu_us_per_op"]
    print(f"CPU of all servers on this machine: {f'{cpu} µs an operation' if cpu is not None else 'not known'}")
    if result.errors:
        print(f"errors: {result.errors}, the first: {result.first_error}")
