"""`coterie lab models`: the lattice of consistency models by search, and which of them Coterie's ways to read give."""

from __future__ import annotations

from typing import Any, Final

from coterie.check.lattice import STRONGEST_FIRST
from coterie.check.views import Guarantee
from coterie.core.protocols import PROTOCOLS
from coterie.lab.experiment import Conditions, Figure, Part, Report
from coterie.lab.models import atomic, availability, forever, transactions, witnesses
from coterie.lab.models.atomic import Transacted
from coterie.lab.models.availability import TOTAL, Available
from coterie.lab.models.claims import claims_of_theory, claims_of_ways
from coterie.lab.models.drift import BEYOND_PERMILLE, WITHIN_PERMILLE, Leased, reads_of_a_leader_cut_off
from coterie.lab.models.findings import Practice, Theory
from coterie.lab.models.forever import EVENTUAL
from coterie.lab.models.modes import WAYS, Measured, trial
from coterie.lab.models.picture import lattice
from coterie.lab.models.show import examples, models_table, texts, transactions_table, ways_table

TRIALS: Final = 4
QUICK_TRIALS: Final = 2
MOST_TRIALS: Final = 20
"""What a way to read does not promise need not fail in the first few: so many are tried until it has."""
SESSION: Final = tuple(
    one.value
    for one in (
        Guarantee.READ_YOUR_WRITES,
        Guarantee.MONOTONIC_READS,
        Guarantee.MONOTONIC_WRITES,
        Guarantee.WRITES_FOLLOW_READS,
    )
)


def models(conditions: Conditions) -> Report:
    """Search, run, and compare."""
    theory = search_models(conditions)
    practice = run_ways(conditions)
    claims = [*claims_of_theory(theory), *claims_of_ways(practice)]
    kinds = {name: one.kind for name, one in theory.available.items()}
    given: dict[str, list[str]] = {}
    for measured in practice.ways:
        if measured.protocol == PROTOCOLS[0]:
            for model in measured.strongest or ((EVENTUAL,) if measured.eventual else ()):
                given.setdefault(model, []).append(measured.way.name)
    for one in practice.transacted:
        if one.protocol == PROTOCOLS[0]:
            given.setdefault(one.strongest, []).append(one.how.name)
    parts: list[Part] = [
        Figure(
            title="The lattice, and where Coterie's reads stand",
            draw=lambda: lattice(kinds, given),
            note="An arrow goes to what is implied. Borders: what the search for available answers found.",
        ),
        models_table(theory),
        ways_table(practice),
        transactions_table(practice),
        *texts(theory, practice),
    ]
    wrong = sum(not claim.agrees for claim in claims)
    return Report(
        experiment="models",
        seed=conditions.seed,
        claims=claims,
        summary=(
            f"{theory.found.judged + theory.endings.judged + theory.isolation.judged} small histories judged by every "
            f"model, {theory.found.looked} larger ones looked at; {len(practice.ways)} ways to read Coterie under "
            f"trouble, {sum(m.operations for m in practice.ways)} operations. "
            + (f"{wrong} of {len(claims)} claims differ." if wrong else f"All {len(claims)} claims agree.")
        ),
        data={
            "models": examples(theory),
            "ways": [*map(_way, practice.ways)],
            "transactions": [*map(_transacted, practice.transacted)],
        },
        parts=parts,
    )


def search_models(conditions: Conditions) -> Theory:
    """All small histories. No chance is in it: the seed changes nothing."""
    judge = witnesses.Judge()
    tell = conditions.progress
    tell(0.0, "small histories")
    found = witnesses.search(judge, tell=lambda share: tell(0.1 * share, "small histories"))
    tell(0.25, "what goes on for ever")
    broken = {g: min((h for (_, b), h in found.witnesses.items() if b == g), key=len) for g in SESSION}
    endings = forever.search(judge, broken)
    tell(0.28, "transactions")
    isolation = transactions.search()
    tell(0.32, "what can be answered under partition")
    available = {model: availability.available(model, judge) for model in STRONGEST_FIRST}
    available |= {model: availability.available_transactions(model) for model in transactions.TRANSACTIONAL}
    # Before the sides meet again it asks nothing; after that any rule by which they agree will do.
    available[EVENTUAL] = Available(TOTAL, "any, and one order of writes when the sides meet again", "", 0)
    return Theory(found, endings, isolation, available)


def run_ways(conditions: Conditions) -> Practice:
    """Coterie with both protocols."""
    ways: list[Measured] = []
    leased: list[tuple[str, Leased]] = []
    trials = QUICK_TRIALS if conditions.quick else TRIALS
    todo = [(protocol, way) for protocol in PROTOCOLS for way in WAYS]
    for number, (protocol, way) in enumerate(todo):
        conditions.progress(0.4 + 0.55 * number / len(todo), f"{protocol}: {way.name}")
        measured = Measured(way, protocol)
        while measured.trials < trials or (measured.unseen and measured.trials < MOST_TRIALS):
            trial(way, protocol, conditions.seed * 1000 + measured.trials, measured)
        ways.append(measured)
    transacted: list[Transacted] = []
    for protocol, how in [(protocol, how) for protocol in PROTOCOLS for how in atomic.TRANSACTING]:
        conditions.progress(0.95, f"{protocol}: {how.name}")
        several = Transacted(how, protocol)
        while several.trials < trials or (several.unseen and several.trials < MOST_TRIALS):
            atomic.trial(how, protocol, conditions.seed * 1000 + several.trials, several)
        transacted.append(several)
    for protocol in PROTOCOLS:
        conditions.progress(0.97, f"{protocol}: lease reads and clocks")
        for drift in (WITHIN_PERMILLE, BEYOND_PERMILLE):
            seen = reads_of_a_leader_cut_off(protocol, conditions.seed, drift)
            leased.append((protocol, seen))
    return Practice(ways, transacted, leased)


def _transacted(one: Transacted) -> dict[str, Any]:
    return {
        "protocol": one.protocol,
        "way": one.how.name,
        "trials": one.trials,
        "transactions": one.transactions,
        "leaders": one.leaders,
        "strongest": one.strongest,
    }


def _way(measured: Measured) -> dict[str, Any]:
    return {
        "protocol": measured.protocol,
        "way": measured.way.name,
        "trials": measured.trials,
        "operations": measured.operations,
        "refused": measured.refused,
        "leaders": measured.leaders,
        "strongest": list(measured.strongest),
        "verdicts": measured.verdicts,
        "eventual": measured.eventual,
    }
