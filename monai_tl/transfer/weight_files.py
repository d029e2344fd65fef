"""Find the weights file of a bundle, a run or a folder of nnU-Net, without reading it."""

from __future__ import annotations

from pathlib import Path

from monai_tl.errors import TransferError
from monai_tl.text import name_some

WEIGHT_FILES = ("model.pt", "model.safetensors")
LAST_STATE = "last.pt"  # of an unfinished training
FOLD_FILES = ("checkpoint_final.pth", "checkpoint_best.pth")  # of nnU-Net


def weights_at(location: str | Path) -> list[Path]:
    """Return the weights files of a bundle (``models/``) or a run folder, or the file itself, without opening them.

    Of nnU-Net's results it is the final checkpoint of the first fold, or the best one of a fold that is not finished.

    Raises:
        TransferError: if there is none.
    """
    location = Path(location)
    if location.is_file():
        return [location]
    if not location.exists():
        raise TransferError(f"source '{location}' does not exist; name a bundle, run folder, .pt or .safetensors file")
    candidates = [folder / name for folder in (location / "models", location) for name in WEIGHT_FILES]
    found = [candidate for candidate in candidates if candidate.is_file()] or _of_nnunet(location)
    if not found:
        lasts = [folder / LAST_STATE for folder in (location / "models", location) if (folder / LAST_STATE).is_file()]
        unfinished = "{} is the state of an unfinished training: continue it with --resume true; or " if lasts else ""
        raise TransferError(
            f"source '{location}' holds no weights: needed is one of "
            f"{', '.join(str(c.relative_to(location)) for c in candidates)}; "
            f"{unfinished.format(*lasts)}{_remedy(location)}{_others(location)}"
        )
    return found


def _remedy(location: Path) -> str:
    if (location / "configs" / "train.yaml").is_file():
        return f"train it first (monai_tl train --bundle {location}) or name another source"
    return "name a bundle, a run folder, a folder of nnU-Net or a weights file"


def folds_of(location: Path) -> list[str]:
    """Return the folds of nnU-Net in a folder that have weights, the first one first; none in a folder of another kind."""
    folders = sorted(path for path in location.glob("fold_*") if any((path / name).is_file() for name in FOLD_FILES))
    return [path.name for path in folders]


def _of_nnunet(location: Path) -> list[Path]:
    """Return the checkpoint of a fold's folder, or that of the first fold in a folder of several."""
    folders = [location, *(location / fold for fold in folds_of(location)[:1])]
    return [folder / name for folder in folders for name in FOLD_FILES if (folder / name).is_file()][:1]


def _others(location: Path) -> str:
    """Name sources further down, as a folder of several trainings or a bundle with several files of weights has them."""
    trainings = [path for path in sorted(location.iterdir()) if path.is_dir() and folds_of(path)]
    files = sorted(path for path in (location / "models").glob("*") if path.suffix in (".pt", ".pth", ".safetensors"))
    found = [str(path) for path in (*trainings, *files) if path.name != LAST_STATE]
    return f"; there {'are' if len(found) > 1 else 'is'} {name_some(found)}" if found else ""


def holds_weights(location: Path) -> bool:
    """Return whether a bundle or a run folder holds a weights file."""
    return any((folder / name).is_file() for folder in (location / "models", location) for name in WEIGHT_FILES)
