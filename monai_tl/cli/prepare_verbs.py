"""Verbs that prepare scans: all files of a case on one grid."""

from __future__ import annotations

from typing import Annotated

from monai_tl.cli.arguments import Policy
from monai_tl.errors import ConfigError
from monai_tl.settings.table import LABELS, SPACING
from monai_tl.settings.values import Either, Number, Whole, Words

Processes = Annotated[int, Whole(0, what="a whole number, 1 or more (0: one per core)")]
Margin = Annotated[float, Number(least=0, unit="mm", example="10")]
Crop = Annotated[str, Either((Words(("label", "image")), LABELS), "label, image or label values, e.g. 1,4")]
Register = Annotated[str, Words(("rigid", "none"))]
Spacing = Annotated[tuple[float, ...], SPACING]


def prepare_ixi(
    *, t1: str, t2: str, labels: str, output: str, coding: str = "", incomplete: Policy = "refuse", processes: Processes = 0
) -> None:
    """Register IXI's T2 to T1 and resample labels to T1's grid: --t1 IXI-T1.tar --t2 IXI-T2.tar --labels aseg.tar --output DIR.

    Finished subjects are skipped, so that the same command resumes an interrupted one.
    """
    from monai_tl.preparation.prepare_ixi import prepare_ixi_folder as prepare_ixi_scans

    prepare_ixi_scans(t1, t2, labels, output, coding=coding, incomplete=incomplete, processes=processes)


def prepare_files(
    *,
    output: str,
    label: str = "",
    reference: str = "",
    label_on: str = "",
    register: Register = "rigid",
    spacing: Spacing | None = None,
    crop: Crop | None = None,
    margin: Margin | None = None,
    incomplete: Policy = "refuse",
    processes: Processes = 0,
    **patterns: str,
) -> None:
    """Bring images and labels of any layout to one grid per case: --T1 PATTERN [--T2 PATTERN …] [--label PATTERN] --output DIR.

    Each modality is a flag whose value is a path with {subject} in place of the id, as for datalist files. The other modalities
    are registered rigidly to the --reference, or placed by their headers alone (--register none). The label follows the
    modality that it was drawn on. Doubtful cases are listed. Finished cases are skipped, so that the same command resumes an
    interrupted one.
    """
    from monai_tl.preparation.common_grid import MARGIN_MM, CommonGrid
    from monai_tl.preparation.prepare_files import prepare_files_folder

    if margin is not None and crop is None:
        raise ConfigError(f"--margin {margin:g} needs --crop label, --crop image or --crop with label values")
    wanted = CommonGrid(
        reference,
        label_on,
        register,
        None if spacing is None else tuple(map(float, spacing)),
        crop if crop is None or isinstance(crop, str) else tuple(crop),
        MARGIN_MM if margin is None else float(margin),
    )
    files = {**patterns, "label": label} if label else patterns
    prepare_files_folder(files, output, wanted, incomplete=incomplete, processes=processes)
