"""The geometry of a scan: the affine that its header defines by NIfTI's rules. No other module interprets headers.

The sform is used if its code is above 0, else the qform if its code is above 0, else the orientation is unknown
(https://nifti.nimh.nih.gov/nifti-1/documentation/nifti1fields/nifti1fields_pages/qsform.html). Headers are read as stored,
since libraries silently repair some faults, each in a different way. A field that is ignored or converted yields a `Note`; a
header that cannot be used has a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

Affine = NDArray[np.float64]  # 4×4, voxel (i, j, k) to RAS

UNITS = {0: ("mm", 1.0), 1: ("metre", 1000.0), 2: ("mm", 1.0), 3: ("micron", 0.001)}  # code -> name, mm
CODES = range(6)  # sform and qform codes that NIfTI defines
SIZES = (0.05, 30.0)  # mm: plausible voxel edges of a head scan, with a margin; outside them a unit or length is wrong
SHEAR = 0.01  # largest cosine between axes: 0.6° from a right angle
FORMS_APART = 0.1  # voxels
STALE = 1e-4  # relative difference beyond float32 rounding
ROUNDED = 4e-7  # by which a quaternion's square may exceed 1, in float32
TOO_LONG = 1e-3  # by which its length may exceed 1: rounded by a converter
FIELDS = (  # that define the geometry, in addition to the first four of pixdim
    *("sform_code", "srow_x", "srow_y", "srow_z", "qform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "xyzt_units"),
)

UNKNOWN = (
    "has no known orientation: {why}, so left and right cannot be distinguished. Convert the original DICOM again (dcm2niix); "
    "or, if you know the direction of its axes, set the affine (nibabel: image.set_sform(affine, 1); FSL: fslorient "
    "-setsformcode 1, if the stored sform is right)"
)


class Note(NamedTuple):
    """What was ignored or converted in a header: a text that is the same for every scan concerned, and the scan's numbers."""

    what: str
    numbers: str

    def __str__(self) -> str:
        """Return both as one line."""
        return f"{self.what} ({self.numbers})"


@dataclass(frozen=True)
class Geometry:
    """The geometry that a header defines.

    Attributes:
        affine: 4×4, voxel (i, j, k) to RAS in mm; meaningless if there is a fault.
        notes: what was ignored or converted.
        fault: why the scan cannot be used, phrased to follow the scan's name; empty if it can.
        stored: the NIfTI header as stored, for writing images on the same grid; None for other formats.
    """

    affine: Affine = field(default_factory=lambda: np.eye(4))
    notes: tuple[Note, ...] = ()
    fault: str = ""
    stored: Any = None


class _Form(NamedTuple):
    """One of the two affines of a NIfTI header, in the header's own unit."""

    affine: Affine
    fault: str = ""
    notes: tuple[Note, ...] = ()


def geometry_of_nifti(header: Any) -> Geometry:
    """Return the geometry of a NIfTI header (1 or 2) that was read without checks or repairs."""
    codes = {name: int(header[f"{name}_code"]) for name in ("sform", "qform")}
    if max(codes.values()) <= 0:
        why = f"neither its sform nor its qform is in use (sform_code {codes['sform']}, qform_code {codes['qform']})"
        return Geometry(fault=UNKNOWN.format(why=why), stored=header)
    unit, factor, notes = _unit(header)
    notes += [
        Note(f"its {name}_code is not defined by NIfTI; being above 0, it counts as in use", f"{name}_code {code}")
        for name, code in codes.items()
        if code > 0 and code not in CODES
    ]
    sform, qform = _sform(header), _qform(header)
    form = sform if codes["sform"] > 0 else qform
    if form.fault:
        return Geometry(fault=_unusable(form, codes), stored=header)
    notes += form.notes if form is qform else _contradictions(header, sform, qform)
    affine = np.vstack([form.affine[:3] * factor, [0, 0, 0, 1]])
    fault = affine_fault(affine, unit)
    if not fault and min(codes.values()) > 0 and not qform.fault and len(header.get_data_shape()) > 2:
        fault = _disagreement(sform.affine, qform.affine, header.get_data_shape(), factor)
    return Geometry(affine, tuple(notes), fault, header)


