"""SwinUNETR's settings, inferred from its weights: what all families share whose encoder is a Swin transformer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.transfer.tensors import Weights

PATCH = "swinViT.patch_embed.proj.weight"
BLOCK = "swinViT.layers{}.0.blocks.0"
DEFAULTS: Mapping[str, Any] = {
    "patch_size": 2,
    "depths": [2, 2, 2, 2],
    "num_heads": [3, 6, 12, 24],
    "window_size": 7,
    "mlp_ratio": 4.0,
    "use_v2": False,
    "patch_norm": False,
    "qkv_bias": True,
}
MERGING = (
    "downsample=merging, MONAI's default, is assumed: a SwinUNETR with mergingv2 has weights of the same names and shapes, but "
    "another function"
)


def swin_unetr_spec(weights: Weights) -> NetworkSpec | None:
    """Return the SwinUNETR that weights with its names belong to; None if the encoder's first kernels are not there.

    All settings that change names or shapes are inferred; ``downsample`` does not, and is the default.
    """
    patch, tables = (
        weights.get(PATCH),
        [weights.get(f"{BLOCK.format(k)}.attn.relative_position_bias_table") for k in range(1, 5)],
    )
    hidden = weights.get(f"{BLOCK.format(1)}.mlp.linear1.weight")
    if patch is None or patch.ndim != 5 or hidden is None or any(table is None for table in tables):
        return None
    size, first = patch.shape[0], tables[0]
    assert first is not None
    found = {
        "patch_size": patch.shape[2],
        "depths": [_blocks(weights, stage) for stage in range(1, 5)],
        "num_heads": [table.shape[1] for table in tables if table is not None],
        "window_size": (round(first.shape[0] ** (1 / 3)) + 1) // 2,
        "mlp_ratio": hidden.shape[0] / size,
        "use_v2": any(name.startswith("swinViT.layers1c.") for name in weights),
        "patch_norm": "swinViT.patch_embed.norm.weight" in weights,
        "qkv_bias": f"{BLOCK.format(1)}.attn.qkv.bias" in weights,
    }
    other = {name: value for name, value in found.items() if value != DEFAULTS[name]}
    return NetworkSpec("SwinUNETR", {"feature_size": size, **other, "downsample": "merging"})


def swin_channels(weights: Weights, classes: int = 2) -> tuple[int, int]:
    """Return the numbers of image channels and of classes of a SwinUNETR; ``classes`` if it has no head."""
    head = weights.get("out.conv.conv.weight")
    return weights[PATCH].shape[1], classes if head is None else head.shape[0]


def own_mlp_name(name: str) -> str:
    """Return the name of a weight in MONAI for one of the transformer's original code: ``mlp.fc1`` is ``mlp.linear1``."""
    return re.sub(r"\.mlp\.fc([12])\.", r".mlp.linear\1.", name)


def _blocks(weights: Weights, stage: int) -> int:
    return len({match[1] for name in weights if (match := re.match(rf"swinViT\.layers{stage}\.0\.blocks\.(\d+)\.", name))})
