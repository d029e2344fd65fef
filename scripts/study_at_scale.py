"""Measure the time to plan, resume, gather and report a study of 10 000 runs; runs are only files, nothing is trained.

python scripts/study_at_scale.py [--seeds 334] [--folder DIR]   (6 arms × 5 sizes × 334 seeds = 10 020 runs, 42 test cases)
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fire
import nibabel as nib
import numpy as np

from monai_tl.datasets.datalist import make_datalist, write_datalist
from monai_tl.datasets.splits import Splits
from monai_tl.evaluation.score_record import ScoreRecord
from monai_tl.evaluation.score_table import write_scores
from monai_tl.evaluation.scores import Score
from monai_tl.report.study.study_page import write_study_report
from monai_tl.storage.files import write_json
from monai_tl.study.design import design, write_training_sets
from monai_tl.study.request import Request
from monai_tl.study.runner import Conduct, conduct
from monai_tl.study.study_plan import Study, read_study, write_study
from monai_tl.training.cost import Cost, write_costs
from monai_tl.training.metrics_table import write_metrics

BUNDLE = Path(__file__).parents[1] / "bundles" / "brats_tumour_core"
SUBJECTS = {"train": 105, "validation": 63, "test": 42}


def write_data(folder: Path) -> list[str]:
    """Write cases of 8³ voxels with labels of different volumes, and a datalist; return the test subjects."""
    rng, cases, lists = np.random.default_rng(0), [], {}
    folder.mkdir(parents=True)
    for split, count in SUBJECTS.items():
        lists[split] = [f"{split}_{n:03d}" for n in range(count)]
        for subject in lists[split]:
            case = {"subject": subject}
            for role in ("T1", "T2", "label"):
                voxels = rng.random((8, 8, 8)).astype(np.float32)
                voxels = (voxels < rng.random()).astype(np.uint8) if role == "label" else voxels
                case[role] = str(folder / f"{subject}_{role}.nii.gz")
                nib.save(nib.Nifti1Image(voxels, np.eye(4)), case[role])
            cases.append(case)
    data = make_datalist(cases, modalities=("T1", "T2"), regions={"foreground": (1,)}, splits=Splits(lists))
    write_datalist(folder / "datalist.json", data)
    return lists["test"]


def finish_all(folder: Path, study: Study, test: list[str]) -> None:
    """Write the files of all finished runs: ten validations, costs, scores."""
    rng = np.random.default_rng(1)
    for run in study.runs:
        place = folder / run.folder
        at = range(60, 601, 60)
        rows = [{"iteration": n, "loss": 1.0, "val_dice": rng.random(), "learning_rate": 0.1, "seconds": n / 10} for n in at]
        write_metrics(place / "metrics.csv", rows)
        write_costs(place / "cost.csv", [Cost(n, 0.25, 900.0) for n in at])
        write_json(place / "metadata.json", {"validation_dice": max(row["val_dice"] for row in rows)})
        drawn = rng.random((len(test), 5)).tolist()
        scores = [Score(name, {"dice": dice, "hd95": mm}, *other) for name, (dice, mm, *other) in zip(test, drawn, strict=True)]
        write_scores(
            place / "scores_test.csv", scores, ScoreRecord("test", "", "", True, {}, "", "", [32, 32, 32], 0.25, "float32", {})
        )


class Clock:
    """Print the wall time and processor time of each part, and of all parts."""

    def __init__(self) -> None:
        """Start with a sum of zero."""
        self.wall = self.processor = 0.0

    def __call__(self, what: str, work: Callable[[], Any]) -> Any:
        """Run a part and print its time."""
        began = time.perf_counter(), time.process_time()
        result = work()
        self._print(what, time.perf_counter() - began[0], time.process_time() - began[1])
        self.wall += time.perf_counter() - began[0]
        self.processor += time.process_time() - began[1]
        return result

    def all(self) -> None:
        """Print the sum."""
        self._print("all parts", self.wall, self.processor)

    def _print(self, what: str, wall: float, processor: float) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{what:36s} {wall:6.1f} s, processor {processor:6.1f} s, peak memory so far {peak:5.0f} MiB", flush=True)


def main(seeds: int = 334, folder: str = "") -> None:
    """Measure all parts."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(folder or place)
        test = write_data(home / "data")
        arms = ("scratch", *(f"random{k}" for k in range(1, 6)))
        request = Request("size", str(BUNDLE), "", arms, ("10", "26", "52", "78", "all"), tuple(range(seeds)))
        request = Request(**{**vars(request), "settings": {"dataset_dir": str(home / "data"), "device": "cpu"}})
        study = home / "study"
        timed = Clock()
        made = timed("plan", lambda: design(request))
        timed("write training sets", lambda: write_training_sets(study, made))
        timed("write plan", lambda: write_study(study, made.study))
        print(f"{len(made.study.runs)} runs; study.json has {(study / 'study.json').stat().st_size / 2**20:.1f} MiB")
        finish_all(study, made.study, test)
        timed("read plan", lambda: read_study(study))
        timed("resume (all finished) and gather", lambda: conduct(request, Conduct(study)))
        timed("report", lambda: write_study_report(study))
        timed.all()


if __name__ == "__main__":
    fire.Fire(main)
