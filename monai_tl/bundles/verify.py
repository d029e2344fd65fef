"""Check a bundle: its files, ids, settings and data agree with each other. The checks take seconds and train nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monai_tl.bundles.bundle_configs import BundleConfigs
from monai_tl.bundles.network_checks import check_loss, check_network, check_properties
from monai_tl.bundles.rendering import RECIPE, render_bundle
from monai_tl.bundles.rewriting import plan_rewrite
from monai_tl.datasets.datalist import read_datalist
from monai_tl.datasets.regions import regions_of
from monai_tl.errors import ConfigError, did_you_mean, in_words, user_error
from monai_tl.inference.model_files import OF_OWN_NETWORK, PARTS, READ_BY_PREDICTION, RUN_VALUES, WINDOWS
from monai_tl.workflow.merged_config import bundle_config, has_id, read_yaml, references, value_at
from monai_tl.workflow.overrides import RUN_BY, check_overrides
from monai_tl.workflow.recipe_settings import recipe_problems
from monai_tl.workflow.task_file import TASK_FILE

CONTRACT = ("modalities", "classes", "spacing", "orientation", "normalisation")
SAME_IN_INFERENCE = (*CONTRACT, *PARTS, *OF_OWN_NETWORK, "inference_overlap", "device", "precision", "datalist", "dataset_dir")
READ_BY_VERBS: dict[str, tuple[str, ...]] = {
    "train": (*RUN_VALUES, *WINDOWS, *PARTS, *RUN_BY, "datalist", "run_dir", "resume", "regions", "softmax", "contract", "seed",
              "iterations", "validate_every", "transfer_report", "loss", "validate#crop", "validate#inferer"),
    "transfer": ("run_dir", "source", "strategy", "freeze", "norm", "fresh", "new_channels", "accept_differences",
                 "accept_overlap", "network", "transfer_report"),
    "untrained": ("run_dir", "freeze", "fresh", "run"),
    "evaluate": ("split", "ckpt", "scores", "overlays", "accept_overlap", "initialize", "run"),
    "inference": (*READ_BY_PREDICTION, *RUN_VALUES, *WINDOWS, *PARTS, "ckpt", "output_dir", "probabilities", "split", "run"),
}  # fmt: skip
"""Ids that verbs read or set in each config."""


class BundleReport(NamedTuple):
    """The result of checking a bundle.

    Attributes:
        passed: number of checks without a finding.
        problems: what is wrong, one line each.
        notes: what is legal but worth knowing, e.g. files that were edited by hand.
    """

    passed: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def verify_bundle(folder: Path) -> BundleReport:
    """Check a bundle as far as no training is needed; a datalist is checked if it exists."""
    bundle = BundleConfigs(folder)
    found = [_problems(check, bundle) for check in CHECKS]
    problems = dict.fromkeys(problem for of in found for problem in of)
    return BundleReport(sum(not of for of in found), tuple(problems), tuple(_notes(bundle)))


def _problems(check: Callable[[BundleConfigs], Iterator[str]], bundle: BundleConfigs) -> list[str]:
    """Return the findings of a check; an error that a user can correct is one, too."""
    found: list[str] = []
    try:
        found.extend(check(bundle))
    except Exception as error:  # a user's config may raise anything
        found.append(in_words(error) if user_error(error) else f"{check.__name__.removeprefix('_')}: {in_words(error)}")
    return found


def _files(bundle: BundleConfigs) -> Iterator[str]:
    for path in sorted(path for path in RECIPE.rglob("*") if path.is_file()):
        name = path.relative_to(RECIPE).as_posix()
        if not (bundle.folder / name).is_file() or not (bundle.folder / name).stat().st_size:
            yield f"{name} is missing or empty: `monai_tl bundle render {bundle.folder}` writes it, by {TASK_FILE}"


def _references(bundle: BundleConfigs) -> Iterator[str]:
    for names in bundle.merges():
        config = {**bundle.merged(*names), "_meta_": bundle.metadata}
        for reference in sorted(references({key: value for key, value in config.items() if key != "_meta_"})):
            if reference and not has_id(config, reference):
                yield f"{' + '.join(names)}: nothing has the id '{reference}' that it refers to"


def _ids(bundle: BundleConfigs) -> Iterator[str]:
    for name, ids in READ_BY_VERBS.items():
        config = bundle.merged("train", name) if name == "evaluate" else read_yaml(bundle_config(bundle.folder, name))
        yield from (f"{name}.yaml lacks the id '{key}', which monai_tl reads" for key in ids if not has_id(config, key))


def _settings(bundle: BundleConfigs) -> Iterator[str]:
    for names in bundle.merges():
        try:
            check_overrides(bundle.merged(*names), {}, read=None)
        except ConfigError as error:
            yield f"{' + '.join(names)}: {in_words(error)}"
    ratios, classes = bundle.train.get("class_ratios"), bundle.train["classes"]
    if isinstance(ratios, list) and isinstance(classes, list):
        yield from recipe_problems({"class_ratios": ratios}, regions=len([name for name in classes if name != "background"]))


def _inference_agrees(bundle: BundleConfigs) -> Iterator[str]:
    train, inference = bundle.train, bundle.inference
    window = train["window"] if train["inference_window"] == "@window" else train["inference_window"]
    pairs = [(key, train.get(key), inference.get(key)) for key in SAME_IN_INFERENCE]
    pairs += [("inference_window", window, inference["inference_window"])]
    pairs += [(key, value_at(train, f"validate#{key}"), inference.get(key)) for key in ("inferer", "crop")]
    for key, ours, theirs in pairs:
        if ours != theirs:
            yield f"inference.yaml differs from train.yaml: {key} is {_shown(theirs)}, in training {_shown(ours)}"


def _metadata_agrees(bundle: BundleConfigs) -> Iterator[str]:
    train, metadata = bundle.train, bundle.metadata
    expected = {f"preprocessing#{key}": train[key] for key in ("spacing", "orientation", "normalisation")}
    for place, names in (("inputs#image", train["modalities"]), ("outputs#pred", train["classes"])):
        channels, stated_at = {str(at): name for at, name in enumerate(names)}, f"network_data_format#{place}"
        expected |= {f"{stated_at}#channel_def": channels, f"{stated_at}#num_channels": len(names)}
    for key, value in expected.items():
        stated = value_at(metadata, key) if has_id(metadata, key) else None
        if stated != value:
            yield f"metadata.json states {key.rpartition('#')[2]} {_shown(stated)}, train.yaml {_shown(value)}"
    required = [key for key in ("version", "name", "task", "description", "authors", "copyright") if not metadata.get(key)]
    yield from (f"metadata.json does not state {key}" for key in required)


def _texts_agree(bundle: BundleConfigs) -> Iterator[str]:
    readme = bundle.folder / "docs" / "README.md"
    title = readme.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").strip() if readme.is_file() else None
    if title is not None and title != bundle.metadata.get("name"):
        yield f"docs/README.md is about '{title}', metadata.json about '{bundle.metadata.get('name')}'"


def _task_agrees(bundle: BundleConfigs) -> Iterator[str]:
    task, train = bundle.task, bundle.train
    for key, names in (("modalities", task.modalities), ("classes", task.classes)):
        if names and list(names) != train[key]:
            yield f"{TASK_FILE} has {key} {_shown(list(names))}, train.yaml {_shown(train[key])}"


def _data_agrees(bundle: BundleConfigs) -> Iterator[str]:
    path = bundle.datalist()
    if path is not None:
        data, modalities = read_datalist(path), bundle.train["modalities"]
        regions_of(data.regions, bundle.train["classes"])
        for split in ("train", "validation"):
            data.split(split, modalities)
    yield from ()


def _notes(bundle: BundleConfigs) -> Iterator[str]:
    """Yield what is legal, but worth knowing."""
    try:
        if bundle.datalist() is None:
            yield f"the datalist ({bundle.train['datalist']}) does not exist here, so it was not checked; set it by --datalist"
        if not (bundle.folder / TASK_FILE).is_file():
            yield f"no {TASK_FILE}: the files were not compared with the recipe"
            return
        yield from _codes_of_others(bundle)
        rewrite = plan_rewrite(bundle.folder, render_bundle(bundle.task))
    except Exception as error:  # it has been reported as a problem
        yield f"not compared with the recipe: {in_words(error)}"
        return
    yield from (f"{name} was edited by hand" for name in (*rewrite.kept, *rewrite.edited))
    for name in (*rewrite.new, *rewrite.changed):
        yield f"{name} is older than {TASK_FILE} or the recipe: `monai_tl bundle render {bundle.folder}` writes it"


def _codes_of_others(bundle: BundleConfigs) -> Iterator[str]:
    """Yield classes with DICOM codes that no config has; ``--classes`` may name them, but they may be misspelt."""
    of_configs = [name for names in bundle.merges() for name in bundle.merged(*names)["classes"]]
    known = [name for name in dict.fromkeys(of_configs) if name != "background"]
    for name in bundle.task.dicom_codes:
        if name not in known:
            yield f"{TASK_FILE}: dicom_codes: no config has a class '{name}': {did_you_mean(name, known)}"


def _shown(value: Any) -> str:
    text = str(list(value.values()) if isinstance(value, Mapping) and all(key.isdecimal() for key in value) else value)
    return text if len(text) <= 100 else f"{text[:100]}…"


CHECKS: Sequence[Callable[[BundleConfigs], Iterator[str]]] = (
    _files,
    _references,
    _ids,
    _settings,
    check_properties,
    _inference_agrees,
    check_network,
    check_loss,
    _metadata_agrees,
    _texts_agree,
    _task_agrees,
    _data_agrees,
)
