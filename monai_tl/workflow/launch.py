"""Running a bundle's configs in this process, as ``python -m monai.bundle run`` does, after invalid input is refused."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from logging.config import fileConfig
from pathlib import Path
from typing import Any

from monai_tl.errors import ConfigError, in_words, user_error
from monai_tl.settings.table import SETTINGS
from monai_tl.workflow.merged_config import value_at
from monai_tl.workflow.overrides import RUN_BY, checked_config


def run_configs(
    files: Sequence[Path], overrides: Mapping[str, Any], also: Sequence[str] = (), *, read: Iterable[str] | None = RUN_BY
) -> None:
    """Merge configs in order, override ids, and run the result from ``initialize`` to ``finalize``.

    MONAI is imported after the ids and settings have been checked.

    Args:
        files, overrides, also, read: as in `monai_tl.workflow.overrides.checked_config`.

    Raises:
        ConfigError: for an id that no config has or that is not used, or for invalid settings. Errors of this package in the
            run itself are raised unchanged.
    """
    config = checked_config(files, overrides, also, read=read)
    _run(files, {key: value_at(config, key) for key in overrides})


def _run(files: Sequence[Path], overrides: dict[str, Any]) -> None:
    from monai.bundle import ConfigParser, ConfigWorkflow

    from monai_tl.device import choose_device
    from monai_tl.workflow.config_check import check_config

    if isinstance(overrides.get("device"), str):
        overrides["device"] = str(choose_device(overrides["device"]))
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update(overrides)
    logging_file = files[-1].parent / "logging.conf"  # of the bundle: a run folder has none
    if logging_file.is_file():
        fileConfig(logging_file, disable_existing_loggers=False)  # the workflow does the same, but too late for check_config
    check_config(parser)
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)  # it warns of configs in two folders
    try:
        workflow = ConfigWorkflow([str(file) for file in files], logging_file=str(logging_file), **overrides)
        _initialize(workflow, [key for key in overrides if key not in SETTINGS])
        workflow.run()
        workflow.finalize()
    except Exception as error:  # MONAI wraps the errors of a config's components
        cause = user_error(error)
        if cause is None:
            raise
        raise cause from None


def _initialize(workflow: Any, others: Sequence[str]) -> None:
    """Build the components of a config.

    Raises:
        ConfigError: if that fails after ids that are not settings were overridden; they are named.
    """
    try:
        workflow.initialize()
    except Exception as error:
        if user_error(error) or not others:
            raise
        raise ConfigError(f"the config cannot be built with these values of {', '.join(others)}: {in_words(error)}") from error
