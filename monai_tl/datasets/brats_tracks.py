"""The tracks of BraTS: the prefixes of their ids, the meaning of their label values, and the values of the tumour core.

The core is the resected part: necrosis, non-enhancing and enhancing tumour and, in children, cysts, without oedema (or FLAIR
hyperintensity around the tumour) and resection cavities. The meaning of a value differs between tracks and years.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.text import name_some

# ids that name a person and a scan, such as BraTS-GLI-00005-101; ids of GoAT end in the person
SCAN_OF_PERSON = r"(?P<person>BraTS[-_][A-Za-z]+([-_]RT)?[-_]\d{4,})[-_]\d{1,3}"
BRATS_REGIONS = "brats"  # --regions: the three that BraTS is scored on
Found = Mapping[tuple[float, ...], Sequence[str]]  # nonzero values of a label -> subjects


@dataclass(frozen=True)
class Track:
    """A track of one or more years.

    Attributes:
        name: as in ``--track``.
        title: for messages.
        family: of its ids, a key of `FAMILIES`.
        labels: value -> meaning, without the background.
        core: values of the tumour core.
        cavity: value of a resection cavity, which is not part of the core.
        source: reference of its coding.
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
        """Its label values with their meanings, as text."""
        return ", ".join(f"{value} {meaning}" for value, meaning in self.labels.items())

    @property
    def regions(self) -> dict[str, tuple[int, ...]]:
        """The three regions that BraTS is scored on; those that the track has."""
        whole = tuple(value for value in self.labels if value != self.cavity)
        enhancing = tuple(value for value, meaning in self.labels.items() if meaning == "enhancing tumour")
        regions = {"tumour core": self.core, "whole tumour": whole, "enhancing tumour": enhancing}
        return {name: values for name, values in regions.items() if values and (name == "tumour core" or values != self.core)}

    def __str__(self) -> str:
        """Return its name, title, coding and core."""
        return f"{self.name} ({self.title}: {self.coding}; tumour core {_join(self.core)})"

    def plausible_values(self, found: Iterable[Sequence[float]]) -> list[int]:
        """Return the values that labels may contain: a cavity's only if a label contains it with enhancing tumour.

        If no label contains both 3 and 4, a 4 is rather enhancing tumour as coded before 2023.
        """
        no_cavity = self.cavity is not None and not any({3, self.cavity} <= set(values) for values in found)
        return [value for value in self.labels if not (no_cavity and value == self.cavity)]


def regions_of_track(track: Track | None) -> dict[str, tuple[int, ...]]:
    """Return the regions of a track, as ``--regions brats`` asks for.

    Raises:
        ConfigError: without a track.
    """
    if track is None:
        raise ConfigError("--regions brats needs a BraTS track, which --foreground and --labels replace; omit these flags")
    return track.regions


FAMILIES = {  # prefixes of ids; BraTS-MEN-RT is matched before BraTS-MEN
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
REMEDY = "name the track by --track, or the values by --foreground and --labels"


def named_track(name: str) -> Track:
    """Return the track of a name.

    Raises:
        ConfigError: if it does not exist; the existing names are listed.
    """
    for track in TRACKS:
        if track.name == name:
            return track
    raise ConfigError(f"unknown track '{name}': {did_you_mean(name, TRACK_NAMES)}")


def family_of(subject: str) -> str | None:
    """Return the family of tracks that an id belongs to; ``None`` if its prefix is unknown."""
    return next((name for name, begins in FAMILIES.items() if re.match(begins, subject, re.IGNORECASE)), None)


def families_of(subjects: Sequence[str], default: str | None) -> dict[str | None, list[str]]:
    """Return family -> its ids; ids with an unknown prefix belong to ``default``."""
    found: dict[str | None, list[str]] = {}
    for subject in subjects:
        found.setdefault(family_of(subject) or default, []).append(subject)
    return found


def choose_track(subjects: Sequence[str], found: Found, default: str | None, *, most: bool = False) -> Track:
    """Return the track that matches both ids and label values.

    Args:
        subjects: all ids.
        found: values of the labels -> subjects.
        default: family of ids with an unknown prefix, by the file naming; ``None`` if the user has to name the track.
        most: whether it is enough that half of the labels agree; the others count as individual errors.

    Raises:
        DataError: if the ids belong to several families or none, if values contradict the ids, or if tracks with different
            cores match; the tracks and their codings are listed.
    """
    families = families_of(subjects, default)
    if len(families) > 1:
        ids_by_family = "; ".join(f"{family or 'unknown'}: {name_some(ids, 2)}" for family, ids in families.items())
        raise DataError(
            f"ids of different BraTS tracks in one folder ({ids_by_family}): their label values may have different meanings; "
            "move each to its own folder, or, if all have the same coding, name it by --track"
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
    """Return the number of labels that contain only values of the track."""
    known = set(track.plausible_values(found))
    return sum(len(subjects) for values, subjects in found.items() if set(values) <= known)


def _examples(found: Found) -> str:
    """Return the values of the labels, each with some subjects, as text."""
    return "; ".join(f"{_join(values)} in {name_some(subjects, 2)}" for values, subjects in sorted(found.items())[:6])


def _contradiction(family: str | None, candidates: Sequence[Track], found: Found) -> str:
    occurring = sorted({value for values in found for value in values})
    others = [track for track in TRACKS if track not in candidates and occurring and set(occurring) <= set(track.labels)]
    hint = f". Tracks with such values: {_grouped(others)}" if others else ""
    means = " or ".join(f"{_join(track.labels)} ({track.name})" for track in candidates)
    who = f"files are named as in {family}" if family == OLD else f"ids are those of {family or 'no known track'}"
    cavity = any(track.cavity in occurring and set(occurring) <= set(track.labels) for track in candidates)
    no_cavity = ", and no label contains both a cavity, 4, and enhancing tumour, 3" if cavity else ""
    return (
        f"{who}, whose label values are {means}, but labels contain {_join(occurring)} ({_examples(found)}){no_cavity}; keep "
        f"tracks in separate folders, {REMEDY}{hint}"
    )


def _question(family: str | None, fitting: Sequence[Track], found: Found, subjects: Sequence[str]) -> str:
    occurring = sorted({value for values in found for value in values})
    who = (
        f"ids are those of {family}"
        if family
        else f"ids do not start as those of a known BraTS track ({name_some(subjects, 2)})"
    )
    return (
        f"{who} and labels contain {_join(occurring)}, which does not identify the track: {REMEDY}. Possible tracks: "
        f"{_grouped(fitting)}"
    )


def _grouped(tracks: Sequence[Track]) -> str:
    """Return tracks with their codings as text; tracks with the same values and core are listed together."""
    groups: dict[tuple[tuple[int, ...], tuple[int, ...]], list[Track]] = {}
    for track in tracks:
        groups.setdefault((tuple(track.labels), track.core), []).append(track)
    return "; ".join(
        f"{', '.join(track.name for track in group)} ({group[0].coding}; tumour core {_join(group[0].core)})"
        for group in groups.values()
    )


def _join(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "nothing but 0"