def scaling_of_nifti(header: Any) -> tuple[str, tuple[Note, ...]]:
    """Return what is wrong with the stored scaling of a NIfTI header (empty if nothing), and notes on what is ignored."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    numbers = f"scl_slope {slope:g}, scl_inter {inter:g}"
    if np.isnan(slope):
        return "", (Note("its scl_slope is not a number: voxels are used as stored, without scaling", numbers),)
    if np.isinf(slope) or (slope and not np.isfinite(inter)):
        return f"has an intensity scaling that is not finite ({numbers}); correct the header", ()
    return "", ()


def affine_fault(affine: Affine, unit: str = "mm") -> str:
    """Return what is wrong with an affine: not finite, singular, sheared or implausible voxel sizes; empty if nothing.

    Args:
        affine: 4×4, voxel (i, j, k) to RAS in mm.
        unit: of the lengths in the file, for the message.
    """
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        return "has no usable affine (not finite, or an axis of length 0 mm)"
    lengths = _lengths(affine)
    if not (SIZES[0] <= lengths.min() and lengths.max() <= SIZES[1]):
        return (
            f"has voxels of {_times(lengths)} mm (unit of length: {unit}); scans have {SIZES[0]:g} to {SIZES[1]:g} mm, so the "
            "lengths or the unit (NIfTI's xyzt_units) are wrong; correct the header"
        )
    axes = affine[:3, :3] / lengths
    cosines = np.abs(axes.T @ axes)[np.triu_indices(3, 1)]
    if cosines.max() <= SHEAR:
        return ""
    pair, angle = ("i and j", "i and k", "j and k")[int(cosines.argmax())], np.degrees(np.arccos(min(cosines.max(), 1)))
    return f"has axes that are not at right angles ({pair} at {angle:.1f}°); resample it to a grid with orthogonal axes"


def with_consistent_geometry(header: Any, affine: Affine) -> Any:
    """Return a copy of a NIfTI header whose geometry fields all encode this affine, in mm."""
    header = header.copy()
    header["xyzt_units"] = 2 | (int(header["xyzt_units"]) & ~7)
    header.set_qform(affine, 1)
    header.set_sform(affine, 1)
    return header


def copy_fields(stored: Any, header: Any) -> None:
    """Copy the geometry fields of a stored NIfTI header to another header, unchanged."""
    for name in FIELDS:
        header[name] = stored[name]
    header["pixdim"][:4] = stored["pixdim"][:4]


def corners(affine: Affine, shape: Sequence[int]) -> NDArray[np.float64]:
    """Return the positions of the eight corner voxels of a grid, (8, 3)."""
    outermost: NDArray[np.float64] = nib.affines.apply_affine(
        affine, np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape[:3]) - 1)
    )
    return outermost


def _unit(header: Any) -> tuple[str, float, list[Note]]:
    """Return the unit of length, its factor to mm, and a note if lengths are converted or the unit is undefined."""
    code = int(header["xyzt_units"]) & 7
    if code not in UNITS:
        note = Note("its unit of length is not defined by NIfTI: mm is assumed", f"xyzt_units {code}")
        return "not defined, mm assumed", 1.0, [note]
    unit, factor = UNITS[code]
    sizes = _times(header["pixdim"][1:4])
    notes = [] if factor == 1 else [Note(f"its lengths are in {unit}, converted to mm", f"voxels of {sizes} {unit}")]
    return unit if code else "not stated, mm assumed", factor, notes


def _sform(header: Any) -> _Form:
    affine = np.vstack([np.array([header[f"srow_{axis}"] for axis in "xyz"], np.float64), [0, 0, 0, 1]])
    if not np.isfinite(affine).all():
        axis = "xyz"[int(np.argmin(np.isfinite(affine[:3]).all(1)))]
        return _Form(affine, f"contains numbers that are not finite (srow_{axis}: {_list(header[f'srow_{axis}'])})")
    lengths = _lengths(affine)
    if not lengths.all():
        return _Form(affine, f"gives axis {'ijk'[int(lengths.argmin())]} a length of 0")
    if np.linalg.matrix_rank(affine[:3, :3] / lengths) < 3:
        return _Form(affine, "has axes in one plane")
    return _Form(affine)


def _qform(header: Any) -> _Form:
    """Return the qform by the standard; a pixdim[0] (the sign of the third axis) of 0 counts as 1."""
    quaternion = np.array([header[f"quatern_{part}"] for part in "bcd"], np.float64)
    offset = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    side, lengths = float(header["pixdim"][0]), np.array(header["pixdim"][1:4], np.float64)
    if not np.isfinite([*quaternion, *offset]).all():
        return _Form(
            np.eye(4), f"contains numbers that are not finite (quaternion {_list(quaternion)}, offset {_list(offset)})"
        )
    for number, (axis, length) in enumerate(zip("ijk", lengths, strict=True), 1):
        if not 0 < length < np.inf:
            return _Form(np.eye(4), f"has no valid voxel length along {axis} (pixdim[{number}] is {length:g})")
    if side not in (-1, 0, 1):
        return _Form(np.eye(4), f"does not define the sign of its third axis (pixdim[0] is {side:g}, not 1 or -1)")
    notes: tuple[Note, ...] = ()
    long = float(np.linalg.norm(quaternion))
    if long > 1 + TOO_LONG:
        return _Form(np.eye(4), f"has a quaternion of length {long:.6g}; at most 1 is valid")
    sound = header.copy()
    if long**2 > 1 + ROUNDED:
        notes = (Note("its quaternion is slightly longer than 1 and was normalised", f"length {long:.7g}"),)
        for part, value in zip("bcd", quaternion / long, strict=True):
            sound[f"quatern_{part}"] = value
    sound["pixdim"][0] = side or 1
    return _Form(np.asarray(sound.get_qform(coded=False), np.float64), "", notes)


def _unusable(form: _Form, codes: dict[str, int]) -> str:
    """Return the message for a form in use that is invalid; the other form is never used instead without being asked for."""
    name = "sform" if codes["sform"] > 0 else "qform"
    instead = ", or set sform_code to 0 if its qform is right" if min(codes.values()) > 0 else ""
    return f"has no usable affine: its {name} (code {codes[name]}) {form.fault}; correct the header{instead}"


def _contradictions(header: Any, sform: _Form, qform: _Form) -> list[Note]:
    """Return notes on the fields that contradict the sform, which is used."""
    code = int(header["qform_code"])
    if code > 0 and qform.fault:
        return [Note("its qform is invalid: the sform is used", f"the qform, code {code}, {qform.fault}")]
    lengths, stored = _lengths(sform.affine), np.array(header["pixdim"][1:4], np.float64)
    notes = list(qform.notes) if code > 0 else []
    if not np.allclose(stored, lengths, rtol=STALE, atol=0):
        numbers = f"pixdim {_times(stored)}, sform {_times(lengths)}, qform_code {code}"
        notes.append(Note("its pixdim and its sform disagree on the voxel size: the sform is used", numbers))
    return notes


def _disagreement(sform: Affine, qform: Affine, shape: Sequence[int], factor: float) -> str:
    """Return the message if sform and qform, both in use, disagree: programs differ in which one they use."""
    apart = float(np.linalg.norm(corners(sform - qform, shape), axis=1).max())
    if apart <= FORMS_APART * _lengths(sform).min():
        return ""
    return f"has an sform and a qform that disagree by up to {apart * factor:.3g} mm; set the code of the wrong one to 0"


def _lengths(affine: Affine) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


def _times(lengths: Any) -> str:
    return " × ".join(f"{float(length):.6g}" for length in lengths)


def _list(numbers: Any) -> str:
    return ", ".join(f"{float(number):.4g}" for number in numbers)
