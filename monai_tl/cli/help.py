"""Help: the verbs, a line each and grouped; of one verb its purpose, two examples and every flag."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from monai_tl.cli.arguments import Verb, Verbs, kinds_of
from monai_tl.cli.help_texts import EXAMPLES, FLAGS, GROUPS
from monai_tl.errors import ConfigError
from monai_tl.inference.model_files import READ_BY_PREDICTION
from monai_tl.settings.table import DESCRIPTIONS, PATH, SETTINGS
from monai_tl.settings.values import Kind, Text
from monai_tl.workflow.merged_config import bundle_config, is_expression, merge_configs
from monai_tl.workflow.overrides import RUN_BY, ids_read

HELP_COLUMNS = 100
PLAIN = (Text().what, "any text", PATH.what)  # need not be said
USUAL = "bundles/brats_tumour_core"  # whose settings are shown
CONFIGS = {"train": ("train",), "evaluate": ("train", "evaluate"), "predict": ("inference",)}  # else train and transfer
NAMED_OTHERWISE = ("bundle_root", "run_dir", "output_dir", "val_interval")
OF_ARMS = ("seed", "freeze", "resume")  # differ from run to run of a study


def overview(verbs: Verbs, words: tuple[str, ...] = ()) -> str:
    """Show verbs, a line each: all of them by group, or those below a first word."""
    groups = {name: [one for one in of if one in verbs] for name, of in GROUPS.items()} if not words else {}
    grouped = {one for of in groups.values() for one in of}
    groups["" if words or not grouped else "others"] = [one for one in verbs if one not in grouped]
    lines = {group: [line for one in of for line in _lines(verbs[one], (*words, one))] for group, of in groups.items()}
    width = max(len(name) for of in lines.values() for name, _ in of)
    told = [f"Usage: {' '.join(['monai_tl', *words])} VERB --flag value …"]
    for group, of in lines.items():
        told += ["", *([f"{group}:"] if group else [])] if of else []
        told += [_hanging(f"  {name:<{width}}  ", purpose) for name, purpose in of]
    return "\n".join([*told, "", "All flags of a verb: monai_tl VERB --help"])


def of_verb(verb: Verb, name: str) -> str:
    """Show a verb: purpose, usage, two examples, then every flag with what it takes and its default."""
    first, _, rest = (inspect.getdoc(verb) or "").partition("\n")
    told = [f"monai_tl {name}: {first}", *re.split(r"\n\s*\n", rest.strip())]
    lines = ["\n".join(textwrap.wrap(" ".join(part.split()), HELP_COLUMNS)) for part in told if part]
    if name in EXAMPLES:
        shown = [_hanging("  ", f"monai_tl {name} {words}".strip(), "      ") for words in EXAMPLES[name]]
        lines.append("\n".join(["Examples:", *shown]))
    flags = list(_flags(verb, name))
    if flags:
        lines.append("\n".join(["Flags:", *flags]))
    settings = list(_settings(verb, name))
    if settings:
        lines.append(
            "\n".join([f"Settings, with the defaults of {USUAL}; any other id of the configs is a flag too:", *settings])
        )
    return "\n\n".join(lines)


def purpose_of(verb: Verb) -> str:
    """Return the first sentence of a verb's docstring, without the flags that follow it."""
    first = (inspect.getdoc(verb) or "").split("\n")[0]
    return re.split(r": |, [A-Z]+ \[", first)[0].rstrip(".:")


def described(flag: str, name: str) -> str:
    """Return what a flag is of a verb; some mean something of their own in one family of verbs."""
    return FLAGS.get(f"{name.split()[0]} {flag}") or FLAGS.get(flag) or DESCRIPTIONS.get(flag, "")


def _lines(entry: Any, words: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if callable(entry):
        yield " ".join(words), purpose_of(entry)
    for name, below in entry.items() if isinstance(entry, Mapping) else ():
        yield from _lines(below, (*words, name))


def _flags(verb: Verb, name: str) -> Iterator[str]:
    kinds = kinds_of(verb)
    for one in inspect.signature(verb).parameters.values():
        if one.kind is one.KEYWORD_ONLY:
            needed = one.default is one.empty
            told = "needed" if needed else f"default {_plain(one.default)}" if one.default not in (None, "") else ""
            yield _flag(one.name, described(one.name, name), kinds.get(one.name), told)


def _settings(verb: Verb, name: str) -> Iterator[str]:
    """Show the settings that a verb passes on, as far as the usual bundle's configs read them."""
    passes_on = set(kinds_of(verb)) - set(inspect.signature(verb).parameters)
    try:
        files = [bundle_config(USUAL, config) for config in CONFIGS.get(name, ("train", "transfer"))]
        config = merge_configs(files)
        read = set(ids_read(config, READ_BY_PREDICTION if name == "predict" else RUN_BY)) & set(config)
    except ConfigError:  # called from another folder
        config, read = {}, set(SETTINGS)
    never = (*NAMED_OTHERWISE, *(OF_ARMS if name.startswith("study") else ()))
    for one in (one for one in SETTINGS if one in passes_on and one in read and one not in never):
        default = config.get(one)
        told = "" if default is None or is_expression(default) else f"default {_plain(default)}"
        yield _flag(one, DESCRIPTIONS[one], SETTINGS[one], told)


def _flag(name: str, description: str, kind: Kind | None, default: str) -> str:
    takes = "" if kind is None or (isinstance(kind, Text) and kind.what in PLAIN) else kind.takes
    return _hanging(f"  --{name:<20} ", "; ".join(filter(None, (description, takes, default))), " " * 25)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace("'", "")


def _hanging(before: str, text: str, indent: str = "") -> str:
    indent = indent or " " * len(before)
    return textwrap.fill(text, HELP_COLUMNS, initial_indent=before, subsequent_indent=indent, break_on_hyphens=False)
