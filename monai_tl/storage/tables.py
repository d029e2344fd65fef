"""CSV tables that this package writes: a dataclass is the type of a row, its fields are the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from monai_tl.errors import DataError
from monai_tl.storage.files import write_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")
READ: dict[Any, Callable[[str], Any]] = {"str": str, "int": int, "float": float}


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[Any]], line_end: str = "\n") -> str:
    """Return a table as CSV text; NaN is written as ``nan``, None as an empty cell."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator=line_end)
    table.writerow(columns)
    table.writerows(rows)
    return text.getvalue()


def table_text(kind: type[Row], rows: Iterable[Row], line_end: str = "\n") -> str:
    """Return rows of one type as the text that `write_table` writes."""
    columns = [(column.name, column.metadata.get("form", "")) for column in fields(kind)]
    cells = ([format(getattr(row, name), form) for name, form in columns] for row in rows)
    return csv_text([name for name, _ in columns], cells, line_end)


def write_table(path: Path | str, kind: type[Row], rows: Iterable[Row], *, line_end: str = "\n") -> None:
    """Write rows of one type atomically; numbers have full precision, or the format in ``field(metadata={"form": ".2f"})``."""
    write_text(path, table_text(kind, rows, line_end))


def read_table(path: Path | str, kind: type[Row], *, remedy: str) -> list[Row]:
    """Read a table that `write_table` wrote; see `iterate_table`."""
    return list(iterate_table(path, kind, remedy=remedy))


def iterate_table(path: Path | str, kind: type[Row], *, remedy: str) -> Iterator[Row]:
    """Yield the rows of a table that `write_table` wrote.

    Columns are found by name; further columns are ignored. A column may be missing if its field has a default.

    Args:
        path: the file.
        kind: dataclass whose fields are ``str``, ``int`` or ``float``.
        remedy: what to do about a damaged file; each message ends with it.

    Raises:
        DataError: if the file does not exist, a column is missing, or a row is damaged (its line is named).
    """
    if not Path(path).is_file():
        raise DataError(f"there is no {path}: {remedy}")
    with open(path, newline="", encoding="utf-8") as file:
        table = csv.reader(file, strict=True)
        try:
            header = next(table, [])
            columns = _columns(kind, header)
            for cells in table:
                if cells:
                    yield kind(**_values(cells, header, columns))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} is not a CSV table ({error}): {remedy}") from None
        except ValueError as error:
            raise DataError(f"{path}, line {max(table.line_num, 1)} {error}: {remedy}") from None


def _columns(kind: type[Row], header: Sequence[str]) -> list[tuple[str, int, Any]]:
    """Return name, position and type of the columns to read."""
    needed = [column.name for column in fields(kind) if column.default is MISSING]
    if missing := [name for name in needed if name not in header]:
        raise ValueError(f"lacks the column {', '.join(missing)} (required are {', '.join(needed)})")
    if twice := [name for name in needed if header.count(name) > 1]:
        raise ValueError(f"has the column {twice[0]} twice")
    existing = [column for column in fields(kind) if column.name in header]
    return [(column.name, header.index(column.name), getattr(column.type, "__name__", column.type)) for column in existing]


def _values(cells: Sequence[str], header: Sequence[str], columns: Sequence[tuple[str, int, Any]]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise ValueError(f"has {len(cells)} cells instead of {len(header)} ({', '.join(header)})")
    values = {}
    for name, place, of in columns:
        try:
            values[name] = READ[of](cells[place])
        except ValueError:
            number = "a whole number" if of == "int" else "a number"
            raise ValueError(f"has {name} '{cells[place]}' instead of {number}") from None
    return values
