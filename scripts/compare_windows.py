"""Compare ways to cut a prediction into windows: Dice against the truth, seconds a case, peak memory; a row a way.

python scripts/compare_windows.py RUN DATALIST OUTPUT WAY [WAY …] [--split validation] [--bundle_root DIR]

A way is EDGE:OVERLAP:PRECISION, e.g. 96:0.5:float32 (the others are compared with the first) or 240:0.25:auto, which is a
whole head in one pass. Choose on validation cases: the window is part of the recipe.
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
from monai_tl.evaluation.metrics import score_case


def predict(run: str, datalist: str, folder: Path, way: str, more: list[str]) -> float:
    """Predict in a process of its own; gives its peak memory in GiB."""
    try:
        edge, overlap, precision = way.split(":")
    except ValueError:
        raise ConfigError(f"a way is EDGE:OVERLAP:PRECISION, e.g. 96:0.5:float32; got '{way}'") from None
    words = ["--bundle", run, "--input", datalist, "--output", str(folder), "--inference_window", f"[{edge},{edge},{edge}]"]
    words += ["--inference_overlap", overlap, "--precision", precision, *more]
    process = subprocess.Popen([sys.executable, "-m", "monai_tl", "predict", *words])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise ConfigError(f"the prediction in {way} failed")
    return usage.ru_maxrss / 2**20


def compare_windows(run: str, datalist: str, output: str, *ways: str, split: str = "validation", bundle_root: str = "") -> None:
    """Predict a split in each way and print how the ways differ."""
    data = read_datalist(Path(datalist))
    more = ["--split", split, *(["--bundle_root", bundle_root] if bundle_root else [])]
    first: dict[str, float] = {}
    for way in ways:
        folder = Path(output) / way.replace(":", "_")
        memory = predict(run, datalist, folder, way, more)
        with (folder / "predictions.csv").open(newline="") as table:
            seconds = {row["case"]: float(row["seconds"]) for row in csv.DictReader(table)}
        told = []
        for case in data.split(split):
            label: Any = nib.load(case["label"])
            predicted: Any = nib.load(folder / f"{case['subject']}_seg.nii.gz")
            truth = np.isin(np.asanyarray(label.dataobj), data.foreground)
            sizes = nib.affines.voxel_sizes(label.affine)
            dice = score_case(case["subject"], np.asanyarray(predicted.dataobj), truth, sizes, 0).dice
            first.setdefault(case["subject"], dice)
            told.append(f"{dice:.4f} ({dice - first[case['subject']]:+.4f}) {seconds[case['subject']]:.1f} s")
        print(f"{way:18s} {memory:4.1f} GiB  {'  '.join(told)}  median {np.median(list(seconds.values())):.1f} s", flush=True)


if __name__ == "__main__":
    try:
        fire.Fire(compare_windows)
    except USER_ERRORS as error:
        sys.exit(f"compare_windows: {error}")
