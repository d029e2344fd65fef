"""Volumes of regions: where each occurs, which are implausible, absent or unlike the cohort's."""

from __future__ import annotations

import numpy as np
import pytest

from monai_tl.errors import ConfigError
from monai_tl.quality.measures import Measures
from monai_tl.quality.outliers import judge
from monai_tl.quality.region_volumes import nowhere_note, plausible_volumes, summarise_regions
from tests.conftest import BRATS, IXI, mentions

CORE, WHOLE = "tumour core", "whole tumour"


def case(number: int, *, on_border: int = 0, cut=(), **ml: float) -> Measures:
    """A case with regions called as the flags, ``_`` for a blank; ``cut`` names the faces that cut the head."""
    regions = {name.replace("_", " "): volume for name, volume in ml.items()}
    faces = {face: 0.9 if face in cut else 0.0 for face in ("left", "right", "back", "front", "bottom", "top")}
    return Measures(
        f"case{number:02}",
        shape=[9, 9, 9],
        spacing=[1, 1, 1],
        orientation="RAS",
        extent=[9, 9, 9],
        ranges={"T1": [0, 1]},
        cut={"T1": faces},
        round_cap={"T1": 0.1},
        foreground_ml=max(regions.values(), default=None),
        regions_ml=regions,
        on_border=on_border,
    )


def reasons(cases, **asked) -> dict[str, tuple[str, ...]]:
    judged, _ = judge(cases, **asked)
    return {one.measures.subject: one.reasons for one in judged if one.reasons}


def test_regions_are_counted_where_they_occur():
    cases = [case(1, liver=1000, spleen=0), case(2, liver=1500, spleen=200), case(3, liver=1400, spleen=0), case(4)]
    liver, spleen, cyst = summarise_regions(cases, {"liver": (5,), "spleen": (1,), "cyst": (23, 24)})
    assert liver == ("liver", (5,), 3, 3, 1400, (1000, 1500)), "the case without a label counts in nothing"
    assert (spleen.cases, spleen.labelled, spleen.median_ml) == (1, 3, 200)
    assert (cyst.cases, cyst.labelled, cyst.median_ml, cyst.range_ml) == (0, 3, None, None)
    mentions(nowhere_note([liver, spleen, cyst]), "none of the 3 labels: cyst (23, 24)")
    assert nowhere_note([liver, spleen]) == ""
    assert nowhere_note(summarise_regions([case(1)], {"liver": (5,)})) == "", "nothing is labelled"


def test_a_region_that_one_case_alone_lacks_is_suspect_and_one_that_several_lack_is_legal():
    cases = [case(n, liver=1000, gallbladder=0 if n < 2 else 30, spleen=0 if n == 5 else 200) for n in range(10)]
    assert reasons(cases) == {"case05": ("spleen is absent; the 9 other cases have it",)}
    assert reasons(cases[2:9]) == {}, "7 cases are too few to call anything usual"


def test_a_volume_is_compared_by_its_ratio_to_the_cohorts_median():
    """Tumours of several times the median are usual in a cohort that varies so; in one that does not, twice is not."""
    varied = np.exp(np.random.default_rng(0).normal(0, 1.2, 20)) * 20
    assert max(varied) / np.median(varied) > 4
    assert reasons([case(n, core=ml) for n, ml in enumerate(varied)]) == {}
    steady = [1000 * (1 + 0.01 * (n % 5)) for n in range(19)]
    small = reasons([case(n, liver=ml) for n, ml in enumerate([*steady, 500])])
    (reason,) = small["case19"]
    mentions(reason, "volume of liver is 500 ml … median 1.02e+03 … robust z of the logarithm -")
    assert reasons([case(n, liver=ml) for n, ml in enumerate([*steady, 800])]) == {}, "a fifth less does not matter"
    assert list(reasons([case(n, liver=ml) for n, ml in enumerate([*steady, 1600])])) == ["case19"]
    absent = [case(n, liver=0 if n > 16 else 1000) for n in range(20)]
    assert reasons(absent) == {}, "volumes are compared where there are any"


def test_volumes_outside_the_plausible_range_are_suspect_with_both_numbers():
    cases = [case(1, core=0.5, whole=50), case(2, core=80, whole=90), case(3, core=250, whole=300), case(4, core=0, whole=9)]
    found = reasons(cases, plausible={"core": (1.0, 200.0)})
    assert found == {
        "case01": ("core of 0.5 ml; plausible are 1 to 200 ml",),
        "case03": ("core of 250 ml; plausible are 1 to 200 ml",),
    }, "an absent region is not implausible"
    assert reasons([case(1, foreground=12)], plausible={"foreground": (3.0, 11.0)}) == {
        "case01": ("the label of 12 ml; plausible are 3 to 11 ml",)
    }


def test_plausible_volumes_are_those_of_the_bundle():
    assert plausible_volumes(IXI, {"foreground": (17, 53)}) == ({"foreground": (3.0, 11.0)}, []), "the class of the bundle"
    both = {"hippocampus": (17, 53), "left hippocampus": (17,)}
    assert plausible_volumes(IXI, both)[0] == {"hippocampus": (3.0, 11.0), "left hippocampus": (1.5, 5.5)}
    found, (note,) = plausible_volumes(IXI, {"hippocampus": (17, 53), "amygdala": (18, 54)})
    assert list(found) == ["hippocampus"]
    mentions(note, "task.yaml … amygdala")


@pytest.mark.parametrize(
    ("bundle", "regions", "facts"),
    [
        (
            IXI,
            {"hipocampus": (17,)},
            "ixi_hippocampus … task.yaml … of hipocampus … 'hippocampus'? … {hipocampus: [",
        ),
        (
            BRATS,
            {"foreground": (1, 4)},
            f"brats_tumour_core … task.yaml … {CORE} … no plausible_ml … {{{CORE}: [",
        ),
        (BRATS, {CORE: (1, 4), WHOLE: (1, 2, 4)}, f"{CORE}, {WHOLE}"),
    ],
)
def test_a_bundle_without_any_plausible_volume_is_refused(bundle, regions, facts):
    with pytest.raises(ConfigError) as refusal:
        plausible_volumes(bundle, regions)
    mentions(str(refusal.value), facts)
    assert "\n" not in str(refusal.value)


def test_a_bundle_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        plausible_volumes(tmp_path / "nowhere", {"hippocampus": (17, 53)})


def test_what_most_cases_have_in_common_is_noted_once():
    """Scans of a part of the body end at the same face, where organs leave the field of view."""
    body = [case(n, liver=1000, on_border=9, cut=("top",)) for n in range(8)]
    odd = case(8, liver=1000, cut=("top", "left"))
    judged, notes = judge([*body, odd])
    assert {one.measures.subject: len(one.reasons) for one in judged if one.reasons} == {"case08": 1}
    mentions(judged[0].reasons[0], "cut at the left of T1's")
    mentions(" ".join(notes), "9 cases … the top of T1 in 9", "border in 8 of 9 cases")
    judged, notes = judge([body[0], *(case(n, liver=1000) for n in range(1, 9))])
    mentions("; ".join(judged[0].reasons), "cut at the top of T1's", "9 foreground voxels")
    assert not [note for note in notes if "border" in note or "face" in note]
