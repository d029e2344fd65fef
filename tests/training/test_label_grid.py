"""What is left of labels on another grid: counted by the config's own transforms, and only where the grids differ."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, Orientationd, Spacingd

from monai_tl.errors import DataError
from monai_tl.imaging.label_encoding import EncodeLabeld
from monai_tl.imaging.scan_files import open_scan
from monai_tl.imaging.scan_io import LoadScand
from monai_tl.training.label_grid import Resampled, on_grid, refuse_lost_labels, resample_labels
from tests.conftest import mentions

SPACING = (2.0, 2.0, 2.0)


def transforms(regions=None, masks=False) -> Compose:
    return Compose(
        [
            LoadScand("label"),
            Orientationd("label", axcodes="RAS", labels=None),
            Spacingd("label", pixdim=SPACING, mode="nearest", diagonal=True),
            EncodeLabeld("label", regions or {"foreground": [1, 4]}, masks=masks),
        ]
    )


def case(folder, subject: str, affine: np.ndarray, *places) -> dict[str, str]:
    voxels = np.zeros((10, 10, 10), np.uint8)
    for place in places:
        voxels[place] = 4
    nib.Nifti1Image(voxels, affine).to_filename(folder / f"{subject}.nii")
    return {"subject": subject, "label": str(folder / f"{subject}.nii")}


def test_voxels_before_and_after(tmp_path):
    one = np.diag([1.0, 1, 1, 1])
    cases = [
        case(tmp_path, "kept", one, (slice(2, 8), slice(2, 8), slice(2, 8))),
        case(tmp_path, "lost", one, (5, 5, 5)),
        case(tmp_path, "same", np.diag([-2.0, -2, 2, 1]), (5, 5, 5)),
        case(tmp_path, "grown", one, (4, 4, 4)),
    ]
    kept, lost, grown = resample_labels(cases, [1, 4], SPACING, transforms())
    assert (kept.before, kept.after, kept.ratio) == (216, 27, 1.0)
    assert (lost.before, lost.after, lost.ratio) == (1, 0, 0.0)
    assert (grown.before, grown.after, grown.ratio) == (1, 1, 8.0)
    assert kept.spacing == (1, 1, 1)


def test_a_voxel_in_several_regions_counts_once(tmp_path):
    """A box of 6 × 6 × 6 voxels with the value 4, which is in both regions, becomes one of 3 × 3 × 3."""
    cases = [case(tmp_path, "kept", np.diag([1.0, 1, 1, 1]), (slice(2, 8), slice(2, 8), slice(2, 8)))]
    nested = transforms({"core": [1, 4], "whole": [1, 2, 4]}, masks=True)
    (found,) = resample_labels(cases, [1, 4, 2], SPACING, nested)
    assert (found.before, found.after, found.ratio) == (216, 27, 1.0)


def test_thick_labels_are_not_resampled_and_thin_ones_are(tmp_path):
    """A ball of 11 mm holds many a voxel of 2 mm wherever these lie; a sheet as large, one voxel thick, may hold none."""
    grid = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"))
    ball = np.sqrt(((grid - 8) ** 2).sum(0)) <= 5.5
    sheet = grid[2] == 5
    cases = []
    for name, mask in {"ball": ball, "sheet": sheet}.items():
        nib.Nifti1Image(mask.astype(np.uint8), np.diag([1.0, 1, 1, 1])).to_filename(tmp_path / f"{name}.nii")
        cases.append({"subject": name, "label": str(tmp_path / f"{name}.nii")})
    (found,) = resample_labels(cases, [1], SPACING, transforms())
    assert (found.subject, found.before) == ("sheet", 256)


def test_labels_on_the_networks_grid_are_not_even_read(tmp_path):
    cases = [case(tmp_path, "same", np.diag([-2.0, -2, 2, 1]), (5, 5, 5))]
    content = (tmp_path / "same.nii").read_bytes()
    (tmp_path / "same.nii").write_bytes(content[:400])
    assert resample_labels(cases, [1, 4], SPACING, transforms()) == []


@pytest.mark.parametrize(
    ("axes", "same"),
    [
        (np.diag([2.0, 2, 2]), True),
        (np.array([[0, 0, 2.0], [-2, 0, 0], [0, 2, 0]]), True),
        (np.diag([1.0, 2, 2]), False),
        (np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]]) * 2, False),
    ],
    ids=["same", "turned by 90°", "finer", "oblique"],
)
def test_which_grids_are_the_networks(tmp_path, axes, same):
    path = case(tmp_path, "a", nib.affines.from_matvec(axes))["label"]
    assert on_grid(open_scan(path), SPACING) is same


def row(subject: str, before: int, after: int, ratio: float) -> Resampled:
    return Resampled(subject, before, after, (1.0, 1.0, 1.0), ratio)


def test_training_cases_that_lose_all_are_refused_and_a_single_validation_case_is_reported():
    rows = [row("ann", 9, 0, 0), row("bob", 90, 12, 1.07)]
    with pytest.raises(DataError, match="1 of 4 train.*foreground.*2 × 2 × 2 mm") as refusal:
        refuse_lost_labels(rows, "train", 4, SPACING)
    mentions(str(refusal.value), "ann: 9 voxels … 1 × 1 × 1 mm … 0")
    assert "bob" not in str(refusal.value)
    (line,) = refuse_lost_labels(rows, "validation", 4, SPACING)
    mentions(line, "1 of 4 validation … (ann) … foreground")
    with pytest.raises(DataError, match="1 of 1 validation"):
        refuse_lost_labels(rows[:1], "validation", 1, SPACING)


def test_only_large_changes_are_reported_and_an_empty_label_lost_nothing():
    assert (
        refuse_lost_labels([row("ann", 100, 7, 0.56), row("bob", 0, 0, 1.0), row("cem", 9, 2, 1.8)], "train", 3, SPACING) == []
    )
    (line,) = refuse_lost_labels([row("ann", 100, 6, 0.48), row("bob", 1, 1, 8.0)], "train", 3, SPACING)
    mentions(line, "2 of 3 train … (ann, bob) … 2")
    mentions(line, "48% … volume")
