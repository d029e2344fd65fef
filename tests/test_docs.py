"""The documentation: its links and paths lead somewhere, its pages are listed, the README is short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import monai_tl
from tests.integration.test_readme import PAGES, commands

ROOT = Path(__file__).parents[1]
BUNDLES = sorted(ROOT.glob("bundles/*/docs/*.md"))
DOCS = sorted(ROOT.glob("docs/*.md"))
FILES = [*sorted(ROOT.glob("*.md")), *DOCS, *BUNDLES, *sorted(ROOT.glob(".github/**/*.md"))]
MADE = ("/", "data/", "runs/", "studies/", "STUDY/", "RUN/", "faults/", "logs/", "report_files/")  # by users and their runs
each_file = pytest.mark.parametrize("page", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def prose(page: Path) -> str:
    """Return a page without code blocks and without the messages that tests write into tables."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`` .*? ``", "", text)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_file
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


@each_file
def test_files_that_are_named_exist(page):
    places = (ROOT, page.parent, page.parent.parent)  # the last: a bundle's root
    for name in re.findall(r"`(?:\w+ )*([\w.*-]*/[\w./*-]+\.(?:py|yaml|yml|sh|md|json))[`\s]", prose(page)):
        assert name.startswith(MADE) or any([*place.glob(name)] for place in places), name


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 130


def test_every_page_is_in_the_index():
    linked = set(re.findall(r"\]\((\w+\.md)", (ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert linked >= {page.name for page in DOCS} - {"index.md"}


def test_every_command_is_run_by_a_test():
    """Those of PAGES by test_readme, those of containers.md by tests/docker."""
    run = {line for page in PAGES for line in commands(page)}
    for page in FILES:
        if page.name != "containers.md":
            assert set(commands(page)) <= run, page


def test_the_version_is_everywhere_the_same():
    assert f"\n## {monai_tl.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == monai_tl.__version__


def test_the_architecture_names_every_folder_and_changes_of_two_files_at_most():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = re.findall(r"^  (\w+)/", text, re.MULTILINE)
    assert set(tree) == {path.parent.name for path in (ROOT / "monai_tl").glob("*/__init__.py")}
    rows = text.split("| to change |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(rows) >= 13
    for row in rows:
        assert 1 <= len(set(re.findall(r"`([\w/]+\.(?:py|yaml))`", row.split(" | ")[1]))) <= 2, row
