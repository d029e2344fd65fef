"""The verbs of the command line: parse, refuse what is unknown, call one function, print."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fire

from monai_tl.data import brats, files, ixi
from monai_tl.data.datalist import make_datalist, random_splits, splits_from_file, write_datalist
from monai_tl.data.phantom import write_phantoms
from monai_tl.errors import ConfigError, did_you_mean
from monai_tl.inference.scores import read_scores, summarise
from monai_tl.network.highres3dnet import HighRes3DNet
from monai_tl.network.stages import format_stage_table, stage_table
from monai_tl.study.compare import compare as compare_runs
from monai_tl.study.compare import format_comparison
from monai_tl.training.launch import bundle_config, read_run_config, run_configs
from monai_tl.training.run_folder import refuse_existing


def phantom(*, output: str, subjects: int, size: int = 64, seed: int = 0) -> None:
    """Write heads with known anatomy, in the IXI and the BraTS layout: --output DIR --subjects 12 --size 64 --seed 0."""
    write_phantoms(Path(output), subjects, size, seed)
    print(f"{subjects} heads each in {output}/ixi and {output}/brats")


def datalist_ixi(
    *, root: str, modalities: str = "T1,T2", foreground: str = "17,53", incomplete: str = "refuse", **how: Any
) -> None:
    """Write the datalist of an IXI folder: --root DIR [--split 0.7,0.15,0.15 | lists.json] [--seed 0] [--output FILE]."""
    cases = ixi.find_cases(Path(root), _names(modalities), incomplete=incomplete)
    _write_datalist(cases, _names(modalities), foreground, default=Path(root) / "datalist.json", **how)


def datalist_brats(
    *, root: str, modalities: str = "T1,T2", foreground: str = "1,4", incomplete: str = "refuse", **how: Any
) -> None:
    """Write the datalist of a BraTS folder; --split bundles/brats_tumour_core/splits/study.json --train S4 for the study's."""
    cases = brats.find_cases(Path(root), _names(modalities), incomplete=incomplete)
    _write_datalist(cases, _names(modalities), foreground, default=Path(root) / "datalist.json", **how)


def datalist_files(*, output: str, label: str, foreground: str, incomplete: str = "refuse", **patterns: str) -> None:
    """Write the datalist of any layout: --T1 't1/{subject}_T1.nii.gz' --label 'seg/{subject}.nii.gz' --foreground 47,48 --output FILE."""
    how = {name: patterns.pop(name) for name in ("split", "seed", "train", "absent") if name in patterns}
    if not patterns:
        raise ConfigError("no modality: give one pattern each, e.g. --T1 't1/{subject}_T1.nii.gz'")
    cases = files.find_cases({**patterns, "label": label}, incomplete=incomplete)
    _write_datalist(cases, tuple(patterns), foreground, default=Path(output), **how)


def stages(*, in_channels: int = 2, out_channels: int = 2, head_norm: bool = False) -> None:
    """Print the network's stages: parameters, what trains at each freeze, multiply-adds a voxel."""
    print(format_stage_table(stage_table(HighRes3DNet(in_channels, out_channels, head_norm=head_norm))))


