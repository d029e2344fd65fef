"""Figures of the study of 2019 (Kaliyugarasan, Deep transfer learning in medical imaging, chapter 6): another setting."""

from __future__ import annotations

SETTING = (
    "Published figures are those of S. Kaliyugarasan, Deep transfer learning in medical imaging, 2019, tables 6.2 to 6.6: "
    "another setting (BraTS 2018 high-grade gliomas, T1 and T2 at 1 mm, 42 test cases, one run of each arm with one seed, "
    "BatchNorm statistics of frozen layers going on). They stand beside ours for orientation; a difference between the two "
    "is no finding, and neither is an agreement. Model k there is freeze k here: the first k stages held still."
)
ARMS = ("scratch", "1", "2", "3", "4", "5")
TRAINING = dict(zip(ARMS, (0.533, 0.639, 0.675, 0.641, 0.237, 0.056), strict=True))  # table 6.2
VALIDATION = dict(zip(ARMS, (0.460, 0.479, 0.438, 0.407, 0.211, 0.045), strict=True))  # table 6.2
PUBLISHED_NAMES = {26: "S1", 52: "S2", 78: "S3", 105: "S4"}  # nested training sets, by their size
TEST = {  # tables 6.3 to 6.6
    26: dict(zip(ARMS, (0.426, 0.431, 0.361, 0.339), strict=False)),
    52: dict(zip(ARMS, (0.453, 0.482, 0.471, 0.468), strict=False)),
    78: dict(zip(ARMS, (0.418, 0.454, 0.492, 0.468), strict=False)),
    105: dict(zip(ARMS, (0.510, 0.557, 0.455, 0.502), strict=False)),
}
TABLES = {26: "6.3", 52: "6.4", 78: "6.5", 105: "6.6"}
ITERATIONS = {  # scratch, models 1 to 3
    26: (500, 500, 500, 500),
    52: (1000, 500, 500, 500),
    78: (1000, 1000, 1000, 1000),
    105: (5000, 1500, 1500, 1500),
}


def published(arm: str, n: int) -> float | None:
    """Give the published test Dice of an arm at exactly this number of training subjects, None where there is none."""
    return TEST.get(n, {}).get(arm)
