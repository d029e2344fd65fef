"""Phantom heads with known anatomy, drawn as numbers and rendered as images.

A phantom is first drawn (:class:`Anatomy`, :class:`Tumour`: plain numbers), then rendered: layers of tissue are painted over
each other, and each modality gets its contrast. Shapes are smooth implicit functions of *life-size* millimetres, in RAS, with
the origin near the anterior commissure. The field of view is a cube of 192 life-size mm.

**Scale.** Every file has a voxel spacing of 1 mm, and the head scales with ``size``: at size 192 it is life-size; at size 64 it
is shrunk to a field of view of 64 mm, so that configs for 1 mm voxels work unchanged. Volumes and distances measured on a
phantom of size 64 are therefore those of the small head (1 mm there is 3 mm in life).

Phantoms show that a pipeline works and how well it learns known shapes. They do not show how accurate it is on patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import zoom
from scipy.spatial.transform import Rotation

PhantomImage = NDArray[np.floating[Any]]  # (i, j, k) on a RAS grid

FIELD_OF_VIEW = 192.0  # life-size mm, each axis
CENTRE = (0.0, -16.0, 0.0)  # life-size mm, RAS: the point at the centre of the grid
DRAWN_MODALITIES = ("T1", "T1ce", "T2", "FLAIR")

# Mean intensity of each tissue in T1, T1ce, T2 and FLAIR, without gain, bias field and noise.
INTENSITY: dict[str, tuple[float, ...]] = {
    "fat": (820, 830, 520, 560),
    "muscle": (330, 380, 190, 230),
    "bone": (70, 80, 50, 60),
    "csf": (150, 150, 1000, 130),
    "grey": (440, 455, 620, 540),
    "white": (680, 690, 420, 400),
    "deep grey": (540, 550, 510, 480),
    "hippocampus": (400, 415, 690, 600),
    "stem": (630, 640, 440, 420),
    "oedema": (430, 445, 820, 860),
    "necrosis": (230, 250, 880, 420),
    "enhancing": (450, 1000, 680, 730),
}

# Centre lines of the right side, which are mirrored for the left. Each point: x, y, z, radius in life-size mm.
HIPPOCAMPUS = np.array(
    [(17, -12, -19, 3), (23, -9, -22, 5.6), (28, -18, -19, 5), (30, -27, -13, 4.6), (27, -35, -6, 4), (20, -40, 1, 2.6)]
)
VENTRICLE = np.vstack(
    [
        [(9, 31, 5, 3.0), (7.5, 20, 13, 5.0), (9, 0, 21, 4.5), (15, -24, 22, 5.0), (25, -42, 12, 6.5)],
        [(34, -36, -5, 3.2), (36, -22, -13, 2.4), (31, -8, -15, 1.8)],  # the temporal horn
    ]
)
BRAIN_STEM = np.array([(0, -20, -4, 12), (0, -24, -16, 12), (0, -25, -32, 15), (0, -32, -50, 9), (0, -38, -75, 7)])
CAUDATE = np.array([(14, 20, 3, 5.5), (15, 12, 14, 4.5), (17, -8, 21, 3.0), (21, -24, 20, 2.0)])


@dataclass(frozen=True)
class Anatomy:
    """The drawn numbers of one person's head. Lengths in life-size mm, axes RAS."""

    angles: NDArray[np.float64]  # (3,) degrees about x, y, z
    shift: NDArray[np.float64]  # (3,)
    scale: NDArray[np.float64]  # (3,) of the head relative to the template
    hippocampus: NDArray[np.float64]  # (6, 4) centre line and radius, as in HIPPOCAMPUS
    hippocampus_size: tuple[float, float]  # radius factor left, right
    ventricle_size: tuple[float, float]  # radius factor left, right
    cortex: float  # thickness of the ribbon
    sulcus: float  # depth of the folds
    warp: NDArray[np.float64]  # (3, 5, 5, 5) displacement on a coarse lattice
    folds: NDArray[np.float64]  # (n, n, n) lattice whose smooth zero level is the sulci

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Anatomy:
        """Draw a head; the same state of ``rng`` gives the same head at every grid size."""
        # a fifth thicker than in life, as at size 64 a true hippocampus would be only two voxels thick
        common, atrophy = rng.normal(1.2, 0.06), rng.uniform(0.75, 1.45)
        return cls(
            angles=rng.uniform(-5, 5, 3),
            shift=rng.uniform(-3, 3, 3),
            scale=rng.uniform(0.97, 1.03) * rng.uniform(0.96, 1.03, 3),
            hippocampus=HIPPOCAMPUS + rng.normal(0, 1, HIPPOCAMPUS.shape) * (0.9, 0.9, 0.9, 0.25),
            hippocampus_size=(common + rng.normal(0, 0.04), common + rng.normal(0, 0.04)),
            ventricle_size=(atrophy * rng.uniform(0.92, 1.08), atrophy * rng.uniform(0.92, 1.08)),
            cortex=rng.uniform(2.8, 3.6),
            sulcus=rng.uniform(13, 18),
            warp=rng.normal(0, 2.0, (3, 5, 5, 5)),
            folds=rng.normal(0, 1, (21, 21, 21)),
        )


