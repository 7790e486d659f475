"""Migrates AEL.

AEL numbers its priorities itself, so new statements go where they are needed: above a statement that stands among
others, or with it into braces where only one statement may stand (``1234 => JabberSend(…);``, ``else if (…)``).

The condition of a loop is evaluated in each round, so the script has to run in each round, too::

    while (${JABBER_STATUS(pbx,bob@example.org)} = 1) { … }

becomes ``while (1) { AGI(…); if (${JABBER_STATUS} = 1) { … } else { break; } }``, and ``for`` likewise, so that
``continue`` and ``break`` in the body mean what they meant. The condition is not turned into its opposite, for an
expression that fails has none: while a status is not known, ``$[ = 5]`` is empty and ``$[!( = 5)]`` is 0, both of them
false (measured on 22.10 and 16.28), and the loop would never end.
"""

from __future__ import annotations

from dataclasses import dataclass

from agi_xmpp.migrate.ael_reader import AelError, Source, Span, Statement, read
from agi_xmpp.migrate.model import Change, Outcome, Remark, Step, Target, Unclear
from agi_xmpp.migrate.remarks import hint_remark, media_remark
from agi_xmpp.migrate.rewrite import LEFTOVER, Rewriter
from agi_xmpp.quoting import LINE_BYTES

#: Between texts that are evaluated together. Asterisk's texts end at a NUL, so it stands in none of them.
_SEAM = "\0"


def migrate_ael(file: str, text: str, target: Target) -> Outcome:
    """Return what becomes of an AEL file.

    Args:
        file: its name for messages.
        text: all of it.
        target: where agi-xmpp is.
    """
    try:
        source = read(text)
    except AelError as error:
        outcome = Outcome(file, text, text)
        if LEFTOVER.search(text):
            line = _line(text, error.position)
            outcome.remarks.append(Remark(file, line, f"nothing here was changed, for this is not AEL: {error}"))
        return outcome
    return _Migration(file, text, target, source).run()


def includes(text: str) -> list[tuple[str, int]]:
    """Return the names of included files, and the lines that they stand in."""
    try:
        return [(name, _line(text, position)) for name, position in read(text).includes]
    except AelError:
        return []


@dataclass(frozen=True, slots=True)
class _Edit:
    span: Span
    text: str
    closes: bool = False  # it ends a statement: before whatever begins at the same place


