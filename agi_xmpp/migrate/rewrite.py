"""What becomes of one application call, and of the functions in a text.

**Functions.** ``${JABBER_STATUS(account,jid)}`` cannot be a function any more: an AGI script sets a variable. So the
script is run before, and the variable stands where the function stood. Asterisk replaces all variables and functions of
a line before it runs the line's application, inner ones first, left to right: also those of a branch of ``ExecIf`` that
is not taken. The scripts are run in that order. Where a line asks the same verb several times, earlier results are kept
in ``AGI_XMPP_RESULT1`` and so on.

**Texts.** JabberSend sent the raw rest of its arguments. AGI() takes quotes and backslashes away, so they are escaped.
A text with variables in it has one of three forms:

1. ``?var=NAME`` if it is nothing but ``${NAME}``.
2. ``?enc=uri`` with ``${URIENCODE(…)}`` round each variable, if all of them are of Asterisk's own making (`_TAME`).
3. Otherwise ``Set(AGI_XMPP_TEXT=the text)`` first, then ``?var=AGI_XMPP_TEXT``.

The third form is the general one because Asterisk cannot pass every text through a function: it looks for the name's
end *after* it has replaced the variable, so ``${URIENCODE(${X})}`` with "ok :) see you at 12:30" in X takes ":30" for
an offset and gives an empty text (measured on 22.10; ``parse_variable_name`` in main/pbx_variables.c).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from agi_xmpp.migrate.calls import Application, Piece, application, arguments, pieces, split, unquoted
from agi_xmpp.migrate.model import Step, Target, Unclear

#: Names that Asterisk's own module had; in any case for applications, as written for functions.
APPLICATIONS = ("JabberSendGroup", "JabberSend", "JabberJoin", "JabberLeave", "JabberStatus")
FUNCTIONS = {"JABBER_STATUS": "jabber_status", "JABBER_RECEIVE": "jabber_receive"}

#: What is left of the old module in a text: an application's name, a function's call, or an xmpp: message.
LEFTOVER = re.compile(
    r"(?<![\w/])(?i:" + "|".join(APPLICATIONS) + r")\b|\b(?:JABBER_STATUS|JABBER_RECEIVE)\(|(?i:\bMessageSend\b.*xmpp:)"
)

#: Asterisk 22 hands at most 128 arguments to AGI(); the last of them is not unquoted. Some way below that.
_MANY_COMMAS = 100

#: Variables that Asterisk fills by itself, with values in which no parenthesis is to be feared.
_TAME = re.compile(
    r"(?:EXTEN|CONTEXT|PRIORITY|UNIQUEID|LINKEDID|CHANNEL|EPOCH|DIALSTATUS|HANGUPCAUSE|DIALEDTIME|ANSWEREDTIME"
    r"|DATETIME|TIMESTAMP|JABBER_STATUS"
    r"|CALLERID\((?:num|ANI|DNID|RDNIS)(?:-\w+)?\)|CALLERID\(dnid\)|CDR\(\w+\)|STRFTIME\([^(){}:]*\))(?::-?\d+){0,2}",
    re.IGNORECASE,
)
_PLAIN_VARIABLE = re.compile(r"[A-Za-z_]\w*")


@dataclass(slots=True)
class Rewriter:
    """Rewrites the calls of one line (or statement), whose auxiliary variables must not be mixed up.

    Attributes:
        target: where agi-xmpp is.
        notes: what a reader should know about this line.
        texts: how many of the variables for texts are in use.
        encodes: whether the second form of texts may be used.
    """

    target: Target
    notes: list[str] = field(default_factory=list)
    texts: int = 0
    encodes: bool = True

    def statement(self, text: str) -> list[Step]:
        """Return the applications that do what ``text``, such as ``JabberSend(a,b,c)``, did.

        The last one stands in its place, the others have to run before it.

        Raises:
            Unclear: a human has to look at it.
        """
        call = application(text)
        if "$" in call.name:
            raise Unclear("the application's name is in a variable")
        before, data = self.functions(call.data)
        return [*before, *self._application(Application(call.name, data))]

    def functions(self, text: str) -> tuple[list[Step], str]:
        """Take the old functions out of a text.

        Returns:
            What has to run before, and the text with variables in their place.

        Raises:
            Unclear: a human has to look at it.
        """
        if not any(f"{name}(" in text for name in FUNCTIONS):
            return [], text
        return _Functions(self.target).take_out(text)

    def _application(self, call: Application) -> list[Step]:
        handler = _HANDLERS.get(call.key)
        return handler(self, call) if handler else [Step(call.name, call.data)]

    # One method for each application

    def _send(self, call: Application) -> list[Step]:
        account, jid, text = _exactly(arguments(call.data, 3), 3, call, "account, address and text")
        return self._message("jabber_send", account, _address(jid, call), text)

    def _send_group(self, call: Application) -> list[Step]:
        given = arguments(call.data, 4)
        if len(given) == 4:
            self.notes.append(
                f"JabberSendGroup's text ended at the comma; {given[3].strip()!r} was a nick, now that of jabber_join"
            )
        account, room, text = _exactly(given[:3], 3, call, "account, room and text")
        return self._message("jabber_send_group", account, _address(room, call), unquoted(text))

    def _join(self, call: Application) -> list[Step]:
        return [self._room("jabber_join", call)]

    def _leave(self, call: Application) -> list[Step]:
        return [self._room("jabber_leave", call)]

    def _room(self, verb: str, call: Application) -> Step:
        given = arguments(call.data, 4)
        if not 2 <= len(given) <= 3:
            raise Unclear(f"{call.name} needs account, room and perhaps a nick; it has {_count(given)}")
        account, room, *nick = given
        words = _words(call, account, _address(room, call))
        return self.target.agi(verb, *words, *(_escaped(word) for word in nick if word.strip()))

    def _status(self, call: Application) -> list[Step]:
        account, jid, name = _exactly(arguments(call.data, 4), 3, call, "account, address and a variable's name")
        words = _words(call, account, jid, name)
        return [self.target.agi("jabber_status", *words[:2]), Step("Set", f"{words[2]}=${{JABBER_STATUS}}")]

    def _message_send(self, call: Application) -> list[Step]:
        if "xmpp:" not in call.data.lower():
            return [Step(call.name, call.data)]
        given = [word.strip() for word in arguments(call.data, 3)]
        prefixed = [word for word in given[:2] if word.lower().startswith("xmpp:") and len(word) > 5]
        if len(prefixed) < 2:
            raise Unclear("MessageSend can be migrated only if both addresses begin with xmpp:")
        to, account = (word[5:] for word in prefixed)
        steps = self._message("jabber_send", account, _address(to, call), "${MESSAGE(body)}")
        if self.target.message_status:
            status = '${IF($["${JABBER_SEND_STATUS}" = "SENT"]?SUCCESS:FAILURE)}'
            steps.append(Step("Set", f"MESSAGE_SEND_STATUS={status}"))
        return steps

    def _exec_if(self, call: Application) -> list[Step]:
        first, found = split(call.data, "?,|", 2)
        if found and found[0] in ",|":  # ExecIf(condition,application,arguments) of Asterisk 1.2
            condition, name, data = [*arguments(call.data, 3), "", ""][:3]
            steps, branch = self._branch(f"{name}({data})")
            return [*steps, Step(call.name, f"{condition}?{branch}")] if branch else [Step(call.name, call.data)]
        if not found:
            return [Step(call.name, call.data)]
        steps = []
        branches = []
        # ExecIf looks for the colon after variables are replaced, and URIENCODE() leaves parentheses as they are: one
        # in a variable would hide the colon.
        texts, colon = split(first[1], ":", 2)
        for text in texts:
            more, branch = self._branch(text, encodes=not colon)
            steps += more
            branches.append(branch or text)
        return [*steps, Step(call.name, f"{first[0]}?{':'.join(branches)}")]

    def _exec_if_time(self, call: Application) -> list[Step]:
        parts, _ = split(call.data, "?", 2)
        if len(parts) < 2:
            return [Step(call.name, call.data)]
        steps, branch = self._branch(parts[1])
        return [*steps, Step(call.name, f"{parts[0]}?{branch or parts[1]}")]

    def _exec(self, call: Application) -> list[Step]:
        steps, branch = self._branch(call.data)
        return [*steps, Step(call.name, branch or call.data)]

    def _branch(self, text: str, *, encodes: bool = True) -> tuple[list[Step], str]:
        """Rewrite an application that is run by another one.

        Returns:
            What has to run before, whether the branch is taken or not, and the application; nothing if it stays.
        """
        inner = application(text)
        handler = _HANDLERS.get(inner.key)
        if handler is None:
            return [], ""
        rewriter = Rewriter(self.target, self.notes, self.texts, encodes)
        *before, step = handler(rewriter, inner)
        self.texts = rewriter.texts
        if not all(map(_sets_text, before)):
            raise Unclear(f"{inner.name.strip()} becomes two applications, which do not fit into one branch")
        if str(step) == str(Step(inner.name, inner.data)):
            return [], ""
        return before, str(step)

    # Texts

    def _message(self, verb: str, account: str, to: str, text: str) -> list[Step]:
        words = _words(Application(verb, ""), account, to)
        if not text:
            raise Unclear("the text is empty")
        parts = list(pieces(text))
        variables = [part for part in parts if part.kind != "text"]
        if not variables:
            return [self._plain(verb, words, text)]
        if len(parts) == 1 and parts[0].kind == "variable" and _PLAIN_VARIABLE.fullmatch(parts[0].text):
            return [self.target.agi(verb, *words, options=f"var={parts[0].text}")]
        if self.encodes and all(_is_tame(part) for part in variables):
            encoded = "".join(
                _percent(part.text) if part.kind == "text" else f"${{URIENCODE({part})}}" for part in parts
            )
            return [self.target.agi(verb, *words, encoded, options="enc=uri")]
        self.texts += 1
        name = "AGI_XMPP_TEXT" if self.texts == 1 else f"AGI_XMPP_TEXT{self.texts}"
        return [Step("Set", f"{name}={text}"), self.target.agi(verb, *words, options=f"var={name}")]

    def _plain(self, verb: str, words: list[str], text: str) -> Step:
        if "\n" in text or "\r" in text:
            return self.target.agi(verb, *words, _percent(text), options="enc=uri")
        escaped = _escaped(text)
        # In quotes commas separate nothing, so that all of the text is one argument.
        return self.target.agi(verb, *words, f'"{escaped}"' if text.count(",") > _MANY_COMMAS else escaped)


Handler = Callable[[Rewriter, Application], list[Step]]

_HANDLERS: dict[str, Handler] = {
    "jabbersend": Rewriter._send,
    "jabbersendgroup": Rewriter._send_group,
    "jabberjoin": Rewriter._join,
    "jabberleave": Rewriter._leave,
    "jabberstatus": Rewriter._status,
    "messagesend": Rewriter._message_send,
    "execif": Rewriter._exec_if,
    "execiftime": Rewriter._exec_if_time,
    "exec": Rewriter._exec,
    "tryexec": Rewriter._exec,
}


@dataclass(frozen=True, slots=True)
class _Use:
    """One ``${JABBER_…(arguments):offset:length}``.

    Attributes:
        function: its name.
        data: its arguments.
        cut: the offset and length, with the colons; often nothing.
    """

    function: str
    data: str
    cut: str

    @property
    def is_repeatable(self) -> bool:
        """Whether asking again at once gives the same: a status does, a message is gone once it was received."""
        return self.function == "JABBER_STATUS" and "JABBER_RECEIVE(" not in self.data


def _use(part: Piece) -> _Use | None:
    if part.kind != "variable" or not re.match(r"(JABBER_STATUS|JABBER_RECEIVE)\(", part.text):
        return None
    match = re.fullmatch(r"(\w+)\((.*)\)((?::-?\d*){0,2})", part.text, re.DOTALL)
    if match is None:
        raise Unclear(f"{part} cannot be read")
    return _Use(match[1], match[2], match[3])


class _Functions:
    """Takes the old functions out of one text."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._steps: list[Step] = []
        self._last: dict[str, int] = {}  # by function: which of the calls is its last
        self._known: dict[str, str] = {}  # by arguments: the variable that holds the status
        self._calls = 0

    def take_out(self, text: str) -> tuple[list[Step], str]:
        """Return the steps that run before, and the text without the functions."""
        self._last = {use.function: number for number, use in enumerate(self._uses(text, set()), 1)}
        return self._steps, self._replaced(text)

    def _uses(self, text: str, known: set[str]) -> Iterator[_Use]:
        """Give the calls in the order in which they are evaluated; the same status asked twice counts once."""
        for part in pieces(text):
            if part.kind == "text":
                continue
            use = _use(part)
            if use and use.is_repeatable and use.data in known:
                continue
            yield from self._uses(part.text, known)
            if use:
                if use.is_repeatable:
                    known.add(use.data)
                yield use

    def _replaced(self, text: str) -> str:
        return "".join(self._piece(part) for part in pieces(text))

    def _piece(self, part: Piece) -> str:
        if part.kind == "text":
            return part.text
        use = _use(part)
        if use is None:
            return str(Piece(part.kind, self._replaced(part.text)))
        name = self._known.get(use.data) if use.is_repeatable else None
        if name is None:
            name = self._run(use.function, self._replaced(use.data))
            if use.is_repeatable:
                self._known[use.data] = name
        return f"${{{name}{use.cut}}}"

    def _run(self, function: str, data: str) -> str:
        """Add the script that sets a function's variable; return the variable that holds the result in the end."""
        self._calls += 1
        words = [word.strip() for word in arguments(data, 4)]
        most = 2 if function == "JABBER_STATUS" else 3
        if not 2 <= len(words) <= most or not all(words[:2]):
            wanted = "account and address" + (" and perhaps seconds" if most == 3 else "")
            raise Unclear(f"{function} needs {wanted}; it has {_count(words)}")
        if not words[-1]:
            words.pop()  # JABBER_RECEIVE(account,address,) waits as long as without the comma
        self._steps.append(self._target.agi(FUNCTIONS[function], *words))
        if self._calls == self._last[function]:
            return function
        name = f"AGI_XMPP_RESULT{self._calls}"
        self._steps.append(Step("Set", f"{name}=${{{function}}}"))
        return name


