"""Training with a source's spacing, orientation and normalisation, from the flag to the prediction."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from tests.conftest import BRATS, TINY, mentions


@pytest.fixture
def target(tmp_path):
    """The bundle of the tumour core, at 2 mm, turned to LPS, scaled from 0 to 1."""
    bundle = shutil.copytree(BRATS, tmp_path / "target")
    for name in ("train", "inference"):
        file = bundle / "configs" / f"{name}.yaml"
        text = file.read_text(encoding="utf-8")
        for before, after in (
            ("spacing: [1.0, 1.0, 1.0]", "spacing: [2.0, 2.0, 2.0]"),
            ("orientation: RAS", "orientation: LPS"),
            ("normalisation: zscore_volume", "normalisation: minmax"),
        ):
            assert before in text
            text = text.replace(before, after)
        file.write_text(text, encoding="utf-8")
    return bundle


def flags(source, target, phantoms, run):
    of = {"source": source, "target": target, "dataset_dir": phantoms / "brats", "output": run, "freeze": 2, **TINY}
    return [str(part).replace(" ", "") for name, value in of.items() for part in (f"--{name}", value)]


def test_a_target_like_its_source(verb, source, target, phantoms, tmp_path):
    run = tmp_path / "run"
    given = flags(source, target, phantoms, run)
    answer = verb("transfer", *given)
    assert (answer.code, run.exists()) == (2, False), "the target's own differ"
    answer = verb("transfer", *given, "--like_source")
    assert answer.code == 0, answer.err
    mentions(answer.out, "spacing [1.0, 1.0, 1.0]: as the source's (the target's was [2.0, 2.0, 2.0])", "orientation RAS")
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    taken = {"spacing": [1.0, 1.0, 1.0], "orientation": "RAS", "normalisation": "zscore_volume"}
    assert {name: config[name] for name in taken} == taken
    assert json.loads((run / "metadata.json").read_text(encoding="utf-8"))["preprocessing"] == taken
    answer = verb(
        "predict",
        "--bundle",
        run,
        "--input",
        phantoms / "brats" / "datalist.json",
        "--output",
        tmp_path / "p",
        "--device",
        "cpu",
    )
    assert answer.code == 0, answer.err


def test_what_contradicts_it_is_refused_before_any_work(verb, source, target, phantoms, tmp_path):
    run = tmp_path / "run"
    given = flags(source, target, phantoms, run)
    answer = verb("transfer", *given, "--like_source", "--spacing", "3,3,3")
    assert (answer.code, run.exists()) == (2, False)
    mentions(answer.out, "spacing [3, 3, 3]: as given (the source's is [1.0, 1.0, 1.0])")
    mentions(answer.err, "spacing: source [1.0, 1.0, 1.0], target [3.0, 3.0, 3.0]")
    answer = verb("transfer", "--target", target, "--like_source", "--scratch")
    mentions(answer.err, "take no source: omit --like_source")
    shutil.copytree(source, tmp_path / "bare")
    (tmp_path / "bare" / "metadata.json").unlink()
    answer = verb("transfer", *flags(tmp_path / "bare", target, phantoms, run), "--like_source")
    assert answer.code == 2
    mentions(answer.err, "nothing states what source … omit --like_source")
    assert not run.exists()
