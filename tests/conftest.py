"""Phantoms, a trained source and a way to call verbs, shared by all tests."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from filelock import FileLock

from monai_tl import __main__
from monai_tl.cli.data_verbs import datalist_brats, datalist_ixi
from monai_tl.evaluation.score_record import ScoreRecord
from monai_tl.evaluation.score_table import write_scores
from monai_tl.evaluation.scores import Score
from monai_tl.phantoms.phantom_files import write_phantoms
from monai_tl.storage.files import sha256_of
from monai_tl.training.run_files import trained_on
from monai_tl.workflow.launch import run_configs
from monai_tl.workflow.merged_config import bundle_config
from tests.forked import forked_command

ROOT = Path(__file__).parents[1]
IXI, BRATS = ROOT / "bundles" / "ixi_hippocampus", ROOT / "bundles" / "brats_tumour_core"
TINY = {"window": [16, 16, 16], "iterations": 4, "validate_every": 2, "patience": 0, "batch_size": 1, "device": "cpu"}


SERIAL = (  # they use Ray, kill processes or wait for some: one process of pytest-xdist runs them in turn
    "study/test_ray_engine.py",
    "integration/test_study.py",
    "storage/test_processes.py",
    "::test_a_kill_loses_the_subject_in_flight",
    "::test_two_calls_at_a_time",
)


class Answer(NamedTuple):
    """What a verb left: exit code and what it printed."""

    code: int
    out: str
    err: str


def holds(text: str, fact: object) -> bool:
    """Say if a text holds all parts of a fact in their order: ``"3 of 5 … --fresh"`` leaves open what stands between."""
    at = 0
    for part in str(fact).split(" … "):
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return True


def mentions(text: str, *facts: object) -> None:
    """Check that a message holds each fact: names, numbers, flags; not its prose, so that wording can improve."""
    assert facts, "no fact to look for"
    missing = [str(fact) for fact in facts if not holds(text, fact)]
    assert not missing, f"{missing} not in:\n{text}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that at the end all processes of pytest-xdist have work."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """A file's tests stay in one process, since they share fixtures; its marks of groups are lost with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    return ByFile(config, log)


def scope_of(nodeid: str) -> str:
    """Return what a test is kept together with: its file, all that may not run side by side, or nothing, a script."""
    if any(one in nodeid for one in SERIAL):
        return "serial"
    return nodeid if "/test_scripts.py" in nodeid else nodeid.split("::")[0]


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
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all processes of pytest-xdist share; what is made there belongs to all tests, and none changes it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def made_once(shared: Path) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return a shared folder by name: the first process that asks makes its content, the others wait for it."""

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, whole = shared / name, shared / f"{name}.whole"
        with FileLock(shared / f"{name}.lock"):
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                whole.touch()
        return folder

    return once


@pytest.fixture(autouse=True)
def shared_is_unchanged(shared: Path) -> Iterator[None]:
    """A test that writes into what others share would make them depend on their order: it copies first."""

    def state() -> dict[Path, int]:
        folders = [path.with_suffix("") for path in shared.glob("*.whole")]
        return {path: path.stat().st_mtime_ns for folder in folders for path in (folder, *folder.rglob("*"))}

    before = state()
    yield
    after = state()
    changed = [str(path) for path, at in before.items() if after.get(path) != at]
    assert not changed, f"shared by all tests, and changed by this one or by one that ran at the same time: {changed[:5]}"


@pytest.fixture(scope="session")
def phantoms(made_once: Callable[..., Path]) -> Path:
    """Six heads each at 32 voxels, with datalists: three to train, one to validate, two to test."""

    def make(folder: Path) -> None:
        write_phantoms(folder / "data", subjects=6, size=32, seed=0)
        datalist_ixi(root=str(folder / "data" / "ixi"), split="0.5,0.17,0.33")
        datalist_brats(root=str(folder / "data" / "brats"), split="0.5,0.17,0.33")

    return made_once("phantoms", make) / "data"


@pytest.fixture(scope="session")
def source(made_once: Callable[..., Path], phantoms: Path) -> Path:
    """The run folder of a hippocampus network after four iterations."""

    def make(folder: Path) -> None:
        settings = {"bundle_root": str(IXI), "dataset_dir": str(phantoms / "ixi"), "run_dir": str(folder / "run"), **TINY}
        run_configs([bundle_config(IXI, "train")], settings)

    return made_once("source", make) / "run"


@pytest.fixture(scope="session")
def heads(made_once: Callable[..., Path]) -> Path:
    """Ten heads at 48 voxels in the layout of IXI, large enough to be measured and compared with each other."""
    make = partial(write_phantoms, subjects=10, size=48, seed=0, brats_subjects=1)
    return made_once("heads", lambda folder: make(folder / "data")) / "data" / "ixi"


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
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let trainings end, as by Ctrl-C, before they record their validation at an iteration, until ``monkeypatch.undo()``."""
    from monai_tl.training.recorder import Record

    validated = Record.validated

    def at(iteration: int) -> None:
        def killed(self: Record, trainer: Any) -> None:
            if trainer.state.iteration == iteration:
                raise KeyboardInterrupt
            validated(self, trainer)

        monkeypatch.setattr(Record, "validated", killed)

    return at


