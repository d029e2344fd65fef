"""What the scores of a study measure: name, unit, range and direction, as far as its statistics need them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from monai_tl.text import signed


@dataclass(frozen=True)
class Measure:
    """What scores measure. The lowest value is 0.

    Attributes:
        name: in tables and on the command line.
        label: in sentences and figures.
        unit: empty for a ratio.
        higher_is_better: direction.
        highest: largest possible value.

    Example:
        >>> import math
        >>> from monai_tl.statistics.measure import Measure
        >>> error = Measure("volume_error", "absolute volume error", "ml", higher_is_better=False, highest=math.inf)
        >>> error.text(1.5), error.difference_text(-0.25), error.is_better(-0.25)
        ('1.50 ml', '−0.25 ml', True)
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool
    highest: float

    @property
    def digits(self) -> int:
        """Decimals that are shown."""
        return 2 if self.unit else 3

    @property
    def heading(self) -> str:
        """The label with its unit, for axes and headers: ``"95 % Hausdorff distance in mm"``."""
        return f"{self.label} in {self.unit}" if self.unit else self.label

    def text(self, value: float) -> str:
        """Return a value with its unit: ``"0.853"``, ``"1.41 mm"``."""
        return self._with_unit(f"{value:.{self.digits}f}")

    def difference_text(self, value: float) -> str:
        """Return a difference with its sign and unit: ``"−0.012"``, ``"+1.41 mm"``."""
        return self._with_unit(signed(value, self.digits))

    def is_better(self, difference: float) -> bool:
        """Return whether a difference that is not 0 is an improvement."""
        return (difference > 0) == self.higher_is_better

    def refusal(self, value: float) -> str:
        """Return why a value is none of this measure; empty if it is one, or undefined (NaN)."""
        if math.isnan(value) or (0 <= value <= self.highest and not math.isinf(value)):
            return ""
        return "must be 0 or more" if math.isinf(self.highest) else f"must be between 0 and {self.highest:g}"

    def _with_unit(self, number: str) -> str:
        return f"{number} {self.unit}" if self.unit else number


BY_DICE = Measure("dice", "Dice", "", higher_is_better=True, highest=1)
