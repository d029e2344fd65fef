"""The settings of a merged config, checked before anything is made: by verbs, and first of all in ``initialize``."""

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
            given[name] = parser.get_parsed_content(name) if is_expression(config[name]) else config[name]
        except Exception as error:  # whatever a user's expression raises
            told = in_words(error)
            failed[name] = told if user_error(error) else f"{name}: {config[name]} cannot be evaluated ({told})"
    origins = {name for name in failed if not any(f"@{other}" in str(config[name]) for other in failed)}
    wrong = settings_problems(config, given)
    if given.get("device") == "auto":  # verbs have resolved it by now
        wrong.append("device takes cpu, cuda or cuda:1 in a config, and $choose_device('auto'); got 'auto'")
    raise_refusals(wrong or [failed[name] for name in origins])  # an expression may fail for another setting that is wrong
    if isinstance(given.get("device"), str):
        choose_device(given["device"])


def running_parser() -> ConfigParser:
    """Find the parser that is evaluating the config: MONAI hands it to nothing that a config calls."""
    for frame in inspect.stack(context=0):
        candidate = frame.frame.f_locals.get("self")
        if isinstance(candidate, ConfigParser):
            return candidate
    raise RuntimeError("this is to be called from a bundle config's initialize")


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
