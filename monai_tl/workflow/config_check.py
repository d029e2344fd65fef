"""The settings of a merged config, checked before anything is made: by verbs, and first of all in ``initialize``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from monai.bundle import ConfigParser

from monai_tl.device import choose_device
from monai_tl.errors import ConfigError, in_words, user_error
from monai_tl.settings.refusals import raise_refusals, refusal
from monai_tl.settings.table import EXPRESSION, FOLLOWS, REFERRED, SETTINGS, problems
from monai_tl.settings.untyped import Untyped
from monai_tl.settings.values import Kind, Text, YesNo
from monai_tl.storage.streams import print_anything


def check_settings() -> None:
    """Check the settings of the config that is being run; named first in its ``initialize``.

    ``python -m monai.bundle`` then says our errors in a line, exit code 2, as verbs do, rather than beneath its own traceback.

    Raises:
        ConfigError: with all that is wrong.
    """
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    if main is not None and main.name == "monai.bundle.__main__":
        print_anything()
        sys.excepthook = _say
        raise_refusals(_passed_over(sys.argv))
    check_config(running_parser())


def check_config(parser: ConfigParser) -> None:
    """Check every setting of a config, expressions and references by what they come to.

    Raises:
        ConfigError: with all that is wrong, or for a device that is not there.
    """
    config = dict(parser.get())
    given, failed = {}, {}
    for name in (name for name in SETTINGS if name in config):
        try:
            given[name] = parser.get_parsed_content(name) if _is_expression(config[name]) else config[name]
        except Exception as error:  # whatever a user's expression raises
            told = in_words(error)
            failed[name] = told if user_error(error) else f"{name}: {config[name]} cannot be evaluated ({told})"
    origins = {name for name in failed if not any(f"@{other}" in str(config[name]) for other in failed)}
    wrong = problems({name: value for name, value in given.items() if not _is_copy(name, config)})
    wrong += [
        f"{name} follows from {origin}: set these; got {config[name]!r}"
        for name, origin in FOLLOWS.items()
        if name in config and not _is_expression(config[name])
    ]
    if given.get("device") == "auto":  # verbs have resolved it by now
        wrong.append("device takes cpu, cuda or cuda:1 in a config, and $choose_device('auto'); got 'auto'")
    raise_refusals(wrong or [failed[name] for name in origins])  # an expression may fail for another setting that is wrong
    if isinstance(given.get("device"), str):
        choose_device(given["device"])


def read_overrides(parser: ConfigParser, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Finish reading what was typed: an id that is no setting is read by what stands in the config.

    Where the config refers to a setting, it is read as that one; where it has true or false, nothing else is taken, and no
    word where it has a number. Where it has plain text at its top level, text stays as it was typed. All else is read as
    `monai_tl.settings.untyped.read_untyped` does.

    Args:
        parser: of the merged config, which has each of the ids.
        overrides: by id; settings are read already.

    Raises:
        ConfigError: for what is not of the kind that it has to be.
    """
    macros = [key for key, value in overrides.items() if str(value).startswith("%")]
    if macros:
        raise ConfigError(
            f"{macros[0]} begins with %, by which MONAI names a part of another config; got '{overrides[macros[0]]}'. Is it a "
            "variable that the shell was to fill in?"
        )
    typed = {
        key: _kind(key, parser[key])
        for key, value in overrides.items()
        if key not in SETTINGS and isinstance(value, str) and not _is_expression(value)
    }
    raise_refusals(refusal(key, kind, overrides[key], typed=True) for key, kind in typed.items())
    return {key: typed[key].read(value) if key in typed else value for key, value in overrides.items()}


def _kind(key: str, before: Any) -> Kind:
    """Give what an id that is no setting takes, by what the config has in its place."""
    nested = "#" in key or "::" in key
    if isinstance(before, str) and before[1:] in REFERRED and before[0] == "@":
        return REFERRED[before[1:]]
    if isinstance(before, bool):
        return YesNo()
    if isinstance(before, str) and not nested and not _is_expression(before):
        return Text("any text", "(?s).*")
    return Untyped(no_text=isinstance(before, int | float))


def running_parser() -> ConfigParser:
    """Find the parser that is evaluating the config: MONAI hands it to nothing that a config calls."""
    for frame in inspect.stack(context=0):
        candidate = frame.frame.f_locals.get("self")
        if isinstance(candidate, ConfigParser):
            return candidate
    raise RuntimeError("this is to be called from a bundle config's initialize")


def _is_copy(name: str, config: Mapping[str, Any]) -> bool:
    """Say if a setting is another one, which takes the same: ``inference_window: "@window"``."""
    value = config[name]
    return isinstance(value, str) and value[:1] == "@" and SETTINGS.get(value[1:]) == SETTINGS[name] and value[1:] in config


def _is_expression(value: Any) -> bool:
    """Say if a config's value, or a part of it, is still to be evaluated."""
    if isinstance(value, list):
        return any(_is_expression(item) for item in value)
    return isinstance(value, str) and value.startswith(EXPRESSION)


def _passed_over(command: Sequence[str]) -> Iterator[str]:
    """Name each ``--id None`` of MONAI's command line, which sets nothing there, though it looks as if."""
    for word, following in zip(command, [*command[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if word.startswith("--") and (value if equals else following) == "None":
            yield f"{name[2:]}: MONAI's command line passes over None; write {name[2:]}: null into a config, or leave it away"


def _say(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    cause = user_error(error)
    if cause is None:
        sys.__excepthook__(kind, error, traceback)
        return
    print(f"monai_tl: {cause}", file=sys.stderr)
    sys.exit(2)
