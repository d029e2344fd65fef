"""Check that a folder holds a study."""

from __future__ import annotations

from pathlib import Path

from monai_tl.errors import ConfigError
from monai_tl.study.study_plan import STUDY_FILE


def refuse_no_study(folder: Path) -> None:
    """Refuse a folder without a study.

    Raises:
        ConfigError: with the remedy.
    """
    if not folder.is_dir():
        raise ConfigError(f"no folder '{folder}': name the folder that `monai_tl study` wrote")
    if not (folder / STUDY_FILE).is_file():
        raise ConfigError(
            f"'{folder}' is not a study: it has no {STUDY_FILE}. Name the folder that `monai_tl study` wrote; "
            f"for other runs: monai_tl report --runs {folder}"
        )
