"""Reads AEL far enough to know where its statements begin and end; nothing is lost, since it only gives positions.

Written after the grammar and the lexer of Asterisk 22 (res/ael/ael.y, res/ael/ael.flex). What that lexer does and a
reader would not expect: within the parentheses of a call there are no comments, so ``agi://host`` is no comment there;
brackets of all three kinds must be balanced there, unless escaped by a backslash; quotes mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_SPACE = re.compile(r'(?:\s+|//[^\n]*|/\*.*?\*/|#include[ \t]+"[^"]+")+', re.DOTALL)
_INCLUDE = re.compile(r'#include[ \t]+"([^"]+)"')
_WORD = re.compile(r"(?:[-a-zA-Z0-9'\"_/.<>*+!$#\[\]\x80-\U0010ffff]|\\.)")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_TESTS = frozenset({"if", "ifTime", "random"})


class AelError(Exception):
    """This is not AEL, or not as Asterisk reads it.

    Attributes:
        position: where in the text.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the text: ``text[start:end]``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that can hold a call or a function.

    Attributes:
        kind: ``call``, ``if`` (also ``random``, ``ifTime`` and ``switch``), ``while``, ``for``, ``assign`` (whatever is
            just evaluated: assignments, macro calls, ``goto``, ``jump``).
        span: all of it, a semicolon included.
        in_list: whether it stands among others, so that one more can stand before it; it does not in ``else if``.
        parts: what is evaluated: the arguments, the condition, or the three parts of ``for``.
        name: of the application, if it is a call.
        body: the statement that is repeated by ``while`` and ``for``.
    """

    kind: str
    span: Span
    in_list: bool
    parts: tuple[Span, ...]
    name: str = ""
    body: Span | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What a file holds.

    Attributes:
        statements: inner ones before those that they are in.
        spaces: everything between words: white space, comments, includes.
        includes: file names, and where they stand.
    """

    statements: tuple[Statement, ...]
    spaces: tuple[Span, ...]
    includes: tuple[tuple[str, int], ...]


def read(text: str) -> Source:
    """Take AEL apart.

    Raises:
        AelError: it cannot be read; Asterisk would most likely refuse it, too.
    """
    if "\0" in text:
        raise AelError("there is a NUL in it", text.index("\0"))
    reader = _Reader(text)
    reader.file()
    includes = tuple(
        (match[1], span.start + match.start())
        for span in reader.spaces
        for match in _INCLUDE.finditer(
            re.sub(r"//[^\n]*|/\*.*?\*/", _blank, text[span.start : span.end], flags=re.DOTALL)
        )
    )
    return Source(tuple(reader.statements), tuple(reader.spaces), includes)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


