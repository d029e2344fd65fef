"""The bundle of a datalist, made next to the first run that needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_tl.bundles.new import CHANNELS, NewBundle, new_bundle, values_of
from monai_tl.datasets.datalist import read_datalist
from monai_tl.errors import ConfigError
from monai_tl.transfer.network_of_source import AskedNetwork
from monai_tl.workflow.merged_config import bundle_config, merge_configs, plain_text


def bundle_of_datalist(
    datalist: str,
    runs: Path,
    source: str | None,
    given: Mapping[str, Any],
    *,
    like_source: bool = False,
    network: AskedNetwork | None = None,
) -> Path:
    """Return the bundle of a datalist in a folder of runs; it is made if it does not exist.

    It is called ``NAME_bundle``, NAME being the folder of the datalist, so that all runs on these data share it. Settings are
    proposed as by `monai_tl bundle new`.

    Args:
        datalist: path of the datalist.
        runs: folder of the runs.
        source: what the first transfer starts from.
        given: flags of the run, of which a new bundle takes modalities and classes; all others are of this run alone.
        like_source: a new bundle has the source's spacing in any case.
        network: of a new bundle; None: HighRes3DNet.

    Raises:
        ConfigError: if a folder of this name exists and is no bundle of this datalist.
        DataError: if the datalist cannot be read.
    """
    path = Path(datalist).absolute()
    data = read_datalist(path)
    name = re.sub(r"\W+", "_", path.parent.name, flags=re.ASCII).strip("_")
    folder = runs / f"{name if name[:1].isalpha() else f'task_{name}'}_bundle"
    if folder.exists():
        _refuse_other_data(folder, path)
        print(f"{folder}: the bundle of {datalist}, made before")
        return folder
    known = {key: value for key, value in given.items() if key in CHANNELS}
    asked = NewBundle(folder, data, source=source, like_source=like_source, given=known, network=network or AskedNetwork())
    made = new_bundle(asked)
    chosen = ", ".join(f"{choice.name} {choice.value}" for choice in made.choices)
    print(f"{folder}: a bundle for {datalist}: {values_of(made.regions)}; {chosen}; why: {folder / 'docs' / 'settings.md'}")
    return folder


def _refuse_other_data(folder: Path, datalist: Path) -> None:
    own = None
    if (folder / "configs" / "train.yaml").is_file():
        config = {**merge_configs([bundle_config(str(folder), "train")]), "bundle_root": str(folder)}
        own = plain_text(config, "datalist")
    if own is None or Path(own).resolve() != datalist.resolve():
        raise ConfigError(
            f"'{folder}' exists and is {'no bundle' if own is None else f'the bundle of {own}'}, not that of {datalist}: set "
            "--target to the bundle, or --output to a run in another folder"
        )
