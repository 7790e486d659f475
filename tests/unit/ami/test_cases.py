"""No case of the manager protocol is without its test (tests/unit/agi/test_cases.py has those of AGI)."""

from __future__ import annotations

import re
from pathlib import Path

CASES = range(87, 101)


def test_every_case_has_a_test() -> None:
    covered: set[int] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        names = re.findall(r"def test_case_(\d{3})_", path.read_text(encoding="utf-8"))
        covered.update(int(number) for number in names)
    assert sorted(set(CASES) - covered) == []
