"""The verbs of the command line: parse, refuse what is unknown, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai_tl.arguments import names, numbers
from monai_tl.data import brats, files, ixi
from monai_tl.data.datalist import Splits, make_datalist, random_splits, splits_from_file, write_datalist
from monai_tl.data.phantom import write_phantoms
from monai_tl.errors import ConfigError
from monai_tl.inference.model import find_model
from monai_tl.inference.predict import predict as predict_scans
from monai_tl.network.highres3dnet import HighRes3DNet
from monai_tl.network.stages import format_stage_table, stage_table
from monai_tl.report.page import write_report
from monai_tl.study.compare import compare as compare_runs
from monai_tl.study.compare import format_comparison
from monai_tl.training.checkpoint import is_true
from monai_tl.training.launch import bundle_config, default_of, read_run_config, run_configs
from monai_tl.training.run_folder import refuse_changed_datalist, refuse_existing

RATIOS = "0.7,0.15,0.15"  # of train, validation, test


def phantom(*, output: str, subjects: int, size: int = 64, seed: int = 0) -> None:
    """Write heads with known anatomy, in the IXI and the BraTS layout: --output DIR --subjects 12 --size 64 --seed 0."""
    write_phantoms(Path(output), subjects, size, seed)
    print(f"{subjects} heads each in {output}/ixi and {output}/brats")


def datalist_ixi(
    *,
    root: str,
    modalities: str = "T1,T2",
    foreground: str = "17,53",
    labels: str = "",
    incomplete: str = "refuse",
    split: str = RATIOS,
    train: str = "train",
    absent: str = "refuse",
    seed: int = 0,
    output: str | None = None,
) -> None:
    """Write the datalist of an IXI folder: --root DIR [--split 0.7,0.15,0.15 or lists.json] [--seed 0] [--output FILE]."""
    cases = ixi.find_cases(Path(root), names(modalities), incomplete=incomplete)
    splits, rule = _splits(cases, split, train, absent, seed)
    _write(cases, modalities, (foreground, labels), splits, rule, Path(output or Path(root) / "datalist.json"))


def datalist_brats(
    *,
    root: str,
    modalities: str = "T1,T2",
    foreground: str = "1,4",
    labels: str = "1,2,4",
    incomplete: str = "refuse",
    split: str = RATIOS,
    train: str = "train",
    absent: str = "refuse",
    seed: int = 0,
    output: str | None = None,
) -> None:
    """Write the datalist of a BraTS folder; --split bundles/brats_tumour_core/splits/study.json --train S4 for the study's."""
    cases = brats.find_cases(Path(root), names(modalities), incomplete=incomplete)
    splits, rule = _splits(cases, split, train, absent, seed)
    _write(cases, modalities, (foreground, labels), splits, rule, Path(output or Path(root) / "datalist.json"))


def datalist_files(
    *,
    output: str,
    label: str,
    foreground: str,
    labels: str = "",
    incomplete: str = "refuse",
    split: str = RATIOS,
    train: str = "train",
    absent: str = "refuse",
    seed: int = 0,
    **patterns: str,
) -> None:
    """Write the datalist of any layout, a pattern a modality: --T1 't1/{subject}_T1.nii.gz' --label 'seg/{subject}.nii.gz'.

    Further: --foreground 47,48 --output FILE [--split 0.7,0.15,0.15] [--incomplete leave_out].
    """
    if not patterns:
        raise ConfigError("no modality: give one pattern each, e.g. --T1 't1/{subject}_T1.nii.gz'")
    cases = files.find_cases({**patterns, "label": label}, incomplete=incomplete)
    splits, rule = _splits(cases, split, train, absent, seed)
    _write(cases, ",".join(patterns), (foreground, labels), splits, rule, Path(output))


def stages(*, in_channels: int = 2, out_channels: int = 2, head_norm: bool = False) -> None:
    """Print the network's stages: parameters, what trains at each freeze, multiply-adds a voxel."""
    print(format_stage_table(stage_table(HighRes3DNet(in_channels, out_channels, head_norm=head_norm))))


