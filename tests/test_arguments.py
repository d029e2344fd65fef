"""Flags are refused before a verb runs, and text stays text."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from monai_tl.arguments import numbers, run
from monai_tl.errors import ConfigError

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


VERBS = {"paint": paint, "paper": {"fold": fold}, "strict": strict}


def call(*arguments: str) -> Any:
    CALLS.clear()
    run(VERBS, arguments)
    return CALLS[0]


def test_text_stays_text_and_numbers_become_numbers():
    assert call("paint", "--colour", "2013_10", "--coats", "2") == ("2013_10", 2, {})
    assert call("paint", "--colour=1e4", "--lr=0.5", "--list=[1,2]") == ("1e4", 1, {"lr": 0.5, "list": [1, 2]})
    assert call("paper", "fold", "01", "no", "--sharp") == (("01", "no"), True)
    assert call("strict", "--size", "-3") == -3
    assert call("paint", "--colour", "red", "--dry", "false", "--wet", "true")[2] == {"dry": False, "wet": True}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["pant"], "unknown verb 'pant': did you mean 'paint'\\? There are: paint, paper, strict"),
        (["paper"], "'paper' needs one of: fold"),
        (["paper", "burn"], "unknown verb 'paper burn'"),
        (["strict", "--sise", "3"], "unknown flag '--sise': did you mean 'size'\\?"),
        (["strict", "3"], "'3' stands alone: values follow a flag. Flags: size"),
        (["strict", "--size", "1", "--size", "2"], "--size is given twice"),
        (["paint", "--coats", "2", "--colour"], "--colour needs a value: --colour VALUE"),
        (["strict", "--size"], "--size needs a value"),
        (["paint"], "missing --colour. Paint: --colour NAME."),
    ],
)
def test_what_is_unknown_is_refused_before_the_verb_runs(arguments, text):
    CALLS.clear()
    with pytest.raises(ConfigError, match=text):
        run(VERBS, arguments)
    assert CALLS == []


def test_help_lists_every_verb(capsys):
    run(VERBS, ["--help"])
    told = capsys.readouterr().out
    assert all(f"monai_tl {name}\n" in told for name in ("paint", "paper fold", "strict"))


def test_what_takes_seconds_to_import_is_not_imported_before_a_verb_runs():
    heavy = "[name for name in ('torch', 'monai', 'itk', 'matplotlib', 'scipy') if name in sys.modules]"
    code = f"import sys\nfrom monai_tl import arguments, cli\narguments.run(cli.VERBS, ['--help'])\nprint({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "monai_tl study layers" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_numbers_are_numbers():
    assert numbers("0.7,0.15,0.15", "--split") == (0.7, 0.15, 0.15)
    assert numbers("(17, 53)", "--foreground") == (17, 53)
    with pytest.raises(ConfigError, match="--split takes numbers, e.g. 17,53; got 'a,b'"):
        numbers("a,b", "--split")


def test_help_is_about_the_verb_that_is_named(capsys):
    run(VERBS, ["paint", "--help"])
    told = capsys.readouterr().out
    assert "--colour (needed)" in told
    assert "--coats 1" in told
    assert "Fold" not in told
    run(VERBS, ["--help"])
    assert "Fold" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="unknown verb 'pant': did you mean 'paint'"):
        run(VERBS, ["pant", "--help"])
