"""Draw the figures of a study as PNG and SVG; readable without colour, on a phone and on paper."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from monai_tl.report.kit.figures import WIDTH, Look, as_png, as_svg, house_style, shorten
from monai_tl.transfer.strategy import SCRATCH

INK = "#333333"
PALE = 0.78  # share by which a box's colour is mixed with white
BOXED = 5  # least number of cases for a box; quartiles of fewer would hardly differ from the cases
LEAST = 0.03  # difference of a ratio that a forest plot always shows on both sides, so that small ones do not look large
LEAST_WITH_UNIT = 0.1  # the same in mm or ml
LETTERS = 48  # of a label below an axis in one line
UPWARDS = 34  # of a label beside an axis
NEVER = 1.17  # position of runs that never reached the target, in units of the longest run
TICKS = 7  # largest number of labelled training sizes


class Drawing(NamedTuple):
    """A figure as PNG and as SVG."""

    png: bytes
    svg: bytes


class ArmBox(NamedTuple):
    """An arm and the values of its cases, NaN if undefined."""

    name: str
    look: Look
    hatch: str
    values: Sequence[float]


class Span(NamedTuple):
    """An arm's value with its interval (NaN: none) under the heading ``group``; the marker is filled if ``sure``."""

    group: str
    name: str
    look: Look
    value: float
    low: float
    high: float
    sure: bool


class Times(NamedTuple):
    """The iterations at which an arm's runs reached the target (NaN: never), and their median (NaN: none)."""

    group: str
    name: str
    look: Look
    iterations: Sequence[float]
    middle: float


class Line(NamedTuple):
    """An arm's values with intervals at ascending iterations or training sizes."""

    name: str
    look: Look
    at: Sequence[float]
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def draw_cases(boxes: Sequence[ArmBox], xlabel: str, highest: float = 1.0) -> Drawing:
    """Draw a dot for each case, and a box for each arm that has `BOXED` of them; ``highest`` is the largest possible value."""

    def draw(axes: Axes) -> None:
        defined = [np.array([value for value in box.values if not math.isnan(value)]) for box in boxes]
        places = np.arange(len(boxes))
        lines = {"color": INK, "linewidth": 1.0}
        boxed = [values if len(values) >= BOXED else values[:0] for values in defined]
        drawn = axes.boxplot(
            boxed, positions=places, orientation="horizontal", widths=0.66, showfliers=False, manage_ticks=False,
            patch_artist=True, whiskerprops=lines, capprops=lines, medianprops={**lines, "linewidth": 2.2},
        )  # fmt: skip
        for place, box, values, patch in zip(places, boxes, defined, drawn["boxes"], strict=True):
            patch.set(facecolor=pale(box.look.colour), edgecolor=pale(box.look.colour, 0.45), hatch=box.hatch)
            spread = place + 0.5 * ((np.arange(len(values)) * 0.618034) % 1 - 0.5)  # even and reproducible
            axes.plot(
                values, spread, box.look.marker, color=box.look.colour, markersize=4.2, alpha=0.85,
                markeredgecolor="white", markeredgewidth=0.4, linestyle="none", zorder=3,
            )  # fmt: skip
        _names(axes, [box.name for box in boxes])
        axes.set_xlim(*_limits([float(value) for values in defined for value in values], highest))
        axes.set_xlabel(textwrap.fill(xlabel, LETTERS))
        axes.grid(axis="x")

    return _drawn(0.9 + 0.44 * len(boxes), draw)


def draw_forest(spans: Sequence[Span], xlabel: str, least: float = LEAST) -> Drawing:
    """Draw differences with their intervals, one per row, with a line at 0; the marker is filled if the arms differ.

    The axis shows at least ``least`` on both sides of 0.
    """

    def draw(axes: Axes) -> None:
        places = _rows(axes, [(span.group, span.name) for span in spans])
        axes.axvline(0, color=INK, linewidth=1.0, zorder=1)
        for place, span in zip(places, spans, strict=True):
            own = span.look
            if not math.isnan(span.low):
                axes.plot([span.low, span.high], [place, place], color=own.colour, linewidth=1.6, solid_capstyle="butt")
                axes.plot([span.low, span.high], [place, place], "|", color=own.colour, markersize=6, markeredgewidth=1.4)
            face = own.colour if span.sure else "white"
            axes.plot(span.value, place, own.marker, color=own.colour, markerfacecolor=face, markersize=6.5, zorder=3)
        ends = [end for span in spans for end in (span.value, span.low, span.high) if not math.isnan(end)]
        axes.set_xlim(min([-least, *(1.08 * end for end in ends)]), max([least, *(1.08 * end for end in ends)]))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.set_xlabel(textwrap.fill(xlabel, LETTERS))
        axes.grid(axis="x")

    return _drawn(_height([(span.group, span.name) for span in spans]), draw)


