"""Where the weights of a bundle or a run lie, without reading them."""

from __future__ import annotations

from pathlib import Path

from monai_tl.errors import TransferError

WEIGHT_FILES = ("model.pt", "model.safetensors")
LAST_STATE = "last.pt"  # of a training that is not finished


def weights_at(location: str | Path) -> list[Path]:
    """Return the weights files of a bundle (``models/``) or a run folder, or the file itself; none of them is opened.

    Raises:
        TransferError: if there is none.
    """
    location = Path(location)
    if location.is_file():
        return [location]
    if not location.exists():
        raise TransferError(f"source '{location}' does not exist; give a bundle, a run folder, a .pt or a .safetensors file")
    candidates = [folder / name for folder in (location / "models", location) for name in WEIGHT_FILES]
    found = [candidate for candidate in candidates if candidate.is_file()]
    if not found:
        lasts = [folder / LAST_STATE for folder in (location / "models", location) if (folder / LAST_STATE).is_file()]
        unfinished = "there is {}, of a training that is not finished: go on with it by --resume true; or " if lasts else ""
        raise TransferError(
            f"source '{location}' holds no weights: looked for {', '.join(str(c.relative_to(location)) for c in candidates)}; "
            f"{unfinished.format(*lasts)}train it first (monai_tl train --bundle {location}) or name another source"
        )
    return found


def holds_weights(location: Path) -> bool:
    """Return whether a bundle or a run folder holds weights at all."""
    return any((folder / name).is_file() for folder in (location / "models", location) for name in WEIGHT_FILES)
