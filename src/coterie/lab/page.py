"""Sequence diagrams inside a Markdown page: each stands between two comments, and is drawn anew from a run.

<!-- sequence: failover raft -->
(the diagram)
<!-- sequence ends -->
"""

from __future__ import annotations

import re

from coterie.lab.drawing.mermaid import draw_mermaid
from coterie.lab.scenarios import play

_PLACE = re.compile(r"(<!-- sequence: (\w+) (\w+) -->\n).*?(<!-- sequence ends -->)", re.DOTALL)


def redraw(page: str) -> str:
    """The page with every diagram as it is now. Raises `ConfigurationError` for an unknown scenario or protocol."""

    def drawn(place: re.Match[str]) -> str:
        begin, scenario, protocol, end = place.groups()
        return f"{begin}```mermaid\n{draw_mermaid(play(scenario, protocol))}\n```\n{end}"

    return _PLACE.sub(drawn, page)
