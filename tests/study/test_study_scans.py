"""A study's runs are made of the scans it was planned with."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from monai_tl.datasets.datalist import make_datalist, read_datalist, write_datalist
from monai_tl.errors import DataError
from monai_tl.study.study_scans import refuse_changed_scans
from monai_tl.study.worker import Order, perform
from monai_tl.training.run_cases import take_prints


@pytest.fixture
def data(tmp_path):
    rng, cases = np.random.default_rng(0), []
    for subject in ("ann", "bob"):
        paths = {role: str(tmp_path / f"{subject}_{role}.nii.gz") for role in ("T1", "label")}
        for path in paths.values():
            nib.save(nib.Nifti1Image(rng.integers(0, 2, (4, 4, 4)).astype(np.uint8), np.eye(4)), path)
        cases.append({"subject": subject, **paths})
    made = make_datalist(cases, modalities=["T1"], regions={"foreground": [1]}, splits={"train": ["ann"], "test": ["bob"]})
    return read_datalist(write_datalist(tmp_path / "datalist.json", made))


def planned(data):
    return {subject: dict(roles) for cases in take_prints(data).values() for subject, roles in cases.items()}


def test_a_run_whose_label_changed_fails_with_its_name(data, tmp_path):
    """Also one that goes on: nothing is said by what its folder holds already."""
    settings = {"run_dir": str(tmp_path / "runs" / "one"), "datalist": str(data.path)}
    order = Order((), settings, str(tmp_path / "log.txt"), 1, {}, scans=planned(data))
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), data.cases[1]["label"])
    with pytest.raises(DataError, match=r"1 scan.*was.*\s+label.*bob \(.*bob_label"):
        perform(order)


def test_the_same_scans_and_an_earlier_versions_plan_are_let_pass(data):
    refuse_changed_scans(planned(data), take_prints(data), data)
    refuse_changed_scans({}, take_prints(data), data)
    part = replace(data, splits={"train": ("ann",)})
    refuse_changed_scans(planned(data), take_prints(part), part)
