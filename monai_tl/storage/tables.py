"""Tables that this package writes: a dataclass is the kind of row, its fields are the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
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
    """Return a table as text; unknown numbers are ``nan``, cells of ``None`` empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator=line_end)
    table.writerow(columns)
    table.writerows(rows)
    return text.getvalue()


def table_text(kind: type[Row], rows: Iterable[Row], line_end: str = "\n") -> str:
    """Return rows of one kind as `write_table` writes them."""
    columns = [(one.name, one.metadata.get("form", "")) for one in fields(kind)]
    cells = ([format(getattr(row, name), form) for name, form in columns] for row in rows)
    return csv_text([name for name, _ in columns], cells, line_end)


def write_table(path: Path | str, kind: type[Row], rows: Iterable[Row], *, line_end: str = "\n") -> None:
    """Write rows of one kind, atomically; numbers at full precision, or as ``field(metadata={"form": ".2f"})`` says."""
    write_text(path, table_text(kind, rows, line_end))


def read_table(path: Path | str, kind: type[Row], *, remedy: str) -> list[Row]:
    """Read what `write_table` wrote.

    Columns are found by name; further ones are passed over. A field with a default is a column that may be missing.

    Args:
        path: the file.
        kind: dataclass whose fields are ``str``, ``int`` or ``float``.
        remedy: what to do about a damaged file, the end of each message.

    Raises:
        DataError: if there is no such file, a column is missing, or a row is damaged, with its line.
    """
    if not Path(path).is_file():
        raise DataError(f"there is no {path}: {remedy}")
    with open(path, newline="", encoding="utf-8") as file:
        table = csv.reader(file, strict=True)
        try:
            header = next(table, [])
            columns = _columns(kind, header)
            return [kind(**_values(cells, header, columns)) for cells in table if cells]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} is no table of text ({error}): {remedy}") from None
        except ValueError as error:
            raise DataError(f"{path}, line {max(table.line_num, 1)} {error}: {remedy}") from None


def _columns(kind: type[Row], header: Sequence[str]) -> list[tuple[str, int, Any]]:
    """Name, place and type of the columns to read."""
    needed = [one.name for one in fields(kind) if one.default is MISSING]
    if missing := [name for name in needed if name not in header]:
        raise ValueError(f"lacks the column {', '.join(missing)} (needed are {', '.join(needed)})")
    if twice := [name for name in needed if header.count(name) > 1]:
        raise ValueError(f"has the column {twice[0]} twice")
    found = [one for one in fields(kind) if one.name in header]
    return [(one.name, header.index(one.name), getattr(one.type, "__name__", one.type)) for one in found]


def _values(cells: Sequence[str], header: Sequence[str], columns: Sequence[tuple[str, int, Any]]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise ValueError(f"has {len(cells)} cells, needed are {len(header)} ({', '.join(header)})")
    values = {}
    for name, place, of in columns:
        try:
            values[name] = READ[of](cells[place])
        except ValueError:
            number = "a whole number" if of == "int" else "a number"
            raise ValueError(f"has {name} '{cells[place]}', needed is {number}") from None
    return values
