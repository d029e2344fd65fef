"""The output folder of predictions: its finished cases and the settings they were made with."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import monai_tl
from monai_tl.datasets.own_outputs import MADE_WITH, TABLE
from monai_tl.datasets.patterns import Case
from monai_tl.errors import ConfigError, DataError
from monai_tl.imaging.scan_files import sha256_of_scan
from monai_tl.inference.save import prediction_path
from monai_tl.storage.records import FolderRecord
from monai_tl.storage.tables import read_table, write_table

FORMAT = 1
FAR = 2.0  # a volume is remarked on above FAR times the largest training volume, or below the smallest divided by FAR
EMPTY, LOCK = "nothing found", ".predictions.lock"
Claimed = tuple[Case, Callable[[], None]]  # a case, and a function that releases its lock


@dataclass(frozen=True)
class PredictionRow:
    """A row of ``predictions.csv``; ``inputs`` and ``remarks`` are separated by semicolons."""

    case: str
    volume_ml: float = field(metadata={"form": ".4f"})
    seconds: float = field(metadata={"form": ".2f"})
    inputs: str
    inputs_sha256: str
    remarks: str = ""
    regions_ml: str = ""  # of several regions, separated by semicolons: "anterior 1.52; posterior 1.31"


class Predictions:
    """A folder with ``SUBJECT_seg.nii.gz``, ``SUBJECT.png``, ``predictions.csv`` and ``predictions.json``.

    Args:
        folder: the folder; created when the first case is predicted.
        settings: all that determines the voxels, as plain data.
        cases: the cases to predict.
        probabilities: whether a finished case has ``SUBJECT_probability.nii.gz``.
        dicom_seg: whether a finished case has ``SUBJECT_seg.dcm``.

    Raises:
        ConfigError: if the folder holds predictions made with other settings, or a file that would be overwritten.
        DataError: if its table is damaged.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], cases: Sequence[Case], probabilities: bool, dicom_seg: bool = False
    ) -> None:
        """Read which cases are finished; nothing is written yet."""
        self.folder, self.settings = folder, settings
        self.record = FolderRecord(folder, MADE_WITH, FORMAT, "predictions", "restore them, or choose another folder")
        self.probabilities, self.dicom_seg = probabilities, dicom_seg
        self.rows: dict[str, PredictionRow] = {}
        self.range_ml: Mapping[str, float] = {}
        self._claims = 0  # cases claimed
        if self.record.resume(settings):
            self.rows = _read(folder / TABLE)
            self._refuse_other_inputs(cases)
            return
        outputs = [folder / TABLE, *(path for case in cases for path in self.files(case["subject"]))]
        existing = [path for path in ([folder] if folder.is_file() else outputs) if path.exists()]
        if existing:
            raise ConfigError(f"'{existing[0]}' exists and would be overwritten; choose another output folder")

    def files(self, subject: str) -> list[Path]:
        """Return the files of a finished case."""
        wanted = {"probability": self.probabilities, "dicom_seg": self.dicom_seg}
        extras = [path for kind, path in self._extras(subject).items() if wanted[kind]]
        return [self.overlay(subject), prediction_path(self.folder, subject, "seg"), *extras]

    def overlay(self, subject: str) -> Path:
        """Return the path of a case's overlay."""
        return self.folder / f"{subject}.png"

    def segmentation(self, subject: str) -> Path:
        """Return the path of a case's DICOM Segmentation."""
        return self.folder / f"{subject}_seg.dcm"

    def finished(self, case: Case) -> bool:
        """Return whether a case was predicted from exactly these input files."""
        row = self.rows.get(case["subject"])
        if row is None or not all(path.is_file() for path in self.files(case["subject"])):
            return False
        try:
            return row.inputs_sha256 == _hash_of_inputs(case)
        except (OSError, DataError):  # no longer readable: predicting it again reports the reason
            return False

    def is_empty(self, case: Case) -> bool:
        """Return whether a case was predicted without any foreground."""
        row = self.rows.get(case["subject"])
        return row is not None and row.volume_ml == 0

    def remarks(self, cases: Sequence[Case]) -> list[str]:
        """Return a line for each remark on a prediction that is not empty."""
        rows = [self.rows[case["subject"]] for case in cases if case["subject"] in self.rows]
        return [f"{row.case}: {row.remarks}" for row in rows if row.remarks and row.remarks != EMPTY]

    def begin(self, range_ml: Mapping[str, float]) -> None:
        """Write the settings of the predictions, before the first case.

        Args:
            range_ml: ``min`` and ``max`` foreground volume of the training cases, outside of which volumes are remarked on;
                empty: no remarks.

        Raises:
            ConfigError: if another process has meanwhile started with other settings.
        """
        self.range_ml = range_ml
        try:
            with self._locked():
                self._note()
        except BaseException:
            self._leave()
            raise

    def claimed(self, cases: Sequence[Case]) -> Iterator[Claimed | None]:
        """Yield the cases that no other process has finished, each while this process holds the lock on it.

        Cases that another process is working on come last, once it releases them, unless it has finished them.

        Yields:
            Each case with a function that releases it once it is done. ``None`` if the cases yielded before have to be
            released first: a process that waits for a case must hold no other, or two could wait for each other.
        """
        later = []
        for case in cases:
            claim = self._claim(case, wait=False)
            if claim is None:
                later.append(case)
            elif self._finished_meanwhile(case):
                claim()
            else:
                yield case, claim
        for case in later:
            while self._claims:
                yield None
            claim = self._claim(case, wait=True)
            assert claim is not None  # it waits without a timeout
            if self._finished_meanwhile(case):
                claim()
            else:
                yield case, claim

    def _note(self) -> None:
        if not self.record.resume(self.settings):
            self.record.write(self.settings, monai_tl=monai_tl.__version__, command=sys.argv)

    def _claim(self, case: Case, *, wait: bool) -> Callable[[], None] | None:
        path = self.folder / f".{case['subject']}.lock"
        lock = FileLock(path)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            return None

        self._claims += 1

        def release() -> None:
            self._claims -= 1
            path.unlink(missing_ok=True)  # at worst, a waiting process predicts the case a second time
            lock.release()

        return release

    def _finished_meanwhile(self, case: Case) -> bool:
        with self._locked():
            self.rows |= _read(self.folder / TABLE)
        return self.finished(case)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the table and the settings file while they are read and written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / LOCK):
            yield

    def forget(self) -> None:
        """Remove the settings that `begin` wrote, if nothing was predicted."""
        if not self.rows and self.folder.is_dir() and not (self.folder / TABLE).is_file():
            self.record.path.unlink(missing_ok=True)
            self._leave()

    def _leave(self) -> None:
        """Remove the folder if it holds no settings."""
        if not self.record.path.is_file():
            (self.folder / LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds other files, or does not exist
                self.folder.rmdir()

    def add(self, case: Case, volume_ml: float, seconds: float, by_region: Mapping[str, float] | None = None) -> None:
        """Record a case whose files are written: the volume of all regions together, and of each."""
        regions_ml = "; ".join(f"{name} {ml:.4f}" for name, ml in (by_region or {}).items() if len(by_region or {}) > 1)
        inputs_sha256, remarks = _hash_of_inputs(case), remark_on(volume_ml, self.range_ml)
        self._remove_outdated(case["subject"], inputs_sha256)
        row = PredictionRow(case["subject"], round(volume_ml, 4), seconds, _inputs(case), inputs_sha256, remarks, regions_ml)
        with self._locked():  # other processes may have added rows, or removed the settings
            self._note()
            self.rows |= _read(self.folder / TABLE)
            self.rows[row.case] = row
            write_table(self.folder / TABLE, PredictionRow, [self.rows[subject] for subject in sorted(self.rows)])

    def _extras(self, subject: str) -> dict[str, Path]:
        return {"probability": prediction_path(self.folder, subject, "probability"), "dicom_seg": self.segmentation(subject)}

    def _remove_outdated(self, subject: str, inputs_sha256: str) -> None:
        """Remove optional files of an earlier version of the scan that would not be overwritten now."""
        before = self.rows.get(subject)
        if before and before.inputs_sha256 != inputs_sha256:
            for path in set(self._extras(subject).values()) - set(self.files(subject)):
                path.unlink(missing_ok=True)

    def _refuse_other_inputs(self, cases: Sequence[Case]) -> None:
        """Refuse other files under a subject's id, which may be another person's; a corrected scan keeps its path."""
        for case in cases:
            row = self.rows.get(case["subject"])
            if row and row.inputs != _inputs(case) and row.inputs_sha256 != _hash_of_inputs(case):
                raise ConfigError(
                    f"'{self.folder}' holds a prediction of '{case['subject']}' from other files ({row.inputs}); "
                    "choose another folder"
                )


def remark_on(volume_ml: float, range_ml: Mapping[str, float]) -> str:
    """Return a remark on a predicted volume that is 0 or far outside the range of the training cases; else an empty string.

    Args:
        volume_ml: volume of the foreground.
        range_ml: ``min`` and ``max`` volume of the training cases; empty if unknown.
    """
    if not volume_ml:
        return EMPTY
    if not range_ml or range_ml["min"] / FAR <= volume_ml <= range_ml["max"] * FAR:
        return ""
    side = "below the smallest" if volume_ml < range_ml["min"] else "above the largest"
    trained = f"{range_ml['min']:.3g} to {range_ml['max']:.3g} ml"
    return f"{volume_ml:.3g} ml is more than {FAR:g} times {side} of the training cases ({trained})"


def _read(path: Path) -> dict[str, PredictionRow]:
    if not path.is_file():
        return {}
    return {row.case: row for row in read_table(path, PredictionRow, remedy="remove it, and all cases are predicted again")}


def _inputs(case: Case) -> str:
    return ";".join(path for role, path in sorted(case.items()) if role != "subject")


def _hash_of_inputs(case: Case) -> str:
    files = [sha256_of_scan(path) for role, path in sorted(case.items()) if role != "subject"]
    return hashlib.sha256("".join(files).encode()).hexdigest()
