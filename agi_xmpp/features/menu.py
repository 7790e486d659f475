"""A menu that somebody answers in chat: how it reads as text, and which choice an answer means.

Pure: text in, text and choices out. `ask` opens menus in calls, and closes them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agi_xmpp.errors import UsageError
from agi_xmpp.quoting import MAX_CHOICES, MAX_LABEL

#: Longest key in characters; people type it, and clients put it on a button.
MAX_KEY = 20

_CHOICE = re.compile(r"\s*([^\s=&,]+)\s*=\s*(.*)", re.DOTALL)
#: An answer may carry what people put behind a number: "1.", "1)", "1 - forward to cell".
_AFTER_KEY = re.compile(r"[\s.:)!–—-]+")
_DECLINE = frozenset({"no", "decline", "cancel"})
#: How somebody names one of several open calls: ``#3``, and then the answer.
CALL_NAME = re.compile(r"\s*#([0-9]{1,4})(?![0-9])[\s.:,)–—-]*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of a menu.

    Attributes:
        key: what the dialplan gets, and what people type.
        label: what it means.
    """

    key: str
    label: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer means.

    Attributes:
        choice: the chosen one, or None.
        declined: the person does not want to choose.
        candidates: the choices that it could mean, if it fits several.
    """

    choice: Choice | None = None
    declined: bool = False
    candidates: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Menu:
    """A question with its choices."""

    question: str
    choices: tuple[Choice, ...]

    @property
    def text(self) -> str:
        """The menu as any client shows it, one choice a line."""
        lines = [f"{choice.key}: {choice.label}" for choice in self.choices]
        return "\n".join([self.question, *lines])

    @property
    def possible(self) -> str:
        """The choices in a row, for a sentence."""
        return _row(self.choices)

    def find(self, key: str) -> Choice | None:
        """Return the choice with exactly that key."""
        return next((choice for choice in self.choices if choice.key == key), None)

    def exact(self, text: str) -> Choice | None:
        """Return the choice whose key or label somebody has written out; a beginning is not enough."""
        said = _fold(text)
        if not said:
            return None
        for choice in self.choices:
            if _fold(choice.key) in (said, said.rstrip(".!)")):
                return choice
        for choice in self.choices:
            if _fold(choice.label) in (said, said.rstrip(".!)")):
                return choice
        return None

    def match(self, text: str) -> Answer:
        """Say which choice an answer means: its key, its label, or a beginning of the label that fits no other.

        Case, width, blanks around it, a full stop, and the frame of keycap emoji do not count.
        """
        said = _fold(text)
        if not said:
            return Answer()
        if exact := self.exact(text):
            return Answer(exact)
        for choice in self.choices:
            # "1 - forward to cell", as the line reads in the chat: the key, and then this choice's own label
            key = _fold(choice.key)
            rest = said.removeprefix(key)
            behind = _AFTER_KEY.match(rest)
            if rest != said and behind and _fold(choice.label).startswith(rest[behind.end() :]):
                return Answer(choice)
        begins = tuple(choice for choice in self.choices if _fold(choice.label).startswith(said))
        declines = said.rstrip(".!") in _DECLINE
        if len(begins) == 1 and not declines:
            return Answer(begins[0])
        if not begins and declines:
            return Answer(declined=True)
        return Answer(candidates=begins)

    def correction(self, text: str) -> str:
        """Return what to tell somebody whose answer fits none or several of the choices."""
        candidates = self.match(text).candidates
        shown = " ".join(text.split())
        shown = shown if len(shown) <= 40 else f"{shown[:39]}…"
        if candidates:
            return f"“{shown}” could be {_row(candidates)}. Which one?"
        return f"“{shown}” is not among the answers. Possible: {self.possible}."


def parse(arguments: Sequence[str], *, question: str | None = None, decode: Callable[[str], str] = str) -> Menu:
    """Make a menu of a verb's arguments: the question, then ``key=label`` each.

    The dialplan splits at commas, so what comes before the first ``key=label`` is the question with its commas, and an
    argument without ``=`` later on belongs to the label before it.

    Args:
        arguments: as Asterisk split them.
        question: used instead of what comes before the first ``key=label``, where nothing may stand then.
        decode: turns what was written as question and labels into what is meant.

    Raises:
        UsageError: no question, no or too many choices, a key or label twice, empty, or too long.
    """
    words: list[str] = []
    found: list[list[str]] = []
    for argument in arguments:
        match = _CHOICE.fullmatch(argument)
        if match and len(match.group(1)) <= MAX_KEY:
            found.append([match.group(1), match.group(2)])
        elif found:
            found[-1][1] += f",{argument}"
        else:
            words.append(argument)
    if question is not None and words:
        raise UsageError(f"the question is given twice: as {','.join(words)!r} and by var=NAME")
    # In one line each: a label that came from elsewhere cannot pass for another choice.
    choices = tuple(Choice(key, " ".join(decode(label).split())) for key, label in found)
    asked = ",".join(words) if question is None else question
    menu = Menu(decode(asked).strip(), choices)
    _check(menu)
    return menu


def _check(menu: Menu) -> None:
    if not menu.question:
        raise UsageError("the menu has no question before its first key=label")
    if not menu.choices:
        raise UsageError("the menu has no choices: write them as key=label after the question")
    if len(menu.choices) > MAX_CHOICES:
        raise UsageError(f"the menu has {len(menu.choices)} choices; at most {MAX_CHOICES} are allowed")
    seen: dict[str, str] = {}
    for choice in menu.choices:
        if not choice.label:
            raise UsageError(f"the choice {choice.key!r} has no label")
        if len(choice.label) > MAX_LABEL:
            raise UsageError(f"the label of choice {choice.key!r} is longer than {MAX_LABEL} characters")
        for text in (choice.key, choice.label):
            if CALL_NAME.match(text):
                raise UsageError(f"{text!r} begins as the number of a call does; an answer to it could not be told")
        for word in {_fold(choice.key), _fold(choice.label)}:
            if seen.setdefault(word, choice.key) != choice.key or sum(c.key == choice.key for c in menu.choices) > 1:
                raise UsageError(f"two choices of the menu answer to {word!r}")


def _fold(text: str) -> str:
    # NFKC turns full-width digits into plain ones; a keycap emoji is a digit, U+FE0F and U+20E3 (UTS #51).
    plain = unicodedata.normalize("NFKC", text).replace("\ufe0f", "").replace("\u20e3", "")
    return " ".join(plain.casefold().split())


def _row(choices: Sequence[Choice]) -> str:
    return ", ".join(f"{choice.key} ({choice.label})" for choice in choices)
