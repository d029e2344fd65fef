import hashlib
import json
import logging
import re

import pytest
import torch
from torch import nn

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.stage_map import StageMap
from monai_tl.transfer.apply import apply_transfer
from monai_tl.transfer.freeze import frozen_sha256, partly_frozen
from monai_tl.transfer.transfer_report import transfer_summary
from tests.conftest import mentions

TUMOUR = ["background", "tumour core"]
IMAGE = torch.randn(2, 1, 6, 6, 6, generator=torch.Generator().manual_seed(0))
OTHER = torch.randn(2, 1, 6, 6, 6, generator=torch.Generator().manual_seed(1))


def equal_stages(one: nn.Module, other: nn.Module) -> set[str]:
    """Name the stages all of whose values, statistics included, are the same in both."""
    theirs = other.state_dict()
    stages = dict.fromkeys((name.split(".")[0] for name in theirs), True)
    for name, value in one.state_dict().items():
        stages[name.split(".")[0]] &= torch.equal(value, theirs[name])
    return {name for name, same in stages.items() if same}


@pytest.fixture
def trained(tiny):
    """A source whose every value, statistics and counters included, is other than a new network's."""
    network = tiny(seed=1).train()
    network(IMAGE)
    for value in network.state_dict().values():
        value += 1
    return network.eval()


def test_the_report_lists_the_fate_of_every_weight(tiny, contract, run_folder, trained):
    folder = run_folder(trained, contract(), lineage=({"path": "older", "sha256": "0"},))
    network = tiny(channels=2, seed=2)
    done = apply_transfer(network, source=folder, contract=contract(modalities=["T1", "T2"], classes=TUMOUR), freeze=2)
    assert done.network is network
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert done.report == {
        "source": {
            "path": str(folder / "model.pt"),
            "sha256": hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest(),
            "lineage": [{"path": "older", "sha256": "0"}],
            "validation_dice": None,
            "unused": ["head.weight", "head.bias"],
            "notes": [],
        },
        "contract": {
            "source": {
                "modalities": ("T1",),
                "spacing": (1.0, 1.0, 1.0),
                "orientation": "RAS",
                "normalisation": "zscore_volume",
                "classes": ("background", "hippocampus"),
            },
            "target": {
                "modalities": ("T1", "T2"),
                "spacing": (1.0, 1.0, 1.0),
                "orientation": "RAS",
                "normalisation": "zscore_volume",
                "classes": ("background", "tumour core"),
            },
            "differences": [
                "modalities: source [T1], target [T1, T2]",
                "classes: source [background, hippocampus], target [background, tumour core]",
            ],
        },
        "rename": {},
        "channels": {"T1": "kernels of source T1", "T2": "new: starts at zero"},
        "regions": {},
        "head": "the source has none of the target's regions (tumour core)",
        "norm": "freeze",
        "input_weights": ["first.conv.weight"],
        "stages": {
            "first": {
                "state": "frozen, new channels trained",
                "parameters": 224,
                "trainable": 216,
                "weights": {"adapted": 1, "copied": 5},
            },
            "body": {"state": "frozen", "parameters": 440, "trainable": 0, "weights": {"copied": 6}},
            "head": {"state": "trained", "parameters": 10, "trainable": 10, "weights": {"fresh": 2}},
        },
        "weights": {
            "first.conv.weight": "adapted: channels T1,T2 from T1",
            **{f"first.norm.{name}": "copied" for name in norm},
            "body.conv.weight": "copied",
            **{f"body.norm.{name}": "copied" for name in norm},
            "head.weight": "fresh",
            "head.bias": "fresh",
        },
        "held_sha256": frozen_sha256(network),
        "strategy": {
            "name": "2", "label": "freeze 2", "paper": "Yosinski et al. 2014, arXiv 1411.1792",
            "parameters": {"frozen stages": 2},
        },
    }  # fmt: skip
    assert json.loads(json.dumps(done.report))["stages"] == done.report["stages"]


