"""Latency by geography, beside what the distances say."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from coterie.core.config import MILLISECOND
from coterie.lab.compare.load import Crowd, Seen, Work, mean, measure, quantile
from coterie.lab.compare.section import Extent, Section, claim_each
from coterie.lab.compare.subjects import SUBJECTS, Setting, Subject
from coterie.lab.experiment import Cell, Claim, Figure, Table
from coterie.lab.network.files import read_network
from coterie.lab.reports.plots import COLOURS, HATCHES, plot
from coterie.lab.stage.geography import Geography, flat

WIDE: Final = "paxi"
"""The sites of the Paxi paper; three of them: the first, third and fourth."""
THREE_OF_FIVE: Final = (0, 2, 3)


FORMULA: Final[dict[str, Any]] = {
    "marker": "D",
    "markersize": 4,
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "zorder": 3,
}
"""How a formula's value stands on a bar."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Of one subject in one layout: means over the sites of their clients' medians, in milliseconds."""

    subject: str
    layout: str
    write: float
    read: float
    read_together: float
    """With clients of all sites at once: a read that finds the leader's round under way waits for the next one."""
    write_formula: float
    read_formula: float
    nearest_write: float
    """Of the best site."""
    farthest_write: float


def layouts() -> dict[str, Geography]:
    """Flat and wide, three and five."""
    wide = read_network(WIDE).geography
    chosen = [[wide.round_trip_ms[a][b] for b in THREE_OF_FIVE] for a in THREE_OF_FIVE]
    three = Geography(
        sites=tuple(wide.sites[place] for place in THREE_OF_FIVE),
        round_trip_ms=tuple(tuple(row) for row in chosen),
        disk_ms=wide.disk_ms,
    )
    return {"flat 3": flat(3, 1.0), "flat 5": flat(5, 1.0), "wide 3": three, "wide 5": wide}


