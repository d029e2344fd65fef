"""A run's folder: refused where it would overwrite, opened with all that explains the run, closed with a check."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
import yaml
from ignite.engine import Engine
from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import nn

import monai_tl
from monai_tl.datasets.case_checks import check_split
from monai_tl.datasets.datalist import Datalist
from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.identity.run_data import note_weights
from monai_tl.settings.table import is_true
from monai_tl.storage.files import read_json, write_json
from monai_tl.training.label_grid import refuse_lost_labels, resample_labels
from monai_tl.training.metrics_table import TRAIN_LONGER, best_is_last, read_metrics
from monai_tl.training.run_cases import check_run_cases, record_run_cases
from monai_tl.training.run_files import BEST, LAST, RUN_FORMAT, refuse_existing
from monai_tl.transfer.apply import transfer_summary
from monai_tl.transfer.contract import Contract, describe, lineage_of
from monai_tl.transfer.freeze import frozen_sha256
from monai_tl.workflow.config_check import running_parser
from monai_tl.workflow.merged_config import bundle_config, read_yaml, references

logger = logging.getLogger(__name__)


PATHS = ("bundle_root", "dataset_dir", "datalist", "run_dir", "source", "ckpt")


def check_run(
    run_dir: str,
    *,
    data: Datalist,
    contract: Contract,
    transfer_report: Mapping[str, Any] | None = None,
    resume: bool | str = False,
) -> None:
    """Refuse what cannot be trained, before any work and before anything is written; named in ``initialize``.

    Args:
        run_dir: the run's folder, new or (with ``resume``) one that holds the same run.
        data: cases and splits; those of train and validation are checked.
        contract: what the network is to be trained to expect.
        transfer_report: what was carried over, None where nothing was to be; said in a few lines.
        resume: go on with the run that the folder holds, begin where it holds none.

    Raises:
        ConfigError: for an id that nothing reads, or a folder that holds something else.
        DataError: for cases that cannot be trained on, that changed since the run began, or that are in two splits under two
            ids; and for test cases that the source was trained on.
    """
    parser = running_parser()
    config = dict(parser.get())
    refuse_unknown_ids(config, bundle_config(parser.get_parsed_content("bundle_root"), "train"))
    resumed = Path(run_dir) if refuse_existing(Path(run_dir), resume=is_true(resume)) else None
    if resumed:
        _refuse_other_run(resumed, _portable(parser), data, transfer_report)
    for split in ("train", "validation"):
        check_split(data, split, contract.modalities, need_foreground=split == "train")
    check_label_grid(data, contract, parser)
    overlap = check_run_cases(data, transfer_report, resumed)
    if transfer_report is not None:
        logger.info(transfer_summary({**transfer_report, "overlap": overlap}))


def open_run(
    run_dir: str,
    *,
    trainer: Engine,
    data: Datalist,
    metadata: Mapping[str, Any],
    contract: Contract,
    seed: int,
    transfer_report: Mapping[str, Any] | None = None,
    anonymous: bool = False,
) -> None:
    """Make the run folder, whole or not at all, with what explains the run; one that is resumed is left as it is.

    Args:
        run_dir: the run's folder, which `check_run` has let pass.
        trainer: ready to run: whatever is wrong with the config has shown by now.
        data: its hash is noted.
        metadata: the bundle's metadata.
        contract: what the network is trained to expect, stored with the weights.
        seed: of all that is random.
        transfer_report: what was carried over, None where nothing was to be.
        anonymous: keep pseudonyms in place of subject ids in ``data.json``.
    """
    iterations = (trainer.state.max_epochs or 0) * (trainer.state.epoch_length or 0)
    device = str(trainer.state.device)  # type: ignore[attr-defined]  # MONAI's engines have one
    logger.info("%s: up to %d iterations on %s", run_dir, iterations, device)
    folder, config = Path(run_dir), config_of_run()
    if (folder / "config.yaml").is_file():
        return
    records: dict[str, Mapping[str, Any]] = {
        "metadata.json": describe(metadata, contract, lineage_of(transfer_report)),
        "provenance.json": provenance_of(data, seed, device),
    }
    with write_run_folder(folder, config, records) as staging:
        overlap = record_run_cases(staging, folder, data=data, transfer_report=transfer_report, anonymous=anonymous)
        if transfer_report is not None:
            write_json(staging / "transfer_report.json", {"format": RUN_FORMAT, **transfer_report, "overlap": overlap})


@contextmanager
def write_run_folder(folder: Path, config: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> Iterator[Path]:
    """Write ``config.yaml`` and JSON files by name into a folder that is there whole or not at all.

    The block may write further files into the folder that it is given; then that takes the place of ``folder``.
    """
    staging = folder.with_name(f".{folder.name}.{os.getpid()}")
    staging.mkdir(parents=True)
    try:
        (staging / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
        for name, content in records.items():
            write_json(staging / name, content)
        yield staging
        if folder.is_dir():
            folder.rmdir()  # empty, or `refuse_existing` would have refused it
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def check_label_grid(data: Datalist, contract: Contract, parser: ConfigParser) -> None:
    """Count what is left of the training labels on the network's grid, by the config's own transforms.

    Raises:
        DataError: if one loses all of its foreground.
    """
    if "label_transforms" not in parser:
        logger.warning("this config has no label_transforms: whether labels keep their foreground was not looked at")
        return
    cases, spacing = data.split("train", contract.modalities), contract.spacing
    transform = Compose(parser.get_parsed_content("label_transforms"))
    found = resample_labels(cases, data.foreground, spacing, transform)
    for warning in refuse_lost_labels(found, "train", len(cases), spacing):
        logger.warning(warning)


def finish_run(run_dir: str, network: nn.Module, transfer_report: Mapping[str, Any] | None = None) -> None:
    """Check that what was to be held still was, in memory and in ``model.pt``, and say what came out; named in ``finalize``.

    Raises:
        RuntimeError: if a held value changed: the run's scores would not mean what they say.
    """
    folder = Path(run_dir)
    held = frozen_sha256(network)
    if not (folder / BEST).is_file():
        raise ConfigError(
            f"'{folder}' has no {BEST}: in no validation was a case's Dice defined (nothing there, nothing found), so nothing "
            f"chose weights. The last ones are in {LAST}; train for more iterations, or validate on cases with more to find"
        )
    network.load_state_dict(torch.load(folder / BEST, map_location="cpu", weights_only=True))
    if transfer_report is not None and {held, frozen_sha256(network)} != {transfer_report["held_sha256"]}:
        raise RuntimeError(f"weights that were to be held still have changed in '{folder}': do not use this run, and report it")
    last = torch.load(folder / LAST, map_location="cpu", weights_only=True)
    metadata = read_json(folder / "metadata.json", remedy="restore it")
    write_json(folder / "metadata.json", {**metadata, "validation_dice": last["best"]["value"]})
    note_weights(folder, folder / BEST)
    frozen = [name for name, row in (transfer_report or {"stages": {}})["stages"].items() if row["state"] != "trained"]
    logger.info(
        "best validation Dice %.3f at iteration %d of %d; weights in %s%s",
        last["best"]["value"], last["best"]["iteration"], last["iteration"], folder / BEST,
        f"; {', '.join(frozen)} unchanged bit for bit" if frozen else "",
    )  # fmt: skip
    if not last["best"]["value"] > 0:
        logger.warning(
            "nothing was found in any validation, so nothing chose these weights: train for more iterations, or validate on "
            "cases with more to find"
        )
    if best_is_last(read_metrics(folder / "metrics.csv")):
        logger.warning(TRAIN_LONGER)


def _refuse_other_run(
    folder: Path, config: Mapping[str, Any], data: Datalist, transfer_report: Mapping[str, Any] | None
) -> None:
    """Refuse to go on with a run whose config, datalist or source is not what it was."""
    before = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    changed = [key for key in {**before, **config} if key != "resume" and before.get(key) != config.get(key)]
    told = [f"{key} was {before.get(key)!r}, is {config.get(key)!r}" for key in changed[:3]]
    remedy = "restore it, or choose another folder"
    provenance = read_json(folder / "provenance.json", required=["datalist_sha256"], remedy=remedy, of_format=RUN_FORMAT)
    if provenance["datalist_sha256"] != data.sha256():
        told.append("the datalist has changed")
    if transfer_report is not None:
        stored = read_json(folder / "transfer_report.json", required=["source"], remedy=remedy, of_format=RUN_FORMAT)
        if stored["source"] != json.loads(json.dumps(transfer_report["source"])):
            told.append("the source's weights have changed")
    if told:
        raise ConfigError(f"'{folder}' holds another run ({'; '.join(told)}); resume it unchanged or choose another folder")


def refuse_unknown_ids(config: Mapping[str, Any], base: Path) -> None:
    """Refuse a top-level id that the base config lacks and nothing reads: MONAI adds a misspelt override without a word.

    Args:
        config: merged, overrides included.
        base: the config that overlays and overrides were merged into.

    Raises:
        ConfigError: with the nearest id that exists.
    """
    read = {one.split("::")[0] for one in references(config)}
    known = set(read_yaml(base)) | read | {"_meta_"}
    for key in config:
        if key not in known:
            raise ConfigError(f"nothing in this config reads an id '{key}': {did_you_mean(key, sorted(known & set(config)))}")


def config_of_run() -> dict[str, Any]:
    """Give the merged config that is being run, with absolute paths."""
    return _portable(running_parser())


def _portable(parser: ConfigParser) -> dict[str, Any]:
    """Give the merged config with absolute paths: it runs by itself, from anywhere on this machine."""
    config = {key: value for key, value in dict(parser.get()).items() if key != "_meta_"}
    for key in PATHS:
        value = parser.get_parsed_content(key) if config.get(key) is not None else None
        if isinstance(value, str | Path):
            config[key] = os.path.abspath(value)
    return dict(yaml.safe_load(yaml.safe_dump(config, sort_keys=False)))  # plain types, as they will be read back


def provenance_of(data: Datalist, seed: int, device: str) -> dict[str, Any]:
    """Give what a run notes of where it comes from: command, seed, data, device, versions."""
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return {
        "format": RUN_FORMAT,
        "command": sys.argv,
        "seed": seed,
        "datalist_sha256": data.sha256(),
        "device": {
            "asked": device,
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "gpus": gpus,
        },
        "versions": {
            "monai_tl": monai_tl.__version__,
            "monai": monai.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
