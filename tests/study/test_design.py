"""From flags to a plan: what would stop every run is refused before anything is written."""

from __future__ import annotations

import json
import shutil

import pytest

from monai_tl.data.datalist import read_datalist
from monai_tl.errors import ConfigError, DataError, TransferError
from monai_tl.study.design import design, run_settings, write_training_sets
from monai_tl.study.estimate import estimate, format_plan, run_seconds
from tests.conftest import BRATS


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


def test_a_run_has_every_setting(request_of, tmp_path, phantoms, source):
    made = design(request_of(budget="2=8"))
    run = next(run for run in made.study.runs if run.name == "2_n1_seed1")
    settings = run_settings(made.study, run, tmp_path)
    assert settings["datalist"] == str(tmp_path / "datalists" / "seed1_n1.json")
    assert settings["run_dir"] == str(tmp_path / "runs" / "2_n1_seed1")
    told = {key: settings[key] for key in ("seed", "freeze", "source", "iterations", "resume", "dataset_dir", "bundle_root")}
    assert told == {
        **{"seed": 1, "freeze": 2, "source": str(source), "iterations": 8, "resume": True},
        **{"dataset_dir": str(phantoms / "brats"), "bundle_root": str(BRATS)},
    }
    others = {run.settings["iterations"] for run in made.study.runs if run.arm == "scratch"}
    assert others == {4}


@pytest.mark.parametrize(
    ("changed", "error", "told"),
    [
        ({"settings": {"seed": 3}}, ConfigError, "--seed differs from run to run of a study: .* told by --seeds"),
        ({"settings": {"freeze": 3}}, ConfigError, "told by --arms"),
        ({"settings": {"run_dir": "x"}}, ConfigError, "told by --output"),
        ({"settings": {"learning_rat": 1.0}}, ConfigError, "did you mean 'learning_rate'"),
        ({"settings": {"seedz": 3}, "also": ("seeds",)}, ConfigError, "'seedz': did you mean 'seeds'"),
        ({"settings": {"iterations": 3}}, ConfigError, r"iterations \(3\) must be a multiple of validate_every \(2\)"),
        ({"budget": "2=3"}, ConfigError, r"iterations \(3\) must be a multiple"),
        ({"settings": {"spacing": [2.0, 2.0, 2.0]}}, TransferError, "source and target differ in what harms a transfer"),
        ({"settings": {"dataset_dir": "nowhere"}}, DataError, "there is no file .*nowhere.*datalist.json"),
        ({"source": "nowhere"}, TransferError, "source 'nowhere' does not exist"),
        ({"arms": ("7",)}, ConfigError, "7 stages cannot be frozen"),
        ({"sizes": ("S1",)}, DataError, "26 subjects of list 'S1' are not in the training split"),
        ({"lists": "nowhere.json"}, DataError, "there is no file nowhere.json with lists"),
        ({"overlay": "thesiss"}, ConfigError, "has no config 'thesiss'"),
    ],
)
def test_what_no_run_could_do_is_refused_first(request_of, changed, error, told):
    with pytest.raises(error, match=told):
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
    with pytest.raises(ConfigError, match="list_n1.json exists and says something else"):
        write_training_sets(tmp_path, design(request_of(sizes=("most", "few"), lists=str(tmp_path / "lists.json"))))


def test_a_datalist_without_a_test_split_is_refused(request_of, tmp_path, phantoms):
    shutil.copytree(phantoms / "brats", tmp_path / "brats")
    path = tmp_path / "brats" / "datalist.json"
    content = json.loads(path.read_text())
    del content["splits"]["test"], content["sha256"]["test"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="has no test split, and a study needs all three"):
        design(request_of(settings={"dataset_dir": str(tmp_path / "brats")}))


def test_the_plan_tells_the_grid_and_what_it_may_cost(request_of, tmp_path):
    made = design(request_of(sizes=("all",)))
    measured = estimate(made)
    assert measured.device == "cpu"
    assert 0 < measured.step_seconds["2"] < 2 * measured.step_seconds["scratch"] < 20
    run, asked = made.study.runs[0], design(request_of(sizes=("all",), training_dice=True))
    more = run_seconds(run, measured, asked) - run_seconds(run, measured, made)
    assert more == pytest.approx(3 * measured.case_seconds), "three training cases"
    told = format_plan(made, tmp_path, measured, 1)
    assert f"study size in {tmp_path}: 4 runs; seeds 0, 1" in told
    assert "up to 4" in told
    assert "n = 3" in told
    assert not any(tmp_path.iterdir())
