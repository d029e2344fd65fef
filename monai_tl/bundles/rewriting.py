"""Render an existing bundle again after its ``task.yaml`` or the recipe has changed, without losing edits made by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from monai_tl.bundles.rendering import RECORD, render_bundle, text_sha256
from monai_tl.errors import ConfigError, list_problems
from monai_tl.storage.files import read_json, sweep_temporary, write_text
from monai_tl.workflow.task_file import TASK_FILE, read_task_file


@dataclass(frozen=True)
class Rewrite:
    """What rendering a bundle again does to the files that differ from the rendering; all others stay as they are.

    Attributes:
        new: missing files.
        changed: files that are as they were rendered before; they follow ``task.yaml`` and the recipe.
        kept: files that were edited by hand, and of which ``task.yaml`` and the recipe have changed nothing.
        edited: files that were edited by hand, and of which ``task.yaml`` or the recipe has changed something too.
    """

    new: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    edited: tuple[str, ...]


def plan_rewrite(bundle: Path, files: Mapping[str, str]) -> Rewrite:
    """Compare a bundle's files with their rendering; the bundle's record shows which ones were edited since the last one.

    Without a record, the bundle was made by hand: files that differ count as ``kept``.

    Args:
        bundle: folder of the bundle.
        files: path -> text, of `render_bundle`.
    """
    before = _read_record(bundle)
    found: dict[str, list[str]] = {"new": [], "changed": [], "kept": [], "edited": []}
    for name, text in files.items():
        path, rendered = bundle / name, text_sha256(text)
        stored = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        if stored == rendered:
            continue
        if stored is None:
            state = "new"
        elif name == RECORD or stored == before.get(name):
            state = "changed"
        else:
            state = "kept" if rendered == before.get(name, rendered) else "edited"
        found[state].append(name)
    return Rewrite(**{state: tuple(names) for state, names in found.items()})


def rewrite_bundle(bundle: Path, *, force: bool = False) -> Rewrite:
    """Render a bundle's files from its ``task.yaml`` again and write those that differ, each atomically.

    Args:
        bundle: folder with a ``task.yaml``.
        force: also replace files that were edited by hand.

    Returns:
        What was done: with ``force``, ``kept`` and ``edited`` were replaced, too; otherwise ``kept`` were not.

    Raises:
        ConfigError: if there is no ``task.yaml`` or it is invalid, or if an edited file would have to change; nothing is
            written then.
    """
    if not (bundle / TASK_FILE).is_file():
        raise ConfigError(
            f"'{bundle}' has no {TASK_FILE}, from which a bundle is rendered; make one with `monai_tl bundle new`"
        )
    files = render_bundle(read_task_file(bundle))
    rewrite = plan_rewrite(bundle, files)
    if rewrite.edited and not force:
        raise ConfigError(
            list_problems(
                f"{bundle}: nothing was written, as files that were edited by hand would change. Move the edits to {TASK_FILE} "
                "or to a config of their own (--overlay), or replace them by --force:",
                rewrite.edited,
                shown=len(rewrite.edited),
            )
        )
    sweep_temporary(bundle)
    for name in (*rewrite.new, *rewrite.changed, *((*rewrite.kept, *rewrite.edited) if force else ())):
        if name != RECORD:
            write_text(bundle / name, files[name])
    write_text(bundle / RECORD, files[RECORD])  # last: a killed call is repeated, and takes nothing for an edit
    return rewrite


def _read_record(bundle: Path) -> dict[str, str]:
    """Return the SHA-256 of each file as it was rendered last; empty without a record."""
    path = bundle / RECORD
    if not path.is_file():
        return {}
    remedy = "restore it, or remove it: then every file that differs is kept"
    return dict(read_json(path, remedy=remedy, required=["files"], of_format=1)["files"])
