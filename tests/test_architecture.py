"""The folders are the architecture: imports point to earlier folders only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "monai_tl"
ORDER = ["errors", "values", "untyped", "settings", "streams", "files", "data", "network", "transfer", "training"]
ORDER += ["inference", "study", "report", "arguments", "cli", "__main__"]
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")


def rank(parts: tuple[str, ...]) -> int:
    return ORDER.index(parts[0])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_to_earlier_folders(path):
    own = rank(path.relative_to(PACKAGE).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in getattr(node, "names", [])]
        for module in modules if isinstance(node, ast.Import | ast.ImportFrom) else []:
            parts = tuple(module.split("."))
            if parts[0] == "monai_tl" and len(parts) > 1:
                assert rank(parts[1:]) <= own, f"{module} is a later folder"


def test_the_walk_sees_the_package():
    assert len(MODULES) >= 30
