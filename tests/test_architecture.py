"""The folders are the architecture: imports, of the package and of bundle configs, point to earlier folders only."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "monai_tl"
ORDER = ["text", "errors", "storage", "settings", "device", "workflow", "imaging", "datasets", "identity", "preparation"]
ORDER += ["quality", "phantoms", "networks", "transfer", "statistics", "inference", "training", "evaluation", "bundles"]
ORDER += ["study", "report.kit", "report.runs", "report.study", "report.quality", "cli", "__main__"]
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")
CONFIGS = sorted((ROOT / "bundles").rglob("configs/*.yaml"))
# what each config may use: training ends before anything is scored, and prediction needs no training
LATEST = {"train": "evaluation", "transfer": "evaluation", "evaluate": "evaluation", "inference": "inference"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def rank(module: str) -> int:
    """Give the place of a module's folder; of a module of the package itself its own."""
    return next(place for place, name in enumerate(ORDER) if module == name or module.startswith(f"{name}."))


def imported(path: Path) -> Iterator[str]:
    """Name the modules of the package that a module imports, without ``monai_tl.``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "monai_tl":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}".removeprefix("monai_tl.")
                yield whole if whole in NAMES else str(node.module).removeprefix("monai_tl").lstrip(".")
        elif isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("monai_tl.") for alias in node.names if alias.name.startswith("monai_tl."))


NAMES = {name_of(path): path for path in MODULES}
IMPORTS = {name: {other for other in imported(path) if other} - {name} for name, path in NAMES.items()}


@pytest.mark.parametrize("name", IMPORTS)
def test_imports_point_to_earlier_folders(name):
    later = [other for other in IMPORTS[name] if rank(other) > rank(name)]
    assert not later, f"{', '.join(later)}: of a later folder"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_configs_use_no_later_folder(path):
    """Also what `_target_`s and `$` expressions name."""
    named = set(re.findall(r"\bmonai_tl\.([\w.]+)", path.read_text(encoding="utf-8")))
    modules = [name if name in NAMES else name.rpartition(".")[0] for name in named]
    unknown = [module for module in modules if module not in NAMES]
    assert not unknown, f"{', '.join(unknown)}: there is no such module"
    latest = ORDER.index(LATEST.get(path.stem, "evaluation"))
    later = [module for module in modules if rank(module) > latest]
    assert not later, f"{', '.join(later)}: of a later folder"


def test_no_imports_in_a_circle():
    """Imports for type checkers only are imports too: who reads the one module has to read the other."""
    left = {name: set(others) for name, others in IMPORTS.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        left = {name: others for name, others in left.items() if name not in free}
    assert not left, f"in a circle, or waiting for one: {', '.join(left)}"


def test_public_names_are_defined_once():
    """Two things that differ do not share a name; constants may, where no other module imports them.

    Verbs are called as they are typed, whatever else is called so.
    """
    places: dict[str, set[str]] = defaultdict(set)
    shared = Counter[str]()
    for name, path in NAMES.items():
        for node in [] if name.endswith("_verbs") else ast.parse(path.read_text(encoding="utf-8")).body:
            for target in defined(node):
                places[target].add(name)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("monai_tl"):
                shared.update(alias.name for alias in node.names)
    twice = {
        name: modules
        for name, modules in places.items()
        if len(modules) > 1 and not name.startswith("_") and (not name.isupper() or shared[name]) and name != "logger"
    }
    assert not twice


def defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []


def test_file_names_are_unique():
    twice = [name for name, count in Counter(path.name for path in MODULES if path.stem != "__init__").items() if count > 1]
    assert not twice


def test_one_function_walks_the_call_stack():
    """`workflow.config_check.running_parser`, and it says why."""
    walks = r"f_back|_getframe|inspect\.stack|currentframe|gc\.get_objects"
    found = [name for name, path in NAMES.items() for _ in re.findall(walks, path.read_text(encoding="utf-8"))]
    assert found == ["workflow.config_check"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


def test_the_walk_sees_the_package():
    assert len(MODULES) >= 100
    assert len(CONFIGS) >= 10
    assert sum(map(len, IMPORTS.values())) >= 300
