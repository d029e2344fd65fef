"""The verbs of the command line: each parses its arguments, refuses invalid ones, calls one function and prints the result.

PyTorch and MONAI take seconds to import, so verbs import modules that need them only when they run; --help does not.
"""

from __future__ import annotations

from typing import Any

from monai_tl.cli.bundle_verbs import bundle_check, bundle_new, bundle_render
from monai_tl.cli.data_verbs import (
    check,
    datalist_brats,
    datalist_decathlon,
    datalist_files,
    datalist_ixi,
    phantom,
)
from monai_tl.cli.network_verbs import stages
from monai_tl.cli.prepare_verbs import prepare_files, prepare_ixi
from monai_tl.cli.result_verbs import compare, report
from monai_tl.cli.run_verbs import evaluate, predict, train, transfer
from monai_tl.cli.study_verbs import depth, gather_tables, layers, size

VERBS: dict[str, Any] = {
    "phantom": phantom,
    "prepare": {"ixi": prepare_ixi, "files": prepare_files},
    "datalist": {"ixi": datalist_ixi, "brats": datalist_brats, "decathlon": datalist_decathlon, "files": datalist_files},
    "check": check,
    "bundle": {"new": bundle_new, "check": bundle_check, "render": bundle_render},
    "stages": stages,
    "train": train,
    "transfer": transfer,
    "evaluate": evaluate,
    "predict": predict,
    "compare": compare,
    "study": {"layers": layers, "size": size, "depth": depth, "gather": gather_tables},
    "report": report,
}