def transfer(
    *,
    source: str = "bundles/ixi_hippocampus",
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
    if scratch and (random_prefix or freeze not in (None, 0)):
        raise ConfigError(
            "--scratch trains every stage: leave --freeze and --random_prefix away (or use --random_prefix alone)"
        )
    configs = [bundle_config(target, name) for name in ("train", "transfer", *([overlay] if overlay else []))]
    settings = {"source": None if scratch or random_prefix else source, "bundle_root": target, **overrides}
    if scratch or freeze is not None:
        settings["freeze"] = 0 if scratch else freeze
    arm = "scratch" if scratch else f"{'random' if random_prefix else 'freeze'}_{settings.get('freeze', 2)}"
    run_dir = output or f"runs/{Path(target).resolve().name}_{arm}"
    refuse_existing(Path(run_dir), resume=bool(overrides.get("resume", False)))
    run_configs(configs, {**settings, "run_dir": run_dir})
    print(f"next: monai_tl evaluate --run {run_dir} --split test")


def evaluate(*, run: str, split: str = "test", **overrides: Any) -> None:
    """Score a run's best weights on one split, each case on its own grid: --run RUN --split test writes RUN/scores_test.csv."""
    config = read_run_config(run)
    scores = Path(run) / f"scores_{split}.csv"
    configs = [Path(run) / "config.yaml", bundle_config(config["bundle_root"], "evaluate")]
    run_configs(configs, {"run_dir": run, "split": split, "scores": str(scores), **overrides})
    print(f"{scores}: {summarise(read_scores(scores))}")


def compare(*runs: str, split: str = "test", seed: int = 0) -> None:
    """Compare scored runs on the same cases, each with the first: RUN RUN … [--split test]."""
    print(format_comparison(compare_runs([Path(run) for run in runs], split=split, seed=seed)))


VERBS: dict[str, Any] = {
    "phantom": phantom,
    "datalist": {"ixi": datalist_ixi, "brats": datalist_brats, "files": datalist_files},
    "stages": stages,
    "transfer": transfer,
    "evaluate": evaluate,
    "compare": compare,
}


def run(arguments: Sequence[str]) -> None:
    """Call the verb that the arguments name.

    Raises:
        ConfigError: for an unknown verb or flag, before anything is done: Fire would refuse it only after the work.
    """
    if not arguments or any(word in ("-h", "--help", "help") for word in arguments):
        print(usage())
        return
    fire.Fire(VERBS, command=checked(arguments), name="monai_tl")


def usage() -> str:
    """Give a line or a few for each verb."""
    verbs = {f"{name} {sub}".strip(): verb for name, entry in VERBS.items() for sub, verb in _leaves(entry)}
    return "\n".join(
        [
            "monai_tl VERB [--flag value …]",
            *(f"\n{name}\n    {inspect.getdoc(verb)}".replace("\n    \n", "\n") for name, verb in verbs.items()),
        ]
    )


def checked(arguments: Sequence[str]) -> list[str]:
    """Give the arguments for Fire: known ones only, and text where text is meant (Fire reads 2013_10 as a number)."""
    verb, at = _find_verb(arguments)
    parameters = inspect.signature(verb).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    texts = {name for name, parameter in parameters.items() if "str" in str(parameter.annotation)}
    open_ended, listed = inspect.Parameter.VAR_KEYWORD in kinds, inspect.Parameter.VAR_POSITIONAL in kinds
    flags = [name for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    given = list(arguments[at:])
    passed, seen = list(arguments[:at]), set()
    while given:
        word = given.pop(0)
        if not word.startswith("--"):
            if not listed:
                raise ConfigError(
                    f"'{word}' stands alone: values follow a flag. Flags: {', '.join('--' + flag for flag in flags)}"
                )
            passed.append(repr(word))
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if name not in flags and not open_ended:
            raise ConfigError(f"unknown flag '--{name}': {did_you_mean(name, flags)}")
        if name in seen:
            raise ConfigError(f"--{name} is given twice")
        seen.add(name)
        if not equals:
            value = given.pop(0) if given and not given[0].startswith("--") else "True"
        passed.append(f"--{name}={value!r}" if name in texts else f"--{name}={value}")
    missing = [flag for flag in flags if parameters[flag].default is inspect.Parameter.empty and flag not in seen]
    if missing:
        raise ConfigError(
            f"missing {', '.join('--' + flag for flag in missing)}. {(inspect.getdoc(verb) or '').splitlines()[0]}"
        )
    return passed


def _find_verb(arguments: Sequence[str]) -> tuple[Callable[..., None], int]:
    entry: Any = VERBS
    for at, word in enumerate(arguments):
        if word not in entry:
            raise ConfigError(f"unknown verb '{' '.join(arguments[: at + 1])}': {did_you_mean(word, entry)}")
        entry = entry[word]
        if callable(entry):
            return entry, at + 1
    raise ConfigError(f"'{' '.join(arguments)}' needs one of: {', '.join(entry)}")


def _leaves(entry: Any) -> list[tuple[str, Callable[..., None]]]:
    return [("", entry)] if callable(entry) else list(entry.items())


def _names(value: Any) -> tuple[str, ...]:
    """Read names as a shell gives them: ``T1,T2`` or ``['T1','T2']``."""
    return tuple(name.strip(" '\"") for name in str(value).strip("[]()").split(",") if name.strip(" '\""))


def _numbers(value: Any, flag: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in _names(value))
    except ValueError:
        raise ConfigError(f"{flag} takes numbers, e.g. 17,53; got '{value}'") from None


def _write_datalist(
    cases: files.Cases,
    modalities: Sequence[str],
    foreground: str,
    *,
    default: Path,
    split: Any = "0.7,0.15,0.15",
    seed: int = 0,
    train: str = "train",
    absent: str = "refuse",
    output: str | None = None,
) -> None:
    subjects = [case["subject"] for case in cases]
    if Path(str(split)).suffix == ".json":
        splits = splits_from_file(Path(str(split)), subjects, train=train, absent=absent)
        rule: dict[str, Any] = {"file": Path(str(split)).name, "train": train}
    else:
        ratios = _numbers(split, "--split")
        splits, rule = random_splits(subjects, ratios, seed), {"ratios": list(ratios), "seed": seed}
    datalist = make_datalist(
        cases,
        modalities=modalities,
        foreground=[int(value) for value in _numbers(foreground, "--foreground")],
        splits=splits,
        split_rule=rule,
        left_out=cases.left_out | splits.left_out,
    )
    path = write_datalist(Path(output) if output else default, datalist)
    told = ", ".join(f"{len(names)} {name}" for name, names in splits.items())
    print(f"{path}: {len(cases)} cases ({told}), {len(datalist.left_out)} left out")