def test_the_summary_of_a_transfer(tiny, contract, run_folder, trained):
    folder = run_folder(trained, contract())
    target = contract(modalities=["T1", "T2"], classes=TUMOUR)
    report = apply_transfer(tiny(channels=2, seed=2), source=folder, contract=target, freeze=1).report
    assert transfer_summary(report).splitlines() == [
        f"transfer from {folder / 'model.pt'} (sha256 {report['source']['sha256'][:12]})",
        "  modalities: source [T1], target [T1, T2]",
        "  classes: source [background, hippocampus], target [background, tumour core]",
        "  first   frozen, new channels trained   216 of 224 parameters trainable; weights: 1 adapted, 5 copied",
        "  body    trained                        440 of 440 parameters trainable; weights: 6 copied",
        "  head    trained                         10 of  10 parameters trainable; weights: 2 fresh (newly initialised)",
        "  first.conv.weight: adapted: channels T1,T2 from T1",
        "  channel T1: kernels of source T1",
        "  channel T2: new: starts at zero",
        "  the head is newly initialised: the source has none of the target's regions (tumour core)",
    ]
    assert transfer_summary(json.loads(json.dumps(report))) == transfer_summary(report)


def test_the_summary_of_a_control(tiny, contract):
    report = apply_transfer(tiny(), source=None, contract=contract(), freeze=1).report
    assert transfer_summary(report).splitlines() == [
        "no source: every weight is newly initialised (random)",
        "  first   frozen      0 of 116 parameters trainable; weights: 6 fresh (newly initialised)",
        "  body    trained   440 of 440 parameters trainable; weights: 6 fresh (newly initialised)",
        "  head    trained    10 of  10 parameters trainable; weights: 2 fresh (newly initialised)",
    ]


@pytest.mark.parametrize("location", ["folder", "file"])
def test_everything_is_transferred_where_the_classes_agree(tiny, contract, run_folder, trained, location):
    folder = run_folder(trained, contract())
    network = tiny(seed=2)
    report = apply_transfer(network, source=folder if location == "folder" else folder / "model.pt", contract=contract()).report
    assert equal_stages(network, trained) == {"first", "body", "head"}
    assert set(report["weights"].values()) == {"copied"}
    assert report["channels"] == {}
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("classes", [["background", "tumour core"], ["hippocampus", "background"], ["a", "b", "c"]])
def test_the_head_is_newly_initialised_where_the_classes_differ(tiny, contract, run_folder, trained, classes):
    folder = run_folder(trained, contract())
    network, before = tiny(classes=len(classes), seed=2), tiny(classes=len(classes), seed=2)
    apply_transfer(network, source=folder, contract=contract(classes=classes))
    assert equal_stages(network, before) == {"head"}
    assert torch.equal(network.first.norm.running_mean, trained.first.norm.running_mean)
    assert network.first.norm.num_batches_tracked == 2


@pytest.mark.parametrize(
    ("fresh", "renewed"),
    [
        ("none", set()),
        ("", set()),
        ([], set()),
        ((), set()),
        (("body",), {"body"}),
        (["first", "head"], {"first", "head"}),
        ("head", {"head"}),
        ("body, head", {"body", "head"}),
    ],
)
def test_what_is_asked_to_be_fresh_goes_before_the_default(tiny, contract, run_folder, trained, fresh, renewed):
    network = tiny(seed=2)
    report = apply_transfer(
        network, source=run_folder(trained, contract()), contract=contract(classes=TUMOUR), fresh=fresh
    ).report
    assert equal_stages(network, trained) == {"first", "body", "head"} - renewed
    assert equal_stages(network, tiny(seed=2)) == renewed
    assert {name.split(".")[0] for name, fate in report["weights"].items() if fate == "fresh"} == renewed


def test_no_source_keeps_the_random_weights_and_freezes_them(tiny, contract):
    network = tiny(seed=2)
    report = apply_transfer(network, source=None, contract=contract(), freeze="body").report
    assert equal_stages(network, tiny(seed=2)) == {"first", "body", "head"}
    assert report["source"] is None
    assert set(report["weights"].values()) == {"fresh"}
    assert [row["state"] for row in report["stages"].values()] == ["frozen", "frozen", "trained"]
    assert not network.train().body.training


