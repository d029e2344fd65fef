"""Draw overlays: for each case a PNG of the scan with the outlines of prediction and truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from ignite.engine import Engine
from monai.engines import IterationEvents
from PIL import Image

from monai_tl.imaging.preview import PREDICTION, TRUTH, WHITE, Caption, draw_case, region_colours, with_caption
from monai_tl.imaging.scan_files import open_scan
from monai_tl.storage.files import atomic_write


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
    picture = with_caption(Image.fromarray(draw_case(scan, predicted, true)), [*parts, ("left is the patient's right", WHITE)])
    with atomic_write(path) as temporary:
        picture.save(temporary)


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
