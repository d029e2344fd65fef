"""All families, in the order in which a file is compared with them: the first that recognises it reads it."""

from __future__ import annotations

from pathlib import Path

from monai_tl.errors import USER_ERRORS, TransferError, first_line
from monai_tl.transfer.formats.bundle import BUNDLE, OWN_RUN
from monai_tl.transfer.formats.family import Family, Opened, Reading
from monai_tl.transfer.formats.file_content import read_content
from monai_tl.transfer.formats.genesis import GENESIS
from monai_tl.transfer.formats.lightning import LIGHTNING
from monai_tl.transfer.formats.medicalnet import MEDICALNET
from monai_tl.transfer.formats.monai_weights import MONAI_NETWORK
from monai_tl.transfer.formats.niftynet import NIFTYNET
from monai_tl.transfer.formats.nnssl import NNSSL
from monai_tl.transfer.formats.nnunet import NNUNET_2
from monai_tl.transfer.formats.plain import CHECKPOINT
from monai_tl.transfer.formats.stunet import STU_NET, VERSION_1
from monai_tl.transfer.formats.suprem import SUPREM
from monai_tl.transfer.formats.swin_vit import DISRUPTIVE, SWIN_VIT
from monai_tl.transfer.formats.vista3d import VISTA3D
from monai_tl.transfer.formats.voco import VOCO

STATED = (NNSSL, NNUNET_2, OWN_RUN, BUNDLE, STU_NET, VERSION_1, LIGHTNING)
NAMED = (VISTA3D, SUPREM, VOCO, DISRUPTIVE, SWIN_VIT, GENESIS, MEDICALNET, NIFTYNET)
FAMILIES: tuple[Family, ...] = (*STATED, *NAMED, MONAI_NETWORK, CHECKPOINT)
"""What is stated in a file goes before what its weights are called, and special families before general ones."""


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
    try:
        return family, family.read(opened)
    except USER_ERRORS:
        raise
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
        raise TransferError(
            f"source '{path}' has the form of {family.name}, but what it states of itself cannot be read ({reason}); correct "
            "the files next to it, or save the network's state_dict alone"
        ) from error
