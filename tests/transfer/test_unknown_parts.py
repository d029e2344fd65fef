"""A transfer from a source that states only a part of what it expects, as the bundles of the Model Zoo do."""

import json

import pytest
import torch

from monai_tl.errors import TransferError
from monai_tl.transfer.apply import apply_transfer
from tests.conftest import mentions


@pytest.fixture
def zoo(tiny, run_folder, metadata):
    """Write a source with the metadata of a Zoo bundle: no preprocessing, an unnamed image, named classes."""

    def write(channels=1, named=1):
        folder = run_folder(tiny(channels, seed=1))
        image, pred = (metadata["network_data_format"][side][name] for side, name in (("inputs", "image"), ("outputs", "pred")))
        image |= {"num_channels": channels, "channel_def": {str(at): f"image{at or ''}" for at in range(named)}}
        pred |= {"num_channels": 2, "channel_def": {"0": "background", "1": "hippocampus"}}
        (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
        return folder

    return write


def test_what_is_unknown_stops_a_transfer_by_name(tiny, contract, zoo):
    with pytest.raises(TransferError) as raised:
        apply_transfer(tiny(), zoo(), contract(modalities=["image"]))
    facts = [
        "spacing: source unknown, target [1.0, 1.0, 1.0]",
        "orientation: source unknown, target RAS",
        "normalisation: source unknown, target zscore_volume",
        "metadata.json … preprocessing#spacing",
        "to settle all of these: --accept_differences",
    ]
    mentions(str(raised.value), *facts)


def test_what_is_unknown_is_accepted_and_reported(tiny, contract, zoo):
    target = tiny()
    transfer = apply_transfer(target, zoo(), contract(modalities=["T1"]), rename="image=T1", accept_differences=True)
    assert all(torch.equal(value, tiny(seed=1).state_dict()[name]) for name, value in target.state_dict().items())
    told = json.loads(json.dumps(transfer.report))["contract"]
    assert told["source"]["normalisation"] is None
    assert "normalisation: source unknown, target zscore_volume" in told["differences"]
    mentions(str(transfer), "spacing: source unknown")


def test_what_a_user_knows_completes_it(tiny, contract, zoo):
    known = contract(modalities=["image"])
    transfer = apply_transfer(tiny(), zoo(), known, source_contract=contract(modalities=None, classes=None))
    assert transfer.report["contract"]["differences"] == []


def test_modalities_that_are_not_all_named_are_not_renamed(tiny, contract, zoo):
    """One of two has a name: neither is known."""
    target, source = contract(modalities=["T1", "T2"]), zoo(2, named=1)
    with pytest.raises(TransferError, match="--rename image=T1.*does not name them all"):
        apply_transfer(tiny(2), source, target, rename="image=T1", accept_differences=True)
    known = contract(modalities=None, classes=None)
    with pytest.raises(TransferError, match="modalities: source unknown.*channel_def"):
        apply_transfer(tiny(2), source, target, source_contract=known)
    transfer = apply_transfer(tiny(2), source, target, source_contract=known, accept_differences=True)
    assert "first.conv.weight" in transfer.plan.copied
    assert "modalities: source unknown, target [T1, T2]" in transfer.report["contract"]["differences"]
