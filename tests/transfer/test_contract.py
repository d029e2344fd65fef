import json
import shlex

import pytest

from monai_tl.errors import ConfigError, TransferError
from monai_tl.transfer.contract import (
    Contract,
    complete,
    contract_of,
    describe,
    differences,
    merged,
    read_contract,
    refuse_other_classes,
)
from tests.conftest import mentions


@pytest.mark.parametrize("channels", [["T1"], ["T2", "FLAIR", "T1"], [f"m{n}" for n in range(12)]])
def test_what_is_described_is_read_back(contract, metadata, channels):
    written = contract(modalities=channels, spacing=[1, 1.5, 2.0], normalisation="zscore_nonzero")
    described = json.loads(json.dumps(describe({**metadata, "validation_dice": 0.9}, written, [{"path": "a", "sha256": "0"}])))
    assert read_contract(described, "a run") == written
    assert described["lineage"] == [{"path": "a", "sha256": "0"}]
    assert described["name"] == "Something"
    assert "validation_dice" not in described, "a bundle's own is not the run's"
    image = described["network_data_format"]["inputs"]["image"]
    assert image["dtype"] == "float32"
    assert image["num_channels"] == len(channels)
    assert described["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "hippocampus"}


def test_describing_leaves_the_given_metadata_alone(contract, metadata):
    before = json.dumps(metadata)
    describe(metadata, contract())
    assert json.dumps(metadata) == before


def test_lists_become_tuples_and_a_single_word_is_refused(contract):
    with pytest.raises(ConfigError, match="modalities.*different.*'T1'"):
        contract(modalities="T1")
    made = contract(modalities=["T1"], spacing=[1, 1, 1])
    assert made == Contract(("T1",), (1.0, 1.0, 1.0), "RAS", "zscore_volume", ("background", "hippocampus"))
    assert type(made.spacing[0]) is float


def test_differences_name_what_harms_first(contract):
    theirs = contract(
        modalities=["T1", "T2"], spacing=[2, 2, 2], orientation="LPS", normalisation="zscore_nonzero", classes=["a", "b"]
    )
    found = differences(contract(), theirs)
    assert [(d.field, d.harmful) for d in found] == [
        ("spacing", True),
        ("orientation", True),
        ("normalisation", True),
        ("modalities", False),
        ("classes", False),
    ]
    assert [str(d) for d in found] == [
        "spacing: source [1.0, 1.0, 1.0], target [2.0, 2.0, 2.0]",
        "orientation: source RAS, target LPS",
        "normalisation: source zscore_volume, target zscore_nonzero",
        "modalities: source [T1], target [T1, T2]",
        "classes: source [background, hippocampus], target [a, b]",
    ]
    assert differences(theirs, theirs) == []


def test_the_order_of_modalities_is_a_difference(contract):
    (found,) = differences(contract(modalities=["T1", "T2"]), contract(modalities=["T2", "T1"]))
    assert str(found) == "modalities: source [T1, T2], target [T2, T1]"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"normalisation": "zscore"}, "unknown normalisation 'zscore' … 'zscore_volume'? … zscore_volume"),
        ({"spacing": "1.0"}, "spacing … 0 … e.g. [1.0, 1.0, 1.0] … '1.0'"),
        ({"spacing": "123"}, "spacing … 0 … e.g. [1.0, 1.0, 1.0] … '123'"),
        ({"spacing": 1.0}, "spacing … 0 … e.g. [1.0, 1.0, 1.0] … 1.0"),
        ({"spacing": [1.0, 1.0]}, "e.g. [1.0, 1.0, 1.0] … [1.0, 1.0]"),
        ({"spacing": [1.0, 0.0, 1.0]}, "got [1.0, 0.0, 1.0]"),
        ({"spacing": [1.0, "1", 1.0]}, "got [1.0, '1', 1.0]"),
        ({"spacing": [1.0, 1.0, float("nan")]}, "got [1.0, 1.0, nan]"),
        ({"orientation": "ras"}, "orientation … R/L, A/P … I/S … e.g. RAS … 'ras'"),
        ({"orientation": "RAL"}, "'RAL'"),
        ({"orientation": "RA"}, "'RA'"),
        ({"modalities": ["T1", "T1"]}, "modalities … different … #, e.g. \"['T1','T2']\" … ['T1', 'T1']"),
        ({"modalities": []}, "modalities … different … #, e.g. \"['T1','T2']\" … []"),
        ({"classes": ["tumour", "tumour"]}, "classes … different"),
    ],
)
def test_a_contract_that_nothing_could_follow_is_refused(contract, changed, message):
    with pytest.raises(ConfigError) as raised:
        contract(**changed)
    mentions(str(raised.value), message)


