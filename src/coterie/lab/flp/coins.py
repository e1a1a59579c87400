"""Third part: coins. Ben-Or's protocol against a fair order and against an adversary that sees everything."""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import sqrt
from typing import Any, Final

import msgspec

from coterie.lab.experiment import Claim, Figure, Table
from coterie.lab.flp.ben_or import Rules
from coterie.lab.flp.odds import against_adversary, allowed, deviation, farthest, in_fair_order, mean, survivors
from coterie.lab.flp.schedules import Run, fair, freely, halves, in_waves, strong
from coterie.lab.flp.section import Section, Tell, share
from coterie.lab.reports.plots import COLOURS, LINES, MARKERS, plot

SIZES: Final = ((3, 1, 1500), (5, 2, 1000), (7, 3, 300), (9, 1, 500), (9, 2, 500), (9, 3, 150))
"""Processes, how many may crash, runs. The first three have as few processes as that takes: n = 2t + 1."""
QUICK: Final = 3
"""So many times fewer runs."""
STANDARD_ERRORS: Final = 5
"""A mean may be so far from its formula: farther by chance in one of 10^6 trials."""
LEAST_RUNS: Final = 5
"""Fewer are not drawn: their share says little."""
POINTS: Final = 14
FAIR, STRONG, FREE = "fair", "adversary", "free, with crashes"


class Trials(msgspec.Struct, kw_only=True):
    """Many runs of one size in one sort of order."""

    processes: int
    crashes: int
    order: str
    runs: Sequence[Run]
    formula: Sequence[float] | None
    """P(first decision in round 1), 2, ...; None: there is no formula."""

    @property
    def rounds(self) -> list[int]:
        """Of the first decision, in each run that has one."""
        return [run.first for run in self.runs if run.first]

    @property
    def mean(self) -> float:
        """Of these."""
        return sum(self.rounds) / max(1, len(self.rounds))

    @property
    def name(self) -> str:
        """For people."""
        return f"n = {self.processes}, t = {self.crashes}, {self.order}"

    def fits(self) -> bool:
        """Whether the sample can be of the calculated distribution."""
        if self.formula is None:
            return True
        if len(self.rounds) < len(self.runs):
            return False
        near = farthest(self.rounds, self.formula) <= allowed(len(self.rounds))
        error = deviation(self.formula) / sqrt(len(self.rounds))
        return near and abs(self.mean - mean(self.formula)) <= STANDARD_ERRORS * max(error, 1e-9)


