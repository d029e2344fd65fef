"""The public names, each with an example that runs, and the code of docs/python.md."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import monai_tl
from tests.conftest import leave_scores, score_of

ROOT = Path(__file__).parents[1]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
DICE = {"scratch": (0.5, 0.6, 0.7, 0.8, 0.4, 0.9), "freeze_2": (0.6, 0.6, 0.75, 0.78, 0.6, 0.93)}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, phantoms: Path, source: Path) -> Path:
    """What examples find in their working directory: phantoms, a trained source, two scored runs."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "data").symlink_to(phantoms)
    shutil.copytree(source, folder / "runs" / "hippocampus")
    for run, values in DICE.items():
        (folder / "runs" / run).mkdir()
        scores = [score_of(subject, dice, 1.0, 2.0, 2.0, 1.0) for subject, dice in zip("abcdef", values, strict=True)]
        (folder / "runs" / run / "model.pt").write_bytes(b"weights")
        leave_scores(folder / "runs" / run, scores)
    return folder


@pytest.fixture
def working_directory(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.listdir(prepared):
        (tmp_path / name).symlink_to(prepared / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("working_directory")
@pytest.mark.parametrize("name", monai_tl.__all__)
def test_each_public_name_has_an_example_that_runs(name):
    text = inspect.getdoc(getattr(monai_tl, name))
    example = doctest.DocTestParser().get_doctest(text or "", {}, name, None, None)
    assert len(example.examples) >= 2, "an import, and what the name is for"
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(example, out=failures.append)
    assert not failures, "".join(failures)


def test_type_checkers_see_the_names_that_are_imported():
    """A name is imported from the module that its table entry says, under the name it has there."""
    body = ast.parse(Path(monai_tl.__file__).read_text(encoding="utf-8")).body
    (block,) = [node for node in body if isinstance(node, ast.If)]
    seen = {
        (alias.name, alias.asname): str(node.module).removeprefix("monai_tl.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {(name, name): module for module, names in monai_tl._MODULES.items() for name in names}
    for (name, _), module in seen.items():
        assert getattr(monai_tl, name).__module__ == f"monai_tl.{module}"


def test_the_public_names_are_listed_and_no_other_is_there():
    assert {*monai_tl.__all__, "__version__"} <= set(dir(monai_tl))
    with pytest.raises(AttributeError, match="no attribute 'plan_transfers'"):
        monai_tl.plan_transfers  # noqa: B018


def test_the_package_alone_imports_quickly():
    """And without what it is built on; the best of three, since others use the machine too."""
    code = "import sys, time; began = time.perf_counter(); import monai_tl; seconds = time.perf_counter() - began\n"
    code += "print(seconds, *(name for name in ('torch', 'monai', 'numpy', 'ignite') if name in sys.modules))"
    answers = [
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
        for _ in range(3)
    ]
    assert {len(answer) for answer in answers} == {1}
    assert min(float(answer[0]) for answer in answers) < 0.2


class StandIn:
    """What docs/python.md uses of Lightning's ``Trainer``: its methods are called in the same order."""

    def __init__(self, max_epochs: int, **_: object) -> None:
        self.epochs = max_epochs

    def fit(self, module: Any, batches: Sequence[Any]) -> None:
        optimizer = module.configure_optimizers()
        module.on_fit_start()
        for batch in [*batches] * self.epochs:
            module.train()
            optimizer.zero_grad()
            module.training_step(batch, 0).backward()
            optimizer.step()
        module.on_fit_end()


def test_the_code_of_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if importlib.util.find_spec("lightning") is None:
        monkeypatch.setitem(sys.modules, "lightning", types.SimpleNamespace(LightningModule=torch.nn.Module, Trainer=StandIn))
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, Any] = {"__name__": "page"}
    torch.manual_seed(0)
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert "adapted  stem.0.weight: channels T1,T2 from T1" in printed
    assert re.search(r"stem +frozen, new channels trained +432 of +456 parameters", printed)
    assert re.search(r"down_1 +frozen", printed)
    assert names["difference"].n == 6


def test_the_page_names_every_public_name():
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    table = page[page.index("|---|") : page.index("## Any network")]
    assert sorted(re.findall(r"`(\w+)`", table)) == monai_tl.__all__
