"""The tracks of BraTS: what their ids begin with, what their label values mean, and which values are the tumour core.

The core is the part that is resected: necrosis, non-enhancing and enhancing tumour and, in children, cysts; neither oedema
(or FLAIR hyperintensity around the tumour) nor a resection cavity. Values change their meaning between tracks and years.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.text import name_some

# what an id looks like that is of one of a person's scans, such as BraTS-GLI-00005-101; GoAT's end in the person
SCAN_OF_PERSON = r"(?P<person>BraTS[-_][A-Za-z]+([-_]RT)?[-_]\d{4,})[-_]\d{1,3}"
Found = Mapping[tuple[float, ...], Sequence[str]]  # values besides 0 that a label holds -> subjects


@dataclass(frozen=True)
class Track:
    """A track of one or more years.

    Attributes:
        name: as ``--track`` takes it.
        title: in words.
        family: name of its ids in `FAMILIES`.
        labels: value -> meaning, without the background.
        core: values of the tumour core.
        cavity: the value of a resection cavity, which is not part of the core.
        source: where its coding is described.
    """

    name: str
    title: str
    family: str
    labels: Mapping[int, str]
    core: tuple[int, ...]
    source: str
    cavity: int | None = None

    @property
    def coding(self) -> str:
        """What its values mean, in words."""
        return ", ".join(f"{value} {meaning}" for value, meaning in self.labels.items())

    def __str__(self) -> str:
        """Name it with its coding."""
        return f"{self.name} ({self.title}: {self.coding}; tumour core {_join(self.core)})"

    def knows(self, found: Iterable[Sequence[float]]) -> list[int]:
        """Give the values that labels may hold: a cavity's only if one label holds it beside what enhances.

        A 4 without a single label that holds 3 and 4 is rather enhancing tumour of before 2023.
        """
        cavity = self.cavity is not None and not any({3, self.cavity} <= set(values) for values in found)
        return [value for value in self.labels if not (cavity and value == self.cavity)]


FAMILIES = {  # what ids begin with; BraTS-MEN-RT comes before BraTS-MEN
    "BraTS 2017–2021": r"(brats|fets)[-_]?(20)?(1[789]|2[012])[-_]",
    "BraTS-GLI": r"brats[-_]?(20\d\d)?[-_]gli[-_]",
    "BraTS-PED": r"brats[-_]?(20\d\d)?[-_]peds?[-_]",
    "BraTS-MET": r"brats[-_]?(20\d\d)?[-_]mets?[-_]",
    "BraTS-MEN-RT": r"brats[-_]?(20\d\d)?[-_]men[-_]rt[-_]",
    "BraTS-MEN": r"brats[-_]?(20\d\d)?[-_]men[-_]",
    "BraTS-SSA": r"brats[-_]?(20\d\d)?[-_](ssa|africa)[-_]",
    "BraTS-GoAT": r"brats[-_]?(20\d\d)?[-_]goat[-_]",
}
OLD = "BraTS 2017–2021"
_SNFH = "FLAIR hyperintensity around the tumour"
TRACKS = (
    # 1 NCR/NET, 2 ED, 4 ET: https://www.med.upenn.edu/cbica/brats2020/data.html; arXiv 2107.02314 (2021)
    Track(
        "gli2017",
        "adult glioma 2017–2021",
        OLD,
        {1: "necrosis and non-enhancing tumour", 2: "oedema", 4: "enhancing tumour"},
        (1, 4),
        "arXiv 2107.02314",
    ),
    # the same cases and meanings, ET recoded from 4 to 3: arXiv 2306.00838 (section on labels); doi 10.3390/s25061838, 4.10
    Track(
        "gli2023",
        "adult glioma 2023",
        "BraTS-GLI",
        {1: "necrosis", 2: "oedema", 3: "enhancing tumour"},
        (1, 3),
        "doi 10.3390/s25061838",
    ),
    # NETC 1, SNFH 2, ET 3, RC 4: arXiv 2405.18368; the challenge's text as in github TianzeTang0504/UKAN-EP, README
    Track(
        "gli2024",
        "adult glioma 2024 and 2025, after treatment",
        "BraTS-GLI",
        {1: "non-enhancing tumour core", 2: _SNFH, 3: "enhancing tumour", 4: "resection cavity"},
        (1, 3),
        "arXiv 2405.18368",
        cavity=4,
    ),
    # NC (non-enhancing, cystic and necrotic tumour joined) 1, ED 2, ET 3: arXiv 2407.08855; TC is 1 and 3
    Track(
        "peds2023",
        "children's glioma 2023",
        "BraTS-PED",
        {1: "non-enhancing tumour with cysts and necrosis", 2: "oedema", 3: "enhancing tumour"},
        (1, 3),
        "arXiv 2407.08855",
    ),
    # ET 1, NET 2, CC 3, ED 4: arXiv 2404.15009; github MIC-DKFZ/nnUNet#3042; TC is 1 to 3 in the challenge's metrics
    Track(
        "peds2024",
        "children's glioma 2024 and later",
        "BraTS-PED",
        {1: "enhancing tumour", 2: "non-enhancing tumour", 3: "cyst", 4: "oedema"},
        (1, 2, 3),
        "arXiv 2404.15009",
    ),
    # NETC 1, SNFH 2, ET 3: arXiv 2306.00838
    Track(
        "met2023",
        "metastases 2023 and 2024",
        "BraTS-MET",
        {1: "non-enhancing tumour core", 2: _SNFH, 3: "enhancing tumour"},
        (1, 3),
        "arXiv 2306.00838",
    ),
    # and RC 4: huggingface NicoloPecco/nnUNet_BraTS_Metastases, label convention
    Track(
        "met2025",
        "metastases 2025, before and after treatment",
        "BraTS-MET",
        {1: "non-enhancing tumour core", 2: _SNFH, 3: "enhancing tumour", 4: "resection cavity"},
        (1, 3),
        "huggingface NicoloPecco/nnUNet_BraTS_Metastases",
        cavity=4,
    ),
    # NETC 1, SNFH 2, ET 3: arXiv 2405.09787; doi 10.3390/s25061838, 4.10
    Track(
        "men2023",
        "meningioma 2023",
        "BraTS-MEN",
        {1: "non-enhancing tumour core", 2: _SNFH, 3: "enhancing tumour"},
        (1, 3),
        "arXiv 2405.09787",
    ),
    # one value: arXiv 2405.18383; files as in github mlcommons' preparation of BraTS 2024: …_t1c.nii.gz, …_gtv.nii.gz
    Track(
        "menrt2024", "meningioma for radiotherapy 2024", "BraTS-MEN-RT", {1: "gross tumour volume"}, (1,), "arXiv 2405.18383"
    ),
    # NETC 1, SNFH 2, ET 3: doi 10.3390/s25061838, 4.10; TC is 1 and 3 in the challenge's metrics
    Track(
        "ssa2023",
        "adult glioma of Sub-Saharan Africa 2023 to 2025",
        "BraTS-SSA",
        {1: "necrosis", 2: "oedema", 3: "enhancing tumour"},
        (1, 3),
        "doi 10.3390/s25061838",
    ),
    # the 2023 tracks joined, all coded as in 2023: https://www.synapse.org/Synapse:syn64153130/wiki/631456
    Track(
        "goat2024",
        "tumours of several kinds 2024 and 2025",
        "BraTS-GoAT",
        {1: "necrosis and non-enhancing tumour", 2: "oedema", 3: "enhancing tumour"},
        (1, 3),
        "synapse syn64153130",
    ),
)
TRACK_NAMES = tuple(track.name for track in TRACKS)
REMEDY = "name the track by --track, or say what the values mean by --foreground and --labels"


def named_track(name: str) -> Track:
    """Give a track by name.

    Raises:
        ConfigError: which lists those that exist.
    """
    for track in TRACKS:
        if track.name == name:
            return track
    raise ConfigError(f"unknown track '{name}': {did_you_mean(name, TRACK_NAMES)}")


def family_of(subject: str) -> str | None:
    """Give the family of tracks that an id is of; ``None`` if it begins as none of them."""
    return next((name for name, begins in FAMILIES.items() if re.match(begins, subject, re.IGNORECASE)), None)


def families_of(subjects: Sequence[str], default: str | None) -> dict[str | None, list[str]]:
    """Give family -> its ids; ids that begin as none are of ``default``."""
    found: dict[str | None, list[str]] = {}
    for subject in subjects:
        found.setdefault(family_of(subject) or default, []).append(subject)
    return found


def choose_track(subjects: Sequence[str], found: Found, default: str | None, *, most: bool = False) -> Track:
    """Find the track that ids and label values agree on.

    Args:
        subjects: all ids.
        found: what labels hold.
        default: the family of ids that begin as none of the known, by how files are called; ``None`` has it asked for.
        most: whether it is enough that half of the labels agree; the others are then wrong one by one.

    Raises:
        DataError: if ids are of several families or of none, if values contradict the ids, or if tracks with different cores
            fit; the tracks and what they mean are listed.
    """
    families = families_of(subjects, default)
    if len(families) > 1:
        told = "; ".join(f"{family or 'unknown'}: {name_some(ids, 2)}" for family, ids in families.items())
        raise DataError(
            f"ids of different BraTS tracks in one folder ({told}): their label values may mean different things; give each a "
            "folder, or, where all of them are coded alike, name that coding by --track"
        )
    (family,) = families
    candidates = [track for track in TRACKS if family in (None, track.family)]
    total = sum(map(len, found.values()))
    fits = {track.name: _fitting(track, found) for track in candidates}
    best = max(fits.values())
    nothing = not any(found)
    if total and (best < total / 2 if most else best < total or nothing):
        raise DataError(_contradiction(family, candidates, found))
    fitting = [track for track in candidates if fits[track.name] == best]
    if family is None or len({track.core for track in fitting}) > 1:
        raise DataError(_question(family, fitting, found, subjects))
    return min(fitting, key=lambda track: len(track.labels))


def _fitting(track: Track, found: Found) -> int:
    """How many labels hold nothing that the track does not know."""
    known = set(track.knows(found))
    return sum(len(subjects) for values, subjects in found.items() if set(values) <= known)


def _told(found: Found) -> str:
    """Say what labels hold, each with some of the subjects."""
    return "; ".join(f"{_join(values)} in {name_some(subjects, 2)}" for values, subjects in sorted(found.items())[:6])


def _contradiction(family: str | None, candidates: Sequence[Track], found: Found) -> str:
    occurring = sorted({value for values in found for value in values})
    others = [track for track in TRACKS if track not in candidates and occurring and set(occurring) <= set(track.labels)]
    hint = f". Tracks with such values: {_grouped(others)}" if others else ""
    means = " or ".join(f"{_join(track.labels)} ({track.name})" for track in candidates)
    who = f"files are called as in {family}" if family == OLD else f"ids are those of {family or 'no known track'}"
    cavity = any(track.cavity in occurring and set(occurring) <= set(track.labels) for track in candidates)
    beside = ", and no label holds a cavity, 4, beside enhancing tumour, 3" if cavity else ""
    return (
        f"{who}, whose label values are {means}, but labels hold {_join(occurring)} ({_told(found)}){beside}; keep "
        f"tracks apart, {REMEDY}{hint}"
    )


def _question(family: str | None, fitting: Sequence[Track], found: Found, subjects: Sequence[str]) -> str:
    occurring = sorted({value for values in found for value in values})
    who = f"ids are those of {family}" if family else f"ids begin as those of no known BraTS track ({name_some(subjects, 2)})"
    return f"{who} and labels hold {_join(occurring)}, which does not tell the track: {REMEDY}. It may be: {_grouped(fitting)}"


def _grouped(tracks: Sequence[Track]) -> str:
    """Tracks with their codings, those with the same values and core together."""
    groups: dict[tuple[tuple[int, ...], tuple[int, ...]], list[Track]] = {}
    for track in tracks:
        groups.setdefault((tuple(track.labels), track.core), []).append(track)
    return "; ".join(
        f"{', '.join(track.name for track in group)} ({group[0].coding}; tumour core {_join(group[0].core)})"
        for group in groups.values()
    )


def _join(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "nothing but 0"
