"""The pictures that the documents show: figures of the experiments, from whole runs of one seed.

`make pictures` draws all of them anew. They depend on the simulated world alone, so the same code draws the same bytes;
matplotlib's releases differ in theirs, and so each file says with which one it was drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from coterie.core.errors import ConfigurationError
from coterie.core.protocols import PROTOCOLS
from coterie.lab.errors import LabError
from coterie.lab.experiment import Conditions, Figure, Part
from coterie.lab.reports.plots import release

SEED: Final = 1
_RELEASE: Final = re.compile(r"^<!-- .*, matplotlib (\S+): make pictures -->$", re.MULTILINE)


class Source(NamedTuple):
    """One run, and which of its figures are kept."""

    command: str
    """What a reader types to see it."""
    run: Callable[[], Sequence[Part]]
    kept: Mapping[str, str]
    """The name of the file, without `.svg`, and the title of the figure."""


def _models() -> Sequence[Part]:
    from coterie.lab.models.experiment import models

    return models(Conditions(seed=SEED)).parts


def _cap() -> Sequence[Part]:
    """Of the simulated half alone: what real processes do is not the same each time."""
    from coterie.lab.cap import simulated
    from coterie.lab.cap.picture import table_drawn

    found = [one for protocol in PROTOCOLS for one in simulated.rows(protocol, SEED) if one.leader == "minority"]
    return [Figure(title="What each mode gave, on each side", draw=lambda: table_drawn(found))]


def _pacelc() -> Sequence[Part]:
    from coterie.lab.network.files import read_network
    from coterie.lab.pacelc.experiment import DEFAULT_NETWORK, pacelc

    return pacelc(read_network(DEFAULT_NETWORK), Conditions(seed=SEED)).parts


def _advise() -> Sequence[Part]:
    from coterie.lab.advise.demands import Demands, parse_clients
    from coterie.lab.advise.experiment import advise
    from coterie.lab.network.files import read_network

    network = read_network("epaxos")
    demands = Demands(survive_site=True, clients=parse_clients(None, network))
    return advise(network, demands, Conditions(seed=SEED)).parts


def _flp() -> Sequence[Part]:
    from coterie.lab.flp.experiment import flp

    return flp(Conditions(seed=SEED)).parts


def _compare() -> Sequence[Part]:
    from coterie.lab.compare.capacity import capacities
    from coterie.lab.compare.distance import distances
    from coterie.lab.compare.outage import outages
    from coterie.lab.compare.section import Extent

    extent = Extent(seed=SEED)
    return [part for measure in (distances, capacities, outages) for part in measure(extent).parts]


def _claims() -> Sequence[Part]:
    from coterie.lab.claims import figure16
    from coterie.lab.claims.experiment import claims

    return claims(Conditions(seed=SEED), (figure16.ROW,)).parts


SOURCES: Final = (
    Source("lab models", _models, {"models-lattice": "The lattice, and where Coterie's reads stand"}),
    Source("lab cap", _cap, {"cap-table": "What each mode gave, on each side"}),
    Source(
        "lab pacelc",
        _pacelc,
        {
            "pacelc-front": "Latency against consistency: the Pareto front",
            "pacelc-leaders": "Where the leader stands: writes by region",
        },
    ),
    Source(
        "lab advise --network epaxos --survive-site",
        _advise,
        {"advise-latencies": "Latencies by site: formula and stage"},
    ),
    Source(
        "lab flp",
        _flp,
        {
            "flp-walk": "The walk between the decisions",
            "flp-coins": "Ben-Or: how long it stays undecided",
            "flp-timers": "Time to a leader and delay",
        },
    ),
    Source(
        "lab compare",
        _compare,
        {
            "compare-geography": "Latency of writes by geography",
            "compare-capacity": "Capacity by number of nodes",
            "compare-crash": "Availability after a crash",
        },
    ),
    Source(
        "lab claims",
        _claims,
        {"claims-figure-16": "Raft paper, figure 16: time to detect and replace a crashed leader"},
    ),
)
NAMES: Final = tuple(name for source in SOURCES for name in source.kept)


def pictures(names: Collection[str] = NAMES) -> Iterator[tuple[str, str]]:
    """Each picture's name, and the text of its file. A run that several share is made once.

    Raises `ConfigurationError` for a name that is none of `NAMES`; `LabError` where matplotlib is not installed, or an
    experiment fails.
    """
    for name in names:
        if name not in NAMES:
            raise ConfigurationError(f"picture {name!r}: it must be one of {', '.join(NAMES)}")
    for source in SOURCES:
        wanted = {title: name for name, title in source.kept.items() if name in names}
        if not wanted:
            continue
        for part in source.run():
            if isinstance(part, Figure) and part.title in wanted:
                what = f"coterie {source.command.replace('--', '')}, seed {SEED}"  # XML has no -- in a comment.
                head = f"<!-- {what}, matplotlib {release()}: make pictures -->"
                yield wanted.pop(part.title), f"{head}\n{part.draw()}\n"
        if wanted:
            raise LabError(f"coterie {source.command} has no figure {', '.join(map(repr, wanted))} any more")


def drawn_with(text: str) -> str:
    """The release of matplotlib that a picture's file names. Raises `ConfigurationError` if it names none."""
    found = _RELEASE.search(text)
    if found is None:
        raise ConfigurationError("picture: its first line must say what drew it; `make pictures` draws it anew")
    return found[1]
