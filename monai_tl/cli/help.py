"""Help: one line per verb, in groups; for one verb its purpose, usage, two examples and all flags."""

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
from monai_tl.workflow.recipe_settings import RECIPE_SETTINGS

HELP_COLUMNS = 100
PLAIN = (Text().what, "any text", PATH.what)  # kinds that help does not mention
USUAL = "bundles/brats_tumour_core"  # the bundle whose settings and defaults are shown
CONFIGS = {"train": ("train",), "evaluate": ("train", "evaluate"), "predict": ("inference",)}  # others: train and transfer
NAMED_OTHERWISE = ("bundle_root", "run_dir", "output_dir", "val_interval")  # set by flags of the verbs, or fixed
ONLY = {"bundle new": (*RECIPE_SETTINGS, "modalities", "classes")}  # the settings of verbs that take no other ids
HEADLINES = {"bundle new": "Settings, with the recipe's defaults, which hold where nothing is proposed:"}
OF_ARMS = ("seed", "freeze", "strategy", "resume")  # differ between the runs of a study


def overview(verbs: Verbs, words: tuple[str, ...] = ()) -> str:
    """Return one line per verb: all verbs in groups, or those that begin with the same words."""
    groups = {group: [name for name in of if name in verbs] for group, of in GROUPS.items()} if not words else {}
    grouped = {name for of in groups.values() for name in of}
    groups["" if words or not grouped else "others"] = [name for name in verbs if name not in grouped]
    purposes = {group: [line for name in of for line in _lines(verbs[name], (*words, name))] for group, of in groups.items()}
    width = max(len(name) for of in purposes.values() for name, _ in of)
    lines = [f"Usage: {' '.join(['monai_tl', *words])} VERB --flag value …"]
    for group, of in purposes.items():
        lines += ["", *([f"{group}:"] if group else [])] if of else []
        lines += [_hanging(f"  {name:<{width}}  ", purpose) for name, purpose in of]
    return "\n".join([*lines, "", "All flags of a verb: monai_tl VERB --help"])


def of_verb(verb: Verb, name: str) -> str:
    """Return the help of a verb: purpose, usage, two examples, then each flag with what it takes and its default."""
    first, _, rest = (inspect.getdoc(verb) or "").partition("\n")
    usage = first.partition(": ")[2].rstrip(".")
    paragraphs = [_hanging("", part) for part in re.split(r"\n\s*\n", rest.strip()) if part]
    parts = [_hanging("", f"monai_tl {name}: {purpose_of(verb)}."), *paragraphs]
    if usage:
        parts.insert(1, _hanging("Usage: ", f"monai_tl {name} {usage}", "    "))
    examples = [_hanging("  ", f"monai_tl {name} {words}".strip(), "      ") for words in EXAMPLES.get(name, ())]
    headline = HEADLINES.get(name, f"Settings, with the defaults of {USUAL}; any other id of the configs is a flag too:")
    sections = {"Examples:": examples, "Flags:": list(_flags(verb, name)), headline: list(_settings(verb, name))}
    return "\n\n".join([*parts, *("\n".join([title, *lines]) for title, lines in sections.items() if lines)])


def purpose_of(verb: Verb) -> str:
    """Return what the first line of a verb's docstring says before its colon; the usage follows the colon."""
    return (inspect.getdoc(verb) or "").split("\n")[0].partition(": ")[0].rstrip(".:")


def described(flag: str, name: str) -> str:
    """Return the help text of a verb's flag; some flags have another meaning for one verb or one family of verbs."""
    texts = (FLAGS.get(f"{words} {flag}") for words in (name, name.split()[0]))
    return next(filter(None, texts), "") or FLAGS.get(flag) or DESCRIPTIONS.get(flag, "")


def _lines(entry: Any, words: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if callable(entry):
        yield " ".join(words), purpose_of(entry)
    for name, below in entry.items() if isinstance(entry, Mapping) else ():
        yield from _lines(below, (*words, name))


def _flags(verb: Verb, name: str) -> Iterator[str]:
    kinds = kinds_of(verb)
    for p in inspect.signature(verb).parameters.values():
        if p.kind is p.KEYWORD_ONLY:
            default = (
                "required" if p.default is p.empty else f"default {_plain(p.default)}" if p.default not in (None, "") else ""
            )
            yield _flag(p.name, described(p.name, name), kinds.get(p.name), default)


def _settings(verb: Verb, name: str) -> Iterator[str]:
    """Yield the settings that a verb passes on and that the usual bundle's configs use."""
    passes_on = set(kinds_of(verb)) - set(inspect.signature(verb).parameters)
    try:
        files = [bundle_config(USUAL, config) for config in CONFIGS.get(name, ("train", "transfer"))]
        config = merge_configs(files)
        read = set(ids_read(config, READ_BY_PREDICTION if name == "predict" else RUN_BY)) & set(config)
    except ConfigError:  # the bundle is not in this folder
        config, read = {}, set(SETTINGS)
    if name in ONLY:
        config, read = dict(RECIPE_SETTINGS), set(SETTINGS)
    never = (*NAMED_OTHERWISE, *(OF_ARMS if name.startswith("study") else ()))
    shown = [name for name in ONLY.get(name, tuple(SETTINGS)) if name in passes_on and name in read and name not in never]
    for setting in shown:
        value = config.get(setting)
        default = "" if value is None or is_expression(value) else f"default {_plain(value)}"
        yield _flag(setting, DESCRIPTIONS[setting], SETTINGS[setting], default)


def _flag(name: str, description: str, kind: Kind | None, default: str) -> str:
    takes = "" if kind is None or (isinstance(kind, Text) and kind.what in PLAIN) else kind.takes
    return _hanging(f"  --{name:<20} ", "; ".join(filter(None, (description, takes, default))), " " * 25)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace("'", "")


def _hanging(before: str, text: str, indent: str = "") -> str:
    indent, text = indent or " " * len(before), " ".join(text.split())
    return textwrap.fill(text, HELP_COLUMNS, initial_indent=before, subsequent_indent=indent, break_on_hyphens=False)
