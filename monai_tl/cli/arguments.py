"""Command-line arguments: unknown flags and invalid values are refused before a verb runs."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.settings.assignments import ASSIGNMENTS
from monai_tl.settings.refusals import raise_refusals, read_value, refusal
from monai_tl.settings.table import COUNT, EXPRESSION, LABELS, METRIC_NAMES, POLICY, SEED, SETTINGS
from monai_tl.settings.values import Kind, Listed, Number, Text, Whole, Words, YesNo

Count = Annotated[int, COUNT]
Seed = Annotated[int, SEED]
Split = Annotated[str, SETTINGS["split"]]
MetricName = Annotated[str, Words(METRIC_NAMES)]
Policy = Annotated[str, POLICY]
Arguments = Annotated[dict[str, Any], ASSIGNMENTS]

Verb = Callable[..., None]
Verbs = Mapping[str, Any]  # name -> verb, or -> verbs
NUMBERS = Listed(Number(), "numbers separated by commas, e.g. 0.7,0.15,0.15")


def flags_of(verb: Verb) -> tuple[str, ...]:
    """Return the names of a verb's flags."""
    return tuple(p.name for p in inspect.signature(verb).parameters.values() if p.kind is p.KEYWORD_ONLY)


def checked(verb: Verb, arguments: Sequence[str]) -> list[str]:
    """Check a verb's arguments and return them for Fire, with each value as a Python literal.

    A flag of the verb is read by its annotation (``int``, ``Annotated[int, Whole(1)]``, …), a setting by the table of settings.
    Any other config id stays text, which is read once its config is known.

    Raises:
        ConfigError: for a flag that is unknown, missing, repeated or without a value, or a value without a flag; invalid values
            are all reported in one error.
    """
    parameters = inspect.signature(verb).parameters.values()
    flags = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    others = any(p.kind is p.VAR_KEYWORD for p in parameters)
    kinds, listed = kinds_of(verb), any(p.kind is p.VAR_POSITIONAL for p in parameters)
    given, passed, texts = list(arguments), list[str](), dict[str, str]()
    while given:
        word = given.pop(0)
        if not word.startswith("--") or word == "--":
            if not listed:
                raise ConfigError(f"'{word}' does not follow a flag. Flags: {', '.join(flags)}")
            passed.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if not name or not (name in flags or others):
            raise ConfigError(f"unknown flag '--{name}': {did_you_mean(name, flags)}")
        _refuse_near_flag(name, flags, verb)
        if name in texts and not getattr(kinds.get(name), "repeated", False):
            raise ConfigError(f"--{name} is given twice; give it once")
        text = value if equals else _next_value(name, kinds.get(name), given)
        texts[name] = f"{texts[name]},{text}" if name in texts else text
    _refuse_missing(verb, flags, texts)
    for name, text in texts.items():
        if name not in flags and text.startswith(EXPRESSION):
            kinds.pop(name, None)  # an expression: its value is checked with its config
    raise_refusals(refusal(name, kinds[name], text, typed=True) for name, text in texts.items() if name in kinds)
    typed = {name: kinds[name].read(text) if name in kinds else text for name, text in texts.items()}
    return [*map(repr, passed), *(f"--{name}={value!r}" for name, value in typed.items())]


def _refuse_near_flag(name: str, flags: Mapping[str, inspect.Parameter], verb: Verb) -> None:
    """Refuse a misspelt flag of a verb whose other flags are modalities, which would be taken for one of them."""
    patterns = any(
        p.kind is p.VAR_KEYWORD and get_type_hints(verb)[p.name] is str for p in inspect.signature(verb).parameters.values()
    )
    near = difflib.get_close_matches(name.lower(), flags, 1, 0.75) if patterns and name not in flags else []
    if near:
        raise ConfigError(f"unknown flag '--{name}': did you mean '--{near[0]}'? A modality needs a name less like a flag's")


def kinds_of(verb: Verb) -> dict[str, Kind]:
    """Return what each flag of a verb takes, and each setting if the verb passes settings on; anything else is text."""
    hints = get_type_hints(verb, include_extras=True)
    parameters = inspect.signature(verb).parameters.values()
    passes_on = any(p.kind is p.VAR_KEYWORD and hints.get(p.name) is Any for p in parameters)
    own = {p.name: _kind(hints[p.name], p.default) for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in hints}
    return {**(SETTINGS if passes_on else {}), **own}


def _kind(hint: Any, default: Any) -> Kind:
    """Return the kind of an annotation: the one in ``Annotated``, else the one of its type; an optional type is as required."""
    if get_origin(hint) is Annotated:
        kind: Kind = get_args(hint)[1]
        return kind
    (type_,) = [part for part in get_args(hint) or (hint,) if part is not type(None)]
    if get_origin(type_) is Annotated:
        return _kind(type_, default)
    text = Text("any text", "(?s).*") if default == "" else Text()
    of_types: dict[Any, Kind] = {bool: YesNo(), int: Whole(None), float: Number(), str: text}
    return of_types[type_]


def _next_value(name: str, kind: Kind | None, given: list[str]) -> str:
    """Remove and return the value after a flag; a flag that takes true or false needs no value."""
    if given and not given[0].startswith("--"):
        return given.pop(0)
    if isinstance(kind, YesNo):
        return "true"
    raise ConfigError(f"--{name} needs a value: --{name} VALUE{' (--' + name + '=--… if it begins with --)' if given else ''}")


def _refuse_missing(verb: Verb, flags: Mapping[str, inspect.Parameter], seen: Collection[str]) -> None:
    missing = [name for name, p in flags.items() if p.default is p.empty and name not in seen]
    if missing:
        similar = [name for name in seen if name not in flags and difflib.get_close_matches(name, missing)]
        hint = f" (did '--{similar[0]}' mean this?)" if similar else ""
        raise ConfigError(f"missing --{', --'.join(missing)}{hint}. {(inspect.getdoc(verb) or '').splitlines()[0]}")


def names(value: str) -> tuple[str, ...]:
    """Return names from the command line: ``T1,T2`` or ``['T1','T2']``."""
    return tuple(name.strip(" '\"") for name in str(value).strip("[]()").split(",") if name.strip(" '\""))


def numbers(value: str, flag: str) -> tuple[float, ...]:
    """Return numbers from the command line: ``0.7,0.15,0.15``.

    Raises:
        ConfigError: if an item is not a number.
    """
    return tuple(map(float, read_value(flag, NUMBERS, value)))


def label_values(value: str, flag: str) -> list[int]:
    """Return label values from the command line, e.g. ``17,53``; none for empty text.

    Raises:
        ConfigError: if a value is not a whole number from 1, or occurs twice.
    """
    return list(read_value(flag, LABELS, value)) if value else []


def read_label_map(text: str) -> dict[int, int]:
    """Return value there -> value here from the command line, e.g. ``3=4,1=17``; none for empty text.

    Raises:
        ConfigError: if it cannot be parsed, or a value is translated twice.
    """
    pairs = [pair.split("=") for pair in text.split(",")] if text else []
    if not all(len(pair) == 2 and all(value.strip().isdecimal() for value in pair) for pair in pairs):
        raise ConfigError(
            f"label_map takes pairs of label values, THERE=HERE, separated by commas, e.g. 3=4,1=17; got '{text}'"
        )
    if len({int(there) for there, _ in pairs}) < len(pairs):
        raise ConfigError(f"label_map translates a value twice: {text}")
    return {int(there): int(here) for there, here in pairs}