class _Migration:
    """Migrates one file."""

    def __init__(self, file: str, text: str, target: Target, source: Source) -> None:
        self._text = text
        self._target = target
        self._source = source
        self._outcome = Outcome(file, text, text)
        self._edits: list[_Edit] = []
        self._known: list[Span] = []  # dealt with, or listed

    def run(self) -> Outcome:
        for statement in self._source.statements:
            if any(LEFTOVER.search(text) for text in self._texts(statement)):
                self._statement(statement)
        self._remark()
        self._outcome.after = self._edited()
        self._outcome.changes.sort(key=lambda change: change.line)
        self._outcome.remarks.sort()
        return self._outcome

    def _texts(self, statement: Statement) -> list[str]:
        texts = [self._text[part.start : part.end] for part in statement.parts]
        return [f"{statement.name}({texts[0]})"] if statement.kind == "call" else texts

    def _statement(self, statement: Statement) -> None:
        rewriter = Rewriter(self._target)
        edits = len(self._edits)
        try:
            steps = _short_enough(self._rewritten(statement, rewriter))
        except Unclear as reason:
            del self._edits[edits:]
            texts = " ".join(" ".join(self._texts(statement)).split())
            self._remark_at(statement.span.start, f"{reason}: {texts}")
        else:
            if len(self._edits) > edits:
                before = "; ".join(self._texts(statement))
                after = tuple(map(str, steps))
                line = _line(self._text, statement.span.start)
                self._outcome.changes.append(Change(self._outcome.file, line, before, after, tuple(rewriter.notes)))
        self._known += statement.parts if statement.kind != "call" else [statement.span]

    def _rewritten(self, statement: Statement, rewriter: Rewriter) -> list[Step]:
        """Make the edits for a statement; return the applications that it consists of now, as far as they are new."""
        if statement.kind == "call":
            *before, last = rewriter.statement(self._texts(statement)[0])
            self._replace_call(statement, last)
            self._put_before(statement, before)
            return [*before, last]
        if statement.kind == "while":
            return self._loop(statement, rewriter, statement.parts[0])
        if statement.kind == "for":
            return self._for(statement, rewriter)
        before = self._functions(rewriter, *statement.parts)
        self._put_before(statement, before)
        return before

    def _for(self, statement: Statement, rewriter: Rewriter) -> list[Step]:
        first, condition, last = statement.parts
        if LEFTOVER.search(self._text[last.start : last.end]):
            raise Unclear("the last part of a for loop runs behind the body, where no script can be put")
        before = self._functions(rewriter, first)
        if LEFTOVER.search(self._text[condition.start : condition.end]):
            steps = self._loop(statement, rewriter, condition)
        else:
            steps = []
        self._put_before(statement, before)
        return [*before, *steps]

    def _loop(self, statement: Statement, rewriter: Rewriter, condition: Span) -> list[Step]:
        """Move a loop's condition into its body, behind the scripts that it needs."""
        body = statement.body
        assert body is not None  # noqa: S101 - only loops come here
        old = self._text[condition.start : condition.end]
        steps, new = rewriter.functions(old)
        is_block = self._text[body.start] == "{"
        head = f"{{ {_joined(steps)} if ({new.strip()}) " + ("" if is_block else "{ ")
        self._edits.append(_Edit(condition, old[: len(old) - len(old.lstrip())] + "1"))
        self._edits.append(_Edit(Span(body.start, body.start), head))
        tail = ("" if is_block else " }") + " else { break; } }"
        self._edits.append(_Edit(Span(body.end, body.end), tail, closes=True))
        return steps

    def _functions(self, rewriter: Rewriter, *parts: Span) -> list[Step]:
        """Take the functions out of texts that are evaluated together."""
        steps, new = rewriter.functions(_SEAM.join(self._text[part.start : part.end] for part in parts))
        for part, text in zip(parts, new.split(_SEAM), strict=True):
            if text != self._text[part.start : part.end]:
                self._edits.append(_Edit(part, text))
        return steps

    def _replace_call(self, statement: Statement, step: Step) -> None:
        (arguments,) = statement.parts
        name = Span(statement.span.start, statement.span.start + len(statement.name))
        if step.app != statement.name:
            self._edits.append(_Edit(name, step.app))
        if step.data != self._text[arguments.start : arguments.end]:
            self._edits.append(_Edit(arguments, step.data))

    def _put_before(self, statement: Statement, steps: list[Step]) -> None:
        if not steps:
            return
        start, end = statement.span.start, statement.span.end
        line = self._text.rfind("\n", 0, start) + 1
        indent = self._text[line:start]
        if not statement.in_list:
            self._edits.append(_Edit(Span(start, start), f"{{ {_joined(steps)} "))
            self._edits.append(_Edit(Span(end, end), " }", closes=True))
        elif indent.strip():
            self._edits.append(_Edit(Span(start, start), f"{_joined(steps)} "))
        else:
            feed = "\r\n" if self._text[:line].endswith("\r\n") else "\n"
            self._edits.append(_Edit(Span(start, start), "".join(f"{step};{feed}{indent}" for step in steps)))

    def _edited(self) -> str:
        """Return the text with all edits made."""
        result, position = [], 0
        # Statements come inner ones first. Where several begin at one place, the outer one's text goes first; where
        # several end there, the inner one's; and what ends there goes before what begins.
        ordered = sorted(
            enumerate(self._edits),
            key=lambda each: (each[1].span.start, *((0, each[0]) if each[1].closes else (1, -each[0]))),
        )
        for _, edit in ordered:
            result += [self._text[position : edit.span.start], edit.text]
            position = edit.span.end
        return "".join([*result, self._text[position:]])

    # What is left for a human

    def _remark(self) -> None:
        visible = list(self._text)
        for span in [*self._source.spaces, *self._known]:
            for index in range(span.start, span.end):
                if visible[index] != "\n":
                    visible[index] = " "
        code = "".join(visible)
        for match in LEFTOVER.finditer(code):
            end = code.find("\n", match.start())
            rest = code[match.start() : end if end >= 0 else len(code)].strip()
            self._remark_at(match.start(), f"this is not a call that migrate understands: {rest}")
        without_comments = list(self._text)
        for span in self._source.spaces:
            without_comments[span.start : span.end] = [
                char if char == "\n" else " " for char in self._text[span.start : span.end]
            ]
        for number, line in enumerate("".join(without_comments).split("\n"), 1):
            for text in (media_remark(line), hint_remark(line)):
                if text:
                    self._outcome.remarks.append(Remark(self._outcome.file, number, text))

    def _remark_at(self, position: int, text: str) -> None:
        self._outcome.remarks.append(Remark(self._outcome.file, _line(self._text, position), text))


def _short_enough(steps: list[Step]) -> list[Step]:
    if any(len(str(step).encode("utf-8", "surrogateescape")) > LINE_BYTES["ael"] for step in steps):
        raise Unclear(f"it would have more than {LINE_BYTES['ael']} bytes, and Asterisk dies of such AEL")
    return steps


def _joined(steps: list[Step]) -> str:
    return " ".join(f"{step};" for step in steps)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
