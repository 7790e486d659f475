"""Migrates extensions.conf.

One application often becomes several, since an AGI script has to run before its result is used. There are two ways to
make room for them.

**Insertion**: the new lines go above the old one and take its priority and label, and the old one becomes ``n``. Every
priority below moves by one. This is done only if nobody can notice: all lines of the extension below are ``n``, and
no jump in any of the files goes there by number (`agi_xmpp.migrate.jumps`).

**Detour**, for priorities with numbers. No application of Asterisk runs an AGI script and then another application: a
subroutine (``Gosub``) returns to the *next* priority, so the old application would have to run inside the subroutine,
where ``Goto(5)``, ``${CONTEXT}`` and the call's stack are others. So the call goes elsewhere in its own extension and
comes back::

    exten => s,3,GotoIf($[${JABBER_STATUS(pbx,bob@example.org)} = 1]?7)

becomes ::

    exten => s,3,Goto(3000)
    exten => s,3000,AGI(agi://127.0.0.1/jabber_status,pbx,bob@example.org)
    exten => s,3001,GotoIf($[${JABBER_STATUS} = 1]?7)
    exten => s,3002,Goto(4)

Every number keeps its meaning, from within and from without: context, extension and stack are the same, and where there
is no priority 4, ``Goto(4)`` ends the extension as its end did (measured on 22.10). Only ``${PRIORITY}`` differs, and
applications that look for their partner along the numbers (``While``, ``If``); such lines are left to a human.

``While(condition)`` is special: ``EndWhile`` jumps back to the ``While``, not to a line above it. So the script runs
within the loop, ``While(1)``, and the condition decides by ``ExitWhile``.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from agi_xmpp.migrate.config_text import Line, decoded, encoded, lines
from agi_xmpp.migrate.jumps import Jump, jumps, overlap
from agi_xmpp.migrate.model import Change, Outcome, Remark, Step, Target, Unclear
from agi_xmpp.migrate.remarks import hint_remark, media_remark
from agi_xmpp.migrate.rewrite import LEFTOVER, Rewriter
from agi_xmpp.quoting import LINE_BYTES

_SECTION = re.compile(r"\s*\[([^\]]+)\]\s*(?:\(([^)]*)\))?")
_ENTRY = re.compile(r"(\s*(?:exten|same\w*)\s*=>?\s*)(.*)", re.IGNORECASE | re.DOTALL)
_INCLUDE_CONTEXT = re.compile(r"\s*include\s*=>?\s*([^,|]+)", re.IGNORECASE)
_PRIORITY = re.compile(r"\s*([^(+]*)(\+[^(]*)?(\(.*)?$", re.DOTALL)

#: Applications that look for others along the priorities of their extension.
_BLOCKS = frozenset({"while", "endwhile", "exitwhile", "continuewhile", "if", "elseif", "else", "endif", "exitif"})
#: Applications after which the next priority is never reached from here.
_ENDS = frozenset({"goto", "hangup", "return", "macroexit"})


@dataclass(slots=True, eq=False)
class Entry:
    """A line with a priority.

    Attributes:
        line: the line.
        exten: the extension, with a caller number to match if there is one.
        head: what stands before the priority: white space, ``exten =>`` and the extension.
        written: the priority as it is written, with its label.
        app: the application as it is written, with white space before it.
        kind: ``n``, ``number``, ``hint``, or ``other`` (``s``, ``n+5``, a label).
        number: the priority that it comes to; None if that cannot be known.
    """

    line: Line
    exten: str
    head: str
    written: str
    app: str
    kind: str = "other"
    number: int | None = None

    @property
    def text(self) -> str:
        """The application as the dialplan sees it."""
        return decoded(self.app).strip()

    def row(self, priority: str, step: Step) -> str:
        """Return a line like this one with another priority and application, without its end."""
        blanks = self.app[: len(self.app) - len(self.app.lstrip())]
        return f"{self.head}{priority},{blanks}{encoded(str(step))}"


@dataclass(slots=True, eq=False)
class Section:
    """A context, or a part of it.

    Attributes:
        name: of the context.
        parents: sections whose lines come before its own, as of a template.
        adds: whether it goes on where the last section of its name ended: ``[name](+)``.
    """

    name: str
    parents: tuple[str, ...] = ()
    adds: bool = False
    entries: list[Entry] = field(default_factory=list)
    includes: list[str] = field(default_factory=list)

    @property
    def is_context(self) -> bool:
        """Whether it is a part of the dialplan, not of its settings."""
        return self.name.lower() not in ("general", "globals")


class Document:
    """One file, taken apart.

    Args:
        file: its name for messages.
        text: all of it.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.lines = list(lines(text))
        self.sections: list[Section] = []
        self._read()

    def _read(self) -> None:
        exten = ""
        number: int | None = None
        for line in self.lines:
            code = line.code.lstrip("\ufeff")
            if match := _SECTION.match(code):
                self._open(match)
                exten, number = "", None
            elif self.sections and (match := _ENTRY.fullmatch(code)):
                entry = _entry(line, match, exten)
                if entry:
                    exten = entry.exten
                    number = _count(entry, number)
                    self.sections[-1].entries.append(entry)
            elif self.sections and (match := _INCLUDE_CONTEXT.match(code)):
                self.sections[-1].includes.append(match[1].strip())

    def _open(self, match: re.Match[str]) -> None:
        options = [option.strip() for option in (match[2] or "").split(",")]
        parents = tuple(option for option in options if option and option not in "!+")
        self.sections.append(Section(match[1].strip(), parents, "+" in options))


