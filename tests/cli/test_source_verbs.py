"""``monai_tl source`` says what a file is and what it is not known to be, without executing anything in it."""

from __future__ import annotations

import json
import os
import pickle
import shlex
import shutil
import time
from pathlib import Path

import pytest
import torch

from monai_tl.networks.build import build_network
from monai_tl.storage.files import sha256_of
from tests.conftest import BRATS, IXI, ROOT, mentions
from tests.transfer.formats import layouts, sidecar_layouts


def facts_of(printed: str) -> dict[str, str]:
    """What stands behind each label, its further lines joined."""
    facts: dict[str, str] = {}
    name = ""
    for line in printed.splitlines():
        name = line[:15].strip() or name
        facts[name] = f"{facts.get(name, '')} {line[15:].strip()}".strip()
    return facts


def test_a_run_is_described(verb, source):
    answer = verb("source", source, "--targets", f"{IXI},{BRATS}")
    assert answer.code == 0
    facts = facts_of(answer.out)
    assert facts["file"] == str(source / "model.pt")
    assert facts["sha256"] == sha256_of(source / "model.pt")
    assert (facts["modalities"], facts["classes"]) == ("2: T1, T2", "2: background, hippocampus")
    assert (facts["spacing"], facts["orientation"], facts["normalisation"]) == ("1 × 1 × 1 mm", "RAS", "zscore_volume")
    assert facts["lacks"] == "nothing"
    assert facts["stages"] == "encoder conv_0, res_1, res_2, res_3, conv_1; head conv_2"
    mentions(facts["target"], f"{IXI}: fits as it is", f"{BRATS}: fits as it is")


def test_what_a_file_does_not_say_is_unknown(verb, tmp_path):
    torch.save(layouts.ssl_swin_vit(layouts.swin_unetr()), tmp_path / "model_swinvit.pt")
    facts = facts_of(verb("source", tmp_path / "model_swinvit.pt", "--targets", ROOT / "bundles/task04_hippocampus").out)
    assert facts["family"] == "SwinViT, self-supervised"
    assert facts["network"] == "SwinUNETR (feature_size=12, downsample=merging)"
    assert facts["flags"] == "--network SwinUNETR --set feature_size=12,downsample=merging"
    assert facts["modalities"] == "1, their names are unknown"
    assert {facts[name] for name in ("classes", "spacing", "orientation", "normalisation")} == {"unknown"}
    assert facts["lacks"] == "decoder, head: --fresh decoder,head"
    mentions(facts["licence"], "not stated")
    mentions(facts["note"], "mergingv2", "4 weights are not used")
    mentions(facts["target"], "fits with --network like_source --accept_differences --fresh decoder,head")


def test_flags_are_on_one_line_to_be_pasted(verb, tmp_path):
    plans, dataset = sidecar_layouts.nnunet_plans(), sidecar_layouts.nnunet_dataset()
    checkpoint = sidecar_layouts.nnunet_checkpoint(sidecar_layouts.nnunet_network(), plans, dataset)
    folder = sidecar_layouts.write_nnunet(tmp_path / "nnunet", checkpoint, plans, dataset)
    target = ROOT / "bundles/task04_hippocampus"
    lines = verb("source", folder, "--targets", target).out.splitlines()
    flags = next(line for line in lines if line.startswith("flags"))[15:]
    assert len(flags) > 120
    assert verb("stages", *shlex.split(flags)).code == 0
    fit = next(line for line in lines if line.startswith("target")).partition("fits with ")[2]
    taken = ["--network", "like_source", "--spacing", "0.5,1.0,3.0", "--accept_differences"]
    assert shlex.split(fit) == [*taken, "--normalisation", "zscore_nonzero", "--rename", "T1=MRI"]


def test_a_target_with_the_same_network_needs_no_other(verb, tmp_path):
    torch.save(build_network("HighRes3DNet", 2, 2).state_dict(), tmp_path / "weights.pt")
    facts = facts_of(verb("source", tmp_path / "weights.pt", "--targets", IXI).out)
    assert facts["network"] == "HighRes3DNet (head_norm=false)"
    mentions(facts["target"], "fits with --accept_differences")
    assert "like_source" not in facts["target"]


