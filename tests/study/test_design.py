"""From flags to a plan: what would stop every run is refused before anything is written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_tl.datasets.datalist import read_datalist
from monai_tl.errors import ConfigError, DataError, TransferError
from monai_tl.imaging.scan_io import LoadScand
from monai_tl.storage.cores import cores_at_hand
from monai_tl.study.design import design, run_settings, write_training_sets
from monai_tl.study.estimate import Estimate, estimate, format_plan, run_seconds
from monai_tl.study.request import check_request
from monai_tl.study.study_plan import refuse_changed
from monai_tl.text import in_time
from tests.conftest import BRATS, mentions
from tests.study.conftest import finish


def test_training_sets_are_nested_and_validation_and_test_stay(request_of, tmp_path, phantoms):
    made = design(request_of())
    assert made.study.sizes == (1, 2, 3)
    write_training_sets(tmp_path, made)
    whole = read_datalist(phantoms / "brats" / "datalist.json")
    parts = {run.datalist: read_datalist(tmp_path / run.datalist) for run in made.study.runs}
    assert sorted(parts) == [f"datalists/{name}.json" for name in ("all_n3", "seed0_n1", "seed0_n2", "seed1_n1", "seed1_n2")]
    for name, part in parts.items():
        assert len(part.splits["train"]) == int(name[-6])
        assert {split: part.splits[split] for split in ("validation", "test")} == {
            split: whole.splits[split] for split in ("validation", "test")
        }
        assert part.split_rule["part_of"] == whole.sha256()
    for seed in (0, 1):
        small, large = (set(parts[f"datalists/seed{seed}_n{n}.json"].splits["train"]) for n in (1, 2))
        assert small < large < set(whole.splits["train"])
    again = {name: (tmp_path / name).stat().st_mtime_ns for name in parts}
    write_training_sets(tmp_path, design(request_of(), made.study))
    assert again == {name: (tmp_path / name).stat().st_mtime_ns for name in parts}


def test_volumes_are_measured_once(request_of, monkeypatch):
    made = design(request_of())
    assert set(made.study.volumes_ml) == set(made.data.splits["train"])
    monkeypatch.setattr("monai_tl.study.design.foreground_volumes", None)
    assert design(request_of(), made.study) == made
    assert design(request_of(sizes=("all",))).study.volumes_ml == {}, "nothing is drawn"


def test_volumes_are_of_the_regions_that_are_learned(request_of, tmp_path, phantoms):
    """A datalist of three regions, of which the bundle learns the core: its training sets are drawn as from the core alone."""
    content = json.loads((phantoms / "brats" / "datalist.json").read_text())
    content["regions"] = {"tumour core": [1, 4], "whole tumour": [1, 2, 4]}
    for case in content["cases"]:
        case.update({role: str(phantoms / "brats" / case[role]) for role in ("T1", "T2", "label")})
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    alone = design(request_of()).study.volumes_ml

    def volumes(**settings):
        return design(request_of(settings={"datalist": str(tmp_path / "datalist.json"), **settings})).study.volumes_ml

    assert volumes() == alone
    whole = volumes(classes=["background", "whole tumour"])
    assert all(whole[subject] > alone[subject] for subject in alone)


def test_classes_and_a_loss_that_contradict_are_refused_before_scans_are_read(request_of, tmp_path, phantoms, monkeypatch):
    monkeypatch.setattr("monai_tl.study.design._refuse_bad_cases", None)
    with pytest.raises(ConfigError, match="DiceCELoss.*softmax"):
        design(request_of(settings={"classes": ["tumour core"]}))
    asked = request_of(settings={"classes": ["background", "core", "oedema"]})
    with pytest.raises(ConfigError, match="no region 'core'"):
        check_request(asked, tmp_path / "study")


def test_a_run_has_every_setting(request_of, tmp_path, phantoms, source):
    made = design(request_of(budget="2=8"))
    run = next(run for run in made.study.runs if run.name == "2_n1_seed1")
    settings = run_settings(made.study, run, tmp_path)
    assert settings["datalist"] == str(tmp_path / "datalists" / "seed1_n1.json")
    assert settings["run_dir"] == str(tmp_path / "runs" / "2_n1_seed1")
    chosen = {key: settings[key] for key in ("seed", "freeze", "source", "iterations", "resume", "dataset_dir", "bundle_root")}
    assert chosen == {
        **{"seed": 1, "freeze": 2, "source": str(source), "iterations": 8, "resume": True},
        **{"dataset_dir": str(phantoms / "brats"), "bundle_root": str(BRATS)},
    }
    assert made.study.asked == {"sizes": "1,2,all", "budget": "2=8"}
    others = {run.settings["iterations"] for run in made.study.runs if run.arm == "scratch"}
    assert others == {4}


@pytest.fixture
def broken(tmp_path, phantoms, request_of):
    """Plan over a copy of the phantoms in which something was done to a case's label."""

    def plan(split, mend):
        shutil.copytree(phantoms / "brats", tmp_path / "brats")
        data = read_datalist(tmp_path / "brats" / "datalist.json")
        mend(Path(data.split(split)[0]["label"]))
        return design(request_of(settings={"dataset_dir": str(tmp_path / "brats")}))

    return plan


