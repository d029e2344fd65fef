"""A picture of a case: three planes with the outlines of prediction and truth."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

PREDICTION, TRUTH = (
    (230, 159, 0),
    (86, 180, 233),
)  # orange and sky blue of Okabe and Ito, told apart by the colour-blind


def three_planes(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray | None = None, height: int = 240) -> np.ndarray:
    """Draw axial, coronal and sagittal planes through the centre of the truth (else of the prediction, else of the image).

    Args:
        image: one modality ``(i, j, k)`` on axes right, anterior, superior.
        prediction: boolean volume of the same shape, outlined in orange.
        truth: boolean volume of the same shape, outlined in blue.
        height: of the picture in pixels.

    Returns:
        ``(height, width, 3)`` bytes; the patient's left is on the right, as radiologists look at it.
    """
    low, high = np.percentile(image, (1, 99.5))
    grey = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    shown = next((mask for mask in (truth, prediction) if mask is not None and mask.any()), np.ones_like(image, dtype=bool))
    centre = [round(c) for c in ndimage.center_of_mass(shown)]
    planes = [_plane(grey, prediction, truth, axis, centre[axis], height) for axis in (2, 1, 0)]
    return np.concatenate(planes, axis=1)


def _plane(
    grey: np.ndarray, prediction: np.ndarray, truth: np.ndarray | None, axis: int, index: int, height: int
) -> np.ndarray:
    def upright(volume: np.ndarray, order: int) -> np.ndarray:
        plane = np.take(volume, index, axis=axis)
        plane = plane[:, ::-1] if axis == 0 else plane[::-1, ::-1]
        return np.asarray(ndimage.zoom(plane.T.astype(np.float32), height / plane.shape[1], order=order))

    picture = np.repeat((255 * np.clip(upright(grey, 1), 0, 1)).astype(np.uint8)[..., None], 3, axis=2)
    for mask, colour in ((truth, TRUTH), (prediction, PREDICTION)):
        if mask is not None:
            region = upright(mask, 0) > 0.5
            picture[region & ~ndimage.binary_erosion(region, iterations=2)] = colour
    return picture