@pytest.fixture
def tiny_flags(phantoms: Path, source: Path) -> list[str]:
    """Flags that make a transfer to the phantoms take seconds."""
    flags = {"source": source, "target": BRATS, "dataset_dir": phantoms / "brats", **TINY}
    return [text for name, value in flags.items() for text in (f"--{name}", str(value).replace(" ", ""))]


def score_of(
    subject: str, dice: float, hd95: float, reference_ml: float, prediction_ml: float, seconds: float, region: str = ""
) -> Score:
    """Return scores by the two metrics that evaluation has by default."""
    return Score(subject, {"dice": dice, "hd95": hd95}, reference_ml, prediction_ml, seconds, region)


def leave_scores(folder: Path, scores: Sequence[Score], split: str = "test", **parts: Any) -> Path:
    """Leave a run's scores as an evaluation does, of the datalist and the weights that the folder holds; gives the table."""
    weights, table = folder / "model.pt", folder / f"scores_{split}.csv"
    defaults = {
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
        "metrics": list(scores[0].values),
        "tolerance_mm": {score.region: 1.0 for score in scores},
    }
    write_scores(table, scores, ScoreRecord(**{**defaults, **parts}))
    return table


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The executable ``monai_tl`` of this tree, which starts without importing torch again each time."""
    with forked_command(tmp_path_factory.mktemp("command") / "bin", ROOT) as client:
        yield client


@pytest.fixture
def run_script(command: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run one of ``scripts/`` in a copy of the tree: its name, the copy's folder, environment variables, arguments."""

    def run(name: str, folder: Path, settings: dict[str, str], *arguments: Path) -> subprocess.CompletedProcess[str]:
        if not (folder / ".venv").exists():
            for part in ("bundles", "scripts", "monai_tl"):
                shutil.copytree(
                    ROOT / part, folder / part, ignore=shutil.ignore_patterns("models", "predictions", "__pycache__")
                )
            for part in ("constraints.txt", "setup.cfg", "pyproject.toml", "README.md"):
                shutil.copy(ROOT / part, folder)
            _environment(folder, command)
        words = ["bash", f"scripts/{name}", *map(str, arguments)]
        return subprocess.run(words, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True)

    return run


def _environment(folder: Path, command: Path) -> None:
    """Make a .venv that scripts/environment.sh takes as it is: this environment's programs, and the command of the tests."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    for program in Path(sys.executable).parent.iterdir():
        (folder / ".venv" / "bin" / program.name).symlink_to(command if program.name == "monai_tl" else program)
    (folder / ".venv" / "lib").symlink_to(Path(sys.prefix) / "lib")  # with pyvenv.cfg it makes python find the same libraries
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", folder / ".venv")
    fits = 'echo "$(python3 --version) $(cat constraints.txt setup.cfg | sha256sum)" >.venv/fits'
    subprocess.run(["bash", "-c", fits], cwd=folder, check=True)
