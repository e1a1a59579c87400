"""What the advice says calls take, and what they took on the stage, site by site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coterie.lab.advise.demands import Demands
from coterie.lab.advise.search import Plan
from coterie.lab.advise.trial import Seen, quantile
from coterie.lab.network.network import Network
from coterie.lab.reports.plots import COLOURS, MARKERS, plot


def latencies_drawn(network: Network, demands: Demands, plan: Plan, seen: Mapping[int, Seen]) -> str:
    """The <svg>: a row for each site with clients, a bar from p50 to p99 by formula, marks for the stage."""
    deployment = plan.deployment(network, lease=demands.lease)
    sites = list(seen)
    expected = {site: (deployment.write(site), deployment.read(site, demands.model)) for site in sites}
    took = {site: (found.writes, found.reads) for site, found in seen.items()}

    def draw(figure: Any) -> None:
        both = figure.subplots(1, 2, sharey=True)
        for kind, (axes, title) in enumerate(zip(both, ("writes", "reads"), strict=True)):
            for row, site in enumerate(sites):
                ends = [expected[site][kind].quantile(share) for share in (0.5, 0.99)]
                label = "formula, p50 to p99" if not row else None
                axes.plot(ends, [row, row], color="#bbbbbb", linewidth=9, solid_capstyle="butt", label=label)
                for place, share in enumerate((0.5, 0.99)):
                    axes.plot(
                        [quantile(took[site][kind], share)],
                        [row],
                        marker=MARKERS[place],
                        color=COLOURS[place],
                        linestyle="none",
                        label=f"stage, p{share * 100:g}" if not row else None,
                    )
            axes.set_xlim(left=0)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("ms")
            axes.grid(visible=False, axis="y")
        both[0].set_yticks(range(len(sites)), [network.sites[site] for site in sites])
        both[0].set_ylim(len(sites) - 0.5, -0.5)
        figure.legend(*both[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)

    return plot(draw, width=9.0, height=1.6 + 0.4 * len(sites))
