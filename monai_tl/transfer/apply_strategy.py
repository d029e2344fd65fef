"""Apply a strategy to a network whose weights are set: freeze what it freezes, and report the state of each stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from monai_tl.errors import ConfigError
from monai_tl.networks.stages import parts_of_stages, stages
from monai_tl.transfer.freeze import ADAPTED, freeze, freeze_weights, frozen_sha256, partly_frozen
from monai_tl.transfer.lora import FACTORS, add_lora
from monai_tl.transfer.rates import set_rates
from monai_tl.transfer.strategy import Strategy

PARTLY = ("bitfit", "lora")
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def partly_trained(strategy: Strategy, network: nn.Module, frozen: Sequence[str], fresh: Sequence[str]) -> tuple[str, ...]:
    """Return the stages of which a strategy trains only a part: all but frozen and fresh ones and the head.

    Args:
        strategy: of the target.
        network: the target.
        frozen: its frozen stages.
        fresh: its newly initialised stages, which are trained in full.

    Raises:
        ConfigError: if there is none, so that the strategy would be another one by its name.
    """
    found = stages(network)
    body = [name for name in found if name not in (*frozen, found.head)]
    learned = [name for name in body if name not in fresh]
    if (strategy.kind == "llrd" and not body) or (strategy.kind in PARTLY and not learned):
        raise ConfigError(
            f"strategy {strategy.name} has no stage to apply to: each one but the head is frozen or fresh; freeze fewer stages "
            f"(--freeze 0 to {len(found) - 2}), or train the head alone by --strategy head"
        )
    return tuple(learned) if strategy.kind in PARTLY else ()


def apply_strategy(
    network: nn.Module,
    strategy: Strategy,
    frozen: Sequence[str],
    *,
    partly: Sequence[str] = (),
    norm: str = "freeze",
    trained_inputs: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Freeze and mark a network as a strategy needs it, in place.

    Args:
        network: with all its weights set.
        strategy: of the target.
        frozen: stages that are frozen from the first step to the last.
        partly: stages of which only a part is trained, see `partly_trained`.
        norm, trained_inputs: as in `monai_tl.transfer.freeze.freeze`.
    """
    if strategy.kind == "bitfit":
        own = parts_of_stages(network.named_parameters(remove_duplicate=False), stages(network), partly)
        kept = _biases_and_norms(network)
        freeze_weights(network, [name for name, weight in own.items() if id(weight) not in kept])
    elif strategy.kind == "llrd":
        set_rates(network, stage_rate=float(strategy.value or 1.0))
    elif strategy.kind == "l2sp":
        set_rates(network, weight_decay=0.0)  # weight decay would pull the weights to 0, not to the source's
    with_adapters = partly if strategy.kind == "lora" else ()
    freeze(network, (*frozen, *with_adapters), norm=norm, trained_inputs=trained_inputs)
    if with_adapters:
        add_lora(network, int(strategy.value or 1), stages=with_adapters, norm=norm)


def report_strategy(
    network: nn.Module, strategy: Strategy, frozen: Sequence[str], partly: Sequence[str], fates: Mapping[str, str]
) -> dict[str, Any]:
    """Return how a target learns, as plain data: the strategy, the state of each stage, and the sha256 of all frozen values.

    Args:
        network: after `apply_strategy`.
        strategy, frozen, partly: as there.
        fates: weight, by its ordinary name -> ``copied``, ``adapted: …`` or ``fresh``.
    """
    states = dict.fromkeys(frozen, "frozen") | dict.fromkeys(
        partly, "adapter" if strategy.kind == "lora" else "biases and norms"
    )
    return {
        "strategy": strategy.as_dict(),
        "stages": _stage_rows(network, states, fates),
        "held_sha256": frozen_sha256(network),
    }


def _stage_rows(network: nn.Module, states: Mapping[str, str], fates: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the state of each stage, its numbers of parameters, and the fates of its weights; adapters count as trainable."""
    found, rows = stages(network), {}
    new_inputs = {found.stage_of(name) for name in partly_frozen(network)}
    for name in found:
        own = parts_of_stages(network.named_parameters(remove_duplicate=False), found, [name])
        ordinary = [weight for key, weight in own.items() if FACTORS not in key or key.endswith(ADAPTED)]
        weights = Counter(fate.split(":")[0] for weight, fate in fates.items() if found.stage_of(weight) == name)
        rows[name] = {
            "state": states.get(name, "trained") + (", new channels trained" if name in new_inputs else ""),
            "parameters": sum(weight.numel() for weight in ordinary),
            "trainable": sum(weight.numel() for weight in own.values() if weight.requires_grad),
            "weights": dict(sorted(weights.items())),
        }
    return rows


def _biases_and_norms(network: nn.Module) -> set[int]:
    """Return the identities of all biases, and of the weights of normalisation layers."""
    norms = {id(weight) for module in network.modules() if isinstance(module, NORMS) for weight in module.parameters(False)}
    return norms | {id(weight) for name, weight in network.named_parameters() if name.rpartition(".")[2] == "bias"}
