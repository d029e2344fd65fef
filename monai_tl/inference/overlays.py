"""A PNG a case: the scan with the outlines of prediction and truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from ignite.engine import Engine
from monai.engines import IterationEvents
from PIL import Image

from monai_tl.files import atomic_write
from monai_tl.training.overlay import draw_case


def write_overlay(path: Path | str, image: str, prediction: Any, truth: Any = None) -> None:
    """Draw a scan with masks on its own grid, (1, i, j, k) or (i, j, k), and write a PNG atomically."""
    scan: Any = nib.load(image)
    masks = [None if mask is None else np.asarray(mask).reshape(scan.shape[:3]) > 0 for mask in (prediction, truth)]
    assert masks[0] is not None
    with atomic_write(path) as temporary:
        Image.fromarray(draw_case(scan, masks[0], masks[1])).save(temporary)


class Overlays:
    """Handler of a ``SupervisedEvaluator``, after ``ScoreTable`` (which takes the time): draws ``FOLDER/SUBJECT.png``."""

    def __init__(self, folder: str) -> None:
        """Take the folder to write to."""
        self.folder = Path(folder)

    def attach(self, engine: Engine) -> None:
        """Register on ``engine``; MONAI calls this for each of its ``handlers``."""
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self.draw)

    def draw(self, engine: Engine) -> None:
        """Draw the cases of this iteration."""
        batch: Any = engine.state.batch
        output: Any = engine.state.output
        for inputs, outputs in zip(batch, output, strict=True):
            scan = outputs["image"].meta["filename_or_obj"]
            path = self.folder / f"{inputs['subject']}.png"
            write_overlay(path, scan, outputs["pred"].cpu(), outputs["label"].cpu())
