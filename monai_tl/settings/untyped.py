"""Text for something of no known kind: read as what it clearly is, and text otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from monai_tl.settings.values import DECIMAL, WHOLE


@dataclass(frozen=True)
class Untyped:
    """Of no known kind, read as `read_untyped` does.

    Attributes:
        no_text: whether text is none of it.
    """

    no_text: bool = False
    takes: str = "a number, or a list of numbers"

    def read(self, text: str) -> Any:
        """Read what it clearly is."""
        return read_untyped(text)

    def allows(self, value: Any) -> bool:
        """Say if it is no text, where that matters."""
        return not (self.no_text and isinstance(value, str))


class _Clear(yaml.SafeLoader):
    """YAML in which only that is no text which nobody takes for text: not 2013_10, no, 0o17, 010 or 1:30."""


_Clear.yaml_implicit_resolvers = {}
for tag, expression, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"null|None", "nN"),
    ("int", WHOLE.pattern, "+-0123456789"),
    ("float", rf"(?!0[0-9]){DECIMAL.pattern}", "+-.0123456789"),
):
    _Clear.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{expression})$"), list(first))


def read_untyped(text: str) -> Any:
    """Read what was typed for something of no known kind: text, unless it clearly is a number, true, null, a list or a dict.

    A reference (``@window``) or an expression (``$[1]``) is text, and so is ``{subject}``, which Python would take for a set.
    """
    try:
        node = yaml.compose(text, _Clear)
        value = yaml.load(text, _Clear)
    except yaml.YAMLError:
        return text
    if text[:1] in "!&" or isinstance(value, str):  # a quoted text without its quotes, any other untouched
        return node.value if isinstance(node, yaml.ScalarNode) and node.style in ("'", '"') else text
    if isinstance(node, yaml.CollectionNode):
        return value if node.flow_style and not _half_a_dict(node) else text
    return value if text.strip() and "#" not in text else text


def _half_a_dict(node: yaml.Node) -> bool:
    """Say if there is a ``{name}`` in it, without a value."""
    if isinstance(node, yaml.MappingNode):
        return any((value.value == "" and not value.style) or _half_a_dict(value) for _, value in node.value)
    return isinstance(node, yaml.SequenceNode) and any(_half_a_dict(item) for item in node.value)
