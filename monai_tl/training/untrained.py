"""The source as it is, kept as a run of the target so that it is scored like the others: the baseline without any training."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_tl.datasets.datalist import Datalist
from monai_tl.identity.run_data import note_weights
from monai_tl.storage.files import atomic_write, write_json
from monai_tl.training.run_cases import check_run_cases, record_run_cases
from monai_tl.training.run_files import BEST, RUN_FORMAT, refuse_existing
from monai_tl.training.run_folder import config_of_run, provenance_of, write_run_folder
from monai_tl.transfer.apply import transfer_summary
from monai_tl.transfer.arms import UNTRAINED
from monai_tl.transfer.contract import Contract, describe, lineage_of

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
    anonymous: bool = False,
) -> None:
    """Write a run folder whose weights are the source's, fitted to the target's image channels and nothing else.

    Named in the ``run`` of ``untrained.yaml``; the folder is whole or not there.

    Args:
        run_dir: the run's folder, new or empty.
        network: with the weights transferred.
        data: its hash is noted.
        metadata: the bundle's metadata.
        contract: what the target's images are.
        seed: noted with the run; nothing is random here.
        transfer_report: what was transferred, of `monai_tl.transfer.apply.apply_transfer`.
        anonymous: keep pseudonyms in place of subject ids in ``data.json``.

    Raises:
        ConfigError: if the folder holds anything.
        DataError: for test cases that the source was trained on.
    """
    folder = Path(run_dir)
    refuse_existing(folder, resume=False)
    untouched = replace(data, splits={name: of for name, of in data.splits.items() if name == "test"})  # nobody trained on it
    overlap = check_run_cases(untouched, transfer_report)
    stages = {name: {**row, "state": UNTRAINED, "trainable": 0} for name, row in transfer_report["stages"].items()}
    transfer_report = {**transfer_report, "stages": stages}
    logger.info(transfer_summary({**transfer_report, "overlap": overlap}))
    told = describe(metadata, contract, lineage_of(transfer_report))
    records = {
        "metadata.json": {**told, "validation_dice": None},  # nothing was validated to choose these weights
        "provenance.json": provenance_of(data, seed, str(next(network.parameters()).device)),
    }
    with write_run_folder(folder, config_of_run(), records) as staging:
        overlap = record_run_cases(staging, folder, data=untouched, transfer_report=transfer_report, anonymous=anonymous)
        write_json(
            staging / "transfer_report.json", {"format": RUN_FORMAT, **transfer_report, "untrained": True, "overlap": overlap}
        )
        with atomic_write(staging / BEST) as path:
            torch.save(network.state_dict(), path)
        note_weights(staging, staging / BEST)
    logger.info("%s: the source as it is, nothing was trained", folder)
