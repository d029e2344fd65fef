"""Check, write and finish a run's folder."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
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
from monai_tl.datasets.regions import foreground_of, is_softmax, regions_of
from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.identity.run_data import note_weights
from monai_tl.networks.input_sizes import refuse_unfit_window
from monai_tl.settings.table import is_true
from monai_tl.storage.files import read_json, write_json
from monai_tl.storage.records import refuse_differences, setting_differences
from monai_tl.training.label_grid import refuse_lost_labels, resample_labels
from monai_tl.training.losses import refuse_unfit_loss
from monai_tl.training.metrics_table import TRAIN_LONGER, best_is_last, read_metrics
from monai_tl.training.phase_record import proven_phases
from monai_tl.training.run_cases import check_run_cases, record_run_cases
from monai_tl.training.run_files import BEST, LAST, RUN_FORMAT, refuse_existing
from monai_tl.transfer.contract import Contract, complete, describe, lineage_of
from monai_tl.transfer.freeze import frozen_sha256
from monai_tl.transfer.lora import load_merged
from monai_tl.transfer.strategy import refuse_no_source
from monai_tl.transfer.transfer_report import transfer_summary
from monai_tl.workflow.config_check import running_parser
from monai_tl.workflow.merged_config import bundle_config, read_yaml, references
from monai_tl.workflow.network_entry import OWN_NETWORK, metadata_for, network_name

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
    """Refuse what cannot be trained, before any work and before anything is written; called in a config's ``initialize``.

    Args:
        run_dir: the run's folder, new, or with ``resume`` one that holds the same run.
        data: cases and splits; those of train and validation are checked.
        contract: what the network will expect of its images.
        transfer_report: report of `apply_transfer`, whose summary is logged; None without a transfer.
        resume: continue the run in the folder, or start one if there is none.

    Raises:
        ConfigError: for an id that nothing reads, classes or a loss that do not fit the datalist's regions, or a folder that
            holds something else.
        DataError: for cases that cannot be used, that have changed since the run began, or that are in two splits under two
            ids; and if the source was trained on test cases.
    """
    parser = running_parser()
    config = dict(parser.get())
    refuse_unknown_ids(config, bundle_config(parser.get_parsed_content("bundle_root"), "train"))
    resumed = Path(run_dir) if refuse_existing(Path(run_dir), resume=is_true(resume)) else None
    target = complete(contract)
    regions = learned_regions(data, target.classes, parser)
    check_window(parser, len(target.modalities))
    if resumed:
        _refuse_other_run(resumed, _portable(parser), data, transfer_report)
    for split in ("train", "validation"):
        check_split(data, split, target.modalities, need_foreground=split == "train", regions=regions)
    check_label_grid(data, contract, parser)
    overlap = check_run_cases(data, transfer_report, resumed)
    if transfer_report is not None:
        if config.get("strategy") is not None and transfer_report["source"] is None:
            refuse_no_source(transfer_report["strategy"]["name"])
        logger.info(transfer_summary({**transfer_report, "overlap": overlap}))


def learned_regions(data: Datalist, classes: Sequence[str], parser: ConfigParser) -> dict[str, tuple[int, ...]]:
    """Return the regions of a datalist that a network learns; no scan is read.

    Args:
        data: datalist.
        classes: of the network.
        parser: of the config, whose ``loss`` must fit the classes.

    Raises:
        ConfigError: for classes that `regions_of` refuses, or a loss that contradicts them.
    """
    regions = regions_of(data.regions, classes)
    if "loss" in parser:
        refuse_unfit_loss(parser.get_parsed_content("loss"), is_softmax(classes), len(regions))
    return regions


def check_window(parser: ConfigParser, channels: int) -> None:
    """Refuse a training patch of a size that the network does not take; HighRes3DNet takes any.

    Raises:
        ConfigError: with the sizes that fit; also if the network cannot be built.
    """
    config = parser.get()
    if "window" in config and "network_def" in config and network_name(config["network_def"]) != OWN_NETWORK:
        network, window, batch_size = (parser.get_parsed_content(name) for name in ("network_def", "window", "batch_size"))
        refuse_unfit_window(network, channels, window, batch_size)


def open_run(
    run_dir: str,
    *,
    trainer: Engine,
    data: Datalist,
    metadata: Mapping[str, Any],
    contract: Contract,
    seed: int,
    regions: Mapping[str, Sequence[int]] | None = None,
    transfer_report: Mapping[str, Any] | None = None,
    anonymous: bool = False,
) -> None:
    """Write the run folder with the run's config and records, atomically; the folder of a resumed run is not changed.

    Args:
        run_dir: the run's folder, checked by `check_run`.
        trainer: ready to run, so that all parts of the config are known to be valid.
        data: datalist; its hash is recorded.
        metadata: the bundle's metadata.
        contract: what the network will expect of its images, stored with the weights.
        seed: seed of all random numbers, recorded with the run.
        regions: name -> label values of what the network learns, stored with the weights.
        transfer_report: report of `apply_transfer`; None without a transfer.
        anonymous: write pseudonyms instead of subject ids to ``data.json``.
    """
    iterations = (trainer.state.max_epochs or 0) * (trainer.state.epoch_length or 0)
    device = str(trainer.state.device)  # type: ignore[attr-defined]  # MONAI's engines have one
    logger.info("%s: up to %d iterations on %s", run_dir, iterations, device)
    folder, config = Path(run_dir), config_of_run()
    if (folder / "config.yaml").is_file():
        return
    records: dict[str, Mapping[str, Any]] = {
        "metadata.json": describe(_with_network(metadata, config), contract, lineage_of(transfer_report), regions),
        "provenance.json": provenance_of(data, seed, device),
    }
    with write_run_folder(folder, config, records) as staging:
        overlap = record_run_cases(
            staging, folder, data=data, transfer_report=transfer_report, anonymous=anonymous, regions=regions
        )
        if transfer_report is not None:
            write_json(staging / "transfer_report.json", {"format": RUN_FORMAT, **transfer_report, "overlap": overlap})


def _with_network(metadata: Mapping[str, Any], config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the bundle's metadata with the run's network, which a flag may have set."""
    bundle = read_yaml(bundle_config(config["bundle_root"], "train"))
    return metadata_for(metadata, bundle.get("network_def"), config.get("network_def"))