def test_the_bundles_at_hand_are_the_targets(verb, tmp_path, monkeypatch):
    torch.save(layouts.genesis(), tmp_path / "genesis.pt")
    monkeypatch.chdir(ROOT)
    answer = verb("source", tmp_path / "genesis.pt")
    facts = facts_of(answer.out)
    assert facts["network"] == "unknown"
    assert facts["target"].count("does not fit") == len(list(Path("bundles").glob("*/configs/train.yaml"))) >= 3
    mentions(facts["licence"], "non-commercial")
    monkeypatch.chdir(tmp_path)
    assert "target" not in facts_of(verb("source", "genesis.pt").out)


def test_it_takes_seconds(verb, tmp_path):
    torch.save(layouts.vista3d(), tmp_path / "vista.pt")
    before = time.process_time()
    assert verb("source", tmp_path / "vista.pt", "--targets", IXI).code == 0
    assert time.process_time() - before < 20


class CreatesAFile:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_nothing_in_it_is_executed(verb, tmp_path):
    (tmp_path / "trap.pt").write_bytes(pickle.dumps({"state_dict": CreatesAFile(tmp_path / "created")}))
    answer = verb("source", tmp_path / "trap.pt")
    assert (answer.code, (tmp_path / "created").exists()) == (2, False)
    mentions(answer.err, "Python objects", "nothing was run")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "source takes one bundle, run folder or weights file; got none"),
        (("a.pt", "b.pt"), "got a.pt b.pt"),
        (("nowhere.pt",), "'nowhere.pt' does not exist"),
        (("nowhere.pt", "--targets", "bundles/none"), "'bundles/none' is not a bundle"),
        (("nowhere.pt", "--target", "bundles/none"), "unknown flag '--target': did you mean 'targets'"),
    ],
)
def test_invalid_input_is_refused_in_one_line(verb, arguments, told):
    answer = verb("source", *arguments)
    assert (answer.code, answer.out) == (2, "")
    mentions(answer.err, told)
    assert len(answer.err.strip().splitlines()) == 1


def test_a_target_that_must_be_evaluated_is_no_reason_to_stop(verb, tmp_path, monkeypatch):
    """One of the bundles at hand may be of another kind; one that was asked for is refused."""
    torch.save(layouts.genesis(), tmp_path / "genesis.pt")
    other = tmp_path / "bundles" / "other" / "configs"
    other.mkdir(parents=True)
    (other / "train.yaml").write_text("network_def: {_target_: UNet}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    mentions(verb("source", "genesis.pt").out, "bundles/other: does not fit", "lacks the id 'modalities'")
    assert verb("source", "genesis.pt", "--targets", "bundles/other").code == 2


def test_code_that_a_run_names_is_not_imported(verb, tmp_path, monkeypatch):
    """Neither a module in the working directory, as after cd into a download, nor a function that would load code."""
    monkeypatch.chdir(tmp_path)
    state = {"body.weight": torch.zeros(2, 1, 1, 1, 1)}
    torch.save(state, "model.pt")
    shutil.copy(ROOT / "bundles/ixi_hippocampus/configs/metadata.json", tmp_path)
    for module in ("trap_net.py", "hubconf.py"):
        Path(module).write_text("open('created', 'w')\nfrom torch.nn import Identity as Net\n")
    for entry in (
        {"network": "trap_net.Net"},
        {"network": "torch.hub.load", "repo_or_dir": ".", "model": "Net", "source": "local"},
    ):
        network = {"_target_": "monai_tl.networks.build.build_network", "in_channels": 1, "out_channels": 2, **entry}
        Path("config.yaml").write_text(json.dumps({"network_def": network}), encoding="utf-8")
        answer = verb("source", ".", "--targets", IXI)
        assert (answer.code, Path("created").exists()) == (0, False)
        facts = facts_of(answer.out)
        assert facts["stages"] == "unknown"
        mentions(answer.out, f"{entry['network']} is a class of its own … not run")
        mentions(facts["target"], "does not fit")
        refused = verb("transfer", "--source", ".", "--target", IXI, "--freeze", "0", "--output", "run")
        assert (refused.code, Path("created").exists()) == (2, False)
