"""Number format and memory layout change the speed, not what is computed."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer

from monai_tl.device import MixedPrecisionInferer, choose_device, has_bfloat16, place
from monai_tl.errors import ConfigError
from monai_tl.networks.highres3dnet import HighRes3DNet

CPU = torch.device("cpu")


def test_devices_are_named_or_refused():
    assert choose_device("cpu") == CPU
    with pytest.raises(ConfigError, match="unknown device 'gpu'.*auto, cpu, cuda"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        assert choose_device() == CPU
        with pytest.raises(ConfigError, match="device 'cuda'.*0 GPUs"):
            choose_device("cuda")


def test_bfloat16_is_autocast_and_logits_stay_float32():
    torch.manual_seed(0)
    network = place(HighRes3DNet(2, 2).eval(), CPU)
    image = MetaTensor(torch.rand(1, 2, 9, 10, 11))
    with torch.no_grad():
        exact = MixedPrecisionInferer(SimpleInferer(), CPU, "float32")(image, network)
        rounded = MixedPrecisionInferer(SimpleInferer(), CPU, "bfloat16")(image, network)
        assert torch.equal(exact, network(image.as_tensor()))
    assert exact.dtype == rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert (exact - rounded).norm() / exact.norm() < 0.03  # bfloat16 keeps 8 bits


def test_autocast_training_moves_float32_weights():
    network = place(HighRes3DNet(1, 2), CPU)
    MixedPrecisionInferer(SimpleInferer(), CPU, "bfloat16")(torch.rand(1, 1, 8, 8, 8), network).sum().backward()
    assert {p.dtype for p in network.parameters()} == {p.grad.dtype for p in network.parameters()} == {torch.float32}


def test_auto_takes_what_the_processor_has():
    assert MixedPrecisionInferer(SimpleInferer(), CPU).bfloat16 == has_bfloat16(CPU) == torch.cpu._is_avx512_bf16_supported()
    with pytest.raises(ConfigError, match="unknown precision 'half'.*bfloat16, float32"):
        MixedPrecisionInferer(SimpleInferer(), CPU, "half")


@pytest.mark.parametrize(
    ("size", "kernel", "options"), [(2, 3, {"padding": 1}), (1, 3, {"padding": 1, "stride": 2}), (4, 5, {"padding": 2})]
)
def test_gradients_of_kernels_larger_than_their_image_are_right_in_bfloat16(size, kernel, options):
    """PyTorch's own are uninitialised memory on a CPU with bfloat16; the lowest level of a U-Net has such images."""
    torch.manual_seed(0)
    convolution = torch.nn.Conv3d(64, 64, kernel, bias=False, **options)
    image = torch.randn(1, 64, size, size, size)
    for _ in range(3):
        junk = [torch.full((64 * 64 * kernel**3,), math.nan) for _ in range(3)]  # what uninitialised memory may hold
        del junk
        convolution.zero_grad()
        MixedPrecisionInferer(SimpleInferer(), CPU, "bfloat16")(image, convolution).square().sum().backward()
        ours = convolution.weight.grad.clone()
        convolution.zero_grad()
        convolution(image).square().sum().backward()
        assert torch.allclose(ours, convolution.weight.grad, rtol=1e-2, atol=1e-2 * convolution.weight.grad.abs().max())
