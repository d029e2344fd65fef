"""Raw IXI scans: files in a folder or members of a ``.tar``, identified by the id in their names."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from monai_tl.datasets.ixi import PERSON, remove_mixed_people
from monai_tl.datasets.patterns import pair_by_subject
from monai_tl.errors import DataError
from monai_tl.storage.files import CHUNK, atomic_write
from monai_tl.text import name_some

# in a subject's mri folder; the first that exists is used
LABEL_NAMES = ("aseg.mgz", "aparc+aseg.mgz", "aparc.DKTatlas+aseg.deep.mgz")
SCAN = r"(?P<subject>IXI\d+)-(?P<rest>[A-Za-z]+-\d+)[-_]{}\.nii\.gz"
IMAGES = (".nii.gz", ".nii", ".mgz")


@dataclass(frozen=True)
class ScanSource:
    """A file, or a member of an archive, which is read by its offset.

    Attributes:
        path: of the file or the archive.
        name: of the file relative to the folder, or of the member.
        offset: its first byte in ``path``.
        size: its number of bytes; -1 for the whole file.
    """

    path: str
    name: str
    offset: int = 0
    size: int = -1

    def __str__(self) -> str:
        """Return its name for messages and records."""
        return self.path if self.size < 0 else f"{self.path}/{self.name}"

    def sha256(self) -> str:
        """Return the hash of its bytes, 64 hexadecimal digits.

        Raises:
            DataError: if the archive is truncated.
        """
        digest = hashlib.sha256()
        for chunk in self._chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def copy(self, target: Path) -> None:
        """Write its bytes to a file.

        Raises:
            DataError: if the archive is truncated.
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
                    raise DataError(f"{self} ends {left} bytes early: the archive is truncated; copy or download it again")
                left -= len(chunk)
                yield chunk


@dataclass(frozen=True)
class Person:
    """The raw files of one subject.

    Attributes:
        subject: e.g. ``"IXI012"``.
        stem: start of its T1's name, e.g. ``"IXI012-HH-1211"``, and of all names of its output files.
        sources: ``"T1"``, ``"T2"``, ``"label"``.
    """

    subject: str
    stem: str
    sources: dict[str, ScanSource]


@dataclass(frozen=True)
class People:
    """Complete subjects in order of id, and the files that are not used.

    Attributes:
        complete: subjects with T1, T2 and label.
        left_out: subject -> reason.
        strange: files without an IXI id in their names.
    """

    complete: list[Person]
    left_out: dict[str, str]
    strange: list[str]


def find_people(t1: str, t2: str, labels: str, *, incomplete: str = "refuse") -> People:
    """Find the subjects that have a T1, a T2 and a label.

    Args:
        t1: folder or ``.tar`` with ``IXI012-HH-1211-T1.nii.gz``.
        t2: the same with ``-T2.nii.gz``.
        labels: folder or ``.tar`` with FreeSurfer's or FastSurfer's subject folders (``IXI012…/mri/aseg.mgz``, else
            ``aparc+aseg.mgz``) or images with the id in their names.
        incomplete: ``"refuse"``, or ``"leave_out"`` to omit subjects that lack a file, have two of one kind or whose files
            name different people.

    Raises:
        DataError: if a folder or archive does not exist, cannot be read or contains no such file, or a subject is refused.
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
            raise DataError(f"no {role} under {place}: looked for {_needed(role)}; it contains {name_some(names) or 'nothing'}")
    cases = pair_by_subject(found, incomplete)
    remove_mixed_people(cases, rests, incomplete)
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
    """Select images, and from each subject folder the first of `LABEL_NAMES`."""
    selected: dict[str, ScanSource] = {}
    for source in sources:
        path = PurePosixPath(source.name)
        in_folder = path.parts[-2:-1] == ("mri",)
        if in_folder and path.name in LABEL_NAMES:
            folder = str(path.parent)
            previous = selected.get(folder)
            if previous is None or LABEL_NAMES.index(path.name) < LABEL_NAMES.index(PurePosixPath(previous.name).name):
                selected[folder] = source
        elif not in_folder and path.name.endswith(IMAGES):
            selected[source.name] = source
    return list(selected.values())


def _list(place: str, role: str) -> list[ScanSource]:
    """Return the files of an archive, or of a folder and its subjects' ``mri`` folders, without hidden files."""
    path = Path(place).expanduser().absolute()
    if not path.exists():
        raise DataError(f"there is no {path}; needed for {role}: a folder or a .tar with {_needed(role)}")
    try:
        sources = _members(path) if path.is_file() else _files(path)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{path} is not a readable .tar ({error}); name a folder or an intact archive") from error
    except OSError as error:
        raise DataError(
            f"{error.filename or path} cannot be read ({error.strerror}); correct its permissions or the path"
        ) from error
    return [source for source in sources if not PurePosixPath(source.name).name.startswith(".")]


def _members(path: Path) -> list[ScanSource]:
    with tarfile.open(path, "r:") as archive:  # uncompressed: members are read by offset
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