def test_a_test_case_that_cannot_be_scored_is_found_before_anything_is_trained(broken):
    with pytest.raises(DataError, match="(?s)1 problem.*study's 6 cases.*label.*seg.nii.gz"):
        broken("test", Path.unlink)


def test_a_training_case_without_foreground_is_refused_whichever_seed_would_draw_it(broken):
    def empty(path):
        label = nib.load(path)
        nib.save(nib.Nifti1Image(np.zeros(label.shape, np.uint8), label.affine), path)

    with pytest.raises(DataError, match=r"foreground \(1, 4\): Brats18.*labels"):
        broken("train", empty)


def test_lists_hold_subject_ids(request_of, tmp_path):
    (tmp_path / "lists.json").write_text(json.dumps({"few": ["a", 3]}))
    with pytest.raises(DataError, match="'few'.*quotes"):
        design(request_of(sizes=("few",), lists=str(tmp_path / "lists.json")))
    (tmp_path / "lists.json").write_text(json.dumps({"few": []}))
    with pytest.raises(DataError, match="'few'.*no subject"):
        design(request_of(sizes=("few",), lists=str(tmp_path / "lists.json")))


def test_a_search_that_grows_is_undecided_again(request_of):
    made = design(request_of(kind="depth", arms=(), sizes=("all",), seeds=(0,), rule={"gain": 0.01}))
    decided = replace(made.study, decision={"chosen": "5"})
    asked = {"kind": "depth", "arms": (), "sizes": ("all",), "rule": {"gain": 0.01}}
    assert design(request_of(**asked, seeds=(0,)), decided).study.decision == {"chosen": "5"}
    assert design(request_of(**asked, seeds=(0, 1)), decided).study.decision == {}


def test_no_scan_is_read_but_the_labels_that_are_measured(request_of, monkeypatch):
    monkeypatch.setattr(LoadScand, "__call__", lambda *_: 1 / 0)
    assert design(request_of()).study.runs


def test_metrics_are_those_of_the_target_or_as_asked(request_of):
    assert (design(request_of()).study.metrics, design(request_of()).study.tolerance) == (("dice", "hd95"), 1.0)
    asked = design(request_of(metrics=["nsd", "hd95"], tolerance=2)).study
    assert (asked.metrics, asked.tolerance) == (("dice", "hd95", "nsd"), 2), "Dice always, and in one order"


def test_what_runs_are_scored_by_is_part_of_the_plan(request_of):
    made = design(request_of())
    evaluate, untrained = made.study.evaluation
    assert evaluate.endswith("evaluate.yaml")
    assert untrained.endswith("untrained.yaml")
    other = replace(made.study, evaluation={**made.study.evaluation, evaluate: "0" * 64})
    with pytest.raises(ConfigError, match="evaluate.yaml.*0000"):
        refuse_changed(Path("study"), other, made.study)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"settings": {"seed": 3}}, ConfigError, "--seed.*--seeds"),
        ({"settings": {"freeze": 3}}, ConfigError, "--arms"),
        ({"settings": {"run_dir": "x"}}, ConfigError, "--output"),
        ({"settings": {"learning_rat": 1.0}}, ConfigError, "'learning_rate'"),
        ({"settings": {"seedz": 3}, "also": ("seeds",)}, ConfigError, "'seedz'.*'seeds'"),
        ({"settings": {"iterations": 3}}, ConfigError, r"iterations \(3\).*validate_every \(2\)"),
        ({"budget": "2=3"}, ConfigError, r"iterations \(3\)"),
        ({"settings": {"spacing": [0.9, 0.9, 0.9]}}, TransferError, "spacing: source.*target"),
        ({"settings": {"dataset_dir": "nowhere"}}, DataError, "nowhere.*datalist.json"),
        ({"source": "nowhere"}, TransferError, "'nowhere'"),
        ({"arms": ("7",)}, ConfigError, "7 stages cannot be frozen"),
        ({"sizes": ("S1",)}, DataError, "26 subjects.*'S1'.*split"),
        ({"lists": "nowhere.json"}, DataError, "nowhere.json.*lists"),
        ({"metrics": ["nds"]}, ConfigError, "metrics takes .*nsd.*'nds'"),
        ({"tolerance": 0}, ConfigError, "tolerance takes .*mm.* 0"),
        ({"tolerance": [1, 2], "metrics": ["nsd"]}, ConfigError, "tolerance has 2 values, but there are 1 regions"),
        ({"overlay": "thesiss"}, ConfigError, "'thesiss'"),
        ({"sizes": ("nan",)}, ConfigError, "size.*list's.*'nan'"),
        ({"settings": {"modalities": ["T1", "FLAIR"]}}, DataError, "'FLAIR'.*datalist.json"),
        ({"settings": {"device": "cuda:99"}}, ConfigError, "device 'cuda:99'.*GPUs"),
        (
            {"settings": {"patience": -5, "batch_size": 0}},
            ConfigError,
            r"2 settings.*:\s+patience.*\s+batch_size",
        ),
        (
            {"settings": {"scheduler#warmup_multiplier": 2}},
            ConfigError,
            "ValueError: warmup_multiplier",
        ),
        ({"settings": {"precision": "float16"}}, ConfigError, "unknown precision 'float16'.*'bfloat16'"),
    ],
)
def test_what_no_run_could_do_is_refused_first(request_of, changed, error, message):
    with pytest.raises(error, match=message):
        design(request_of(**changed))


