"""The scans that a study was planned with: a run with other scans is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monai_tl.datasets.datalist import Datalist
from monai_tl.errors import DataError, list_problems
from monai_tl.identity.fingerprints import Fingerprint, Prints
from monai_tl.identity.run_data import RunCases, changed_scans

Planned = Mapping[str, Mapping[str, Sequence[str]]]  # subject -> role -> fingerprint, as ``study.json`` holds it


def refuse_changed_scans(planned: Planned, now: Mapping[str, Prints], data: Datalist) -> None:
    """Refuse scans that differ from those of the plan; files that were moved or recompressed with equal content do not.

    Args:
        planned: nothing is compared if it is empty, as in the plans of earlier versions.
        now: split -> subject -> role -> fingerprint.
        data: datalist with the paths.

    Raises:
        DataError: with the files and the remedy.
    """
    kept = {subject: {role: Fingerprint(*of) for role, of in roles.items()} for subject, roles in planned.items()}
    changed = changed_scans(RunCases("", dict.fromkeys(now, kept)), now, data.cases)
    if changed:
        count = f"{len(changed)} scans differ" if len(changed) > 1 else "1 scan differs"
        first = f"{count} from those that the study was planned with"
        raise DataError(
            list_problems(f"{first}; restore them and repeat the command, or start a study in another folder:", changed)
        )