def _entry(line: Line, match: re.Match[str], exten: str) -> Entry | None:
    head, rest = match[1], match[2]
    is_same = head.strip().lower().startswith("same")
    if not is_same:
        first, comma, rest = _until_comma(rest)
        if not comma:
            return None
        head, exten = f"{head}{first},", first.strip()
    written, comma, app = rest.partition(",")
    return Entry(line, exten, head, written, app) if comma else None


def _until_comma(text: str) -> tuple[str, str, str]:
    """Cut at the first comma that is in no character class, such as ``_[1,2]XX`` (pbx_strsep, pbx/pbx_config.c)."""
    depth = 0
    for index, char in enumerate(text):
        if char == "[":
            depth += 1
        elif char == "]":
            depth = max(0, depth - 1)
        elif char == "," and not depth:
            return text[:index], ",", text[index + 1 :]
    return text, "", ""


def _count(entry: Entry, last: int | None) -> int | None:
    """Find an entry's priority; return the number that the next ``n`` counts from, which is none after a hint."""
    match = _PRIORITY.match(entry.written)
    assert match is not None  # noqa: S101 - every part of it is optional
    word, plus = match[1].strip(), (match[2] or "+0")[1:].strip()
    if word == "hint":
        entry.kind = "hint"
        return None
    if word in ("n", "next"):
        entry.kind = "other" if match[2] else "n"
        entry.number = None if last is None else last + 1
    elif word in ("s", "same"):
        entry.number = last
    elif number := re.match(r"\d+", word):
        entry.kind = "other" if match[2] else "number"
        entry.number = int(number[0])
    if entry.number is not None and plus.isdecimal():
        entry.number += int(plus)
    return entry.number


