"""The person of each case: scans of one person in two splits would leak training data into the test.

The ids of known layouts name the person (`RULES`; the rules of BraTS and IXI are in the modules of these layouts). Other ids
need a pattern, such as ``sub-{person}_ses-{}``; without one, ids that look like several scans of a person cause a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_tl.datasets import brats_tracks, ixi
from monai_tl.errors import ConfigError, DataError, list_problems
from monai_tl.text import name_some

NO_PERSON = "none"
RULES = (  # layout, regular expression of its ids (case-insensitive)
    ("BraTS", brats_tracks.SCAN_OF_PERSON),
    ("BIDS", r"(?P<person>sub-[A-Za-z0-9+]+)(_[A-Za-z0-9]+-[A-Za-z0-9+.]+)*(_[A-Za-z0-9]+)?"),
    ("BIDS", r"(?P<person>[A-Za-z0-9+]+)(_(ses|run|acq|ce|rec|dir|echo|part|chunk|space|res|desc|hemi|task)-[A-Za-z0-9+.]+)+"),
    ("sessions", r"(?P<person>.+?)[-_. ](ses|sess|session)[-_]?\d[A-Za-z0-9]*([-_. ].*)?"),
    ("IXI", ixi.SCAN_OF_PERSON),
    ("ADNI", r"(ADNI_)?(?P<person>\d{3}_S_\d{4,5})([-_.].*)?"),
    ("OASIS", r"(?P<person>OAS[12]_\d{4})([-_.].*)?"),
    ("OASIS", r"(?P<person>OAS\d{5})([-_.].*)?"),
    ("UCSF-PDGM", r"(?P<person>UCSF-PDGM-\d+)(_.*)?"),
    ("UPENN-GBM", r"(?P<person>UPENN-GBM-\d+)(_.*)?"),
    ("TCGA", r"(?P<person>TCGA-\w\w-\w{4})([-_.].*)?"),
)
_TIMES = "ses|sess|session|visit|vis|v|tp|t|time|timepoint|scan|fu|follow[-_]?up|bl|base|baseline|pre|post|m|month|mo|y|yr|year"
_TIMES += "|w|wk|week|d|day|rep|repeat|retest|test|before|after|preop|postop|preRT|postRT|prior|current|initial|final|exam"
_OTHERS = "run|r|l|lh|rh|left|right|hemi|aug|augmented|augmentation|flip|flipped|mirror|mirrored|rot|rotated|noise|noisy|orig"
WORDS = rf"({_TIMES}|{_OTHERS}|original|copy|crop|patch)[-_]?\d{{0,4}}[A-Za-z]?"
DATE = r"(19|20)\d\d[-_.]?\d\d[-_.]?\d\d"
DAY = rf"({DATE}|\d{{1,2}}[-_.]\d{{1,2}}[-_.](19|20)\d\d)"
WAYS = (  # how an id may be composed of a person and one of several scans
    rf"(?P<person>.+?)(?P<scan>[-_. ]?{DAY})",
    r"(?P<person>.+)(?P<scan>[-_. ][A-Za-z0-9]{1,12})",
    r"(?P<person>.*\d)(?P<scan>[A-Za-z]{1,10}\d{0,3})",
    r"(?P<person>.*[A-Za-z])(?P<scan>\d)",
)
FIRST = rf"(?P<scan>({WORDS}|{DATE})[-_. ])(?P<person>.+)"
COUNTED = r"(case|subject|subj|sub|patient|pat|person|image|img|scan|volume|vol|s|p)?[-_ ]*\d{1,4}"
MANY = 4  # cases per person; more are rather numbered cases of a site


@dataclass(frozen=True)
class Persons:
    """The person of each subject.

    Attributes:
        of: subject -> person.
        rule: how the persons were determined: by the ids of known layouts, by a pattern, or not at all.
        warning: about ids that look like several scans of one person; empty if there are none.
    """

    of: Mapping[str, str]
    rule: str
    warning: str = ""

    @property
    def count(self) -> int:
        """Number of persons."""
        return len(set(self.of.values()))

    def summary(self) -> str:
        """Return the numbers of cases and persons, and the rule, as one line."""
        cases = f"{len(self.of)} case{'s' * (len(self.of) != 1)}"
        if self.count == len(self.of):
            return f"{cases}, each of a different person ({self.rule})"
        subject, person = next(
            (subject, person) for subject, person in self.of.items() if list(self.of.values()).count(person) > 1
        )
        persons = f"{self.count} person{'s' * (self.count != 1)}"
        return (
            f"{cases} of {persons} ({self.rule}; {subject} is a scan of {person}); all cases of a person are in the same split"
        )

    def record(self) -> dict[str, Any]:
        """Return the entry for the datalist."""
        return {"rule": self.rule, "count": self.count}


def persons_of(subjects: Sequence[str], pattern: str = "") -> Persons:
    """Determine the person of each case.

    Args:
        subjects: ids.
        pattern: with ``{person}`` and ``{}`` for any text, e.g. ``sub-{person}_ses-{}``; of several, separated by commas, the
            first that matches an id is used. ``none``: each case is a different person. Empty: `RULES`.

    Raises:
        ConfigError: if the pattern is invalid.
        DataError: if an id does not match, or matches in more than one way.
    """
    if pattern == NO_PERSON:
        return Persons({subject: subject for subject in subjects}, "by --person none")
    if pattern:
        return Persons(_merged(_by_pattern(subjects, pattern)), f"by --person {pattern}")
    known = {subject: rule for subject in subjects if (rule := _by_rule(subject))}
    rules = sorted({name for name, _ in known.values()})
    of = {subject: known[subject][1] if subject in known else subject for subject in subjects}
    basis = f"by ids of {', '.join(rules)}" if rules else "no id names a person"
    return Persons(_merged(of), basis, _warning([subject for subject in subjects if subject not in known]))


def person_of(subject: str) -> str:
    """Return the person of a subject id by the layouts' rules, in lower case: ``sub-01`` for ``Sub-01_ses-1``."""
    rule = _by_rule(subject)
    return (rule[1] if rule else subject).casefold()


