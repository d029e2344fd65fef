"""Training windows: each one a pure function of the seed and its number, so that a resumed run draws what it would have."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from monai.transforms import Compose
from monai.transforms.utils import create_rotate
from torch.utils.data import Dataset, Sampler

from monai_tl.settings.table import refuse_settings


class Patches(Dataset[Any]):
    """Endless windows from a set of cases: window n is of the n-th case of a reshuffled round, cut by its own random state.

    Args:
        cases: preprocessed cases, e.g. a ``CacheDataset``; they are not changed.
        transform: random transforms from a case to a window, e.g. ``RandCropByLabelClassesd`` and ``RandAffined``.
        seed: of all that is random here.
    """

    def __init__(self, cases: Dataset[Any], transform: Compose, seed: int) -> None:
        """Keep the parts; nothing is drawn yet."""
        self.cases, self.transform, self.seed = cases, transform, seed

    def __len__(self) -> int:
        """Give the number of cases, the length of a round."""
        return len(self.cases)  # type: ignore[arg-type]

    def __getitem__(self, number: int) -> Any:
        """Cut window ``number``, counted from 0 over the whole training, which is noted as its ``"patch"``."""
        round_, place = divmod(number, len(self))
        case = int(np.random.default_rng([self.seed, 0, round_]).permutation(len(self))[place])
        self.transform.set_random_state(seed=int(np.random.default_rng([self.seed, 1, number]).integers(2**31)))
        window = self.transform(self.cases[case])
        for one in window if isinstance(window, list) else [window]:
            if isinstance(one, dict):
                one["patch"] = number
        return window


class PatchNumbers(Sampler[int]):
    """Numbers of the windows of one epoch, on from where the epoch before it ended.

    Args:
        per_epoch: windows between two validations, batch size times iterations.
    """

    def __init__(self, per_epoch: int) -> None:
        """Begin with the first epoch."""
        self.per_epoch, self.epoch = per_epoch, 0

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, counted from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Give the epoch's window numbers in order."""
        return iter(range(self.epoch * self.per_epoch, (self.epoch + 1) * self.per_epoch))

    def __len__(self) -> int:
        """Give the number of windows in an epoch."""
        return self.per_epoch


def margin_for(window: Sequence[int], rotation: float, scaling: float) -> list[int]:
    """Give the border, in voxels on each side, that a window needs to be rotated and scaled without looking past it.

    Args:
        window: edges (i, j, k) in voxels.
        rotation: largest angle about each axis, in degrees.
        scaling: largest relative change of size along each axis, e.g. 0.1.
    """
    half = (np.asarray(window, dtype=float) - 1) / 2
    angles = itertools.product(np.radians(np.linspace(-rotation, rotation, 5)), repeat=3)
    turned = np.max([np.abs(create_rotate(3, angle)[:3, :3]) @ half for angle in angles], axis=0)
    return [int(voxels) for voxels in np.ceil(turned * (1 + scaling) - half)]


def room_for(window: Sequence[int], rotation: float, scaling: float) -> list[int]:
    """Give the edges, in voxels, of the patch that holds a window and the margin of `margin_for`."""
    return [edge + 2 * margin for edge, margin in zip(window, margin_for(window, rotation, scaling), strict=True)]


def epochs_of(iterations: int, validate_every: int) -> int:
    """Give the number of epochs, each ``validate_every`` iterations long and ended by a validation.

    Raises:
        ConfigError: if the iterations are no multiple of it.
    """
    refuse_settings(iterations=iterations, validate_every=validate_every)
    return iterations // validate_every
