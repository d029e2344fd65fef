"""Networks in the layout of nnU-Net v1, among them STU-Net: weights are read, but no network here has their names."""

from __future__ import annotations

from monai_tl.transfer.formats.family import Family, Opened, Reading
from monai_tl.transfer.formats.nnunet_names import UNTRANSPOSED, along_ijk
from monai_tl.transfer.formats.unwrapping import state_dict_of, unwrapped, without_wrappers
from monai_tl.transfer.tensors import Weights

ENCODER, HEAD = "conv_blocks_context.", "seg_outputs."
OWN_TO_STU_NET = "conv_blocks_context.0.0.conv3.weight"  # the 1×1×1 convolution beside its residual blocks


def _weights(opened: Opened) -> Weights:
    return without_wrappers(state_dict_of(opened.content))


def _is_version_1(opened: Opened) -> bool:
    weights = _weights(opened)
    return all(any(name.startswith(part) for name in weights) for part in (ENCODER, HEAD))


def _is_stu_net(opened: Opened) -> bool:
    return _is_version_1(opened) and OWN_TO_STU_NET in _weights(opened)


def _read_version_1(opened: Opened) -> Reading:
    wrapped, notes = unwrapped(opened.content, opened.path)
    weights, transposed = along_ijk(without_wrappers(wrapped), UNTRANSPOSED)
    names = f"its weights are called {ENCODER}…, {HEAD}… as in nnU-Net v1"
    no_network = (
        f"network: no network here has this layout ({names}); define it in a module of yours (--network my_package.MyNet)"
    )
    return Reading(weights, notes=(*notes, *transposed), remarks=(no_network,))


STU_NET = Family("STU-Net", _is_stu_net, _read_version_1)
VERSION_1 = Family("nnU-Net v1", _is_version_1, _read_version_1)
