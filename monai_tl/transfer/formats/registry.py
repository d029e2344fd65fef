"""All families, in the order in which a file is compared with them: the first that recognises it reads it."""

from __future__ import annotations

from pathlib import Path

from monai_tl.transfer.formats.family import Family, Opened, Reading
from monai_tl.transfer.formats.file_content import read_content
from monai_tl.transfer.formats.genesis import GENESIS
from monai_tl.transfer.formats.medicalnet import MEDICALNET
from monai_tl.transfer.formats.monai_weights import MONAI_NETWORK
from monai_tl.transfer.formats.niftynet import NIFTYNET
from monai_tl.transfer.formats.plain import CHECKPOINT
from monai_tl.transfer.formats.suprem import SUPREM
from monai_tl.transfer.formats.swin_vit import DISRUPTIVE, SWIN_VIT
from monai_tl.transfer.formats.vista3d import VISTA3D
from monai_tl.transfer.formats.voco import VOCO

FAMILIES: tuple[Family, ...] = (
    VISTA3D,
    SUPREM,
    VOCO,
    DISRUPTIVE,
    SWIN_VIT,
    GENESIS,
    MEDICALNET,
    NIFTYNET,
    MONAI_NETWORK,
    CHECKPOINT,
)


def recognised(opened: Opened) -> Family:
    """Return the family that reads an opened file."""
    return next(family for family in FAMILIES if family.recognise(opened))


def read_file(path: Path, location: Path | None = None) -> tuple[Family, Reading]:
    """Open a weights file and read it as its family does.

    Args:
        path: the weights file.
        location: as the user named it; by default the file.

    Raises:
        TransferError: if the file is damaged, would run code, or if its family cannot account for what it holds.
    """
    opened = Opened(location or path, path, read_content(path))
    family = recognised(opened)
    return family, family.read(opened)
