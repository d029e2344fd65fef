"""``docs/trust.md`` holds no row that no test stands for."""

from __future__ import annotations

from pathlib import Path


def test_each_row_of_the_table_is_a_tests(table):
    sources = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert not table.strangers(sources), "no test causes these: remove them"
