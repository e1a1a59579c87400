"""How a row of the table is made: what is to be run, and what the results say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from coterie.lab.experiment import Claim, Conditions, Part


class Task(NamedTuple):
    """One run, in a process of its own: a function of a module, and what it is given."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a row's runs say."""

    claims: Sequence[Claim]
    parts: Sequence[Part] = ()
    data: Mapping[str, Any] = {}


class Row(NamedTuple):
    """One source."""

    id: str
    source: str
    tasks: Callable[[Conditions], list[Task]]
    judge: Callable[[Conditions, list[Any]], Found]
    """Is given the results in the order of the tasks."""
