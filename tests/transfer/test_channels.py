import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv3d

from monai_tl.errors import ConfigError, TransferError
from monai_tl.transfer.channels import adapt_channels, describe_channels

FOUR = ("T1", "T1ce", "T2", "FLAIR")


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("new", ["zero", "frozen"])
def test_a_new_channel_changes_nothing_at_first(new):
    kernel, image = drawn(4, 1, 3, 3, 3), drawn(2, 2, 6, 6, 6)
    adapted = adapt_channels(kernel, ["T1"], ["T1", "T2"], new)
    assert adapted.shape == (4, 2, 3, 3, 3)
    assert torch.equal(adapted[:, :1], kernel)
    assert torch.equal(adapted[:, 1], torch.zeros(4, 3, 3, 3))
    torch.testing.assert_close(conv3d(image, adapted), conv3d(image[:, :1], kernel))


def test_the_mean_of_one_is_half_and_half():
    kernel, image = drawn(4, 1, 3, 3, 3), drawn(2, 1, 6, 6, 6)
    adapted = adapt_channels(kernel, ["T1"], ["T1", "T2"], "mean")
    assert torch.equal(adapted, torch.cat([kernel, kernel], dim=1) / 2)
    torch.testing.assert_close(conv3d(image.expand(-1, 2, -1, -1, -1), adapted), conv3d(image, kernel))


def test_the_mean_keeps_the_response_to_channels_that_are_alike():
    kernel, image = drawn(4, 2, 3, 3, 3), drawn(2, 1, 6, 6, 6)
    adapted = adapt_channels(kernel, ["T1", "T2"], FOUR, "mean")
    responses = [conv3d(image.expand(-1, n, -1, -1, -1), weight) for n, weight in ((4, adapted), (2, kernel))]
    torch.testing.assert_close(*responses)
    torch.testing.assert_close(adapted[:, 0], kernel[:, 0] / 2)
    torch.testing.assert_close(adapted[:, 2], kernel[:, 1] / 2)
    for new in (1, 3):
        torch.testing.assert_close(adapted[:, new], (kernel[:, 0] + kernel[:, 1]) / 4)


def test_channels_go_where_their_name_is():
    kernel = drawn(4, 2, 3, 3, 3)
    adapted = adapt_channels(kernel, ["T1", "T2"], FOUR)
    zero = torch.zeros_like(kernel[:, 0])
    for index, expected in enumerate([kernel[:, 0], zero, kernel[:, 1], zero]):
        assert torch.equal(adapted[:, index], expected)


@pytest.mark.parametrize("new", ["zero", "mean", "frozen"])
def test_other_orders_and_fewer_channels_keep_their_kernels(new):
    kernel = drawn(4, 2, 3, 3, 3)
    assert torch.equal(adapt_channels(kernel, ["T1", "T2"], ["T2", "T1"], new), kernel[:, [1, 0]])
    assert torch.equal(adapt_channels(kernel, ["T1", "T2"], ["T2"], new), kernel[:, [1]])
    assert torch.equal(adapt_channels(kernel, ["T1", "T2"], ["T1", "T2"], new), kernel)


def test_type_is_kept_and_the_source_is_not_changed():
    kernel = drawn(4, 1, 3, 3, 3).half()
    before = kernel.clone()
    adapted = adapt_channels(kernel, ["T1"], ["T1", "T2"], "mean")
    adapted += 1
    assert adapted.dtype == torch.half
    assert torch.equal(kernel, before)


def test_what_cannot_be_adapted_is_refused():
    kernel = drawn(4, 1, 3, 3, 3)
    message = r"no image channel: the source has T1, the target t1, FLAIR;.* --fresh$"
    with pytest.raises(TransferError, match=message):
        adapt_channels(kernel, ["T1"], ["t1", "FLAIR"])
    message = r"^unknown new_channels 'zeros': did you mean 'zero'\? There are: zero, mean, frozen$"
    with pytest.raises(ConfigError, match=message):
        adapt_channels(kernel, ["T1"], ["T1", "T2"], "zeros")


def test_channels_are_described():
    assert describe_channels(["T1", "T2"], ["T2", "FLAIR"]) == {
        "T2": "kernels of source T2",
        "FLAIR": "new: starts at zero",
        "T1": "dropped: the target has no such channel",
    }
    assert describe_channels(["T1", "T2"], FOUR, "mean") == {
        "T1": "kernels of source T1, scaled by 2/4",
        "T1ce": "new: starts at mean of T1,T2, scaled by 2/4",
        "T2": "kernels of source T2, scaled by 2/4",
        "FLAIR": "new: starts at mean of T1,T2, scaled by 2/4",
    }
    assert describe_channels(["T1", "T2"], ["T2", "T1"], "mean") == {
        "T2": "kernels of source T2",
        "T1": "kernels of source T1",
    }