def look(rng: random.Random, tell: Tell, *, quick: bool) -> list[Trials]:
    """Run all sizes in all orders."""
    found = []
    for place, (n, t, runs) in enumerate(SIZES):
        tell(place / len(SIZES), f"Ben-Or, {n} processes of which {t} may crash")
        found += trials(Rules(processes=n, crashes=t), runs // (QUICK if quick else 1), rng)
    return found


def trials(rules: Rules, runs: int, rng: random.Random) -> list[Trials]:
    """One size in all orders, from inputs that are split in half."""
    n, t, inputs = rules.processes, rules.crashes, halves(rules.processes)

    def of(order: str, found: list[Run], formula: list[float] | None) -> Trials:
        return Trials(processes=n, crashes=t, order=order, runs=found, formula=formula)

    return [
        of(FAIR, [in_waves(rules, inputs, fair, rng) for _ in range(runs)], in_fair_order(n, t, sum(inputs))),
        of(STRONG, [in_waves(rules, inputs, strong, rng) for _ in range(runs)], against_adversary(n, t)),
        of(FREE, [freely(rules, inputs, t, rng) for _ in range(runs)], None),
    ]


def unanimous(rules: Rules, rng: random.Random, runs: int) -> list[Run]:
    """Runs in which all begin with one value: validity says what is decided."""
    return [
        run
        for number in range(runs)
        for inputs in [(number % 2,) * rules.processes]
        for run in (in_waves(rules, inputs, strong, rng), freely(rules, inputs, rules.crashes, rng))
    ]


# -- claims -----------------------------------------------------------------------------------------


def judge(found: Sequence[Trials], equal: Sequence[Run]) -> tuple[Claim, ...]:
    """What Ben-Or's paper and the formulae say beside what was run."""
    runs = [run for each in found for run in each.runs]
    wrong = [run.wrong for run in (*runs, *equal) if run.wrong is not None]
    ended = sum(run.complete for run in (*runs, *equal))
    late = sum(run.last > run.first + 1 for run in runs)
    total = len(runs) + len(equal)
    fitted = [each for each in found if each.formula is not None]
    fit = [each for each in fitted if each.fits()]
    return (
        Claim(
            id="coins-decide",
            expected="with coins every run decides, also against an adversary that sees all of them",
            measured=f"in {share(ended, total)} runs every living process decides, "
            f"all within a round of the first in {share(len(runs) - late, len(runs))}",
            agrees=total > 0 and ended == total and not late,
            why="a fair order, an adversary, and any order with as many crashes as are allowed",
        ),
        Claim(
            id="coins-are-safe",
            expected="agreement and validity in every run",
            measured=f"broken in {share(len(wrong), total)} runs" + (f": {wrong[0]}" if wrong else ""),
            agrees=not wrong,
            why=f"looked at after each run, {len(equal):,} of them from equal inputs",
        ),
        Claim(
            id="rounds-follow-the-formula",
            expected="rounds until the first decision are distributed as calculated",
            measured=f"{share(len(fit), len(fitted))} samples fit"
            + "".join(f"; {each.name} does not" for each in fitted if not each.fits()),
            agrees=bool(fitted) and len(fit) == len(fitted),
            why="distance of the distribution functions within the bound of Dvoretzky, Kiefer and Wolfowitz for a "
            f"false alarm of 10^-6, and the mean within {STANDARD_ERRORS} standard errors",
        ),
        _price(found),
    )


def _price(found: Sequence[Trials]) -> Claim:
    tight = [e for e in found if e.order == STRONG and e.processes == 2 * e.crashes + 1]
    words = ", ".join(f"{e.mean:.1f} (2^{e.processes - 1} + 1 = {2 ** (e.processes - 1) + 1})" for e in tight)
    near = all(abs(e.mean / (2 ** (e.processes - 1) + 1) - 1) < STANDARD_ERRORS / sqrt(len(e.runs)) for e in tight)
    dearer = all(
        e.mean > other.mean
        for e in tight
        for other in found
        if other.order == FAIR and other.processes == e.processes and other.crashes == e.crashes
    )
    return Claim(
        id="adversary-costs-exponentially",
        expected="with n = 2t + 1 an adversary makes it 1 + 2^(n-1) rounds on average, a fair order far fewer",
        measured=f"mean rounds {words}",
        agrees=bool(tight) and near and dearer,
        why="only coins that all fall alike end a round that is hidden from everybody",
    )


# -- what is shown ------------------------------------------------------------------------------------


def section(found: Sequence[Trials], equal: Sequence[Run]) -> Section:
    """Claims, data, table and figure."""
    rows = tuple(
        (
            each.processes,
            each.crashes,
            each.order,
            len(each.runs),
            round(each.mean, 3),
            None if each.formula is None else round(mean(each.formula), 3),
            max(each.rounds, default=0),
            None if each.formula is None else round(farthest(each.rounds, each.formula), 4),
            None if each.formula is None else round(allowed(len(each.rounds)), 4),
        )
        for each in found
        if each.rounds
    )
    columns = ("n", "t", "order", "runs", "mean rounds", "calculated", "longest", "distance", "allowed")
    data = [dict(zip(columns, row, strict=True)) | {"rounds": _counts(e)} for row, e in zip(rows, found, strict=False)]
    return Section(
        claims=judge(found, equal),
        data={"ben_or": data},
        parts=(
            Table(title="Ben-Or: rounds until the first decision", columns=columns, rows=rows),
            Figure(
                title="Ben-Or: how long it stays undecided",
                draw=lambda: plot(lambda figure: _draw(figure, found), height=4.6),
                note="Share of runs that have not decided after so many rounds: marks are runs, lines are calculated. "
                "The adversary makes it long, and cannot make it last.",
            ),
        ),
    )


def _counts(each: Trials) -> dict[str, int]:
    found: dict[str, int] = {}
    for r in sorted(each.rounds):
        found[str(r)] = found.get(str(r), 0) + 1
    return found


def _left_over(rounds: Sequence[int]) -> list[tuple[int, float]]:
    """The share of runs that lasted longer than so many rounds, while these are enough to tell."""
    last = max((r for r in range(max(rounds)) if sum(x > r for x in rounds) >= LEAST_RUNS), default=0)
    at = sorted({round(last * k / POINTS) for k in range(POINTS + 1)})
    return [(r, sum(x > r for x in rounds) / len(rounds)) for r in at]


def _draw(figure: Any, found: Sequence[Trials]) -> None:
    shown = [e for e in found if e.formula is not None and e.processes == 2 * e.crashes + 1]
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, order, title in ((left, FAIR, "a fair order"), (right, STRONG, "an adversary that sees everything")):
        for place, each in enumerate(e for e in shown if e.order == order):
            assert each.formula is not None
            pairs = _left_over(each.rounds)
            last = pairs[-1][0]
            axes.plot(range(last + 1), survivors(each.formula, last), LINES[place], color=COLOURS[place], linewidth=1.2)
            axes.plot(
                [k for k, _ in pairs],
                [left_over for _, left_over in pairs],
                MARKERS[place],
                color=COLOURS[place],
                label=f"n = {each.processes}, t = {each.crashes}",
                markersize=5,
            )
        axes.set_yscale("log")
        axes.set_xlabel("rounds")
        axes.set_title(title)
        axes.legend()
    left.set_ylabel("share of runs still undecided")
