"""What the documents show a dialplan writer loads in a real Asterisk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.testbed.asterisk import Asterisk

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(language: str) -> list[object]:
    found: list[object] = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for number, block in enumerate(re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)):
            found.append(pytest.param(block, id=f"{path.name}-{number}"))
    return found


@pytest.mark.parametrize("block", blocks("asterisk"))
async def test_dialplan_samples_load(asterisk: Asterisk, block: str) -> None:
    header = "" if block.lstrip().startswith("[") else "[sample]\n"
    assert await asterisk.dialplan(header + block) == []
    shown = await asterisk.cli("dialplan show")
    assert "agi://127.0.0.1/" in shown