def is_counted(subject: str) -> bool:
    """Return whether an id is only a number (``case_012``, ``sub-07``, ``3``), which many datasets have in common."""
    return re.fullmatch(COUNTED, person_of(subject), re.IGNORECASE) is not None


def refuse_divided(splits: Mapping[str, Iterable[str]], persons: Persons, where: Path) -> None:
    """Refuse splits that separate the cases of one person.

    Raises:
        DataError: naming these persons and the remedy.
    """
    split_of: dict[str, dict[str, str]] = {}
    for name, subjects in splits.items():
        for subject in subjects:
            split_of.setdefault(persons.of[subject], {}).setdefault(name, subject)
    divided = {person: subject_in for person, subject_in in split_of.items() if len(subject_in) > 1}
    if divided:
        lines = [
            f"{person}: {', '.join(f'{subject} in {name}' for name, subject in subject_in.items())}"
            for person, subject_in in sorted(divided.items())
        ]
        raise DataError(
            list_problems(
                f"{len(divided)} persons have cases in more than one split of {where} ({persons.rule}); put each person into "
                "one, name the person by --person 'sub-{person}_ses-{}', or set --person none if they are different people:",
                lines,
            )
        )


def _by_rule(subject: str) -> tuple[str, str] | None:
    """Return the layout and the person, or None if no rule matches."""
    for name, expression in RULES:
        if match := re.fullmatch(expression, subject, re.IGNORECASE):
            return name, match["person"]
    return None


def _by_pattern(subjects: Sequence[str], pattern: str) -> dict[str, str]:
    expressions = [_expressions(one.strip()) for one in pattern.split(",") if one.strip()]
    if not expressions:
        raise ConfigError("--person takes a pattern, e.g. 'sub-{person}_ses-{}', or none")
    of: dict[str, str] = {}
    for subject in subjects:
        ways = next((persons for least, most in expressions if (persons := _ways(subject, least, most))), [])
        if len(ways) > 1:
            raise DataError(
                f"--person {pattern} matches '{subject}' in two ways (person '{ways[0]}' or '{ways[1]}'); make it more "
                "specific, e.g. 'pat_{person}_{}'"
            )
        of |= dict.fromkeys([subject] if ways else [], *ways)
    strangers = [subject for subject in subjects if subject not in of]
    if strangers:
        raise DataError(
            f"--person {pattern} does not match {len(strangers)} of {len(subjects)} ids: {name_some(strangers)}; add a pattern "
            "that does, after a comma ('{person}_ses-{},{person}'), or leave these cases out"
        )
    return of


def _expressions(pattern: str) -> tuple[str, str]:
    """Return the pattern as two regular expressions, with the shortest and the longest possible ``{person}``."""
    pieces = re.split(r"(\{[^{}]*\})", pattern)
    odd = [piece for piece in pieces if piece.startswith("{") and piece not in ("{person}", "{}")]
    if odd or pieces.count("{person}") != 1:
        raise ConfigError(f"--person takes a pattern with one {{person}} and {{}} for any text, or none; got '{pattern}'")
    least = "".join({"{person}": "(?P<person>.+?)", "{}": ".*?"}.get(piece, re.escape(piece)) for piece in pieces)
    most = "".join({"{person}": "(?P<person>.+)", "{}": ".*?"}.get(piece, re.escape(piece)) for piece in pieces)
    return least, most


