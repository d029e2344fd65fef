"""Check a run's datalist, stages and source before PyTorch is imported, which takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_tl.datasets.datalist import Datalist, read_datalist
from monai_tl.datasets.regions import regions_of
from monai_tl.errors import TransferError, list_problems
from monai_tl.networks.stage_names import chosen_fresh, known_stages, resolve_freeze
from monai_tl.transfer.weight_files import weights_at
from monai_tl.workflow.merged_config import is_expression, plain_text


def check_data(config: Mapping[str, Any], splits: Sequence[str]) -> None:
    """Refuse a datalist that does not exist, or lacks a split, a modality or, to train, a class; expressions are not checked.

    Args:
        config: merged config, with all settings.
        splits: the splits that are used.

    Raises:
        DataError: as `read_datalist` does.
        ConfigError: as `regions_of` does.
    """
    path = plain_text(config, "datalist")
    if path is None:
        return
    data, modalities = read_datalist(Path(path)), config.get("modalities")
    for split in splits if isinstance(modalities, list) and not is_expression(modalities) else ():
        data.split(split, modalities)
    if "train" in splits:  # evaluation compares classes with those of the weights first
        check_classes(config, data)


def check_classes(config: Mapping[str, Any], data: Datalist) -> None:
    """Refuse classes that the datalist lacks, or that overlap although they exclude each other, unless they are an expression.

    Raises:
        ConfigError: as `regions_of` does.
    """
    classes = config.get("classes")
    if isinstance(classes, list) and not is_expression(classes):
        regions_of(data.regions, classes)


def check_start(config: Mapping[str, Any]) -> None:
    """Refuse unknown stages, if the network is one that is known by name, and a source without weights; all in one error.

    Raises:
        TransferError: as `apply_transfer` does.
    """
    found, freeze, fresh = known_stages(config.get("network_def")), config.get("freeze"), config.get("fresh")
    problems: list[str] = []
    if found and freeze is not None and not is_expression(freeze):
        problems += _refusal_of(lambda: resolve_freeze(found, freeze))
    if found and fresh is not None and not is_expression(fresh):
        problems += _refusal_of(lambda: chosen_fresh(found, fresh))
    source = plain_text(config, "source")
    if source is not None:
        problems += _refusal_of(lambda: weights_at(source))
    if problems:
        raise TransferError(
            problems[0] if len(problems) == 1 else list_problems("this transfer cannot start:", problems, shown=len(problems))
        )


def _refusal_of(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except TransferError as error:
        return [str(error)]
    return []
