"""Warnings about the scans of a datalist before it is written: one image under several ids, or predictions among them."""

from __future__ import annotations

from monai_tl.datasets.datalist import Datalist
from monai_tl.datasets.own_outputs import is_prediction
from monai_tl.identity.fingerprints import fingerprint_cases
from monai_tl.identity.identical import refuse_identical
from monai_tl.text import name_some


def doubts(data: Datalist) -> list[str]:
    """Return one line per doubt about a datalist's images; each image is read once (see `monai_tl.identity.fingerprints`).

    Raises:
        DataError: if one image is in two splits, or is used for two modalities of one case.
    """
    prints = fingerprint_cases(data.cases, (*data.modalities, "label"))
    lines = [f"one image under several ids: {line}" for line in refuse_identical(prints.of, data.splits)]
    if prints.unreadable:
        names = [f"{role} of {subject}" for subject, role in prints.unreadable]
        lines.append(
            f"not readable, so not compared with other images: {name_some(names)}; `monai_tl check` reports the reason"
        )
    scans = [(case["subject"], role, case[role]) for case in data.cases for role in (*data.modalities, "label")]
    predicted = [f"{role} of {subject}" for subject, role, path in scans if is_prediction(path)]
    if predicted:
        lines.append(
            "predictions of a network (listed in predictions.csv in their folder), not scans or drawn labels: "
            f"{name_some(predicted)}"
        )
    return lines