def draw_times(times: Sequence[Times], longest: float) -> Drawing:
    """Draw when each run reached the target, with a line at the median; hollow markers beyond ``longest`` mean never."""

    def draw(axes: Axes) -> None:
        places = _rows(axes, [(row.group, row.name) for row in times])
        never = NEVER * longest
        axes.axvspan(1.07 * longest, 1.27 * longest, color="#f0f0f0", zorder=0, linewidth=0)
        for place, row in zip(places, times, strict=True):
            reached = sorted(value for value in row.iterations if not math.isnan(value))
            spread = place + _spread(len(row.iterations))
            all_at = np.array(reached + [never] * (len(row.iterations) - len(reached)))
            style: dict[str, Any] = {"color": row.look.colour, "markersize": 5.5, "linestyle": "none"}
            axes.plot(all_at[: len(reached)], spread[: len(reached)], row.look.marker, alpha=0.85, **style)
            axes.plot(all_at[len(reached) :], spread[len(reached) :], row.look.marker, markerfacecolor="white", **style)
            if not math.isnan(row.middle) and len(row.iterations) > 1:
                for colour, width in (("white", 4.0), (INK, 2.0)):
                    axes.plot([row.middle] * 2, [place - 0.36, place + 0.36], color=colour, linewidth=width, zorder=3)
        axes.set_xlim(0, 1.27 * longest)
        axes.set_xticks([*(tick for tick in MaxNLocator(5, integer=True).tick_values(0, longest) if tick <= longest), never])
        labels = [f"{tick:g}" for tick in axes.get_xticks()]
        axes.set_xticklabels([*labels[:-1], "never"])
        axes.set_xlabel("iterations to the target (one mark per run)")
        axes.grid(axis="x")

    return _drawn(_height([(row.group, row.name) for row in times]), draw)


