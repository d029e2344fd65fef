"""The wheel: what it holds, and that it works outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_tl import __version__
from tests.conftest import leave_scores, score_of

ROOT = Path(__file__).parents[2]
PARTS = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since a build leaves files in the tree; by the setuptools at hand, since tests are offline."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "monai_tl", folder / "tree" / "monai_tl", ignore=shutil.ignore_patterns("__pycache__"))
    for part in PARTS:
        shutil.copy(ROOT / part, folder / "tree")
    options = ("--wheel", "--offline", "--no-build-isolation", "--python", sys.executable)
    command = [sys.executable, "-m", "uv", "build", *options, "--out-dir", str(folder), str(folder / "tree")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / f"monai_tl-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Run:
    """Run Python in an empty folder, with the installed wheel before all else on its path."""
    folder = tmp_path_factory.mktemp("installed")
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--offline",
        "--no-deps",
        "--target",
        str(folder / "site"),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "elsewhere").mkdir()

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(folder / "site")}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=folder / "elsewhere", env=environment, capture_output=True, text=True)

    return run


def test_the_wheel_holds_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
    wanted = {path for path in (ROOT / "monai_tl").rglob("*") if path.is_file() and path.parent.name != "__pycache__"}
    assert packed == {path.relative_to(ROOT).as_posix() for path in wanted}
    assert {"monai_tl/py.typed", "monai_tl/report/kit/template/page.html", "monai_tl/bundles/recipe/LICENSE"} <= packed


def test_the_installed_package_gives_its_names_and_its_verbs(installed):
    answer = installed("-c", "import monai_tl; print(monai_tl.__file__, monai_tl.freeze.__module__)")
    file, module = answer.stdout.split()
    assert Path(file).parents[1].name == "site", "not the checkout's"
    assert module == "monai_tl.transfer.freeze"
    verbs = installed("-m", "monai_tl", "--help")
    assert verbs.returncode == 0, verbs.stderr
    assert "transfer" in verbs.stdout + verbs.stderr


def test_the_installed_package_writes_a_report(installed, source, tmp_path):
    """A page needs the templates, which are no Python."""
    shutil.copytree(source, tmp_path / "runs" / "one")
    leave_scores(tmp_path / "runs" / "one", [score_of("a", 0.5, 1.0, 2.0, 2.0, 1.0), score_of("b", 0.7, 1.0, 2.0, 2.0, 1.0)])
    done = installed("-m", "monai_tl", "report", "--runs", tmp_path / "runs")
    assert done.returncode == 0, done.stderr[-2000:]
    page = (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    assert "0.600" in page
    assert "one" in page


def test_the_installed_package_makes_a_bundle(installed, phantoms, tmp_path):
    """It needs the recipe, which is no Python either, and no bundle of the checkout."""
    datalist = phantoms / "ixi" / "datalist.json"
    done = installed("-m", "monai_tl", "bundle", "new", tmp_path / "my_task", "--datalist", datalist)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "my_task" / "configs" / "train.yaml").is_file()
    done = installed("-m", "monai_tl", "bundle", "check", tmp_path / "my_task")
    assert done.returncode == 0, done.stderr[-2000:]
