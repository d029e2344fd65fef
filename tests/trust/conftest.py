"""Inputs that gave wrong results in practice, recreated; ``docs/trust.md`` lists what is checked, when, and the message.

After a message has changed: MONAI_TL_WRITE_DOCS=1 pytest tests/trust
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import ROOT, Answer, holds, mentions
from tests.documented import MessageTable

LONGEST = 420  # letters of a message


def head(seed: int, shape: Sequence[int] = (32, 32, 32)) -> dict[str, np.ndarray]:
    """T1, T2 and label (0 and 1) of a ball with one bright spot, (i, j, k)."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    centre = rng.uniform(-0.3, 0.3, 3)[:, None, None, None]
    inside = np.sqrt((grid**2).sum(0)) < 0.9
    label = np.sqrt(((grid - centre) ** 2).sum(0)) < 0.3
    noise = rng.normal(0, 10, (2, *shape)) * inside
    t1 = inside * (400 + 100 * grid[0]) + 200 * label + noise[0]
    t2 = inside * (300 - 80 * grid[1]) + 300 * label + noise[1]
    return {"T1": t1.astype(np.float32), "T2": t2.astype(np.float32), "label": label.astype(np.uint8)}


def write_image(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Write a NIfTI image whose sform and qform (both of code 1) say the same, in mm."""
    affine = np.eye(4) if affine is None else affine
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def write_brats(
    root: Path, subjects: Sequence[str], shape: Sequence[int] = (32, 32, 32), affine: np.ndarray | None = None, seed: int = 0
) -> Path:
    """Write heads in the layout of BraTS 2018, label value 1 being all of the tumour core."""
    for number, subject in enumerate(subjects):
        volumes = head(seed + number, shape)
        for role, ending in (("T1", "t1"), ("T2", "t2"), ("label", "seg")):
            write_image(root / subject / f"{subject}_{ending}.nii.gz", volumes[role], affine)
    return root


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> MessageTable:
    return MessageTable(ROOT / "docs" / "trust.md", (shared, tmp_path_factory.getbasetemp()), "tests/trust")


@pytest.fixture
def says(table: MessageTable) -> Callable[..., None]:
    """Check that ``docs/trust.md`` lists a check with the message that users see; write it there if asked."""

    def check(topic: str, came: str, when: str, answer: Answer | str, *texts: str) -> None:
        """Compare a row.

        Args:
            topic: heading of the table.
            came: what came, as it stands in the row; unique.
            when: verbs that find it.
            answer: of a verb, or the text itself; of an answer the lines with the texts are shown, else its error.
            texts: that have to be in it.
        """
        if texts:
            mentions(answer if isinstance(answer, str) else answer.err + "\n" + answer.out, *texts)
        whole = table.tidy(answer if isinstance(answer, str) else _shown(answer, texts))
        table.check((came, when), whole if len(whole) <= LONGEST else whole[: LONGEST - 2] + " …", topic)

    return check


def _shown(answer: Answer, texts: Sequence[str]) -> str:
    """The lines that hold the texts; of a refusal all from the first of ours on."""
    if answer.code:
        lines = answer.err.strip().splitlines()
        first = next(number for number, line in enumerate(lines) if line.startswith("monai_tl: "))
        return " ".join(line.strip() for line in lines[first:])
    lines = (answer.err + "\n" + answer.out).splitlines()
    return " … ".join(dict.fromkeys(next(line.strip() for line in lines if holds(line, text)) for text in texts))