def test_new_modalities_enter_a_frozen_stage_and_are_trained(tiny, contract, run_folder, trained):
    network = tiny(channels=2, seed=2)
    target = contract(modalities=["T1", "T2"])
    apply_transfer(network, source=run_folder(trained, contract()), contract=target, freeze=2)
    network.eval()
    torch.testing.assert_close(network(torch.cat([IMAGE, OTHER], dim=1)), trained(IMAGE))
    assert partly_frozen(network) == {"first.conv.weight"}
    network(torch.cat([IMAGE, OTHER], dim=1)).square().sum().backward()
    gradient = network.first.conv.weight.grad
    assert torch.equal(gradient[:, 0], torch.zeros_like(gradient[:, 0]))
    assert gradient[:, 1].abs().min() > 0


def test_new_modalities_can_start_at_the_mean(tiny, contract, run_folder, trained):
    network = tiny(channels=2, seed=2)
    target = contract(modalities=["T1", "T2"])
    done = apply_transfer(network, source=run_folder(trained, contract()), contract=target, new_channels="mean")
    torch.testing.assert_close(network.eval()(torch.cat([IMAGE, IMAGE], dim=1)), trained(IMAGE))
    assert done.report["channels"]["T2"] == "new: starts at mean of T1, scaled by 1/2"


@pytest.mark.parametrize("modalities", [["T2", "T1"], ["T2"]])
def test_known_modalities_in_a_frozen_stage_stay_frozen(tiny, contract, run_folder, modalities):
    source, network = tiny(channels=2, seed=1), tiny(channels=len(modalities), seed=2)
    folder = run_folder(source, contract(modalities=["T1", "T2"]))
    report = apply_transfer(network, source=folder, contract=contract(modalities=modalities), freeze=1).report
    both = torch.cat([OTHER if name == "T2" else IMAGE for name in modalities], dim=1)
    theirs = torch.cat([IMAGE if "T1" in modalities else torch.zeros_like(IMAGE), OTHER], dim=1)
    torch.testing.assert_close(network.eval()(both), source.eval()(theirs))
    assert report["stages"]["first"]["state"] == "frozen"
    assert partly_frozen(network) == set()


def test_new_modalities_that_stay_frozen_are_warned_of(tiny, contract, run_folder, trained, caplog):
    network, target = tiny(channels=3, seed=2), contract(modalities=["T1", "T2", "FLAIR"])
    folder = run_folder(trained, contract())
    with caplog.at_level(logging.WARNING):
        report = apply_transfer(network, source=folder, contract=target, freeze=1, new_channels="frozen").report
    (warning,) = caplog.messages
    mentions(warning, "new_channels: frozen … T2, FLAIR … never")
    first = {"state": "frozen", "parameters": 332, "trainable": 0, "weights": {"adapted": 1, "copied": 5}}
    assert report["stages"]["first"] == first


@pytest.mark.parametrize("settings", [{"new_channels": "zero", "freeze": 1}, {"new_channels": "frozen", "freeze": 0}])
def test_nothing_is_warned_of_where_new_modalities_are_trained(tiny, contract, run_folder, trained, caplog, settings):
    target = contract(modalities=["T1", "T2"])
    apply_transfer(tiny(channels=2), source=run_folder(trained, contract()), contract=target, **settings)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"spacing": [2, 2, 2]}, "spacing: source [1.0, 1.0, 1.0], target [2.0, 2.0, 2.0]"),
        ({"orientation": "LPS"}, "orientation: source RAS, target LPS"),
        ({"normalisation": "zscore_nonzero"}, "normalisation: source zscore_volume, target zscore_nonzero"),
    ],
)
def test_a_difference_that_harms_stops_unless_accepted(tiny, contract, run_folder, trained, changed, message):
    folder, network = run_folder(trained, contract()), tiny(seed=2)
    with pytest.raises(TransferError) as raised:
        apply_transfer(network, source=folder, contract=contract(**changed))
    mentions(str(raised.value), f"{message} … --accept_differences")
    assert equal_stages(network, tiny(seed=2)) == {"first", "body", "head"}
    report = apply_transfer(network, source=folder, contract=contract(**changed), accept_differences=True).report
    assert report["contract"]["differences"] == [message]
    assert f"  {message}" in transfer_summary(report).splitlines()