@dataclass(frozen=True)
class Tumour:
    """The drawn numbers of one glioma: one to three cores, with a rim and oedema. Lengths in life-size mm."""

    cores: tuple[tuple[float, float], ...]  # (position in the list of white-matter voxels, 0 to 1; radius)
    rim: float  # thickness of the enhancing rim
    oedema: float  # reach beyond the core
    shape: NDArray[np.float64]  # (2, n, n, n) lattices that make core and oedema irregular

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Tumour:
        """Draw a tumour; about one in five has a single tiny core, and one in three has several cores."""
        kind = rng.choice(["single", "several", "tiny"], p=[0.47, 0.33, 0.2])
        radii = {
            "single": rng.uniform(11, 22, 1),
            "several": rng.uniform(5, 16, rng.integers(2, 4)),
            "tiny": rng.uniform(4.5, 7, 1),
        }[str(kind)]
        return cls(
            cores=tuple((float(rng.uniform()), float(radius)) for radius in radii),
            rim=rng.uniform(2.5, 5),
            oedema=rng.uniform(5, 18),
            shape=rng.normal(0, 1, (2, 12, 12, 12)),
        )


class Layer(NamedTuple):
    """A tissue that is painted over the layers before it, with its labels on the left and on the right."""

    tissue: str
    left: int
    right: int
    cover: PhantomImage  # (i, j, k): covered fraction of each voxel, 0 to 1, for partial volume


def _smooth(lattice: NDArray[np.float64], size: int) -> PhantomImage:
    """Interpolate a coarse cubic lattice smoothly to ``size``³ voxels."""
    return zoom(lattice.astype(np.float32), size / lattice.shape[0], order=3, mode="nearest", grid_mode=True)


def _template_points(anatomy: Anatomy, size: int) -> list[PhantomImage]:
    """Return the template coordinates x, y, z (life-size mm) of each voxel of a RAS grid, each (i, j, k)."""
    axis = (np.arange(size) - (size - 1) / 2) * FIELD_OF_VIEW / size
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1) - anatomy.shift
    points = grid @ Rotation.from_euler("xyz", anatomy.angles, degrees=True).as_matrix() / anatomy.scale + CENTRE
    return [points[..., n].astype(np.float32) + _smooth(anatomy.warp[n], size) for n in range(3)]


def _length(*parts: PhantomImage) -> PhantomImage:
    """Return the lengths of vectors with the components ``parts``."""
    return np.sqrt(np.add.reduce([part * part for part in parts]))


def _ellipsoid(p: list[PhantomImage], centre: tuple[float, ...], axes: tuple[float, ...]) -> PhantomImage:
    """Return the signed distance to an ellipsoid (mm, negative inside, accurate to first order near the surface)."""
    scaled = [(q - c) / a for q, c, a in zip(p, centre, axes, strict=True)]
    radius = _length(*scaled)
    slope = _length(*(s / a for s, a in zip(scaled, axes, strict=True))) + 1e-6
    return radius * (radius - 1) / slope


def _tube(
    p: list[PhantomImage], line: NDArray[np.float64], factor: PhantomImage | float = 1.0, samples: int = 24
) -> PhantomImage:
    """Return the signed distance (mm) to a curved tube through ``line``, with rows x, y, z, radius."""
    curve = CubicSpline(np.arange(len(line)), line)(np.linspace(0, len(line) - 1, samples)).astype(np.float32)
    distance = np.full(p[0].shape, np.inf, np.float32)
    for x, y, z, radius in curve:
        near = _length(p[0] - x, p[1] - y, p[2] - z) - radius * factor
        np.minimum(distance, near, out=distance)
    return distance


