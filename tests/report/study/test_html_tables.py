"""One table, three ways: the page's words, the CSV's full precision, LaTeX that compiles."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest

from monai_tl.report.study.html_tables import ROWS, TEX_ROWS, Column, StudyTable, shown, tex
from tests.conftest import mentions

NAN = math.nan
COLUMNS = (
    Column("Arm", "arm", "arm"), Column("Mean", "mean", "number"), Column("95 % interval", "mean", "interval"),
    Column("Fault", "fault", "text"),
)  # fmt: skip


def make(rows):
    return StudyTable("odd", "50 % of $x_1$ & more", COLUMNS, rows)


def test_the_page_rounds_and_the_csv_does_not():
    table = make([["2", 1 / 3, (0.25, 2 / 3), "a,b"], ["scratch", NAN, (NAN, NAN), ""]])
    assert [texts for _, texts in table.shown] == [["freeze 2", "0.333", "[0.250, 0.667]", "a,b"], ["scratch", "–", "–", ""]]
    header, first, second = csv.reader(io.StringIO(table.csv()))
    assert header == ["arm", "mean", "mean_low", "mean_high", "fault"]
    assert first == ["2", repr(1 / 3), "0.25", repr(2 / 3), "a,b"]
    assert second == ["scratch", "", "", "", ""]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (-0.0123, "signed", "−0.012"),
        ((-0.1, 0.2), "signed interval", "[−0.100, +0.200]"),
        (0.0004, "chance", "< 0.001"),
        (0.0456, "chance", "0.046"),
        (-1.237, "effect", "−1.24"),
        (250.0, "count", "250"),
        (3725.0, "duration", "1 h 02 min"),
        (None, "number", "–"),
    ],
)
def test_values_in_words(value, kind, text):
    assert shown(value, kind) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50 % & $5_#", r"50 \% \& \$5\_\#"),
        ("{a}~^", r"\{a\}\textasciitilde{}\textasciicircum{}"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ('−0.1 – <b>|"', r"$-$0.1 -- \textless{}b\textgreater{}\textbar{}\textquotedbl{}"),
        ("line\nend\x1b", "line\ufffdend\ufffd"),
    ],
)
def test_what_latex_would_take_for_a_command_is_escaped(text, escaped):
    assert tex(text) == escaped


def test_the_latex_of_a_hostile_table_is_balanced():
    rows = [["[x]", 0.5, (0.1, 0.9), "100 % \\end{table} & _"], ["*", 0.5, (0.1, 0.9), "#"]]
    latex = make(rows).tex()
    assert r"\caption{50 \% of \$x\_1\$ \& more}" in latex
    body = latex[latex.index(r"\midrule") : latex.index(r"\bottomrule")]
    cells = [re.split(r"(?<!\\)&", line) for line in body.splitlines()[1:]]
    assert [len(row) for row in cells] == [4, 4]
    assert all(line.startswith("{}") for line in body.splitlines()[1:]), r"after \\ a [ or a * is an option of it"
    assert latex.count(r"\end{table}") == 1
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")


def test_many_rows_stand_in_the_csv_alone():
    table = make([["0", 0.5, (0.1, 0.9), str(n)] for n in range(ROWS + 5)])
    assert (len(table.shown), table.left_out) == (ROWS, 5)
    assert table.csv().count("\n") == ROWS + 6
    mentions(table.tex(), f"% {ROWS + 5 - TEX_ROWS} more rows … odd.csv")
    assert table.tex().count("\\\\\n") == TEX_ROWS + 1
