"""What becomes of a file's tensors before a network takes them: refused, renamed, converted and reported."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from monai.networks.nets import HighResNet

from monai_tl.errors import TransferError
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.transfer.tensors import count_non_finite, fitted, name_first, refuse_odd_tensors
from tests.conftest import mentions

FILE = Path("a.pt")
NETWORK = {
    "body.weight": torch.zeros(2, 2),
    "body.running_mean": torch.zeros(2),
    "body.num_batches_tracked": torch.tensor(5),
    "head.bias": torch.zeros(2),
}


def changed(**values):
    return {**NETWORK, **{name.replace("__", "."): value for name, value in values.items()}}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_one_value_that_is_not_finite_is_named_and_counted(kind, value):
    weight = torch.tensor([1.0, value, 2.0]).to(kind)
    with pytest.raises(TransferError, match=r"NaN.*infinite.*body.weight \(1 of 3\)"):
        refuse_odd_tensors(changed(body__weight=weight), FILE)


def test_what_holds_no_plain_numbers_is_named():
    odd = {
        "are empty": torch.zeros(0, 2),
        "are complex": torch.zeros(2, dtype=torch.complex64),
        "sparse or": torch.zeros(2, 2).to_sparse(),
        "or without values": torch.zeros(2, device="meta"),
    }
    for message, value in odd.items():
        with pytest.raises(TransferError, match=f"{message}.*head.bias"):
            refuse_odd_tensors(changed(head__bias=value), FILE)
    with pytest.raises(TransferError, match="0.*NaN.*body.running_var"):
        refuse_odd_tensors(changed(body__running_var=torch.tensor([1.0, -1e-6])), FILE)
    refuse_odd_tensors(changed(), FILE)


@pytest.mark.parametrize(
    "prefix", ["model.", "_model.", "net.", "module.model.", "_orig_mod.net.module.", "segmenter.", "a.b.c."]
)
def test_any_prefix_is_stripped_by_fit(prefix):
    own, notes = fitted({prefix + name: value for name, value in NETWORK.items()}, NETWORK, FILE)
    assert own.keys() == NETWORK.keys()
    (note,) = notes
    mentions(note, f"prefix '{prefix}'")


def test_a_network_that_has_a_part_of_that_name_keeps_it():
    network = {f"model.{name}": value for name, value in NETWORK.items()}
    assert fitted(network, network, FILE) == (network, [])


def test_names_without_the_prefix_are_kept():
    own, _ = fitted({"n_averaged": torch.tensor(3), **{f"module.{n}": v for n, v in NETWORK.items()}}, NETWORK, FILE)
    assert own.keys() == {*NETWORK, "n_averaged"}


def test_a_prefix_before_monais_names():
    theirs, ours = HighResNet(3, 1, 2).state_dict(), HighRes3DNet(1, 2, head_norm=True).state_dict()
    own, notes = fitted({f"net.{name}": value for name, value in theirs.items()}, ours, FILE)
    assert own.keys() == ours.keys()
    (note,) = notes
    mentions(note, "prefix 'net.'")


def test_weights_under_two_prefixes_are_refused():
    twice = {f"{prefix}{name}": value for prefix in ("a.", "b.") for name, value in NETWORK.items()}
    with pytest.raises(TransferError, match="holds weights under 'a.' and 'b.'"):
        fitted(twice, NETWORK, FILE)
    assert fitted({"other.weight": torch.zeros(1)}, NETWORK, FILE)[0].keys() == {"other.weight"}, "the plan refuses it"


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_formats_are_converted_and_reported(kind):
    weight = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).to(getattr(torch, kind))
    own, notes = fitted(changed(body__weight=weight), NETWORK, FILE)
    assert torch.equal(own["body.weight"], weight.float())
    assert notes == [f"1 weights converted from {kind} to float32"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.ones(2, dtype=torch.int8), "head.bias \\(int8\\)"),
        (torch.ones(2, dtype=torch.bool), "head.bias \\(bool\\)"),
        (torch.tensor([1e39, 0.0], dtype=torch.float64), r"head.bias \(float64.*float32 holds\)"),
    ],
)
def test_what_cannot_be_converted_is_named(value, message):
    with pytest.raises(TransferError, match=f"{FILE}.*{message}"):
        fitted(changed(head__bias=value), NETWORK, FILE)


def test_counters_may_be_missing_or_of_another_format():
    without = {name: value for name, value in NETWORK.items() if not name.endswith("tracked")}
    own, notes = fitted(without, NETWORK, FILE)
    assert int(own["body.num_batches_tracked"]) == 0
    (note,) = notes
    mentions(note, "1 … num_batches_tracked … 0")
    own, notes = fitted(changed(body__num_batches_tracked=torch.tensor(7.0)), NETWORK, FILE)
    assert (int(own["body.num_batches_tracked"]), notes) == (7, ["1 weights converted from float32 to int64"])
    with pytest.raises(TransferError, match="body.num_batches_tracked.*floating-point"):
        fitted(changed(body__num_batches_tracked=torch.tensor(7.5)), NETWORK, FILE)
    assert "body.num_batches_tracked" not in fitted({"body.weight": torch.zeros(2, 2)}, NETWORK, FILE)[0]


def test_small_helpers():
    assert count_non_finite(torch.tensor([1, 2])) == 0
    assert count_non_finite(torch.tensor([1.0, math.nan]).to(torch.float8_e5m2)) == 1
    assert name_first(["a", "b", "c", "d"]) == "a, b, c, … (4 in all)"
