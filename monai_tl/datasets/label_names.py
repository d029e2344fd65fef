"""Tables of label names: which value each name stands for, as programs for segmentation write them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monai_tl.errors import DataError
from monai_tl.storage.text_tables import read_text

FORMS = (
    'a .json with {"1": "spleen"} or {"spleen": 1} (or such a table under "labels"), a .csv or .tsv with the value and the '
    "name in the first two columns, or a colour table as FreeSurfer's (17 Left-Hippocampus 220 216 20 0)"
)
_VALUE = re.compile(r"\d+")


def read_label_names(path: Path | str) -> dict[str, int]:
    """Read a table of label names, without the background, 0.

    Args:
        path: a ``.json``, ``.csv`` or ``.tsv`` file, or a colour table such as ``FreeSurferColorLUT.txt``.

    Returns:
        Name -> label value, in the order of the file.

    Raises:
        DataError: if it is missing, holds no name, or has two values for one name.

    Example:
        >>> from pathlib import Path
        >>> from monai_tl.datasets.label_names import read_label_names
        >>> _ = Path("lut.txt").write_text("# FreeSurfer\\n0 Unknown 0 0 0 0\\n17 Left-Hippocampus 220 216 20 0\\n")
        >>> read_label_names("lut.txt")
        {'Left-Hippocampus': 17}
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no table of label names {path}; needed is {FORMS}")
    text = read_text(path)
    names: dict[str, int] = {}
    for value, name in _json_pairs(path, text) if path.suffix == ".json" else _row_pairs(text):
        if names.get(name, value) != value:
            raise DataError(f"{path} has two values for '{name}', {names[name]} and {value}; needed is one value a name")
        if value:
            names[name] = value
    if not names:
        raise DataError(f"{path} holds no label names; needed is {FORMS}")
    return names


class _Pairs(list[tuple[str, Any]]):
    """The names and values of a JSON object, of which a name may occur twice."""


def _json_pairs(path: Path, text: str) -> Iterable[tuple[int, str]]:
    try:
        content = json.loads(text, object_pairs_hook=_Pairs)
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); needed is {FORMS}") from error
    pairs: Any = content if isinstance(content, _Pairs) else ()
    for key, value in next((of for name, of in pairs if name == "labels" and isinstance(of, _Pairs)), pairs):
        if _VALUE.fullmatch(key) and isinstance(value, str):
            yield int(key), value.strip()
        elif type(value) is int and value >= 0:
            yield value, key.strip()


def _row_pairs(text: str) -> Iterable[tuple[int, str]]:
    """Yield the rows that begin with a value; a header and comments do not."""
    for line in text.splitlines():
        cells = next(csv.reader([line], delimiter="\t" if "\t" in line else ","), [])
        if len(cells) < 2:
            cells = line.split()
        if len(cells) >= 2 and _VALUE.fullmatch(cells[0].strip()):
            yield int(cells[0]), cells[1].strip()
