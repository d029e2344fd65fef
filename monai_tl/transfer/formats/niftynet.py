"""HighRes3DNet of NiftyNet's model zoo, as PyTorch weights of fepegar/highresnet: 160 regions of the brain from T1."""

from __future__ import annotations

from torch import Tensor

from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.networks.outline import outline
from monai_tl.transfer.formats.accounted import accounted
from monai_tl.transfer.formats.family import Expected, Family, Opened, Reading
from monai_tl.transfer.formats.unwrapping import state_dict_of, unwrapped, without_wrappers

SPEC = NetworkSpec("HighRes3DNet", {"head_norm": True, "negative_slope": 0})
BLOCKS = {
    "block.0.convolutional_block.": ("conv_0", {"1": "conv", "2": "adn.N"}),
    "block.4.convolutional_block.": ("conv_1", {"0": "conv", "1": "adn.N"}),
    "block.6.convolutional_block.": ("conv_2", {"0": "conv", "1": "adn.N"}),
    **{
        f"block.{stage}.dilation_block.{block}.residual_block.{half}.convolutional_block.": (
            f"res_{stage}.{block}.layers",
            {"0": f"{2 * half}.N", "3": f"{2 * half + 1}.conv"},
        )
        for stage in (1, 2, 3)
        for block in range(3)
        for half in range(2)
    },
}
"""Beginning of the names there -> stage here, and layer there -> layer here."""
PUBLISHED = 160  # classes of the published weights
LICENCE = "MIT (published weights of fepegar/highresnet)"
IMAGES = (
    "its images were standardised by histogram landmarks and then whitened by the voxels above the mean, for which there is "
    "no normalisation here; zscore_nonzero comes nearest"
)


def _is_niftynet(opened: Opened) -> bool:
    names = state_dict_of(opened.content)
    return any(".convolutional_block." in name and "block." in name for name in names)


def _read_niftynet(opened: Opened) -> Reading:
    stored, notes = unwrapped(opened.content, opened.path)
    weights = {_own_name(name): value for name, value in without_wrappers(stored).items()}
    channels = _channels(weights)
    lacks = accounted(weights, outline(SPEC, *channels), opened.path, str(SPEC), renamed="block.… renamed to conv_0 … conv_2")
    if channels != (1, PUBLISHED):
        return Reading(weights, SPEC, lacks=lacks, notes=tuple(notes))
    expected = Expected(modalities=("T1",), spacing=(1.0, 1.0, 1.0), orientation="RAS")
    return Reading(weights, SPEC, expected, LICENCE, lacks, tuple(notes), (f"{PUBLISHED} classes without names", IMAGES))


def _own_name(name: str) -> str:
    """Return the name of a weight here; a name that is not known stays, and is refused as left over."""
    for before, (stage, layers) in BLOCKS.items():
        layer, _, rest = name.removeprefix(before).partition(".")
        if name.startswith(before) and layer in layers:
            return f"{stage}.{layers[layer]}.{rest}"
    return name


def _channels(weights: dict[str, Tensor]) -> tuple[int, int]:
    """Return the numbers of image channels and of classes; 1 where the kernel is missing, which is refused then."""
    first, last = weights.get("conv_0.conv.weight"), weights.get("conv_2.conv.weight")
    return first.shape[1] if first is not None else 1, last.shape[0] if last is not None else 1


NIFTYNET = Family("HighRes3DNet of NiftyNet", _is_niftynet, _read_niftynet)
"""Its own names, ReLU instead of LeakyReLU, and a BatchNorm on the logits."""
