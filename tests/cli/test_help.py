"""Help shows every verb and flag, fits a terminal, and its examples are commands that are understood."""

from __future__ import annotations

import inspect
import shlex

import pytest

import monai_tl
from monai_tl.cli import VERBS
from monai_tl.cli.arguments import checked, flags_of
from monai_tl.cli.dispatch import run
from monai_tl.cli.help import HELP_COLUMNS, described, of_verb, overview, purpose_of
from monai_tl.cli.help_texts import EXAMPLES, FLAGS, GROUPS
from monai_tl.settings.table import DESCRIPTIONS, SETTINGS
from tests.conftest import ROOT


def named(verbs, *above):
    for name, entry in verbs.items():
        yield from [(" ".join((*above, name)), entry)] if callable(entry) else named(entry, *above, name)


ALL = dict(named(VERBS))


def test_verbs_alone_are_shown_a_line_each_and_grouped(capsys):
    run(VERBS, [])
    printed = capsys.readouterr().out
    run(VERBS, ["--help"])
    assert capsys.readouterr().out == printed
    assert sorted(name for of in GROUPS.values() for name in of) == sorted(VERBS)
    assert (
        printed.index("data:")
        < printed.index("  phantom ")
        < printed.index("training and transfer:")
        < printed.index("  transfer ")
    )
    for name, verb in ALL.items():
        assert f"  {name} " in printed
        assert purpose_of(verb)[:40] in printed
    assert max(map(len, printed.splitlines())) <= HELP_COLUMNS


@pytest.mark.parametrize("name", ALL)
def test_a_verb_shows_its_purpose_two_examples_and_every_flag(name, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    run(VERBS, [*name.split(), "--help"])
    printed = capsys.readouterr().out
    assert printed.startswith(f"monai_tl {name}: {purpose_of(ALL[name])[:30]}")
    assert max(map(len, printed.splitlines())) <= HELP_COLUMNS
    for flag in flags_of(ALL[name]):
        assert f"\n  --{flag} " in printed
        assert flag == "freeze" or described(flag, name), f"--{flag} is not described"
    assert len(EXAMPLES[name]) == 2
    for example in EXAMPLES[name]:
        checked(ALL[name], shlex.split(example))


def test_settings_are_shown_with_unit_range_and_default(monkeypatch):
    assert set(DESCRIPTIONS) == set(SETTINGS)
    monkeypatch.chdir(ROOT)
    text = " ".join(of_verb(VERBS["transfer"], "transfer").split())
    assert "steps between validations; a whole number from 1 (iterations), e.g. 50; default 50" in text
    assert "; freeze or track; default freeze" in text
    assert "--run_dir" not in text, "it is refused: --output names it"
    text = of_verb(VERBS["predict"], "predict")
    assert "--inference_overlap " in text
    assert "--learning_rate" not in text, "no part of a prediction reads it"
    text = of_verb(VERBS["study"]["size"], "study size")
    assert "--iterations " in text
    assert "\n  --seed " not in text, "it differs from run to run"


def test_settings_are_shown_without_a_bundle_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "--learning_rate " in of_verb(VERBS["train"], "train")


def test_verbs_below_a_word(capsys):
    run(VERBS, ["datalist", "--help"])
    printed = capsys.readouterr().out
    assert all(f"  datalist {name} " in printed for name in VERBS["datalist"])
    assert "transfer" not in printed
    run(VERBS, ["help"])
    assert capsys.readouterr().out.strip() == overview(VERBS)


def test_the_version(capsys):
    run(VERBS, ["--version"])
    assert capsys.readouterr().out == f"monai_tl {monai_tl.__version__}\n"


def test_every_description_is_of_a_flag():
    assert {flag.split()[-1] for flag in FLAGS} <= {p for verb in ALL.values() for p in inspect.signature(verb).parameters}
