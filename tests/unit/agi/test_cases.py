"""No case of the AGI protocol is without its test."""

from __future__ import annotations

import re
from pathlib import Path

#: 1–22 the environment, 23–54 replies, 55–66 hangup, 67–76 sending, 77–86 the server.
LAST_CASE = 86


def test_every_case_has_a_test():
    covered: set[int] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        source = path.read_text(encoding="utf-8")
        covered.update(int(number) for number in re.findall(r"\bcase\(\s*(\d+),", source))
        covered.update(int(number) for number in re.findall(r"def test_case_(\d{3})_", source))
    assert sorted(set(range(1, LAST_CASE + 1)) - covered) == []