class Dialplan:
    """All files of a dialplan, which jump into each other.

    Args:
        documents: the files.
        target: where agi-xmpp is.
    """

    def __init__(self, documents: Sequence[Document], target: Target) -> None:
        self._target = target
        self._documents = documents
        self._sections = [section for document in documents for section in document.sections if section.is_context]
        self._by_name: dict[str, list[Section]] = defaultdict(list)
        for section in self._sections:
            self._by_name[section.name].append(section)
        self._jumps = [
            (section, entry, jump)
            for section in self._sections
            for entry in section.entries
            for jump in jumps(entry.text)
        ]
        self._taken: dict[tuple[str, str], set[int]] = defaultdict(set)

    def migrate(self) -> list[Outcome]:
        """Return what becomes of each file."""
        return [_Migration(self, document, self._target).run() for document in self._documents]

    def may_insert(self, section: Section, entry: Entry) -> bool:
        """Whether nobody notices if everything below ``entry`` moves to higher numbers."""
        following = section.entries[section.entries.index(entry) + 1 :]
        moved = 0
        while moved < len(following) and following[moved].kind == "n" and following[moved].exten == entry.exten:
            moved += 1
        below = following[moved:]
        if below and below[0].kind not in ("number", "hint"):
            return False  # it counts on from the lines that move
        if not below and self.goes_on_elsewhere(section):
            return False
        number = entry.number or 1
        others = [*below, *(each for other in self._family(section) if other is not section for each in other.entries)]
        with_first = {each.exten for each in others if each.number == 1}
        if any(_collides(entry, each, number, with_first) for each in others if each.kind != "hint"):
            return False
        return not any(self._reaches(jump, section, entry, number) for jump in self._jumps)

    def free_numbers(self, section: Section, entry: Entry, count: int) -> int:
        """Return the first of ``count`` numbers that nobody uses, above all that the extension has.

        Raises:
            Unclear: the number of ``entry`` itself is not known.
        """
        if entry.number is None:
            raise Unclear("its priority has no number that could be told from this file")
        used = {
            each.number
            for other in self._family(section)
            for each in other.entries
            if each.exten == entry.exten and each.number is not None
        }
        used |= self._taken[section.name, entry.exten]
        first = entry.number * 1000
        while used & set(range(first, first + count)):
            first += 100
        self._taken[section.name, entry.exten] |= set(range(first, first + count))
        return first

    def _family(self, section: Section) -> list[Section]:
        """All sections that become part of a context that this one becomes part of: by name, or as a template."""
        names = {section.name, *section.parents}
        return [other for other in self._sections if other.name in names or section.name in other.parents]

    def goes_on_elsewhere(self, section: Section) -> bool:
        """Whether another section may count on from the last line of this one."""
        return any(
            other.entries and other.entries[0].kind != "number"
            for other in self._sections
            if section.name in other.parents or (other.adds and other.name == section.name)
        )

    def _reaches(self, jump: tuple[Section, Entry, Jump], section: Section, entry: Entry, number: int) -> bool:
        """Whether a jump names one of the priorities of ``entry``'s extension beyond ``number``."""
        origin, line, target = jump
        if target.is_relative:
            return self._may_be(origin, section) and overlap(line.exten, entry.exten)
        if not target.may_reach_beyond(number):
            return False
        if target.exten is None:
            exten_fits = overlap(line.exten, entry.exten)
        else:
            exten_fits = "$" in target.exten or overlap(target.exten, entry.exten)
        if target.context is None:
            return exten_fits and self._may_be(origin, section)
        return exten_fits and (
            "$" in target.context or any(self._may_be(each, section) for each in self._by_name[target.context])
        )

    def _may_be(self, origin: Section, section: Section) -> bool:
        """Whether a line of ``section`` can be found from the context of ``origin``."""
        seen: set[str] = set()
        todo = [origin.name]
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            for part in self._by_name[name]:
                if section in self._family(part):
                    return True
                todo += part.includes
        return False


def _collides(entry: Entry, other: Entry, number: int, with_first: set[str]) -> bool:
    """Whether the place of ``other`` has a meaning beside the lines below ``entry``, which would move."""
    if other.exten == entry.exten:
        return other.number is None or other.number > number
    # One extension may fill in single priorities of another: those that the closer match has not are taken from a wider
    # pattern. Extensions that begin at priority 1 are taken as complete by themselves.
    fills_in = other.exten not in with_first and other.number is not None and other.number > number
    return fills_in and overlap(entry.exten, other.exten)