def test_a_source_of_which_nothing_is_known_stops_unless_accepted(tiny, contract, run_folder, trained):
    folder, network = run_folder(trained), tiny(seed=2)
    message = f"source '{folder}' has no metadata.json: its spacing, orientation, normalisation and modalities are unknown"
    with pytest.raises(TransferError, match=rf"^{re.escape(message)};.*--accept_differences$"):
        apply_transfer(network, source=folder, contract=contract())
    report = apply_transfer(network, source=folder, contract=contract(), accept_differences=True).report
    assert report["contract"] == {**report["contract"], "source": None, "differences": [message]}
    assert report["source"]["lineage"] == []
    assert equal_stages(network, trained) == {"first", "body"}  # nobody knows what the head's classes were


def test_all_that_source_and_target_disagree_in_comes_in_one_message(tiny, contract, run_folder, trained):
    target = contract(
        modalities=["T1"], spacing=[2, 2, 2], orientation="LPS", normalisation="zscore_nonzero", classes=["left", "right"]
    )
    folder, network = run_folder(trained, contract(modalities=["MR"])), tiny(seed=2)
    with pytest.raises(TransferError) as raised:
        apply_transfer(network, folder, target, freeze=1, fresh="first")
    heading, *lines = str(raised.value).splitlines()
    mentions(heading, "6 things")
    facts = [
        "spacing: source [1.0, 1.0, 1.0], target [2.0, 2.0, 2.0] … --spacing 1.0,1.0,1.0 … --accept_differences",
        "orientation: source RAS, target LPS … --orientation RAS",
        "normalisation: source zscore_volume, target zscore_nonzero … --normalisation zscore_volume",
        "modalities: source [MR], target [T1] … --rename MR=T1 … --freeze 0 --fresh first",
        "classes: source [background, hippocampus], target [left, right] … (--freeze 0 --fresh first,head)",
        "first … both fresh and frozen … --freeze 0",
        "--spacing 1.0,1.0,1.0 --orientation RAS --normalisation zscore_volume --freeze 0 --fresh first,head",
    ]
    for line, fact in zip(lines, facts, strict=True):
        mentions(line, fact)
    assert "--rename" not in lines[-1], "no channel of a fresh first stage has to be matched"
    assert equal_stages(network, tiny(seed=2)) == {"first", "body", "head"}


def test_the_flags_that_settle_everything_do(tiny, contract, run_folder, trained):
    """Whatever a message advises is accepted by the next call."""
    folder = run_folder(trained, contract(modalities=["MR"]))
    with pytest.raises(TransferError) as raised:
        apply_transfer(tiny(seed=2), folder, contract(modalities=["T1"], spacing=[2, 2, 2]), freeze=2)
    assert str(raised.value).splitlines()[-1].endswith("--spacing 1.0,1.0,1.0 --rename MR=T1")
    apply_transfer(tiny(seed=2), folder, contract(modalities=["T1"]), freeze=2, rename="MR=T1")


