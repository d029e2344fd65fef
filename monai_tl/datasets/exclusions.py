"""Subjects left out of a datalist by an explicit choice: suspects of a check, cases of low score, or by name."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_tl.datasets.datalist import Splits
from monai_tl.datasets.ids import normal, visible
from monai_tl.datasets.patterns import Cases
from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.storage.text_tables import TextTable, read_text_table
from monai_tl.text import name_some

TABLES = r"\.(?i:csv|tsv|txt)"  # names of tables; Excel's "Unicode Text" ends in .txt
OUTCOME = "selected on the outcome"
FORMS = "give qc, a qc.csv, a file of scores with a limit (scores.csv:0.8), or subject ids (IXI012,IXI013)"


def leave_out(cases: Cases, choice: str, folder: Path) -> tuple[Cases, dict[str, str]]:
    """Take the chosen subjects out of the cases.

    Args:
        cases: as found; those that lack a file stay among its ``left_out``.
        choice: ``qc``, the path of a ``qc.csv`` (what is suspect there or has problems), ``FILE.csv:0.8`` (what has a Dice
            below that in a file of scores; a warning on stderr says what that means), or ids with commas; empty: nobody.
        folder: whose ``qc.csv``, or that of a folder in it, ``qc`` stands for.

    Returns:
        The other cases, with all that is left out and why; and subject -> why of those that were chosen and had a case.

    Raises:
        DataError: if a file cannot be read, a subject is unknown, or nobody would be left.
        ConfigError: if ``qc`` stands for no file or for several.
    """
    chosen = {normal(subject): why for subject, why in _chosen(choice, folder).items()} if choice else {}
    known = [case["subject"] for case in cases]
    unknown = [subject for subject in chosen if subject not in known and subject not in cases.left_out]
    if unknown:
        hint = did_you_mean(unknown[0], known[:20]) if len(unknown) == 1 else f"there are {name_some(known)}"
        if all(re.fullmatch("case_[0-9a-f]{10}", subject) for subject in unknown):
            hint = "these are pseudonyms: check once more without --anonymous, into another folder"
        raise DataError(f"leave_out names {len(unknown)} unknown subjects: {name_some([*map(visible, unknown)])}; {hint}")
    kept = Cases()
    kept.extend(case for case in cases if case["subject"] not in chosen)
    if not kept:
        raise DataError(f"leave_out {choice} leaves nobody of {len(known)} cases")
    there = {subject: why for subject, why in chosen.items() if subject in known}
    kept.left_out = cases.left_out | there
    return kept, there


def refuse_selected_test(chosen: Mapping[str, str], test: Sequence[str], *, drawn: bool) -> None:
    """Refuse a test split that was selected on the outcome: scores on it would be better than on new cases.

    Args:
        chosen: subject -> why it is left out, of `leave_out`.
        test: the test split, before anybody is left out of it.
        drawn: whether it is drawn from those that are left; else it is a list, made before.

    Raises:
        ConfigError: if somebody is left out for a low score and would, or might, have been in the test split.
    """
    low = [subject for subject, why in chosen.items() if OUTCOME in why]
    if drawn and test and low:
        raise ConfigError(
            f"leave_out takes {len(low)} cases out for their scores, and the test split would be drawn from those that a "
            "network did well on; give --split no test cases (0.85,0.15,0), or lists (lists.json) made before"
        )
    tested = sorted(set(low) & set(test))
    if tested:
        raise ConfigError(
            f"leave_out takes {len(tested)} cases out of the test split for their scores: {name_some(tested)}; scores on the "
            "rest would be better than on new cases. Give a file of scores without test cases"
        )


def without(splits: Splits, subjects: Mapping[str, str]) -> Splits:
    """Take subjects out of all splits; what the splits say is left out stays."""
    rest = Splits({name: [subject for subject in listed if subject not in subjects] for name, listed in splits.items()})
    rest.left_out = splits.left_out
    return rest


def _chosen(choice: str, folder: Path) -> dict[str, str]:
    """Subject -> why it is to be left out."""
    if choice == "qc":
        return _suspects(_only_qc(folder))
    scores = re.fullmatch(rf"(.+{TABLES}):([^:/]+)", choice)
    if scores:
        try:
            limit = float(scores[2])
        except ValueError:
            limit = math.nan
        if not 0 < limit <= 1:
            raise ConfigError(f"leave_out '{choice}': '{scores[2]}' is no Dice above 0 and up to 1; {FORMS}")
        return _low_scores(Path(scores[1]), limit)
    if re.search(rf"{TABLES}$", choice):
        return _suspects(Path(choice))
    return dict.fromkeys(filter(None, (name.strip() for name in choice.split(","))), "left out by name")


def _only_qc(folder: Path) -> Path:
    folder = folder.expanduser().absolute()
    found = sorted([*folder.glob("qc.csv"), *folder.glob("*/qc.csv")])
    if len(found) != 1:
        there = f"{len(found)} there ({name_some([str(path.relative_to(folder)) for path in found])})" if found else "none"
        raise ConfigError(
            f"leave_out qc: needs one qc.csv in {folder} or a folder in it, there {'are' if found else 'is'} {there}; "
            "make one with `monai_tl check`, or give its path"
        )
    return found[0]


def _suspects(path: Path) -> dict[str, str]:
    rows = _read(path, ("case", "state", "reasons")).rows
    odd = sorted({row["state"] for row in rows} - {"problem", "suspect", "fine"})
    if odd:
        raise DataError(f"{path}: unknown state '{odd[0]}': {did_you_mean(odd[0], ('problem', 'suspect', 'fine'))}")
    return {row["case"]: f"{row['state']} in {path.name}: {row['reasons']}" for row in rows if row["state"] != "fine"}


def _low_scores(path: Path, limit: float) -> dict[str, str]:
    table = _read(path, ("subject", "dice"))
    rows, scores = table.rows, {row["subject"]: _dice(path, table, row["dice"]) for row in table.rows}
    low = {subject: dice for subject, dice in scores.items() if dice < limit}  # undefined (nan) is not low
    print(
        f"monai_tl: warning: --leave_out {path.name}:{limit:g} selects on the outcome: {len(low)} of {len(rows)} cases are "
        "left out because a network did badly on them, so scores on the rest are better than on new cases. A test split chosen "
        "so is refused; the datalist records who was left out.",
        file=sys.stderr,
    )
    return {subject: f"Dice {dice:.3f} below {limit:g} in {path.name} ({OUTCOME})" for subject, dice in low.items()}


def _dice(path: Path, table: TextTable, cell: str) -> float:
    try:
        dice = table.number(cell)
    except ValueError:
        raise DataError(f"{path}: a Dice in it is no number ('{cell}')") from None
    if not (0 <= dice <= 1 or dice != dice):
        raise DataError(f"{path}: a Dice lies between 0 and 1, and it holds '{cell}'")
    return dice


def _read(path: Path, columns: tuple[str, ...]) -> TextTable:
    if not path.is_file():
        raise DataError(f"leave_out: there is no file {path}; {FORMS}")
    try:
        return read_text_table(path, columns)
    except DataError as error:
        raise DataError(f"leave_out: {error}; {FORMS}") from error
