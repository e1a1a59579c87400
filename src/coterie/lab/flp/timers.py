"""Fourth part: timers. The shipped protocols when a bound of delays is not known, or holds from some time on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from coterie.core.protocols import PROTOCOLS
from coterie.lab.experiment import Claim, Figure, Table
from coterie.lab.flp.section import Section, Tell, share
from coterie.lab.flp.synchrony import (
    DELAYS,
    PATIENCE_TIMEOUTS,
    RIGHT,
    TIMEOUT_MS,
    WRONG,
    Doubling,
    Election,
    Stabilised,
    bounds_ms,
    double,
    elect,
    gst_bound_ms,
    stabilise,
)
from coterie.lab.reports.plots import COLOURS, LINES, MARKERS, PLAIN, plot
from coterie.sim.verdict import Violation

TRIALS, QUICK_TRIALS = 6, 3
FIRST_MS: Final = 100
"""The timeout from which doubling starts."""
DOUBLED_DELAYS: Final = (10.0, 50.0, 200.0, 1000.0, 4000.0)
"""Milliseconds: the unknown bound."""
GSTS_MS: Final = (0, 2000, 8000, 20000)


class Timing(msgspec.Struct, kw_only=True):
    """What was measured."""

    elections: Sequence[Election]
    doublings: Sequence[Doubling]
    stabilised: Sequence[Stabilised]
    violations: Sequence[str] = ()
    """Laws that were seen broken."""


def look(seed: int, tell: Tell, *, quick: bool, timeout_ms: int = TIMEOUT_MS) -> Timing:
    """Measure both protocols. `timeout_ms`: other than what the claims are about, for a group that guesses wrong."""
    trials = QUICK_TRIALS if quick else TRIALS
    elections: list[Election] = []
    doublings: list[Doubling] = []
    stabilised: list[Stabilised] = []
    violations: list[str] = []
    for place, protocol in enumerate(PROTOCOLS):
        tell(place / len(PROTOCOLS), f"{protocol}: time to a leader, and after the network has become good")
        try:
            for share_ in DELAYS:
                delay = share_ * TIMEOUT_MS
                elections += [elect(protocol, delay, seed + n, timeout_ms=timeout_ms) for n in range(trials)]
            doublings += [double(protocol, delay, seed, first_ms=FIRST_MS) for delay in DOUBLED_DELAYS]
            stabilised += [stabilise(protocol, gst, seed + n) for gst in GSTS_MS for n in range(trials)]
        except Violation as broken:
            violations.append(f"{protocol}: {broken}")
    return Timing(elections=elections, doublings=doublings, stabilised=stabilised, violations=violations)


# -- claims -----------------------------------------------------------------------------------------


def judge(found: Timing) -> tuple[Claim, ...]:
    """All claims, each for both protocols together; the tables tell them apart."""
    return (_timely(found), _late(found), _doubled(found), _after_gst(found), _safe(found))


def _timely(found: Timing) -> Claim:
    good = [e for e in found.elections if e.delay_ms <= RIGHT * TIMEOUT_MS]
    inside = [
        e for e in good if e.took_ms is not None and bounds_ms(e.delay_ms)[0] <= e.took_ms <= bounds_ms(e.delay_ms)[1]
    ]
    return Claim(
        id="timely-elects",
        expected=f"delay <= {RIGHT} T: a leader after T + 6 delay at least, and 5/4 T + 7 delay at most",
        measured=f"{share(len(inside), len(good))} elections ({', '.join(PROTOCOLS)})",
        agrees=bool(good) and len(inside) == len(good),
        why=f"T = {TIMEOUT_MS} ms; a timer, three round trips (pre-vote, vote, first entry) with jitter, and writes",
    )


def _late(found: Timing) -> Claim:
    bad = [e for e in found.elections if e.delay_ms >= WRONG * TIMEOUT_MS]
    led = [e for e in bad if e.took_ms is not None]
    return Claim(
        id="late-never-elects",
        expected=f"delay >= {WRONG} T: no leader comes to commit anything",
        measured=f"{share(len(led), len(bad))} trials were led within {PATIENCE_TIMEOUTS} T",
        agrees=bool(bad) and not led,
        why="a round trip is longer than T, so whoever wins is given up before it is heard: the guess was wrong",
    )


def _doubled(found: Timing) -> Claim:
    led = [d for d in found.doublings if d.total_ms is not None]
    inside = [d for d in led if d.total_ms is not None and d.total_ms <= doubling_bound_ms(d.delay_ms)]
    timeouts = ", ".join(
        f"{d.delay_ms:g} ms: T = {d.timeout_ms} ms" for d in found.doublings if d.protocol == PROTOCOLS[0]
    )
    return Claim(
        id="doubling-finds-the-bound",
        expected="who doubles T until there is a leader needs no bound, and a time in proportion to it",
        measured=f"{share(len(inside), len(found.doublings))} within 45 delays and 7 first timeouts ({timeouts})",
        agrees=bool(found.doublings) and len(inside) == len(found.doublings),
        why="T stops below twice the least that elects (2.25 delays); the attempts before took 6 T each, less than 6 "
        "of the last T together",
    )


def doubling_bound_ms(delay_ms: float) -> float:
    """The last T is under 4.5 delays (or the first), the attempts before it take under 6 T, and it itself 5/4 T + 7
    delays: (6 + 5/4) * 4.5 + 7 = 40 delays, and some for writes."""
    return 45 * delay_ms + 7 * FIRST_MS


def _after_gst(found: Timing) -> Claim:
    bound = gst_bound_ms()
    inside = [s for s in found.stabilised if s.took_ms is not None and s.took_ms <= bound]
    longest = {
        gst: max((s.took_ms or bound for s in found.stabilised if s.gst_ms == gst), default=0.0) for gst in GSTS_MS
    }
    words = ", ".join(f"{ms:.0f} ms after {gst / 1000:g} s" for gst, ms in longest.items())
    return Claim(
        id="gst-bounds-the-wait",
        expected=f"a write is acknowledged within {bound:.0f} ms of GST, however late that is",
        measured=f"{share(len(inside), len(found.stabilised))} trials; longest {words}",
        agrees=bool(found.stabilised) and len(inside) == len(found.stabilised),
        why="before GST each message between members takes longer by an exponential time with a mean of 2 T; after it, "
        "an election, and whatever client comes next",
    )


def _safe(found: Timing) -> Claim:
    runs = len(found.elections) + sum(len(d.attempts) for d in found.doublings) + len(found.stabilised)
    judged = [s for s in found.stabilised if s.linearizable is True]
    return Claim(
        id="safe-whatever-the-delay",
        expected="no law of either protocol breaks, and what clients saw is linearizable",
        measured=f"{len(found.violations)} violations in {runs:,} runs; {share(len(judged), len(found.stabilised))} "
        "histories are linearizable" + "".join(f"; {v}" for v in found.violations),
        agrees=runs > 0 and not found.violations and len(judged) == len(found.stabilised),
        why="the simulated world checks the laws at every step; coterie.check judges the histories",
    )


# -- what is shown ------------------------------------------------------------------------------------


def section(found: Timing) -> Section:
    """Claims, data, tables and figures."""
    data = {
        "elections": msgspec.to_builtins(found.elections),
        "doubling": [
            {"protocol": d.protocol, "delay_ms": d.delay_ms, "timeout_ms": d.timeout_ms, "total_ms": d.total_ms}
            for d in found.doublings
        ],
        "gst": msgspec.to_builtins(found.stabilised),
    }
    return Section(
        claims=judge(found),
        data={"partial_synchrony": data},
        parts=(_election_table(found), _election_figure(found), _doubling_table(found), _gst_table(found)),
    )


def _took(found: Timing, protocol: str, delay_ms: float) -> list[float | None]:
    return [e.took_ms for e in found.elections if e.protocol == protocol and e.delay_ms == delay_ms]


def _election_table(found: Timing) -> Table:
    rows = []
    for delay in dict.fromkeys(e.delay_ms for e in found.elections):
        row: list[Any] = [delay, 2 * delay / TIMEOUT_MS]
        for protocol in PROTOCOLS:
            took = _took(found, protocol, delay)
            led = [t for t in took if t is not None]
            row += [share(len(led), len(took)), round(sum(led) / len(led)) if led else None]
        # No bound is claimed where the guess is wrong.
        least, most = bounds_ms(delay)
        rows.append((*row, *((round(least), round(most)) if 2 * delay < TIMEOUT_MS else (None, None))))
    columns = ["delay, ms", "round trip / T"]
    for protocol in PROTOCOLS:
        columns += [f"{protocol}: led", "mean, ms"]
    return Table(
        title=f"Time to a leader when T = {TIMEOUT_MS} ms",
        columns=(*columns, "at least", "at most"),
        rows=tuple(rows),
    )


def _doubling_table(found: Timing) -> Table:
    rows = tuple(
        (
            d.delay_ms,
            d.protocol,
            len(d.attempts),
            d.timeout_ms,
            d.total_ms and round(d.total_ms),
            doubling_bound_ms(d.delay_ms),
        )
        for d in sorted(found.doublings, key=lambda d: d.delay_ms)
    )
    columns = ("delay, ms", "protocol", "attempts", "T at the end, ms", "total, ms", "at most, ms")
    return Table(
        title=f"The bound is unknown: T is doubled from {FIRST_MS} ms until somebody leads", columns=columns, rows=rows
    )


def _gst_table(found: Timing) -> Table:
    rows = []
    for gst in GSTS_MS:
        for protocol in PROTOCOLS:
            runs = [s for s in found.stabilised if s.gst_ms == gst and s.protocol == protocol]
            took = [s.took_ms for s in runs if s.took_ms is not None]
            rows.append(
                (
                    gst,
                    protocol,
                    share(len(took), len(runs)),
                    round(sum(took) / len(took)) if took else None,
                    round(max(took)) if took else None,
                    sum(s.done_before for s in runs),
                    sum(s.reigns_before for s in runs),
                    share(sum(s.linearizable is True for s in runs), len(runs)),
                )
            )
    return Table(
        title="The bound holds from GST on: from then until a write is acknowledged",
        columns=(
            *("GST, ms", "protocol", "trials", "mean, ms", "longest, ms"),
            *("answered before", "reigns before", "linearizable"),
        ),
        rows=tuple(rows),
    )


def _election_figure(found: Timing) -> Figure:
    return Figure(
        title="Time to a leader and delay",
        draw=lambda: plot(lambda figure: _draw(figure, found), height=4.4),
        note=f"Three members, T = {TIMEOUT_MS} ms. The band is T + 6 delay to 5/4 T + 7 delay. Marks on the top line: "
        "nobody led and committed in 20 T. Where a round trip takes T (dotted), the guess turns from right to wrong.",
    )


def _draw(figure: Any, found: Timing) -> None:
    axes = figure.subplots()
    delays = sorted({e.delay_ms for e in found.elections})
    right = [d for d in delays if d <= TIMEOUT_MS / 2]
    low, high = [bounds_ms(d)[0] / 1000 for d in right], [bounds_ms(d)[1] / 1000 for d in right]
    axes.fill_between(right, low, high, color="#e4e4e4", label="calculated")
    never = PATIENCE_TIMEOUTS * TIMEOUT_MS / 1000
    for place, protocol in enumerate(PROTOCOLS):
        aside = (0.97, 1.03)[place % 2]
        points = [(d * aside, t) for d in delays for t in _took(found, protocol, d)]
        style = {
            "color": COLOURS[place],
            "markersize": 5,
            "linestyle": "none",
            "fillstyle": ("full", "none")[place % 2],
        }
        axes.plot(
            [d for d, _ in points],
            [never if t is None else t / 1000 for _, t in points],
            marker=MARKERS[place],
            label=protocol,
            **style,
        )
    axes.axvline(TIMEOUT_MS / 2, color="#555555", linestyle=LINES[3], linewidth=1.2)
    axes.axhline(never, color="#555555", linestyle=LINES[1], linewidth=0.8)
    axes.annotate("no leader in 20 T", (delays[0], never), xytext=(0, -13), textcoords="offset points")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(PLAIN)
    axes.set_yscale("log")
    axes.set_yticks([1, 2, 3, 5, 10, 20], labels=["1", "2", "3", "5", "10", "20"])
    axes.minorticks_off()
    axes.set_ylim(0.85, 24)
    axes.set_xlabel("delay of a message, ms")
    axes.set_ylabel("time to a leader, s")
    axes.legend(loc="center left")