def test_a_renamed_modality_takes_its_kernels(tiny, contract, run_folder, trained):
    """The same network as with the same name from the start; the report shows both names."""
    target = contract(modalities=["T2", "T1"], classes=TUMOUR)
    named, other = run_folder(trained, contract(), name="named"), run_folder(trained, contract(modalities=["MR"]), name="other")
    one, two = (tiny(channels=2, seed=2) for _ in range(2))
    apply_transfer(one, named, target, freeze=1)
    done = apply_transfer(two, other, target, freeze=1, rename={"MR": "T1"})
    assert equal_stages(one, two) == {"first", "body", "head"}
    assert torch.equal(two.first.conv.weight[:, 1], trained.first.conv.weight[:, 0])
    assert done.report["rename"] == {"MR": "T1"}
    assert done.report["channels"] == {"T2": "new: starts at zero", "T1": "kernels of source MR"}
    assert done.report["contract"]["source"]["modalities"] == ("MR",)
    mentions(str(done), "the source's MR is the target's T1", "channel T1: kernels of source MR")
    same = apply_transfer(tiny(seed=2), other, contract(), rename="MR=T1")
    assert same.report["contract"]["differences"] == []


@pytest.mark.parametrize(
    ("rename", "facts"),
    [
        ("MRI=T1", "the source has no modality 'MRI' … 'MR'"),
        ("MR=T3", "the target has no modality 'T3' … T1"),
        ("T1=MR", "--rename MR=T1"),
        ("MR=T1,PD=T1", "MR and PD … T1"),
        ("MR", "rename takes … e.g. MR=T1 … 'MR'"),
    ],
)
def test_a_rename_that_nothing_can_follow_leaves_the_network_untouched(tiny, contract, run_folder, rename, facts):
    network = tiny(seed=2)
    folder = run_folder(tiny(channels=2, seed=1), contract(modalities=["MR", "PD"]))
    with pytest.raises((ConfigError, TransferError)) as raised:
        apply_transfer(network, folder, contract(), freeze=2, rename=rename)
    assert "\n" not in str(raised.value)
    mentions(str(raised.value), facts)
    assert equal_stages(network, tiny(seed=2)) == {"first", "body", "head"}
    assert all(p.requires_grad for p in network.parameters())


def test_a_source_of_unknown_modalities_has_none_to_rename(tiny, contract, run_folder, trained):
    with pytest.raises(TransferError, match=r"--rename MR=T1: the source has no metadata.json.*omit it"):
        apply_transfer(tiny(), run_folder(trained), contract(), rename="MR=T1", accept_differences=True)


def test_near_names_that_are_not_matched_are_warned_of(tiny, contract, run_folder, caplog):
    folder = run_folder(tiny(channels=2, seed=1), contract(modalities=["T1", "flair"]))
    target = contract(modalities=["T1", "FLAIR"])
    with caplog.at_level(logging.WARNING):
        apply_transfer(tiny(channels=2), folder, target)
    (warning,) = caplog.messages
    mentions(warning, "flair … FLAIR … --rename flair=FLAIR")
    caplog.clear()
    apply_transfer(tiny(channels=2), folder, target, rename="flair=FLAIR")
    assert caplog.messages == []


SIDES = ["background", "left", "right"]


@pytest.mark.parametrize("fresh", [None, "none", ("body",)])
def test_the_head_takes_its_channels_by_the_name_of_their_region(tiny, contract, run_folder, fresh):
    source, network, before = tiny(classes=3, seed=1), tiny(classes=3, seed=2), tiny(classes=3, seed=2)
    folder = run_folder(source, contract(classes=SIDES))
    done = apply_transfer(network, folder, contract(classes=["background", "core", "left"]), fresh=fresh)
    for weight, theirs, initial in zip(
        network.head.parameters(), source.head.parameters(), before.head.parameters(), strict=True
    ):
        assert torch.equal(weight, torch.stack([theirs[0], initial[1], theirs[1]]))
    assert done.report["regions"] == {
        "background": "weights of source background",
        "core": "newly initialised: the source has no such region",
        "left": "weights of source left",
        "right": "dropped: the target has no such region",
    }
    assert done.report["head"] == ""
    mentions(str(done), "head.weight: adapted: outputs background,core,left from background,left,right; core newly initialised")
    mentions(str(done), "output core: newly initialised", "output right: dropped")


