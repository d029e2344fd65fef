"""VISTA3D: its image encoder and the decoder of its automatic branch, as an ordinary SegResNetDS."""

from __future__ import annotations

import re
from collections.abc import Collection

from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.networks.outline import outline
from monai_tl.transfer.formats.accounted import accounted, dropped
from monai_tl.transfer.formats.family import Expected, Family, Opened, Reading
from monai_tl.transfer.formats.unwrapping import state_dict_of, unwrapped, without_wrappers

IMAGE = "image_encoder."
FIRST = "encoder.conv_init.weight"
AUTOMATIC = "up_layers_auto."
POINTS = "up_layers."
LICENCE = "NVIDIA non-commercial (published weights of VISTA3D)"
EXPECTED = Expected(("CT",), (1.5, 1.5, 1.5), "RAS", "window(-963.8247715525971,1053.678477684517)")
BRANCH = (
    "of VISTA3D's two decoders the one of its automatic branch is used, as a SegResNetDS; its classes are prompts, so that "
    "the head is to be newly initialised"
)


def _is_vista(opened: Opened) -> bool:
    return IMAGE + FIRST in without_wrappers(state_dict_of(opened.content))


def _read_vista(opened: Opened) -> Reading:
    stored, notes = unwrapped(opened.content, opened.path)
    weights, prompts = dropped(without_wrappers(stored), ("class_head.", "point_head."), "class and point prompts")
    weights, points = dropped(weights, (IMAGE + POINTS,), "decoder of the point branch")
    weights = {name.removeprefix(IMAGE).replace(AUTOMATIC, POINTS): value for name, value in weights.items()}
    weights, embedding = dropped(weights, (f"{POINTS}{_levels(weights, POINTS) - 1}.head.",), "embedding that prompts refer to")
    blocks = [_levels(weights, f"encoder.layers.{level}.blocks.") for level in range(_levels(weights, "encoder.layers."))]
    settings = {"init_filters": weights[FIRST].shape[0], "blocks_down": blocks, "norm": "instance"}
    spec = NetworkSpec("SegResNetDS", settings)
    network = outline(spec, weights[FIRST].shape[1], 2)
    lacks = accounted(weights, network, opened.path, str(spec), absent=(f"{POINTS}{len(blocks) - 2}.head.",))
    return Reading(weights, spec, EXPECTED, LICENCE, lacks, (*notes, *prompts, *points, *embedding), (BRANCH,))


def _levels(names: Collection[str], before: str) -> int:
    """Return how many numbers follow the beginning of a name."""
    return len({match[1] for name in names if (match := re.match(rf"{re.escape(before)}(\d+)\.", name))})


VISTA3D = Family("VISTA3D", _is_vista, _read_vista)
"""One network for 132 structures, prompted by class or by points."""
