"""Lines of an Asterisk configuration file: what is code, what is comment, and how a semicolon is written.

Rules of ``config_text_file_load`` (main/config.c of Asterisk 22): ``;`` begins a comment unless a backslash stands
before it, which is taken away; ``;--`` begins and ``--;`` ends a comment over any number of lines, and these nest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MARK = re.compile(r"\\;|;--(?!-)|--;|;")


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        number: from 1.
        raw: all of it, with its line end.
        code: what is no comment, without white space at its end, semicolons still escaped.
        is_broken: whether a comment over several lines begins or ends within this line.
    """

    number: int
    raw: str
    code: str
    is_broken: bool

    @property
    def tail(self) -> str:
        """What follows the code: white space, the comment, the line end."""
        return self.raw[len(self.code) :]

    @property
    def end(self) -> str:
        """The line end: CR LF, LF, or nothing at the end of the file."""
        return self.raw[len(self.raw.rstrip("\r\n")) :]


def lines(text: str) -> Iterator[Line]:
    """Cut a file into its lines. Joined again, their ``raw`` is the text."""
    depth = 0
    # Not splitlines(): it also breaks at form feeds and at Unicode's line separators.
    for number, raw in enumerate(re.findall(r"[^\n]*\n|[^\n]+", text), 1):
        code, depth, is_broken = _code(raw.rstrip("\r\n"), depth)
        yield Line(number, raw, code.rstrip(), is_broken)


def _code(raw: str, depth: int) -> tuple[str, int, bool]:
    code, start, is_broken = "", 0, depth > 0
    for mark in _MARK.finditer(raw):
        if mark[0] == "\\;":
            continue
        if mark[0] == ";--":
            code += "" if depth else raw[start : mark.start()]
            depth, start, is_broken = depth + 1, mark.end(), True
        elif mark[0] == "--;" and depth:
            depth, start, is_broken = depth - 1, mark.end(), True
        elif not depth:
            return code + raw[start : mark.end() - 1], 0, is_broken
    return code + ("" if depth else raw[start:]), depth, is_broken


def decoded(code: str) -> str:
    """Return what the dialplan gets to see of a line's code."""
    return code.replace("\\;", ";")


def encoded(text: str) -> str:
    """Return how a text is written in a configuration file."""
    return text.replace(";", "\\;")