class _Migration:
    """Migrates one file."""

    def __init__(self, dialplan: Dialplan, document: Document, target: Target) -> None:
        self._dialplan = dialplan
        self._document = document
        self._target = target
        self._outcome = Outcome(document.file, document.text, document.text)
        self._new: dict[int, list[str]] = {}  # by line number: what stands there now, without line ends
        self._added: dict[int, list[str]] = defaultdict(list)  # by line number: what follows it
        self._done: set[int] = set()

    def run(self) -> Outcome:
        for section in self._document.sections:
            for entry in section.entries if section.is_context else ():
                self._entry(section, entry)
        for line in self._document.lines:
            self._remark(line)
        self._outcome.after = "".join(self._written())
        self._outcome.changes.sort(key=lambda change: change.line)
        self._outcome.remarks.sort()
        return self._outcome

    def _entry(self, section: Section, entry: Entry) -> None:
        text = entry.text
        if not LEFTOVER.search(text):
            return
        rewriter = Rewriter(self._target)
        try:
            _check_place(entry)
            steps = _looped(rewriter.statement(text))
            if [str(step) for step in steps] == [text]:
                return
            self._place(section, entry, steps, rewriter)
        except Unclear as reason:
            self._unclear(entry.line, f"{reason}: {text}")

    def _place(self, section: Section, entry: Entry, steps: list[Step], rewriter: Rewriter) -> None:
        notes = list(rewriter.notes)
        if len(steps) == 1 or self._dialplan.may_insert(section, entry):
            rows = [entry.row(entry.written, steps[0]), *(entry.row("n", step) for step in steps[1:])]
            self._check_length(rows)
            self._new[entry.line.number] = rows
        else:
            first = self._detour(section, entry, steps)
            notes.append(f"the work is done at priority {first}, so that all numbers keep their meaning")
        change = Change(self._document.file, entry.line.number, entry.text, tuple(map(str, steps)), tuple(notes))
        self._outcome.changes.append(change)
        self._done.add(entry.line.number)

    def _detour(self, section: Section, entry: Entry, steps: list[Step]) -> int:
        last = steps[-1]
        if block := next((step.app for step in steps if step.app.strip().lower() in _BLOCKS), ""):
            raise Unclear(f"{block} looks for its partner along the priorities, and these have numbers")
        if "${PRIORITY" in last.data or any(jump.is_relative for jump in jumps(str(last))):
            raise Unclear("it counts from its own priority, and the priorities here have numbers")
        first = self._dialplan.free_numbers(section, entry, len(steps) + 1)
        assert entry.number is not None  # noqa: S101 - free_numbers has seen to it
        back = [] if last.app.strip().lower() in _ENDS else [Step("Goto", str(entry.number + 1))]
        start = re.sub(r"same\w*", "exten", entry.head, count=1, flags=re.IGNORECASE)
        head = entry.head if start == entry.head else f"{start}{entry.exten},"
        detour = Entry(entry.line, entry.exten, head, "", entry.app)
        rows = [detour.row(str(number), step) for number, step in enumerate([*steps, *back], first)]
        here = [entry.row(entry.written, Step("Goto", str(first)))]
        self._check_length([*rows, *here])
        place = self._end_of_count(section, entry)
        if place is section.entries[-1] and self._dialplan.goes_on_elsewhere(section):
            raise Unclear("another section counts on from the last line of this one")
        self._added[place.line.number] += rows
        self._new[entry.line.number] = here
        return first

    def _end_of_count(self, section: Section, entry: Entry) -> Entry:
        """Return the last line that counts on from ``entry``: numbers in between would disturb that."""
        following = section.entries[section.entries.index(entry) :]
        for this, after in itertools.pairwise(following):
            if after.kind in ("number", "hint"):
                if after.exten != entry.exten and after.head.strip().lower().startswith("same"):
                    raise Unclear("the line behind it takes its extension from the line before")
                return this
        return following[-1]

    def _check_length(self, rows: Iterable[str]) -> None:
        if any(len(row.encode("utf-8", "surrogateescape")) > LINE_BYTES["conf"] for row in rows):
            raise Unclear(f"a new line would have more than {LINE_BYTES['conf']} bytes, and Asterisk skips such lines")

    def _remark(self, line: Line) -> None:
        if line.number in self._done:
            return
        code = decoded(line.code)
        if LEFTOVER.search(code):
            self._unclear(line, f"this is not a call that migrate understands: {code.strip()}")
        for text in (media_remark(code), hint_remark(code)):
            if text:
                self._outcome.remarks.append(Remark(self._document.file, line.number, text))

    def _unclear(self, line: Line, text: str) -> None:
        self._outcome.remarks.append(Remark(self._document.file, line.number, text))
        self._done.add(line.number)

    def _written(self) -> Iterator[str]:
        """Give the new file, line by line."""
        default = next((line.end for line in self._document.lines if line.end), "\n")
        for line in self._document.lines:
            rows = self._new.get(line.number)
            added = self._added.get(line.number, [])
            if rows is None and not added:
                yield line.raw
                continue
            end = line.end or default
            *above, row = rows or [line.code]
            content = [*(f"{each}{end}" for each in above), f"{row}{line.tail.removesuffix(line.end)}{end}"]
            content += [f"{each}{end}" for each in added]
            if not line.end:
                content[-1] = content[-1].removesuffix(end)
            yield from content


def _check_place(entry: Entry) -> None:
    if entry.kind == "hint":
        raise Unclear("a hint cannot ask agi-xmpp")
    if entry.line.is_broken:
        raise Unclear("a comment begins or ends within the line")


def _looped(steps: list[Step]) -> list[Step]:
    """Put what a loop's condition needs into the loop."""
    *before, last = steps
    key = last.app.strip().lower()
    if not before or key not in ("while", "elseif"):
        return steps
    if key == "elseif":
        raise Unclear("ElseIf is reached by a jump, so that nothing can run before it")
    return [Step(last.app, "1"), *before, Step("ExecIf", f"{last.data}?NoOp():ExitWhile()")]
