"""``monai_tl stages``: what it prints of a network by name, of a stranger's, and of a bundle."""

from __future__ import annotations

import pytest

from tests.conftest import IXI, mentions


def test_without_a_network_it_is_the_study_s(verb):
    answer = verb("stages")
    assert answer.code == 0
    mentions(answer.out, "conv_0         896", "total      809,378              807,936", "axis 1", "conv_2.conv.bias")


def test_a_network_by_name_with_settings(verb):
    settings = ["--set", "init_filters=16", "--set", "blocks_down=[1,1,1],blocks_up=[1,1]"]
    answer = verb("stages", "--network", "SegResNet", *settings)
    assert answer.code == 0
    mentions(answer.out, "encoder: enc_0, enc_1, enc_2; decoder: dec_1, dec_0", "convInit.conv.weight 16×2×3×3×3 (axis 1)")
    assert "enc_3" not in answer.out


def test_what_never_learns_and_what_to_know_is_printed(verb):
    settings = "img_size=[32,32,32],feature_size=4,hidden_size=12,mlp_dim=12,num_heads=2"
    answer = verb("stages", "--network", "UNETR", "--in_channels", 1, "--set", settings)
    mentions(answer.out, "never learn: 24 … cross-attention", "img_size only")
    assert answer.out.count("(axis 1)") == 3


def test_a_bundle_and_a_run_have_their_own_network(verb, source):
    for folder in (IXI, source):
        answer = verb("stages", "--bundle", folder)
        assert answer.code == 0, answer.err
        mentions(answer.out, "conv_0.conv.weight 16×2×3×3×3")


def test_derived_stages_are_printed_as_a_config_has_them(verb, tmp_path, monkeypatch):
    text = "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self, in_channels, out_channels):\n"
    text += "        super().__init__(nn.Conv3d(in_channels, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, out_channels, 1))\n"
    (tmp_path / "my_stages_net.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    answer = verb("stages", "--network", "my_stages_net.Net", "--stages", "auto")
    assert answer.code == 0, answer.err
    assert answer.out.endswith("stages:\n  block_0: ['0']\n  head: ['2']\n")
    answer = verb("stages", "--network", "my_stages_net.Net")
    assert answer.code == 2
    mentions(answer.err, "Net declares no stages … --stages auto")
    answer = verb("stages", "--network", "my_stages_net.Net", "--stages", "{body: ['0'], head: ['2']}")
    assert answer.out.endswith("stages:\n  body: ['0']\n  head: ['2']\n")


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["--network", "SegResNett"], ["did you mean 'SegResNet'"]),
        (["--network", "SegResNet", "--set", "in_channels=3"], ["--set in_channels=3 … omit"]),
        (["--network", "SegResNet", "--set", "16"], ["set takes … NAME=VALUE"]),
        (["--bundle", "nowhere"], ["'nowhere' is not a bundle"]),
        (["--bundle", IXI, "--network", "SegResNet"], ["--bundle has its own network"]),
        (["--network", "SegResNet", "--stages", "some"], ["stages takes auto"]),
        (["--network", "VNet", "--in_channels", "3"], ["VNet cannot be built with 3 image channels"]),
    ],
)
def test_mistakes_are_answered_in_one_line(verb, arguments, facts):
    answer = verb("stages", *arguments)
    assert answer.code == 2
    mentions(answer.err, *facts)
    assert len(answer.err.splitlines()) == 1


def test_the_network_of_a_source_needs_a_source(verb):
    answer = verb("stages", "--network", "like_source")
    assert answer.code == 2
    mentions(answer.err, "no source is named here … monai_tl source SOURCE")