@pytest.mark.parametrize(
    "normalisation",
    ["window(-175,250)", "percentile(0.5,99.5)", "fixed(40.5,80,-175,250)", ["window(-175,250)", "zscore_volume"]],
)
def test_a_normalisation_is_stored_and_read_back(contract, metadata, normalisation):
    written = contract(modalities=["CT", "PET"], normalisation=normalisation)
    described = json.loads(json.dumps(describe(metadata, written)))
    assert described["preprocessing"]["normalisation"] == normalisation
    assert read_contract(described, "a run") == written


def test_a_normalisation_that_is_written_otherwise_is_the_same(contract):
    ours, theirs = contract(normalisation="window(-175,250)"), contract(normalisation="window( -175.0, 2.5e2 )")
    assert ours == theirs
    assert differences(ours, theirs) == []
    (found,) = differences(ours, contract(normalisation="window(-175,251)"))
    assert str(found) == "normalisation: source window(-175,250), target window(-175,251)"
    assert (found.harmful, found.flag) == (True, "--normalisation 'window(-175,250)'")


@pytest.mark.parametrize(
    ("source", "target", "difference"),
    [
        ((["CT", "MR"], ["window(0,80)", "minmax"]), (["MR", "CT"], ["minmax", "window(0,80)"]), ""),
        ((["CT", "MR"], ["window(0,80)", "minmax"]), (["CT"], "window(0,80)"), ""),
        ((["CT"], "window(0,80)"), (["CT", "MR"], ["window(0,80)", "minmax"]), ""),
        ((["CT", "MR"], ["window(0,80)", "minmax"]), (["MR", "PET"], ["minmax", "zscore_volume"]), ""),
        ((["CT", "MR"], ["window(0,80)", "minmax"]), (["MR"], "zscore_volume"), "source minmax, target zscore_volume"),
        (
            (["CT", "MR"], ["window(0,80)", "minmax"]),
            (["PET", "MR"], ["zscore_volume", "window(0,80)"]),
            "source [zscore_volume, minmax], target [zscore_volume, window(0,80)]",
        ),
        (
            (["CT"], "window(0,80)"),
            (["CT", "MR"], ["minmax", "zscore_volume"]),
            "source [window(0,80), zscore_volume], target [minmax, zscore_volume]",
        ),
        ((["CT"], "minmax"), (["PET"], "zscore_volume"), "source minmax, target zscore_volume"),
    ],
)
def test_normalisations_are_compared_by_modality(contract, source, target, difference):
    """In any order; what one of them lacks makes no difference, and the flag is one that the target can take."""
    ours, theirs = (contract(modalities=names, normalisation=how) for names, how in (source, target))
    found = [one for one in differences(ours, theirs) if one.field == "normalisation"]
    assert [str(one).removeprefix("normalisation: ") for one in found] == ([difference] if difference else [])
    for one in found:
        changed = shlex.split(one.flag)[1]
        assert not any(other.harmful for other in differences(ours, contract(modalities=target[0], normalisation=changed)))


def test_normalisations_of_other_numbers_than_modalities_are_refused(contract):
    with pytest.raises(ConfigError, match="one for each of the 1; got 2"):
        contract(normalisation=["minmax", "window(0,1)"])


@pytest.mark.parametrize("orientation", ["LPS", "SRA", "PIR"])
def test_any_order_of_axes_is_an_orientation(contract, orientation):
    assert contract(orientation=orientation).orientation == orientation


def test_no_metadata_is_no_contract():
    assert read_contract(None, "a run") is None


def without(metadata, *path):
    inner = metadata
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]


@pytest.mark.parametrize(
    ("path", "unknown"),
    [
        (("network_data_format",), ("modalities", "classes")),
        (("network_data_format", "inputs", "image", "channel_def"), ("modalities",)),
        (("network_data_format", "outputs", "pred"), ("classes",)),
        (("preprocessing",), ("spacing", "orientation", "normalisation")),
        (("preprocessing", "spacing"), ("spacing",)),
    ],
)
def test_what_metadata_do_not_state_is_unknown(contract, metadata, path, unknown):
    described = describe(metadata, contract())
    without(described, *path)
    found = read_contract(described, "a run")
    assert found.unknown == unknown
    known = [name for name in ("spacing", "orientation", "normalisation", "modalities", "classes") if name not in unknown]
    assert [getattr(found, name) for name in known] == [getattr(contract(), name) for name in known]


@pytest.mark.parametrize(("count", "modalities"), [(1, ("image",)), (3, None)])
def test_channels_of_which_only_some_have_a_name_are_unknown(metadata, count, modalities):
    """As those that a user paints for an interactive network of the Model Zoo."""
    metadata["network_data_format"]["inputs"]["image"] |= {"num_channels": count, "channel_def": {"0": "image"}}
    assert read_contract(metadata, "spleen_deepedit").modalities == modalities


