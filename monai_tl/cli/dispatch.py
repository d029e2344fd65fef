"""Running the verb that a command line names, or showing its help."""

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

    Arguments are checked before the verb runs. Fire alone would refuse an unknown flag only afterwards, and would evaluate text
    as Python.

    Raises:
        ConfigError: for an unknown verb or flag, or an invalid value.
    """
    if list(arguments) == ["--version"]:
        print(f"monai_tl {monai_tl.__version__}")
        return
    if not arguments or any(word in HELP for word in arguments) or "help" in (arguments[0], *_words(arguments)[-1:]):
        print(_help(verbs, [word for word in arguments if word not in (*HELP, "help")]))
        return
    verb, at = _find_verb(verbs, arguments)
    command = checked(verb, arguments[at:])
    import fire  # it imports asyncio, so it is imported after the arguments have been checked

    fire.Fire(verb, command=command, name="monai_tl")


def _words(arguments: Sequence[str]) -> list[str]:
    """Return the words before the first flag."""
    return list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))


def _help(verbs: Verbs, arguments: Sequence[str]) -> str:
    """Return the help of the named verb, or one line per verb."""
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