class _Reader:
    """A recursive descent; each method reads what its name says and leaves ``position`` behind it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self.statements: list[Statement] = []
        self.spaces: list[Span] = []

    # Characters and words

    def _skip(self) -> None:
        if match := _SPACE.match(self._text, self._position):
            self.spaces.append(Span(match.start(), match.end()))
            self._position = match.end()

    def _peek(self) -> str:
        self._skip()
        return self._text[self._position : self._position + 1]

    def _accept(self, token: str) -> bool:
        self._skip()
        if self._text.startswith(token, self._position):
            self._position += len(token)
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            found = self._text[self._position : self._position + 20].split("\n")[0] or "the end of the file"
            raise AelError(f"{token} is missing before {found!r}", self._position)

    def _word(self) -> str:
        self._skip()
        start = self._position
        while self._position < len(self._text):
            if self._text.startswith(("${", "$["), self._position):
                self._position += 1
                self._bracketed()
            elif match := _WORD.match(self._text, self._position):
                self._position = match.end()
            else:
                break
        return self._text[start : self._position]

    def _name(self) -> str:
        word = self._word()
        if not word:
            found = self._text[self._position : self._position + 20].split("\n")[0] or "the end of the file"
            raise AelError(f"a word is missing before {found!r}", self._position)
        return word

    def _bracketed(self) -> Span:
        """Read from an opening bracket to the one that closes it; return what is between them."""
        start = self._position
        end = self._until(_CLOSING[self._text[start]], start + 1)
        self._position = end + 1
        return Span(start + 1, end)

    def _until(self, stop: str, start: int) -> int:
        """Return the place of the next ``stop`` outside brackets, from ``start`` on."""
        stack: list[str] = []
        position = start
        while position < len(self._text):
            char = self._text[position]
            if not stack and char == stop:
                return position
            if char == "\\" and self._text[position + 1 : position + 2] in tuple("()[]{},;"):
                position += 1
            elif char in _CLOSING:
                stack.append(_CLOSING[char])
            elif char in ")]}" and (not stack or stack.pop() != char):
                raise AelError(f"mismatched {char}", position)
            position += 1
        raise AelError(f"{stop} is missing", start)

    def _brackets(self, opener: str) -> Span:
        """Read what stands in brackets, which must come next."""
        self._expect(opener)
        self._position -= 1
        return self._bracketed()

    def _up_to(self, stop: str) -> Span:
        """Read up to and including ``stop``; return what stands before it."""
        start = self._position
        end = self._until(stop, start)
        self._position = end + 1
        return Span(start, end)

    # Grammar

    def file(self) -> None:
        while self._peek():
            if self._accept(";"):
                continue
            word = self._name()
            while word in ("abstract", "extend"):
                word = self._name()
            if word == "context":
                self._name()
                self._block(self._element)
            elif word == "macro":
                self._name()
                self._brackets("(")
                self._block(self._macro_statement)
            elif word == "globals":
                self._brackets("{")
            else:
                raise AelError(f"a context, macro or globals is missing before {word!r}", self._position - len(word))

    def _block(self, content: Callable[[], object]) -> None:
        self._expect("{")
        while not self._accept("}"):
            if not self._peek():
                raise AelError("} is missing", self._position)
            content()

    def _element(self) -> None:
        if self._accept(";"):
            return
        word = self._name()
        if word in ("includes", "switches", "eswitches"):
            self._brackets("{")
        elif word in ("ignorepat", "local") or (self._peek() == "=" and not self._is_arrow()):
            self._up_to(";")
        else:
            self._extension(word)

    def _extension(self, word: str) -> None:
        if word == "regexten":
            word = self._name()
        if word == "hint":
            self._brackets("(")
            self._name()
        if self._accept("@"):
            self._name()
        self._expect("=>")
        self._statement(in_list=False)

    def _macro_statement(self) -> None:
        start = self._position
        word = self._word() if self._peek() not in "{&;" else ""
        if word == "includes":
            self._brackets("{")
        elif word == "catch":
            self._name()
            self._block(self._listed)
        else:
            self._position = start
            self._listed()

    def _is_arrow(self) -> bool:
        return self._text.startswith("=>", self._position)

    def _listed(self) -> None:
        self._statement(in_list=True)

    def _statement(self, *, in_list: bool) -> Span:
        self._skip()
        start = self._position
        if self._peek() == "{":
            self._block(self._listed)
        elif self._accept(";"):
            pass
        elif self._accept("&"):
            self._name()
            arguments = self._brackets("(")
            self._expect(";")
            self._add("assign", start, in_list, arguments)
        else:
            self._worded(self._name(), start, in_list)
        return Span(start, self._position)

    def _worded(self, word: str, start: int, in_list: bool) -> None:
        """Read a statement that begins with a word."""
        if word in _TESTS:
            condition = self._brackets("(")
            self._statement(in_list=False)
            if self._else():
                self._statement(in_list=False)
            self._add("if", start, in_list, condition)
        elif word == "while":
            condition = self._brackets("(")
            body = self._statement(in_list=False)
            self._add("while", start, in_list, condition, body=body)
        elif word == "for":
            self._expect("(")
            parts = self._up_to(";"), self._up_to(";"), self._up_to(")")
            body = self._statement(in_list=False)
            self._add("for", start, in_list, *parts, body=body)
        elif word == "switch":
            value = self._brackets("(")
            self._block(self._case)
            self._add("if", start, in_list, value)
        elif word in ("goto", "jump", "local"):
            self._add("assign", start, in_list, self._up_to(";"))
        elif word in ("break", "continue", "return"):
            self._expect(";")
        else:
            self._plain(word, start, in_list)

    def _plain(self, word: str, start: int, in_list: bool) -> None:
        """Read what begins with a name: a call, an assignment, a label."""
        if self._peek() == "(":
            arguments = self._brackets("(")
            if self._accept("="):
                value = self._up_to(";")
                self._add("assign", start, in_list, arguments, value)
            else:
                self._expect(";")
                self._add("call", start, in_list, arguments, name=word)
        elif self._accept("="):
            self._add("assign", start, in_list, self._up_to(";"))
        elif not self._accept(":"):
            self._expect(";")

    def _else(self) -> bool:
        before = self._position, len(self.spaces)
        if self._peek() == "e" and self._word() == "else":
            return True
        self._position = before[0]
        del self.spaces[before[1] :]
        return False

    def _case(self) -> None:
        word = self._name()
        if word in ("case", "pattern"):
            self._up_to(":")
        elif word == "default":
            self._expect(":")
        else:
            raise AelError(f"case, pattern or default is missing before {word!r}", self._position - len(word))
        while (ahead := self._ahead()) not in ("case", "pattern", "default", "}"):
            if not ahead and not self._peek():
                raise AelError("} is missing", self._position)
            self._listed()

    def _ahead(self) -> str:
        """Return the word or brace that comes next, without taking it."""
        if self._peek() == "}":
            return "}"
        start = self._position
        word = self._word()
        self._position = start
        return word

    def _add(
        self, kind: str, start: int, in_list: bool, *parts: Span, name: str = "", body: Span | None = None
    ) -> None:
        self.statements.append(Statement(kind, Span(start, self._position), in_list, parts, name, body))