@contextmanager
def write_run_folder(folder: Path, config: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> Iterator[Path]:
    """Write a folder with ``config.yaml`` and JSON files, atomically.

    The context is a staging folder, to which the block may write further files; it is then renamed to ``folder``.
    """
    staging = folder.with_name(f".{folder.name}.{os.getpid()}")
    staging.mkdir(parents=True)
    try:
        (staging / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
        for name, content in records.items():
            write_json(staging / name, content)
        yield staging
        if folder.is_dir():
            folder.rmdir()  # empty, as `refuse_existing` has checked
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def check_label_grid(data: Datalist, contract: Contract, parser: ConfigParser) -> None:
    """Check how much of the training labels remains on the network's grid, with the config's own transforms.

    Raises:
        DataError: if a label loses all foreground.
    """
    if "label_transforms" not in parser:
        logger.warning("this config has no label_transforms: whether labels keep their foreground was not checked")
        return
    target = complete(contract)
    cases, spacing = data.split("train", target.modalities), target.spacing
    transform = Compose(parser.get_parsed_content("label_transforms"))
    learned = parser.get_parsed_content("regions") if "regions" in parser else data.regions
    counts = resample_labels(cases, foreground_of(learned), spacing, transform)
    for warning in refuse_lost_labels(counts, "train", len(cases), spacing):
        logger.warning(warning)


def finish_run(run_dir: str, network: nn.Module, transfer_report: Mapping[str, Any] | None = None) -> None:
    """Check that frozen values are unchanged, in memory and in ``model.pt``, and log the result; called in ``finalize``.

    Weights with a low-rank adapter may differ in ``model.pt`` by a change of the adapter's rank. Adapters are removed.

    Raises:
        ConfigError: if no validation had a defined Dice, so that there is no ``model.pt``.
        RuntimeError: if a frozen value changed, which invalidates the run.
    """
    folder = Path(run_dir)
    last_sha256 = frozen_sha256(network)
    if not (folder / BEST).is_file():
        raise ConfigError(
            f"'{folder}' has no {BEST}: Dice was undefined in all validations (no foreground in label or prediction), so no "
            f"weights were chosen. The last ones are in {LAST}; train for more iterations, or validate on cases with more "
            "foreground"
        )
    changed = load_merged(network, torch.load(folder / BEST, map_location="cpu", weights_only=True))
    if transfer_report is not None and (changed or last_sha256 != transfer_report["held_sha256"]):
        raise RuntimeError(f"frozen weights have changed in '{folder}': do not use this run, and report it as a bug")
    last = torch.load(folder / LAST, map_location="cpu", weights_only=True)
    _log_phases(folder, transfer_report or {}, last["iteration"], last["best"]["iteration"])
    metadata = read_json(folder / "metadata.json", remedy="restore it")
    write_json(folder / "metadata.json", {**metadata, "validation_dice": last["best"]["value"]})
    note_weights(folder, folder / BEST)
    rows = (transfer_report or {"stages": {}})["stages"]
    frozen = [name for name, row in rows.items() if row["state"].split(",")[0] == "frozen"]
    logger.info(
        "best validation Dice %.3f at iteration %d of %d; weights in %s%s",
        last["best"]["value"], last["best"]["iteration"], last["iteration"], folder / BEST,
        f"; {', '.join(frozen)} unchanged bit for bit" if frozen else "",
    )  # fmt: skip
    if not last["best"]["value"] > 0:
        logger.warning(
            "no validation had a Dice above 0, so validation did not choose these weights: train for more iterations, or "
            "validate on cases with more foreground"
        )
    if best_is_last(read_metrics(folder / "metrics.csv")):
        logger.warning(TRAIN_LONGER)


def _log_phases(folder: Path, transfer_report: Mapping[str, Any], iteration: int, best: int) -> None:
    """Log what was frozen in each phase of a schedule, with the proof, and if the best weights are older than a phase.

    Raises:
        RuntimeError: if it is not proven.
    """
    schedule = transfer_report.get("strategy", {}).get("schedule")
    if schedule and len(schedule["phases"]) > 1:
        for row in proven_phases(folder, schedule, iteration):
            logger.info("%s", row)
        before = {name for phase in schedule["phases"] if phase["first"] <= best for name in phase["trained"]}
        later = [name for phase in schedule["phases"] for name in phase["trained"] if name not in before]
        if later:
            names = ", ".join(dict.fromkeys(later))
            logger.warning("the best weights are of iteration %d, in which %s had not been trained yet", best, names)


def _refuse_other_run(
    folder: Path, config: Mapping[str, Any], data: Datalist, transfer_report: Mapping[str, Any] | None
) -> None:
    """Refuse to resume a run whose config, datalist or source has changed."""
    before = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    changes = setting_differences({**before, "resume": ""}, {**config, "resume": ""})
    remedy = "restore it, or choose another folder"
    provenance = read_json(folder / "provenance.json", required=["datalist_sha256"], remedy=remedy, of_format=RUN_FORMAT)
    if provenance["datalist_sha256"] != data.sha256():
        changes.append("the datalist has changed")
    if transfer_report is not None:
        stored = read_json(folder / "transfer_report.json", required=["source"], remedy=remedy, of_format=RUN_FORMAT)
        if stored["source"] != json.loads(json.dumps(transfer_report["source"])):
            changes.append("the source's weights have changed")
    refuse_differences(folder, "a run", changes, "resume it with its own settings, or choose another folder")


def refuse_unknown_ids(config: Mapping[str, Any], base: Path) -> None:
    """Refuse a top-level id that the base config lacks and nothing reads: MONAI accepts a misspelt override silently.

    Args:
        config: merged config, with overrides.
        base: file of the config that overlays and overrides were merged into.

    Raises:
        ConfigError: with the most similar existing id.
    """
    read = {reference.split("::")[0] for reference in references(config)}
    known = set(read_yaml(base)) | read | {"_meta_"}
    for key in config:
        if key not in known:
            raise ConfigError(f"nothing in this config reads an id '{key}': {did_you_mean(key, sorted(known & set(config)))}")


def config_of_run() -> dict[str, Any]:
    """Return the merged config that is running, with absolute paths."""
    return _portable(running_parser())


def _portable(parser: ConfigParser) -> dict[str, Any]:
    """Return the merged config with absolute paths, so that it runs by itself, from any folder on this machine."""
    config = {key: value for key, value in dict(parser.get()).items() if key != "_meta_"}
    for key in PATHS:
        value = parser.get_parsed_content(key) if config.get(key) is not None else None
        if isinstance(value, str | Path):
            config[key] = os.path.abspath(value)
    return dict(yaml.safe_load(yaml.safe_dump(config, sort_keys=False)))  # plain types, as they will be when read


def provenance_of(data: Datalist, seed: int, device: str) -> dict[str, Any]:
    """Return the provenance of a run: command, seed, data, device, versions."""
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
