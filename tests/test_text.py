"""What people read."""

import pytest

from monai_tl.text import in_time


@pytest.mark.parametrize(
    ("seconds", "expected"), [(7.4, "7 s"), (600, "10 min"), (9000, "2.5 h"), (400_000, "4.6 days")]
)  # fmt: skip
def test_durations(seconds, expected):
    assert in_time(seconds) == expected
