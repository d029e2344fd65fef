"""HighRes3DNet as six named stages, composed from MONAI's blocks."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets.highresnet import HighResBlock
from torch import Tensor, nn

from monai_tl.errors import ConfigError

NORM = ("batch", {"momentum": 0.1, "eps": 1e-5})

# Standard deviation of a standard normal distribution truncated at ±2.
TRUNCATED_STD = 0.87962566103423978

# MONAI's HighResNet numbers its blocks; block n is entry n of this list.
HIGHRESNET_PARTS = (
    "conv_0",
    *(f"res_{stage}.{block}" for stage in (1, 2, 3) for block in range(3)),
    "conv_1",
    "conv_2",
)
HIGHRESNET_KEY = re.compile(r"blocks\.(\d|1[01])\.((?:conv|adn|layers|chn_pad)\..+)")


class HighRes3DNet(nn.Sequential):
    """HighRes3DNet: a compact 3D network that keeps full resolution, with logits on the grid of the image.

    The stages, in order: ``conv_0`` (3×3×3, 16 channels); ``res_1``, ``res_2`` and ``res_3`` (three residual blocks of two
    3×3×3 convolutions each; 16, 32 and 64 channels, dilation 1, 2 and 4); ``conv_1`` (1×1×1, 80 channels) and ``conv_2``
    (1×1×1, the head). BatchNorm and LeakyReLU follow ``conv_0`` and ``conv_1`` and precede each convolution of a residual
    block. If the number of channels grows, the shortcut is padded with zero channels.

    Convolution weights are drawn from a normal distribution truncated at two standard deviations and scaled to a standard
    deviation of √(2 / fan_in) after truncation (He's initialisation, as TensorFlow's variance scaling). Biases start at zero.

    Shapes: ``(batch, in_channels, i, j, k)`` to ``(batch, out_channels, i, j, k)``, any size. The output is raw logits,
    without activation or dropout. The receptive field is 87 voxels along each axis, 43 on either side of the logit's voxel.

    Sources: Li et al., "On the compactness, efficiency, and representation of 3D convolutional networks", IPMI 2017, in
    NiftyNet's version; Kaliyugarasan, "Deep transfer learning in medical imaging", 2019.

    Example:
        >>> import torch
        >>> from monai_tl import HighRes3DNet
        >>> network = HighRes3DNet(in_channels=2, out_channels=2)
        >>> network(torch.randn(1, 2, 12, 10, 8)).shape
        torch.Size([1, 2, 12, 10, 8])
    """

    def __init__(self, in_channels: int, out_channels: int, *, head_norm: bool = False, negative_slope: float = 0.02) -> None:
        """Build the stages and draw their initial weights from torch's global generator.

        Args:
            in_channels: number of modalities.
            out_channels: number of classes, background included.
            head_norm: if True, the head is a convolution without bias and a BatchNorm on the logits, as in the 2019 study;
                if False, a convolution with bias, whose logits are not bounded.
            negative_slope: of LeakyReLU below 0, as in the 2019 study; 0 is ReLU, as in NiftyNet's trained weights.

        Raises:
            ConfigError: if a number of channels is below 1.
        """
        if in_channels < 1 or out_channels < 1:
            raise ConfigError(f"a network needs 1 channel or more in and out, not {in_channels} in, {out_channels} out")
        if not isinstance(head_norm, bool):
            raise ConfigError(f"head_norm takes true or false; got {head_norm!r}")
        head: dict[str, Any] = {"bias": False, "norm": NORM} if head_norm else {"bias": True, "norm": None}
        super().__init__(
            OrderedDict(
                conv_0=_convolution(in_channels, 16, 3, negative_slope),
                res_1=_residual_blocks(16, 16, 1, negative_slope),
                res_2=_residual_blocks(16, 32, 2, negative_slope),
                res_3=_residual_blocks(32, 64, 4, negative_slope),
                conv_1=_convolution(64, 80, 1, negative_slope),
                conv_2=Convolution(3, 80, out_channels, kernel_size=1, act=None, **head),
            )
        )
        _initialise(self)
        self.channels = in_channels, out_channels
        self._again = partial(HighRes3DNet, head_norm=head_norm, negative_slope=negative_slope)

    def rebuild(self, more_inputs: bool, more_outputs: bool) -> HighRes3DNet:
        """Return a network without values that has one image channel or one class more, see `find_ports`."""
        with torch.device("meta"):
            return self._again(self.channels[0] + more_inputs, self.channels[1] + more_outputs)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights with the names of this class or of MONAI's ``HighResNet``; see ``torch.nn.Module.load_state_dict``."""
        return super().load_state_dict(own_names(state_dict), strict, assign)


def own_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of MONAI's ``HighResNet`` with the names of `HighRes3DNet`.

    For example, ``blocks.4.layers.1.…`` becomes ``res_2.0.layers.1.…``. Weights of any other network keep their names. Values
    are not copied. MONAI's network ends in a BatchNorm by default, so it matches a network with ``head_norm=True`` exactly.
    """
    matches = [HIGHRESNET_KEY.fullmatch(name) for name in state_dict]
    return {
        f"{HIGHRESNET_PARTS[int(match[1])]}.{match[2]}" if match and all(matches) else name: value
        for match, (name, value) in zip(matches, state_dict.items(), strict=True)
    }


def names_as_in(network: Mapping[str, Tensor], state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with the names of a network's: of MONAI's ``HighResNet`` if it is one, else with those of `own_names`."""
    own = own_names(state_dict)
    theirs = dict(zip(own_names(network), network, strict=True))
    return {theirs.get(name, name): value for name, value in own.items()}


def _convolution(in_channels: int, out_channels: int, kernel_size: int, slope: float) -> Convolution:
    return Convolution(
        3,
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        adn_ordering="NA",
        act=_activation(slope),
        norm=NORM,
        bias=False,
    )


def _residual_blocks(in_channels: int, out_channels: int, dilation: int, slope: float) -> nn.Sequential:
    return nn.Sequential(
        *(
            HighResBlock(3, channels, out_channels, dilation=dilation, norm_type=NORM, acti_type=_activation(slope))
            for channels in (in_channels, out_channels, out_channels)
        )
    )


def _activation(slope: float) -> tuple[str, dict[str, Any]]:
    # In place is safe here: each activation follows a BatchNorm, whose output is a new tensor that nothing else uses. In-place
    # LeakyReLU has no gradient at slope 0, and ReLU is what it then is.
    return ("leakyrelu", {"negative_slope": slope, "inplace": True}) if slope else ("relu", {"inplace": True})


@torch.no_grad()
def _initialise(network: nn.Module) -> None:
    within_two_std = math.erf(math.sqrt(2))
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            fan_in = module.weight[0].numel()
            std = math.sqrt(2 / fan_in) / TRUNCATED_STD
            # inverse transform sampling: nn.init.trunc_normal_ samples with rejection and takes ten times as long
            module.weight.uniform_(-within_two_std, within_two_std).erfinv_().mul_(math.sqrt(2) * std)
            if module.bias is not None:
                module.bias.zero_()
