"""How to predict is read from the run, in its bundle's inference.yaml."""

from __future__ import annotations

import shutil

import pytest
import torch
import yaml

from monai_tl.errors import ConfigError, TransferError
from monai_tl.inference.model import find_model
from tests.conftest import IXI


def test_a_run_predicts_as_it_was_validated(source, tmp_path):
    run = shutil.copytree(source, tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["image_transforms"].append({"_target_": "ScaleIntensityd", "keys": "image"})
    config["validate"]["crop"]["margin"] = 7
    config["validate"]["inferer"]["inferer"]["mode"] = "constant"
    config["inference_overlap"] = 0.6
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    model = find_model(str(run))
    assert model.part("inference_window") == [16, 16, 16], "as it was trained, which is what it was validated in"
    assert [type(t).__name__ for t in model.part("preprocessing").transforms][-2:] == ["ScaleIntensityd", "CropForegroundd"]
    assert model.part("crop").cropper.margin == 7
    assert (model.part("inferer").inferer.mode, model.part("inferer").inferer.overlap) == ("constant", 0.6)
    stored = torch.load(run / "model.pt", weights_only=True)
    assert all(torch.equal(value, stored[name]) for name, value in model.part("network").state_dict().items())


def test_a_bundles_models_folder_is_the_run_that_trained_it(source, tmp_path):
    bundle = shutil.copytree(IXI, tmp_path / "bundle", ignore=shutil.ignore_patterns("models"))
    with pytest.raises(TransferError, match="holds no weights"):
        find_model(str(bundle))
    (bundle / "models").mkdir()
    shutil.copy(source / "model.pt", bundle / "models")
    assert find_model(str(bundle)).part("inference_window") == [32, 32, 32], "of inference.yaml: weights alone do not record it"
    shutil.copy(source / "config.yaml", bundle / "models")
    assert find_model(str(bundle)).part("inference_window") == [16, 16, 16]


def test_what_is_neither_run_nor_bundle(source, tmp_path):
    with pytest.raises(ConfigError, match="neither.*run.*bundle"):
        find_model(str(tmp_path))
    run = shutil.copytree(source, tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "bundle_root": "/gone"}))
    with pytest.raises(ConfigError, match="/gone.*--bundle_root"):
        find_model(str(run))
    assert find_model(str(run), bundle_root=str(IXI)).part("classes") == ["background", "hippocampus"]
    (run / "model.pt").unlink()
    with pytest.raises(TransferError, match="holds no weights"):
        find_model(str(run), bundle_root=str(IXI))


def test_unknown_ids_and_devices(source):
    model = find_model(str(source))
    with pytest.raises(ConfigError, match="unknown.*'inference_windows'.*'inference_window'"):
        model.set({"inference_windows": [1, 1, 1]})
    with pytest.raises(ConfigError, match="device 'cuda:9'.*0 GPUs"):
        model.set({"device": "cuda:9"})