def _either(*distances: PhantomImage) -> PhantomImage:
    """Return the smooth union of shapes: the minimum of their distances, with edges rounded by about 4 mm."""
    joined = distances[0]
    for other in distances[1:]:
        blend = np.maximum(8 - np.abs(joined - other), 0) / 8
        joined = np.minimum(joined, other) - blend * blend * 2
    return joined


def _sulci(anatomy: Anatomy, p: list[PhantomImage], cerebrum: PhantomImage, hippocampus: PhantomImage) -> PhantomImage:
    """Return the distance (mm) to the nearest sulcus: folds, longitudinal fissure and Sylvian fissures."""
    x, y, z = np.abs(p[0]), p[1], p[2]
    size = cerebrum.shape[0]
    level = _smooth(anatomy.folds, size)
    slope = _length(*np.gradient(level)) * size / FIELD_OF_VIEW
    # Folds end at their depth, and keep away from the white matter of the hippocampus.
    folds = np.maximum.reduce([np.abs(level) / (slope + 0.02), -cerebrum - anatomy.sulcus, 7 - hippocampus])
    callosum = 1 - np.sqrt(((y + 10) / 42) ** 2 + ((z - 2) / 28) ** 2)
    fissure = np.maximum(x, callosum * 30)
    sylvian = np.maximum.reduce([np.abs(z - 4 + 0.25 * y + 3 * np.sin(x / 6)) * 0.9, 37 - x, np.abs(y + 2) - 34])
    return np.minimum.reduce([folds, fissure, sylvian])


def render_head(anatomy: Anatomy, size: int) -> tuple[list[Layer], NDArray[np.bool_]]:
    """Render a head as layers of tissue on a RAS grid of ``size``³ voxels, with FreeSurfer's aseg labels.

    Args:
        anatomy: the head, in life-size mm.
        size: number of voxels along each axis.

    Returns:
        The layers in painting order, from the outside inwards (later ones cover earlier ones; label 0 is tissue that aseg does
        not label), and a mask of the left half of the head, (i, j, k).
    """
    p = _template_points(anatomy, size)
    left = p[0] < 0
    sides = [np.abs(p[0]), p[1], p[2]]
    y, z = p[1], p[2]
    hippocampus = _tube(sides, anatomy.hippocampus, np.where(left, *map(np.float32, anatomy.hippocampus_size)))
    ventricle = _tube(sides, VENTRICLE, np.where(left, *map(np.float32, anatomy.ventricle_size)), 40)
    stem = np.maximum(_tube(p, BRAIN_STEM), -64 - z)
    cerebellum = _either(_ellipsoid(sides, (22, -56, -35), (26, 26, 22)), _ellipsoid(p, (0, -56, -33), (9, 24, 18)))
    temporal = _ellipsoid(sides, (39, -13, -19), (25, 41, 21))
    upper = np.maximum(_ellipsoid(p, (0, -16, 10), (66, 79, 62)), -14 - z + 0.12 * (y + 16))
    cerebrum = _either(upper, temporal)
    hull = _either(cerebrum, cerebellum - 2, _ellipsoid(p, (0, -22, -22), (20, 26, 22)), stem - 3)
    head = _either(hull - 13, _ellipsoid(p, (0, -30, -80), (60, 56, 80)), _ellipsoid(p, (0, 26, -50), (52, 50, 58)))
    sulci = _sulci(anatomy, p, cerebrum, hippocampus)
    # The ambient cistern, between the temporal lobes and the brain stem.
    cistern = np.maximum.reduce([stem - 3.5, z + 6, -np.minimum(stem, 0) - 3])
    folia = 6.5 + 5 * np.cos(0.55 * (z + 0.4 * y) + 0.04 * sides[0])
    painted: list[tuple[str, int, int, PhantomImage]] = [
        ("fat", 0, 0, head),
        ("muscle", 0, 0, head + 5),
        ("bone", 0, 0, hull - 9),
        ("csf", 0, 0, _ellipsoid(sides, (32, 58, -27), (12, 12, 12))),
        ("csf", 24, 24, hull - 2.5),
        ("grey", 3, 42, np.maximum(cerebrum, 0.5 - sulci)),
        ("white", 2, 41, anatomy.cortex - np.minimum(-cerebrum, sulci)),
        ("csf", 24, 24, np.maximum(cerebellum - 1.5, -cerebellum - 3)),
        ("grey", 8, 47, cerebellum),
        ("white", 7, 46, cerebellum + folia),
        ("csf", 24, 24, cistern),
        ("stem", 16, 16, stem),
        ("csf", 15, 15, _ellipsoid(p, (0, -43, -33), (6, 5, 9))),
        ("deep grey", 10, 49, _ellipsoid(sides, (11, -17, 7), (8.5, 15, 9))),
        ("deep grey", 12, 51, _ellipsoid(sides, (26, 3, 1), (5.5, 16, 11))),
        ("deep grey", 13, 52, _ellipsoid(sides, (19, -3, -1), (4, 9, 6))),
        ("deep grey", 11, 50, _tube(sides, CAUDATE)),
        ("csf", 14, 14, _ellipsoid(p, (0, -10, 1), (2.4, 14, 10))),
        ("white", 2, 41, hippocampus - 2.4),
        ("grey", 18, 54, _ellipsoid(sides, (24, 0, -19), (7, 7, 7))),
        ("csf", 4, 43, ventricle),
        ("hippocampus", 17, 53, hippocampus),
    ]
    voxel = FIELD_OF_VIEW / size
    return [Layer(tissue, a, b, _cover(distance, voxel)) for tissue, a, b, distance in painted], left


