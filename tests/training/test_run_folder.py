"""A run folder is opened whole or not at all, and never over another."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
import yaml

from monai_tl.datasets.case_checks import check_split
from monai_tl.datasets.datalist import read_datalist
from monai_tl.errors import ConfigError, DataError
from monai_tl.settings.table import is_true
from monai_tl.training.phase_record import FrozenInterval, write_phases
from monai_tl.training.run_files import refuse_changed_datalist, refuse_existing
from monai_tl.training.run_folder import finish_run, refuse_unknown_ids
from monai_tl.transfer.freeze import frozen_sha256
from monai_tl.transfer.lora import add_lora, merged_state
from monai_tl.transfer.phases import Phase, Schedule
from monai_tl.workflow.merged_config import bundle_config, read_run_config
from tests.conftest import IXI, mentions


def test_a_folder_with_anything_in_it_is_refused(tmp_path):
    assert refuse_existing(tmp_path / "new", resume=False) is False
    assert refuse_existing(tmp_path, resume=False) is False
    (tmp_path / "thesis.docx").touch()
    for resume in (False, True):
        with pytest.raises(ConfigError, match="not a run folder"):
            refuse_existing(tmp_path, resume=resume)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ConfigError, match="first validation"):
        refuse_existing(tmp_path, resume=False)
    (tmp_path / "last.pt").touch()
    with pytest.raises(ConfigError, match="already holds a run.*--resume true"):
        refuse_existing(tmp_path, resume=False)
    assert refuse_existing(tmp_path, resume=True) is True


def test_an_id_that_no_config_has_is_refused_with_the_nearest():
    base = bundle_config(IXI, "train")
    config = yaml.safe_load(base.read_text())
    refuse_unknown_ids(config, base)
    refuse_unknown_ids({**config, "mine": 3, "loss": "$@mine"}, base)  # new, but read
    with pytest.raises(ConfigError, match="nothing.*'learning_rat'.*'learning_rate'"):
        refuse_unknown_ids({**config, "learning_rat": 3}, base)
    with pytest.raises(ConfigError, match="nothing.*'freeze'"):
        refuse_unknown_ids({**config, "freeze": 2}, base)  # transfer.yaml was not merged


def test_a_run_is_resumed_by_true_or_its_text():
    assert (is_true("true"), is_true("False"), is_true(True)) == (True, False, True)
    with pytest.raises(ConfigError, match="resume.*'yes'"):
        is_true("yes")


def test_a_run_folder_records_what_was_done(source, phantoms):
    assert {path.name for path in source.iterdir()} >= {
        "config.yaml",
        "metadata.json",
        "provenance.json",
        "metrics.csv",
        "model.pt",
    }
    config = read_run_config(source)
    assert config["dataset_dir"] == str(phantoms / "ixi")
    assert config["iterations"] == 4
    provenance = json.loads((source / "provenance.json").read_text())
    assert (provenance["format"], provenance["seed"]) == (1, 0)
    assert set(provenance["versions"]) == {"monai_tl", "monai", "torch", "numpy", "python"}
    assert len(provenance["datalist_sha256"]) == 64
    metadata = json.loads((source / "metadata.json").read_text())
    assert metadata["network_data_format"]["inputs"]["image"]["channel_def"] == {"0": "T1", "1": "T2"}
    assert metadata["preprocessing"]["spacing"] == [1.0, 1.0, 1.0]
    rows = (source / "metrics.csv").read_text().splitlines()
    assert rows[0] == "iteration,loss,val_dice,learning_rate,seconds"
    assert [row.split(",")[0] for row in rows[1:]] == ["2", "4"]
    assert list(source.glob("events.out.tfevents.*"))


def test_no_run_no_config(tmp_path):
    with pytest.raises(ConfigError, match="config.yaml"):
        read_run_config(tmp_path)
    with pytest.raises(ConfigError, match="'tran'.*'train'"):
        bundle_config(IXI, "tran")
    with pytest.raises(ConfigError, match="train.yaml"):
        bundle_config(tmp_path, "train")


def test_a_validation_without_any_foreground_is_refused(phantoms):
    data = replace(read_datalist(phantoms / "ixi" / "datalist.json"), regions={"foreground": (99,)})
    with pytest.raises(DataError, match="no validation.*foreground"):
        check_split(data, "validation", ["T1"])


def test_a_training_in_which_no_dice_was_defined_says_so(tmp_path):
    torch.save({"best": {"value": None, "iteration": 0}, "iteration": 4}, tmp_path / "last.pt")
    with pytest.raises(ConfigError, match="model.pt.*Dice.*validation.*last.pt"):
        finish_run(str(tmp_path), torch.nn.Linear(1, 1))


def test_a_run_of_an_earlier_version_is_not_scored_in_another_way(source, tmp_path):
    config = yaml.safe_load((source / "config.yaml").read_text())
    del config["validate"]["crop"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match="version.*validation.*grid"):
        read_run_config(tmp_path)


def test_a_datalist_that_changed_is_not_scored(source, phantoms, tmp_path):
    refuse_changed_datalist(source, str(phantoms / "ixi" / "datalist.json"))
    with pytest.raises(ConfigError, match="training cases"):
        refuse_changed_datalist(source, str(phantoms / "brats" / "datalist.json"))


@pytest.mark.parametrize(("dice", "warned"), [(0.0, True), (0.25, False)])
def test_weights_that_no_validation_chose_are_reported(tmp_path, caplog, dice, warned):
    network = torch.nn.Linear(1, 1)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    torch.save({"best": {"value": dice, "iteration": 2}, "iteration": 4}, tmp_path / "last.pt")
    (tmp_path / "metadata.json").write_text("{}")
    with caplog.at_level("INFO"):
        finish_run(str(tmp_path), network)
    mentions(caplog.text, f"validation Dice {dice:.3f} … 2 of 4")
    assert ("no validation had a Dice above 0" in caplog.text) == warned


@pytest.fixture
def adapted_run(tmp_path):
    """Write a run of a small network with adapters; return its network, its transfer report and its weights."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(OrderedDict(body=torch.nn.Conv3d(4, 4, 3), head=torch.nn.Conv3d(4, 2, 1)))
    add_lora(network, 2)
    report = {"held_sha256": frozen_sha256(network), "stages": {"body": {"state": "frozen"}, "head": {"state": "trained"}}}
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data.normal_()
    torch.save(merged_state(network), tmp_path / "model.pt")
    torch.save({"best": {"value": 0.5, "iteration": 2}, "iteration": 4}, tmp_path / "last.pt")
    (tmp_path / "metadata.json").write_text("{}")
    return network, report, merged_state(network)


