from monai_tl.networks.ports import Ports
from monai_tl.networks.stage_map import StageMap
from monai_tl.transfer.network_pair import NetworkPair, plan_obstacles, why_fresh_head
from tests.conftest import mentions

TWO, THREE = ("background", "left"), ("background", "left", "right")


def network(classes: int, **more: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
    shapes = {"first.weight": (4, 1, 3, 3, 3), "head.conv.weight": (classes, 4, 1, 1, 1), "head.conv.bias": (classes,)}
    named = {name.replace("__", "."): shape for name, shape in more.items()}
    return {name: shape for name, shape in {**shapes, **named}.items() if shape is not None}


def pair(source: dict, target: dict) -> NetworkPair:
    """Two networks whose head's weights have the classes on their first axis."""
    stages = {name.split(".")[0]: [name.split(".")[0]] for name in target}
    outputs = {name: (0,) for name, shape in target.items() if name.startswith("head") and shape}
    return NetworkPair(source, target, StageMap(stages), Ports({"first.weight": (1,)}, outputs))


def test_a_pair_is_in_the_order_of_the_target():
    both = pair({}, network(2))
    assert (both.stages.names, both.head) == (("first", "head"), "head")
    assert both.of_head == ["head.conv.weight", "head.conv.bias"]
    assert both.wanted(["head"]) == ["first.weight"]
    assert both.stages_of(["head.conv.bias", "first.weight"]) == ("first", "head")


def test_outputs_of_heads_that_differ_only_in_their_classes():
    outputs = {"head.conv.weight": (0,), "head.conv.bias": (0,)}
    assert pair(network(2), network(3)).outputs(TWO, THREE) == outputs
    normed = {"head__bn__running_mean": (2,), "head__bn__count": ()}
    both = pair(network(2, **normed), network(3, **{**normed, "head__bn__running_mean": (3,)}))
    assert both.outputs(TWO, THREE) == {**outputs, "head.bn.running_mean": (0,)}


def test_heads_that_differ_in_more_are_fresh():
    others = (
        network(2, head__aux=(7,)),
        network(2, head__bn__running_mean=(2,)),
        network(2, head__conv__weight=(2, 5, 1, 1, 1)),
        network(4),
    )
    for source in others:
        both = pair(source, network(3))
        assert both.outputs(TWO, THREE) == {}
        mentions(why_fresh_head(both, TWO, THREE), "more than classes")
    assert why_fresh_head(pair(network(4), network(3)), THREE, THREE) == "", "a matter of the plan"


def test_a_head_that_is_the_first_layer_too_is_not_adapted():
    alone = [{"head.weight": (classes, 1, 3, 3, 3)} for classes in (2, 3)]
    ports = Ports({"head.weight": (1,)}, {"head.weight": (0,)})
    assert NetworkPair(*alone, StageMap({"head": ["head"]}), ports).outputs(TWO, THREE) == {}


def test_a_head_that_cannot_be_kept_is_one_obstacle():
    """Its weights of another shape are not listed again."""
    (found,) = plan_obstacles(pair(network(2), network(3)), (), classes=(TWO, ("background", "a", "b")))
    mentions(found.what, "classes: source [background, left], target [background, a, b]")
    assert found.fresh == ("head",)
