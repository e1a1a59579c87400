"""`coterie check`: is a history linearizable, and if not, what is wrong with it?"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from coterie.check.counterexample import Counterexample
from coterie.check.drawing.svg import draw_html, draw_svg
from coterie.check.drawing.text import draw_text
from coterie.check.formats.json_lines import as_json as value_as_json
from coterie.check.formats.limits import MOST_BYTES
from coterie.check.formats.reading import read_history
from coterie.check.history import HistoryError, Operation
from coterie.check.lattice import DEFAULT_STEPS, LINEARIZABLE, Judgement, Verdict, judge
from coterie.check.models.catalogue import MODELS, model_for
from coterie.check.models.model import Model
from coterie.cli.outcome import Exit, JsonOption, fail_usage, print_json

AUTO = "auto"
DEFAULT_TIMEOUT_S = 300.0
DRAWINGS = (".svg", ".html")
CODES = {
    Verdict.LINEARIZABLE: Exit.DONE,
    Verdict.NOT_LINEARIZABLE: Exit.NOT_FOUND,
    Verdict.UNKNOWN: Exit.UNKNOWN,
}
WORDS = {
    Verdict.LINEARIZABLE: "linearizable",
    Verdict.NOT_LINEARIZABLE: "NOT linearizable",
    Verdict.UNKNOWN: "unknown: the time did not suffice; --timeout gives more",
}


def check(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON lines, Jepsen's EDN, or Jepsen's log; - is stdin.")
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help=f"{AUTO}, {', '.join(MODELS)}.")] = AUTO,
    as_json: JsonOption = False,
    draw: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw what is wrong: .svg or .html.")] = None,
    timeout: Annotated[float, typer.Option(min=0.001, metavar="S", help="Seconds; then unknown.")] = DEFAULT_TIMEOUT_S,
    steps: Annotated[
        int, typer.Option(min=1, metavar="N", help="For each model weaker than linearizability; then undecided.")
    ] = DEFAULT_STEPS,
) -> None:
    """Judge a history of what clients asked and were told. Exit code: 0 linearizable, 1 not, 4 unknown.

    Example: coterie check history.jsonl --draw wrong.html
    """
    if draw is not None and draw.suffix not in DRAWINGS:
        fail_usage(f"--draw {draw}: the name must end with {' or '.join(DRAWINGS)}")
    if model != AUTO and model not in MODELS:
        fail_usage(f"--model {model!r}: it must be one of {AUTO}, {', '.join(MODELS)}")
    begun = time.monotonic()
    try:
        with Console(stderr=True).status("reading", spinner="dots") as status:
            history = read_history(_read(file))
            judged_by = _model(model, history)
            status.update(f"checking {len(history)} operations of a {judged_by.name}")
            judgement = judge(history, judged_by, lambda: time.monotonic() < begun + timeout, steps)
    except HistoryError as error:
        _unreadable(f"{file}: {error}", error.advice, as_json)
    seconds = round(time.monotonic() - begun, 3)
    if draw is not None:
        _draw(draw, file, judgement)
    if as_json:
        print_json(_as_json(judgement, seconds))
    else:
        _show(judgement, seconds, draw)
    raise typer.Exit(CODES[judgement.verdict])


def _read(file: Path) -> bytes:
    """The file, or so much of it that it is seen to be too large."""
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(MOST_BYTES + 1)
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise HistoryError(f"it cannot be read: {error.strerror}", advice="name a file with a history") from None


def _model(name: str, history: list[Operation]) -> Model:
    if not history:
        raise HistoryError("no operation took place: all failed, or there are none")
    return model_for(history) if name == AUTO else MODELS[name]


def _unreadable(message: str, advice: str, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"error": message, "advice": advice})
    print(f"coterie: {message}", file=sys.stderr)
    print(f"What to do: {advice}.", file=sys.stderr)
    raise typer.Exit(Exit.USAGE)


def _show(judgement: Judgement, seconds: float, draw: Path | None) -> None:
    print(f"{judgement.model}, {judgement.operations} operations: {WORDS[judgement.verdict]} ({seconds:.2f} s)")
    if judgement.verdict is not Verdict.LINEARIZABLE:
        print(f"strongest that holds: {judgement.strongest or 'none that is known'}")
        for name, models in (("holds", judgement.holds), ("fails", judgement.fails), ("open", judgement.undecided)):
            print(f"  {name}: {', '.join(models) or 'none'}")
    for counterexample in _shown(judgement):
        print(f"\n{draw_text(counterexample)}", end="")
    if draw is not None and draw.exists():
        print(f"\n{draw} is written.")


def _shown(judgement: Judgement) -> list[Counterexample]:
    """The counterexamples without repetition: one that breaks a weak model breaks the stronger ones, too."""
    shown: dict[tuple[Operation, ...], Counterexample] = {}
    for counterexample in judgement.counterexamples:
        shown.setdefault(counterexample.operations, counterexample)
    return list(shown.values())


def _draw(path: Path, file: Path, judgement: Judgement) -> None:
    counterexamples = _shown(judgement)
    if path.suffix == ".html":
        facts = [
            ("verdict", WORDS[judgement.verdict]),
            ("object", judgement.model),
            ("operations", str(judgement.operations)),
            ("holds", ", ".join(judgement.holds)),
            ("fails", ", ".join(judgement.fails)),
            ("open", ", ".join(judgement.undecided)),
        ]
        drawing = draw_html(counterexamples, f"History {file.name}", [fact for fact in facts if fact[1]])
    elif counterexamples:
        drawing = draw_svg(counterexamples[0])
    else:
        print(f"coterie: there is nothing wrong to draw; {path} is not written", file=sys.stderr)
        return
    try:
        path.write_text(drawing, encoding="utf-8")
    except OSError as error:
        fail_usage(f"{path} cannot be written: {error.strerror}")


def _as_json(judgement: Judgement, seconds: float) -> dict[str, object]:
    examples = {example.model: example for example in judgement.counterexamples}
    first = examples.get(LINEARIZABLE)
    return {
        "verdict": judgement.verdict.value,
        "model": judgement.model,
        "operations": judgement.operations,
        "seconds": seconds,
        "strongest": judgement.strongest,
        "holds": judgement.holds,
        "fails": judgement.fails,
        "undecided": judgement.undecided,
        "counterexample": _operations(first) if first is not None else [],
        "reason": first.reason if first is not None else "",
        "counterexamples": {
            name: {"operations": _operations(example), "reason": example.reason} for name, example in examples.items()
        },
    }


def _operations(counterexample: Counterexample) -> list[dict[str, object]]:
    return [
        {
            "process": operation.process,
            "f": operation.f,
            "key": value_as_json(operation.key),
            "value": value_as_json(operation.argument),
            "result": value_as_json(operation.result),
            "start": operation.start,
            "end": operation.end if operation.known else None,
            "line": operation.line,
            "culprit": operation == counterexample.culprit,
        }
        for operation in counterexample.operations
    ]
