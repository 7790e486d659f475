"""Numbers of conferences that nobody uses, out of the patterns of what is one. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from agi_xmpp.features.phone import numbers

#: Numbers that are tried at the most until one is free.
TRIES = 200

#: What people can type on a phone.
_KEYS = "0123456789"
_DIGITS = {"X": _KEYS, "Z": _KEYS[1:], "N": _KEYS[2:], ".": _KEYS, "!": ""}
_PARTS = re.compile(r"\[([^\]]*)\]|([^-])")


def find(patterns: Iterable[str], is_free: Callable[[str], bool], choose: Callable[[Sequence[str]], str]) -> str | None:
    """Return a number that fits one of the patterns and is free; None if none was found.

    Patterns that need letters are left out: a number is to be dialled, too.

    Args:
        patterns: as in extensions.conf.
        is_free: tells whether nobody uses a number.
        choose: takes one of several, such as `random.choice`.
    """
    usable = [pattern for pattern in patterns if some_number(pattern, lambda members: members[0])]
    for _ in range(TRIES if usable else 0):
        number = some_number(choose(usable), choose)
        if is_free(number):
            return number
    return None


def some_number(pattern: str, choose: Callable[[Sequence[str]], str]) -> str:
    """Return a number that a pattern takes, as short as it can be; "" if none has digits alone."""
    if not pattern.startswith("_"):
        return pattern if pattern.isdecimal() else ""
    digits = []
    for members, char in _PARTS.findall(pattern[1:]):
        wildcard = char.upper() in _DIGITS
        # The pattern's own reading of its brackets decides what they take.
        allowed = (
            _DIGITS[char.upper()]
            if wildcard
            else [key for key in _KEYS if (key == char if char else numbers.matches(f"_[{members}]", key))]
        )
        if allowed:
            digits.append(choose(allowed))
        elif char != "!":
            return ""
        if char in (".", "!"):
            break
    number = "".join(digits)
    return number if numbers.matches(pattern, number) else ""
