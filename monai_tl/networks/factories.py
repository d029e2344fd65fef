"""Networks whose MONAI class takes other networks, or prompts: built from numbers of channels and classes alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.networks.nets import DiNTS, SegResNetDS2, TopologyInstance
from monai.networks.nets.vista3d import VISTA3D, ClassMappingClassify, PointMappingSAM
from torch import Tensor


def build_dints(
    in_channels: int,
    out_channels: int,
    *,
    arch_code: Sequence[Any] | None = None,
    node_a: Sequence[Any] | None = None,
    channel_mul: float = 0.5,
    num_blocks: int = 6,
    num_depths: int = 3,
    use_downsample: bool = True,
) -> DiNTS:
    """Build MONAI's ``DiNTS`` from a searched architecture, or with all of its paths.

    Args:
        in_channels: number of image channels.
        out_channels: number of classes.
        arch_code: ``[paths, operations]``, lists of ``num_blocks`` rows, as MONAI's search stores them; None: all of them.
        node_a: which inputs and outputs are used, ``num_blocks + 1`` rows of ``num_depths`` numbers; None: all.
        channel_mul: factor of the numbers of features.
        num_blocks: number of steps.
        num_depths: number of resolutions. An image's size is a multiple of ``2 ** (num_depths + 1)``.
        use_downsample: whether the network computes at half of the image's resolution.
    """
    code = None if arch_code is None else [np.asarray(part) for part in arch_code]
    shape: dict[str, Any] = {"num_blocks": num_blocks, "num_depths": num_depths, "use_downsample": use_downsample}
    space = TopologyInstance(arch_code=code, channel_mul=channel_mul, spatial_dims=3, **shape)
    nodes = None if node_a is None else torch.as_tensor(node_a)
    return DiNTS(space, in_channels, out_channels, use_downsample=use_downsample, node_a=nodes)


class PromptedByAllClasses(VISTA3D):
    """MONAI's ``VISTA3D`` as a network with a fixed list of classes: it is asked for each of them, without points.

    Its weights have the names of ``VISTA3D``; ``class_head.class_embeddings`` has one row for each class. What serves points
    (``point_head``, ``image_encoder.up_layers``) is kept, so that weights can be loaded and stored, and does not run.

    Shapes: ``(batch, in_channels, i, j, k)`` to ``(batch, out_channels, i, j, k)``; a multiple of ``2 ** (levels - 1)`` voxels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, init_filters: int = 48, blocks_down: Sequence[int] = (1, 2, 2, 4, 4)
    ) -> None:
        """Build the network that is published as ``vista3d132``, for ``out_channels`` classes.

        Args:
            in_channels: number of image channels.
            out_channels: number of classes.
            init_filters: number of features at full resolution, also of the embedding of a class.
            blocks_down: number of blocks at each level.
        """
        encoder = SegResNetDS2(
            in_channels=in_channels,
            out_channels=init_filters,
            init_filters=init_filters,
            blocks_down=tuple(blocks_down),
            norm="instance",
        )
        points = PointMappingSAM(feature_size=init_filters, n_classes=512, last_supported=132)
        super().__init__(encoder, ClassMappingClassify(n_classes=out_channels, feature_size=init_filters), points)
        self.classes = out_channels

    def forward(self, input_images: Tensor, *_: Any, **prompts: Any) -> Tensor:
        """Return the logits of all classes."""
        _points, features = self.image_encoder(input_images, with_point=False)
        every = torch.arange(self.classes, device=features.device).unsqueeze(1)
        logits, _embedding = self.class_head(features, every)  # (classes, batch, i, j, k)
        return logits.transpose(0, 1)
