"""How intensities are normalised, as configs write it, for all modalities or each: ``zscore_volume``, ``window(-175,250)`` …"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monai_tl.errors import did_you_mean
from monai_tl.settings.values import DECIMAL

# name -> what it takes in parentheses; the numbers of one form
FORMS: dict[str, tuple[tuple[str, ...], ...]] = {
    "zscore_volume": ((),),
    "zscore_nonzero": ((),),
    "window": (("low", "high"),),
    "minmax": ((),),
    "percentile": (("low", "high"),),
    "fixed": (("mean", "sd"), ("mean", "sd", "low", "high")),
}
WRITTEN = {
    "window": "window(-175,250)",
    "percentile": "percentile(0.5,99.5)",
    "fixed": "fixed(40,80) or fixed(40,80,-175,250)",
}


@dataclass(frozen=True)
class Normalisation:
    """How the intensities of one modality are normalised; printed, it is as configs write it.

    Attributes:
        name: ``zscore_volume``: minus the mean, divided by the standard deviation, of all voxels of the volume;
            ``zscore_nonzero``: the same of its voxels that are not 0, which stay 0; ``window``: clipped to low and high, then
            scaled so that low becomes 0 and high 1, e.g. Hounsfield units; ``minmax``: scaled so that the lowest voxel of the
            volume becomes 0 and its highest 1; ``percentile``: as window, low and high being these percentiles of all voxels
            of the volume (interpolated linearly); ``fixed``: clipped to low and high, if given, then minus mean, divided by sd.
        numbers: in the order of `FORMS`.

    Example:
        >>> from monai_tl.settings.normalisation import Normalisation
        >>> str(Normalisation("window", (-175.0, 250.0)))
        'window(-175,250)'
    """

    name: str
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Return it as configs write it."""
        return f"{self.name}({','.join(map(_written, self.numbers))})" if self.numbers else self.name

    @property
    def in_units(self) -> bool:
        """Whether its numbers are intensities, so that it only suits images in the same units."""
        return self.name in ("window", "fixed")

    @property
    def in_words(self) -> str:
        """What it does to a volume: ``"clipped to -175 to 250 and scaled to 0 to 1"``."""
        numbers = [_written(number) for number in self.numbers]
        if self.name == "fixed":
            clipped = f"clipped to {numbers[2]} to {numbers[3]}, " if numbers[2:] else ""
            return f"{clipped}minus {numbers[0]}, divided by {numbers[1]}"
        low, high = numbers or ("", "")
        return {
            "zscore_volume": "z-scored by the whole volume",
            "zscore_nonzero": "z-scored by their non-zero voxels",
            "window": f"clipped to {low} to {high} and scaled to 0 to 1",
            "minmax": "scaled from their lowest and highest value to 0 and 1",
            "percentile": f"clipped to the volume's percentiles {low} and {high} and scaled to 0 to 1",
        }[self.name]


def read_normalisations(value: Any) -> tuple[Normalisation, ...]:
    """Read one normalisation for all modalities, or a list of one for each.

    Args:
        value: text, or a list of texts; also the list that YAML makes of ``[window(-175,250), zscore_volume]``, in which it
            splits at each comma.

    Raises:
        ValueError: with the reason.

    Example:
        >>> from monai_tl.settings.normalisation import read_normalisations
        >>> [str(one) for one in read_normalisations("[window(-175, 250), zscore_volume]")]
        ['window(-175,250)', 'zscore_volume']
    """
    if isinstance(value, list | tuple) and value:
        value = ",".join(map(str, value))
    elif not isinstance(value, str):
        raise ValueError(f"normalisation takes text; got {value!r}: {did_you_mean('', FORMS)}")
    text = value.strip()
    parts = _split(text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text)
    return tuple(_read(part.strip()) for part in parts)


def normalisation_for(value: Any, modalities: int) -> tuple[Normalisation, ...]:
    """Return the normalisation of each modality.

    Raises:
        ValueError: with the reason, also if there is neither one for all modalities nor one for each.
    """
    found = read_normalisations(value)
    if len(found) not in (1, modalities):
        raise ValueError(
            f"normalisation takes one for all modalities or one for each of the {modalities}; got {len(found)}: "
            f"{', '.join(map(str, found))}"
        )
    return found * modalities if len(found) == 1 else found


def shortest(normalisations: Sequence[Normalisation]) -> str | tuple[str, ...]:
    """Return normalisations as configs write them: one text if all are the same."""
    texts = tuple(map(str, normalisations))
    return texts[0] if len(set(texts)) == 1 else texts


@dataclass(frozen=True)
class Normalisations:
    """The kind of the setting ``normalisation``: text, or a list with one for each modality."""

    takes: str = (
        "zscore_volume, zscore_nonzero, window(low,high), minmax, percentile(low,high), fixed(mean,sd) or "
        "fixed(mean,sd,low,high), or a list with one for each modality"
    )

    def read(self, text: str) -> str | list[str]:
        """Read one, or several separated by commas; what is wrong with them is left to `fault`."""
        try:
            found = [str(one) for one in read_normalisations(text)]
        except ValueError:
            return text
        return found if len(found) > 1 else found[0]

    def allows(self, value: Any) -> bool:
        """Return whether the value can be read."""
        return not self.fault(value)

    def fault(self, value: Any) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        try:
            read_normalisations(value)
        except ValueError as error:
            return str(error)
        return ""


def _split(text: str) -> list[str]:
    """Split at the commas outside parentheses."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _read(text: str) -> Normalisation:
    name, opened, inner = text.partition("(")
    name = name.strip()
    if name not in FORMS:
        raise ValueError(f"unknown normalisation {text!r}: {did_you_mean(name, FORMS)}")
    numbers = [number.strip() for number in inner.removesuffix(")").split(",")] if opened else []
    if len(numbers) not in map(len, FORMS[name]) or (opened and not inner.endswith(")")):
        takes = " or ".join(filter(None, map(", ".join, FORMS[name])))
        needs = f"{takes}, e.g. {WRITTEN[name]}" if takes else f"no numbers: {name}"
        raise ValueError(f"normalisation {name} takes {needs}; got {text!r}")
    if odd := [number for number in numbers if not DECIMAL.fullmatch(number)]:
        raise ValueError(f"normalisation {text!r}: {odd[0]!r} is not a number")
    found = Normalisation(name, tuple(map(float, numbers)))
    if problem := _contradiction(found):
        raise ValueError(f"normalisation {text!r}: {problem}")
    return found


def _contradiction(found: Normalisation) -> str:
    form = next((form for form in FORMS[found.name] if len(form) == len(found.numbers)), ())
    of = dict(zip(form, found.numbers, strict=True))
    low, high = of.get("low", 0.0), of.get("high", 1.0)
    if not low < high:
        return f"low ({_written(low)}) must be below high ({_written(high)})"
    if found.name == "percentile" and not (low >= 0 and high <= 100):
        return f"percentiles are from 0 to 100; got {_written(low)} and {_written(high)}"
    if not of.get("sd", 1.0) > 0:
        return f"sd must be above 0; got {_written(of['sd'])}"
    if any(abs(number) > 1e30 for number in found.numbers):
        return "numbers must fit 32-bit floats"
    return ""


def _written(number: float) -> str:
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)
