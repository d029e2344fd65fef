import pytest
import torch
from torch import Tensor

from monai_tl.transfer.output_channels import adapt_outputs, by_position, describe_outputs, why_no_output
from tests.conftest import mentions

SIDES = ("background", "left", "right")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(3,), (3, 8, 1, 1, 1)])
def test_channels_go_where_the_name_of_their_region_is(shape):
    weight, initial = drawn(*shape), drawn(4, *shape[1:], seed=1)
    before = weight.clone(), initial.clone()
    adapted = adapt_outputs(weight, initial, SIDES, ("background", "right", "core", "left"))
    for index, expected in enumerate([weight[0], weight[2], initial[2], weight[1]]):
        assert torch.equal(adapted[index], expected)
    adapted += 1
    assert torch.equal(weight, before[0])
    assert torch.equal(initial, before[1])


def test_fewer_channels_and_the_type_of_the_target():
    adapted = adapt_outputs(drawn(3), torch.zeros(2, dtype=torch.half), SIDES, ("background", "right"))
    assert torch.equal(adapted, drawn(3)[[0, 2]].half())


def test_the_probability_of_a_known_region_against_the_background_stays():
    """A softmax over fewer classes: the odds of left to background are those of the source."""
    logits = drawn(3, 5)
    fewer = adapt_outputs(logits, torch.zeros(2, 5), SIDES, SIDES[:2])
    odds = [torch.softmax(of, dim=0) for of in (logits, fewer)]
    torch.testing.assert_close(odds[0][1] / odds[0][0], odds[1][1] / odds[1][0])


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (SIDES, ("background", "right"), ""),
        (("a", "b"), ("b", "c"), ""),
        (SIDES, ("background", "core"), "none of the target's regions (core)"),
        (("a",), ("b", "c"), "none … (b, c)"),
        (SIDES, ("left", "right"), "source's … (softmax) … target's … sigmoid"),
        (("left", "right"), SIDES, "source's … sigmoid … target's … (softmax)"),
    ],
)
def test_channels_are_matched_only_between_outputs_of_one_kind_that_share_a_region(source, target, reason):
    found = why_no_output(source, target)
    if reason:
        mentions(found, reason)
    else:
        assert found == ""


def test_by_position_if_no_region_is_shared():
    assert by_position(("background", "hippocampus"), ("background", "tumour core"))
    assert by_position(("a", "b"), ("c", "d"))
    assert not by_position(SIDES, ("background", "left", "core"))
    assert not by_position(SIDES, ("background", "core"))
    assert not by_position(("background", "a"), ("b", "c"))


def test_classes_on_other_axes():
    """Axis 1 of a transposed convolution; both axes of a convolution between as many channels as classes."""
    target = ("background", "right", "core")
    transposed, initial = drawn(8, 3, 2, 2, 2), drawn(8, 3, 2, 2, 2, seed=1)
    adapted = adapt_outputs(transposed, initial, SIDES, target, (1,))
    assert torch.equal(adapted, torch.stack([transposed[:, 0], transposed[:, 2], initial[:, 2]], dim=1))
    both, initial = drawn(3, 3, 1, 1, 1), drawn(3, 3, 1, 1, 1, seed=1)
    adapted = adapt_outputs(both, initial, SIDES, target, (0, 1))
    assert torch.equal(adapted[:2, :2], both[[0, 2]][:, [0, 2]])
    assert torch.equal(adapted[2], initial[2])
    assert not adapted[:2, 2].any(), "a new class has no influence on those of the source"


def test_outputs_are_described():
    assert describe_outputs(SIDES, ("background", "right", "core")) == {
        "background": "weights of source background",
        "right": "weights of source right",
        "core": "newly initialised: the source has no such region",
        "left": "dropped: the target has no such region",
    }
    assert describe_outputs(("background", "hippocampus"), ("background", "tumour core")) == {
        "background": "weights of source background, by position",
        "tumour core": "weights of source hippocampus, by position",
    }
