"""Run a bundle's configs in this process, as ``python -m monai.bundle run`` does, refusing wrong input first."""

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
    """Merge configs in order, set ids to other values, and run the result from ``initialize`` to ``finalize``.

    MONAI is imported once the ids and settings are known to be right.

    Args:
        files, overrides, also, read: as `monai_tl.workflow.overrides.checked_config` takes them.

    Raises:
        ConfigError: for an id that no config has or nothing reads, or settings that cannot be used; what the run itself raises
            of the toolkit's errors comes out as it is.
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
    logging_file = files[-1].parent / "logging.conf"  # the bundle's: a run folder has none
    if logging_file.is_file():
        fileConfig(logging_file, disable_existing_loggers=False)  # as the workflow does, before anything is said
    check_config(parser)
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)  # two folders of configs are meant
    try:
        workflow = ConfigWorkflow([str(file) for file in files], logging_file=str(logging_file), **overrides)
        _initialize(workflow, [key for key in overrides if key not in SETTINGS])
        workflow.run()
        workflow.finalize()
    except Exception as error:  # MONAI wraps whatever a config's component raises
        beneath = user_error(error)
        if beneath is None:
            raise
        raise beneath from None


def _initialize(workflow: Any, others: Sequence[str]) -> None:
    """Build what a config names.

    Raises:
        ConfigError: where that fails and ids that no table knows were set, with their names.
    """
    try:
        workflow.initialize()
    except Exception as error:
        if user_error(error) or not others:
            raise
        raise ConfigError(f"nothing can be set up with {', '.join(others)} as given: {in_words(error)}") from error
