"""What predict wrote is recognised by the table next to it, and not by its name alone."""

from __future__ import annotations

import pytest

from monai_tl.datasets.own_outputs import is_prediction, own_predictions, refuse_doubtful
from monai_tl.errors import DataError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "predictions.json").write_text("{}")
    (tmp_path / "predictions.csv").write_text("case,volume_ml\nann,1\n")
    for name in ("ann.nii.gz", "ann_seg.nii.gz", "ann_probability.nii.gz", "bob.nii.gz", "bob_seg.nii.gz", "eve_seg.nii.gz"):
        (tmp_path / name).touch()
    return tmp_path


def images(folder):
    return {path.name.removesuffix(".nii.gz"): [str(path)] for path in folder.glob("*.nii.gz")}


def test_predictions_are_known_by_the_table_or_by_the_scan_next_to_them(folder):
    assert is_prediction(str(folder / "ann_seg.nii.gz"))
    assert is_prediction(str(folder / "ann_probability.nii.gz"))
    assert not is_prediction(str(folder / "ann.nii.gz"))
    assert not is_prediction(str(folder / "bob_seg.nii.gz"))
    assert sorted(own_predictions(images(folder))) == ["ann_probability", "ann_seg", "bob_seg"]


def test_where_nothing_was_predicted_nothing_is_a_prediction_but_it_may_be(folder):
    with pytest.raises(DataError, match=r"eve_seg.nii.gz \(next to predictions.json\)$"):
        refuse_doubtful({"eve_seg": [str(folder / "eve_seg.nii.gz")]})
    (folder / "predictions.json").unlink()
    assert own_predictions(images(folder)) == []
    refuse_doubtful({"eve_seg": [str(folder / "eve_seg.nii.gz")]})
    with pytest.raises(DataError, match=r"bob_seg.nii.gz \(next to bob.nii.gz\)$"):
        refuse_doubtful({"bob_seg": [str(folder / "bob_seg.nii.gz")]})
