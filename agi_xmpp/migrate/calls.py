"""How Asterisk reads application data: where arguments end, and what a variable or an expression is.

All functions work on the text *before* variables are replaced, while Asterisk splits arguments *after* that. So a
``${…}`` or ``$[…]`` counts as one opaque word here: what is in it can neither separate arguments nor open a bracket.
Sources: ``__ast_app_separate_args`` (main/app.c), ``ast_str_substitute_variables_full2`` and ``parse_variable_name``
(main/pbx_variables.c) of Asterisk 22.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agi_xmpp.migrate.model import Unclear

_OPENERS = {"${": ("{", "}"), "$[": ("[", "]")}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text.

    Attributes:
        kind: ``text``, ``variable`` (``${…}``, functions too) or ``expression`` (``$[…]``).
        text: plain text as it stands; otherwise what is between the brackets.
    """

    kind: str
    text: str

    def __str__(self) -> str:
        return {"text": "{}", "variable": "${{{}}}", "expression": "$[{}]"}[self.kind].format(self.text)


def pieces(text: str) -> Iterator[Piece]:
    """Cut a text into plain parts, variables and expressions, as Asterisk does when it replaces them.

    Raises:
        Unclear: a ``${`` or ``$[`` that is never closed.
    """
    start = position = 0
    while (position := text.find("$", position)) >= 0:
        opener = text[position : position + 2]
        if opener not in _OPENERS:
            position += 1
            continue
        if position > start:
            yield Piece("text", text[start:position])
        end = _closing(text, position)
        yield Piece("variable" if opener == "${" else "expression", text[position + 2 : end])
        start = position = end + 1
    if start < len(text):
        yield Piece("text", text[start:])


def _closing(text: str, position: int) -> int:
    """Return where the bracket of the ``${`` or ``$[`` at ``position`` closes; only brackets of its own kind count."""
    opening, closing = _OPENERS[text[position : position + 2]]
    depth = 0
    for index in range(position + 1, len(text)):
        if text[index] == opening:
            depth += 1
        elif text[index] == closing:
            depth -= 1
            if depth == 0:
                return index
    raise Unclear(f"a {text[position : position + 2]} is not closed")


def split(text: str, delimiters: str, limit: int = 128) -> tuple[list[str], list[str]]:
    """Split at the delimiters that stand outside brackets and quotes; quotes and backslashes stay.

    Args:
        text: application data.
        delimiters: one character or several; each of them separates.
        limit: most parts; the last one is the rest, whatever is in it.

    Returns:
        The parts, and the delimiters between them.

    Raises:
        Unclear: a ``${`` or ``$[`` is not closed.
    """
    parts, found = [""], []
    depth = {"(": 0, "[": 0}
    quoted = escaped = False
    for piece in pieces(text):
        if piece.kind != "text":
            parts[-1] += str(piece)
            escaped = False
            continue
        for char in piece.text:
            if char in delimiters and not (quoted or escaped or any(depth.values())) and len(parts) < limit:
                parts.append("")
                found.append(char)
                continue
            parts[-1] += char
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                quoted = not quoted
            elif char in depth:
                depth[char] += 1
            elif char in ")]":
                opener = "(" if char == ")" else "["
                depth[opener] = max(0, depth[opener] - 1)
    return parts, found


def arguments(data: str, limit: int) -> list[str]:
    """Split application data into arguments; the last of ``limit`` is the raw rest.

    Asterisk 1.4 separated them by ``|``, later versions by commas. Whichever comes first is taken.
    """
    _, found = split(data, ",|", 2)
    if not data:
        return []
    return split(data, found[0] if found else ",", limit)[0]


def unquoted(argument: str) -> str:
    """Return an argument as an application gets it that is not the last declared one: no quotes, no backslashes."""
    result = []
    for piece in pieces(argument):
        text = str(piece)
        result.append(re.sub(r'\\(.?)|"', r"\1", text, flags=re.DOTALL) if piece.kind == "text" else text)
    return "".join(result)


@dataclass(frozen=True, slots=True)
class Application:
    """``name(data)`` as it stands in a dialplan.

    Attributes:
        name: the application; may hold variables.
        data: what is in its parentheses, or behind the comma in the style of Asterisk 1.2.
        rest: what stands behind the last parenthesis; Asterisk ignores it.
    """

    name: str
    data: str
    rest: str = ""

    @property
    def key(self) -> str:
        """The name as Asterisk compares it."""
        return self.name.strip().lower()


def application(text: str) -> Application:
    """Take apart ``name(data)``, or ``name,data`` of Asterisk 1.4 and before (pbx/pbx_config.c).

    Raises:
        Unclear: the parenthesis is never closed.
    """
    name = re.split(r"[(,]", text, maxsplit=1)[0]
    following = text[len(name) :]
    if following.startswith("("):
        data, parenthesis, rest = following[1:].rpartition(")")
        if not parenthesis:
            raise Unclear("the parenthesis is not closed")
        return Application(name, data, rest)
    return Application(name, following[1:])
