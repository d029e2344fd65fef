"""Who a subject id stands for: several scans of one person have ids of their own, and one number may stand for two people."""

from __future__ import annotations

import re

from monai_tl.data.brats import patient_of

IXI = re.compile(r"(?i)(IXI\d{3})(?!\d)")
BIDS = re.compile(r"(?i)(sub-[0-9a-z]+)(?=_|$)")
COUNTED = re.compile(r"(?i)(?:case|subject|subj|sub|patient|pat|person|image|img|scan|volume|vol|s|p)?[-_ ]*\d{1,4}")


def person_of(subject: str) -> str:
    """Give the person of a subject id, as far as datasets' rules tell, in lower case.

    ``BraTS-GLI-00005-101`` and ``-100`` are one patient at two times, ``IXI012`` and ``IXI012-HH-1211`` one of IXI,
    ``sub-07_ses-2`` and ``sub-07`` one of BIDS.
    """
    for rule in (IXI, BIDS):
        if found := rule.match(subject):
            return found[1].lower()
    return patient_of(subject).lower()


def is_counted(subject: str) -> bool:
    """Say if an id is but a number, as many datasets have it (``case_012``, ``sub-07``, ``3``): it names nobody by itself."""
    return COUNTED.fullmatch(person_of(subject)) is not None
