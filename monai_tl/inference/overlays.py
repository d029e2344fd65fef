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

from monai_tl.imaging.preview import PREDICTION, TRUTH, Colour, draw_case, region_colours
from monai_tl.imaging.scan_files import open_scan
from monai_tl.storage.files import atomic_write

CAPTION = 20  # pixels
WHITE = (255, 255, 255)
LEFT, NARROWEST = 6.0, 560  # pixels: left margin, and the width that a caption may have below a narrower picture
Caption = tuple[str, Colour]


def write_overlay(path: Path | str, image: str, prediction: Any, truth: Any = None, regions: Sequence[str] = ("",)) -> None:
    """Draw a scan with masks on its grid, (i, j, k) or (region, i, j, k), and write it as a PNG, atomically.

    Args:
        path: of the PNG.
        image: the scan, as named in the case.
        prediction: masks; drawn where they are above 0.
        truth: masks of the reference.
        regions: names, in the order of the channels; several are drawn in colours that the caption names.
    """
    scan: Any = open_scan(image)
    shape = (len(regions), *scan.shape[:3])
    predicted, true = (None if masks is None else np.asarray(masks).reshape(shape) > 0 for masks in (prediction, truth))
    assert predicted is not None
    ml = float(nib.affines.voxel_sizes(scan.affine).prod()) / 1000
    parts: list[Caption] = [(Path(path).stem, WHITE)]
    if len(regions) == 1:
        parts += [(f"prediction {predicted.sum() * ml:.2f} ml", PREDICTION)]
        parts += [] if true is None else [(f"truth {true.sum() * ml:.2f} ml", TRUTH)]
    else:
        parts += [] if true is None else [("above: prediction, below: truth", WHITE)]
        parts += [
            (
                f"{name} {' / '.join(f'{masks[at].sum() * ml:.2f}' for masks in (predicted, true) if masks is not None)} ml",
                colour,
            )
            for at, (name, colour) in enumerate(zip(regions, region_colours(len(regions)), strict=True))
        ]
    picture = _captioned(Image.fromarray(draw_case(scan, predicted, true)), [*parts, ("left is the patient's right", WHITE)])
    with atomic_write(path) as temporary:
        picture.save(temporary)


def _captioned(picture: Image.Image, parts: Sequence[Caption]) -> Image.Image:
    """Put lines of text below a picture: as many parts in each as fit, and at least one."""
    font = ImageFont.load_default(CAPTION - 8)
    lines: list[list[tuple[float, Caption]]] = [[]]
    at = LEFT
    for part in parts:
        if lines[-1] and at + font.getlength(part[0]) > max(picture.width, NARROWEST):
            lines.append([])
            at = LEFT
        lines[-1].append((at, part))
        at += font.getlength(part[0]) + CAPTION
    width = max(picture.width, *(round(x + font.getlength(text) + LEFT) for line in lines for x, (text, _) in line))
    whole = Image.new("RGB", (width, picture.height + CAPTION * len(lines)))
    whole.paste(picture)
    pen = ImageDraw.Draw(whole)
    for row, line in enumerate(lines):
        for x, (text, colour) in line:
            pen.text((x, picture.height + 3 + CAPTION * row), text, fill=colour, font=font)
    return whole


class Overlays:
    """Handler of a ``SupervisedEvaluator`` that draws ``FOLDER/SUBJECT.png``; runs after ``ScoreTable``, which times cases."""

    def __init__(self, folder: str, regions: Sequence[str] = ("",)) -> None:
        """Set the folder to write to, and the names of the regions in the order of the masks' channels."""
        self.folder, self.regions = Path(folder), list(regions)

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
            write_overlay(path, scan, outputs["pred"].cpu(), outputs["label"].cpu(), self.regions)
