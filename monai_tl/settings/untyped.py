"""Reading text for a value of unknown kind: a number, list, … if it clearly is one, else text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from monai_tl.settings.values import DECIMAL, WHOLE


@dataclass(frozen=True)
class Untyped:
    """A value of unknown kind, read by `read_untyped`.

    Attributes:
        no_text: whether text is refused.
    """

    no_text: bool = False
    takes: str = "a number, or a list of numbers"

    def read(self, text: str) -> Any:
        """Read a number, list, … if the text clearly is one."""
        return read_untyped(text)

    def allows(self, value: Any) -> bool:
        """Return False for text if text is refused."""
        return not (self.no_text and isinstance(value, str))


class _Clear(yaml.SafeLoader):
    """YAML that reads more as text: 2013_10, no, 0o17, 010 and 1:30 are text."""


_Clear.yaml_implicit_resolvers = {}
for tag, expression, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"null|None", "nN"),
    ("int", WHOLE.pattern, "+-0123456789"),
    ("float", rf"(?!0[0-9]){DECIMAL.pattern}", "+-.0123456789"),
):
    _Clear.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{expression})$"), list(first))


def read_untyped(text: str) -> Any:
    """Read a value of unknown kind: text, unless it clearly is a number, true, false, null, a list or a dict.

    A reference (``@window``) and an expression (``$[1]``) are text, and so is ``{subject}``, which YAML would read as a dict.
    """
    try:
        node = yaml.compose(text, _Clear)
        value = yaml.load(text, _Clear)
    except yaml.YAMLError:
        return text
    if text[:1] in "!&" or isinstance(value, str):  # quoted text loses its quotes, other text is unchanged
        return node.value if isinstance(node, yaml.ScalarNode) and node.style in ("'", '"') else text
    if isinstance(node, yaml.CollectionNode):
        return value if node.flow_style and not _half_a_dict(node) else text
    return value if text.strip() and "#" not in text else text


def _half_a_dict(node: yaml.Node) -> bool:
    """Return whether a node holds a ``{name}`` without a value."""
    if isinstance(node, yaml.MappingNode):
        return any((value.value == "" and not value.style) or _half_a_dict(value) for _, value in node.value)
    return isinstance(node, yaml.SequenceNode) and any(_half_a_dict(item) for item in node.value)
