import pytest

from monai_tl.errors import TransferError
from monai_tl.networks.stage_map import StageMap
from monai_tl.transfer.obstacles import AskedStages, Obstacle, refuse_obstacles
from tests.conftest import mentions

NAMES = ("first", "body", "head")
MAP = StageMap({name: [name] for name in NAMES})
SPACING = Obstacle("spacing: 1 and 2", "set --spacing 1", flags="--spacing 1")
NAMED = Obstacle("modalities: MR and T1", "--rename MR=T1", "--rename MR=T1", ("first",), "newly initialise the first stage")
SHAPE = Obstacle("'body.w' has another shape", fresh=("body",), to_fresh="newly initialise its stage")
UNKNOWN = Obstacle("another architecture", "use another source")


def refused(*obstacles, frozen=(), fresh=(), none_fresh=False):
    with pytest.raises(TransferError) as raised:
        refuse_obstacles(obstacles, AskedStages(MAP, frozen, fresh, none_fresh))
    return str(raised.value)


def test_nothing_in_the_way_is_no_error():
    refuse_obstacles([], AskedStages(MAP))


def test_one_obstacle_is_one_line():
    assert refused(SPACING) == "spacing: 1 and 2; set --spacing 1"
    assert refused(SHAPE, fresh=("head",)) == "'body.w' has another shape; newly initialise its stage (--fresh body,head)"


def test_a_stage_that_has_to_be_fresh_is_not_frozen():
    """--fresh first beside --freeze 2 would be refused by the next call."""
    mentions(refused(NAMED, frozen=("first", "body"), fresh=("head",)), "(--freeze 0 --fresh first,head)")
    mentions(refused(SHAPE, frozen=("first", "body")), "(--freeze 1 --fresh body)")


def test_a_whole_decoder_is_called_so_and_chosen_stages_are_joined():
    names = ("enc_0", "enc_1", "dec_1", "dec_0", "head")
    asked = AskedStages(StageMap({name: [name] for name in names}, ("dec_1", "dec_0")), ("enc_0", "dec_1"), ("head",))
    assert asked.flags(("dec_0", "dec_1")) == "--freeze 1 --fresh decoder,head"
    assert asked.flags(("enc_0",)) == "--freeze +dec_1 --fresh enc_0,head"


def test_what_was_asked_not_to_be_fresh_is_not_advised_where_there_is_another_way():
    assert refused(NAMED, none_fresh=True) == "modalities: MR and T1; --rename MR=T1"
    mentions(refused(SHAPE, none_fresh=True), "(--fresh body instead of --fresh none)")


def test_several_are_listed_with_the_flags_that_settle_all():
    text = refused(SPACING, NAMED, SHAPE, SHAPE, frozen=("first", "body"), fresh=("head",))
    assert text.splitlines() == [
        "3 things prevent this transfer:",
        "  spacing: 1 and 2; set --spacing 1",
        "  modalities: MR and T1; --rename MR=T1, or newly initialise the first stage (--freeze 0 --fresh first,head)",
        "  'body.w' has another shape; newly initialise its stage (--freeze 1 --fresh body,head)",
        "  to settle all of these: --spacing 1 --rename MR=T1 --freeze 1 --fresh body,head",
    ]


def test_what_a_fresh_stage_settles_needs_no_other_flag():
    both = Obstacle("first is both", "freeze fewer", "--freeze 0", ("first",))
    text = refused(NAMED, both, frozen=("first",), fresh=("first", "head"))
    assert text.splitlines()[-1] == "  to settle all of these: --freeze 0"


def test_what_no_flag_settles_has_no_set_of_flags():
    assert "to settle" not in refused(SPACING, UNKNOWN)
    everything = [Obstacle(name, fresh=(name,), to_fresh="x") for name in NAMES]
    assert "to settle" not in refused(*everything), "nothing would be left to transfer"