def test_a_run_with_adapters_ends_as_an_ordinary_network(tmp_path, adapted_run, caplog):
    network, report, weights = adapted_run
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data.normal_()  # the best weights are not the last ones
    with caplog.at_level("INFO"):
        finish_run(str(tmp_path), network, report)
    mentions(caplog.text, "validation Dice 0.500 … body unchanged")
    assert set(network.state_dict()) == set(weights)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("spoilt", ["the base in memory", "the bias in the file", "the kernel in the file"])
def test_a_frozen_value_that_changed_invalidates_a_run(tmp_path, adapted_run, spoilt):
    network, report, weights = adapted_run
    if spoilt == "the base in memory":
        network.body.parametrizations.weight.original.data[0, 0, 0, 0, 0] += 1e-3
    else:
        name = "body.bias" if "bias" in spoilt else "body.weight"
        torch.save({**weights, name: weights[name] + 0.1 * torch.randn(weights[name].shape)}, tmp_path / "model.pt")
    with pytest.raises(RuntimeError, match="frozen weights have changed"):
        finish_run(str(tmp_path), network, report)


def test_a_run_in_phases_is_finished_only_with_their_proof(tmp_path, caplog):
    """Stages that were frozen for some phases are reported as such, and not as unchanged in ``model.pt``."""
    network = torch.nn.Sequential(OrderedDict(body=torch.nn.Linear(1, 1), head=torch.nn.Linear(1, 1)))
    torch.save(network.state_dict(), tmp_path / "model.pt")
    torch.save({"best": {"value": 0.5, "iteration": 4}, "iteration": 6}, tmp_path / "last.pt")
    (tmp_path / "metadata.json").write_text("{}")
    schedule = Schedule("valley", (Phase(1, 2, ("head",)), Phase(3, 8, ("body", "head"))))
    report = {
        "held_sha256": frozen_sha256(network),
        "stages": {"body": {"state": "frozen until iteration 2"}, "head": {"state": "trained"}},
        "strategy": {"schedule": schedule.as_dict()},
    }
    with pytest.raises(RuntimeError) as missing:
        finish_run(str(tmp_path), network, report)
    mentions(str(missing.value), "phases.csv … 2 phases of 6 … no rows")
    rows = [FrozenInterval(1, 2, "head", "body", "a", "a"), FrozenInterval(3, 6, "body+head", "", "b", "b")]
    write_phases(tmp_path, rows)
    with caplog.at_level("INFO"):
        finish_run(str(tmp_path), network, report)
    mentions(caplog.text, "iterations 1–2: body frozen, unchanged bit for bit … 3–6: nothing frozen … Dice 0.500")
    assert caplog.text.count("unchanged bit for bit") == 1
    assert "had not been trained yet" not in caplog.text
    torch.save({"best": {"value": 0.5, "iteration": 2}, "iteration": 6}, tmp_path / "last.pt")
    finish_run(str(tmp_path), network, report)
    mentions(caplog.text, "the best weights are of iteration 2, in which body had not been trained yet")
