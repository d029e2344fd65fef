"""Text files and tables from users, as spreadsheets and editors of different countries write them."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_tl.errors import DataError

MARKS = {  # byte order mark -> encoding; UTF-32 first, as its mark begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
DELIMITERS = (",", ";", "\t", "|")
SAVE_AS = "save it as UTF-8 (in Excel: 'CSV UTF-8')"


@dataclass(frozen=True)
class TextTable:
    """A table that may have been through a spreadsheet.

    Attributes:
        rows: column -> cell, without surrounding spaces; blank rows are omitted.
        delimiter: the character between cells: ``,``, ``;``, a tab or ``|``.
    """

    rows: list[dict[str, str]]
    delimiter: str

    def number(self, cell: str) -> float:
        """Return the number in a cell; if cells are not separated by commas, ``0,79`` is read as 0.79.

        Raises:
            ValueError: if the cell does not hold a number.
        """
        decimal_comma = self.delimiter != "," and re.fullmatch(r"[+-]?\d*,\d+", cell)
        return float(cell.replace(",", ".") if decimal_comma else cell)


def read_text(path: Path | str) -> str:
    """Read a user's text file: UTF-8 with or without a byte order mark, or UTF-16 or UTF-32 with one.

    Returns:
        The text, with every line end as a newline.

    Raises:
        DataError: if the encoding is another; the message names the probable encoding and how to save the file.
    """
    data = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:
        raise DataError(f"{path} is not UTF-8: it seems to be UTF-16 without a byte order mark; {SAVE_AS}")
    try:
        text = data.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise DataError(f"{path} is damaged: it begins as {encoding.upper()}, but the rest is not; {SAVE_AS}") from None
        raise DataError(f"{path} is not UTF-8: {_seems(data, error.start)}; {SAVE_AS}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text_table(path: Path | str, columns: Sequence[str]) -> TextTable:
    """Read a table with a header, whose cells are separated by commas, semicolons, tabs or vertical bars.

    Args:
        path: the file, in an encoding that `read_text` reads.
        columns: required columns; others are read too.

    Raises:
        DataError: if the encoding is another, a column is missing or occurs twice, or a row has more or fewer cells than the
            header.
    """
    lines = read_text(path).split("\n")
    start = next((number for number, line in enumerate(lines) if line.strip()), 0)
    declared = re.fullmatch(r"\W?sep=(.)\W?", lines[start].strip(" "), re.IGNORECASE)  # this line declares Excel's delimiter
    start += bool(declared)
    header_line = lines[start] if start < len(lines) else ""
    headers = {sign: _cells(header_line, sign) for sign in ([declared[1]] if declared else DELIMITERS)}
    delimiter = max(headers, key=lambda sign: (len(set(columns) & set(headers[sign])), len(headers[sign])))
    header = headers[delimiter]
    lacking = [column for column in columns if column not in header]
    if lacking:
        raise DataError(f"{path} has no column {', '.join(lacking)}, only {', '.join(header[:5]) or 'nothing'}")
    twice = [column for column in columns if header.count(column) > 1]
    if twice:
        raise DataError(f"{path} has the column {twice[0]} twice; keep one")
    return TextTable(list(_rows(path, lines[start + 1 :], header, delimiter, start + 2)), delimiter)


def _rows(
    path: Path | str, lines: Sequence[str], header: Sequence[str], delimiter: str, first: int
) -> Iterator[dict[str, str]]:
    """Yield the rows below a header; ``first`` is the number of the first line."""
    table = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    try:
        for row in table:
            cells = [cell.strip() for cell in row]
            while len(cells) > len(header) and not cells[-1]:
                cells.pop()
            if len(cells) != len(header) and any(cells):
                raise DataError(
                    f"{path}: line {first - 1 + table.line_num} has {len(cells)} cells, the header {len(header)}; correct it; "
                    "a cell that contains the delimiter needs quotes"
                )
            if any(cells):
                yield dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: line {first - 1 + table.line_num} cannot be read as a row ({error})") from error


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _seems(data: bytes, at: int) -> str:
    """Describe the probable encoding of text that is not UTF-8, judged by its bytes above ASCII, and show the first of them."""
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
    low = len(re.findall(rb"[\x80-\x9f]", data))
    number = data.count(b"\n", 0, at) + 1
    if sum(length for length in runs if length > 2) > sum(runs) / 2:
        return f"it seems to be in an older encoding such as Windows-1251, GBK or Shift-JIS (line {number})"
    name, codec = ("Mac Roman", "mac-roman") if low > sum(runs) / 2 else ("Windows-1252 (Latin-1)", "latin-1")
    word = re.search(rb"[\w\x80-\xff]*$", data[:at])
    rest = re.match(rb"[\w\x80-\xff]*", data[at:])
    shown = ((word[0] if word else b"") + (rest[0] if rest else b"")).decode(codec)
    return f"it seems to be {name}: line {number} would read '{shown}'"
