from monai_tl.transfer.network_pair import NetworkPair, input_weight, plan_obstacles, stage_of, why_fresh_head
from tests.conftest import mentions

TWO, THREE = ("background", "left"), ("background", "left", "right")


def network(classes: int, **more: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
    shapes = {"first.weight": (4, 1, 3, 3, 3), "head.conv.weight": (classes, 4, 1, 1, 1), "head.conv.bias": (classes,)}
    named = {name.replace("__", "."): shape for name, shape in more.items()}
    return {name: shape for name, shape in {**shapes, **named}.items() if shape is not None}


def test_the_first_kernel_takes_the_image():
    assert input_weight({"norm.weight": (4,), "conv.weight": (8, 4, 1, 1, 1), "other.weight": (8, 8, 1, 1, 1)}) == "conv.weight"


def test_a_pair_is_in_the_order_of_the_target():
    pair = NetworkPair({}, network(2))
    assert (pair.stages, pair.first, pair.head) == (["first", "head"], "first.weight", "head")
    assert pair.of_head == ["head.conv.weight", "head.conv.bias"]
    assert pair.wanted(["head"]) == ["first.weight"]
    assert stage_of("head.conv.weight") == "head"


def test_outputs_of_heads_that_differ_only_in_their_classes():
    outputs = ("head.conv.weight", "head.conv.bias")
    assert NetworkPair(network(2), network(3)).outputs(TWO, THREE) == outputs
    normed = {"head__bn__running_mean": (2,), "head__bn__count": ()}
    pair = NetworkPair(network(2, **normed), network(3, **{**normed, "head__bn__running_mean": (3,)}))
    assert pair.outputs(TWO, THREE) == (*outputs, "head.bn.running_mean")


def test_heads_that_differ_in_more_are_fresh():
    others = (
        network(2, head__aux=(7,)),
        network(2, head__bn__running_mean=(2,)),
        network(2, head__conv__weight=(2, 5, 1, 1, 1)),
        network(4),
    )
    for source in others:
        pair = NetworkPair(source, network(3))
        assert pair.outputs(TWO, THREE) == ()
        mentions(why_fresh_head(pair, TWO, THREE), "more than classes")
    assert why_fresh_head(NetworkPair(network(4), network(3)), THREE, THREE) == "", "a matter of the plan"


def test_a_head_that_is_the_first_layer_too_is_not_adapted():
    alone = [{"head.weight": (classes, 1, 3, 3, 3)} for classes in (2, 3)]
    assert NetworkPair(*alone).outputs(TWO, THREE) == ()


def test_a_head_that_cannot_be_kept_is_one_obstacle():
    """Its weights of another shape are not listed again."""
    (found,) = plan_obstacles(NetworkPair(network(2), network(3)), (), classes=(TWO, ("background", "a", "b")))
    mentions(found.what, "classes: source [background, left], target [background, a, b]")
    assert found.fresh == ("head",)
