"""Verbs for task bundles: made from a datalist, rendered again, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from monai_tl.cli.arguments import Arguments
from monai_tl.cli.network_choice import NetworkName, Stages
from monai_tl.datasets.datalist import read_datalist
from monai_tl.errors import ConfigError, list_problems
from monai_tl.settings.table import PATH, SPACING
from monai_tl.settings.values import Either, Words
from monai_tl.text import plural
from monai_tl.transfer.network_of_source import AskedNetwork
from monai_tl.workflow.recipe_settings import AUTO

AUTO_OR_SPACING = Either((Words((AUTO,)), SPACING), f"{AUTO}, or {SPACING.what}")


def bundle_new(
    *folder: str,
    datalist: str,
    spacing: Annotated[str | list | None, AUTO_OR_SPACING] = None,
    like: str | None = None,
    name: str = "",
    source: Annotated[str | None, PATH] = None,
    like_source: bool = False,
    network: NetworkName | None = None,
    set: Arguments | None = None,
    stages: Stages = None,
    **settings: Any,
) -> None:
    """Make a bundle from a datalist: DIR --datalist FILE [--spacing auto] [--like BUNDLE] [--source BUNDLE_OR_RUN].

    Regions that share label values have a sigmoid each, others a softmax with the background; --classes and --modalities select
    some of them. Settings are proposed from the datalist, each with its reason in docs/settings.md, unless they are given or
    taken from another bundle (--like). --like_source takes spacing, orientation and normalisation from the source in any case.
    The network is HighRes3DNet, or any other: --network SegResNet --set init_filters=16.
    All facts are in task.yaml: edit it, then `monai_tl bundle render DIR`.
    """
    from monai_tl.bundles.new import NewBundle, new_bundle, refuse_new_bundle, values_of

    place = Path(_one(folder, "bundle new"))
    given = {**settings, **({} if spacing is None else {"spacing": spacing})}
    refuse_new_bundle(place, name, given)
    if like_source and not source:
        raise ConfigError("--like_source takes spacing, orientation and normalisation from a source: set --source")
    wanted = AskedNetwork(network, set, stages)
    asked = NewBundle(
        place, read_datalist(datalist), name, Path(like) if like else None, source, like_source, given, network=wanted
    )
    made = new_bundle(asked)
    how = "exclusive, with the background (softmax)" if made.exclusive else "may overlap (a sigmoid each)"
    regions = f"{plural(len(made.regions), 'region')}, {how}"
    print(f"{place}: {regions}: {values_of(made.regions)}; from {', '.join(made.modalities)}")
    if made.network:
        print(f"  network {made.network['name']}{_arguments(made.network)}")
    for choice in made.choices:
        print(f"  {choice.name} {choice.value}: {choice.reason}", *([f"    {choice.check}"] if choice.check else []), sep="\n")
    print("  all other settings: the recipe's defaults")
    print(f"next: monai_tl bundle check {place}")
    named = "" if source else " --source SOURCE"
    print(f"      monai_tl train --bundle {place}, or monai_tl transfer --target {place}{named} --freeze 2")


def _arguments(network: Mapping[str, Any]) -> str:
    """Return the arguments of a network in words."""
    given = [f"{name} {value}" for name, value in network.items() if name != "name"]
    return f": {', '.join(given)}" if given else ""


def bundle_render(*folder: str, force: bool = False) -> None:
    """Render a bundle again after an edit of its task.yaml: DIR [--force].

    Only files that differ are written. Files that were edited by hand are kept; if one of them would have to change, nothing is
    written, unless --force replaces it. Files that are not rendered (further configs, splits, pages) are never touched.
    """
    from monai_tl.bundles.rewriting import rewrite_bundle

    bundle = Path(_one(folder, "bundle render"))
    rewrite = rewrite_bundle(bundle, force=force)
    edited = (*rewrite.kept, *rewrite.edited)
    for verb, files in (("written", (*rewrite.new, *rewrite.changed)), ("replaced" if force else "kept as edited", edited)):
        for file in files:
            print(f"{verb}: {bundle / file}")
    if not (rewrite.new or rewrite.changed or edited):
        print(f"{bundle}: every file is as rendered from task.yaml")


def bundle_check(*folder: str) -> None:
    """Check a bundle: DIR.

    In seconds, without training: ids that MONAI and monai_tl need, references, settings, whether training and inference agree,
    the network's channels, the loss, metadata, task.yaml, and the datalist if it exists. Files that were edited by hand are
    reported, which is no error.
    """
    bundle = Path(_one(folder, "bundle check"))
    if not (bundle / "configs").is_dir():
        raise ConfigError(f"'{bundle}' is not a bundle: it has no configs; make one with `monai_tl bundle new`")
    from monai_tl.bundles.verify import verify_bundle

    report = verify_bundle(bundle)
    for note in report.notes:
        print(f"note: {note}")
    if report.problems:
        count = len(report.problems)
        raise ConfigError(list_problems(f"{bundle}: {plural(count, 'problem')}:", report.problems, shown=count))
    print(f"{bundle}: {report.passed} checks passed")


def _one(folders: tuple[str, ...], verb: str) -> str:
    if len(folders) != 1 or not PATH.allows(folders[0]):
        raise ConfigError(f"{verb} takes one folder, e.g. bundles/my_task; got {' '.join(folders) or 'none'}")
    return folders[0]