def test_named_lists(request_of, tmp_path, phantoms):
    train = list(read_datalist(phantoms / "brats" / "datalist.json").splits["train"])
    (tmp_path / "lists.json").write_text(json.dumps({"few": train[:1], "most": train[:2], "test": ["other"]}))
    made = design(request_of(sizes=("most", "few"), lists=str(tmp_path / "lists.json")))
    write_training_sets(tmp_path, made)
    assert [size.subjects for size in made.sizes] == [tuple(train[:1]), tuple(train[:2])]
    assert {run.datalist for run in made.study.runs} == {"datalists/list_n1.json", "datalists/list_n2.json"}
    assert made.study.asked == {"sizes": "most,few", "lists": str(tmp_path / "lists.json")}
    (tmp_path / "lists.json").write_text(json.dumps({"few": train[1:2], "most": train[:2]}))
    with pytest.raises(ConfigError, match="list_n1.json exists"):
        write_training_sets(tmp_path, design(request_of(sizes=("most", "few"), lists=str(tmp_path / "lists.json"))))


def test_a_datalist_without_a_test_split_is_refused(request_of, tmp_path, phantoms):
    shutil.copytree(phantoms / "brats", tmp_path / "brats")
    path = tmp_path / "brats" / "datalist.json"
    content = json.loads(path.read_text())
    del content["splits"]["test"], content["sha256"]["test"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="test split"):
        design(request_of(settings={"dataset_dir": str(tmp_path / "brats")}))


def test_the_plan_shows_the_grid_and_its_possible_cost(request_of, tmp_path):
    made = design(request_of(sizes=("all",)))
    measured = estimate(made)
    assert measured.device == "cpu"
    assert 0 < measured.step_seconds["2"] < 2 * measured.step_seconds["scratch"] < 20
    run, asked = made.study.runs[0], design(request_of(sizes=("all",), training_dice=True))
    more = run_seconds(run, measured, asked) - run_seconds(run, measured, made)
    assert more == pytest.approx(3 * measured.case_seconds), "three training cases"
    printed = format_plan(made, tmp_path, measured, 1)
    mentions(printed, f"size … {tmp_path}: 4 runs; seeds 0, 1")
    assert "up to 4" in printed
    assert "n = 3" in printed
    assert not any(tmp_path.iterdir())


def test_the_plan_s_upper_bound(request_of, tmp_path):
    """Never less than the longest run; of runs that are trained only what is left to score; a size's own training cases."""
    made = design(request_of(sizes=("1", "all"), seeds=(0,), training_dice=True))
    measured = Estimate("cpu", {"scratch": 60.0, "2": 60.0}, 300.0, 2)
    printed = format_plan(made, tmp_path, measured, 8)
    one, three = ((4 * 60 + (2 * 1 + 2 + n) * 300) / 60 for n in (1, 3))
    mentions(printed, f"1 × {one:.0f} … 1 × {three:.0f}")
    at_once = min(8, max(cores_at_hand() // made.study.threads, 1))
    mentions(printed, f"{in_time(60 * max(2 * (one + three) / at_once, three))} … 8")
    alone = design(request_of(sizes=("all",), seeds=(0,), arms=("scratch",), parallel=1000))
    assert f"at most {in_time(240 + 4 * 300)} on cpu, 8 at a time" in format_plan(alone, tmp_path, measured, 8)
    for run in made.study.runs:
        finish(tmp_path, run, [0.5])
    assert f"at most {in_time(2 * (1 + 3) * 300)} on cpu" in format_plan(made, tmp_path, measured, 1)
    assert f"at most {in_time(2 * (1 + 3) * 300)} on cuda:0" in format_plan(
        made, tmp_path, replace(measured, device="cuda:0"), 8
    )
