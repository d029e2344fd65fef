"""Verbs for runs: training, transfer, evaluation, prediction."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any

from monai_tl.cli.arguments import Arguments, Split, flags_of, names, read_label_map
from monai_tl.cli.network_choice import NetworkName, Stages, with_network
from monai_tl.datasets.datalist import read_datalist
from monai_tl.errors import ConfigError
from monai_tl.inference.model_files import READ_BY_PREDICTION, find_model_files
from monai_tl.settings.table import PATH, SETTINGS
from monai_tl.study.study_plan import STUDY_FILE, read_study
from monai_tl.training.run_files import refuse_changed_datalist, refuse_existing
from monai_tl.training.run_inputs import check_data, check_start
from monai_tl.transfer.arms import UNTRAINED, Arm
from monai_tl.transfer.network_of_source import AskedNetwork
from monai_tl.transfer.weight_files import weights_at
from monai_tl.workflow.launch import run_configs
from monai_tl.workflow.merged_config import (
    bundle_config,
    default_of,
    is_expression,
    plain_text,
    read_run_config,
    source_of_target,
)
from monai_tl.workflow.overrides import RUN_BY, check_overrides, checked_config

SOURCE, TARGET = "bundles/ixi_hippocampus", "bundles/brats_tumour_core"


def train(
    *,
    bundle: str,
    output: str | None = None,
    overlay: str | None = None,
    network: NetworkName | None = None,
    set: Arguments | None = None,
    stages: Stages = None,
    **overrides: Any,
) -> None:
    """Train the network of a bundle: --bundle bundles/ixi_hippocampus [--dataset_dir DIR] [--output RUN].

    The run follows the bundle's train.yaml, any id of which is a flag: --iterations 4000 --window "[96,96,96]"
    --modalities "['T1']" … The run folder is the bundle's models folder unless --output names another. Another network is set
    by --network SegResNet --set init_filters=16.
    """
    if "run_dir" in overrides:
        raise ConfigError("the run folder is named by --output")
    run_dir = output or str(Path(bundle) / "models")
    configs = [bundle_config(bundle, name) for name in ("train", *([overlay] if overlay else []))]
    refuse_existing(Path(run_dir), resume=overrides.get("resume", False))
    overrides = with_network(overrides, AskedNetwork(network, set, stages), configs)
    overrides = {"bundle_root": bundle, **overrides, "run_dir": run_dir}
    check_data(checked_config(configs, overrides, flags_of(train)), ("train", "validation"))
    run_configs(configs, overrides, also=flags_of(train))
    print(f"next: monai_tl evaluate --run {run_dir} --split test")


def transfer(
    *,
    source: str | None = None,
    target: str | None = None,
    freeze: Annotated[int | str | None, SETTINGS["freeze"]] = None,
    scratch: bool = False,
    random_prefix: bool = False,
    overlay: str | None = None,
    output: str | None = None,
    network: NetworkName | None = None,
    set: Arguments | None = None,
    stages: Stages = None,
    **overrides: Any,
) -> None:
    """Fine-tune a target from a source with frozen first stages: --freeze 2 [--source S] [--target BUNDLE] [--output RUN].

    The target is a bundle, or a datalist alone (--datalist FILE): then a bundle is made next to the run, with proposed
    settings (`monai_tl bundle new`). Any id of its train.yaml and transfer.yaml is a flag: --dataset_dir DIR --norm
    track --fresh conv_2 --iterations 400 … --rename MR=T1 says that the source's modality MR is the target's T1. --scratch
    trains the same network without a source; --random_prefix is the control whose first stages are frozen at random weights.
    --network like_source takes the source's network instead of the target's.
    """
    if "run_dir" in overrides:
        raise ConfigError("the run folder is named by --output")
    if scratch and (random_prefix or freeze not in (None, 0)):
        raise ConfigError("--scratch trains every stage: omit --freeze and --random_prefix (or use --random_prefix alone)")
    if source and (scratch or random_prefix):
        raise ConfigError("--scratch and --random_prefix take no source: omit --source")
    asked = AskedNetwork(network, set, stages)
    if target is None and "datalist" in overrides:
        target = _target_of_datalist(source, output, needs_source=not (scratch or random_prefix), given=overrides, asked=asked)
    target = target or TARGET
    configs = [bundle_config(target, name) for name in ("train", "transfer", *([overlay] if overlay else []))]
    frozen = 0 if scratch else default_of(configs, "freeze") if freeze is None else freeze
    arm = Arm("scratch" if scratch else "random" if random_prefix else "transfer", frozen)
    name = "scratch" if scratch else f"{'random' if random_prefix else 'freeze'}_{frozen}"
    run_dir = output or f"runs/{Path(target).resolve().name.removesuffix('_bundle')}_{name}"
    source = source or source_of_target(target) or SOURCE
    start = arm.settings(source)
    settings = {**start, "bundle_root": target, **overrides, "run_dir": run_dir}
    if overrides.get("rename") and (scratch or random_prefix):
        raise ConfigError("--rename names the modalities of a source, and --scratch and --random_prefix take none: omit it")
    refuse_existing(Path(run_dir), resume=overrides.get("resume", False))
    settings = with_network(settings, asked, configs, source)
    config = checked_config(configs, settings, flags_of(transfer))
    check_data(config, ("train", "validation"))
    check_start(config)
    run_configs(configs, settings, also=flags_of(transfer))
    print(f"next: monai_tl evaluate --run {run_dir} --split test")


def _target_of_datalist(
    source: str | None, output: str | None, *, needs_source: bool, given: dict[str, Any], asked: AskedNetwork
) -> str:
    """Return the bundle of a datalist, next to the run."""
    if source is None and needs_source:
        raise ConfigError("--datalist without --target makes a bundle for it, and needs what to transfer: set --source")
    if output:
        refuse_existing(Path(output), resume=given.get("resume", False))
    from monai_tl.bundles.of_datalist import bundle_of_datalist

    return str(bundle_of_datalist(given["datalist"], Path(output).parent if output else Path("runs"), source, given, asked))


def evaluate(
    *,
    run: str | None = None,
    source: str | None = None,
    target: str = TARGET,
    predictions: str | None = None,
    regions: str = "",
    label_map: str = "",
    split: Split = "test",
    output: str | None = None,
    **overrides: Any,
) -> None:
    """Score a run's best weights on the cases of one split: --run RUN [--split test] [--metrics dice,hd95,nsd].

    Each case is scored on its own grid. The scores are written to RUN/scores_SPLIT.csv. Scores of other data (--dataset_dir DIR
    or --datalist FILE), weights (--ckpt FILE) or settings need another file (--scores FILE); their pictures are written next to
    it, or to --overlays DIR.

    With --source S --target BUNDLE, a source is scored on the target's cases without any training. This baseline, `untrained`,
    is stored as a run in --output (by default runs/BUNDLE_untrained).

    With --predictions DIR --datalist FILE --output DIR, segmentations that any other tool made are scored, so that it can be
    compared with runs: DIR/SUBJECT.nii.gz, or a pattern such as 'nnunet/{subject}_pred.nii.gz'. --label_map 3=4 translates
    their values, and --regions selects regions of the datalist.
    """
    if predictions is not None:
        if run is not None or source is not None:
            raise ConfigError("--predictions are scored by themselves: omit --run and --source")
        _score_segmentations(predictions, regions, label_map, split, output, overrides)
        return
    if regions or label_map:
        raise ConfigError("--regions and --label_map are for --predictions; a run is scored on the regions that it learned")
    if "run_dir" in overrides:
        raise ConfigError("the run folder is named by --run")
    if (run is None) == (source is None):
        similar = [name for name in overrides if difflib.get_close_matches(name, ("run", "source", "predictions"))]
        hint = f"; did '--{similar[0]}' mean one of these?" if similar else ""
        raise ConfigError(
            "evaluate takes a trained run (--run RUN), an untrained source (--source S --target BUNDLE), or segmentations made "
            f"elsewhere (--predictions DIR --datalist FILE --output DIR){hint}"
        )
    if run is None:
        run = output or f"runs/{Path(target).resolve().name}_untrained"
        how: dict[str, Any] = {name: overrides.pop(name) for name in ("metrics", "tolerance") if name in overrides}
        _keep_untrained(source or SOURCE, target, run, overrides)
        overrides = how  # the run's config has the others now
    elif output is not None:
        raise ConfigError("--output names the run of an untrained source (--source S); scores are named by --scores FILE")
    config = read_run_config(run)
    overrides = _as_in_its_study(run, overrides)
    if "dataset_dir" in overrides:
        overrides.setdefault("datalist", str(Path(str(overrides["dataset_dir"])) / "datalist.json"))
    if "datalist" not in overrides:
        refuse_changed_datalist(run, config["datalist"])
    configs = [Path(run) / "config.yaml", bundle_config(overrides.get("bundle_root", config["bundle_root"]), "evaluate")]
    overrides = {"run_dir": run, "split": split, **overrides}
    config = checked_config(configs, overrides, flags_of(evaluate))
    weights_at(plain_text(config, "ckpt") or run)
    check_data(config, (split,))
    run_configs(configs, overrides, also=flags_of(evaluate))


def _score_segmentations(
    predictions: str, regions: str, label_map: str, split: str, output: str | None, overrides: dict[str, Any]
) -> None:
    """Score segmentations made elsewhere."""
    taken = ("datalist", "dataset_dir", "metrics", "tolerance")
    unknown = next((name for name in overrides if name not in taken), None)
    if unknown:
        raise ConfigError(f"--{unknown} has no effect on --predictions, which takes {', '.join(f'--{name}' for name in taken)}")
    datalist = overrides.get("datalist") or (
        f"{overrides['dataset_dir']}/datalist.json" if "dataset_dir" in overrides else None
    )
    if datalist is None or output is None:
        raise ConfigError(
            "--predictions needs the datalist with the labels, --datalist FILE, and a folder for the scores, --output DIR"
        )
    data, values = read_datalist(datalist), read_label_map(label_map)
    if split not in data.splits:
        raise ConfigError(f"--split {split}: {datalist} has no such split, only {', '.join(data.splits)}")
    from monai_tl.evaluation.segmentations import score_segmentations

    how = {name: overrides[name] for name in ("metrics", "tolerance") if name in overrides}
    path = score_segmentations(predictions, data, Path(output), split=split, regions=names(regions), label_map=values, **how)
    print(f"{path}; next: monai_tl compare RUN {output}")


def _as_in_its_study(run: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that score a run of a study like its others; further metrics may be added."""
    study = Path(run).absolute().parent.parent
    if "scores" in overrides or not (study / STUDY_FILE).is_file():
        return overrides
    belongs = f"'{run}' belongs to the study in '{study}', whose runs are all scored"
    changed = ", ".join(f"--{name}" for name in overrides if name not in ("device", "bundle_root", "metrics"))
    if changed:
        raise ConfigError(f"{changed}: {belongs} in the same way; name another file by --scores FILE")
    planned = read_study(study)
    metrics = overrides.get("metrics", planned.metrics)
    if set(planned.metrics) - {"dice", *metrics}:
        both = ",".join(dict.fromkeys([*planned.metrics, *metrics]))
        raise ConfigError(f"--metrics: {belongs} by {', '.join(planned.metrics)}; name these, too: --metrics {both}")
    return {**overrides, "metrics": list(metrics), "tolerance": planned.tolerance}


