from __future__ import annotations

import shutil

import pytest

from monai_tl.bundles.targets import find_targets, read_target
from monai_tl.errors import ConfigError
from monai_tl.networks.network_spec import NetworkSpec
from tests.conftest import BRATS, IXI, ROOT, mentions


def changed(tmp_path, *pairs: tuple[str, str]):
    shutil.copytree(IXI / "configs", tmp_path / "mine" / "configs")
    path = tmp_path / "mine" / "configs" / "train.yaml"
    text = path.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return tmp_path / "mine"


def test_a_bundle_s_network_and_contract_are_read_as_data():
    target = read_target(BRATS)
    assert target.network == NetworkSpec("HighRes3DNet", {"head_norm": False})
    assert (target.contract.modalities, target.contract.orientation) == (("T1", "T2"), "RAS")


def test_a_network_by_name_is_read_with_its_settings(tmp_path):
    entry = """
  _target_: monai_tl.networks.build.build_network
  network: SegResNet
  stages: null
  init_filters: 16
"""
    bundle = changed(
        tmp_path, ("\n  _target_: monai_tl.networks.highres3dnet.HighRes3DNet\n", entry), ('  head_norm: "@head_norm"\n', "")
    )
    assert read_target(bundle).network == NetworkSpec("SegResNet", {"init_filters": 16})


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        (('head_norm: "@head_norm"', "head_norm: $True"), "network_def must be evaluated"),
        (("monai_tl.networks.highres3dnet.HighRes3DNet", "monai.networks.nets.UNet"), "network_def must be evaluated"),
        (("modalities: [T1, T2] ", "modalities: $['T1'] "), "contract must be evaluated"),
        (("classes: [", "klasses: ["), "lacks the id 'classes'"),
    ],
)
def test_a_bundle_that_must_be_evaluated_is_refused(tmp_path, pair, told):
    with pytest.raises(ConfigError) as raised:
        read_target(changed(tmp_path, pair))
    mentions(str(raised.value), "train.yaml", told)


def test_bundles_are_found_by_their_configs(tmp_path):
    assert {path.name for path in find_targets(ROOT / "bundles")} >= {
        "brats_tumour_core",
        "ixi_hippocampus",
        "task04_hippocampus",
    }
    assert find_targets(tmp_path / "none") == ()
