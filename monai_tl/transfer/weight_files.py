"""Find the weights file of a bundle or a run, without reading it."""

from __future__ import annotations

from pathlib import Path

from monai_tl.errors import TransferError

WEIGHT_FILES = ("model.pt", "model.safetensors")
LAST_STATE = "last.pt"  # of an unfinished training


def weights_at(location: str | Path) -> list[Path]:
    """Return the weights files of a bundle (``models/``) or a run folder, or the file itself, without opening them.

    Raises:
        TransferError: if there is none.
    """
    location = Path(location)
    if location.is_file():
        return [location]
    if not location.exists():
        raise TransferError(f"source '{location}' does not exist; name a bundle, run folder, .pt or .safetensors file")
    candidates = [folder / name for folder in (location / "models", location) for name in WEIGHT_FILES]
    found = [candidate for candidate in candidates if candidate.is_file()]
    if not found:
        lasts = [folder / LAST_STATE for folder in (location / "models", location) if (folder / LAST_STATE).is_file()]
        unfinished = "{} is the state of an unfinished training: continue it with --resume true; or " if lasts else ""
        raise TransferError(
            f"source '{location}' holds no weights: needed is one of "
            f"{', '.join(str(c.relative_to(location)) for c in candidates)}; "
            f"{unfinished.format(*lasts)}train it first (monai_tl train --bundle {location}) or name another source"
        )
    return found


def holds_weights(location: Path) -> bool:
    """Return whether a bundle or a run folder holds a weights file."""
    return any((folder / name).is_file() for folder in (location / "models", location) for name in WEIGHT_FILES)
