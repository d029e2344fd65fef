"""Text and tables that people made, as spreadsheets and editors of different countries write them."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_tl.errors import DataError

MARKS = {  # byte order mark -> encoding; UTF-32's begins with UTF-16's
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
        rows: column -> cell, without the spaces around it; rows without any cell are passed over.
        delimiter: what stood between cells: ``,``, ``;``, a tab or ``|``.
    """

    rows: list[dict[str, str]]
    delimiter: str

    def number(self, cell: str) -> float:
        """Read a number; where cells are not divided by commas, ``0,79`` is what a European spreadsheet makes of 0.79.

        Raises:
            ValueError: if it is none.
        """
        decimal_comma = self.delimiter != "," and re.fullmatch(r"[+-]?\d*,\d+", cell)
        return float(cell.replace(",", ".") if decimal_comma else cell)


def read_text(path: Path | str) -> str:
    """Read a text file that somebody made: UTF-8 with or without a byte order mark, or UTF-16 with one; lines end in newlines.

    Raises:
        DataError: if it is in another encoding: the one it seems to be in is named, and how to save it.
    """
    data = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:
        raise DataError(f"{path} is not UTF-8: it seems to be UTF-16 without a byte order mark; {SAVE_AS}")
    try:
        text = data.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise DataError(f"{path} is damaged: it begins as {encoding.upper()} and goes on otherwise; {SAVE_AS}") from None
        raise DataError(f"{path} is not UTF-8: {_seems(data, error.start)}; {SAVE_AS}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text_table(path: Path | str, columns: Sequence[str]) -> TextTable:
    """Read a table with a header, divided by commas, semicolons or tabs, as spreadsheets write them in different countries.

    Args:
        path: the file; `read_text` says in which encodings.
        columns: that have to be there; others are read too.

    Raises:
        DataError: if the encoding is another, a column is missing or stands twice, or a row has more or fewer cells than the
            header.
    """
    lines = read_text(path).split("\n")
    start = next((number for number, line in enumerate(lines) if line.strip()), 0)
    said = re.fullmatch(r"\W?sep=(.)\W?", lines[start].strip(" "), re.IGNORECASE)  # a line by which Excel is told the delimiter
    start += bool(said)
    header_line = lines[start] if start < len(lines) else ""
    headers = {sign: _cells(header_line, sign) for sign in ([said[1]] if said else DELIMITERS)}
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
    """Rows below a header; ``first`` is the number of the first line."""
    table = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    try:
        for row in table:
            cells = [cell.strip() for cell in row]
            while len(cells) > len(header) and not cells[-1]:
                cells.pop()
            if len(cells) != len(header) and any(cells):
                raise DataError(
                    f"{path}: line {first - 1 + table.line_num} has {len(cells)} cells, the header {len(header)}; mend it, "
                    "with quotes around a cell that holds the delimiter"
                )
            if any(cells):
                yield dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: line {first - 1 + table.line_num} cannot be read as a row ({error})") from error


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _seems(data: bytes, at: int) -> str:
    """Say which encoding text that is no UTF-8 seems to be in, by the bytes above ASCII, and show the first place."""
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
    low = len(re.findall(rb"[\x80-\x9f]", data))
    number = data.count(b"\n", 0, at) + 1
    if sum(length for length in runs if length > 2) > sum(runs) / 2:
        return f"it seems to be in an older encoding such as Windows-1251, GBK or Shift-JIS (line {number})"
    name, codec = ("Mac Roman", "mac-roman") if low > sum(runs) / 2 else ("Windows-1252 (Latin-1)", "latin-1")
    word = re.search(rb"[\w\x80-\xff]*$", data[:at])
    rest = re.match(rb"[\w\x80-\xff]*", data[at:])
    shown = ((word[0] if word else b"") + (rest[0] if rest else b"")).decode(codec)
    return f"it seems to be {name}, in which line {number} reads '{shown}'"
