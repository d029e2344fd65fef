"""A table in three formats: HTML, CSV at full precision, LaTeX (booktabs)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from monai_tl.report.kit.figures import SOFTWARE, Look
from monai_tl.storage.tables import csv_text
from monai_tl.text import NONE, difference, duration, number, printable
from monai_tl.transfer.arms import arm_words

WORDS = ("arm", "text")  # left-aligned kinds
DIGITS = 3
ROWS = 200  # of a table in the page; its CSV holds all
TEX_ROWS = 50  # of a table in LaTeX, which does not break tables across pages
TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\textquotedbl{}", "−": "$-$", "–": "--", "·": r"\textperiodcentered{}", "\u00a0": "~", "≥": r"$\geq$", "₂": "$_2$",
}  # fmt: skip


class Column(NamedTuple):
    """A column: its title, its name in the CSV, and the format of its values (a key of `FORMATS` or `ROUNDED`)."""

    title: str
    name: str
    kind: str

    @property
    def is_words(self) -> bool:
        """Whether the column is left-aligned."""
        return self.kind in WORDS


@dataclass(frozen=True)
class StudyTable:
    """Rows of plain values; the first column is the row's header, preceded by the symbol of its look, if given.

    ``digits`` holds the decimals of each row's numbers, differences and intervals; 3 if it is empty.

    None and NaN are shown as a dash in the page and as an empty cell in the CSV; an interval is a pair.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Any]]
    looks: Sequence[Look | None] = ()
    note: str = ""
    digits: Sequence[int] = ()

    @property
    def shown(self) -> list[tuple[Look | None, list[str]]]:
        """The first `ROWS` rows as texts, each with its look."""
        looks = list(self.looks) or [None] * len(self.rows)
        digits = list(self.digits) or [DIGITS] * len(self.rows)
        rows = list(zip(looks, self.rows, digits, strict=True))[:ROWS]
        return [(own, self._texts(row, decimals)) for own, row, decimals in rows]

    @property
    def left_out(self) -> int:
        """The number of rows that are not shown."""
        return max(0, len(self.rows) - ROWS)

    def _texts(self, row: Sequence[Any], digits: int) -> list[str]:
        return [shown(value, column.kind, digits) for value, column in zip(row, self.columns, strict=True)]

    def csv(self) -> str:
        """Return all rows as CSV, numbers at full precision, an interval as two columns."""
        names = [name for column in self.columns for name in _csv_names(column)]
        pairs = (zip(row, self.columns, strict=True) for row in self.rows)
        return csv_text(names, ([cell for value, column in row for cell in _csv_cells(value, column)] for row in pairs))

    def tex(self) -> str:
        """Return a LaTeX table of the first `TEX_ROWS` rows."""
        sides = "".join("l" if column.is_words else "r" for column in self.columns)
        lines = [
            rf"% {SOFTWARE}: needs \usepackage{{booktabs}}, and [T1]{{fontenc}}, [utf8]{{inputenc}} before LaTeX of 2018",
            r"\begin{table}[htbp]", r"\centering", rf"\caption{{{tex(self.caption)}}}", rf"\label{{tab:{self.name}}}",
            rf"\begin{{tabular}}{{{sides}}}", r"\toprule", _tex_row([column.title for column in self.columns]), r"\midrule",
            *(_tex_row(texts) for _, texts in self.shown[:TEX_ROWS]), r"\bottomrule", r"\end{tabular}", r"\end{table}",
        ]  # fmt: skip
        if len(self.rows) > TEX_ROWS:
            lines.insert(1, f"% {len(self.rows) - TEX_ROWS} more rows are in {self.name}.csv")
        return "\n".join(lines) + "\n"


def shown(value: Any, kind: str, digits: int = DIGITS) -> str:
    """Return a value as the page shows it; a dash for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NONE
    return ROUNDED[kind](value, digits) if kind in ROUNDED else FORMATS[kind](value)


def tex(text: str) -> str:
    """Return a text with LaTeX's special characters escaped and unprintable ones made visible."""
    return "".join(TEX.get(letter, letter) for letter in printable(text))


def chance(value: float) -> str:
    """Return a p value as text."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _ends(write: Callable[[float, int], str]) -> Callable[[Sequence[float], int], str]:
    def between(ends: Sequence[float], digits: int) -> str:
        return NONE if any(map(math.isnan, ends)) else f"[{write(ends[0], digits)}, {write(ends[1], digits)}]"

    return between


FORMATS: dict[str, Callable[[Any], str]] = {
    "arm": arm_words,
    "text": str,
    "count": lambda value: f"{value:.0f}",
    "length": lambda value: f"{value:.1f}",
    "effect": lambda value: f"{value:+.2f}".replace("-", "−"),
    "chance": chance,
    "duration": duration,
}
ROUNDED: dict[str, Callable[[Any, int], str]] = {
    "number": number,
    "signed": difference,
    "interval": _ends(number),
    "signed interval": _ends(difference),
}


def _csv_names(column: Column) -> list[str]:
    return [f"{column.name}_low", f"{column.name}_high"] if column.kind.endswith("interval") else [column.name]


def _csv_cells(value: Any, column: Column) -> list[Any]:
    values = (value or (None, None)) if column.kind.endswith("interval") else (value,)
    return ["" if cell is None or (isinstance(cell, float) and math.isnan(cell)) else cell for cell in values]


def _tex_row(cells: Sequence[str]) -> str:
    r"""Return a table row of escaped cells; it never starts with ``[`` or ``*``, which LaTeX would read after ``\\``."""
    row = " & ".join(map(tex, cells))
    return f"{'{}' if row.startswith(('[', '*')) else ''}{row} \\\\"
