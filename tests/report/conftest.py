"""Run folders as training and evaluation leave them, made by the package's own writers."""

from __future__ import annotations

import html.parser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from monai_tl.storage.files import write_json
from monai_tl.training.metrics_table import write_metrics
from tests.conftest import leave_scores, score_of

STAGES = ("conv_0", "res_1", "conv_2")
VERSIONS = {"monai_tl": "0.1.0", "monai": "1.6.1", "torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.7"}
DICE = {"a": 0.50, "b": 0.60, "c": 0.70, "d": 0.80, "e": 0.40, "f": 0.90}
CURVE = ((50, 0.9, 0.2), (100, 0.6, 0.55), (150, 0.5, 0.55), (200, 0.45, 0.5))  # iteration, loss, validation Dice


def transfer_report(source, frozen):
    stages = {
        name: {"state": "frozen" if n < frozen else "trained", "parameters": 1000, "trainable": 0 if n < frozen else 1000}
        for n, name in enumerate(STAGES)
    }
    fates = ("adapted: T1 of 2 channels", "copied", "fresh") if source else ("fresh",) * 3
    origin = {"path": source, "sha256": "0123456789abcdef" * 4, "lineage": [], "unused": []} if source else None
    return {
        "source": origin,
        "contract": {"source": None, "target": {}, "differences": ["modalities: source T1, target T1, T2"] if source else []},
        "channels": {"T2": "starts at zero"} if source else {},
        "norm": "freeze",
        "input_weights": ["conv_0.weight"],
        "stages": stages,
        "weights": {f"{name}.weight": fate for name, fate in zip(STAGES, fates, strict=True)},
        "held_sha256": "ab" * 32,
    }


@pytest.fixture
def make_run(tmp_path):
    """Make a run folder; what is None is left out."""

    def make(
        name, dice=DICE, *, curve=CURVE, report="scratch", frozen=0, source=None, seed=0, command=("monai_tl", "transfer"),
        classes=("background", "tumour core"), reference_ml=2.0, split="test", overlays=False, datalist="d1", record=None,
    ):  # fmt: skip
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        config = {"bundle_root": "/x/brats_tumour_core", "modalities": ["T1", "T2"], "classes": list(classes)}
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        if report:
            write_json(folder / "transfer_report.json", transfer_report(source, frozen))
        device = {"asked": "cpu", "processor": "x86_64", "threads": 2, "gpus": []}
        provenance = {"command": list(command), "seed": seed, "datalist_sha256": datalist, "device": device}
        write_json(folder / "provenance.json", {**provenance, "versions": VERSIONS})
        if curve:
            keys = ("iteration", "loss", "val_dice", "learning_rate", "seconds")
            rows = [dict(zip(keys, (*row, 1e-3, 1.5 * row[0]), strict=True)) for row in curve]
            write_metrics(folder / "metrics.csv", rows)
        if dice is not None:
            scores = [score_of(subject, value, 3.0, reference_ml, 2.5, 1.0) for subject, value in dice.items()]
            leave_scores(folder, scores, split, **(record or {}))
            for subject in dice if overlays else ():
                draw_overlay(folder / f"overlays_{split}" / f"{subject}.png")
        return folder

    return make


def draw_overlay(path: Path, width: int = 720, height: int = 240) -> None:
    path.parent.mkdir(exist_ok=True)
    ramp = np.linspace(0, 255, width, dtype=np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
    ramp[100:120, 100:140] = (230, 159, 0)
    Image.fromarray(ramp).save(path)


class Page(html.parser.HTMLParser):
    """A page's tags with their attributes, and its tables as rows of texts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.tables, self._cell, self.texts = [], [], None, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data):
        self.texts.append(data)
        if self._cell is not None:
            self._cell.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def parse():
    return Page
