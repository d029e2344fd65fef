"""Draw what runs predict, a row a case: python scripts/overlay.py OUTPUT.png RUN [RUN …] [--split test] [--cases 2].

Prediction orange, truth blue; axial, coronal, sagittal plane through the truth's centre, on the network's grid.
"""

from __future__ import annotations

import sys
from pathlib import Path

import fire
import numpy as np
import torch
from monai.bundle import ConfigParser
from PIL import Image

from monai_tl.data.checks import check_cases
from monai_tl.errors import USER_ERRORS
from monai_tl.training.launch import read_run_config
from monai_tl.training.overlay import three_planes
from monai_tl.transfer.source import load_weights


def draw_run(run: str, split: str, cases: int) -> list[np.ndarray]:
    """Predict the first cases of a split with a run's best weights; a picture each."""
    parser = ConfigParser(read_run_config(run))
    data, modalities = parser.get_parsed_content("data"), parser.get_parsed_content("modalities")
    chosen = data.split(split, modalities)[:cases]
    check_cases(chosen, modalities, data.foreground, need_foreground=False)
    preprocess = parser.get_parsed_content("validate#preprocessing")
    network = load_weights(parser.get_parsed_content("network_def"), run).to(parser.get_parsed_content("device")).eval()
    inferer = parser.get_parsed_content("validate#inferer")
    pictures = []
    for case in chosen:
        ready = preprocess(case)
        with torch.no_grad():
            logits = inferer(ready["image"][None].to(next(network.parameters()).device), network)
        predicted, truth = logits[0].argmax(0).bool().cpu().numpy(), ready["label"][0].bool().numpy()
        dice = 2 * (predicted & truth).sum() / max(predicted.sum() + truth.sum(), 1)
        print(f"{run} {case['subject']}: Dice {dice:.3f} on the network's grid")
        pictures.append(three_planes(ready["image"][0].numpy(), predicted, truth, height=256))
    return pictures


def overlay(output: str, *runs: str, split: str = "test", cases: int = 2) -> None:
    """Draw cases of several runs below each other and write a PNG."""
    rows = [picture for run in runs for picture in draw_run(str(run), split, cases)]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in rows]
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(padded)).save(output)


if __name__ == "__main__":
    try:
        fire.Fire(overlay)
    except USER_ERRORS as error:
        sys.exit(f"overlay: {error}")