def _cover(distance: PhantomImage, voxel: float) -> PhantomImage:
    """Return the fraction of each voxel inside a shape, from the distance (mm) of its centre to the surface."""
    return np.clip(0.5 - distance / voxel, 0, 1).astype(np.float32)


def label_map(layers: list[Layer], left: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return each voxel's label, from the last layer that covers more than half of it; ``left`` selects the side."""
    labels = np.zeros(left.shape, np.uint8)
    for layer in layers:
        inside = layer.cover > 0.5
        labels[inside] = np.where(left, layer.left, layer.right)[inside]
    return labels


def render_tumour(tumour: Tumour, white: NDArray[np.bool_]) -> list[Layer]:
    """Render a tumour with BraTS labels (2 oedema, 4 enhancing rim, 1 necrosis), with its cores centred in ``white`` voxels.

    Args:
        tumour: the tumour, in life-size mm.
        white: mask of the voxels in which a core may be centred, (i, j, k) on a cubic grid; not empty.

    Returns:
        The layers to paint over a head. Each core covers at least the voxel in which it is centred.
    """
    size, places = white.shape[0], np.argwhere(white)
    voxel = FIELD_OF_VIEW / size
    grid = np.indices(white.shape, dtype=np.float32)
    ragged, fringed = (np.tanh(_smooth(lattice, size)) for lattice in tumour.shape)
    core = np.full(white.shape, np.inf, np.float32)
    for where, radius in tumour.cores:
        centre = places[int(where * len(places))].astype(np.float32)
        away = _length(*(axis - c for axis, c in zip(grid, centre, strict=True))) * voxel
        np.minimum(core, away - radius * (1 + 0.45 * ragged), out=core)
    # Oedema spreads along the white matter and spares most of the cortex.
    oedema = core - tumour.oedema * (1 + 0.6 * fringed) + np.where(white, 0, 0.8 * tumour.oedema)
    necrosis = core + tumour.rim * (1 + 0.5 * fringed)
    painted: dict[str, tuple[int, PhantomImage]] = {"oedema": (2, oedema), "enhancing": (4, core), "necrosis": (1, necrosis)}
    return [Layer(tissue, label, label, _cover(distance, voxel)) for tissue, (label, distance) in painted.items()]


def scan(layers: list[Layer], modality: str, rng: np.random.Generator) -> PhantomImage:
    """Simulate a scan of a rendered head: tissue means, partial volume, a smooth bias field, gain and Rician noise.

    Args:
        layers: layers from :func:`render_head` and :func:`render_tumour`, in painting order.
        modality: one of :data:`DRAWN_MODALITIES`.
        rng: generator of this scan's contrast, bias field and noise.

    Returns:
        Intensities in arbitrary units, (i, j, k), at least 1; about 50 to 2000.
    """
    means = {tissue: values[DRAWN_MODALITIES.index(modality)] * rng.normal(1, 0.02) for tissue, values in INTENSITY.items()}
    image: PhantomImage = np.full(layers[0].cover.shape, 10, np.float32)
    for layer in layers:
        image += layer.cover * (means[layer.tissue] - image)
    bias = _smooth(rng.normal(0, 0.08, (3, 3, 3)), image.shape[0])
    noise = rng.normal(0, rng.uniform(12, 22), (2, *image.shape))
    image = np.hypot(image * np.exp(bias) + noise[0], noise[1])
    return np.maximum(image * rng.uniform(0.7, 1.4), 1).astype(np.float32)
