import shlex

import torch

from monai_tl.networks.network_flags import read_stages
from monai_tl.networks.network_spec import NetworkSpec
from monai_tl.settings.assignments import ASSIGNMENTS

SETTINGS = {
    "init_filters": 8,
    "blocks_down": [1, 1],
    "blocks_up": [1],
    "norm": ["group", {"num_groups": 4}],
    "dropout_prob": None,
}


def test_its_flags_say_what_it_is():
    spec = NetworkSpec("SegResNet", SETTINGS)
    words = shlex.split(spec.flags)
    assert words[:3] == ["--network", "SegResNet", "--set"]
    assert ASSIGNMENTS.read(words[3]) == SETTINGS
    assert (str(NetworkSpec("VNet")), NetworkSpec("VNet").flags) == ("VNet", "--network VNet")
    assert str(NetworkSpec("SegResNet", {"init_filters": 8, "blocks_up": [1]})) == "SegResNet (init_filters=8, blocks_up=[1])"


def test_it_is_built_for_any_numbers_of_channels():
    network = NetworkSpec("SegResNet", SETTINGS).build(3, 4)
    assert network(torch.rand(1, 3, 8, 8, 8)).shape == (1, 4, 8, 8, 8)


def test_stages_have_a_flag_of_their_own():
    spec = NetworkSpec("my_package.MyNet", {"width": 8, "stages": "auto"})
    assert spec.flags == "--network my_package.MyNet --set width=8 --stages auto"
    stages = {"stem": ("a", "b"), "head": ("c",)}
    words = shlex.split(NetworkSpec("my_package.MyNet", {"stages": stages}).flags)
    assert (words[2], read_stages(words[3])) == ("--stages", stages)