def test_regions_in_another_order_are_the_same_head(tiny, contract, run_folder):
    source, network = tiny(classes=3, seed=1), tiny(classes=3, seed=2)
    classes = ["background", "right", "left"]
    apply_transfer(network, run_folder(source, contract(classes=SIDES)), contract(classes=classes), fresh="none")
    torch.testing.assert_close(network.eval()(IMAGE), source.eval()(IMAGE)[:, [0, 2, 1]])


@pytest.mark.parametrize(("source", "target"), [(SIDES, ["left", "right"]), (["left", "right"], SIDES)])
def test_a_softmax_is_no_sigmoid(tiny, contract, run_folder, source, target):
    """The head is new and the report says why, even though regions are shared; kept it cannot be."""
    folder = run_folder(tiny(classes=len(source), seed=1), contract(classes=source))
    network, before = tiny(classes=len(target), seed=2), tiny(classes=len(target), seed=2)
    done = apply_transfer(network, folder, contract(classes=target))
    assert equal_stages(network, before) == {"head"}
    assert done.report["regions"] == {}
    mentions(str(done), "the head is newly initialised: the source's regions … softmax")
    with pytest.raises(TransferError, match=r"classes: source.*target.*softmax.*--fresh head instead of --fresh none"):
        apply_transfer(network, folder, contract(classes=target), fresh="none")


def test_a_head_of_another_task_that_is_kept_is_reported_by_position(tiny, contract, run_folder, trained):
    report = apply_transfer(tiny(), run_folder(trained, contract()), contract(classes=TUMOUR), fresh="none").report
    assert report["regions"]["tumour core"] == "weights of source hippocampus, by position"
    assert apply_transfer(tiny(), run_folder(trained, contract(), name="b"), contract(classes=TUMOUR)).report["regions"] == {}


def other_width(network: nn.Module) -> None:
    network.body.conv = nn.Conv3d(4, 4, 1, bias=False)


UNKNOWN_WORDS = [
    ({"freeze": 3}, "freeze takes 0–2 or the name of the last frozen stage, not 3"),
    ({"freeze": "bodi"}, "freeze takes 0–2 or the name of the last frozen stage, not 'bodi'"),
    ({"norm": "freez"}, "unknown norm 'freez': did you mean 'freeze'? There are: freeze, track"),
    ({"new_channels": "zeros"}, "unknown new_channels 'zeros': did you mean 'zero'? There are: zero, mean, frozen"),
    ({"fresh": "haed"}, "fresh: no stage is called 'haed': did you mean 'head'? There are: first, body, head"),
]
DOES_NOT_FIT = [
    ({"freeze": 2, "fresh": ["body"]}, "body … both fresh and frozen … --fresh … --random_prefix"),
    ({"strategy": "lora2", "freeze": 2}, "lora2 has no stage to apply to … --freeze 0 to 1 … --strategy head"),
    ({"strategy": "lora2", "fresh": "first,body", "freeze": 0, "accept_differences": True}, "lora2 has no stage to apply to"),
    ({"strategy": "bitfit", "freeze": 2}, "bitfit has no stage to apply to"),
    ({"strategy": "llrd0.5", "freeze": 2}, "llrd0.5 has no stage to apply to"),
    ({"fresh": "first,body,head"}, "nothing … every stage is fresh … --scratch"),
    ({"modalities": ["FLAIR"]}, "modalities: source [T1], target [FLAIR], none … --fresh first"),
    (
        {"modalities": ["T1", "T2"]},
        "'first.conv.weight' of the target network … (4, 1, 3, 3, 3) … 2 image channels … T1, T2",
    ),
    ({"alter": other_width}, "'body.conv.weight' … (4, 4, 3, 3, 3) in the source and (4, 4, 1, 1, 1) in the target … --fresh"),
]


