"""Training patches, each determined by the seed and its number alone, so that a resumed run continues with the same ones."""

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
    """An endless sequence of patches: the cases are shuffled in each round, and each patch has its own random state.

    Args:
        cases: preprocessed cases, e.g. a ``CacheDataset``; they are not changed.
        transform: random transforms from a case to a patch, e.g. ``RandCropByLabelClassesd`` and ``RandAffined``.
        seed: seed of the shuffling and of the transforms.
    """

    def __init__(self, cases: Dataset[Any], transform: Compose, seed: int) -> None:
        """Store the parts; nothing is drawn yet."""
        self.cases, self.transform, self.seed = cases, transform, seed

    def __len__(self) -> int:
        """Return the number of cases, the length of a round."""
        return len(self.cases)  # type: ignore[arg-type]

    def __getitem__(self, number: int) -> Any:
        """Return patch ``number``, counted from 0 over the whole training; the number is stored under ``"patch"``."""
        round_, place = divmod(number, len(self))
        case = int(np.random.default_rng([self.seed, 0, round_]).permutation(len(self))[place])
        self.transform.set_random_state(seed=int(np.random.default_rng([self.seed, 1, number]).integers(2**31)))
        patch = self.transform(self.cases[case])
        for part in patch if isinstance(patch, list) else [patch]:
            if isinstance(part, dict):
                part["patch"] = number
        return patch


class PatchNumbers(Sampler[int]):
    """Sampler of the patch numbers of one epoch, which continue from the previous epoch.

    Args:
        per_epoch: patches per epoch, i.e. between two validations: batch size times iterations.
    """

    def __init__(self, per_epoch: int) -> None:
        """Start with the first epoch."""
        self.per_epoch, self.epoch = per_epoch, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Return the epoch's patch numbers in order."""
        return iter(range(self.epoch * self.per_epoch, (self.epoch + 1) * self.per_epoch))

    def __len__(self) -> int:
        """Return the number of patches in an epoch."""
        return self.per_epoch


def margin_for(window: Sequence[int], rotation: float, scaling: float) -> list[int]:
    """Return the margin, in voxels on each side, that a patch needs to be rotated and scaled without empty corners.

    Args:
        window: edges (i, j, k) of the patch in voxels.
        rotation: largest angle about each axis, in degrees.
        scaling: largest relative change of size along each axis, e.g. 0.1.
    """
    half = (np.asarray(window, dtype=float) - 1) / 2
    angles = itertools.product(np.radians(np.linspace(-rotation, rotation, 5)), repeat=3)
    turned = np.max([np.abs(create_rotate(3, angle)[:3, :3]) @ half for angle in angles], axis=0)
    return [int(voxels) for voxels in np.ceil(turned * (1 + scaling) - half)]


def room_for(window: Sequence[int], rotation: float, scaling: float) -> list[int]:
    """Return the edges, in voxels, of a patch with the margin of `margin_for`."""
    return [edge + 2 * margin for edge, margin in zip(window, margin_for(window, rotation, scaling), strict=True)]


def epochs_of(iterations: int, validate_every: int) -> int:
    """Return the number of epochs, each of ``validate_every`` iterations and ended by a validation.

    Raises:
        ConfigError: if ``iterations`` is not a multiple of ``validate_every``.
    """
    refuse_settings(iterations=iterations, validate_every=validate_every)
    return iterations // validate_every
