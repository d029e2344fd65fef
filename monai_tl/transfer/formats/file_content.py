"""Read the content of a weights file by its bytes, whatever it is called, without running any code in it."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from monai_tl.errors import TransferError, first_line

# Numbers of numpy, as nnU-Net stores its metrics: they hold bytes, and no code. Not dtype "object", which can hold anything.
DTYPES = ("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float16", "Float32", "Float64")
NUMBERS: list[Any] = [
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]  # as numpy 1 called it
    np.dtype,
    *(getattr(np.dtypes, f"{name}DType") for name in DTYPES),
]
PICKLES = (b"\x80", b"P")  # of torch before 1.6, and zip archives, which it writes since
GZIP = b"\x1f\x8b"
LARGEST_HEADER = 100_000_000  # bytes, of a safetensors file


def read_content(path: Path) -> Any:
    """Return what a PyTorch checkpoint or a safetensors file holds: tensors, numbers and texts in mappings and lists.

    Raises:
        TransferError: if the file is damaged, if it holds anything but that, or if it is a TorchScript archive.
    """
    if _is_torchscript(path):
        raise TransferError(
            f"source '{path}' is a TorchScript archive, which holds code beside the weights; nothing was run. Where it was "
            "made, save the weights alone: torch.save(torch.jit.load('FILE').state_dict(), 'weights.pt')"
        )
    _refuse_other_files(path)
    try:
        if _is_safetensors(path):
            return safetensors.torch.load_file(path)
        with torch.serialization.safe_globals(NUMBERS), open(path, "rb") as file:  # of a path, torch looks at the suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        which = f" ({found[1]})" if found else ""
        raise TransferError(
            f"source '{path}' is not a plain weights file: it holds Python objects{which}, which could run code when "
            "loaded, or it is damaged; nothing was run. Save only its state_dict (torch.save(network.state_dict(), …)), or a "
            ".safetensors file"
        ) from error
    except Exception as error:  # a damaged file can raise any error: struct.error, IndexError, AssertionError …
        reason = first_line(error).split(". ")[0]
        raise TransferError(
            f"source '{path}' cannot be read ({reason}); needed is a complete .pt or .safetensors weights file"
        ) from error


def _refuse_other_files(path: Path) -> None:
    """Refuse what is no weights file by its first bytes: an empty file, text, and archives that torch did not write."""
    with open(path, "rb") as file:
        start = file.read(64)
    what = ""
    if not start:
        what = "is empty"
    elif (
        start[:1] not in PICKLES
        and not _is_safetensors(path)
        and ((start.isascii() and b"\0" not in start) or start[:2] == GZIP)
    ):
        what = "is a compressed file" if start[:2] == GZIP else "is a text file"
    elif zipfile.is_zipfile(path) and not _is_torchs(path):
        what = "is an archive of other files"
    if what:
        raise TransferError(f"source '{path}' {what}; needed is a .pt or .safetensors weights file, a bundle or a run folder")


def _is_torchs(path: Path) -> bool:
    return _zip_holds(path, "data.pkl", damaged=True)  # torch says how a damaged one is damaged


def _is_safetensors(path: Path) -> bool:
    """Return whether a file begins like one: the length of a header (8 bytes), then JSON."""
    with open(path, "rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < LARGEST_HEADER


def _is_torchscript(path: Path) -> bool:
    return _zip_holds(path, "constants.pkl", damaged=False)


def _zip_holds(path: Path, name: str, *, damaged: bool) -> bool:
    """Return whether an archive has a file of this name in its folder; ``damaged`` if it is no archive that can be listed."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(entry.split("/")[1:] == [name] for entry in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):  # RuntimeError: also of features that zipfile lacks
        return damaged
