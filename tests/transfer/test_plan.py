import pytest

from monai_tl.errors import TransferError
from monai_tl.networks.highres3dnet import HighRes3DNet
from monai_tl.networks.stage_map import StageMap
from monai_tl.transfer.plan import plan_transfer
from tests.conftest import mentions

SHAPES = {
    "first.conv.weight": (4, 1, 3, 3, 3),
    "first.norm.weight": (4,),
    "first.norm.num_batches_tracked": (),
    "body.conv.weight": (4, 4, 3, 3, 3),
    "head.weight": (2, 4, 1, 1, 1),
    "head.bias": (2,),
}
CHANNELS = {"source_channels": ["T1"], "target_channels": ["T1", "T2"]}


def shapes(**changed):
    """The same weights, some of another shape (dots written as __), those given None left out."""
    renamed = {name.replace("__", "."): shape for name, shape in changed.items()}
    return {name: shape for name, shape in {**SHAPES, **renamed}.items() if shape is not None}


@pytest.mark.parametrize("fresh", [(), ("conv_2",), ("conv_0", "res_2"), ("conv_0", "res_1", "res_2", "res_3", "conv_1")])
@pytest.mark.parametrize("channels", [("T1", "T2"), ("T2", "T1"), ("T1", "T1ce", "T2", "FLAIR")])
def test_each_weight_has_exactly_one_fate(fresh, channels):
    source, target = HighRes3DNet(2, 2).state_dict(), HighRes3DNet(len(channels), 2)
    plan = plan_transfer(source, target, fresh=fresh, source_channels=["T1", "T2"], target_channels=list(channels))
    assert sorted([*plan.copied, *plan.adapted, *plan.fresh]) == sorted(target.state_dict())
    assert {name.split(".")[0] for name in plan.fresh} == set(fresh)
    adapts = channels != ("T1", "T2") and "conv_0" not in fresh
    assert plan.adapted == ({"conv_0.conv.weight": f"channels {','.join(channels)} from T1,T2"} if adapts else {})
    assert set(plan.unused) == {name for name in source if name.split(".")[0] in fresh}


def test_a_plan_is_printed_a_line_a_weight(shaped):
    plan = plan_transfer(SHAPES, shaped(shapes(first__conv__weight=(4, 2, 3, 3, 3))), **CHANNELS, fresh=["head"])
    assert str(plan).splitlines() == [
        "copied   first.norm.weight",
        "copied   first.norm.num_batches_tracked",
        "copied   body.conv.weight",
        "adapted  first.conv.weight: channels T1,T2 from T1",
        "fresh    head.weight",
        "fresh    head.bias",
        "unused   head.weight (of the source)",
        "unused   head.bias (of the source)",
    ]


def test_weights_are_planned_as_their_shapes_are():
    one, two = HighRes3DNet(1, 2), HighRes3DNet(2, 2)
    shapes_alone = {name: tuple(value.shape) for name, value in one.state_dict().items()}
    assert plan_transfer(one.state_dict(), two, **CHANNELS) == plan_transfer(shapes_alone, two, **CHANNELS)


def test_the_target_decides_the_order(shaped):
    plan = plan_transfer(dict(reversed(SHAPES.items())), shaped(SHAPES))
    assert plan.copied == tuple(SHAPES)


def test_a_fresh_stage_may_be_missing_or_of_any_shape(shaped):
    source = shapes(head__weight=None, head__bias=(7,), head__other=(1, 2))
    plan = plan_transfer(source, shaped(SHAPES), fresh=["head"])
    assert plan.fresh == ("head.weight", "head.bias")
    assert plan.unused == ("head.bias", "head.other")