def test_what_is_unknown_of_a_source_is_a_difference_and_harms_as_one(contract):
    zoo = Contract(("image",), None, None, None, ("background", "spleen"))
    assert zoo.unknown == ("spacing", "orientation", "normalisation")
    found = differences(zoo, contract(classes=["background", "spleen"]))
    assert [(str(one), one.harmful, one.flag) for one in found] == [
        ("spacing: source unknown, target [1.0, 1.0, 1.0]", True, ""),
        ("orientation: source unknown, target RAS", True, ""),
        ("normalisation: source unknown, target zscore_volume", True, ""),
        ("modalities: source [image], target [T1]", False, "--modalities image"),
    ]


def test_a_target_states_everything(contract):
    assert complete(contract()).spacing == (1.0, 1.0, 1.0)
    with pytest.raises(ConfigError, match="does not state spacing and normalisation"):
        complete(contract(spacing=None, normalisation=None))


def test_what_a_user_states_fills_what_is_unknown_and_contradicts_nothing(contract):
    stored = contract(spacing=None, modalities=None)
    assert merged(stored, contract(spacing=[2, 2, 2])) == contract(spacing=[2, 2, 2])
    assert merged(None, stored) == merged(stored, None) == stored
    assert merged(None, None) is None
    with pytest.raises(TransferError, match="orientation: metadata.json RAS, source_contract LPS"):
        merged(stored, contract(orientation="LPS"))


@pytest.mark.parametrize(
    ("field", "value"), [("spacing", "1 mm"), ("normalisation", "min_max"), ("orientation", 3), ("colour", "grey")]
)
def test_metadata_that_says_something_else_is_refused(contract, metadata, field, value):
    described = describe(metadata, contract())
    described["preprocessing"][field] = value
    with pytest.raises(TransferError, match=rf"metadata.json.*'a run'.*{field}"):
        read_contract(described, "a run")


def test_metadata_that_are_no_mapping_are_refused(contract, metadata):
    for name in ("network_data_format", "preprocessing"):
        described = describe(metadata, contract())
        described[name] = ["T1"]
        with pytest.raises(TransferError, match=r"metadata\.json.*'a run'"):
            read_contract(described, "a run")


@pytest.mark.parametrize("channel_def", [["T1"], None, {}, {"first": "T1"}, "T1", {"0": "T1", "1": "T1"}])
def test_metadata_whose_channels_are_no_numbered_names_is_refused(contract, metadata, channel_def):
    described = describe(metadata, contract())
    described["network_data_format"]["inputs"]["image"]["channel_def"] = channel_def
    with pytest.raises(TransferError, match=r"metadata\.json.*'a run'"):
        read_contract(described, "a run")


@pytest.mark.parametrize(
    ("source", "target", "allowed"),
    [
        (["background", "a"], ["background", "a"], True),
        (["background", "a"], ["background", "b"], True),
        (["background", "a", "b"], ["background", "b", "a"], True),
        (["a", "b"], ["b"], True),
        (["background", "a", "b"], ["background", "a"], False),
        (["background", "a", "b"], ["background", "a", "c"], False),
        (["background", "a"], ["background", "a", "b"], False),
        (["background", "a"], ["b", "c"], False),
        (["background", "a"], ["a"], False),
    ],
)
def test_a_source_is_scored_untrained_where_each_channel_stands_for_one_region(contract, source, target, allowed):
    """By name; or by position, the baseline of another task. A sigmoid is one by itself, a softmax is not."""
    ours, theirs = contract(classes=source), contract(classes=target)
    if allowed:
        refuse_other_classes(ours, theirs, "runs/a")
        refuse_other_classes(None, theirs, "runs/a")
        return
    with pytest.raises(TransferError) as raised:
        refuse_other_classes(ours, theirs, "runs/a")
    facts = (f"{len(source)} classes ({', '.join(source)})", f"{len(target)} ({', '.join(target)})", "--source runs/a")
    mentions(str(raised.value), *facts)


def test_the_contract_of_a_config_is_known_unless_it_is_computed(contract):
    config = {
        "modalities": ["T1"],
        "spacing": [1, 1, 1],
        "orientation": "RAS",
        "normalisation": "zscore_volume",
        "classes": ["background", "hippocampus"],
    }
    assert contract_of({**config, "other": 1}) == contract()
    assert contract_of({**config, "spacing": "$[1, 1, 1]"}) is None


def test_a_difference_names_the_flag_that_removes_it(contract):
    spacing, orientation = differences(contract(spacing=[1, 1, 1.5], orientation="LPS"), contract())
    assert (spacing.flag, orientation.flag) == ("--spacing 1.0,1.0,1.5", "--orientation LPS")
