"""The report's tables and drawings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coterie.check.drawing.text import draw_text
from coterie.check.lattice import STRONGEST_FIRST
from coterie.lab.experiment import Table, Text
from coterie.lab.models import small, transactions
from coterie.lab.models.catalogue import CARDS, IMPLIES, stronger
from coterie.lab.models.findings import Practice, Theory
from coterie.lab.models.forever import EVENTUAL


def models_table(theory: Theory) -> Table:
    """All that is said of the models."""
    rows = tuple(
        (
            card.name,
            card.condition,
            card.guarantee,
            ", ".join(IMPLIES.get(card.name, ())) or "-",
            card.composable,
            theory.available[card.name].kind,
            card.latency,
            card.source,
        )
        for card in CARDS
    )
    columns = ("model", "condition", "guarantee", "implies", "composable", "available", "latency", "source")
    return Table(title="The models", columns=columns, rows=rows)


def ways_table(practice: Practice) -> Table:
    """Which of Coterie's reads gave what."""
    marks = {True: "holds", False: "fails", None: "open"}
    rows = tuple(
        (m.protocol, m.way.name, m.way.words, *(marks[m.verdicts.get(model)] for model in STRONGEST_FIRST),
         "holds" if m.eventual else "fails", m.operations)
        for m in practice.ways
    )  # fmt: skip
    columns = ("protocol", "reads", "how", *STRONGEST_FIRST, EVENTUAL, "operations")
    return Table(title="Coterie's reads under trouble: what their histories satisfied", columns=columns, rows=rows)


def transactions_table(practice: Practice) -> Table:
    """What transactions over both keys gave."""
    rows = tuple(
        (one.protocol, one.how.name, one.strongest, one.transactions, one.trials) for one in practice.transacted
    )
    columns = ("protocol", "how", "strongest that held", "transactions", "trials")
    return Table(title="Coterie's transactions under trouble", columns=columns, rows=rows)


def told_apart(theory: Theory) -> Iterator[tuple[str, str, str]]:
    """For each edge of the lattice: the weaker, the stronger, and the smallest history that only the weaker allows."""
    for card in CARDS:
        for above in stronger(card.name):
            pair = (card.name, above)
            if pair in theory.found.witnesses:
                yield *pair, small.told(theory.found.witnesses[pair])
            elif pair in theory.isolation.witnesses:
                yield *pair, transactions.told(theory.isolation.witnesses[pair])
            elif card.name == EVENTUAL and theory.endings.below is not None:
                yield *pair, small.told(*theory.endings.below)


def texts(theory: Theory, practice: Practice) -> Iterator[Text]:
    """What is to be read as it stands."""
    for weaker, above, drawn in told_apart(theory):
        yield Text(title=f"The smallest history that {weaker} allows and {above} forbids", body=drawn)
    if theory.endings.apart is not None:
        words = "The smallest that is causal and never becomes one: `...` goes on for ever"
        yield Text(title=words, body=small.told(*theory.endings.apart))
    if theory.isolation.nothing is not None:
        words = "The smallest that snapshot isolation forbids, and all above it"
        yield Text(title=words, body=transactions.told(theory.isolation.nothing))
    for model, history in theory.found.not_composable.items():
        yield Text(title=f"Each key is {model}, the whole is not", body=small.told(history))
    for model, several in theory.isolation.not_composable.items():
        yield Text(title=f"Each key is {model}, the whole is not", body=transactions.told(several))
    for model, found in theory.available.items():
        if found.refuted:
            where = "to those who move" if found.kind == "sticky" else "under partition"
            words = f"Why {model} cannot be had {where}: no other answers are possible, and it forbids these"
            yield Text(title=words, body=found.refuted)
    yield from _seen(practice)


def _seen(practice: Practice) -> Iterator[Text]:
    """The smallest histories of Coterie that show what a way to read does not give."""
    for measured in practice.ways:
        for model in dict.fromkeys((*measured.way.fails, *measured.examples)):
            if model in measured.examples and (model in measured.way.fails or model in measured.way.holds):
                title = f"{measured.protocol}, {measured.way.name}: not {model}"
                yield Text(title=title, body=draw_text(measured.examples[model]))
    for one in practice.transacted:
        if one.example is not None:
            title = f"{one.protocol}, {one.how.name}: not strict-serializable"
            yield Text(title=title, body=draw_text(one.example))
    for protocol, leased in practice.leased:
        if leased.example:
            title = f"{protocol}, lease reads, clocks {leased.drift_permille} thousandths apart: not linearizable"
            yield Text(title=title, body=leased.example)


def examples(theory: Theory) -> list[dict[str, Any]]:
    """The models as data."""
    apart = {(weaker, above): drawn for weaker, above, drawn in told_apart(theory)}
    return [
        {
            "name": card.name,
            "condition": card.condition,
            "guarantee": card.guarantee,
            "implies": list(IMPLIES.get(card.name, ())),
            "composable": card.composable,
            "available": theory.available[card.name].kind,
            "latency": card.latency,
            "source": card.source,
            "allowed_and_forbidden_by": {
                above: apart[card.name, above] for above in stronger(card.name) if (card.name, above) in apart
            },
        }
        for card in CARDS
    ]
