"""What theory says, beside what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from coterie.core.protocols import PROTOCOLS
from coterie.lab.experiment import Claim
from coterie.lab.latency.deployment import LINEARIZABLE, Deployment
from coterie.lab.pacelc.contention import Contention
from coterie.lab.pacelc.latencies import Latency, at
from coterie.lab.pacelc.modes import NEAREST, Mode
from coterie.lab.pacelc.partition import Cut
from coterie.lab.stage.geography import Geography

ERROR: Final = 0.05
"""Of a median over some dozens of calls."""
ABSOLUTE_MS: Final = 0.3


def measured_class(cut: Cut, contention: Contention) -> str:
    """PA where both sides were answered, else PC; EC where the history was linearizable, else EL."""
    return f"{'PA' if cut.available else 'PC'}/{'EC' if contention.linearizable else 'EL'}"


def classes(modes: Sequence[Mode], cuts: Mapping[Mode, Cut], contentions: Mapping[Mode, Contention]) -> Iterator[Claim]:
    """Every mode's class of reads."""
    for mode in modes:
        cut, contention = cuts[mode], contentions[mode]
        found = measured_class(cut, contention)
        why = mode.why
        if contention.example:
            why += f"; {contention.example}"
        elif not cut.available and cut.refusal:
            why += f"; the side of few was told: {cut.refusal}"
        yield Claim(
            id=f"class-{mode.store}-{'-'.join(mode.name.split())}".replace(",", "").replace("=", "").lower(),
            expected=mode.expected,
            measured=found,
            agrees=found == mode.expected,
            why=why,
        )


def writes_need_a_quorum(cuts: Mapping[Mode, Cut]) -> Claim:
    """Nobody writes to Coterie on the side of few, whatever the mode of reading."""
    ours = [cut for mode, cut in cuts.items() if mode.store in PROTOCOLS]
    few, many = sum(cut.few_write for cut in ours), sum(cut.many_write for cut in ours)
    return Claim(
        id="writes-are-pc",
        expected=f"0 of {len(ours)} writes on the side of few, {len(ours)} on that of many",
        measured=f"{few} and {many}",
        agrees=few == 0 and many == len(ours),
        why="a write is decided by a quorum that meets every other; the side of few has none",
    )


def _expected(mode: Mode, deployment: Deployment, site: int) -> float:
    if mode.read_mode != LINEARIZABLE:
        return deployment.read_mean(site, mode.read_mode)
    return deployment.through_mean(site) if mode.read_at == NEAREST else deployment.read_mean(site, LINEARIZABLE)


def formula(geography: Geography, members: Sequence[int], found: Sequence[Latency]) -> Claim:
    """Medians of Coterie's writes and reads, for every leader, region and mode, against the formula."""
    worst, said, count = 0.0, "", 0
    for one in found:
        if one.mode.store not in PROTOCOLS:
            continue
        deployment = Deployment(geography, members, list(members).index(one.leader), lease=one.mode.lease)
        pairs = (
            ("write", deployment.write_mean(one.site), at(one.writes, 0.5)),
            (one.mode.name, _expected(one.mode, deployment, one.site), at(one.reads, 0.5)),
        )
        for kind, expected, measured in pairs:
            count += 1
            off = max(0.0, abs(measured - expected) - ABSOLUTE_MS) / expected
            if off >= worst:
                worst = off
                names = geography.sites
                said = (
                    f"{off:.1%} at most ({one.mode.store}, {kind}, {names[one.site]}, led from {names[one.leader]}: "
                    f"{measured:.4g} ms for {expected:.4g})"
                )
    return Claim(
        id="latency-formula",
        expected=f"every median as by formula, within {ERROR:.0%}",
        measured=said,
        agrees=worst <= ERROR,
        why=f"{count} medians: distances to the leader, and the slowest answer of its quorum (docs/lab/pacelc.md)",
    )


