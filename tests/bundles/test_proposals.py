"""Settings proposed from training cases: every number is worked out by hand."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_tl.bundles import proposals, proposed_normalisation, training_costs, training_survey
from monai_tl.bundles.proposals import CONTEXT, REACH, proposals_page, propose
from monai_tl.bundles.proposed_setting import Proposal
from monai_tl.bundles.training_costs import Resources, resources_of
from monai_tl.bundles.training_survey import RegionSizes, Survey, survey_training
from monai_tl.datasets.datalist import Datalist, make_datalist
from monai_tl.errors import DataError
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.networks.stages import stages
from monai_tl.settings.table import problems
from monai_tl.transfer.contract import Contract
from tests.conftest import mentions

CPU = Resources("two CPU cores with bfloat16", False, 4 * 32**3, 3420, 15e-6, 7.5e-6)
GPU = Resources("a card", True, 4 * 96**3, 3420, 51e-9, 0.2e-6)
NAMES = ["spacing", "normalisation", "window", "batch_size", "inference_window", "iterations", "validate_every", "patience"]
PSR = np.array([[0, 0, 3.0, 0], [-1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])  # i to posterior 1 mm, j superior 2, k right 3


def save(path: Path, voxels: np.ndarray, affine: np.ndarray) -> str:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return str(path)


def head(shape: tuple[int, ...] = (12, 10, 8), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 200, shape).astype(np.int16)


def block(shape: tuple[int, ...] = (12, 10, 8), value: int = 1) -> np.ndarray:
    """A label with a block of 4×5×2 voxels."""
    label = np.zeros(shape, np.uint8)
    label[3:7, 2:7, 4:6] = value
    return label


def listed_cases(
    folder: Path, images: dict[str, np.ndarray], labels: dict[str, np.ndarray], affine: Any = PSR, **parts: Any
) -> Datalist:
    cases = [
        {
            "subject": name,
            "T1": save(folder / f"{name}_t1.nii", image, affine),
            "label": save(folder / f"{name}.nii", label, affine),
        }
        for (name, image), label in zip(images.items(), labels.values(), strict=True)
    ]
    return make_datalist(cases, **{"modalities": ["T1"], "regions": {"core": (1,)}, "splits": {"train": [*images]}} | parts)


def one_case(folder: Path, image: np.ndarray | None = None, label: np.ndarray | None = None, **parts: Any) -> Datalist:
    image = head() if image is None else image
    return listed_cases(folder, {"a": image}, {"a": block() if label is None else label}, **parts)


def sizes(extent: Any, width: Any = (10, 10, 10)) -> RegionSizes:
    return RegionSizes(np.array([1.0]), np.array([extent], float), np.array([width], float))


def made(**parts: Any) -> Survey:
    """A survey of 20 cases of 1 mm, heads of 160 mm, with a region of 60×40×30 mm that is 10 mm wide."""
    usual: dict[str, Any] = {
        "cases": 20,
        "validation": 4,
        "spacings": np.ones((20, 3)),
        "shapes": np.full((20, 3), 200),
        "sampled": 1,
        "zeros": {"T1": np.array([0.1])},
        "solid": {"T1": np.array([0.5])},
        "ranges": {"T1": np.array([[0.0, 500.0, 900.0]])},
        "content": np.array([[160.0, 160.0, 160.0]]),
        "regions": {"core": sizes((60, 40, 30))},
        "inside": {"T1": np.array([300.0, 400.0])},
    }
    return Survey(**usual | parts)


def proposed(survey: Survey, name: str, source: Contract | None = None, resources: Resources = CPU) -> Proposal:
    found = propose(SimpleNamespace(), source=source, survey=survey, resources=resources)  # type: ignore[arg-type]
    assert [one.name for one in found] == NAMES
    assert problems({one.name: one.value for one in found}) == []
    return found[NAMES.index(name)]


def contract(spacing: float = 2.0, normalisation: str = "zscore_volume", orientation: str = "RAS") -> Contract:
    return Contract(("T1",), (spacing,) * 3, orientation, normalisation, ("background", "hippocampus"))


# measuring


def test_sizes_are_along_right_anterior_superior(tmp_path):
    survey = survey_training(one_case(tmp_path))
    assert survey.spacings.tolist() == [[3, 1, 2]]
    assert survey.shapes.tolist() == [[8, 12, 10]]
    assert survey.content.tolist() == [[24, 12, 20]]
    core = survey.regions["core"]
    assert core.volumes.tolist() == [pytest.approx(4 * 5 * 2 * 6 / 1000)]
    assert core.extents.tolist() == [[6, 4, 10]]
    assert core.widths.tolist() == [[6, 4, 10]]


def test_a_width_is_the_mean_length_of_runs_and_not_the_extent(tmp_path):
    label = np.zeros((12, 10, 8), np.uint8)
    label[2:4, 2, 2] = 1  # a run of two voxels of 1 mm and one of four: 3 on average
    label[6:10, 2, 2] = 2
    survey = survey_training(one_case(tmp_path, label=label, regions={"both": (1, 2), "large": (2,)}))
    assert survey.regions["both"].extents.tolist() == [[3, 8, 2]]
    assert survey.regions["both"].widths.tolist() == [[3, 3, 2]]
    assert survey.regions["large"].extents.tolist() == [[3, 4, 2]]


def test_zeros_count_in_all_and_those_among_zeros(tmp_path):
    image = head((12, 12, 12))
    image[:6] = 0
    survey = survey_training(one_case(tmp_path, image, block((12, 12, 12))))
    assert survey.zeros["T1"].tolist() == [0.5]
    # zeros that have a next voxel along i: 6 planes of 144, 5 with a next zero; along j and k: 6 × 11 × 12, all with one
    assert survey.solid["T1"].tolist() == [pytest.approx((720 + 2 * 792) / (864 + 2 * 792))]
    assert survey.content[0].tolist() == [36, 6, 24]  # 6 of 12 planes along i, which points to posterior
    image[4, 5, 5] = 7
    survey = survey_training(one_case(tmp_path, image, block((12, 12, 12))))
    assert survey.solid["T1"][0] == pytest.approx((718 + 2 * 790) / (863 + 2 * 791))


def test_an_image_is_scaled_before_it_is_measured(tmp_path):
    data = one_case(tmp_path, (head() - 100).astype(np.int16))
    image = nib.load(data.cases[0]["T1"])
    image.header.set_slope_inter(2, 50)
    scaled = nib.Nifti1Image(np.asanyarray(image.dataobj) * 2.0 + 50, image.affine, image.header)
    nib.save(scaled, tmp_path / "a_t1.nii")
    survey = survey_training(data)
    assert survey.zeros["T1"].tolist() == [0]
    assert survey.ranges["T1"][0, 0] == 50


def test_twenty_of_many_cases_are_read_and_the_headers_of_all(tmp_path, monkeypatch):
    names = [f"case{number:02}" for number in range(39)]
    data = listed_cases(tmp_path, {name: head(seed=3) for name in names}, {name: block() for name in names})
    read = []
    inner = training_survey._voxels
    monkeypatch.setattr(training_survey, "_voxels", lambda case, role: read.append(case["subject"]) or inner(case, role))
    survey = survey_training(data)
    assert (survey.cases, survey.sampled) == (39, 20)
    assert len(survey.spacings) == 39
    assert [*dict.fromkeys(read)] == names[::2]  # both ends, evenly spread
    assert len(read) == 40


def test_validation_and_test_cases_are_not_opened(tmp_path):
    cases = one_case(tmp_path).cases
    other = [{"subject": name, "T1": f"/missing/{name}", "label": f"/missing/{name}"} for name in "bc"]
    splits = {"train": ["a"], "validation": ["b"], "test": ["c"]}
    survey = survey_training(make_datalist([*cases, *other], modalities=["T1"], regions={"core": (1,)}, splits=splits))
    assert (survey.cases, survey.validation) == (1, 1)


# errors


def test_no_training_case(tmp_path):
    with pytest.raises(DataError) as error:
        propose(one_case(tmp_path, splits={"test": ["a"]}))
    mentions(str(error.value), "no split 'train'", "test")


def test_an_unreadable_scan_is_named(tmp_path):
    data = one_case(tmp_path)
    (tmp_path / "a_t1.nii").write_bytes(b"nothing")
    with pytest.raises(DataError) as error:
        propose(data)
    mentions(str(error.value), "a: T1 is not readable", "a_t1.nii")


def test_a_scan_that_ends_early_is_named(tmp_path):
    data = one_case(tmp_path)
    content = (tmp_path / "a_t1.nii").read_bytes()
    (tmp_path / "a_t1.nii").write_bytes(content[:-200])
    with pytest.raises(DataError) as error:
        propose(data)
    mentions(str(error.value), "a: T1 is not readable", "a_t1.nii")


def test_an_image_that_cannot_be_scored_is_named(tmp_path):
    with pytest.raises(DataError) as error:
        propose(one_case(tmp_path, np.full((12, 10, 8), 5, np.int16)))
    mentions(str(error.value), "a: T1 has the same value in every voxel (5)")


def test_no_label_has_any_foreground(tmp_path):
    with pytest.raises(DataError) as error:
        propose(one_case(tmp_path, label=block(value=3), regions={"core": (1,), "whole": (1, 2)}))
    mentions(str(error.value), "no foreground", "1, 2", "1 of 1", "a.nii")


def test_a_label_of_fractions_is_refused(tmp_path):
    with pytest.raises(DataError) as error:
        propose(one_case(tmp_path, label=block().astype(np.float32) * 0.5))
    mentions(str(error.value), "a: label", "not integers", "a.nii")


# spacing


@pytest.mark.parametrize(
    ("spacings", "expected"),
    [
        ([[1, 1, 1], [1, 1, 1], [2, 2, 2]], [1, 1, 1]),
        ([[0.9375, 0.9375, 1.2]] * 3, [0.9375, 0.9375, 1.2]),
        ([[0.98, 1.0, 1.01]] * 2, [1.0, 1.0, 1.0]),  # within 5 %
        ([[0.93750006] * 3] * 2, [0.9375] * 3),  # the rounding of float32
        ([[0.5, 0.5, 1.5]] * 2, [0.5, 0.5, 1.5]),  # three times: as it is
        ([[0.5, 0.5, 3.0]] * 2 + [[0.5, 0.5, 5.0]] * 8, [0.5, 0.5, 3.0]),  # the 10th percentile
        ([[1.0, 1.0, 0.6]] * 2 + [[1.0, 1.0, 5.0]] * 8, [1.0, 1.0, 1.0]),  # not finer than in the plane
    ],
)
def test_spacing(spacings, expected):
    assert proposed(made(spacings=np.array(spacings)), "spacing").value == expected


def test_long_voxels_come_with_an_isotropic_alternative():
    found = proposed(made(spacings=np.array([[0.5, 0.5, 4.0]] * 2)), "spacing")
    mentions(found.reason, "0.5 × 0.5 × 4 mm", "8 times", "nnU-Net")
    mentions(found.check, "8 times", "1 mm")


def test_the_spacing_of_a_source_wins():
    found = proposed(made(), "spacing", contract(2.0))  # 10 mm wide: 5 voxels across
    assert found.value == [2.0, 2.0, 2.0]
    mentions(found.reason, "2 × 2 × 2 mm of the source", "1 × 1 × 1 mm")
    mentions(found.check, "'core' is 5.0 voxels across", "8 times as large")


def test_the_spacing_of_a_source_does_not_win_if_a_region_would_be_lost():
    survey = made(regions={"core": sizes((60, 40, 30)), "rim": sizes((60, 40, 30), (9, 9, 5))})
    found = proposed(survey, "spacing", contract(2.0))
    assert found.value == [1.0, 1.0, 1.0]
    mentions(found.reason, "2 × 2 × 2 mm of the source", "8 times as large", "'rim'", "2.5 voxels across", "3")
    mentions(found.check, '--spacing "[1.0,1.0,1.0]"', "refused")


def test_a_narrow_region_is_no_reason_against_a_spacing_like_its_own():
    survey = made(regions={"rim": sizes((60, 40, 30), (9, 9, 2))})
    found = proposed(survey, "spacing", contract(1.25))  # voxels 1.95 times as large
    assert (found.value, found.check) == ([1.25, 1.25, 1.25], "")


def test_a_finer_source_costs_time():
    found = proposed(made(spacings=np.full((2, 3), 2.0)), "spacing", contract(1.0, orientation="LPS"))
    assert found.value == [1.0, 1.0, 1.0]
    mentions(found.check, "8 times as many voxels", "orientation to LPS")


# normalisation


@pytest.mark.parametrize(
    ("zeros", "solid", "expected"),
    [
        ([0.85, 0.8, 0.9], [0.99, 0.99, 0.98], "zscore_nonzero"),
        ([0.45, 0.4, 0.5], [0.93, 0.95, 0.88], "zscore_volume"),  # air with some noise, as in whole heads
        ([0.02, 0.0, 0.0], [0.0, 0.0, 0.0], "zscore_volume"),
        ([0.25, 0.25, 0.24], [0.97, 0.97, 0.97], "zscore_nonzero"),
    ],
)
def test_normalisation(zeros, solid, expected):
    survey = made(zeros={"T1": np.array(zeros)}, solid={"T1": np.array(solid)}, ranges={"T1": np.zeros((3, 3))})
    assert proposed(survey, "normalisation").value == expected
    mentions(proposed(survey, "normalisation").reason, f"{np.median(zeros):.0%} of T1", f"{np.median(solid):.1%}")


def test_masks_in_some_images_are_reported():
    survey = made(zeros={"T1": np.array([0.8]), "T2": np.array([0.1])}, solid={"T1": np.array([1.0]), "T2": np.array([0.1])})
    survey = replace(survey, ranges={name: np.zeros((1, 3)) for name in ("T1", "T2")})
    found = proposed(survey, "normalisation")
    assert found.value == "zscore_volume"
    mentions(found.check, "T1 was set to 0 in 1 of 1 cases")
    some = made(zeros={"T1": np.array([0.8, 0.8, 0.1])}, solid={"T1": np.ones(3)}, ranges={"T1": np.zeros((3, 3))})
    mentions(proposed(some, "normalisation").check, "2 of 3 cases")


AIR = np.array([[-1024.0, 300, 1200]])


def test_a_ct_is_recognised_and_normalised_by_the_intensities_inside_the_regions():
    """Of 0, 1 … 1000, the mean is 500, the variance (1001² - 1) / 12, the 0.5th percentile 5 and the 99.5th 995."""
    survey = made(ranges={"T1": AIR}, inside={"T1": np.arange(1001.0)})
    found = proposed(survey, "normalisation")
    assert found.value == "fixed(500,289,5,995)"
    mentions(found.reason, "T1 looks like CT (lowest value -1024)", "percentiles 0.5 and 99.5 … regions of 1 case … nnU-Net")
    assert found.check == ""
    assert proposed(made(inside={"T1": np.arange(1001.0)}), "normalisation").value == "zscore_volume", "no air, no CT"
    constant = proposed(made(ranges={"T1": AIR}, inside={"T1": np.full(9, 40.0)}), "normalisation")
    assert constant.value == "zscore_volume", "regions of one intensity have no deviation"


def test_modalities_of_two_kinds_are_normalised_each_in_its_own_way():
    both: dict[str, Any] = {
        "zeros": {"PET": np.array([0.85]), "CT": np.array([0.0])},
        "solid": {"PET": np.array([1.0]), "CT": np.array([0.0])},
        "ranges": {"PET": np.array([[0.0, 5, 9]]), "CT": AIR},
        "inside": {"PET": np.arange(9.0), "CT": np.arange(1001.0)},
    }
    found = proposed(made(**both), "normalisation")
    assert found.value == ["zscore_nonzero", "fixed(500,289,5,995)"]
    mentions(found.reason, "CT looks like CT", "85% of PET")
    source = Contract(("CT",), (1, 1, 1), "RAS", "window(-175,250)", ("background", "liver"))
    theirs = proposed(made(**both), "normalisation", source)
    assert theirs.value == ["zscore_nonzero", "window(-175,250)"], "what is new to the source keeps what the cases suggest"
    mentions(theirs.check, "zscore_nonzero, fixed(500,289,5,995)")


def test_a_coarse_spacing_of_a_source_is_only_taken_if_asked_for():
    survey, coarse = made(regions={"core": sizes((60, 40, 30), (4, 4, 4))}), contract(spacing=2.0)
    values = [
        propose(SimpleNamespace(), source=coarse, survey=survey, resources=CPU, like_source=like)[0].value  # type: ignore[arg-type]
        for like in (False, True)
    ]
    assert values == [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]


def test_a_source_of_which_little_is_known_leaves_the_cases_to_decide():
    unknown = Contract(("T1",), None, None, None, ("background", "liver"))
    assert proposed(made(), "normalisation", unknown) == proposed(made(), "normalisation")
    assert proposed(made(), "spacing", unknown) == proposed(made(), "spacing")


def test_intensities_inside_the_regions_are_those_of_each_case_alike(tmp_path):
    """A large region and a small one: half of the sample is of each."""
    image = np.full((12, 10, 8), -1000, np.int16)
    image[3:7, 2:7, 4:6] = 40
    other = np.full((12, 10, 8), -1000, np.int16)
    other[5, 5, 5] = 140
    small = np.zeros((12, 10, 8), np.uint8)
    small[5, 5, 5] = 1
    survey = survey_training(
        listed_cases(tmp_path, {"a": image, "b": other}, {"a": block(), "b": small}, splits={"train": ["a", "b"]})
    )
    values, counts = np.unique(survey.inside["T1"], return_counts=True)
    assert (values.tolist(), counts.tolist()) == ([40, 140], [10_000, 10_000])
    assert proposed(survey, "normalisation").value == "fixed(90,50,40,140)"


def test_the_normalisation_of_a_source_wins():
    survey = made(zeros={"T1": np.array([0.85])}, solid={"T1": np.array([1.0])})
    found = proposed(survey, "normalisation", contract())
    assert found.value == "zscore_volume"
    mentions(found.reason, "as the source", "85% of T1")
    mentions(found.check, "zscore_nonzero")
    assert proposed(survey, "normalisation", contract(normalisation="zscore_nonzero")).check == ""


def test_images_on_disk_lead_to_a_normalisation(tmp_path):
    masked = head((30, 30, 30))
    masked[:20] = 0
    data = one_case(tmp_path, masked, block((30, 30, 30)))
    assert {one.name: one.value for one in propose(data, resources=CPU)}["normalisation"] == "zscore_nonzero"
    noisy = head((30, 30, 30))
    noisy[:20] *= np.random.default_rng(0).integers(0, 2, (20, 30, 30)).astype(np.int16)
    data = one_case(tmp_path, noisy, block((30, 30, 30)))
    assert {one.name: one.value for one in propose(data, resources=CPU)}["normalisation"] == "zscore_volume"


# window and batch size


def test_context_and_reach_are_those_of_the_network():
    seen, at = 0, {}
    network = HighRes3DNet(1, 2)
    for name in stages(network):
        convolutions = [module for module in network.get_submodule(name).modules() if isinstance(module, torch.nn.Conv3d)]
        seen += sum((module.kernel_size[0] - 1) // 2 * module.dilation[0] for module in convolutions)
        at[name] = seen
    assert (at["res_2"], seen) == (CONTEXT, REACH)


@pytest.mark.parametrize(
    ("parts", "resources", "expected"),
    [
        ({}, GPU, [104, 80, 72]),  # 60 + 38 = 98, 40 + 38 = 78, 30 + 38 = 68, to multiples of 8
        ({"content": np.array([[160.0, 160, 50]])}, GPU, [104, 80, 56]),  # no larger than the head
        ({"spacings": np.full((2, 3), 2.0)}, GPU, [72, 64, 56]),  # 30 + 38, 20 + 38, 15 + 38
        ({"spacings": np.full((2, 3), 2.0), "content": np.array([[80.0, 100, 160]])}, GPU, [40, 56, 56]),
        ({"content": np.array([[40.0, 50, 30]]), "regions": {"core": sizes((20, 20, 20))}}, CPU, [40, 48, 32]),
        ({"regions": {"core": sizes((20, 5, 5)), "other": sizes((5, 30, 8))}}, GPU, [64, 72, 48]),  # the larger along each axis
        (
            {"content": np.array([[160.0, 160, 20]]), "regions": {"core": sizes((150, 150, 18))}},
            CPU,
            [48, 56, 24],
        ),  # few slices
    ],
)
def test_window(parts, resources, expected):
    survey = made(**parts)
    found = propose(SimpleNamespace(), survey=survey, resources=resources)  # type: ignore[arg-type]
    values = {one.name: one.value for one in found}
    assert values["window"] == values["inference_window"] == expected
    assert np.prod(values["window"]) * values["batch_size"] <= resources.step_voxels


def test_a_window_is_cut_to_the_budget_and_this_is_said():
    found = proposed(made(), "window")
    assert found.value == [48, 40, 32]  # least context everywhere is 64×40×32, still too large
    mentions(found.reason, "60 × 40 × 30 mm", "104 × 80 × 72", "65,536 voxels", "two CPU cores")
    mentions(found.check, "80%", "a GPU", "twice the spacing", "'core' is still 5.0 voxels")
    assert "twice" not in proposed(made(), "window", contract(1.0)).check  # the spacing of the source cannot be changed
    assert proposed(made(), "window", resources=GPU).check == ""


def test_the_95th_percentile_counts():
    extents = np.array([[10.0 + case, 10, 10] for case in range(21)])  # 10 to 30: 95 % is 29
    core = RegionSizes(np.ones(21), extents, np.full((21, 3), 9.0))
    assert proposed(made(regions={"core": core}), "window", resources=GPU).value == [72, 48, 48]
    mentions(proposed(made(regions={"core": core}), "window", resources=GPU).reason, "29 × 10 × 10 mm")


@pytest.mark.parametrize(
    ("content", "resources", "expected"),
    [
        (160.0, GPU, 5),  # 3,538,944 / (104 × 80 × 72) = 5.9
        (40.0, GPU, 8),
        (40.0, CPU, 2),  # 131,072 / 40³ = 2.05
        (32.0, CPU, 4),
    ],
)
def test_batch_size(content, resources, expected):
    found = proposed(made(content=np.array([[content] * 3])), "batch_size", resources=resources)
    assert found.value == expected
    mentions(found.reason, f"{resources.step_voxels:,} voxels per step")


# iterations


def schedule(survey: Survey, resources: Resources) -> dict[str, Any]:
    found = propose(SimpleNamespace(), survey=survey, resources=resources)  # type: ignore[arg-type]
    return {one.name: one.value for one in found[5:]}


def test_a_cpu_trains_for_a_quarter_of_an_hour():
    survey = made(content=np.array([[32.0] * 3]))  # four patches of 32³, 1.97 s a step: 457 steps
    assert schedule(survey, CPU) == {"iterations": 450, "validate_every": 45, "patience": 225}
    mentions(
        proposed(survey, "iterations").reason, "1,800 patches", "20 training cases 90 times", "15 min", "about 15 min", "15 µs"
    )


def test_few_cases_need_fewer_iterations():
    survey = made(content=np.array([[32.0] * 3]), cases=1)
    assert schedule(survey, CPU)["iterations"] == 400


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        (5, {"iterations": 2000, "validate_every": 100, "patience": 1000}),
        (105, {"iterations": 4000, "validate_every": 200, "patience": 2000}),  # 200 × 105 / 5 = 4200
        (1000, {"iterations": 10_000, "validate_every": 500, "patience": 5000}),
    ],
)
def test_a_gpu_trains_by_the_number_of_cases(cases, expected):
    assert schedule(made(cases=cases), GPU) == expected


def test_validations_are_fewer_if_they_take_long():
    survey = made(validation=20)  # 160³ voxels × 20 × 7.5 µs = 614 s each
    assert schedule(survey, CPU)["validate_every"] * 4 == schedule(survey, CPU)["iterations"]
    found = proposed(survey, "validate_every")
    mentions(found.reason, "4 validations on 20 cases take about 41 min")
    mentions(found.check, "longer", "fewer cases")
    few = made(validation=1)  # 31 s each: 7 of them are a quarter of 900 s
    mentions(proposed(few, "validate_every").reason, "7 validations on 1 case take about 4 min")
    assert proposed(few, "validate_every").check == ""
    mentions(proposed(made(validation=0), "validate_every").reason, "does not have")


# what a device costs


def test_costs_of_a_cpu(monkeypatch):
    monkeypatch.setattr(training_costs, "has_bfloat16", lambda device: True)
    assert resources_of(torch.device("cpu")) == CPU
    monkeypatch.setattr(training_costs, "has_bfloat16", lambda device: False)
    slow = resources_of(torch.device("cpu"), outputs=4)
    assert (slow.step_voxels, slow.voxel_bytes) == (2 * 32**3, 6740 + 2 * 36)
    assert slow.voxel_seconds == pytest.approx(39e-6)
    mentions(slow.name, "without bfloat16")


@pytest.mark.parametrize(("gib", "expected"), [(80, 4 * 96**3), (8, 2_009_341)])  # 0.8 × 8 GiB / 3420
def test_costs_of_a_gpu_follow_its_memory(monkeypatch, gib, expected):
    card = SimpleNamespace(name="a card", total_memory=gib * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(training_costs, "has_bfloat16", lambda device: True)
    found = resources_of(torch.device("cuda:0"))
    assert (found.name, found.gpu, found.step_voxels) == ("a card", True, expected)


# the page


def test_the_page_has_settings_measurements_and_what_to_check(tmp_path):
    regions = {"core|rim": (1,), "cyst": (2,)}
    data = one_case(tmp_path, regions=regions)
    survey = survey_training(data)
    page = proposals_page(propose(data, survey=survey, resources=CPU), survey)
    settings, cases, checks = page.split("\n## ")
    mentions(settings, "| spacing | `[3.0, 1.0, 2.0]` |", "| patience |")
    mentions(
        cases,
        "1 training case",
        "3 × 1 × 2",
        "8 × 12 × 10",
        "| T1 | 1",
        "| core\\|rim | 1 | 0.24, **0.24**, 0.24 |",
        "| cyst | 0 | – |",
    )
    mentions(checks, "'cyst' is absent in 1 of the 1 labels", "0 validation cases")
    assert all(line.count("|") - line.count("\\|") == 4 for line in settings.splitlines() if line.startswith("|"))


def test_the_page_warns_of_uneven_spacings_and_of_memory():
    uneven = made(spacings=np.array([[1.0, 1, 1]] * 10 + [[1.0, 1, 3]] * 10), cases=500)
    page = proposals_page(propose(SimpleNamespace(), survey=uneven, resources=GPU), uneven)  # type: ignore[arg-type]
    # 160³ mm³ / 2 mm³ = 2,048,000 voxels × 500 cases × 5 bytes = 4.8 GiB
    mentions(page, "Spacings differ: 1 × 1 × 1 mm … 1 × 1 × 3 mm")
    assert "cache_rate" not in page
    large = made(cases=500)
    page = proposals_page(propose(SimpleNamespace(), survey=large, resources=GPU), large)  # type: ignore[arg-type]
    mentions(page, "10 GiB: lower `cache_rate`")  # twice as many
    assert "Spacings differ" not in page


def test_a_page_of_some_proposals_without_a_survey():
    page = proposals_page([Proposal("batch_size", 2, "as measured", "Look.")])
    mentions(page, "| batch_size | `2` | as measured |", "`batch_size`: Look.")
    assert "## The training cases" not in page


def test_the_examples_run(phantoms, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(phantoms)
    monkeypatch.chdir(tmp_path)
    for module in (proposals, proposed_normalisation, training_costs, training_survey):
        found = doctest.testmod(module)
        assert found.attempted
        assert not found.failed
