"""Figures of scores per case, loss and validation curves, as PNG; runs are distinguishable without colour."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL.PngImagePlugin import PngInfo

FEW_RUNS = 12  # up to this number, each run has its own look and a legend entry
SOFTWARE = "monai_tl report"  # marks a PNG as part of a report, so that the next report may replace it
WIDTH = 5.2  # inches; narrow, so that text is readable on a phone
DPI = 200
LABEL = 30  # characters of a run's name in a figure
AXIS = 56  # characters in a line of an axis' label
GREY = "#8a8a8a"
OTHERS = "other runs"
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito, without yellow
LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GLYPHS = ("●", "■", "▲", "◆", "▼", "✚", "✖")  # the markers, as text
STYLE: dict[Any, Any] = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "axes.edgecolor": "#555555",
    "xtick.color": "#333333", "ytick.color": "#333333", "axes.labelcolor": "#222222", "legend.frameon": False,
    "grid.color": "#e4e4e4", "grid.linewidth": 0.7, "axes.axisbelow": True, "hatch.linewidth": 0.6, "svg.hashsalt": SOFTWARE,
}  # fmt: skip


class Look(NamedTuple):
    """How a run is drawn in all figures."""

    colour: str
    line: str
    marker: str
    glyph: str


class Curve(NamedTuple):
    """A run's name and its values at some iterations."""

    name: str
    iterations: Sequence[int]
    values: Sequence[float]


def look(index: int) -> Look:
    """Return the look of the run at this position; the first 28 differ in colour or line style."""
    glyph = index % len(MARKERS)
    return Look(COLOURS[index % len(COLOURS)], LINES[index % len(LINES)], MARKERS[glyph], GLYPHS[glyph])


def mark() -> PngInfo:
    """Return the metadata that marks a PNG as part of a report."""
    info = PngInfo()
    info.add_text("Software", SOFTWARE)
    return info


def shorten(name: str, letters: int = LABEL) -> str:
    """Replace the middle of a long name by an ellipsis."""
    if len(name) <= letters:
        return name
    tail = (letters - 1) // 2
    return f"{name[: letters - 1 - tail]}…{name[-tail:]}"


def draw_scores(names: Sequence[str], scores: Sequence[Sequence[float]], label: str = "Dice", highest: float = 1) -> bytes:
    """Draw a box for each run and a dot for each case; undefined values are omitted.

    Args:
        names: of the runs, from top to bottom.
        scores: of each run's cases, NaN if undefined.
        label: of the axis, of one line or more.
        highest: largest possible value.
    """
    many = len(names) > FEW_RUNS
    with house_style():
        figure = Figure(figsize=(WIDTH, 0.9 + len(names) * (0.2 if many else 0.42)), layout="constrained")
        axes = figure.subplots()
        defined = [np.array([value for value in values if not math.isnan(value)]) for values in scores]
        places = np.arange(len(names))
        lines = {"color": "#333333", "linewidth": 0.6 if many else 1.0}
        axes.boxplot(
            defined, positions=places, orientation="horizontal", widths=0.62, showfliers=False, manage_ticks=False,
            boxprops=lines, whiskerprops=lines, capprops=lines, medianprops={**lines, "linewidth": 1.6 if many else 2.0},
        )  # fmt: skip
        for place, values in zip(places, defined, strict=True):
            colour, _, marker, _ = Look(GREY, "-", "o", "") if many else look(int(place))
            spread = place + 0.44 * ((np.arange(len(values)) * 0.618034) % 1 - 0.5)  # even and reproducible
            axes.plot(values, spread, marker, color=colour, markersize=2 if many else 4, alpha=0.6, markeredgewidth=0)
        axes.set_yticks(places, [shorten(name) for name in names], parse_math=False, fontsize=7 if many else 9)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(*_limits([value for values in defined for value in values], highest))
        axes.set_xlabel("\n".join(textwrap.fill(line, AXIS) for line in label.splitlines()), parse_math=False)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        return as_png(figure)


def draw_curves(curves: Sequence[Curve], ylabel: str, highlight: Sequence[str] = (), *, dice: bool = False) -> bytes:
    """Draw a value of all runs over the iterations.

    Args:
        curves: of the runs; their order determines their looks. Runs without values use up a look, but have no line.
        ylabel: label of the value.
        highlight: names of the runs with their own look if there are more than `FEW_RUNS`; the others are thin and grey.
        dice: whether the values are Dice, so that the axis starts at 0 and ends at 1 at most.
    """
    many = len(curves) > FEW_RUNS
    with house_style():
        legend = 1 + len(highlight) if many else len(curves)
        columns = 1 if max(len(curve.name) for curve in curves) > 22 else 2
        figure = Figure(figsize=(WIDTH, 3.1 + 0.2 * math.ceil(legend / columns)), layout="constrained")
        axes = figure.subplots()
        shown: list[tuple[str, Line2D]] = []
        for index, curve in enumerate(curves):
            named = not many or curve.name in highlight
            line = _line(axes, curve, look(highlight.index(curve.name) if many else index) if named else None)
            if len(curve.values) and (named or OTHERS not in dict(shown)):
                shown.append((shorten(curve.name) if named else OTHERS, line))
        if dice:
            highest = max((value for curve in curves for value in curve.values if not math.isnan(value)), default=1.0)
            axes.set_ylim(0, min(1.01, 1.1 * highest) or 1.0)
        axes.set_xlabel("iteration")
        axes.set_ylabel(ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(axis="y")
        _legend(figure, shown, columns)
        return as_png(figure)


def _line(axes: Axes, curve: Curve, own: Look | None) -> Line2D:
    if own is None:
        style: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "alpha": 0.6}
        style |= {"marker": "."} if len(curve.values) == 1 else {}
    else:
        every = max(1, len(curve.values) // 8)
        style = {"color": own.colour, "linestyle": own.line, "marker": own.marker, "markersize": 4.5, "markevery": every}
        style |= {"linewidth": 1.6, "zorder": 3}
    (line,) = axes.plot(curve.iterations, curve.values, **style)
    return line


def _legend(figure: Figure, shown: Sequence[tuple[str, Line2D]], columns: int) -> None:
    """Add a legend; its texts are set afterwards, since matplotlib omits labels that start with an underscore."""
    if not shown:
        return
    places = [str(index) for index in range(len(shown))]
    legend = figure.legend(
        [line for _, line in shown], places, loc="outside lower left", ncols=columns, fontsize=9, handlelength=3.2
    )
    for text, (name, _) in zip(legend.get_texts(), shown, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def _limits(values: Sequence[float], highest: float) -> tuple[float, float]:
    """Return the limits of the axis: from 0 if there is no largest value; else the whole scale, unless all are at least 0.5."""
    if math.isinf(highest):
        largest = max(values, default=0.0) or 1.0
        return -0.015 * largest, 1.05 * largest
    lowest = min(values, default=0.0)
    return (-0.015, 1.015) if lowest < 0.5 else (math.floor(lowest * 10 - 0.2) / 10, 1.01)


@contextmanager
def house_style() -> Iterator[None]:
    """Draw with the reports' settings, independent of the user's matplotlibrc; global settings are restored."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the font lacks is drawn as a box
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def as_png(figure: Figure) -> bytes:
    """Return a figure as a PNG that is marked as part of a report."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": SOFTWARE})  # a Figure without pyplot uses Agg
    return file.getvalue()


def as_svg(figure: Figure) -> bytes:
    """Return a figure as an SVG that is marked as part of a report; text as outlines and no date, so it is reproducible."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Creator": SOFTWARE, "Date": None})
    return file.getvalue()
