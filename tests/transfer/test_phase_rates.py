"""Learning rates that follow a schedule: those with which each iteration steps, also after a resume."""

import io

import pytest
import torch
from monai.optimizers import WarmupCosineSchedule

from monai_tl.errors import ConfigError
from monai_tl.networks.stages import stages
from monai_tl.transfer.phase_rates import PhaseRates
from monai_tl.transfer.rates import parameter_groups
from monai_tl.transfer.schedules import valley
from tests.conftest import mentions

ITERATIONS = 20


def built(network):
    optimizer = torch.optim.AdamW(parameter_groups(network, 1e-2, stage_rate=0.5))
    return optimizer, PhaseRates(optimizer, valley(stages(network), ITERATIONS))


def rates(optimizer, scheduler, count):
    """Return the rates with which the next iterations step."""
    seen = []
    for _ in range(count):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return seen


def test_each_iteration_steps_with_the_factor_of_its_stage_on_its_own_rate(tiny):
    network = tiny()
    schedule = valley(stages(network), ITERATIONS)
    seen = rates(*built(network), ITERATIONS)
    for iteration, row in enumerate(seen, start=1):
        peaks = {"first": 0.0025, "body": 0.005, "head": 0.01}
        assert row == [peak * schedule.factor(iteration, name) for name, peak in peaks.items()]
    # by hand: two iterations of the head alone, two of warm-up, sixteen that fall
    assert seen[0] == [0, 0, 0.01]
    assert seen[1] == pytest.approx([0, 0, 0.01 * 0.5**0.9])
    assert seen[2] == pytest.approx([0.00125, 0.0025, 0.005])
    assert seen[3] == seen[4] == [0.0025, 0.005, 0.01]
    assert seen[-1] == pytest.approx([peak / 16**0.9 for peak in (0.0025, 0.005, 0.01)])


@pytest.mark.parametrize("at", [1, 2, 7])
def test_a_resumed_scheduler_has_the_same_rates(tiny, at):
    whole = rates(*built(tiny()), ITERATIONS)
    optimizer, scheduler = built(tiny())
    rates(optimizer, scheduler, at)
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, file)
    file.seek(0)
    last = torch.load(file, weights_only=True)
    optimizer, scheduler = built(tiny())
    optimizer.load_state_dict(last["optimizer"])
    scheduler.load_state_dict(last["scheduler"])
    assert rates(optimizer, scheduler, ITERATIONS - at) == whole[at:]


def test_groups_of_no_trained_stage_are_refused(tiny):
    schedule = valley(stages(tiny()), ITERATIONS)
    for group, message in (({"name": "heda"}, "heda … head"), ({}, "never trains a stage ''")):
        optimizer = torch.optim.AdamW([{"params": list(tiny().parameters()), **group}])
        with pytest.raises(ConfigError) as refused:
            PhaseRates(optimizer, schedule)
        mentions(str(refused.value), message)


def test_a_group_of_new_channels_has_its_stages_rates(tiny):
    optimizer = torch.optim.AdamW([{"name": "first, new channels", "params": list(tiny().first.parameters()), "lr": 1.0}])
    scheduler = PhaseRates(optimizer, valley(stages(tiny()), ITERATIONS))
    assert [rate for (rate,) in rates(optimizer, scheduler, 4)] == [0, 0, 0.5, 1]


def test_another_scheduler_of_the_same_optimiser_that_was_built_before_changes_nothing(tiny):
    """A config may build its own scheduler, which is then replaced: it has already set a rate."""
    whole = rates(*built(tiny()), ITERATIONS)
    network = tiny()
    optimizer = torch.optim.AdamW(parameter_groups(network, 1e-2, stage_rate=0.5))
    WarmupCosineSchedule(optimizer, warmup_steps=2, t_total=ITERATIONS, warmup_multiplier=0.05)
    assert rates(optimizer, PhaseRates(optimizer, valley(stages(network), ITERATIONS)), ITERATIONS) == whole