def _sets_text(step: Step) -> bool:
    return step.app == "Set" and step.data.startswith("AGI_XMPP_TEXT")


def _is_tame(part: Piece) -> bool:
    return part.kind == "variable" and _TAME.fullmatch(part.text) is not None


def _escaped(text: str) -> str:
    """Escape what AGI() would take away. What is in variables is replaced before and cannot be reached."""
    return "".join(
        re.sub(r'([\\"])', r"\\\1", part.text) if part.kind == "text" else str(part) for part in pieces(text)
    )


def _percent(text: str) -> str:
    return re.sub(r'[%"\\\r\n]', lambda match: f"%{ord(match[0]):02X}", text)


def _exactly(given: list[str], count: int, call: Application, what: str) -> list[str]:
    if len(given) != count or not all(given):
        raise Unclear(f"{call.name.strip()} needs {what}; it has {_count(given)}")
    return given


def _words(call: Application, *words: str) -> list[str]:
    stripped = [word.strip() for word in words]
    if not all(stripped):
        raise Unclear(f"{call.name.strip()}: an argument is empty")
    return stripped


def _address(text: str, call: Application) -> str:
    """Refuse what the old module refused, by ending the call: an address without @."""
    if "@" not in text and "$" not in text:
        raise Unclear(f"{call.name.strip()}: {text.strip()!r} is no address such as bob@example.org")
    return text


def _count(given: list[str]) -> str:
    filled = sum(bool(word.strip()) for word in given)
    return f"{filled} of them" if filled != len(given) else str(len(given))
