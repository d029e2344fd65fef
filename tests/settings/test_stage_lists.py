"""``--stages`` reads auto, or stages with their modules."""

from __future__ import annotations

import pytest

from monai_tl.settings.stage_lists import StageLists


@pytest.mark.parametrize(
    ("text", "value"),
    [("auto", "auto"), ("{enc: [a, b.c], head: out}", {"enc": ["a", "b.c"], "head": "out"}), (" {h: [x]} ", {"h": ["x"]})],
)
def test_stages_are_read_in_order(text, value):
    assert StageLists().read(text) == value
    assert StageLists().allows(value)


@pytest.mark.parametrize("text", ["", "car", "{}", "[a, b]", "{a: []}", "{a: 1}", "{a: [1]}", "{a: {b: c}}", "{1: [a]}", "3"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="^"):
        StageLists().read(text)
