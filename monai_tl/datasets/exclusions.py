"""Subjects left out of a datalist by an explicit choice: suspect cases of a check, cases with low scores, or by name."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_tl.datasets.ids import normal, visible
from monai_tl.datasets.patterns import Cases
from monai_tl.datasets.splits import Splits
from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.storage.text_tables import TextTable, read_text_table
from monai_tl.text import name_some

TABLES = r"\.(?i:csv|tsv|txt)"  # file names of tables; Excel's "Unicode Text" ends in .txt
OUTCOME = "selected on the outcome"
FORMS = "name qc, a qc.csv, a file of scores with a limit (scores.csv:0.8), or subject ids (IXI012,IXI013)"


def leave_out(cases: Cases, choice: str, folder: Path) -> tuple[Cases, dict[str, str]]:
    """Remove the chosen subjects from the cases.

    Args:
        cases: to choose from; subjects that lack a file are already in its ``left_out``.
        choice: ``qc``, the path of a ``qc.csv`` (cases that are suspect or have problems), ``FILE.csv:0.8`` (cases with a
            lower Dice in a file of scores; a warning on stderr explains the consequences), or ids separated by commas;
            empty: none.
        folder: searched, with its subfolders, for the ``qc.csv`` that ``qc`` refers to.

    Returns:
        The other cases, with all omitted subjects in ``left_out``; and chosen subject -> reason, for those that had a case.

    Raises:
        DataError: if a file cannot be read, a subject is unknown, or no case would remain.
        ConfigError: if ``qc`` matches no file or several.
    """
    chosen = {normal(subject): why for subject, why in _chosen(choice, folder).items()} if choice else {}
    known = [case["subject"] for case in cases]
    unknown = [subject for subject in chosen if subject not in known and subject not in cases.left_out]
    if unknown:
        hint = did_you_mean(unknown[0], known[:20]) if len(unknown) == 1 else f"there are {name_some(known)}"
        if all(re.fullmatch("case_[0-9a-f]{10}", subject) for subject in unknown):
            hint = "these are pseudonyms: run the check again without --anonymous, into another folder"
        raise DataError(f"leave_out names {len(unknown)} unknown subjects: {name_some([*map(visible, unknown)])}; {hint}")
    kept = Cases()
    kept.extend(case for case in cases if case["subject"] not in chosen)
    if not kept:
        raise DataError(f"leave_out {choice} leaves none of {len(known)} cases")
    removed = {subject: why for subject, why in chosen.items() if subject in known}
    kept.left_out = cases.left_out | removed
    return kept, removed


def refuse_selected_test(chosen: Mapping[str, str], test: Sequence[str], *, drawn: bool) -> None:
    """Refuse a test split that was selected on the outcome, since its scores would be better than on new cases.

    Args:
        chosen: subject -> why it is left out, as `leave_out` returns it.
        test: the test split before exclusions.
        drawn: whether it is drawn from the remaining cases, as opposed to a given list.

    Raises:
        ConfigError: if a subject is left out for a low score and is, or could have been, in the test split.
    """
    low = [subject for subject, why in chosen.items() if OUTCOME in why]
    if drawn and test and low:
        raise ConfigError(
            f"leave_out removes {len(low)} cases because of their scores, so the test split would be drawn from cases with "
            "good scores; use --split without test cases (0.85,0.15,0), or existing lists (lists.json)"
        )
    tested = sorted(set(low) & set(test))
    if tested:
        raise ConfigError(
            f"leave_out removes {len(tested)} cases from the test split because of their scores: {name_some(tested)}; scores "
            "on the others would be better than on new cases. Use a file of scores without test cases"
        )


def without(splits: Splits, subjects: Mapping[str, str]) -> Splits:
    """Return the splits without the given subjects; their ``left_out`` is kept."""
    rest = Splits({name: [subject for subject in listed if subject not in subjects] for name, listed in splits.items()})
    rest.left_out = splits.left_out
    return rest


def _chosen(choice: str, folder: Path) -> dict[str, str]:
    """Return subject -> why it is left out."""
    if choice == "qc":
        return _suspects(_only_qc(folder))
    scores = re.fullmatch(rf"(.+{TABLES}):([^:/]+)", choice)
    if scores:
        try:
            limit = float(scores[2])
        except ValueError:
            limit = math.nan
        if not 0 < limit <= 1:
            raise ConfigError(f"leave_out '{choice}': '{scores[2]}' is not a Dice above 0 and up to 1; {FORMS}")
        return _low_scores(Path(scores[1]), limit)
    if re.search(rf"{TABLES}$", choice):
        return _suspects(Path(choice))
    return dict.fromkeys(filter(None, (name.strip() for name in choice.split(","))), "left out by name")


def _only_qc(folder: Path) -> Path:
    folder = folder.expanduser().absolute()
    files = sorted([*folder.glob("qc.csv"), *folder.glob("*/qc.csv")])
    if len(files) != 1:
        existing = (
            f"there are {len(files)} ({name_some([str(path.relative_to(folder)) for path in files])})"
            if files
            else "there is none"
        )
        raise ConfigError(
            f"leave_out qc: needs one qc.csv in {folder} or a folder in it, {existing}; make one with `monai_tl check`, or "
            "name its path"
        )
    return files[0]


def _suspects(path: Path) -> dict[str, str]:
    rows = _read(path, ("case", "state", "reasons")).rows
    odd = sorted({row["state"] for row in rows} - {"problem", "suspect", "fine"})
    if odd:
        raise DataError(f"{path}: unknown state '{odd[0]}': {did_you_mean(odd[0], ('problem', 'suspect', 'fine'))}")
    return {row["case"]: f"{row['state']} in {path.name}: {row['reasons']}" for row in rows if row["state"] != "fine"}


def _low_scores(path: Path, limit: float) -> dict[str, str]:
    scores = _mean_dice(path)
    low = {subject: dice for subject, dice in scores.items() if dice < limit}  # an undefined Dice (NaN) is not low
    print(
        f"monai_tl: warning: --leave_out {path.name}:{limit:g} selects on the outcome: {len(low)} of {len(scores)} cases are "
        "left out because of their low scores, so scores on the others are better than on new cases. A test split selected "
        "in this way is refused; the datalist records the omitted cases.",
        file=sys.stderr,
    )
    return {subject: f"Dice {dice:.3f} below {limit:g} in {path.name} ({OUTCOME})" for subject, dice in low.items()}


def _mean_dice(path: Path) -> dict[str, float]:
    """Return subject -> Dice, the mean over regions, from a table of `monai_tl evaluate` or one with a column ``dice``."""
    long = any("metric" in row for row in _read(path, ("subject",)).rows)
    table = _read(path, ("subject", "metric", "value") if long else ("subject", "dice"))
    values: dict[str, list[float]] = {}
    for row in table.rows:
        if not long or row["metric"] == "dice":
            values.setdefault(row["subject"], []).append(_dice(path, table, row["value" if long else "dice"]))
    defined = {subject: [dice for dice in of if not math.isnan(dice)] for subject, of in values.items()}
    return {subject: math.fsum(of) / len(of) if of else math.nan for subject, of in defined.items()}


def _dice(path: Path, table: TextTable, cell: str) -> float:
    try:
        dice = table.number(cell)
    except ValueError:
        raise DataError(f"{path}: a Dice is not a number ('{cell}')") from None
    if not (0 <= dice <= 1 or dice != dice):
        raise DataError(f"{path}: a Dice must be between 0 and 1; got '{cell}'")
    return dice


def _read(path: Path, columns: tuple[str, ...]) -> TextTable:
    if not path.is_file():
        raise DataError(f"leave_out: there is no file {path}; {FORMS}")
    try:
        return read_text_table(path, columns)
    except DataError as error:
        raise DataError(f"leave_out: {error}; {FORMS}") from error