@pytest.mark.parametrize(
    ("source", "target", "settings", "message"),
    [
        pytest.param(
            SHAPES,
            SHAPES,
            {"fresh": ["haed"]},
            "fresh: no stage is called 'haed': did you mean 'head'? There are: first, body, head, encoder",
            id="unknown stage",
        ),
        pytest.param(
            {"a.w": (1,), "b.w": (2,), "c.w": (3,), "d.w": (4,)},
            SHAPES,
            {},
            "another architecture … none of the target's 6 weights … The target needs first.conv.weight, "
            "first.norm.weight, first.norm.num_batches_tracked, … (6 in all); the source has a.w, b.w, c.w, … (4 in all)",
            id="another architecture",
        ),
        pytest.param(
            shapes(body__conv__weight=None, head__bias=None),
            SHAPES,
            {},
            "2 of 6 weights … no counterpart in the source: body.conv.weight, head.bias … (--fresh body,head)",
            id="missing",
        ),
        pytest.param(
            shapes(body__conv__weight=None),
            SHAPES,
            {"fresh": ["head"]},
            "1 of 4 weights … no counterpart in the source: body.conv.weight … another source … (--fresh body,head)",
            id="missing, with a fresh head",
        ),
        pytest.param(
            shapes(head__norm__weight=(2,)),
            SHAPES,
            {},
            "the source has 1 weights … head.norm.weight … another network … (--fresh head)",
            id="surplus in a stage",
        ),
        pytest.param(
            shapes(aux__weight=(2,)),
            SHAPES,
            {},
            "the source has 1 weights … aux.weight … another network",
            id="surplus stage",
        ),
        pytest.param(
            shapes(head__weight=(3, 4, 1, 1, 1)),
            SHAPES,
            {},
            "'head.weight' … (3, 4, 1, 1, 1) in the source and (2, 4, 1, 1, 1) in the target; … --fresh head",
            id="other classes",
        ),
        pytest.param(
            shapes(first__conv__weight=(4, 2, 3, 3, 3)),
            SHAPES,
            {"target_channels": ["T1"]},
            "'first.conv.weight' … (4, 2, 3, 3, 3) in the source and (4, 1, 3, 3, 3) in the target; … image channels … "
            "metadata.json … --fresh first",
            id="unknown channels",
        ),
        pytest.param(
            shapes(first__conv__weight=(8, 2, 3, 3, 3)),
            SHAPES,
            {"source_channels": ["T1", "T2"], "target_channels": ["T1"]},
            "'first.conv.weight' … (8, 2, 3, 3, 3) in the source and (4, 1, 3, 3, 3) in the target; … --fresh first",
            id="other channels, other features",
        ),
        pytest.param(
            SHAPES,
            SHAPES,
            {"source_channels": ["T1", "T2"], "target_channels": ["T1"]},
            "'first.conv.weight' of the source … (4, 1, 3, 3, 3) … 2 image channels … T1, T2 … metadata.json",
            id="source metadata of another network",
        ),
        pytest.param(
            SHAPES,
            SHAPES,
            {"source_channels": ["T1"], "target_channels": ["T1", "T2"]},
            "'first.conv.weight' of the target network … (4, 1, 3, 3, 3) … 2 image channels … T1, T2 … in_channels",
            id="target contract of another network",
        ),
        pytest.param(
            SHAPES,
            SHAPES,
            {"fresh": ["first", "body", "head"]},
            "nothing … every stage is fresh … --scratch",
            id="everything fresh",
        ),
    ],
)
def test_what_does_not_fit_is_refused(shaped, source, target, settings, message):
    with pytest.raises(TransferError) as raised:
        plan_transfer(source, shaped(target), **settings)
    mentions(str(raised.value), message)


SIDES = ["background", "left", "right"]


def test_outputs_are_adapted_by_region(shaped):
    target = shaped(shapes(head__weight=(3, 4, 1, 1, 1), head__bias=(3,)))
    classes = {"source_classes": ["background", "left"], "target_classes": SIDES}
    plan = plan_transfer(SHAPES, target, **classes)
    how = "outputs background,left,right from background,left; right newly initialised"
    assert plan.adapted == {"head.weight": how, "head.bias": how}
    assert plan.copied == tuple(name for name in SHAPES if not name.startswith("head"))
    assert plan_transfer(SHAPES, target, fresh=["head"], **classes).adapted == {}


def test_other_outputs_of_the_same_number_stay_where_they_are(shaped):
    plan = plan_transfer(SHAPES, shaped(SHAPES), source_classes=["background", "a"], target_classes=["background", "b"])
    assert plan.copied == tuple(SHAPES)


def test_all_that_does_not_fit_is_listed(shaped):
    source = shapes(first__conv__weight=(4, 2, 3, 3, 3), body__conv__weight=(4, 4, 1, 1, 1), first__norm__weight=None)
    names = {"source_channels": ["A", "B"], "target_channels": ["T1"]}
    with pytest.raises(TransferError) as raised:
        plan_transfer(source, shaped(SHAPES), **names, source_classes=["a", "b"], target_classes=["background", "c"])
    lines = str(raised.value).splitlines()
    assert len(lines) == 5, "no flag settles all: nothing would be left to transfer"
    facts = (
        "4 things",
        "first.norm.weight",
        "modalities: source [A, B], target [T1]",
        "classes … sigmoid",
        "'body.conv.weight'",
    )
    for line, fact in zip(lines, facts, strict=True):
        mentions(line, fact)


def test_a_group_stands_for_its_stages(shaped):
    network = shaped(SHAPES)
    network.stage_map = StageMap(network.stage_map.prefixes, decoder=("body",))
    source = {name: shape for name, shape in SHAPES.items() if name.startswith("first")}
    plan = plan_transfer(source, network, fresh=["decoder", "head"])
    assert plan.fresh == ("body.conv.weight", "head.weight", "head.bias")
    with pytest.raises(TransferError) as raised:
        plan_transfer(source, network)
    mentions(str(raised.value), "3 of 6 weights … body.conv.weight, head.weight, head.bias … --fresh body,head")


def test_a_network_that_cannot_be_built_again_takes_no_other_channels(shaped):
    network = shaped(SHAPES)
    network.rebuild = None
    assert plan_transfer(SHAPES, network).copied == tuple(SHAPES)
    with pytest.raises(TransferError) as raised:
        plan_transfer(SHAPES, network, **CHANNELS)
    mentions(str(raised.value), "modalities: source [T1], target [T1, T2] … Shaped cannot be built … build_network")
