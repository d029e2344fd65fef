"""Flags are refused before a verb runs, and text stays text."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Annotated, Any

import pytest

from monai_tl.cli.arguments import numbers
from monai_tl.cli.dispatch import run
from monai_tl.errors import ConfigError
from monai_tl.settings.values import Number
from tests.conftest import mentions

CALLS: list[Any] = []


def paint(*, colour: str, coats: int = 1, **others: Any) -> None:
    """Paint: --colour NAME."""
    CALLS.append((colour, coats, others))


def fold(*papers: str, sharp: bool = False) -> None:
    """Fold."""
    CALLS.append((papers, sharp))


def strict(*, size: int = 1) -> None:
    """Be strict."""
    CALLS.append(size)


def fetch(*, limit: Annotated[float, Number(above=0)] | None = None, place: str = "") -> None:
    """Fetch."""
    CALLS.append((limit, place))


def pin(**patterns: str) -> None:
    """Pin."""
    CALLS.append(patterns)


VERBS = {"paint": paint, "paper": {"fold": fold}, "strict": strict, "fetch": fetch, "pin": pin}


def call(*arguments: str) -> Any:
    CALLS.clear()
    run(VERBS, arguments)
    return CALLS[0]


def test_text_stays_text_and_numbers_become_numbers():
    assert call("paint", "--colour", "2013_10", "--coats", "2") == ("2013_10", 2, {})
    assert call("paper", "fold", "01", "no", "--sharp") == (("01", "no"), True)
    assert call("strict", "--size", "-3") == -3
    assert call("fetch", "--limit", "1e-4") == (1e-4, "")
    assert call("fetch") == (None, "")


TEXTS = [
    "{subject}",
    "it's {subject}.nii.gz",
    "None",
    "[a]",
    "2013_10",
    "-x",
    "--x",
    "ä „ö“",
    "1",
    "True",
    "{'a': 1}",
    "#",
    "a=b",
]
TEXTS += ["'quoted'", '"', "\\", "a\\nb", "$HOME", "%x", "-", "(1,2)", "0x1F", "nan", "1e5", " ", "tab\there", "\udcff", "help"]


@pytest.mark.parametrize("text", TEXTS)
def test_text_arrives_as_it_was_typed(text):
    if text.strip():
        assert call("paint", f"--colour={text}") == (text, 1, {})
    assert call("fetch", f"--place={text}") == (None, text)
    assert call("paint", "--colour=x", f"--other={text}") == ("x", 1, {"other": text}), "for whoever knows its config"
    assert call("pin", f"--T1={text}") == {"T1": text} if text.strip() else True
    if not text.startswith("-") and text != "help":
        assert call("paper", "fold", text) == ((text,), False)
        assert call("paint", "--colour", "x", "--other", text) == ("x", 1, {"other": text})


def test_settings_are_read_by_their_table_whichever_verb_passes_them_on():
    given = {
        "seed": "7",
        "window": "16,16,16",
        "head_norm": "TRUE",
        "learning_rate": "1e-4",
        "source": "None",
        "freeze": "res_1",
    }
    settings = call("paint", "--colour", "x", *(f"--{name}={text}" for name, text in given.items()))[2]
    assert settings == {
        "seed": 7, "window": [16, 16, 16], "head_norm": True, "learning_rate": 1e-4, "source": "None", "freeze": "res_1"
    }  # fmt: skip
    assert call("paint", "--accept_differences", "--colour", "x")[2] == {"accept_differences": True}
    assert call("paint", "--colour", "x", "--window", "@inference_window")[2] == {"window": "@inference_window"}
    assert call("paint", "--colour", "x", "--seed", "$1 + 1")[2] == {"seed": "$1 + 1"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["pant"], r"unknown.*'pant'.*'paint'\?"),
        (["paper"], "'paper' needs.*fold"),
        (["paper", "burn"], "unknown.*'paper burn'"),
        (["strict", "--sise", "3"], r"unknown.*'--sise'.*'size'\?"),
        (["strict", "3"], "'3'.*size"),
        (["strict", "--size", "1", "--size", "2"], "--size.*twice"),
        (["paint", "--coats", "2", "--colour"], "--colour.*value: --colour VALUE"),
        (["strict", "--size"], "--size.*value"),
        (["paint"], "missing --colour. Paint: --colour NAME."),
        (["paint", "--colour", ""], "colour.*empty.*''"),
        (["paint", "--coats", "2.0", "--colour", "x"], "coats.*2.0"),
        (["paint", "--coats", "two", "--colour", "x"], "coats.*'two'"),
        (["paint", "--coats", "1_0", "--colour", "x"], "got 1_0"),
        (["paint", "--coats", "--colour", "x"], "--coats.*value: --coats VALUE"),
        (["paper", "fold", "--sharp", "no"], "sharp.*'no'"),
        (["paper", "fold", "--sharp=1"], "sharp.*1"),
        (["fetch", "--limit", "0"], "limit.*0.*0"),
        (["fetch", "--limit", "inf"], "limit.*0.*'inf'"),
        (["fetch", "--place", "--x"], r"--place.*value: --place VALUE \(--place=--….*\)"),
        (["fetch", "--", "x"], "'--' .*Flags: limit, place"),
        (["paint", "--colour", "x", "--=5"], "unknown flag '--'"),
        (["paint", "--colour", "x", "--seed", "--head_norm"], "--seed.*value"),
        (["paint", "--colour", "x", "--seed", "$1", "--workers", "-1"], "workers.*0"),
        (
            ["paint", "--coats", "x", "--colour", "y", "--seed", "-1", "--window", "16"],
            "(?s)3 settings.*coats.*seed.*window.*16$",
        ),
    ],
)
def test_what_is_unknown_is_refused_before_the_verb_runs(arguments, text):
    CALLS.clear()
    with pytest.raises(ConfigError, match=text):
        run(VERBS, arguments)
    assert CALLS == []


def test_help_lists_every_verb(capsys):
    run(VERBS, ["--help"])
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in ("paint", "paper fold", "strict"))


def test_what_takes_seconds_to_import_is_not_imported_before_a_verb_runs():
    heavy = "[name for name in ('torch', 'monai', 'itk', 'matplotlib', 'scipy') if name in sys.modules]"
    code = f"import sys\nfrom monai_tl.__main__ import main\nsys.argv[1:] = ['--help']\nmain()\nprint({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    mentions(done.stdout, "study layers")
    assert done.stdout.splitlines()[-1] == "[]"


def test_numbers_are_numbers():
    assert numbers("0.7,0.15,0.15", "--split") == (0.7, 0.15, 0.15)
    assert numbers("(17, 53)", "--foreground") == (17, 53)
    with pytest.raises(ConfigError, match="--split.*e.g. 0.7,0.15,0.15.*'a,b'"):
        numbers("a,b", "--split")


def test_help_is_about_the_verb_that_is_named(capsys):
    run(VERBS, ["paint", "--help"])
    printed = capsys.readouterr().out
    assert re.search(r"--colour +required", printed)
    assert re.search(r"--coats +a whole number; default 1", printed)
    assert "Fold" not in printed
    run(VERBS, ["--help"])
    assert "Fold" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="unknown.*'pant'.*'paint'"):
        run(VERBS, ["pant", "--help"])


@pytest.mark.parametrize(
    ("flag", "meant"), [("labels", "label"), ("spilt", "split"), ("region", "regions"), ("incomplet", "incomplete")]
)
def test_a_misspelt_flag_is_not_taken_for_a_modality(verb, tmp_path, flag, meant):
    """``prepare files`` and ``datalist files`` take modalities by any name: --labels would be resampled as an image."""
    group = "datalist" if meant in ("split", "regions") else "prepare"
    label = () if meant == "label" else ("--label", "{subject}_seg.nii")
    answer = verb(group, "files", "--T1", "{subject}.nii", *label, "--output", tmp_path / "out", f"--{flag}", "{subject}.nii")
    assert answer.code == 2
    mentions(answer.err, f"'--{flag}': did you mean '--{meant}'?")
