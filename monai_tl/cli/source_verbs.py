"""The verb that describes a source."""

from __future__ import annotations

import textwrap
from pathlib import Path

from monai_tl.cli.arguments import names
from monai_tl.errors import ConfigError
from monai_tl.settings.table import PATH

COLUMNS = 118
LABEL = 15


def source(*weights: str, targets: str = "") -> None:
    """Describe the weights that a transfer would start from: BUNDLE_RUN_OR_FILE [--targets bundles/a,bundles/b].

    Prints what kind of file it is, its network and stages, the images that it expects, what it lacks, and which targets can
    start from it with which flags; by default all bundles in the folder bundles. Nothing in the source is executed. What a
    file does not say is called unknown.
    """
    if len(weights) != 1 or not PATH.allows(weights[0]):
        raise ConfigError(f"source takes one bundle, run folder or weights file; got {' '.join(weights) or 'none'}")
    from monai_tl.bundles.targets import find_targets, fits_of, read_target
    from monai_tl.transfer.source import read_source
    from monai_tl.transfer.source_facts import said_of, source_facts

    asked = names(targets)
    for bundle in asked:
        read_target(bundle)
    found = read_source(weights[0])
    for name, text in source_facts(found).items():
        _show(name, text, flags=name == "flags")
    for text in said_of(found):
        _show("note", text)
    for bundle, fit in fits_of(found, asked or find_targets(Path("bundles"))):
        way = f"fits{' with ' + fit.flags if fit.flags else ' as it is'}" if fit.fits else "does not fit"
        _show("target", f"{bundle}: {way}", flags=fit.fits)
        for reason in fit.reasons:
            _show("", f"– {reason}")


def _show(name: str, text: str, *, flags: bool = False) -> None:
    """Print a fact below its label; flags on one line, however long, so that they can be pasted."""
    wrapper = textwrap.TextWrapper(COLUMNS, f"{name:<{LABEL}}", " " * LABEL, break_on_hyphens=False, break_long_words=False)
    print(f"{name:<{LABEL}}{text}" if flags else wrapper.fill(text))
