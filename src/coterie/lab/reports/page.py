"""An experiment's report as one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import Final

from coterie.lab.errors import LabError
from coterie.lab.experiment import Cell, Claim, Figure, Part, Report, Table

_STYLE: Final = """
:root { color-scheme: light }
body { font: 15px/1.55 system-ui, sans-serif; max-width: 1040px; margin: 2em auto; padding: 0 1em; color: #1a1a1a;
       background: #fff }
h1 { font-size: 1.6em; margin-bottom: .2em } h2 { font-size: 1.15em; margin-top: 2em }
table { border-collapse: collapse; margin: .6em 0; display: block; overflow-x: auto }
th, td { padding: .25em 1em .25em 0; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd }
th { border-bottom: 2px solid #555 } td.n { text-align: right; font-variant-numeric: tabular-nums }
pre { background: #f6f6f4; padding: .8em 1em; overflow-x: auto; font-size: 13px; line-height: 1.4 }
.agrees { color: #006b4d } .differs { color: #b32400 } .explained { color: #8a5a00 }
figure { margin: 1em 0 } figcaption { color: #444; font-size: 13px } svg { max-width: 100%; height: auto }
@media print { body { margin: 0 } pre, figure, tr { break-inside: avoid } }
"""


def page(report: Report, title: str) -> str:
    """The whole page. `title`: what the experiment is about."""
    word = (
        "differs, for the reasons shown" if report.verdict == "differs" and not report.unexplained else report.verdict
    )
    mood = "agrees" if report.verdict == "agrees" else "differs" if report.unexplained else "explained"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="{mood}"><strong>{escape(word)}</strong> (seed {report.seed})</p>',
        f"<p>{escape(report.summary)}</p>",
        "<h2>Claims</h2>",
        _claims(report.claims),
        *map(_part, report.parts),
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _claims(claims: object) -> str:
    rows = []
    assert isinstance(claims, list | tuple)
    for claim in claims:
        assert isinstance(claim, Claim)
        mood, word = ("agrees", "agrees") if claim.agrees else ("differs", "differs")
        if claim.explained and not claim.agrees:
            mood = "explained"
        rows.append(
            f"<tr><td>{escape(claim.id)}</td><td>{escape(claim.expected)}</td><td>{escape(claim.measured)}</td>"
            f'<td class="{mood}">{word}</td><td>{escape(claim.why)}</td></tr>'
        )
    head = "<tr><th>claim</th><th>expected</th><th>measured</th><th></th><th>why</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _part(part: Part) -> str:
    title = f"<h2>{escape(part.title)}</h2>"
    if isinstance(part, Table):
        return title + _table(part)
    if isinstance(part, Figure):
        try:
            drawn = part.draw()
        except LabError as error:
            return f"{title}<p>{escape(str(error))}</p>"
        note = f"<figcaption>{escape(part.note)}</figcaption>" if part.note else ""
        return f"{title}<figure>{drawn}{note}</figure>"
    return f"{title}<pre>{escape(part.body)}</pre>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return f"<table><tr>{head}</tr>{rows}</table>"


def _cell(value: Cell) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f'<td class="n">{shown(value)}</td>' if number else f"<td>{escape(shown(value))}</td>"


def shown(value: Cell) -> str:
    """A cell as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value
