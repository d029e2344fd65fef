"""A preview picture of a case: three planes with the outlines of masks and the edges of another image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Colour = tuple[int, int, int]
Caption = tuple[str, Colour]
WHITE = (255, 255, 255)
OKABE_ITO = (  # safe for the colour-blind
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
PREDICTION, TRUTH = OKABE_ITO[:2]
GAP = 4  # pixels between planes
WIDEST_PLANE = 1.6  # a plane's width as a multiple of its height; slabs are drawn smaller, with black above and below
DARK = 85  # brightness of 255 below which a caption's text has a light ground
CAPTION = 20  # pixels: height of a line of text
LEFT, NARROWEST = 6.0, 560  # pixels: left margin, and the width that a caption may have below a narrower picture
BLUR = 1.5  # pixels: scale at which an image's edges are detected
STEEP = 85  # percentile of the gradient: only edges above it are drawn


class Drawn(NamedTuple):
    """An overlay of the image's shape.

    Attributes:
        volume: a mask, drawn as an outline, or with ``edges`` another image, or with ``values`` a label.
        colour: of its lines.
        edges: draw the edges of an image.
        values: draw the outline of these values of a label; many regions then need no memory for masks.
    """

    volume: np.ndarray
    colour: Colour
    edges: bool = False
    values: tuple[int, ...] = ()


def region_colours(count: int) -> list[Colour]:
    """Return a colour per region: Okabe and Ito's seven, then lighter and darker ones, which are not safe for everyone."""
    colours: list[Colour] = []
    for blend in (0, 255, -255):  # as they are, half way to white, half way to black
        colours += [tuple((value + max(blend, 0)) // (1 + bool(blend)) for value in colour) for colour in OKABE_ITO]  # type: ignore[misc]
    return [colours[at % len(colours)] for at in range(count)]


def draw_case(image: SpatialImage, prediction: np.ndarray, truth: np.ndarray | None = None, height: int = 240) -> np.ndarray:
    """Draw a scan as stored on disk, reoriented to the closest right, anterior, superior axes.

    Args:
        image: 3D, or 4D with one volume.
        prediction: boolean mask on the image's voxels (i, j, k), or one per region (region, i, j, k).
        truth: the same for the reference.
        height: as in `three_planes`.

    Returns:
        One region: the planes of `three_planes`. Several: planes with the prediction in the colours of `region_colours`, and
        below them the same planes with the reference.
    """

    def turned(volume: np.ndarray) -> np.ndarray:
        volume = volume.reshape(volume.shape[:3])
        return np.asanyarray(nib.as_closest_canonical(nib.Nifti1Image(volume, image.affine)).dataobj)

    voxels = turned(np.asanyarray(image.dataobj).astype(np.float32))
    by_region = [
        None if masks is None else [turned(mask.astype(np.uint8)) > 0 for mask in masks.reshape(-1, *masks.shape[-3:])]
        for masks in (prediction, truth)
    ]
    order = nib.orientations.io_orientation(image.affine)[:, 0].astype(int)
    spacing = np.empty(3)
    spacing[order] = nib.affines.voxel_sizes(image.affine)
    predicted, true = by_region
    assert predicted is not None
    if len(predicted) == 1:
        return three_planes(voxels, predicted[0], true[0] if true else None, spacing=tuple(spacing), height=height)
    everything = [np.logical_or.reduce(masks) for masks in (true, predicted) if masks]
    rows = []
    for masks in (predicted, true):
        drawn = [Drawn(mask, colour) for mask, colour in zip(masks or (), region_colours(len(predicted)), strict=False)]
        rows += [draw_planes(voxels, drawn, spacing=tuple(spacing), height=height, through=everything)] if masks else []
    gap = np.zeros((GAP, rows[0].shape[1], 3), np.uint8)
    return np.concatenate([rows[0], *(part for row in rows[1:] for part in (gap, row))])


def three_planes(
    image: np.ndarray,
    prediction: np.ndarray,
    truth: np.ndarray | None = None,
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    height: int = 240,
) -> np.ndarray:
    """Draw axial, coronal and sagittal planes through the truth (else the prediction, else the middle of the image).

    The planes meet inside the largest connected component, since the centre of two hippocampi is in neither.

    Args:
        image: one modality ``(i, j, k)`` on axes right, anterior, superior.
        prediction: boolean volume of the same shape, outlined in orange.
        truth: boolean volume of the same shape, outlined in blue.
        spacing: voxel size in mm along i, j, k.
        height: of the picture in pixels.

    Returns:
        ``(height, width, 3)`` bytes; the patient's left is shown on the right (radiological convention).
    """
    drawn = [Drawn(mask, colour) for mask, colour in ((truth, TRUTH), (prediction, PREDICTION)) if mask is not None]
    return draw_planes(image, drawn, spacing=spacing, height=height)


def draw_planes(
    image: np.ndarray,
    drawn: Sequence[Drawn],
    *,
    spacing: Sequence[float],
    height: int,
    through: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Draw axial, coronal and sagittal planes through the first mask that is not empty, else through the middle of the image.

    Args:
        image: one modality ``(i, j, k)`` on axes right, anterior, superior.
        drawn: overlays, painted in this order; masks are boolean.
        spacing: voxel size in mm along i, j, k.
        height: of the picture in pixels.
        through: masks that come before the overlays in choosing the planes, and are not drawn; labels do not choose.

    Returns:
        The picture, as `three_planes` returns it.
    """
    sample = image[::2, ::2, ::2]
    low = np.percentile(sample, 1)
    high = (
        np.percentile(sample[sample > low], 99.5) if (sample > low).any() else low
    )  # percentile within the head, without the air around it
    grey = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    masks = [*through, *(overlay.volume for overlay in drawn if not overlay.edges and not overlay.values)]
    box = _box(grey, *masks)
    grey, drawn = grey[box], [overlay._replace(volume=overlay.volume[box]) for overlay in drawn]
    centre = _centre(next((mask[box] for mask in masks if mask.any()), None), grey.shape)
    planes = [_plane(grey, drawn, axis, centre[axis], spacing, height) for axis in (2, 1, 0)]
    gap = np.zeros((height, GAP, 3), np.uint8)
    return np.concatenate([planes[0], gap, planes[1], gap, planes[2]], axis=1)


def with_caption(picture: Image.Image, parts: Sequence[Caption]) -> Image.Image:
    """Return a picture with lines of text below it: as many parts in each line as fit, and at least one."""
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
            if np.dot(colour, (0.299, 0.587, 0.114)) < DARK:
                box = pen.textbbox((x, picture.height + 3 + CAPTION * row), text, font=font)
                pen.rectangle((box[0] - 2, box[1] - 1, box[2] + 2, box[3] + 1), fill=WHITE)
            pen.text((x, picture.height + 3 + CAPTION * row), text, fill=colour, font=font)
    return whole


def _box(grey: np.ndarray, *masks: np.ndarray) -> tuple[slice, ...]:
    """Return the bounding box of everything visible, with a margin of 3 voxels."""
    visible = np.logical_or.reduce([grey > 0.1, *masks])
    boxes = ndimage.find_objects(visible.astype(np.uint8))
    return tuple(slice(max(side.start - 3, 0), side.stop + 3) for side in boxes[0]) if boxes else (slice(None),) * 3


def _centre(mask: np.ndarray | None, shape: Sequence[int]) -> list[int]:
    """Return the voxel of the mask's largest connected component that is nearest to the component's centre of mass."""
    if mask is None:
        return [length // 2 for length in shape]
    components, _ = ndimage.label(mask)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    voxels = np.argwhere(components == sizes.argmax())
    return [int(index) for index in voxels[((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1).argmin()]]


def _plane(
    grey: np.ndarray, drawn: Sequence[Drawn], axis: int, index: int, spacing: Sequence[float], height: int
) -> np.ndarray:
    across, up = (spacing[other] for other in range(3) if other != axis)

    def upright(volume: np.ndarray, order: int, values: tuple[int, ...] = ()) -> np.ndarray:
        plane = np.take(volume, index, axis=axis)
        plane = np.isin(plane, values) if values else plane
        plane = plane[:, ::-1] if axis == 0 else plane[::-1, ::-1]
        shape = plane.shape[0] * across, plane.shape[1] * up  # mm
        tall = min(height, max(round(WIDEST_PLANE * height * shape[1] / shape[0]), 1))
        width = max(round(tall * shape[0] / shape[1]), 1)
        factors = (tall / plane.shape[1], width / plane.shape[0])
        zoomed = ndimage.zoom(plane.T.astype(np.float32), factors, order=order, grid_mode=True, mode="nearest")
        above = (height - tall) // 2
        return np.pad(zoomed, ((above, height - tall - above), (0, 0)))

    picture = np.repeat((255 * np.clip(upright(grey, 1), 0, 1)).astype(np.uint8)[..., None], 3, axis=2)
    for volume, colour, edges, values in drawn:
        if edges:
            picture[_edges(upright(volume, 1))] = colour
        else:
            region = upright(volume, 0, values) > 0.5
            picture[region & ~ndimage.binary_erosion(region, iterations=2)] = colour
    return picture


def _edges(plane: np.ndarray) -> np.ndarray:
    """Return one-pixel edges: zero crossings of the second derivative with a steep gradient (Marr and Hildreth 1980)."""
    slope = ndimage.gaussian_gradient_magnitude(plane, BLUR)
    inside = ndimage.gaussian_laplace(plane, BLUR) > 0
    return np.asarray(inside & ~ndimage.binary_erosion(inside) & (slope > max(np.percentile(slope, STEEP), 1e-6)))
