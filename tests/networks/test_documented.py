"""The table of ``docs/networks.md``: each row is a network's, and holds.

After a change: MONAI_TL_WRITE_DOCS=1 pytest tests/networks/test_documented.py
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import torch
import yaml
from filelock import FileLock
from torch import nn

from monai_tl.networks.build import build_network
from monai_tl.networks.known import KNOWN_NETWORKS, unused_weights
from monai_tl.networks.ports import find_ports
from monai_tl.networks.stages import stages
from monai_tl.storage.files import write_text
from monai_tl.transfer.apply import apply_transfer
from monai_tl.transfer.contract import Contract, describe
from monai_tl.transfer.lora import add_lora, merged_state
from monai_tl.workflow.network_entry import network_def_of
from tests.conftest import ROOT
from tests.networks.conftest import SMALL, depths, patch_of, small
from tests.transfer.conftest import METADATA

PAGE = ROOT / "docs" / "networks.md"
NO_META = ("DiNTS", "SwinUNETR")  # whose classes compute while they are built
REPEATS_ITS_INPUT = ("VNet",)
T1, TWO = ("T1",), ("T1", "T2")


@pytest.mark.parametrize("name", KNOWN_NETWORKS)
def test_each_row_holds(name, tmp_path, shared):
    freeze = depths(name)  # which test_freeze_all proves
    cells = (
        f"`{name}`",
        stages_of(name),
        str(len(find_ports(small(name)).inputs)),
        heads(small(name, out_channels=3)),
        f"1–{freeze[-1]}" if len(freeze) == freeze[-1] else ", ".join(map(str, freeze)),
        lora(name),
        transferred(name, tmp_path),
    )
    row = f"| {' | '.join(cells)} |"
    with FileLock(shared / "networks.lock"):
        lines = PAGE.read_text(encoding="utf-8").splitlines()
        if os.environ.get("MONAI_TL_WRITE_DOCS") and row not in lines:
            at = next((at for at, line in enumerate(lines) if line.startswith(f"| `{name}` |")), None)
            if at is None:
                lines.insert(max(at for at, line in enumerate(lines) if line.startswith("|")) + 1, row)
            else:
                lines[at] = row
            write_text(PAGE, "\n".join(lines) + "\n")
    assert row in lines, f"{row}\nis not in {PAGE}: MONAI_TL_WRITE_DOCS=1 pytest tests/networks/test_documented.py"


def test_no_row_is_of_another_network():
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == list(KNOWN_NETWORKS)


def stages_of(name: str) -> str:
    """Return the stages with the settings that the network has by default: ``enc_0–enc_3, bottleneck, …``."""
    with torch.device("cpu" if name in NO_META else "meta"):
        names = stages(build_network(name, 1, 2)).names
    runs: list[list[str]] = []
    for stage in names:
        word = stage.rstrip("0123456789")
        if runs and word != stage and runs[-1][-1].rstrip("0123456789") == word:
            runs[-1].append(stage)
        else:
            runs.append([stage])
    return f"{len(names)}: " + ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def heads(network: nn.Module) -> str:
    """Return the kernels that count classes, with their axis if it is not the first."""
    weights = network.state_dict()
    kernels = [key for key in weights if key.endswith("weight") and weights[key].ndim > 1]
    outputs = {key: axes for key, axes in find_ports(network).outputs.items() if key in kernels}
    shown = sorted({"" if axes == (0,) else f" (axis {' and '.join(map(str, axes))})" for axes in outputs.values()})
    return f"{len(outputs)}{''.join(shown)}"


def lora(name: str) -> str:
    """Return ``yes`` if every adapter gets a gradient and an ordinary network comes out."""
    network = small(name)
    for module in network.modules():
        if isinstance(module, nn.InstanceNorm3d) and module.affine:
            nn.init.ones_(module.weight)
    ordinary, idle = list(network.state_dict()), set(unused_weights(network))
    adapters = add_lora(network, 2)
    network.train()(patch_of(name, 1, batch=2)).square().mean().backward()
    for key in adapters.ranks.keys() - idle:
        up = network.get_submodule(key.removesuffix(".weight")).parametrizations.weight[0].up
        assert up.grad is not None, key
        assert up.grad.any(), key
    assert list(merged_state(network)) == ordinary
    return "yes"


def transferred(name: str, folder: Path) -> str:
    """Return how a network of T1 and 2 classes starts as one of T1, T2 and 3 classes, and check it."""
    source, target = small(name), small(name, in_channels=2, out_channels=3)
    torch.save(source.state_dict(), folder / "model.pt")
    contracts = [
        Contract(modalities, (1.0, 1.0, 1.0), "RAS", "zscore_volume", classes)
        for modalities, classes in ((TWO, ("background", "left", "right")), (T1, ("background", "left")))
    ]
    (folder / "metadata.json").write_text(json.dumps(describe(METADATA, contracts[1])), encoding="utf-8")
    network_def = network_def_of({"name": name, **SMALL[name][0]})  # as a run folder of ours states it
    (folder / "config.yaml").write_text(yaml.safe_dump({"network_def": network_def}), encoding="utf-8")
    fresh = ["vae"] if name == "SegResNetVAE" else "none"
    accept = name in REPEATS_ITS_INPUT
    transfer = apply_transfer(target, folder, contracts[0], fresh=fresh, accept_differences=accept)
    ports = find_ports(target)
    assert {*transfer.plan.adapted, *transfer.plan.copied, *transfer.plan.fresh} >= {*ports.inputs, *ports.outputs}
    assert not transfer.plan.fresh or all(key.startswith("vae_") for key in transfer.plan.fresh)
    image = patch_of(name, 2)
    with torch.no_grad():
        before, after = source.eval()(image[:, :1]), target.eval()(image)
    same = torch.allclose(after[:, :2], before, rtol=1e-5, atol=1e-5)
    assert same == (name not in REPEATS_ITS_INPUT)
    assert not torch.equal(after[:, 2], after[:, 1])
    return "weights only" if not same else "with `--fresh vae`" if fresh == ["vae"] else "yes"
