"""How often the statistics of a study are right, on simulated Dice whose true effects are known; tables in Markdown.

python scripts/check_statistics.py [--studies 1000] [--models 400] [--resamples 999] [--seed 0] [--output statistics.csv]

A study is scratch and three arms at one size, all equal in truth. The Dice of an arm minus that of scratch is a sum of what the
case does (standard deviation 0.08), what the seed does (0, 0.02 or 0.05) and what is left (0.06). "skewed" cases: most gain a
little, a few lose much (1 − an exponential variable). Per cent, with Monte-Carlo standard errors:

interval   intervals that hold the true difference; 95 is wanted
naive      the same of a plain bootstrap of seeds and cases
wilcoxon   studies in which Wilcoxon and Holm call some arm different, though none is; at most 5 is wanted
verdict    the same of the verdict
found      arms that are 0.05 better and called so by the verdict

The second table is of single runs, one of each arm, as `monai_tl compare` takes them: intervals of the mean difference over few
and many cases (standard deviation 0.08) that hold it, and those of the BCa bootstrap (Efron 1987).

The last table is of the learning curves: how often crossed intervals, and the mixed model's own, hold differences between arms
and between slopes (3 arms, 3 sizes, 3 seeds, 12 cases). Some four minutes on one core.
"""

from __future__ import annotations

import csv
import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import fire
import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from monai_tl.errors import USER_ERRORS, ConfigError
from monai_tl.evaluation.compare import mean_interval
from monai_tl.statistics.crossed_bootstrap import CrossedBootstrap
from monai_tl.statistics.mixed_model import fit_curves
from monai_tl.statistics.pairwise import compare_cube
from monai_tl.statistics.score_array import ScoreCube, StudyScore
from monai_tl.statistics.verdicts import ALPHA, shows_difference
from monai_tl.storage.files import atomic_write

Array = NDArray[np.float64]
CASE, REST, EFFECT = 0.08, 0.06, 0.05  # standard deviations and an effect, in Dice
ARMS = ("scratch", "0", "1", "2")
BLOCK = 50  # studies that share the bootstrap's draws, which take longer than the rest
FOUND = 4  # in one study of so many an effect is looked for


@dataclass(frozen=True)
class Setting:
    """What is simulated: numbers of seeds and cases, what seeds do (standard deviation), the shape of what cases do."""

    seeds: int
    cases: int
    seed_deviation: float
    shape: str


SETTINGS = [
    Setting(seeds, cases, deviation, shape)
    for shape, cases, seeds, deviation in itertools.product(("normal", "skewed"), (10, 42), (3, 5), (0.0, 0.02, 0.05))
]


def simulate(setting: Setting, rng: np.random.Generator) -> ScoreCube:
    """Draw a study without any true difference."""
    s, c, arms = setting.seeds, setting.cases, len(ARMS)
    by_case = rng.normal(size=(arms, 1, c)) if setting.shape == "normal" else 1 - rng.exponential(size=(arms, 1, c))
    by_case[0] = 0  # scratch: what a case does is the gain from transfer
    by_seed, rest = rng.normal(size=(arms, s, 1)), rng.normal(size=(arms, s, c))
    dice = CASE * by_case + (setting.seed_deviation * by_seed + REST * rest) / np.sqrt(2) + rng.normal(0.5, 0.1, c)
    subjects = tuple(f"case{number:02d}" for number in range(c))
    return ScoreCube(ARMS, (26,), tuple(range(s)), subjects, dice[:, None], np.ones((arms, 1, s), dtype=bool))


def check(setting: Setting, studies: int, resamples: int, seed: int) -> dict[str, str | float]:
    """Simulate and count: shares in per cent, each with its standard error over studies."""
    rng = np.random.default_rng([seed, SETTINGS.index(setting) if setting in SETTINGS else len(SETTINGS)])
    pairs = [(arm, "scratch") for arm in ARMS[1:]]
    counts: dict[str, list[float]] = {name: [] for name in ("interval", "naive", "wilcoxon", "verdict", "found")}
    for study in range(studies):
        if study % BLOCK == 0:
            draws = CrossedBootstrap(int(rng.integers(2**31)), resamples)
        cube = simulate(setting, rng)
        compared = compare_cube(cube, pairs, draws)
        counts["interval"].append(float(np.mean([each.low <= 0 <= each.high for each in compared])))
        counts["naive"].append(_naive_holds(cube.of("0", 26) - cube.of("scratch", 26), resamples, rng))
        counts["wilcoxon"].append(min(each.p_holm for each in compared) <= ALPHA)
        counts["verdict"].append(any(shows_difference(each) for each in compared))
        if study % FOUND == 0:
            cube.dice[1:] += EFFECT
            counts["found"].append(float(np.mean([shows_difference(each) for each in compare_cube(cube, pairs, draws)])))
    return {**vars(setting), **_shares(counts)}