def draw_bands(lines: Sequence[Line], ylabel: str, *, dice: bool = False) -> Drawing:
    """Draw learning curves, one panel per arm: its mean and band, with the means of the other arms behind, scratch dotted."""
    reference = next((line for line in lines if line.name == SCRATCH), None)
    columns = min(2, len(lines))
    rows = math.ceil(len(lines) / columns)
    with house_style():
        figure = Figure(figsize=(WIDTH, 0.4 + 1.75 * rows), layout="constrained")
        panels = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)).ravel()
        for axes, own in zip(panels, lines, strict=False):
            for other in lines:
                if other is not own:
                    axes.plot(other.at, other.values, color="#bdbdbd", linewidth=0.8, zorder=1)
            if reference is not None and own.name != reference.name:
                axes.plot(reference.at, reference.values, color=INK, linewidth=1.0, linestyle=(0, (1, 1.6)), zorder=2)
            axes.fill_between(own.at, own.low, own.high, color=pale(own.look.colour, 0.6), linewidth=0, alpha=0.75, zorder=2)
            every = max(1, len(own.at) // 5)
            axes.plot(
                own.at, own.values, color=own.look.colour, linestyle=own.look.line, marker=own.look.marker,
                markersize=4, markevery=every, linewidth=1.6, zorder=3,
            )  # fmt: skip
            axes.set_title(shorten(own.name), fontsize=9, loc="left", parse_math=False)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
            axes.tick_params(labelsize=8)
            axes.grid(axis="y")
        _same_scale(panels[0], lines, dice)
        for axes in panels[len(lines) :]:
            axes.set_visible(False)
            panels[len(lines) - columns].tick_params(labelbottom=True)
        figure.supxlabel("iteration", fontsize=10)
        figure.supylabel(textwrap.fill(ylabel, 24), fontsize=10)  # a row of panels is low
        return both(figure)


def draw_sizes(lines: Sequence[Line], ylabel: str) -> Drawing:
    """Draw means with their intervals against the number of training subjects, on a logarithmic axis."""
    legend = math.ceil(len(lines) / 2)

    def draw(axes: Axes) -> None:
        sizes = sorted({size for line in lines for size in line.at})
        step = min((math.log(high / low) for low, high in itertools.pairwise(sizes)), default=0.5)
        for index, line in enumerate(lines):
            aside = math.exp((index - (len(lines) - 1) / 2) * min(0.05, 0.6 * step / len(lines)))  # to avoid overlap
            at, values = np.array(line.at) * aside, np.array(line.values)
            ends = np.nan_to_num(np.array([values - line.low, line.high - values]))
            axes.errorbar(
                at, values, ends, color=line.look.colour, linestyle=line.look.line, marker=line.look.marker,
                markersize=5, linewidth=1.4, elinewidth=1.1, capsize=2.5, label=str(index),
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(_few(sizes)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
        axes.set_xlabel("training subjects (logarithmic)")
        axes.set_ylabel(textwrap.fill(ylabel, UPWARDS))
        axes.grid(axis="y")
        handles, _ = axes.get_legend_handles_labels()
        figure = axes.figure
        shown = figure.legend(handles, ["" for _ in lines], loc="outside lower left", ncols=2, fontsize=9, handlelength=3.4)
        for text, line in zip(shown.get_texts(), lines, strict=True):
            text.set_parse_math(False)
            text.set_text(shorten(line.name))

    return _drawn(3.2 + 0.22 * legend, draw)


def pale(colour: str, share: float = PALE) -> tuple[float, float, float]:
    """Return a colour mixed with a share of white."""
    red, green, blue = (value + (1 - value) * share for value in to_rgb(colour))
    return red, green, blue


def both(figure: Figure) -> Drawing:
    """Return a figure as PNG and SVG; it is laid out only once, since layout takes most of the time."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return Drawing(as_png(figure), as_svg(figure))


def _drawn(height: float, draw: Callable[[Axes], None]) -> Drawing:
    with house_style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.subplots())
        return both(figure)


def _limits(values: Sequence[float], highest: float) -> tuple[float, float]:
    """Return the limits of an axis of values from 0: of ratios the whole scale, unless all values are at least 0.5."""
    if math.isinf(highest):
        top = max(values, default=1.0) or 1.0
        return -0.015 * top, 1.05 * top
    lowest = min(values, default=0.0) / highest
    low, high = (-0.015, 1.015) if lowest < 0.5 else (math.floor(lowest * 10 - 0.2) / 10, 1.01)
    return low * highest, high * highest


def _names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [shorten(name) for name in names], parse_math=False, fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _rows(axes: Axes, rows: Sequence[tuple[str, str]]) -> list[float]:
    """Label the rows under the headings of their groups; return the position of each row."""
    places, labels, heads = list[float](), list[tuple[float, str]](), list[int]()
    at, group = 0.0, None
    for head, name in rows:
        if head != group:
            at += 0.35 if group is not None else 0
            heads.append(len(labels))
            labels.append((at, head))
            at, group = at + 1, head
        labels.append((at, shorten(name)))
        places.append(at)
        at += 1
    axes.set_yticks([place for place, _ in labels], [label for _, label in labels], parse_math=False, fontsize=9)
    for index in heads:
        axes.get_yticklabels()[index].set_fontweight("bold")
    axes.set_ylim(at - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    return places


def _height(rows: Sequence[tuple[str, str]]) -> float:
    groups = len({group for group, _ in rows})
    return 0.8 + 0.25 * (len(rows) + 1.35 * groups)


def _spread(count: int) -> np.ndarray:
    """Return even offsets for the marks of one row, so that they do not overlap."""
    return np.linspace(-0.22, 0.22, count) if count > 1 else np.zeros(count)


def _same_scale(axes: Axes, lines: Sequence[Line], dice: bool) -> None:
    highest = max((float(value) for line in lines for value in line.high if not math.isnan(value)), default=1.0)
    if dice:
        axes.set_ylim(0, min(1.01, 1.1 * highest) or 1.0)


def _few(sizes: Sequence[float]) -> list[float]:
    """Return at most `TICKS` of the sizes, evenly chosen, including the first and the last."""
    if len(sizes) <= TICKS:
        return list(sizes)
    return [sizes[round(at)] for at in np.linspace(0, len(sizes) - 1, TICKS)]
