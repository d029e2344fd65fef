"""A stand-in for a trained network, whose answer is known: smooth the first modality, shift it, cut at a level."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

KERNEL, BLOCK = 13, 5  # voxels


@pytest.fixture(scope="session")
def smoother(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """A run folder whose network calls foreground where T1's mean z-score over 5×5×5 voxels, 4 mm to the right, is above 0.3.

    To the right, so that a head that reaches it turned gives another answer.
    """
    run = tmp_path_factory.mktemp("smoother") / "run"
    run.mkdir()
    metadata = (source / "metadata.json").read_text()
    (run / "metadata.json").write_text(metadata.replace("zscore_volume", "zscore_nonzero"))
    config = yaml.safe_load((source / "config.yaml").read_text())
    config["network_def"] = {
        "_target_": "torch.nn.Conv3d",
        "in_channels": 2,
        "out_channels": 2,
        "kernel_size": KERNEL,
        "padding": KERNEL // 2,
    }
    config |= {"inference_window": [256] * 3, "precision": "float32", "normalisation": "zscore_nonzero"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    weight = torch.zeros(2, 2, *[KERNEL] * 3)
    weight[1, 0, -BLOCK:, 4:-4, 4:-4] = 10 / BLOCK**3
    torch.save({"weight": weight, "bias": torch.tensor([0.0, -3.0])}, run / "model.pt")
    return run
