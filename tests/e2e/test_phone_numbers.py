"""Patterns of numbers mean to us what they mean to Asterisk, whatever the pattern and whatever the number."""

from __future__ import annotations

import random

from agi_xmpp.features.phone.numbers import matches
from tests.testbed.asterisk import Asterisk

#: What a pattern is made of: everything that the configuration allows (`config.DialPattern`), odd ones among them.
PARTS = [*"0159*#+-abXZNxzn", "[1-5]", "[13-5]", "[5-1]", "[a-cX]", "[-2]", "[2-]", "[*#]", "[+]"]
CHARS = "012589*#+-abcXN"

PATTERNS, NUMBERS = 60, 60


def made_up(chance: random.Random) -> tuple[dict[str, str], list[str]]:
    """Return patterns by the context that has them, and numbers."""
    patterns = {}
    for index in range(PATTERNS):
        parts = "".join(chance.choices(PARTS, k=chance.randint(1, 4))) + chance.choice(["", "", ".", "!"])
        patterns[f"made-up-{index}"] = f"_{parts}"
    numbers = {"".join(chance.choices(CHARS, k=chance.randint(1, 5))) for _ in range(NUMBERS)}
    return patterns, sorted(number for number in numbers if number.strip("-"))


async def test_asterisk_takes_the_same_numbers(asterisk: Asterisk) -> None:
    patterns, numbers = made_up(random.Random(4))
    patterns |= {"fixed-1": "5-5", "fixed-2": "a-b", "fixed-3": "101"}
    numbers += ["5-5", "55", "ab", "a-b", "1-01", "101"]
    await asterisk.dialplan(
        "".join(f"[{context}]\nexten => {pattern},1,NoOp()\n" for context, pattern in patterns.items())
    )
    ami = await asterisk.ami()
    different, taken = [], 0
    for context, pattern in patterns.items():
        for number in numbers:
            answer = await ami.action("Getvar", Variable=f"DIALPLAN_EXISTS({context},{number},1)")
            theirs = answer["Value"] == "1"
            taken += theirs
            if matches(pattern, number) is not theirs:
                different.append((pattern, number, theirs))
    assert different == []
    assert taken > 100  # the made-up ones are no nonsense that nothing fits
