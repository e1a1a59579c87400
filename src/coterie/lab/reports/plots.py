"""Figures with matplotlib (the extra `coterie[lab]`): readable in print, and without telling colours apart."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any, Final

from coterie.lab.errors import LabError

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B8860B", "#000000")
"""Okabe and Ito's, the yellow darker."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "x")
LINES: Final = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (3, 5)))
"""A series has colour, marker and line of the same place, so that none is told by colour alone."""
HATCHES: Final = ("", "///", "---", "xxx", "\\\\\\", "++", "||")
"""Of bars, likewise. Of lines alone: each dot would be a path of its own in the file."""
PLAIN: Final = "{x:g}"
"""How the ticks of a logarithmic axis are written: 1, 10, 100."""
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "coterie",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Liberation Sans", "Arial", "sans-serif"],
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_MISSING: Final = "figures need matplotlib: pip install 'coterie[lab]'"
_HEAD: Final = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]+>")
_LONG: Final = re.compile(r"-?\d+\.\d{3,}")
_METADATA: Final = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)


def release() -> str:
    """Of matplotlib. Raises `LabError` where it is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise LabError(_MISSING) from None
    return str(mpl.__version__)


def plot(draw: Callable[[Any], None], *, width: float = 8.0, height: float = 4.0) -> str:
    """The <svg> of a figure. `draw` is given matplotlib's `Figure` (inches). The same data give the same
    text.

    Raises `LabError` where matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise LabError(_MISSING) from None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        draw(figure)
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    drawn = _METADATA.sub("", _HEAD.sub("", sink.getvalue(), count=1)).strip()
    return _TAG.sub(lambda tag: _LONG.sub(_rounded, tag[0]), drawn)


def _rounded(number: re.Match[str]) -> str:
    """To a hundredth of a point, which nobody sees; half of a file is digits beyond that."""
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