def to_quorum(geography: Geography, site: int) -> float:
    """D_Q: until enough others for a majority have answered one of this site."""
    others = sorted(geography.between_ms(site, other) for other in range(len(geography.sites)) if other != site)
    return others[len(geography.sites) // 2 - 1]


def formula(name: str, geography: Geography, site: int, *, write: bool) -> float:
    """What a client of the site waits for, asking the member there: the paper's section 6 has, for a leader that is D_L
    away, D_L + D_Q, and D_Q at the leader itself. A write waits for the disks of a quorum, too: at the member's own
    site and at the others' at once."""
    own = geography.between_ms(site, site)
    disk = geography.disk_ms if write else 0.0
    to_leader = geography.between_ms(site, 0) if site else 0.0
    if name in ("raft", "multipaxos"):
        return own + to_leader + to_quorum(geography, 0) + disk
    if name == "primary-backup":
        return own + to_leader + disk
    phases = 2 if name == "abd" else 1
    # A register's read writes back what is durable there already.
    return own + phases * to_quorum(geography, site) + disk


def latency(subject: Subject, layout: str, geography: Geography, extent: Extent) -> Latency:
    """A client in each site asks the member there: one site after the other, then all at once."""
    count = len(geography.sites)
    scene = subject.stage(Setting(geography=geography, members=range(count), seed=extent.seed))
    scene.run_for(1000 * MILLISECOND)
    long = max(max(row) for row in geography.round_trip_ms)
    work = Work(reads_permille=500, think_ms=20)
    duration = int((500 + long * extent.times(20, 100)) * MILLISECOND)
    seats = [(site, site + 1) for site in range(count)]

    def run(some: list[tuple[int, int]]) -> Seen:
        seen = measure(scene, Crowd(scene, some, work, extent.seed), 100 * MILLISECOND, duration)
        scene.run_for(int(4 * long) * MILLISECOND)
        return seen

    alone = [run([seat]) for seat in seats]
    writes = [quantile(seen.write_ms, 0.5) for seen in alone]
    together = run(seats)
    return Latency(
        subject=subject.name,
        layout=layout,
        write=mean(writes),
        read=mean([quantile(seen.read_ms, 0.5) for seen in alone]),
        read_together=mean(together.read_medians),
        write_formula=mean([formula(subject.name, geography, site, write=True) for site, _ in seats]),
        read_formula=mean([formula(subject.name, geography, site, write=False) for site, _ in seats]),
        nearest_write=min(writes),
        farthest_write=max(writes),
    )


def distances(extent: Extent) -> Section:
    """Every subject in every layout."""
    found = [latency(s, layout, geography, extent) for layout, geography in layouts().items() for s in SUBJECTS]
    return Section(
        name="geography", claims=judge(found), parts=[_table(found), _figure(found)], data=msgspec.to_builtins(found)
    )


def judge(found: list[Latency]) -> list[Claim]:
    """The formulae, and what follows from them."""
    wide = [item for item in found if item.layout.startswith("wide")]
    cases = [(f"{i.subject} {i.layout}", i.write, i.write_formula) for i in wide]
    cases += [(f"{i.subject} {i.layout} read", i.read, i.read_formula) for i in wide]
    by = {(i.subject, i.layout): i for i in found}
    claims = [
        claim_each(
            "wide-area-latency",
            "a site's write takes D_L + D_Q with a leader, D_Q without, twice that in two phases",
            cases,
            0.15,
            "means over sites of a lone client's medians; distances of the layout, and its disk",
            least=1.5,
        )
    ]
    for layout in ("flat 5", "wide 5"):
        pair = [by[name, layout].write for name in ("raft", "multipaxos")]
        claims.append(
            Claim(
                id=f"protocols-alike-{layout.replace(' ', '-')}",
                expected="mean write latencies of the two protocols differ by a factor of at most 1.1",
                measured=f"{max(pair) / min(pair):.3f}: {pair[0]:.2f} and {pair[1]:.2f} ms",
                agrees=max(pair) <= 1.1 * min(pair),
                why="both take the leader's round trip to the same quorum",
            )
        )
    return claims


def _table(found: list[Latency]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for i in found:
        figures = (i.write, i.write_formula, i.nearest_write, i.farthest_write, i.read, i.read_formula, i.read_together)
        rows.append((i.layout, i.subject, *(round(figure, 2) for figure in figures)))
    columns = ("layout", "", "write ms", "formula", "best site", "worst site", "read ms", "formula ", "all at once")
    sites = ", ".join(layouts()["wide 5"].sites)
    title = f"Latency: a client in each site asks the member there; leader in the first. Wide: {sites}"
    return Table(title=title, columns=columns, rows=tuple(rows))


def _figure(found: list[Latency]) -> Figure:
    names = list(dict.fromkeys(item.layout for item in found))
    by = {(item.subject, item.layout): item for item in found}

    def draw(figure: Any) -> None:
        for place, kind in enumerate(("flat", "wide")):
            axes = figure.add_subplot(1, 2, place + 1)
            shown = [name for name in names if name.startswith(kind)]
            for number, subject in enumerate(SUBJECTS):
                where = [group + (number - 2) * 0.16 for group in range(len(shown))]
                mine = [by[subject.name, layout] for layout in shown]
                colour, hatch = COLOURS[number], HATCHES[number]
                label = subject.title if not place else None
                heights = [item.write for item in mine]
                axes.bar(where, heights, 0.15, color=colour, hatch=hatch, edgecolor="white", label=label)
                axes.plot(where, [i.write_formula for i in mine], linestyle="", **FORMULA)
            axes.set_xticks(range(len(shown)), [f"{name.split()[1]} sites, {kind}" for name in shown])
            axes.set_ylabel("ms")
            axes.grid(visible=False, axis="x")
        figure.legend(loc="outside upper center", ncols=3)

    note = "Mean over sites of their clients' median write. Diamonds: the formula."
    return Figure(title="Latency of writes by geography", draw=lambda: plot(draw, height=3.8), note=note)