@pytest.mark.parametrize(
    ("settings", "message", "source"),
    [(*case, True) for case in UNKNOWN_WORDS + DOES_NOT_FIT] + [(*case, False) for case in UNKNOWN_WORDS],
)
def test_what_cannot_be_done_leaves_the_network_untouched(tiny, contract, run_folder, trained, settings, message, source):
    network = tiny(seed=2)
    settings = dict(settings)
    settings.pop("alter", lambda network: None)(network)
    agreed = contract(modalities=settings.pop("modalities", ["T1"]))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises((ConfigError, TransferError)) as raised:
        apply_transfer(network, source=run_folder(trained, contract()) if source else None, contract=agreed, **settings)
    assert "\n" not in str(raised.value)
    mentions(str(raised.value), message)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())
    assert all(module.training for module in network.train().modules())


def test_a_source_that_is_not_there_leaves_the_network_untouched(tiny, contract, tmp_path):
    network = tiny(seed=2)
    with pytest.raises(TransferError, match="does not exist.*run folder"):
        apply_transfer(network, source=tmp_path / "none", contract=contract(), freeze=2)
    assert equal_stages(network, tiny(seed=2)) == {"first", "body", "head"}
    assert all(p.requires_grad for p in network.parameters())


class Backwards(nn.Module):
    """Declares its head before its body, and says in which order data flows."""

    stage_map = StageMap({"body": ["body"], "head": ["head"]})

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.head = nn.Conv3d(4, 2, 1)
        self.body = nn.Conv3d(channels, 4, 3, padding=1)

    def rebuild(self, more_inputs: bool, more_outputs: bool) -> nn.Module:
        return Backwards(self.channels + more_inputs)


def test_channels_enter_the_first_stage_whatever_was_declared_first(contract, run_folder):
    source, network = Backwards(1), Backwards(2)
    target = contract(modalities=["T1", "T2"])
    report = apply_transfer(network, source=run_folder(source, contract()), contract=target, freeze=1).report
    assert report["input_weights"] == ["body.weight"]
    assert torch.equal(network.body.weight[:, :1], source.body.weight)
    assert torch.equal(network.head.weight, source.head.weight)
    assert next(iter(report["weights"])) == "body.weight"


def test_a_contract_that_is_given_stands_in_for_the_metadata(tiny, contract, run_folder, trained):
    """The report, the plan and all values are those of a source that keeps its contract itself."""
    target = contract(modalities=["T1", "T2"], classes=TUMOUR)
    kept, bare = run_folder(trained, contract(), name="kept"), run_folder(trained, name="bare")
    one, two = (tiny(channels=2, seed=2) for _ in range(2))
    first = apply_transfer(one, kept, target, freeze=1)
    second = apply_transfer(two, bare, target, source_contract=contract(), freeze=1)
    assert second.plan == first.plan
    assert {**second.report, "source": None} == {**first.report, "source": None}
    assert equal_stages(one, two) == {"first", "body", "head"}


def test_a_contract_that_is_given_is_held_to_the_target_and_to_the_metadata(tiny, contract, run_folder, trained):
    bare, kept = run_folder(trained, name="bare"), run_folder(trained, contract(), name="kept")
    with pytest.raises(
        TransferError, match=r"spacing: source \[2.0, 1.0, 1.0\], target \[1.0, 1.0, 1.0\].*--accept_differences"
    ):
        apply_transfer(tiny(), bare, contract(), source_contract=contract(spacing=[2, 1, 1]))
    with pytest.raises(TransferError, match=r"metadata.json \[1.0, 1.0, 1.0\], source_contract \[2.0, 1.0, 1.0\]"):
        apply_transfer(tiny(), kept, contract(), source_contract=contract(spacing=[2, 1, 1]))


def test_a_transfer_knows_its_plan_and_prints_its_summary(tiny, contract, run_folder, trained):
    done = apply_transfer(tiny(), run_folder(trained, contract()), contract(classes=TUMOUR))
    assert done.plan.fresh == ("head.weight", "head.bias")
    assert {name: fate for name, fate in done.report["weights"].items() if fate == "fresh"}.keys() == set(done.plan.fresh)
    assert str(done) == transfer_summary(done.report)
    assert apply_transfer(tiny(), None, contract()).plan is None