def protocols_alike(found: Sequence[Latency]) -> Claim:
    """Raft and Multi-Paxos cost the same without faults."""
    medians: dict[tuple[str, int, int], dict[str, tuple[float, float]]] = {}
    for one in found:
        if one.mode.store in PROTOCOLS:
            key = (one.mode.name, one.leader, one.site)
            medians.setdefault(key, {})[one.mode.store] = (at(one.writes, 0.5), at(one.reads, 0.5))
    first, second = PROTOCOLS[:2]
    worst = max(
        max(0.0, abs(a - b) - ABSOLUTE_MS) / a
        for pair in medians.values()
        for a, b in zip(pair[first], pair[second], strict=True)
    )
    return Claim(
        id="protocols-alike",
        expected=f"no median differs by more than {ERROR:.0%}",
        measured=f"{worst:.1%} at most",
        agrees=worst <= ERROR,
        why=f"{len(medians)} modes, leaders and regions: one round to a quorum in both (Howard and Mortier 2020)",
    )


def lower_bound(
    geography: Geography, found: Sequence[Latency], contentions: Mapping[Mode, Contention]
) -> Iterator[Claim]:
    """Lipton and Sandberg 1988: in sequential consistency a write at a and a read at b take as long as a message from a
    to b, together. Who is quicker has a history that shows it."""
    slack: dict[Mode, float] = {}
    for mode in {one.mode: None for one in found}:
        own = [one for one in found if one.mode == mode]
        slack[mode] = min(
            at(w.writes, 0.5) + at(r.reads, 0.5) - geography.round_trip_ms[w.site][r.site] / 2
            for w in own
            for r in own
            if w.leader == r.leader
        )
    linear = [mode for mode in slack if contentions[mode].linearizable]
    least = min(slack[mode] for mode in linear)
    yield Claim(
        id="read-plus-write-bound",
        expected="write at a + read at b >= one way from a to b, for all a and b, in every linearizable mode",
        measured=f"{least:+.3g} ms to spare at least, in {len(linear)} modes",
        agrees=least >= 0,
        why="Lipton and Sandberg 1988; Attiya and Welch 1994: with less, b cannot know of what was acknowledged at a",
    )
    quick = [mode for mode in slack if slack[mode] < 0]
    lied = [mode.title for mode in quick if contentions[mode].linearizable]
    yield Claim(
        id="quicker-is-not-linearizable",
        expected="no mode below the bound has a linearizable history",
        measured=f"{len(quick)} below it, {len(lied)} of them linearizable{': ' if lied else ''}{', '.join(lied)}",
        agrees=not lied,
        why="the same bound, read the other way",
    )


def leader_matters(geography: Geography, members: Sequence[int], found: Sequence[Latency]) -> Claim:
    """The placement of the leader that is best by formula is best on the stage."""
    sites = range(len(geography.sites))
    by_formula = {}
    for place, site in enumerate(members):
        deployment = Deployment(geography, members, place)
        by_formula[site] = statistics.fmean(deployment.write_mean(client) for client in sites)
    ours = [one for one in found if one.mode.store == PROTOCOLS[0] and not one.mode.lease]
    on_stage = {
        leader: statistics.fmean(at(one.writes, 0.5) for one in ours if one.leader == leader)
        for leader in {one.leader for one in ours}
    }
    best, seen = min(by_formula, key=lambda s: by_formula[s]), min(on_stage, key=lambda s: on_stage[s])
    near = on_stage[best] <= on_stage[seen] * (1 + ERROR)
    names = geography.sites
    return Claim(
        id="best-leader",
        expected=f"{names[best]} ({by_formula[best]:.4g} ms mean of the regions' writes by formula)",
        measured=f"{names[seen]} ({on_stage[seen]:.4g} ms; {names[best]} {on_stage[best]:.4g})",
        agrees=near,
        why=f"{len(on_stage)} placements of the leader were measured; within {ERROR:.0%} counts as the same",
    )