def transfer(
    *,
    source: str | None = None,
    target: str = "bundles/brats_tumour_core",
    freeze: Any = None,
    scratch: bool = False,
    random_prefix: bool = False,
    overlay: str | None = None,
    output: str | None = None,
    **overrides: Any,
) -> None:
    """Fine-tune a target from a source, its first stages held still: --freeze 2 [--source S] [--target BUNDLE] [--output RUN].

    Any id of the target's configs is a flag: --norm track --fresh conv_2 --stage_rate 0.5 --head_rate 10 --new_channels mean
    --accept_differences --seed 1 --iterations 400 --dataset_dir DIR … --scratch is the same run without a source,
    --random_prefix the control with frozen random stages; --overlay thesis merges one more of the target's configs.
    """
    if "run_dir" in overrides:
        raise ConfigError("the run folder is named by --output")
    scratch, random_prefix = is_true(scratch, "scratch"), is_true(random_prefix, "random_prefix")
    if scratch and (random_prefix or freeze not in (None, 0)):
        raise ConfigError(
            "--scratch trains every stage: leave --freeze and --random_prefix away (or use --random_prefix alone)"
        )
    if source and (scratch or random_prefix):
        raise ConfigError("--scratch and --random_prefix take no source: leave --source away")
    configs = [bundle_config(target, name) for name in ("train", "transfer", *([overlay] if overlay else []))]
    frozen = 0 if scratch else default_of(configs, "freeze") if freeze is None else freeze
    arm = "scratch" if scratch else f"{'random' if random_prefix else 'freeze'}_{frozen}"
    run_dir = output or f"runs/{Path(target).resolve().name}_{arm}"
    origin = None if scratch or random_prefix else source or "bundles/ixi_hippocampus"
    settings = {"source": origin, "freeze": frozen, "bundle_root": target}
    if random_prefix:
        settings["norm"] = "track"  # random stages have no statistics worth holding still
    refuse_existing(Path(run_dir), resume=is_true(overrides.get("resume", False)))
    run_configs(configs, {**settings, **overrides, "run_dir": run_dir})
    print(f"next: monai_tl evaluate --run {run_dir} --split test")


def evaluate(*, run: str, split: str = "test", **overrides: Any) -> None:
    """Score a run's best weights on one split, each case on its own grid: --run RUN --split test writes RUN/scores_test.csv."""
    config = read_run_config(run)
    scores = Path(run) / f"scores_{split}.csv"
    if not {"datalist", "dataset_dir"} & overrides.keys():
        refuse_changed_datalist(run, config["datalist"])
    configs = [Path(run) / "config.yaml", bundle_config(config["bundle_root"], "evaluate")]
    run_configs(configs, {"run_dir": run, "split": split, "scores": str(scores), **overrides})


def predict(
    *,
    bundle: str,
    output: str,
    input: str | None = None,
    probabilities: bool = False,
    split: str | None = None,
    bundle_root: str | None = None,
    **overrides: Any,
) -> None:
    """Segment scans, each on its own grid: --bundle BUNDLE_OR_RUN --input DATALIST_FOLDER_OR_SCAN --output DIR.

    For any other layout a pattern a modality, relative to --input: --T1 't1/{subject}.nii.gz' --T2 't2/{subject}.nii.gz'.
    Also --probabilities, --split test of a datalist, ids of inference.yaml (--device cuda, --inference_window "[96,96,96]").
    """
    model = find_model(bundle, bundle_root)
    patterns = {name: str(overrides.pop(name)) for name in model.part("modalities") if name in overrides}
    model.set(overrides)
    predict_scans(model, input, output, patterns=patterns, split=split, probabilities=is_true(probabilities, "probabilities"))


def compare(*runs: str, split: str = "test", seed: int = 0) -> None:
    """Compare scored runs on the same cases, each with the first: RUN RUN … [--split test]."""
    print(format_comparison(compare_runs([Path(run) for run in runs], split=split, seed=seed)))


def report(*, runs: str, split: str = "test", output: str | None = None) -> None:
    """Show all runs below a folder in one HTML page: --runs DIR [--split test] [--output DIR/report.html]."""
    written = write_report(Path(runs), split=split, output=Path(output) if output else None)
    told = f"{written.runs} run{'s' * (written.runs != 1)}, {written.evaluated} of them evaluated on {split}"
    print(f"{written.page}: {told}; figures in {written.figures}")


VERBS: dict[str, Any] = {
    "phantom": phantom,
    "datalist": {"ixi": datalist_ixi, "brats": datalist_brats, "files": datalist_files},
    "stages": stages,
    "transfer": transfer,
    "evaluate": evaluate,
    "predict": predict,
    "compare": compare,
    "report": report,
}


def _splits(cases: files.Cases, split: str, train: str, absent: str, seed: int) -> tuple[Splits, dict[str, Any]]:
    """Give the splits, by ratios or from a file of lists, and the rule they follow."""
    subjects = [case["subject"] for case in cases]
    if split.endswith(".json"):
        return splits_from_file(Path(split), subjects, train=train, absent=absent), {"file": Path(split).name, "train": train}
    ratios = numbers(split, "--split")
    return random_splits(subjects, ratios, seed), {"ratios": list(ratios), "seed": seed}


def _write(
    cases: files.Cases, modalities: str, values: tuple[str, str], splits: Splits, rule: dict[str, Any], path: Path
) -> None:
    """Write a datalist; ``values`` are the labels that are foreground, and all that occur ("": any)."""
    foreground, labels = ([int(value) for value in numbers(text, "label values")] for text in values)
    datalist = make_datalist(
        cases,
        modalities=names(modalities),
        foreground=foreground,
        labels=labels or None,
        splits=splits,
        split_rule=rule,
        left_out=cases.left_out | splits.left_out,
    )
    told = ", ".join(f"{len(subjects)} {name}" for name, subjects in splits.items())
    print(f"{write_datalist(path, datalist)}: {len(cases)} cases ({told}), {len(datalist.left_out)} left out")
