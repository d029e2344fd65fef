"""MedicalNet: the 3D ResNets of Chen et al. with their strides and dilations, composed from MONAI's blocks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from monai.networks.nets.resnet import ResNet, get_inplanes
from torch import Tensor, nn

from monai_tl.errors import ConfigError
from monai_tl.networks.stage_map import StageMap

DEPTHS = {
    10: ("basic", [1, 1, 1, 1]),
    18: ("basic", [2, 2, 2, 2]),
    34: ("basic", [3, 4, 6, 3]),
    50: ("bottleneck", [3, 4, 6, 3]),
    101: ("bottleneck", [3, 4, 23, 3]),
    152: ("bottleneck", [3, 8, 36, 3]),
    200: ("bottleneck", [3, 24, 36, 3]),
}
"""Layers of MedicalNet's networks -> kind of its blocks, and how many there are in each of the four stages."""

DILATED = {"layer3": 2, "layer4": 4}  # MONAI's ResNet halves the resolution there instead


class MedicalNet(ResNet):
    """MedicalNet: a ResNet whose last two stages are dilated, with logits on the grid of the image.

    MONAI's ``ResNet`` has the same weights by name and shape, but another function: its first convolution has stride 1, and
    ``layer3`` and ``layer4`` stride 2 without dilation, where MedicalNet has stride 2, then stride 1 and dilations 2 and 4.
    Weights that were trained with the one are of little use in the other.

    The stages, in order: ``stem`` (7×7×7, stride 2, and a max pooling), ``layer1`` to ``layer4`` and the ``head``, which
    doubles the resolution. The logits, at a quarter of the image's resolution, are interpolated to its grid (trilinear).

    Shapes: ``(batch, in_channels, i, j, k)`` to ``(batch, out_channels, i, j, k)``, any size.

    Source: Chen et al., "Med3D: transfer learning for 3D medical image analysis", 2019, and its code (MIT).

    Example:
        >>> import torch
        >>> from monai_tl import build_network
        >>> network = build_network("MedicalNet", in_channels=1, out_channels=3, depth=10)
        >>> network(torch.randn(1, 1, 24, 20, 16)).shape
        torch.Size([1, 3, 24, 20, 16])
    """

    def __init__(self, in_channels: int, out_channels: int, *, depth: int = 18, shortcut: str = "B") -> None:
        """Build the network and draw its initial weights from torch's global generator.

        Args:
            in_channels: number of modalities; published weights have 1.
            out_channels: number of classes, background included.
            depth: number of layers: 10, 18, 34, 50, 101, 152 or 200.
            shortcut: of blocks that change their number of channels: ``"A"`` (zero channels are appended; 18 and 34 layers of
                the published weights) or ``"B"`` (a 1×1×1 convolution; all others).

        Raises:
            ConfigError: for another depth or shortcut.
        """
        if depth not in DEPTHS or shortcut not in ("A", "B"):
            depths = ", ".join(map(str, DEPTHS))
            raise ConfigError(f"MedicalNet has {depths} layers and shortcuts A or B, not depth={depth}, shortcut={shortcut}")
        kind, layers = DEPTHS[depth]
        super().__init__(
            kind,
            layers,
            get_inplanes(),
            n_input_channels=in_channels,
            conv1_t_stride=2,
            shortcut_type=shortcut,
            feed_forward=False,
            bias_downsample=False,
        )
        for name, dilation in DILATED.items():
            _dilate(self.get_submodule(name), dilation)
        self.conv_seg = nn.Sequential(
            nn.ConvTranspose3d(self.in_planes, 32, kernel_size=2, stride=2),
            nn.BatchNorm3d(32),
            nn.ReLU(inplace=True),
            nn.Conv3d(32, 32, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm3d(32),
            nn.ReLU(inplace=True),
            nn.Conv3d(32, out_channels, kernel_size=1, bias=False),
        )
        layers_of = {name: (name,) for name in ("layer1", "layer2", "layer3", "layer4")}
        self.stage_map = StageMap({"stem": ("conv1", "bn1"), **layers_of, "head": ("conv_seg",)})

    def forward(self, x: Tensor) -> Tensor:
        """Return logits on the image's grid."""
        features = self.maxpool(self.act(self.bn1(self.conv1(x))))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            features = layer(features)
        return nn.functional.interpolate(self.conv_seg(features), size=x.shape[2:], mode="trilinear", align_corners=False)


def _dilate(layer: nn.Module, dilation: int) -> None:
    """Replace the stride of a stage by a dilation of its 3×3×3 convolutions."""
    modules: Iterable[Any] = layer.modules()
    for module in modules:
        if isinstance(module, nn.Conv3d):
            module.stride = (1, 1, 1)
            if module.kernel_size == (3, 3, 3):
                module.dilation = module.padding = (dilation,) * 3
        shortcut = getattr(module, "downsample", None)
        if isinstance(shortcut, partial):  # shortcut A
            module.downsample = partial(shortcut.func, **{**shortcut.keywords, "stride": 1})
