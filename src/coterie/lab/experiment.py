"""What every experiment of the lab has: claims that can fail, data, pages, and how it is told how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

import msgspec

AGREES: Final = "agrees"
DIFFERS: Final = "differs"

Cell: TypeAlias = str | int | float | bool | None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that theory, a paper or a document says, beside what was measured."""

    id: str
    """Short, in lower case, with hyphens: unique in its report."""
    expected: str
    measured: str
    agrees: bool
    why: str
    """What the measurement rests on; where it differs, the reason, and the run that shows it."""
    explained: bool = False
    """It differs for a reason that the experiment itself demonstrates."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that people read, and `--csv` writes."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A picture: SVG, made when a page is asked for, since it needs the extra `coterie[lab]` or takes time."""

    title: str
    draw: Callable[[], str]
    """Returns the <svg> element."""
    note: str = ""


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """Something to read as it stands: a history, a schedule, a configuration file."""

    title: str
    body: str


Part: TypeAlias = Table | Figure | Text


class Report(msgspec.Struct, kw_only=True):
    """What an experiment found."""

    experiment: str
    seed: int
    claims: Sequence[Claim]
    """Never empty."""
    summary: str
    """One or two sentences."""
    data: Mapping[str, Any]
    """The experiment's own figures, as JSON has them; no key of a report's own."""
    parts: Sequence[Part] = ()
    """What its page shows, in order."""

    @property
    def verdict(self) -> str:
        """`agrees` if every claim does."""
        return AGREES if all(claim.agrees for claim in self.claims) else DIFFERS

    @property
    def unexplained(self) -> list[Claim]:
        """Claims that differ for no reason that was shown."""
        return [claim for claim in self.claims if not (claim.agrees or claim.explained)]

    def to_json(self) -> dict[str, Any]:
        """One object: `experiment`, `seed`, `verdict`, `claims`, and the experiment's own data."""
        claims = [
            {"id": c.id, "expected": c.expected, "measured": c.measured, "agrees": c.agrees, "why": c.why}
            | ({"explained": True} if c.explained else {})
            for c in self.claims
        ]
        head = {"experiment": self.experiment, "seed": self.seed, "verdict": self.verdict, "claims": claims}
        return head | dict(self.data)


class Progress(Protocol):
    """Hears how far an experiment is."""

    def __call__(self, done: float, what: str) -> None:
        """`done`: from 0 to 1. `what`: what it does now, in a few words."""
        ...


def silent(done: float, what: str) -> None:
    """A `Progress` that nobody sees."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """How an experiment is to be run."""

    seed: int = 1
    quick: bool = False
    """Fewer trials, for a look or for CI; no claim is dropped for it."""
    progress: Progress = silent
