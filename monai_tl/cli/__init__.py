"""The verbs of the command line: parse, refuse what is unknown, call one function, print."""

from __future__ import annotations

from typing import Any

from monai_tl.cli.data import datalist_brats, datalist_files, datalist_ixi, phantom
from monai_tl.cli.results import compare, report
from monai_tl.cli.runs import evaluate, predict, stages, train, transfer

VERBS: dict[str, Any] = {
    "phantom": phantom,
    "datalist": {"ixi": datalist_ixi, "brats": datalist_brats, "files": datalist_files},
    "stages": stages,
    "train": train,
    "transfer": transfer,
    "evaluate": evaluate,
    "predict": predict,
    "compare": compare,
    "report": report,
}
