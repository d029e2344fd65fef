"""Find the state dict in what was saved around it: under a key of a checkpoint, with a prefix before every name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from monai_tl.errors import TransferError
from monai_tl.transfer.tensors import Weights, name_first

WRAPPERS = (
    "model",
    "network",
    "net",
    "state_dict",
    "model_state_dict",
    "network_weights",
    "student",
)  # MONAI, ignite, Lightning, nnU-Net, self-distillation
PREFIXES = ("module.", "_orig_mod.", "network.")  # DistributedDataParallel, torch.compile, Lightning


def unwrapped(content: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the state dict of a checkpoint, and notes on other weights in it.

    Raises:
        TransferError: if there is none, or if several may be meant.
    """
    notes: list[str] = []
    for _ in range(len(WRAPPERS)):
        if not isinstance(content, Mapping) or is_state_dict(content):
            break
        inner = {key: content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)}
        inner = {key: value for key, value in inner.items() if is_state_dict(value)} or inner
        if not inner:
            raise TransferError(f"source '{path}' holds no weights: {_what_instead(content)}")
        if len(inner) > 1 and is_state_dict(next(iter(inner.values()))):
            listed = " and ".join(inner)
            raise TransferError(f"source '{path}' holds weights under {listed}, and either may be meant: save only one")
        key, taken = next(iter(inner.items()))
        states = [str(name) for name, value in content.items() if isinstance(value, Mapping) and is_state_dict(value)]
        rest = [name for name in states if name != key]
        notes += [f"the weights under '{key}' are used; the file also holds weights under {', '.join(rest)}"] if rest else []
        content = taken
    if not isinstance(content, Mapping) or not is_state_dict(content):
        raise TransferError(f"source '{path}' holds a {type(content).__name__}, needed is a state dict of named weights")
    return {str(name): value for name, value in content.items()}, notes


def state_dict_of(content: Any) -> dict[str, Tensor]:
    """Return the names and weights that `unwrapped` would find, to recognise a file by them; empty if there are none."""
    try:
        return unwrapped(content, Path())[0]
    except TransferError:
        return {}


def without_wrappers(weights: Weights) -> dict[str, Tensor]:
    """Return the weights without the prefixes that wrappers put before every name."""
    while prefix := next((p for p in PREFIXES if weights and all(name.startswith(p) for name in weights)), ""):
        weights = {name[len(prefix) :]: value for name, value in weights.items()}
    return dict(weights)


def is_state_dict(content: Mapping[Any, Any]) -> bool:
    """Return whether a mapping holds tensors only, and at least one."""
    return bool(content) and all(isinstance(value, Tensor) for value in content.values())


def _what_instead(content: Mapping[Any, Any]) -> str:
    others = [f"{name} ({type(value).__name__})" for name, value in content.items() if not isinstance(value, Tensor)]
    if len(others) < len(content):
        return (
            f"{len(others)} of its {len(content)} entries are not tensors: {name_first(others)}; save only the network's "
            "state_dict"
        )
    names = ", ".join(map(str, list(content)[:8])) or "nothing"
    return f"needed is a state dict, by itself or under {', '.join(WRAPPERS)}; it holds {names}"
