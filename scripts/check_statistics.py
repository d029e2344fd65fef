"""Check how often the statistics of a study are right, on simulated Dice with known true effects; print tables in Markdown.

python scripts/check_statistics.py [--studies 1000] [--models 400] [--resamples 999] [--seed 0] [--output statistics.csv]

A simulated study has scratch and three arms at one size, without any true difference. The Dice of an arm minus that of scratch
is the sum of a case effect (standard deviation 0.08), a seed effect (0, 0.02 or 0.05) and a residual (0.06). With "skewed" case
effects, most cases gain a little and a few lose much (1 − an exponential variable). Columns, in per cent with Monte-Carlo
standard errors:

interval   intervals that contain the true difference; target: 95
naive      the same for a plain bootstrap of seeds and cases
wilcoxon   studies in which Wilcoxon with Holm's correction finds a difference, though there is none; target: at most 5
verdict    the same for the verdict
found      arms with a true gain of 0.05 that the verdict finds

The second table is for single runs, one per arm, as in `monai_tl compare`: intervals of the mean difference that contain the
true one, with few and many cases (standard deviation 0.08), and the same for the BCa bootstrap (Efron 1987).

The last table is for learning curves: how often crossed intervals, and those of the mixed model, contain the true differences
between arms and between slopes (3 arms, 3 sizes, 3 seeds, 12 cases). Takes about four minutes on one core.
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
from monai_tl.statistics.pairwise import compare_cubes
from monai_tl.statistics.score_array import ScoreCube, StudyScore
from monai_tl.statistics.verdicts import ALPHA, shows_difference
from monai_tl.storage.files import atomic_write

Array = NDArray[np.float64]
CASE, REST, EFFECT = 0.08, 0.06, 0.05  # standard deviations and an effect, in Dice
ARMS = ("scratch", "0", "1", "2")
BLOCK = 50  # studies that share the bootstrap's draws, which take most of the time
FOUND = 4  # in every 4th study, the effect is added and looked for


@dataclass(frozen=True)
class Setting:
    """What is simulated: numbers of seeds and cases, standard deviation of seed effects, distribution of case effects."""

    seeds: int
    cases: int
    seed_deviation: float
    shape: str


SETTINGS = [
    Setting(seeds, cases, deviation, shape)
    for shape, cases, seeds, deviation in itertools.product(("normal", "skewed"), (10, 42), (3, 5), (0.0, 0.02, 0.05))
]


def simulate(setting: Setting, rng: np.random.Generator) -> ScoreCube:
    """Simulate a study without any true difference."""
    s, c, arms = setting.seeds, setting.cases, len(ARMS)
    by_case = rng.normal(size=(arms, 1, c)) if setting.shape == "normal" else 1 - rng.exponential(size=(arms, 1, c))
    by_case[0] = 0  # scratch is the reference: case effects are gains from transfer
    by_seed, rest = rng.normal(size=(arms, s, 1)), rng.normal(size=(arms, s, c))
    dice = CASE * by_case + (setting.seed_deviation * by_seed + REST * rest) / np.sqrt(2) + rng.normal(0.5, 0.1, c)
    subjects = tuple(f"case{number:02d}" for number in range(c))
    return ScoreCube(ARMS, (26,), tuple(range(s)), subjects, dice[:, None], np.ones((arms, 1, s), dtype=bool))


def check(setting: Setting, studies: int, resamples: int, seed: int) -> dict[str, str | float]:
    """Simulate studies and return a row of the table: per cent, each with its standard error over studies."""
    rng = np.random.default_rng([seed, SETTINGS.index(setting) if setting in SETTINGS else len(SETTINGS)])
    pairs = [(arm, "scratch") for arm in ARMS[1:]]
    counts: dict[str, list[float]] = {name: [] for name in ("interval", "naive", "wilcoxon", "verdict", "found")}
    for study in range(studies):
        if study % BLOCK == 0:
            draws = CrossedBootstrap(int(rng.integers(2**31)), resamples)
        cube = simulate(setting, rng)
        compared = compare_cubes([cube], pairs, draws)
        counts["interval"].append(float(np.mean([each.low <= 0 <= each.high for each in compared])))
        counts["naive"].append(_naive_holds(cube.of("0", 26) - cube.of("scratch", 26), resamples, rng))
        counts["wilcoxon"].append(min(each.p_holm for each in compared) <= ALPHA)
        counts["verdict"].append(any(shows_difference(each) for each in compared))
        if study % FOUND == 0:
            cube.values[1:] += EFFECT
            counts["found"].append(float(np.mean([shows_difference(each) for each in compare_cubes([cube], pairs, draws)])))
    return {**vars(setting), **_shares(counts)}


def _naive_holds(difference: Array, resamples: int, rng: np.random.Generator) -> bool:
    """Return whether the interval of a plain bootstrap of seeds and cases contains 0."""
    seeds, cases = (rng.multinomial(size, np.full(size, 1 / size), resamples) / size for size in difference.shape)
    low, high = np.quantile(((seeds @ difference) * cases).sum(axis=1), [0.025, 0.975])
    return bool(low <= 0 <= high)


def check_single(cases: int, shape: str, studies: int, resamples: int, seed: int) -> dict[str, str | float]:
    """Return how often the interval of `mean_interval`, and that of BCa, contains the mean difference of two single runs."""
    rng = np.random.default_rng([seed, cases, len(shape)])
    covered: dict[str, list[float]] = {"interval": [], "bca": []}
    for _ in range(studies):
        values = CASE * (rng.normal(size=cases) if shape == "normal" else 1 - rng.exponential(size=cases))
        own = mean_interval(values, (-1, 1), int(rng.integers(2**31)), resamples)
        bca = bootstrap((values,), np.mean, n_resamples=resamples, method="BCa", random_state=rng).confidence_interval
        covered["interval"].append(own.low <= 0 <= own.high)
        covered["bca"].append(bca.low <= 0 <= bca.high)
    return {"shape": shape, "cases": cases, **_shares(covered)}


def _shares(counts: dict[str, list[float]]) -> dict[str, str | float]:
    """Return each mean in per cent, with its standard error over studies."""
    row: dict[str, str | float] = {}
    for name, values in counts.items():
        row[name] = round(100 * float(np.mean(values)), 1)
        row[f"{name}_error"] = round(100 * float(np.std(values)) / len(values) ** 0.5, 1)
    return row


def check_models(studies: int, seed: int) -> dict[str, str | float]:
    """Return how often the learning curves' intervals contain the true differences between arms and between slopes."""
    rng = np.random.default_rng([seed, 1000])
    arms, sizes, seeds, cases = ARMS[:3], (26, 52, 104), 3, 12
    covered: dict[str, list[float]] = {"differences": [], "differences_model": [], "slopes": [], "slopes_model": []}
    failed = 0
    for _ in range(studies):
        hard, gain = rng.normal(0.5, 0.15, cases), rng.normal(0, CASE, (len(arms), cases))
        gain[0] = 0
        rows = [
            StudyScore(arm, n, s, f"case{case}", 0.25 + float(value) / 2, 1.0, 1.0)  # halved, to be between 0 and 1
            for (a, arm), n, s in itertools.product(enumerate(arms), sizes, range(seeds))
            for case, value in enumerate(
                hard + gain[a] + 0.05 * np.log2(n / 52) + rng.normal(0, 0.02) + rng.normal(0, 0.04, cases)
            )
        ]
        model = fit_curves(rows, seed=seed, resamples=999)
        failed += not model.converged
        for kind, terms in (("differences", model.terms[1:3]), ("slopes", model.terms[4:6])):
            covered[kind].append(float(np.mean([term.low <= 0 <= term.high for term in terms])))
            covered[f"{kind}_model"].append(float(np.mean([term.model_low <= 0 <= term.model_high for term in terms])))
    return {"studies": studies, "not_converged": failed, **_shares(covered)}


def show(row: dict[str, str | float], names: list[str]) -> str:
    """Return a row as Markdown, each number with its standard error."""
    cells = [f"{row[name]} ± {row[f'{name}_error']}" if f"{name}_error" in row else str(row[name]) for name in names]
    return f"| {' | '.join(cells)} |"


def check_statistics(studies: int = 1000, models: int = 400, resamples: int = 999, seed: int = 0, output: str = "") -> None:
    """Simulate all settings, print the tables, and write the first one as CSV."""
    if output and Path(output).exists():
        raise ConfigError(f"{output} already exists: choose another --output, or remove it")
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
    print(f"\n{studies} studies per row, {resamples} resamples, seed {seed}; {time.process_time() - began:.0f} s of CPU time")


if __name__ == "__main__":
    try:
        fire.Fire(check_statistics)
    except USER_ERRORS as error:
        sys.exit(f"check_statistics: {error}")
