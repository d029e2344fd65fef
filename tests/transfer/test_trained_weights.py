import json

import pytest

from monai_tl.errors import ConfigError
from monai_tl.transfer.trained_weights import check_weights
from tests.conftest import mentions


def test_weights_are_refused_with_all_differences_and_the_flags_that_remove_them(tiny, contract, run_folder):
    ckpt = run_folder(tiny(), contract()) / "model.pt"
    check_weights(ckpt, contract())
    with pytest.raises(ConfigError) as raised:
        check_weights(ckpt, contract(spacing=[2, 2, 2], modalities=["MR"], classes=["background", "core"]))
    facts = ("spacing: trained on [1.0, 1.0, 1.0], now set to [2.0, 2.0, 2.0]", "modalities", "classes")
    mentions(str(raised.value), *facts, "--spacing 1.0,1.0,1.0 --modalities T1 --classes background,hippocampus")


def test_weights_of_which_little_is_known_are_used_as_set_and_warned_of(tiny, contract, run_folder, caplog):
    folder = run_folder(tiny(), contract())
    described = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    del described["preprocessing"]
    (folder / "metadata.json").write_text(json.dumps(described), encoding="utf-8")
    check_weights(folder / "model.pt", contract())
    mentions(caplog.text, "does not state spacing, orientation and normalisation")
    with pytest.raises(ConfigError, match="--modalities T1$"):
        check_weights(folder / "model.pt", contract(modalities=["MR"]))
