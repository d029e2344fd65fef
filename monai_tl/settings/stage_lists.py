"""Stages on a command line: ``--stages "{enc: [conv_0, down], head: [out]}"`` or ``--stages auto``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monai_tl.settings.untyped import read_untyped

AUTO_STAGES = "auto"  # the order in which the network's layers run


@dataclass(frozen=True)
class StageLists:
    """Stage -> names of its modules and weights, in order, or ``auto``.

    Example:
        >>> from monai_tl.settings.stage_lists import StageLists
        >>> StageLists().read("{enc: [conv_0, down], head: out}")
        {'enc': ['conv_0', 'down'], 'head': 'out'}
    """

    takes: str = 'auto, or stages in order with their modules, the head last, e.g. "{enc: [conv_0, down], head: [out]}"'

    def read(self, text: str) -> Any:
        """Read a mapping, or ``auto``."""
        value = read_untyped(text.strip())
        if not self.allows(value):
            raise ValueError(text)
        return value

    def allows(self, value: Any) -> bool:
        """Return whether the value is ``auto`` or a mapping of names to a name or a list of names."""
        if not isinstance(value, Mapping):
            return value == AUTO_STAGES
        parts = [[of] if isinstance(of, str) else of for of in value.values()]
        named = all(isinstance(name, str) for name in value)
        return bool(value) and named and all(isinstance(of, list) and of and all(map(_is_name, of)) for of in parts)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
