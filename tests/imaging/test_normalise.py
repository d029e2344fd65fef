"""Intensities, normalised: by hand, and as MONAI's transform did before there was a choice."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import NormalizeIntensityd

from monai_tl.errors import ConfigError, DataError
from monai_tl.imaging.normalise import NormaliseImaged
from tests.conftest import mentions


def normalised(normalisation, *voxels, dtype=torch.float32):
    image = torch.tensor(voxels, dtype=dtype).reshape(1, -1, 1, 1)
    return NormaliseImaged("image", normalisation)({"image": image})["image"].flatten().tolist()


@pytest.mark.parametrize("name", ["zscore_volume", "zscore_nonzero"])
@pytest.mark.parametrize("kind", ["usual", "with zeros", "one constant channel", "one channel of zeros", "int16"])
def test_z_scores_are_those_of_monai_bit_for_bit(name, kind):
    """As configs of earlier versions had them."""
    image = torch.from_numpy(np.random.default_rng(3).normal(300, 80, (3, 11, 7, 5)).astype(np.float32))
    if kind == "with zeros":
        image[:, ::2] = 0
    if kind.startswith("one"):
        image[1] = 0 if kind.endswith("zeros") else 7.25
    if kind == "int16":
        image = image.to(torch.int16)
    image = MetaTensor(image, affine=torch.diag(torch.tensor([2.0, 2, 3, 1])), meta={"filename_or_obj": "a.nii"})
    before = NormalizeIntensityd("image", channel_wise=True, nonzero=name == "zscore_nonzero")({"image": image.clone()})[
        "image"
    ]
    kept = image.clone()
    after = NormaliseImaged("image", name)({"image": image})["image"]
    assert torch.equal(image, kept), "what was given is not written into"
    assert after.dtype == before.dtype == torch.float32
    assert torch.equal(after, before)
    assert isinstance(after, MetaTensor)
    assert torch.equal(after.affine, before.affine)
    assert after.meta["filename_or_obj"] == "a.nii"


@pytest.mark.parametrize(
    ("normalisation", "voxels", "expected"),
    [
        # (x + 175) / 425, clipped
        ("window(-175,250)", (-1024, -175, -90, 37.5, 250, 3071), [0, 0, 0.2, 0.5, 1, 1]),
        ("minmax", (-4, 0, 6, 16), [0, 0.2, 0.5, 1]),
        # of 0, 10 … 100 the 10th percentile is 10, the 90th is 90
        ("percentile(10,90)", tuple(range(0, 101, 10)), [0, *(at / 8 for at in range(9)), 1]),
        # of four voxels the 50th percentile lies halfway between the second and the third
        ("percentile(0,50)", (0, 1, 3, 9), [0, 0.5, 1, 1]),
        ("fixed(40,80)", (-1000, -40, 40, 200), [-13, -1, 0, 2]),
        ("fixed(40,80,-120,200)", (-1000, -40, 40, 2000), [-2, -1, 0, 2]),
        # mean 4, variance (16 + 4 + 4 + 16) / 4 = 10
        ("zscore_volume", (0, 2, 6, 8), [-4 / 10**0.5, -2 / 10**0.5, 2 / 10**0.5, 4 / 10**0.5]),
        ("zscore_nonzero", (0, 0, 2, 6), [0, 0, -1, 1]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int16])
def test_normalised_by_hand(normalisation, voxels, expected, dtype):
    if dtype == torch.int16 and 37.5 in voxels:
        voxels, expected = (-1024, -175, -90, 250, 3071), [0, 0, 0.2, 1, 1]
    assert normalised(normalisation, *voxels, dtype=dtype) == pytest.approx(expected, abs=1e-6)


def test_ct_is_normalised_as_nnunet_does():
    """Its CTNormalization: clip to the percentiles of the foreground, minus their mean, divided by their deviation."""
    voxels = np.random.default_rng(0).integers(-1024, 2000, 500).astype(np.float32)
    reference = (np.clip(voxels, -41.0, 176.0) - 99.4) / 39.36
    assert normalised("fixed(99.4,39.36,-41,176)", *voxels.tolist()) == pytest.approx(reference.tolist(), abs=1e-5)


def test_percentiles_are_those_of_numpy_also_of_large_images():
    image = torch.from_numpy(np.random.default_rng(1).gamma(2, 50, (1, 128, 128, 64)).astype(np.float32))
    low, high = np.percentile(image.numpy(), [0.5, 99.5])
    found = NormaliseImaged("image", "percentile(0.5,99.5)")({"image": image})["image"]
    assert torch.allclose(found, ((image - low) / (high - low)).clamp(0, 1), atol=1e-5)


def test_each_modality_by_itself_and_in_its_own_way():
    image = torch.tensor([[-1000.0, 37.5, 250], [0, 5, 10]]).reshape(2, 3, 1, 1)
    found = NormaliseImaged("image", ["window(-175,250)", "minmax"])({"image": image})["image"]
    assert found.flatten(1).tolist() == [[0, 0.5, 1], [0, 0.5, 1]]
    both = NormaliseImaged("image", "minmax")({"image": image})["image"]
    assert both.flatten(1).tolist() == [[0, pytest.approx(1037.5 / 1250), 1], [0, 0.5, 1]]


@pytest.mark.parametrize("name", ["zscore_volume", "zscore_nonzero", "minmax", "percentile(1,99)"])
def test_what_is_constant_becomes_zero(name):
    assert normalised(name, 7, 7, 7) == [0, 0, 0]


@pytest.mark.parametrize(
    ("normalisation", "voxels", "message"),
    [
        ("zscore_volume", (1, float("nan"), float("inf")), "modality 1 … 2 voxels that are NaN or infinite"),
        ("window(0,1)", (0, float("nan"), 1), "modality 1 … 1 voxels that are NaN"),
        ("window(-175,250)", (1000, 1040, 1300), "values from 1000 to 1300 … window(-175,250) … equal … Hounsfield"),
        ("fixed(40,80,-175,250)", (1000, 1040, 1300), "fixed(40,80,-175,250) … equal"),
        ("percentile(1,50)", (0,) * 99 + (5,), "values from 0 to 5 … percentile(1,50) makes all of them equal"),
    ],
)
def test_what_leaves_nothing_to_see_is_refused(normalisation, voxels, message):
    with pytest.raises(DataError) as raised:
        normalised(normalisation, *voxels)
    mentions(str(raised.value), message)


def test_a_refusal_names_the_file_and_the_modality():
    image = MetaTensor(torch.tensor([[0.0, 1], [500, 600]]).reshape(2, 2, 1, 1), meta={"filename_or_obj": "scans/a.nii"})
    with pytest.raises(DataError, match=r"modality 2 of the case of scans/a\.nii"):
        NormaliseImaged("image", ["minmax", "window(0,100)"])({"image": image})


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'minmax'"):
        NormaliseImaged("image", "min_max")
    with pytest.raises(ConfigError, match="one for each of the 1; got 2"):
        normalised(["minmax", "zscore_volume"], 1, 2)
