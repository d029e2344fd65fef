"""Freezing, for every network and depth: what is frozen stays as it is, bit for bit, and everything else learns.

Two iterations of MONAI's trainer, which calls ``.train()`` in each. Depths: all of them; of networks that take longer, the
first, the middle and the last.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.losses import DiceCELoss
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_tl.networks.known import KNOWN_NETWORKS, unused_weights
from monai_tl.networks.stages import parts_of_stages, stage_weights, stages
from monai_tl.transfer.freeze import freeze, frozen_sha256, frozen_values
from monai_tl.transfer.rates import parameter_groups
from tests.networks.conftest import ALL, SMALL, depths, note_gradient, patch_of, small

RUN_TWICE = {"SegResNetVAE": ("up_", "vae_")}  # its autoencoder, whose loss is not used, runs through the frozen decoder


def train(name: str, network: nn.Module) -> None:
    images = patch_of(name, 1, batch=4)
    labels = (patch_of(name, 1, batch=4) > 0).float()
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        epoch_length=2,
        train_data_loader=DataLoader([{"image": i, "label": j} for i, j in zip(images, labels, strict=True)], batch_size=2),
        network=network,
        optimizer=torch.optim.AdamW(parameter_groups(network, 1e-3, weight_decay=0.1)),
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
        decollate=False,
    ).run()


def test_every_known_network_is_tried():
    assert set(SMALL) == set(KNOWN_NETWORKS)


@pytest.mark.parametrize("name", ALL)
def test_frozen_stages_stay_and_all_others_learn(name):
    for depth in depths(name):
        network = small(name)
        order = stages(network).names
        freeze(network, depth)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        held, flow = frozen_sha256(network), list[tuple[str, bool]]()
        for part, module in parts_of_stages(network.named_modules(), stages(network), order[:depth]).items():
            if not part.startswith(RUN_TWICE.get(name, ("-",))):
                module.register_forward_hook(partial(note_gradient, flow, part))
        train(name, network)
        where = f"{name}, freeze={depth}"
        assert frozen_sha256(network) == held, where
        members = stage_weights(network)
        frozen = {key for stage in order[:depth] for key in members[stage]}
        stored = set(network.state_dict())
        assert frozen == set(frozen_values(network)) & stored, where
        after = network.state_dict()
        assert not [key for key in frozen if not same(after[key], before[key])], where
        assert flow, where
        assert not [part for part, needs in flow if needs], f"{where}: a gradient path through frozen layers"
        gradients = {key: weight.grad is not None for key, weight in network.named_parameters()}
        assert not [key for key in frozen if gradients.get(key)], where
        without = {key for key, gradient in gradients.items() if not gradient and key not in frozen}
        assert without == set(unused_weights(network)) - frozen, where
        learnt = [key for key, gradient in gradients.items() if gradient and not torch.equal(after[key], before[key])]
        assert len(learnt) > 0.6 * sum(gradients.values()), where  # a bias before a normalisation may get a gradient of 0


def same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one.view(-1), other.view(-1))


@pytest.mark.parametrize("name", ["UNet plain", "HighResNet", "VNet"])
def test_the_check_sees_statistics_that_move(name):
    """The same check fails with statistics that follow the data, so it can fail."""
    network = small(name)
    freeze(network, 2, norm="track")
    frozen = {key for stage in stages(network).names[:2] for key in stage_weights(network)[stage]}
    before = {key: value.clone() for key, value in network.state_dict().items()}
    train(name, network)
    moved = {key for key in frozen if not torch.equal(network.state_dict()[key], before[key])}
    assert moved
    assert all(key.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked") for key in moved)
