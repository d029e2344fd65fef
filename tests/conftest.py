"""Phantoms, a trained source and a way to call verbs, shared by all tests."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from monai_tl import __main__
from monai_tl.cli.data_verbs import datalist_brats, datalist_ixi
from monai_tl.evaluation.metrics import Score
from monai_tl.evaluation.score_record import ScoreRecord
from monai_tl.evaluation.score_table import write_scores
from monai_tl.phantoms.phantom_files import write_phantoms
from monai_tl.storage.files import sha256_of
from monai_tl.training.run_files import trained_on
from monai_tl.workflow.launch import run_configs
from monai_tl.workflow.merged_config import bundle_config

ROOT = Path(__file__).parents[1]
IXI, BRATS = ROOT / "bundles" / "ixi_hippocampus", ROOT / "bundles" / "brats_tumour_core"
TINY = {"window": [16, 16, 16], "iterations": 4, "validate_every": 2, "patience": 0, "batch_size": 1, "device": "cpu"}


class Answer(NamedTuple):
    """What a verb left: exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def quiet_logging() -> Iterator[None]:
    """A bundle's logging.conf puts a handler on this test's stdout, which the next test no longer has."""
    yield
    logging.getLogger().handlers.clear()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Sums over threads round differently: here and in the processes that tests start, there is one."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests hash is kept apart from what their user hashes."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six heads each at 32 voxels, with datalists: three to train, one to validate, two to test."""
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantoms(folder, subjects=6, size=32, seed=0)
    datalist_ixi(root=str(folder / "ixi"), split="0.5,0.17,0.33")
    datalist_brats(root=str(folder / "brats"), split="0.5,0.17,0.33")
    return folder


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Path:
    """The run folder of a hippocampus network after four iterations."""
    run = tmp_path_factory.mktemp("source") / "run"
    settings = {"bundle_root": str(IXI), "dataset_dir": str(phantoms / "ixi"), "run_dir": str(run), **TINY}
    run_configs([bundle_config(IXI, "train")], settings)
    return run


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten heads at 48 voxels in the layout of IXI, large enough to be measured and compared with each other."""
    folder = tmp_path_factory.mktemp("heads") / "data"
    write_phantoms(folder, subjects=10, size=48, seed=0, brats_subjects=1)
    return folder / "ixi"


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call ``monai_tl`` as the shell does, in this process."""

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["monai_tl", *map(str, arguments)])
        capsys.readouterr()
        code = __main__.main()
        logging.getLogger().handlers.clear()
        return Answer(code, *capsys.readouterr())

    return call


@pytest.fixture
def tiny_flags(phantoms: Path, source: Path) -> list[str]:
    """Flags that make a transfer to the phantoms take seconds."""
    flags = {"source": source, "target": BRATS, "dataset_dir": phantoms / "brats", **TINY}
    return [text for name, value in flags.items() for text in (f"--{name}", str(value).replace(" ", ""))]


def leave_scores(folder: Path, scores: Sequence[Score], split: str = "test", **parts: Any) -> Path:
    """Leave a run's scores as an evaluation does, of the datalist and the weights that the folder holds; gives the table."""
    weights, table = folder / "model.pt", folder / f"scores_{split}.csv"
    told = {
        "split": split,
        "datalist": "/data/datalist.json",
        "datalist_sha256": trained_on(folder) or "d" * 64,
        "own_data": True,
        "cases": {},
        "weights": str(weights),
        "weights_sha256": sha256_of(weights) if weights.is_file() else "a" * 64,
        "window": [16, 16, 16],
        "overlap": 0.25,
        "precision": "float32",
        "settings": {},
    }
    write_scores(table, scores, ScoreRecord(**{**told, **parts}))
    return table


def run_script(name: str, folder: Path, settings: dict[str, str], *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run one of ``scripts/`` in a copy of the tree that shares this one's environment."""
    if not (ROOT / ".venv" / "fits").is_file():
        pytest.skip("needs the .venv that scripts/test.sh makes")
    if not (folder / ".venv").exists():
        for part in ("bundles", "scripts", "monai_tl"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("models", "predictions", "__pycache__"))
        for part in ("constraints.txt", "setup.cfg", "pyproject.toml", "README.md"):
            shutil.copy(ROOT / part, folder)
        (folder / ".venv").symlink_to(ROOT / ".venv")
    command = ["bash", f"scripts/{name}", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True)
