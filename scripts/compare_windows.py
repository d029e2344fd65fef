"""Compare sliding windows: Dice, seconds per case and peak memory, one row per setting.

python scripts/compare_windows.py RUN DATALIST OUTPUT SETTING [SETTING …] [--split validation] [--bundle_root DIR]

A setting is EDGE:OVERLAP:PRECISION, e.g. 96:0.5:float32, or 240:0.25:auto for a whole head in one pass. Dice is compared with
the first setting. Choose a setting on validation cases, as it is part of the model.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fire
import nibabel as nib
import numpy as np

from monai_tl.datasets.datalist import read_datalist
from monai_tl.errors import USER_ERRORS, ConfigError
from monai_tl.evaluation.scores import score_case


def predict(run: str, datalist: str, folder: Path, setting: str, more: list[str]) -> float:
    """Predict in a new process and return its peak memory in GiB."""
    try:
        edge, overlap, precision = setting.split(":")
    except ValueError:
        raise ConfigError(f"a setting is EDGE:OVERLAP:PRECISION, e.g. 96:0.5:float32; got '{setting}'") from None
    words = ["--bundle", run, "--input", datalist, "--output", str(folder), "--inference_window", f"[{edge},{edge},{edge}]"]
    words += ["--inference_overlap", overlap, "--precision", precision, *more]
    process = subprocess.Popen([sys.executable, "-m", "monai_tl", "predict", *words])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise ConfigError(f"the prediction with {setting} failed")
    return usage.ru_maxrss / 2**20


def compare_windows(
    run: str, datalist: str, output: str, *settings: str, split: str = "validation", bundle_root: str = ""
) -> None:
    """Predict a split with each setting and print how the results differ."""
    data = read_datalist(Path(datalist))
    more = ["--split", split, *(["--bundle_root", bundle_root] if bundle_root else [])]
    first: dict[str, float] = {}
    for setting in settings:
        folder = Path(output) / setting.replace(":", "_")
        memory = predict(run, datalist, folder, setting, more)
        with (folder / "predictions.csv").open(newline="") as table:
            seconds = {row["case"]: float(row["seconds"]) for row in csv.DictReader(table)}
        cells = []
        for case in data.split(split):
            label: Any = nib.load(case["label"])
            predicted: Any = nib.load(folder / f"{case['subject']}_seg.nii.gz")
            truth = np.isin(np.asanyarray(label.dataobj), data.foreground)
            sizes = nib.affines.voxel_sizes(label.affine)
            dice = score_case(case["subject"], np.asanyarray(predicted.dataobj), truth, sizes, 0).values["dice"]
            first.setdefault(case["subject"], dice)
            cells.append(f"{dice:.4f} ({dice - first[case['subject']]:+.4f}) {seconds[case['subject']]:.1f} s")
        print(
            f"{setting:18s} {memory:4.1f} GiB  {'  '.join(cells)}  median {np.median(list(seconds.values())):.1f} s", flush=True
        )


if __name__ == "__main__":
    try:
        fire.Fire(compare_windows)
    except USER_ERRORS as error:
        sys.exit(f"compare_windows: {error}")
