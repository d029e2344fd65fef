"""``docs/trust.md`` holds no row that no test stands for."""

from __future__ import annotations

from pathlib import Path

from tests.trust.conftest import DOCS


def test_each_row_of_the_table_is_a_tests():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and " | `` " in line]
    assert len(rows) >= 20
    strangers = [row for row in rows if row.split(" | ")[0].removeprefix("| ") not in sources]
    assert not strangers, "no test says these: remove them"
