"""Losses for regions that overlap, and for labels of which a part counts nowhere."""

from __future__ import annotations

import torch
from monai.losses import DiceLoss
from torch import Tensor, nn

from monai_tl.errors import ConfigError
from monai_tl.imaging.label_encoding import IGNORED

SURE = 1e4  # a logit at which neither softmax nor sigmoid have a gradient, in float32 and in bfloat16


class DiceBCELoss(nn.Module):
    """Dice loss and binary cross-entropy of a sigmoid per region, as nnU-Net has it for the regions of BraTS.

    MONAI's ``DiceCELoss`` with ``sigmoid`` takes a softmax over the regions in its cross-entropy, which overlapping regions
    contradict.

    Source: Isensee et al., "nnU-Net for brain tumor segmentation", 2020.

    Example:
        >>> import torch
        >>> from monai_tl.training.losses import DiceBCELoss
        >>> masks = torch.tensor([[1.0, 1.0], [0.0, 1.0]]).reshape(1, 2, 2, 1, 1)
        >>> round(float(DiceBCELoss()(20 * (2 * masks - 1), masks)), 4)
        0.0
    """

    def __init__(self, batch: bool = True) -> None:
        """Set whether Dice is over the whole batch (True) or the mean over its patches."""
        super().__init__()
        self.dice, self.cross_entropy = DiceLoss(sigmoid=True, batch=batch), nn.BCEWithLogitsLoss()

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Return the loss of logits (batch, region, i, j, k) against masks of 0 and 1 of the same shape."""
        loss: Tensor = self.dice(logits, masks) + self.cross_entropy(logits, masks.float())
        return loss


def refuse_unfit_loss(loss: nn.Module, softmax: bool, regions: int = 1) -> None:
    """Refuse a loss that contradicts the classes, as far as its attributes show it.

    Args:
        loss: of logits (batch, class, i, j, k) and labels.
        softmax: whether the classes exclude each other, the background being the first.
        regions: number of regions.

    Raises:
        ConfigError: if the loss takes a softmax although each region has a sigmoid of its own, or masks although the label is
            an index of classes.

    Example:
        >>> from monai.losses import DiceLoss
        >>> from monai_tl.training.losses import DiceBCELoss, refuse_unfit_loss
        >>> refuse_unfit_loss(DiceBCELoss(), softmax=False)
        >>> refuse_unfit_loss(DiceLoss(softmax=True, to_onehot_y=True), softmax=True)
    """
    inner = getattr(loss, "dice", loss)
    exclusive = getattr(inner, "softmax", False) or getattr(inner, "to_onehot_y", False)
    crossed = isinstance(getattr(loss, "cross_entropy", loss), nn.CrossEntropyLoss) and regions > 1
    if not softmax and (exclusive or crossed):
        raise ConfigError(
            f"classes without background have a sigmoid each, but loss ({type(loss).__name__}) takes a softmax; set loss "
            "to monai_tl.training.losses.DiceBCELoss in the config (`monai_tl bundle new --classes …` makes a bundle with it), "
            "or put background first in classes"
        )
    if softmax and not getattr(inner, "to_onehot_y", True):
        raise ConfigError(
            f"with background first, classes exclude each other, but loss ({type(loss).__name__}) takes masks; set it "
            "to one with a softmax and to_onehot_y: true, or omit background from classes"
        )


class IgnoreVoxels(nn.Module):
    """Another loss, to which voxels labelled -1 add nothing and from which they get no gradient.

    Their logits are replaced by a certain background, and so are their labels. A mean over voxels still counts them, so that
    the loss of a patch is not larger because less of it is labelled.

    Args:
        loss: of logits (batch, class, i, j, k) and labels, e.g. ``DiceCELoss`` or `DiceBCELoss`.
        softmax: whether the first class is the background.

    Example:
        >>> import torch
        >>> from monai.losses import DiceCELoss
        >>> from monai_tl.training.losses import IgnoreVoxels
        >>> loss = IgnoreVoxels(DiceCELoss(to_onehot_y=True, softmax=True), softmax=True)
        >>> logits = torch.zeros(1, 2, 2, 2, 2, requires_grad=True)
        >>> label = torch.zeros(1, 1, 2, 2, 2)
        >>> label[..., 0] = -1
        >>> loss(logits, label).backward()
        >>> logits.grad[..., 0].abs().max().item(), bool(logits.grad[..., 1].abs().min() > 0)
        (0.0, True)
    """

    def __init__(self, loss: nn.Module, softmax: bool) -> None:
        """Keep the loss.

        Raises:
            ConfigError: as `refuse_unfit_loss` does.
        """
        super().__init__()
        refuse_unfit_loss(loss, softmax)
        self.loss, self.softmax = loss, softmax

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss over the voxels that count."""
        ignored = (label == IGNORED).any(dim=1, keepdim=True)
        if ignored.any():
            background = torch.full_like(logits, -SURE)
            if self.softmax:
                background[:, 0] = SURE
            logits = torch.where(ignored, background, logits)
            label = torch.where(ignored, torch.zeros_like(label), label)
        loss: Tensor = self.loss(logits, label)
        return loss
