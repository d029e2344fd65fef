"""Draw overlays: for each case a PNG of the scan with the outlines of prediction and truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from ignite.engine import Engine
from monai.engines import IterationEvents
from PIL import Image, ImageDraw, ImageFont

from monai_tl.imaging.preview import PREDICTION, TRUTH, draw_case
from monai_tl.imaging.scan_files import open_scan
from monai_tl.storage.files import atomic_write

CAPTION = 20  # pixels
WHITE = (255, 255, 255)


def write_overlay(path: Path | str, image: str, prediction: Any, truth: Any = None) -> None:
    """Draw a scan with masks, (1, i, j, k) or (i, j, k), on the scan's grid, and write it as a PNG, atomically."""
    scan: Any = open_scan(image)
    masks = [None if mask is None else np.asarray(mask).reshape(scan.shape[:3]) > 0 for mask in (prediction, truth)]
    predicted, true = masks
    assert predicted is not None
    ml = float(nib.affines.voxel_sizes(scan.affine).prod()) / 1000
    parts = [(Path(path).stem, WHITE), (f"prediction {predicted.sum() * ml:.2f} ml", PREDICTION)]
    parts += [] if true is None else [(f"truth {true.sum() * ml:.2f} ml", TRUTH)]
    picture = _captioned(Image.fromarray(draw_case(scan, predicted, true)), [*parts, ("left is the patient's right", WHITE)])
    with atomic_write(path) as temporary:
        picture.save(temporary)


def _captioned(picture: Image.Image, parts: Sequence[tuple[str, tuple[int, int, int]]]) -> Image.Image:
    """Put a line of text below a picture, and widen the picture to fit it."""
    font = ImageFont.load_default(CAPTION - 8)
    width = max(picture.width, round(sum(font.getlength(text) + CAPTION for text, _ in parts)))
    whole = Image.new("RGB", (width, picture.height + CAPTION))
    whole.paste(picture)
    pen, at = ImageDraw.Draw(whole), 6.0
    for text, colour in parts:
        pen.text((at, picture.height + 3), text, fill=colour, font=font)
        at += font.getlength(text) + CAPTION
    return whole


class Overlays:
    """Handler of a ``SupervisedEvaluator`` that draws ``FOLDER/SUBJECT.png``; runs after ``ScoreTable``, which times cases."""

    def __init__(self, folder: str) -> None:
        """Set the folder to write to."""
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
