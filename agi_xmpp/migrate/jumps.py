"""Which priorities a dialplan names by number.

A line that is inserted moves the lines below it to the next number. That harms nobody unless somebody jumps there by
number, or in steps from where he is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agi_xmpp.migrate.calls import Application, application, split
from agi_xmpp.migrate.model import Unclear


@dataclass(frozen=True, slots=True)
class Jump:
    """Where a line may continue the call.

    Attributes:
        context, exten: None: where the line itself stands.
        priority: as written: a number, a label, ``+2``, or something with a variable in it.
    """

    context: str | None
    exten: str | None
    priority: str

    @property
    def is_relative(self) -> bool:
        """Whether it counts from the line itself."""
        return self.priority.startswith(("+", "-")) or "PRIORITY" in self.priority

    def may_reach_beyond(self, priority: int) -> bool:
        """Whether it may name a priority greater than ``priority``."""
        if "$" in self.priority:
            return True
        return self.priority.isdecimal() and int(self.priority) > priority


def jumps(text: str) -> Iterator[Jump]:
    """Give the jumps of one application, such as ``GotoIf($[…]?5:s,7)``."""
    try:
        yield from _of(application(text.strip()))
    except Unclear:  # not understood by Asterisk either: it jumps nowhere
        return


def _of(call: Application) -> Iterator[Jump]:
    name, data = call.key, call.data
    if name in ("goto", "gosub"):
        yield from _target(data)
    elif name in ("gotoif", "gosubif", "gotoiftime"):
        for branch in _branches(data):
            yield from _target(branch)
    elif name in ("execif", "execiftime"):
        for branch in _branches(data):
            yield from jumps(branch)
    elif name in ("exec", "tryexec"):
        yield from jumps(data)
    elif name in ("originate", "channelredirect"):
        parts, _ = split(data, ",|", 8)
        yield from _target(",".join(parts[2:5] if name == "originate" else parts[1:4]))
    elif name in ("dial", "queue", "retrydial"):
        for option in re.findall(r"[GF]\(([^()]*)\)", data):
            yield from _target(option.replace("^", ","))


def _branches(data: str) -> list[str]:
    parts, _ = split(data, "?", 2)
    return split(parts[1], ":", 2)[0] if len(parts) > 1 else []


def _target(text: str) -> Iterator[Jump]:
    parts, _ = split(text, ",|", 3)
    words = [word.strip() for word in parts]
    priority = split(words[-1], "(")[0][0].strip()  # Gosub(context,exten,1(argument))
    if priority:
        exten = words[-2] if len(words) > 1 else None
        context = words[-3] if len(words) > 2 else None
        yield Jump(context or None, exten or None, priority)


_CLASSES = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]", ".": ".+", "!": ".*", "-": "-?"}


def overlap(one: str, other: str) -> bool:
    """Whether a dialled number may match both extensions; two different patterns always may.

    A caller number to match (``100/0123``) is left aside.
    """
    one, other = one.partition("/")[0].strip(), other.partition("/")[0].strip()
    if one.startswith("_") and other.startswith("_"):
        return True
    if one.startswith("_") or other.startswith("_"):
        pattern, literal = (one, other) if one.startswith("_") else (other, one)
        return re.fullmatch(_expression(pattern[1:]), literal) is not None
    return one == other


def _expression(pattern: str) -> str:
    """Return a regular expression for an extension's pattern without its underscore."""
    parts = re.findall(r"\[[^\]]*\]|.", pattern, re.DOTALL)
    return "".join(
        part if len(part) > 2 and part.startswith("[") else _CLASSES.get(part.upper(), re.escape(part))
        for part in parts
    )
