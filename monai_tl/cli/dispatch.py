"""From a command line to the verb that it names, or to its help."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import monai_tl
from monai_tl.cli.arguments import Verb, Verbs, checked
from monai_tl.cli.help import of_verb, overview
from monai_tl.errors import ConfigError, did_you_mean

HELP = ("-h", "--help")


def run(verbs: Verbs, arguments: Sequence[str]) -> None:
    """Call the verb that the arguments name.

    Raises:
        ConfigError: for an unknown verb or flag or a value of no use, before anything is done: Fire would refuse a flag only
            after the work, and read text as Python.
    """
    if list(arguments) == ["--version"]:
        print(f"monai_tl {monai_tl.__version__}")
        return
    if not arguments or any(word in HELP for word in arguments) or "help" in (arguments[0], *_words(arguments)[-1:]):
        print(_help(verbs, [word for word in arguments if word not in (*HELP, "help")]))
        return
    verb, at = _find_verb(verbs, arguments)
    command = checked(verb, arguments[at:])
    import fire  # which imports asyncio: not before the arguments are known to be right

    fire.Fire(verb, command=command, name="monai_tl")


def _words(arguments: Sequence[str]) -> list[str]:
    """Return the words before the first flag."""
    return list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))


def _help(verbs: Verbs, arguments: Sequence[str]) -> str:
    """Return a line for each verb, or all about the one that is named."""
    words = _words(arguments)
    entry: Any = verbs
    for at, word in enumerate(words):
        if callable(entry):
            words = words[:at]
            break
        if word not in entry:
            raise ConfigError(f"unknown verb '{' '.join(words[: at + 1])}': {did_you_mean(word, entry)}")
        entry = entry[word]
    return of_verb(entry, " ".join(words)) if callable(entry) else overview(entry, tuple(words))


def _find_verb(verbs: Verbs, arguments: Sequence[str]) -> tuple[Verb, int]:
    entry: Any = verbs
    for at, word in enumerate(arguments):
        if word not in entry:
            raise ConfigError(f"unknown verb '{' '.join(arguments[: at + 1])}': {did_you_mean(word, entry)}")
        entry = entry[word]
        if callable(entry):
            return entry, at + 1
    raise ConfigError(f"'{' '.join(arguments)}' needs one of: {', '.join(entry)}")