def _keep_untrained(source: str, target: str, output: str, overrides: dict[str, Any]) -> None:
    """Store an untrained source as a run."""
    if "fresh" in overrides:
        raise ConfigError("an untrained source is scored as it is, so no stage can be fresh: omit --fresh")
    configs = [bundle_config(target, name) for name in ("train", "transfer", "untrained")]
    refuse_existing(Path(output), resume=False)
    settings = {"bundle_root": target, **Arm(UNTRAINED).settings(source), **overrides, "run_dir": output}
    read = (*RUN_BY, "validate")
    config = checked_config(configs, settings, flags_of(evaluate), read=read)
    check_data(config, ("test",))
    check_start(config)
    from monai_tl.transfer.contract import contract_of, read_contract, refuse_other_classes
    from monai_tl.transfer.source import read_source

    if contract := contract_of(config):
        refuse_other_classes(read_contract(read_source(source).metadata, source), contract, source)
    run_configs(configs, settings, also=flags_of(evaluate), read=read)


def predict(
    *,
    bundle: str,
    output: Annotated[str, PATH],
    input: str | None = None,
    probabilities: bool = False,
    dicom_seg: bool = False,
    split: Split | None = None,
    subjects: str = "",
    rename: Annotated[dict[str, str] | None, SETTINGS["rename"]] = None,
    bundle_root: str | None = None,
    **overrides: Any,
) -> None:
    """Segment scans, each on its own grid: --bundle BUNDLE_OR_RUN --input DATALIST_FOLDER_OR_SCAN --output DIR.

    If the layout of the folder is not known, set one pattern per modality, relative to --input: --T1 't1/{subject}.nii.gz'
    --T2 't2/{subject}.nii.gz'. --rename MRI=T1 says that what a datalist or a layout calls MRI is the network's T1. Ids of
    inference.yaml are flags too: --inference_window "[96,96,96]" --inference_overlap 0.25.
    """
    from monai_tl.datasets.scans_to_predict import refuse_no_input, refuse_rename

    if "output_dir" in overrides:
        raise ConfigError("the folder of the predictions is named by --output")
    config = find_model_files(bundle, bundle_root).config()
    modalities = config["modalities"]
    if is_expression(modalities):
        from monai_tl.inference.model import find_model

        modalities = find_model(bundle, bundle_root).part("modalities")
    patterns = {name: str(overrides.pop(name)) for name in modalities if name in overrides}
    refuse_rename(rename or {}, modalities, input, patterns)
    unused = [name for name, value in overrides.items() if "{subject}" in str(value)]
    if unused:
        raise ConfigError(f"--{unused[0]} is a pattern, but this network takes only {', '.join(modalities)}: omit it")
    also = (*modalities, *flags_of(predict))
    check_overrides(config, overrides, also, read=READ_BY_PREDICTION)
    refuse_no_input(input)
    from monai_tl.inference.model import find_model
    from monai_tl.inference.predict import predict_cases

    model = find_model(bundle, bundle_root)
    model.set(overrides, also)
    predict_cases(
        model,
        input,
        output,
        patterns=patterns,
        split=split,
        subjects=names(subjects),
        rename=rename or {},
        probabilities=probabilities,
        dicom_seg=dicom_seg,
    )