def _ways(subject: str, least: str, most: str) -> list[str]:
    persons = [match["person"] for expression in (least, most) if (match := re.fullmatch(expression, subject))]
    return list(dict.fromkeys(persons))


def _merged(of: Mapping[str, str]) -> dict[str, str]:
    """Merge persons that differ only in case, which could otherwise be in two splits."""
    first: dict[str, str] = {}
    return {subject: first.setdefault(person.casefold(), person) for subject, person in of.items()}


def _warning(subjects: Sequence[str]) -> str:
    """Return the warning if ids look like several scans of one person; empty if they do not."""
    inside = _with_times_inside(subjects)
    if inside:
        return _warning_text(subjects, inside)
    for groups in filter(None, (_scans(subjects, way) for way in WAYS)):
        return _warning_text(subjects, groups)
    groups = _grouped(subjects, FIRST)
    several = {person: scans for person, scans in groups.items() if len(scans) > 1}
    return _warning_text(subjects, several) if several else ""


def _with_times_inside(subjects: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return person -> scan -> subject, for ids with a time or date in the middle: ``P0_pre_op``, ``P0_post_op``."""
    groups: dict[str, dict[str, str]] = {}
    for subject in subjects:
        if match := re.fullmatch(rf"(?P<person>.*?\d.*?)(?P<scan>[-_. ]({DAY}|{WORDS})[-_. ].+)", subject, re.IGNORECASE):
            groups.setdefault(match["person"], {})[match["scan"]] = subject
    several = {person: scans for person, scans in groups.items() if len(scans) > 1}
    return several if sum(map(len, several.values())) >= len(subjects) / 2 and len(groups) > 1 else {}


def _scans(subjects: Sequence[str], way: str) -> dict[str, dict[str, str]]:
    """Return person -> scan -> subject, for persons with several scans; empty if the ids do not look like that."""
    groups = _grouped(subjects, way)
    several = {person: scans for person, scans in groups.items() if len(scans) > 1}
    scans = {scan for of in several.values() for scan in of if scan}
    if several and all(re.fullmatch(rf"[-_. ]?({WORDS}|{DAY})", scan, re.IGNORECASE) for scan in scans):
        return several if len(groups) > 1 else {}
    cases = sum(map(len, several.values()))
    few = bool(several) and (cases / len(several) <= MANY or max(map(len, scans)) <= 3)
    return several if few and len(groups) > len(scans) and cases >= len(subjects) / 2 else {}


def _grouped(subjects: Sequence[str], way: str) -> dict[str, dict[str, str]]:
    """Return person -> scan -> subject; a subject whose id equals a person is a scan of that person."""
    groups: dict[str, dict[str, str]] = {}
    whole = set(subjects)
    for subject in subjects:
        if match := re.fullmatch(way, subject, re.IGNORECASE):
            groups.setdefault(match["person"], {})[match["scan"]] = subject
            if match["person"] in whole:
                groups[match["person"]][""] = match["person"]
    return groups


def _warning_text(subjects: Sequence[str], groups: Mapping[str, Mapping[str, str]]) -> str:
    cases = sum(map(len, groups.values()))
    example = " and ".join(list(next(iter(groups.values())).values())[:2])
    remedy = next(_suggested(subjects, groups), "sub-{person}_ses-{}")
    return (
        f"{cases} of {len(subjects)} ids look like several scans of one person (such as {example}), but each counts as a "
        f"different person, so one person's scans may be in training and in test: name the person by --person '{remedy}', or "
        "set --person none if they are different people"
    )


def _suggested(subjects: Sequence[str], groups: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield patterns that match all ids and result in exactly these persons."""
    scans = sorted({scan for of in groups.values() for scan in of if scan})
    persons = {subject: person for person, of in groups.items() for subject in of.values()}
    first = any(subject != person and not subject.startswith(person) for subject, person in persons.items())
    signs = {scan[-1] if first else scan[0] for scan in scans}
    heads = {m[0] for scan in scans if (m := re.match(r"[-_. ]?[A-Za-z]+", scan))}
    tried = [f"{{}}{sign}{{person}}" if first else f"{{person}}{sign}{{}}" for sign in signs if not sign.isalnum()]
    tried += [f"{{person}}{head}{{}}" for head in heads if not first and len(heads) == 1]
    tried += [",".join(f"{scan}{{person}}" if first else f"{{person}}{scan}" for scan in scans)] * (len(scans) <= 4)
    for pattern in [*tried, *(f"{pattern},{{person}}" for pattern in tried)]:
        try:
            of = _by_pattern(subjects, pattern)
        except (DataError, ConfigError):
            continue
        if all(of[subject] == person for subject, person in persons.items()):
            yield pattern
