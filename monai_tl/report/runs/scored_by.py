"""What runs are shown by: a metric, of one region or over all; its name, unit and direction in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from monai_tl.evaluation.compare import Interval
from monai_tl.evaluation.metrics import METRICS, Metric
from monai_tl.evaluation.run_scores import RunScores
from monai_tl.evaluation.scores import Score
from monai_tl.text import NONE, printable


@dataclass(frozen=True)
class ScoredBy:
    """The score that a page shows.

    Attributes:
        metric: what runs are compared by.
        region: where; empty: the mean over all regions of a case.
        several: whether there are several regions, so that the region is named.
        tolerance: of the normalised surface Dice, e.g. ``"1 mm"``; empty for other metrics.

    Example:
        >>> from monai_tl.evaluation.metrics import METRICS
        >>> from monai_tl.report.runs.scored_by import ScoredBy
        >>> by = ScoredBy(METRICS["hd95"], "anterior")
        >>> by.what, by.column, by.text(1.414)
        ('95 % Hausdorff distance in anterior', '95 % Hausdorff distance, mm', '1.41 mm')
    """

    metric: Metric = METRICS["dice"]
    region: str = ""
    several: bool = False
    tolerance: str = ""

    @property
    def where(self) -> str:
        """The end of a sentence on a mean: ``" in anterior"``, ``" over all regions"``, or nothing for a single region."""
        if self.region:
            return f" in {printable(self.region)}"
        return " over all regions" if self.several else ""

    @property
    def what(self) -> str:
        """The score in headings: ``"Dice"``, ``"Dice in anterior"``, ``"Dice, mean over regions"``."""
        tolerance = f" (tolerance {self.tolerance})" if self.tolerance else ""
        where = f" in {printable(self.region)}" if self.region else ", mean over regions" if self.several else ""
        return f"{self.metric.label}{tolerance}{where}"

    @property
    def what_first(self) -> str:
        """The score at the beginning of a heading."""
        return capitalised(self.what)

    @property
    def column(self) -> str:
        """The metric with its unit, for the head of a column or an axis."""
        return with_unit(self.metric)

    @property
    def better(self) -> str:
        """The direction in words."""
        return f"{'higher' if self.metric.higher_is_better else 'lower'} is better"

    @property
    def companion(self) -> Metric:
        """The metric that is shown next to it: distances next to Dice, and Dice next to any other."""
        return METRICS["hd95" if self.metric.name == "dice" else "dice"]

    def text(self, value: float) -> str:
        """Return a value with its unit, or a dash."""
        return value_text(self.metric, value)

    def signed(self, value: float) -> str:
        """Return a difference with its sign and unit, or a dash."""
        return signed_value(self.metric, value)

    def verdict(self, verdict: str) -> str:
        """Return the verdict on a difference, with its direction where lower is better: ``"lower (better)"``."""
        if self.metric.higher_is_better:
            return verdict
        return {"lower": "lower (better)", "higher": "higher (worse)"}.get(verdict, verdict)

    def lacking(self, run: RunScores) -> str:
        """Return what a run's scores lack to be shown; empty if nothing."""
        if self.region and self.region not in run.regions:
            named = [region for region in run.regions if region]
            return f"scores have no region '{self.region}' (there are: {', '.join(named) or 'one region without a name'})"
        metrics = list(run.scores[0].values)
        return "" if self.metric.name in metrics else f"scores lack {self.metric.name} (there are: {', '.join(metrics)})"


def with_unit(metric: Metric) -> str:
    """Return a metric's label with its unit: ``"95 % Hausdorff distance, mm"``."""
    return f"{metric.label}, {metric.unit}" if metric.unit else metric.label


def capitalised(text: str) -> str:
    """Return a text with its first letter as a capital."""
    return f"{text[:1].upper()}{text[1:]}"


def value_text(metric: Metric, value: float) -> str:
    """Return a value with its unit, or a dash if it is undefined."""
    return NONE if math.isnan(value) else metric.text(value)


def value_cell(metric: Metric, value: float) -> str:
    """Return a value without its unit, which the head of the column names."""
    return value_text(metric, value).removesuffix(metric.unit).strip()


def signed_value(metric: Metric, value: float) -> str:
    """Return a difference with its sign and unit, or a dash if it is undefined."""
    return NONE if math.isnan(value) else ("−" if math.copysign(1, value) < 0 else "+") + metric.text(abs(value))


def signed_cell(metric: Metric, value: float) -> str:
    """Return a difference with its sign and without its unit."""
    return signed_value(metric, value).removesuffix(metric.unit).strip()


def interval_cell(metric: Metric, ends: Interval) -> str:
    """Return an interval of a mean without its unit."""
    return f"[{value_cell(metric, ends.low)}, {value_cell(metric, ends.high)}]" if ends.known else "none"


def signed_interval_cell(metric: Metric, ends: Interval) -> str:
    """Return an interval of a difference without its unit."""
    return f"[{signed_cell(metric, ends.low)}, {signed_cell(metric, ends.high)}]" if ends.known else "none"


def why_undefined_counts(scores: Sequence[Score], metric: Metric) -> Counter[str]:
    """Return how often a metric is undefined in scores of one region, by reason."""
    undefined = [score for score in scores if math.isnan(score.values[metric.name])]
    return Counter(metric.why_undefined(score.prediction_ml, score.reference_ml) or "not computed" for score in undefined)


def reasons_text(counts: Counter[str]) -> str:
    """Return reasons with their counts: ``"1 (reference empty), 2 (prediction empty)"``."""
    return ", ".join(f"{count} ({reason})" for reason, count in counts.items())
