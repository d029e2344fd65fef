"""The baseline without training: the source's weights as a run of the target, so that they are scored like other runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_tl.datasets.datalist import Datalist
from monai_tl.errors import TransferError
from monai_tl.identity.run_data import note_weights
from monai_tl.storage.files import atomic_write, write_json
from monai_tl.training.run_cases import check_run_cases, record_run_cases
from monai_tl.training.run_files import BEST, RUN_FORMAT, refuse_existing
from monai_tl.training.run_folder import config_of_run, provenance_of, write_run_folder
from monai_tl.transfer.arms import UNTRAINED
from monai_tl.transfer.contract import Contract, describe, lineage_of, refuse_other_classes
from monai_tl.transfer.lora import merged_state
from monai_tl.transfer.tensors import name_first
from monai_tl.transfer.transfer_report import transfer_summary

logger = logging.getLogger(__name__)


def keep_untrained(
    run_dir: str,
    *,
    network: nn.Module,
    data: Datalist,
    metadata: Mapping[str, Any],
    contract: Contract,
    seed: int,
    transfer_report: Mapping[str, Any],
    regions: Mapping[str, Sequence[int]] | None = None,
    anonymous: bool = False,
) -> None:
    """Write a run folder with the source's weights, adapted only to the target's image channels.

    Called in ``run`` of ``untrained.yaml``; the folder is written atomically.

    Args:
        run_dir: the run's folder, new or empty.
        network: with the weights transferred.
        data: datalist; its hash is recorded.
        metadata: the bundle's metadata.
        contract: what the target expects of its images.
        seed: recorded with the run; nothing is random.
        transfer_report: report of `monai_tl.transfer.apply.apply_transfer`.
        regions: name -> label values, stored with the weights.
        anonymous: write pseudonyms instead of subject ids to ``data.json``.

    Raises:
        ConfigError: if the folder is not empty.
        TransferError: if the source's head is not the target's, or a weight is newly initialised.
        DataError: if the source was trained on test cases.
    """
    folder = Path(run_dir)
    refuse_existing(folder, resume=False)
    _refuse_other_head(transfer_report, contract)
    test_only = replace(
        data, splits={name: of for name, of in data.splits.items() if name == "test"}
    )  # the run trains on no case
    overlap = check_run_cases(test_only, transfer_report)
    stages = {name: {**row, "state": UNTRAINED, "trainable": 0} for name, row in transfer_report["stages"].items()}
    transfer_report = {**transfer_report, "stages": stages}
    logger.info(transfer_summary({**transfer_report, "overlap": overlap}))
    described = describe(metadata, contract, lineage_of(transfer_report), regions)
    records = {
        "metadata.json": {**described, "validation_dice": None},  # no validation chose these weights
        "provenance.json": provenance_of(data, seed, str(next(network.parameters()).device)),
    }
    with write_run_folder(folder, config_of_run(), records) as staging:
        overlap = record_run_cases(staging, folder, data=test_only, transfer_report=transfer_report, anonymous=anonymous)
        write_json(
            staging / "transfer_report.json", {"format": RUN_FORMAT, **transfer_report, "untrained": True, "overlap": overlap}
        )
        with atomic_write(staging / BEST) as path:
            torch.save(merged_state(network), path)
        note_weights(staging, staging / BEST)
    logger.info("%s: the source's weights, without any training", folder)


def _refuse_other_head(transfer_report: Mapping[str, Any], contract: Contract) -> None:
    """Refuse a network that is not the source's as it is."""
    source, known = (transfer_report["source"] or {}).get("path", "none"), transfer_report["contract"]["source"]
    refuse_other_classes(Contract(**known) if known else None, contract, source)
    if fresh := [name for name, fate in transfer_report["weights"].items() if fate == "fresh"]:
        raise TransferError(
            f"{name_first(fresh)} would be newly initialised, so it is not the source '{source}' that would be scored; omit "
            "--fresh, or fine-tune it (monai_tl transfer)"
        )
