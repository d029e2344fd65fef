"""What is to be known of a datalist's scans before it is written: one image under several ids, predictions among them."""

from __future__ import annotations

from monai_tl.datasets.datalist import Datalist
from monai_tl.datasets.own_outputs import is_prediction
from monai_tl.identity.fingerprints import fingerprint_cases
from monai_tl.identity.identical import refuse_identical
from monai_tl.text import name_some


def doubts(data: Datalist) -> list[str]:
    """Read every image once (what is known of it is kept, see `monai_tl.identity.fingerprints`) and give a line a doubt.

    Raises:
        DataError: if one image is in two splits, or is two modalities of one case.
    """
    found = fingerprint_cases(data.cases, (*data.modalities, "label"))
    told = [f"one image under several ids: {line}" for line in refuse_identical(found.of, data.splits)]
    if found.unreadable:
        names = [f"{role} of {subject}" for subject, role in found.unreadable]
        told.append(f"not readable, so not compared with other images: {name_some(names)}; `monai_tl check` says why")
    scans = [(case["subject"], role, case[role]) for case in data.cases for role in (*data.modalities, "label")]
    predicted = [f"{role} of {subject}" for subject, role, path in scans if is_prediction(path)]
    if predicted:
        told.append(
            f"predictions of a network (predictions.csv beside them says so), no scans or drawn labels: {name_some(predicted)}"
        )
    return told
