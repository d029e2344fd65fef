"""The schedules of published strategies, scaled to the iterations of a training."""

import pytest

from monai_tl.errors import ConfigError, TransferError
from monai_tl.networks.stage_map import StageMap
from monai_tl.transfer.schedules import SCHEDULES, build_schedule, gradual, sawtooth, valley, warmup
from tests.conftest import mentions

CHAIN = StageMap({name: (name,) for name in ("conv_0", "res_1", "conv_1", "conv_2")})  # no decoder, as in HighRes3DNet
UNET = StageMap({name: (name,) for name in ("enc_0", "enc_1", "dec_1", "dec_0", "head")}, decoder=("dec_1", "dec_0"))


def bounds(schedule):
    return [(phase.first, phase.last, phase.warm_up) for phase in schedule.phases]


@pytest.mark.parametrize("iterations", [5, 37, 4000])
@pytest.mark.parametrize("stages", [CHAIN, UNET], ids=["chain", "unet"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_iteration_is_in_one_phase_and_the_last_phase_trains_all(name, stages, iterations):
    schedule = build_schedule(name, stages, iterations)
    for iteration in range(1, iterations + 1):
        within = [phase for phase in schedule.phases if phase.first <= iteration <= phase.last]
        assert within == [schedule.phase_at(iteration)]
        assert 0 < schedule.factor(iteration, stages.head) <= 1
    assert schedule.iterations == iterations
    assert schedule.phases[-1].trained == stages.names
    assert all(stages.head in phase.trained for phase in schedule.phases)


def test_warmup_trains_all_from_the_beginning():
    assert bounds(warmup(UNET, 150)) == [(1, 150, 15)]
    assert bounds(warmup(UNET, 1000, 0.05)) == [(1, 1000, 50)]
    assert bounds(warmup(UNET, 100, 0.0)) == [(1, 100, 0)]


def test_valley_has_openminds_bounds():
    """50 and 50 of 1000 epochs, 15 and 15 of 150."""
    assert bounds(valley(UNET, 1000, 0.05)) == [(1, 50, 0), (51, 1000, 50)]
    schedule = valley(UNET, 150)
    assert bounds(schedule) == [(1, 15, 0), (16, 150, 15)]
    assert schedule.phases[0].trained == ("dec_1", "dec_0", "head")
    # falling to 0, then rising from 1/15, then falling from 1 over the remaining 120
    assert [schedule.factor(n, "head") for n in (1, 16, 30, 31)] == pytest.approx([1, 1 / 15, 1, 1])
    assert schedule.factor(15, "head") == pytest.approx((1 / 15) ** 0.9)
    assert schedule.factor(150, "enc_0") == pytest.approx((1 / 120) ** 0.9)
    assert schedule.factor(15, "enc_1") == 0
    assert schedule.note == ""


def test_sawtooth_warms_the_decoder_up_too():
    schedule = sawtooth(UNET, 1000, 0.05)
    assert bounds(schedule) == [(1, 50, 25), (51, 1000, 50)]
    assert [schedule.factor(n, "head") for n in (1, 25, 26)] == [1 / 25, 1, 1]
    assert schedule.factor(50, "head") == pytest.approx((1 / 25) ** 0.9)
    assert bounds(sawtooth(UNET, 5)) == [(1, 2, 1), (3, 5, 1)]


def test_without_a_decoder_the_head_is_trained_alone_and_the_schedule_says_so():
    for name in ("valley", "sawtooth"):
        schedule = build_schedule(name, CHAIN, 100)
        assert schedule.phases[0].trained == ("conv_2",)
        mentions(str(schedule), "no decoder … head, conv_2, … alone")


def test_gradual_unfreezing_adds_one_stage_in_each_of_equal_intervals():
    schedule = gradual(CHAIN, 40)
    assert bounds(schedule) == [(1, 10, 1), (11, 20, 1), (21, 30, 1), (31, 40, 1)]
    assert [phase.trained for phase in schedule.phases] == [CHAIN.names[k:] for k in (3, 2, 1, 0)]
    lengths = [phase.length for phase in gradual(UNET, 37).phases]
    assert lengths == [7, 7, 8, 7, 8]
    assert [schedule.factor(n, "conv_2") for n in (11, 12, 20)] == pytest.approx([1, 1, 1 / 9])
    assert [schedule.factor(n, "conv_0") for n in (30, 31)] == [0, 1]


def test_stages_with_new_weights_are_trained_from_the_beginning():
    assert valley(UNET, 100, always=["enc_0"]).phases[0].trained == ("enc_0", "dec_1", "dec_0", "head")
    trained = [phase.trained for phase in gradual(UNET, 100, always=["decoder"]).phases]
    assert trained == [("dec_1", "dec_0", "head"), ("enc_1", "dec_1", "dec_0", "head"), UNET.names]


@pytest.mark.parametrize(
    ("name", "iterations", "warm_up", "message"),
    [
        ("valley", 2, 0.1, "valley … 3 … not 2"),
        ("sawtooth", 3, 0.1, "sawtooth … 4 … not 3"),
        ("gradual", 4, 0.1, "gradual … 5 … not 4"),
        ("valley", 100, 0.0, "above 0 and below 0.5"),
        ("sawtooth", 100, 0.5, "above 0 and below 0.5"),
        ("warmup", 100, 1.5, "warm_up"),
        ("warmup", 0, 0.1, "iterations"),
        ("gradual", 2.5, 0.1, "iterations"),
        ("vally", 100, 0.1, "vally … valley … warmup"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(name, iterations, warm_up, message):
    with pytest.raises(ConfigError) as refused:
        build_schedule(name, UNET, iterations, warm_up)
    mentions(str(refused.value), message)


def test_the_fewest_iterations_are_enough():
    assert [bounds(build_schedule(name, UNET, n)) for name, n in (("valley", 3), ("sawtooth", 4), ("warmup", 1))] == [
        [(1, 1, 0), (2, 3, 1)],
        [(1, 2, 1), (3, 4, 1)],
        [(1, 1, 0)],
    ]
    assert len(gradual(UNET, 5).phases) == 5


@pytest.mark.parametrize("name", ["valley", "sawtooth", "gradual"])
def test_a_schedule_that_would_freeze_nothing_is_refused(name):
    with pytest.raises(ConfigError) as refused:
        build_schedule(name, UNET, 100, always=["encoder", "decoder"])
    mentions(str(refused.value), "freeze nothing … warmup")
    with pytest.raises(TransferError) as unknown:
        build_schedule(name, UNET, 100, always=["enc_7"])
    mentions(str(unknown.value), "enc_7 … enc_0")
