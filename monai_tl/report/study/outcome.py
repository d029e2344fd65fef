"""By what a study is evaluated: a metric, and a region or the mean over all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

from monai_tl.errors import ConfigError, DataError, did_you_mean
from monai_tl.evaluation.metrics import METRICS, Metric, find_metrics
from monai_tl.evaluation.scores import Score
from monai_tl.statistics.measure import Measure
from monai_tl.statistics.score_array import RunKey
from monai_tl.study.gather import common_metrics

MEAN = "mean over regions"


@dataclass(frozen=True)
class StudyOutcome:
    """A metric of a region.

    Attributes:
        metric: the metric.
        region: name of the region; empty for all regions.
        several: whether there are several regions, so that ``""`` stands for their mean.
    """

    metric: Metric
    region: str = ""
    several: bool = False

    @cached_property
    def measure(self) -> Measure:
        """The metric with the region in its label: ``"Dice"``, ``"Dice (anterior)"``, ``"Dice (mean over regions)"``."""
        plain = Measure(**{item.name: getattr(self.metric, item.name) for item in fields(Measure)})
        return replace(plain, label=f"{plain.label}{self.suffix}")

    @property
    def suffix(self) -> str:
        """What follows the label of any metric of this region."""
        name = self.region or (MEAN if self.several else "")
        return f" ({name})" if name else ""

    @property
    def volume_suffix(self) -> str:
        """What follows the name of a volume, which is summed over the regions."""
        return " (sum of regions)" if self.several and not self.region else self.suffix

    @property
    def column(self) -> str:
        """Name in a CSV: ``"dice"``, ``"hd95_anterior_mm"``."""
        parts = (self.metric.name, re.sub(r"[^A-Za-z0-9]+", "_", self.region), self.metric.unit)
        return "_".join(filter(None, parts))

    @property
    def flags(self) -> dict[str, str]:
        """The flags of `monai_tl report` that select it; none for Dice over all regions."""
        chosen = {"metric": "" if self.metric.name == "dice" else self.metric.name, "region": self.region}
        return {name: value for name, value in chosen.items() if value}


def choose_outcome(scores: Mapping[RunKey, Sequence[Score]], metric: str, region: str, folder: str) -> StudyOutcome:
    """Return the outcome by which a study is to be evaluated.

    Args:
        scores: (arm, n, seed) -> the scores of this run.
        metric: name of the metric.
        region: name of the region; empty for all.
        folder: of the study, for messages.

    Raises:
        ConfigError: if there is no such metric, or it was not scored in all runs; with the commands that do it.
        DataError: if there is no such region, or the runs were scored on different regions.
    """
    chosen = find_metrics([metric])[-1]  # after Dice
    regions = scored_regions(scores)
    if region and region not in regions:
        none = "no run has been scored yet: omit --region"
        raise DataError(f"no region '{region}' in this study: {did_you_mean(region, regions) if scores else none}")
    if scores:
        _refuse_unscored(scores, metric, folder)
    return StudyOutcome(chosen, region, len(regions) > 1)


def scored_regions(scores: Mapping[RunKey, Sequence[Score]]) -> tuple[str, ...]:
    """Return the names of the regions; none without a score.

    Raises:
        DataError: if the runs were scored on different regions.
    """
    regions: tuple[str, ...] = ()
    for run, of in scores.items():
        own = tuple(dict.fromkeys(score.region for score in of))
        if regions and set(own) != set(regions):
            name = "arm {}, n {}, seed {}".format(*run)
            both = f"{', '.join(own)} instead of {', '.join(regions)}"
            raise DataError(f"the runs of this study were scored on different regions: {name} on {both}; score all runs alike")
        regions = regions or own
    return regions


def _refuse_unscored(scores: Mapping[RunKey, Sequence[Score]], metric: str, folder: str) -> None:
    lacking = [run for run, of in scores.items() if metric not in of[0].values]
    if not lacking:
        return
    existing = common_metrics(scores)
    metrics = ",".join(name for name in METRICS if name in {*existing, metric})
    where = "this study" if len(lacking) == len(scores) else f"{len(lacking)} of the {len(scores)} scored runs of this study"
    raise ConfigError(
        f"{metric} was not scored in {where} (there are {', '.join(existing)}): run `monai_tl evaluate --run RUN "
        f"--metrics {metrics}` for each run in {folder}/runs, then `monai_tl study gather --output {folder}`; a new study is "
        f"scored by it with --metrics {metrics}"
    )
