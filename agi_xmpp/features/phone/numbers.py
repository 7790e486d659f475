"""What people type as a number, and who may dial what. Pure.

Numbers cost money: nothing is dialled that is not an extension of somebody in the user map, or allowed by a pattern of
the configuration. The patterns mean what they mean in extensions.conf; tests/e2e/test_phone_numbers.py asks Asterisk.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable

from agi_xmpp.errors import Refused
from agi_xmpp.quoting import SPECIAL_EXTENSIONS

#: Longest text that is looked at: that of a phone action (`PhoneAction.extension`).
MAX_TYPED = 200
#: Longest number; Asterisk itself takes 79 characters (AST_MAX_EXTENSION).
MAX_NUMBER = 64

_NUMBER = re.compile(rf"[0-9A-Za-z*#+.-][0-9A-Za-z*#+._-]{{0,{MAX_NUMBER - 1}}}")
#: What people put between digits for the eye: E.123 has blanks, hyphens and parentheses, others write dots and slashes.
_FOR_THE_EYE = re.compile(r"[ ()./-]")
#: "+49 (0)30 …": the 0 is dialled within the country only, never behind a country code.
_TRUNK_ZERO = re.compile(r"(\+[0-9 ]+)\(0\)")

_WILDCARDS = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]", ".": ".+", "!": ".*"}
_NOTHING = "(?!)"


def clean(text: str) -> str:
    """Return the number that somebody typed or copied from a page.

    Blanks, parentheses, hyphens, dots and slashes go where there are digits and no letters: ``front-desk`` is an
    extension with a hyphen. A number that begins as a link (``tel:``, RFC 3966) is taken, too.

    Raises:
        Refused: ``bad-request``: this is no number.
    """
    shown = f"“{plain(text)}”"
    if len(text) > MAX_TYPED:
        raise Refused(f"{shown} is not a number: it has {len(text)} characters.", "bad-request")
    # NFKC turns full-width digits and fixed blanks into plain ones. Address books put invisible marks of the writing
    # direction around numbers (category Cf), and word processors hyphens of their own (Pd).
    number = unicodedata.normalize("NFKC", text)
    number = "".join(
        "-" if unicodedata.category(char) == "Pd" else char for char in number if unicodedata.category(char) != "Cf"
    )
    number = number.strip().removeprefix("tel:")
    if any(unicodedata.category(char) == "Cc" for char in number):
        raise Refused(f"{shown} is not a number: it holds a line break or another control character.", "bad-request")
    if not any(char.isalpha() for char in number):
        number = _FOR_THE_EYE.sub("", _TRUNK_ZERO.sub(r"\1", number))
    if not number:
        raise Refused("There is no number to call.", "bad-request")
    if len(number) > MAX_NUMBER:
        raise Refused(f"{shown} is not a number: it is longer than {MAX_NUMBER} characters.", "bad-request")
    if not _NUMBER.fullmatch(number):
        raise Refused(f"{shown} is not a number: only digits, letters and * # + . _ - can be dialled.", "bad-request")
    if number.replace("-", "") in SPECIAL_EXTENSIONS:  # Asterisk skips hyphens where it looks for an extension
        raise Refused(f"{shown} is not a number: Asterisk enters that extension by itself.", "bad-request")
    return number


def matches(pattern: str, number: str) -> bool:
    """Tell whether an extension of the dialplan takes a number, as Asterisk does (``ast_extension_match``).

    Args:
        pattern: ``_NXX``, ``_+49X.``, ``_[1-5]XX``; or a number without the underscore.
        number: a clean one.

    Hyphens count on neither side. ``.`` takes one character or more and ``!`` none or more, whatever stands behind.
    """
    return _compiled(pattern).fullmatch(number.replace("-", "")) is not None


def allowed(number: str, extensions: Iterable[str], patterns: Iterable[str]) -> bool:
    """Tell whether somebody may dial a number: an extension of somebody, or fit for one of the patterns."""
    return number in extensions or any(matches(pattern, number) for pattern in patterns)


@functools.lru_cache(maxsize=10_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Return the regular expression for a pattern of the dialplan."""
    if not pattern.startswith("_"):
        return re.compile(re.escape(pattern.replace("-", "")))
    parts = []
    for members, char in re.findall(r"\[([^\]]*)\]|([^-])", pattern[1:]):
        if members:
            parts.append(_one_of(members))
        elif char:
            parts.append(_WILDCARDS.get(char.upper()) or re.escape(char))
        # Asterisk skips empty brackets, and does not look at what stands behind a full stop or an exclamation mark.
        if char in (".", "!"):
            break
    return re.compile("".join(parts))


def _one_of(members: str) -> str:
    """Return the regular expression for the inside of ``[…]``: characters and ranges. A reversed range is empty."""
    ranges = re.findall(r"(.)-(.)|(.)", members)
    chars = [single or "".join(map(chr, range(ord(first), ord(last) + 1))) for first, last, single in ranges]
    return f"[{re.escape(''.join(chars))}]" if any(chars) else _NOTHING


def plain(text: str, limit: int = 40) -> str:
    """Return what somebody wrote for a sentence: short, and in one line."""
    line = "".join(char if char.isprintable() else "?" for char in text)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
