"""Whether a folder holds a study that a report can be made of."""

from __future__ import annotations

from pathlib import Path

from monai_tl.errors import ConfigError
from monai_tl.study.study_plan import STUDY_FILE


def refuse_no_study(folder: Path) -> None:
    """Refuse a folder without a study.

    Raises:
        ConfigError: with what to name instead.
    """
    if not folder.is_dir():
        raise ConfigError(f"no folder '{folder}': name the folder that `monai_tl study` wrote")
    if not (folder / STUDY_FILE).is_file():
        raise ConfigError(
            f"'{folder}' is no study: it has no {STUDY_FILE}. Name the folder that `monai_tl study` wrote; "
            f"for runs of your own: monai_tl report --runs {folder}"
        )