def _naive_holds(difference: Array, resamples: int, rng: np.random.Generator) -> bool:
    """Say if the plain bootstrap of seeds and cases, what one would do without thinking, holds 0."""
    seeds, cases = (rng.multinomial(size, np.full(size, 1 / size), resamples) / size for size in difference.shape)
    low, high = np.quantile(((seeds @ difference) * cases).sum(axis=1), [0.025, 0.975])
    return bool(low <= 0 <= high)


def check_single(cases: int, shape: str, studies: int, resamples: int, seed: int) -> dict[str, str | float]:
    """How often the interval of `mean_interval`, and that of BCa, holds the mean difference of two single runs."""
    rng = np.random.default_rng([seed, cases, len(shape)])
    held: dict[str, list[float]] = {"interval": [], "bca": []}
    for _ in range(studies):
        values = CASE * (rng.normal(size=cases) if shape == "normal" else 1 - rng.exponential(size=cases))
        found = mean_interval(values, (-1, 1), int(rng.integers(2**31)), resamples)
        bca = bootstrap((values,), np.mean, n_resamples=resamples, method="BCa", random_state=rng).confidence_interval
        held["interval"].append(found.low <= 0 <= found.high)
        held["bca"].append(bca.low <= 0 <= bca.high)
    return {"shape": shape, "cases": cases, **_shares(held)}


def _shares(counts: dict[str, list[float]]) -> dict[str, str | float]:
    """Per cent, and its standard error over studies."""
    row: dict[str, str | float] = {}
    for name, values in counts.items():
        row[name] = round(100 * float(np.mean(values)), 1)
        row[f"{name}_error"] = round(100 * float(np.std(values)) / len(values) ** 0.5, 1)
    return row


def check_models(studies: int, seed: int) -> dict[str, str | float]:
    """How often the learning curves' intervals hold the truth: differences between arms, and between slopes."""
    rng = np.random.default_rng([seed, 1000])
    arms, sizes, seeds, cases = ARMS[:3], (26, 52, 104), 3, 12
    held: dict[str, list[float]] = {"differences": [], "differences_model": [], "slopes": [], "slopes_model": []}
    failed = 0
    for _ in range(studies):
        hard, gain = rng.normal(0.5, 0.15, cases), rng.normal(0, CASE, (len(arms), cases))
        gain[0] = 0
        rows = [
            StudyScore(arm, n, s, f"case{case}", 0.25 + float(value) / 2, 1.0, 1.0, 1.0)  # halved, to lie between 0 and 1
            for (a, arm), n, s in itertools.product(enumerate(arms), sizes, range(seeds))
            for case, value in enumerate(
                hard + gain[a] + 0.05 * np.log2(n / 52) + rng.normal(0, 0.02) + rng.normal(0, 0.04, cases)
            )
        ]
        model = fit_curves(rows, seed=seed, resamples=999)
        failed += not model.converged
        for kind, terms in (("differences", model.terms[1:3]), ("slopes", model.terms[4:6])):
            held[kind].append(float(np.mean([term.low <= 0 <= term.high for term in terms])))
            held[f"{kind}_model"].append(float(np.mean([term.model_low <= 0 <= term.model_high for term in terms])))
    return {"studies": studies, "not_converged": failed, **_shares(held)}


def show(row: dict[str, str | float], names: list[str]) -> str:
    """Lay out a row, each share with its standard error."""
    cells = [f"{row[name]} ± {row[f'{name}_error']}" if f"{name}_error" in row else str(row[name]) for name in names]
    return f"| {' | '.join(cells)} |"


def check_statistics(studies: int = 1000, models: int = 400, resamples: int = 999, seed: int = 0, output: str = "") -> None:
    """Simulate all settings, print how often the statistics are right, and write the first table as CSV."""
    if output and Path(output).exists():
        raise ConfigError(f"{output} is there already: give --output another name, or remove it")
    began = time.process_time()
    names = ["shape", "cases", "seeds", "seed_deviation", "interval", "naive", "wilcoxon", "verdict", "found"]
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    rows = []
    for setting in SETTINGS:
        rows.append(check(setting, studies, resamples, seed))
        print(show(rows[-1], names), flush=True)
    names = ["shape", "cases", "interval", "bca"]
    print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for shape, cases in itertools.product(("normal", "skewed"), (5, 8, 10, 20, 42)):
        print(show(check_single(cases, shape, studies, resamples, seed), names), flush=True)
    if models:
        names = ["studies", "not_converged", "differences", "differences_model", "slopes", "slopes_model"]
        print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}\n{show(check_models(models, seed), names)}")
    if output:
        with atomic_write(Path(output)) as temporary, temporary.open("w", newline="") as file:
            table = csv.DictWriter(file, rows[0], lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    print(f"\n{studies} studies a row, {resamples} resamples, seed {seed}; {time.process_time() - began:.0f} s of CPU time")


if __name__ == "__main__":
    try:
        fire.Fire(check_statistics)
    except USER_ERRORS as error:
        sys.exit(f"check_statistics: {error}")
