"""Scans as IXI hands them out: files in a folder or members of a ``.tar``, found by the id in their names."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from monai_tl.datasets.ixi import PERSON, sort_out_strangers
from monai_tl.datasets.patterns import pair_by_subject
from monai_tl.errors import DataError
from monai_tl.storage.files import CHUNK, atomic_write
from monai_tl.text import name_some

LABEL_NAMES = (
    "aseg.mgz",
    "aparc+aseg.mgz",
    "aparc.DKTatlas+aseg.deep.mgz",
)  # of a subject's mri folder; the first that is there
SCAN = r"(?P<subject>IXI\d+)-(?P<rest>[A-Za-z]+-\d+)[-_]{}\.nii\.gz"
IMAGES = (".nii.gz", ".nii", ".mgz")


@dataclass(frozen=True)
class ScanSource:
    """A file, or a member of an archive by where its bytes lie.

    Attributes:
        path: of the file or the archive.
        name: of the file below the folder, or of the member.
        offset: bytes before it in ``path``.
        size: bytes of it; -1 for all that there are.
    """

    path: str
    name: str
    offset: int = 0
    size: int = -1

    def __str__(self) -> str:
        """Name it as errors and records do."""
        return self.path if self.size < 0 else f"{self.path}/{self.name}"

    def sha256(self) -> str:
        """Hash its bytes: 64 hexadecimal digits.

        Raises:
            DataError: if an archive ends before it does.
        """
        digest = hashlib.sha256()
        for chunk in self._chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def copy(self, target: Path) -> None:
        """Write its bytes to a file.

        Raises:
            DataError: if an archive ends before it does.
        """
        with atomic_write(target) as temporary, temporary.open("wb") as file:
            for chunk in self._chunks():
                file.write(chunk)

    def _chunks(self) -> Iterator[bytes]:
        left = self.size if self.size >= 0 else Path(self.path).stat().st_size
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            while left:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    raise DataError(f"{self} ends {left} bytes early; was the archive copied whole?")
                left -= len(chunk)
                yield chunk


@dataclass(frozen=True)
class Person:
    """One subject's files as they came.

    Attributes:
        subject: e.g. ``"IXI012"``.
        stem: what its T1's name starts with, e.g. ``"IXI012-HH-1211"``; all that is written is named so.
        sources: ``"T1"``, ``"T2"``, ``"label"``.
    """

    subject: str
    stem: str
    sources: dict[str, ScanSource]


@dataclass(frozen=True)
class People:
    """Complete subjects in order of id, and what was not taken.

    Attributes:
        complete: those with T1, T2 and label.
        left_out: subject -> why.
        strange: what stands among the scans and has no IXI id.
    """

    complete: list[Person]
    left_out: dict[str, str]
    strange: list[str]


def find_people(t1: str, t2: str, labels: str, *, incomplete: str = "refuse") -> People:
    """Find the subjects whose T1, T2 and label are there.

    Args:
        t1: folder or ``.tar`` with ``IXI012-HH-1211-T1.nii.gz``.
        t2: the same with ``-T2.nii.gz``.
        labels: folder or ``.tar`` with FreeSurfer's or FastSurfer's subject folders (``IXI012…/mri/aseg.mgz``, else
            ``aparc+aseg.mgz``) or flat images with the id in their names.
        incomplete: ``"refuse"``, or ``"leave_out"`` to go on without subjects that lack a file, have two of one kind or whose
            files name different people.

    Raises:
        DataError: if a place does not exist, cannot be read or holds nothing of that kind, or a subject is refused.
    """
    found: dict[str, dict[str, list[str]]] = {}
    by_name: dict[str, ScanSource] = {}
    rests: dict[str, str] = {}
    strange = []
    for role, place in (("T1", t1), ("T2", t2), ("label", labels)):
        found[role] = {}
        sources = _label_sources(_list(place, role)) if role == "label" else _list(place, role)
        for source in sources:
            match = _match(role, source.name)
            if match:
                by_name[str(source)], rests[str(source)] = source, match["rest"] or ""
                found[role].setdefault(match["subject"], []).append(str(source))
            elif not PERSON.search(source.name):
                strange.append(str(source))
        if not found[role]:
            names = [source.name for source in sources]
            raise DataError(f"no {role} under {place}: looked for {_needed(role)}; it holds {name_some(names) or 'nothing'}")
    cases = pair_by_subject(found, incomplete)
    sort_out_strangers(cases, rests, incomplete)
    complete = [_person(case, by_name, rests) for case in cases]
    return People(complete, dict(sorted(cases.left_out.items())), strange)


def _person(case: dict[str, str], by_name: dict[str, ScanSource], rests: dict[str, str]) -> Person:
    sources = {role: by_name[name] for role, name in case.items() if role != "subject"}
    return Person(case["subject"], f"{case['subject']}-{rests[case['T1']]}", sources)


def _match(role: str, name: str) -> re.Match[str] | None:
    path = PurePosixPath(name)
    if role != "label":
        return re.fullmatch(SCAN.format(role), path.name)
    return PERSON.search(path.parts[-3] if "mri" in path.parts[-2:-1] and len(path.parts) > 2 else path.name)


def _needed(role: str) -> str:
    return "IXI…/mri/aseg.mgz or IXI….nii.gz" if role == "label" else f"IXI012-HH-1211-{role}.nii.gz"


def _label_sources(sources: list[ScanSource]) -> list[ScanSource]:
    """Keep flat images, and of each subject folder the first of :data:`LABEL_NAMES`."""
    kept: dict[str, ScanSource] = {}
    for source in sources:
        path = PurePosixPath(source.name)
        in_folder = path.parts[-2:-1] == ("mri",)
        if in_folder and path.name in LABEL_NAMES:
            folder = str(path.parent)
            before = kept.get(folder)
            if before is None or LABEL_NAMES.index(path.name) < LABEL_NAMES.index(PurePosixPath(before.name).name):
                kept[folder] = source
        elif not in_folder and path.name.endswith(IMAGES):
            kept[source.name] = source
    return list(kept.values())


def _list(place: str, role: str) -> list[ScanSource]:
    """Give all files of an archive, or of a folder and its subjects' ``mri`` folders; hidden ones stay hidden."""
    path = Path(place).expanduser().absolute()
    if not path.exists():
        raise DataError(f"there is no {path}; needed for {role}: a folder or a .tar that holds {_needed(role)}")
    try:
        sources = _members(path) if path.is_file() else _files(path)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{path} is no .tar that can be read ({error}); give a folder or an archive that is whole") from error
    except OSError as error:
        raise DataError(
            f"{error.filename or path} cannot be read ({error.strerror}); mend its permissions or the path"
        ) from error
    return [source for source in sources if not PurePosixPath(source.name).name.startswith(".")]


def _members(path: Path) -> list[ScanSource]:
    with tarfile.open(path, "r:") as archive:  # not compressed: members are read where they lie
        return [ScanSource(str(path), member.name, member.offset_data, member.size) for member in archive if member.isfile()]


def _files(folder: Path) -> list[ScanSource]:
    sources = []
    for child in sorted(folder.iterdir()):
        if child.is_file():
            sources.append(ScanSource(str(child), child.name))
        elif child.is_dir():
            labels = [child / "mri" / name for name in LABEL_NAMES]
            sources += [ScanSource(str(label), f"{child.name}/mri/{label.name}") for label in labels if label.is_file()]
    return sources
