"""Checks of a merged config's settings, called by verbs and as the first entry of a config's ``initialize``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType

from monai.bundle import ConfigParser

from monai_tl.device import choose_device
from monai_tl.errors import in_words, user_error
from monai_tl.settings.refusals import raise_refusals
from monai_tl.settings.table import SETTINGS
from monai_tl.storage.streams import print_anything
from monai_tl.workflow.merged_config import is_expression
from monai_tl.workflow.overrides import settings_problems


def check_settings() -> None:
    """Check the settings of the config that is being run; call it first in ``initialize``.

    It also makes ``python -m monai.bundle`` print errors of this package in one line, exit code 2, without a traceback.

    Raises:
        ConfigError: with all problems.
    """
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    if main is not None and main.name == "monai.bundle.__main__":
        print_anything()
        sys.excepthook = _print_error
        raise_refusals(_ignored_by_monai(sys.argv))
    check_config(running_parser())


def check_config(parser: ConfigParser) -> None:
    """Check every setting of a config; expressions and references are evaluated first.

    Raises:
        ConfigError: with all problems, or if the device does not exist.
    """
    config = dict(parser.get())
    given, failed = {}, {}
    for name in (name for name in SETTINGS if name in config):
        try:
            given[name] = parser.get_parsed_content(name) if is_expression(config[name]) else config[name]
        except Exception as error:  # a user's expression may raise anything
            message = in_words(error)
            failed[name] = message if user_error(error) else f"{name}: {config[name]} cannot be evaluated ({message})"
    origins = {name for name in failed if not any(f"@{other}" in str(config[name]) for other in failed)}
    invalid = settings_problems(config, given)
    if given.get("device") == "auto":  # verbs have resolved it by now
        invalid.append("device takes cpu, cuda, cuda:1 or $choose_device('auto') in a config; got 'auto'")
    raise_refusals(invalid or [failed[name] for name in origins])  # an invalid setting may be why an expression fails
    if isinstance(given.get("device"), str):
        choose_device(given["device"])


def running_parser() -> ConfigParser:
    """Return the parser that is evaluating the config, found on the call stack, as MONAI does not pass it to functions."""
    for frame in inspect.stack(context=0):
        candidate = frame.frame.f_locals.get("self")
        if isinstance(candidate, ConfigParser):
            return candidate
    raise RuntimeError("call this function from a bundle config's initialize")


def _ignored_by_monai(command: Sequence[str]) -> Iterator[str]:
    """Yield a message for each ``--id None``, which MONAI's command line ignores."""
    for word, following in zip(command, [*command[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if word.startswith("--") and (value if equals else following) == "None":
            yield f"{name[2:]}: MONAI's command line ignores None; write {name[2:]}: null into a config, or omit it"


def _print_error(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    cause = user_error(error)
    if cause is None:
        sys.__excepthook__(kind, error, traceback)
        return
    print(f"monai_tl: {cause}", file=sys.stderr)
    sys.exit(2)
