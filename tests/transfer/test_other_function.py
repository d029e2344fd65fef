"""Weights that load strictly into a network that computes something else from them: refused, and named."""

from __future__ import annotations

import pytest
import torch

from monai_tl.errors import TransferError
from monai_tl.networks.build import build_network
from monai_tl.transfer.apply import apply_transfer
from monai_tl.transfer.contract import Contract
from tests.conftest import mentions
from tests.transfer.formats import layouts

CT = Contract(("CT",), (1.5, 1.5, 1.5), "RAS", "zscore_volume", ("background", "liver"))


def target(downsample: str):
    return build_network("SwinUNETR", 1, 2, feature_size=layouts.SIZE, downsample=downsample)


@pytest.fixture
def encoder(tmp_path):
    torch.save(layouts.ssl_swin_vit(layouts.swin_unetr()), tmp_path / "model_swinvit.pt")
    return tmp_path / "model_swinvit.pt"


def test_another_merging_is_refused_and_the_source_s_is_taken(encoder):
    """Every name and shape agrees, so that the naive way loads it without a word."""
    stated = Contract(("CT",), (1.5, 1.5, 1.5), "RAS", "zscore_volume", ("background", "liver"))
    with pytest.raises(TransferError) as raised:
        apply_transfer(target("mergingv2"), encoder, CT, source_contract=stated, fresh="decoder,head")
    mentions(str(raised.value), "PatchMerging becomes PatchMergingV2 in 4 modules", "--network like_source")
    plan = apply_transfer(target("merging"), encoder, CT, source_contract=stated, fresh="decoder,head").plan
    assert len(plan.copied) == 126


def test_an_accepted_difference_is_taken_and_reported(encoder):
    transfer = apply_transfer(target("mergingv2"), encoder, CT, fresh="decoder,head", accept_differences=True)
    assert len(transfer.plan.copied) == 126
    mentions(str(transfer), "PatchMerging becomes PatchMergingV2")
    assert any("PatchMergingV2" in line for line in transfer.report["contract"]["differences"])


@pytest.mark.parametrize("modalities", [("T1", "T2"), ("T2",)])
def test_a_network_that_adds_its_image_to_its_features_is_refused_for_other_modalities(tmp_path, modalities):
    """Every weight would be taken over and reported, and the logits differ by half of their size."""
    t1, other = (Contract(names, (1.0, 1.0, 1.0), "RAS", "zscore_volume", CT.classes) for names in (("T1",), modalities))
    torch.save(build_network("VNet", 1, 2).state_dict(), tmp_path / "source.pt")
    network = build_network("VNet", len(modalities), 2)
    with pytest.raises(TransferError) as raised:
        apply_transfer(network, tmp_path / "source.pt", other, source_contract=t1)
    mentions(str(raised.value), "VNet also adds its image's channels", "--accept_differences")
    assert apply_transfer(build_network("VNet", 1, 2), tmp_path / "source.pt", t1, source_contract=t1).plan.adapted == {}
