"""Command-line arguments: unknown ones are refused before a verb runs, text stays text."""

from __future__ import annotations

import difflib
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fire

from monai_tl.errors import ConfigError, did_you_mean

Verb = Callable[..., None]
Verbs = Mapping[str, Any]  # name -> verb, or -> verbs
HELP = ("-h", "--help", "help")


def run(verbs: Verbs, arguments: Sequence[str]) -> None:
    """Call the verb that the arguments name.

    Raises:
        ConfigError: for an unknown verb or flag, before anything is done: Fire would refuse it only after the work.
    """
    if not arguments or any(word in HELP for word in arguments):
        print(_help(verbs, [word for word in arguments if word not in HELP]))
        return
    verb, at = _find_verb(verbs, arguments)
    fire.Fire(verb, command=checked(verb, arguments[at:]), name="monai_tl")


def flags_of(verb: Verb) -> tuple[str, ...]:
    """Name the flags of a verb."""
    return tuple(p.name for p in inspect.signature(verb).parameters.values() if p.kind is p.KEYWORD_ONLY)


def _help(verbs: Verbs, arguments: Sequence[str]) -> str:
    """Give a line for each verb, or all about the one that is named."""
    words = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))
    entry: Any = verbs
    for at, word in enumerate(words):
        if callable(entry):
            break
        if word not in entry:
            raise ConfigError(f"unknown verb '{' '.join(words[: at + 1])}': {did_you_mean(word, entry)}")
        entry = entry[word]
    prefix = " ".join(["monai_tl", *words])
    if not callable(entry):
        return usage(entry, prefix) + ("\n\nAll flags of a verb: monai_tl VERB --help" if entry is verbs else "")
    flags = [
        f"    --{p.name}" + (" (needed)" if p.default is p.empty else "" if p.default in (None, "") else f" {p.default}")
        for p in inspect.signature(entry).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    ]
    return "\n".join(
        [usage({words[-1]: entry}, " ".join(["monai_tl", *words[:-1]])), "\n    flags, with their defaults:", *flags]
    )


def usage(verbs: Verbs, prefix: str = "monai_tl") -> str:
    """Give a few lines for each verb."""
    told = []
    for name, entry in verbs.items():
        if callable(entry):
            told.append(
                f"{prefix} {name}\n    " + (inspect.getdoc(entry) or "").replace("\n", "\n    ").replace("    \n", "\n")
            )
        else:
            told.append(usage(entry, f"{prefix} {name}"))
    return "\n\n".join(told)


def checked(verb: Verb, arguments: Sequence[str]) -> list[str]:
    """Give a verb's arguments as Fire is to see them: known ones only, text quoted (Fire reads 2013_10 as a number).

    Raises:
        ConfigError: for a flag that is unknown, missing, given twice or without its value, or a value without a flag.
    """
    parameters = inspect.signature(verb).parameters.values()
    flags = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    others = next((p for p in parameters if p.kind is p.VAR_KEYWORD), None)
    listed = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    given, passed, seen = list(arguments), list[str](), set[str]()
    while given:
        word = given.pop(0)
        if not word.startswith("--"):
            if not listed:
                raise ConfigError(f"'{word}' stands alone: values follow a flag. Flags: {', '.join(flags)}")
            passed.append(repr(word))
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        parameter = flags.get(name, others)
        if parameter is None:
            raise ConfigError(f"unknown flag '--{name}': {did_you_mean(name, flags)}")
        if name in seen:
            raise ConfigError(f"--{name} is given twice; give it once")
        seen.add(name)
        kind = str(parameter.annotation)
        value = value if equals else _next_value(name, kind, given)
        value = value.capitalize() if value in ("true", "false") else value  # as YAML and shells write them
        passed.append(f"--{name}={value!r}" if "str" in kind else f"--{name}={value}")
    missing = [name for name, p in flags.items() if p.default is p.empty and name not in seen]
    if missing:
        meant = [name for name in seen - flags.keys() if difflib.get_close_matches(name, missing)]
        hint = f" (did '--{meant[0]}' mean it?)" if meant else ""
        raise ConfigError(f"missing --{', --'.join(missing)}{hint}. {(inspect.getdoc(verb) or '').splitlines()[0]}")
    return passed


def _next_value(name: str, kind: str, given: list[str]) -> str:
    """Take the word after a flag; none where only yes or no is asked, or anything may be."""
    if given and not given[0].startswith("--"):
        return given.pop(0)
    if "bool" in kind or "Any" in kind:
        return "True"
    raise ConfigError(f"--{name} needs a value: --{name} VALUE")


def names(value: str) -> tuple[str, ...]:
    """Read names as a shell gives them: ``T1,T2`` or ``['T1','T2']``."""
    return tuple(name.strip(" '\"") for name in str(value).strip("[]()").split(",") if name.strip(" '\""))


def numbers(value: str, flag: str) -> tuple[float, ...]:
    """Read numbers as a shell gives them: ``0.7,0.15,0.15``.

    Raises:
        ConfigError: if one is none.
    """
    try:
        return tuple(float(number) for number in names(value))
    except ValueError:
        raise ConfigError(f"{flag} takes numbers, e.g. 17,53; got '{value}'") from None


def _find_verb(verbs: Verbs, arguments: Sequence[str]) -> tuple[Verb, int]:
    entry: Any = verbs
    for at, word in enumerate(arguments):
        if word not in entry:
            raise ConfigError(f"unknown verb '{' '.join(arguments[: at + 1])}': {did_you_mean(word, entry)}")
        entry = entry[word]
        if callable(entry):
            return entry, at + 1
    raise ConfigError(f"'{' '.join(arguments)}' needs one of: {', '.join(entry)}")
