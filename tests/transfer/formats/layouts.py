"""Published layouts of weights files, made from random weights: names, prefixes and keys around them as in the real files."""

from __future__ import annotations

import re

import torch
from monai.networks.nets import SwinUNETR, vista3d132
from monai.networks.nets.resnet import ResNet, get_inplanes
from torch import Tensor

State = dict[str, Tensor]
SIZE = 12  # feature size of the small SwinUNETR here; the published ones have 48


def seeded(build, *arguments, **settings):
    torch.manual_seed(0)
    return build(*arguments, **settings)


def swin_unetr(**settings) -> SwinUNETR:
    """A SwinUNETR whose biases are random too, so that weights at the wrong place show."""
    network = seeded(SwinUNETR, 1, settings.pop("classes", 14), feature_size=SIZE, **settings)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith(("bias", "bias_table")):
                weight.normal_(0, 0.1)
    return network.eval()


def renamed(state: State, *pairs: tuple[str, str]) -> State:
    """The weights with names changed by patterns, in order."""
    for pattern, new in pairs:
        state = {re.sub(pattern, new, name): value for name, value in state.items()}
    return state


def only(state: State, *beginnings: str) -> State:
    return {name: value for name, value in state.items() if name.startswith(beginnings)}


def ssl_swin_vit(network: SwinUNETR) -> dict:
    """``model_swinvit.pt``: DataParallel's prefix, the transformer's original names, heads of three pretexts."""
    bare = renamed(only(network.state_dict(), "swinViT."), (r"^swinViT\.", ""), (r"\.mlp\.linear(\d)\.", r".mlp.fc\1."))
    heads = {"rotation_head.weight": torch.zeros(4, 16 * SIZE), "rotation_head.bias": torch.zeros(4)}
    heads |= {"contrastive_head.weight": torch.zeros(512, 16 * SIZE), "conv.0.weight": torch.zeros(4, 16 * SIZE, 3, 3, 3)}
    return {"state_dict": renamed({**bare, **heads}, ("^", "module.")), "optimizer": {"state": {}}, "epoch": 7}


def ssl_trainer(network: SwinUNETR, swin: str = "swinViT") -> dict:
    """A file of the pre-training's own trainer."""
    state = {**only(network.state_dict(), "swinViT."), "contrastive_head.weight": torch.zeros(512, 16 * SIZE)}
    return {"state_dict": renamed(state, ("^swinViT", swin))}


def disruptive(network: SwinUNETR) -> dict:
    """``ssl_pretrained_weights.pth``: one more level in the encoder, and a head that reconstructs one channel."""
    state = renamed(network.state_dict(), (r"^swinViT\.(layers\d\.)0\.", r"encoder.\g<1>0.0."), (r"^swinViT\.", "encoder."))
    others = {"encoder.mask_token": torch.zeros(1, SIZE, 1, 1, 1), "encoder.norm.weight": torch.zeros(16 * SIZE)}
    head = {"out.conv.conv.weight": torch.zeros(1, SIZE, 1, 1, 1), "out.conv.conv.bias": torch.zeros(1)}
    return {"model": {**state, **others, **head}}


def suprem_swin(network: SwinUNETR) -> dict:
    """SuPreM: the backbone inside a universal model of 32 prompts; some of its files have no ``out``."""
    prompts = {"precls_conv.0.weight": torch.zeros(48), "organ_embedding": torch.zeros(32, 512)}
    prompts |= {"GAP.0.weight": torch.zeros(768), "controller.weight": torch.zeros(153, 512, 1, 1, 1)}
    state = renamed(network.state_dict(), ("^", "backbone."))
    return {"net": renamed({**state, **prompts}, ("^", "module.")), "epoch": 3}


def voco(network: SwinUNETR, *, decoder: bool) -> dict:
    """VoCo's SSL head files have a student, a teacher and no decoder; version 2 of SwinUNETR."""
    state = network.state_dict() if decoder else only(network.state_dict(), "swinViT.", "encoder")
    state = renamed(state, ("^", "backbone."))
    return {"state_dict": renamed({**state, "student.mlp.0.weight": torch.zeros(2, 2)}, ("^", "module."))}


def genesis(*, head: bool = True) -> State:
    """The U-Net of Models Genesis by hand: two convolutions with ContBatchNorm3d at each resolution."""
    state: State = {}

    def convolution(name: str, inputs: int, outputs: int) -> None:
        state[f"{name}.conv1.weight"] = torch.randn(outputs, inputs, 3, 3, 3)
        for part in ("conv1.bias", "bn1.weight", "bn1.bias", "bn1.running_mean"):
            state[f"{name}.{part}"] = torch.randn(outputs)
        state[f"{name}.bn1.running_var"] = torch.rand(outputs)
        state[f"{name}.bn1.num_batches_tracked"] = torch.tensor(5)

    down = [("down_tr64", 1, 32), ("down_tr128", 64, 64), ("down_tr256", 128, 128), ("down_tr512", 256, 256)]
    for name, inputs, width in down:
        convolution(f"{name}.ops.0", inputs, width)
        convolution(f"{name}.ops.1", width, 2 * width)
    for name, width in (("up_tr256", 512), ("up_tr128", 256), ("up_tr64", 128)):
        state[f"{name}.up_conv.weight"] = torch.randn(width, width, 2, 2, 2)
        state[f"{name}.up_conv.bias"] = torch.randn(width)
        convolution(f"{name}.ops.0", width + width // 2, width // 2)
        convolution(f"{name}.ops.1", width // 2, width // 2)
    if head:
        state["out_tr.final_conv.weight"], state["out_tr.final_conv.bias"] = torch.randn(1, 64, 1, 1, 1), torch.randn(1)
    return state


def medicalnet(depth: int = 10, shortcut: str = "B") -> dict:
    """MedicalNet's files: the names of MONAI's ResNet under DataParallel's prefix, without ``conv_seg``."""
    layers = {10: [1, 1, 1, 1], 18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}[depth]
    kind = "bottleneck" if depth == 50 else "basic"
    settings = {"shortcut_type": shortcut, "feed_forward": False, "bias_downsample": False}
    network = seeded(ResNet, kind, layers, get_inplanes(), n_input_channels=1, **settings)
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.uniform_(0.5, 1.5) if name.endswith("running_var") else buffer.fill_(0)
    return {"state_dict": renamed(network.state_dict(), ("^", "module.")), "optimizer": {}}


def vista3d() -> State:
    return seeded(vista3d132, 16, 1).state_dict()


def damaged(state: State, how: str, name: str) -> State:
    """The weights with one missing, renamed, or of another shape."""
    value = state[name]
    rest = {other: weight for other, weight in state.items() if other != name}
    return {"missing": rest, "renamed": {**rest, f"{name}x": value}, "shape": {**rest, name: value.new_zeros(3, 5)}}[how]
