"""Values that go into a dialplan: what each type accepts, and how a value is written at each place.

`check` turns what somebody typed into a `Value` of a type, or says what is wrong with it. The functions in `PLACES`
turn a `Value` into `Quoted` text for one place of a dialplan, the same for extensions.conf and for AEL; a real Asterisk
reads back what went in (tests/e2e/test_dialplan.py). Nothing else makes `Quoted` text, and templates may write nothing
but `Quoted` text (`agi_xmpp.render`), so no value gets into a dialplan unchecked.

What must be met, measured on Asterisk 16.28 and 22.10:

* extensions.conf: ``;`` begins a comment; ``\\;`` does not, and loses its backslash.
* AEL: brackets, braces and parentheses in an argument must have their partners, or be escaped by a backslash.
* everywhere: ``${`` and ``$[`` are replaced, with no way to escape them but to take them apart: ``$\\{``.
* arguments: a comma separates, quotes and backslashes are taken away, an open ``(`` or ``[`` hides later commas.
* ``Set(NAME=…)``: nothing but the above; the value is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

#: Longest line of a dialplan in bytes. Measured on Asterisk 16.28 and 22.10: extensions.conf skips longer lines;
#: AEL's arguments overrun a buffer of 2000, and Asterisk dies when it loads them.
LINE_BYTES: Final[Mapping[str, int]] = {"conf": 8190, "ael": 1900}
#: Longest text in characters: some 4 KB where each is 4 bytes long, half of the line that Asterisk reads (8 KB).
MAX_TEXT: Final = 1000
#: Longest label of a choice in characters; clients put it on a button.
MAX_LABEL: Final = 200
#: More choices than this are no menu that anybody reads while a caller waits.
MAX_CHOICES: Final = 20
#: Longest context. Asterisk allows 79 characters (AST_MAX_CONTEXT); templates append a word for a second context.
MAX_CONTEXT: Final = 60
#: Longest extension: AST_MAX_EXTENSION less the terminating byte.
MAX_EXTENSION: Final = 79
#: Longest time in seconds that a verb may be asked to wait: a day; longer is a mistyped number.
MAX_SECONDS: Final = 86_400
#: Longest Jabber ID in characters: three parts of 1023 bytes (RFC 7622 section 3) would not fit into a line.
MAX_JID: Final = 500

#: Extensions that Asterisk enters by itself; a sample that took one of them would catch calls that it should not.
SPECIAL_EXTENSIONS: Final = frozenset({"h", "i", "t", "T", "e", "a", "o"})
#: Functions that a text may ask the channel for: data about the call, none of which does anything.
FUNCTIONS: Final = ("CALLERID", "CHANNEL", "CONNECTEDLINE")

_EXPANSION = re.compile(rf"\$\{{([A-Za-z_]\w*|(?:{'|'.join(FUNCTIONS)})\([A-Za-z0-9_-]+\))\}}", re.ASCII)
_LOCAL_PART = r"""[^\s\x00-\x20\x7f"&'/:<>@]+"""
_DOMAIN = r"""(?:\[[0-9A-Fa-f:.]+\]|[^\s\x00-\x20\x7f"&'/:<>@\[\]]+)"""
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Value:
    """A checked value. It has no text form of its own: a place gives it one.

    Attributes:
        type: one of `TYPES`.
        raw: as it was given.
    """

    type: str
    raw: str

    def __str__(self) -> str:
        raise TypeError(f"a value of type {self.type} was written without a place: use one of {', '.join(PLACES)}")


class Quoted(str):
    """Text that may stand in a dialplan."""

    __slots__ = ()


# Types: each function returns what is wrong with a text, or "" if it is right.


def _jid(text: str) -> str:
    if len(text) > MAX_JID:
        return f"is longer than {MAX_JID} characters"
    if not re.fullmatch(rf"{_LOCAL_PART}@{_DOMAIN}(/.*\S)?", text):
        return "is not a Jabber ID such as bob@example.org"
    return ""


def _bare_jid(text: str) -> str:
    return _jid(text) or ("has a resource; write it without /…" if "/" in text else "")


def _account(text: str) -> str:
    return _full(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}", text, "is not the name of an account in agi-xmpp.toml")


def _extension(text: str) -> str:
    return _pattern(text) or (
        "has no fixed length: a caller could dial more than digits there" if _is_open(text) else ""
    )


def _pattern(text: str) -> str:
    if len(text) > MAX_EXTENSION:
        return f"is longer than {MAX_EXTENSION} characters"
    if text in SPECIAL_EXTENSIONS:
        return "is an extension that Asterisk enters by itself"
    if text.startswith("_"):
        digits = r"[0-9*#+]|[XZNxzn]|\[[0-9](?:-?[0-9])*\]"
        return _full(rf"_(?:{digits})+\.?", text, "is not a pattern of digits, X, Z, N and [1-5], such as _2XX")
    return _full(r"[A-Za-z0-9*#+]+", text, "is not an extension such as 200, or a pattern such as _2XX")


def _is_open(pattern: str) -> bool:
    return pattern.startswith("_") and pattern.endswith(".")


def _context(text: str) -> str:
    if text.lower() in ("general", "globals"):
        return "has a meaning of its own in extensions.conf"
    return _full(
        rf"[A-Za-z_][A-Za-z0-9_-]{{0,{MAX_CONTEXT - 1}}}",
        text,
        f"is not a context: letters, digits, - and _, at most {MAX_CONTEXT}",
    )


def _dialstring(text: str) -> str:
    channel = r"[A-Za-z][A-Za-z0-9]*/(?:[A-Za-z0-9_.:@+*#/-]|\$\{EXTEN\})+"
    return _full(
        rf"{channel}(?:&{channel})*",
        text,
        "is not what Dial() calls, such as PJSIP/bob, PJSIP/${EXTEN}@trunk or PJSIP/ann&PJSIP/bob",
    )


def _seconds(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        return "is not a whole number of seconds"
    return f"is more than {MAX_SECONDS} seconds" if int(text) > MAX_SECONDS else ""


def _text(text: str) -> str:
    if not text.strip():
        return "is empty"
    if len(text) > MAX_TEXT:
        return f"is longer than {MAX_TEXT} characters"
    rest = _EXPANSION.sub("", text)
    if "${" in rest or "$[" in rest:
        return (
            "asks Asterisk for something else than a variable or one of "
            f"{', '.join(f'${{{name}(…)}}' for name in FUNCTIONS)}"
        )
    return ""


def _link(text: str) -> str:
    if not re.match(r"https?://[A-Za-z0-9.:\[\]-]+(?:[/?#]|$)", text) or re.search(r"\s", text):
        return "is not a link such as https://crm.example.org/?number=${CALLERID(num)}"
    return _text(text)


def _label(text: str) -> str:
    if not text.strip():
        return "is empty"
    return f"is longer than {MAX_LABEL} characters" if len(text) > MAX_LABEL else ""


def _key(text: str) -> str:
    return _full(r"[A-Za-z0-9_]{1,20}", text, "is not a key: letters, digits and _, at most 20")


def _agi_url(text: str) -> str:
    host = r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])"
    if not re.fullmatch(rf"h?agi://{host}(?::[0-9]{{1,5}})?", text):
        return "is not an address such as agi://127.0.0.1 or agi://127.0.0.1:4573"
    port = re.search(r":([0-9]+)$", text)
    return "has a port above 65535" if port and int(port[1]) > 65_535 else ""


def _mailbox(text: str) -> str:
    return _full(r"[A-Za-z0-9_]{1,40}@[A-Za-z0-9_-]{1,40}", text, "is not a mailbox such as 200@default")


def _full(pattern: str, text: str, complaint: str) -> str:
    return "" if re.fullmatch(pattern, text) else complaint


#: What a value can be: its name, and the check of it.
TYPES: Final[Mapping[str, Callable[[str], str]]] = {
    "jid": _jid,
    "bare-jid": _bare_jid,
    "account": _account,
    "extension": _extension,
    "pattern": _pattern,
    "context": _context,
    "dialstring": _dialstring,
    "seconds": _seconds,
    "text": _text,
    "link": _link,
    "label": _label,
    "key": _key,
    "agi-url": _agi_url,
    "mailbox": _mailbox,
}


def check(type_: str, text: str) -> Value:
    """Make a value of what somebody typed.

    Raises:
        ValueError: it is not of that type; the text says why, and begins with the value.
    """
    shown = text if len(text) <= 60 else f"{text[:59]}…"
    if text != text.strip():
        raise ValueError(f"{shown!r} begins or ends with a blank")
    if _NOT_PRINTABLE.search(text):
        raise ValueError(f"{shown!r} holds a line break or another character that cannot be seen")
    if complaint := TYPES[type_](text):
        raise ValueError(f"{shown!r} {complaint}")
    return Value(type_, text)


# Places


def extension(value: Value) -> Quoted:
    """Write what is dialled: behind ``exten =>`` and before AEL's ``=>``."""
    return Quoted(_raw(value, "extension", "pattern"))


def context(value: Value) -> Quoted:
    """Write a context: ``[HERE]``, ``context HERE {``, ``Goto(HERE,…)``."""
    return Quoted(_raw(value, "context"))


def key(value: Value) -> Quoted:
    """Write a word for ``"${VARIABLE}" = "HERE"``, a label of a priority, or AEL's ``case HERE:``."""
    return Quoted(_raw(value, "key"))


def dialstring(value: Value) -> Quoted:
    """Write what ``Dial()`` calls.

    ``${EXTEN}`` stays: use it where the extension is of the type ``extension``, or has been checked in the dialplan.
    """
    return Quoted(_raw(value, "dialstring"))


def argument(value: Value) -> Quoted:
    """Write one argument of an application, to be taken literally."""
    text = _raw(value, "account", "agi-url", "bare-jid", "jid", "label", "mailbox", "seconds")
    return Quoted(re.sub(r'[\\",;()\[\]{}]', r"\\\g<0>", text))


def text(value: Value) -> Quoted:
    """Write free text as the value of a variable, ``Set(message=HERE)``; verbs are then called with ``?var=message``.

    ``${…}`` stays: what it brings is not read again, neither by ``Set()`` nor on the way to the verb. As an argument it
    would be, and ``URIENCODE()`` does not save it: Asterisk reads ``${URIENCODE(a):1)}`` as a value with an offset.

    In a link, what ``${…}`` brings is percent-encoded; where that has a ``)`` without its ``(``, and a ``:`` behind it,
    Asterisk cuts it there.
    """
    expand = "${URIENCODE(%s)}" if value.type == "link" else "%s"
    raw = _raw(value, "link", "text")
    special = r"[\\;$]+" if _is_balanced(_EXPANSION.sub("", raw)) else r"[\\;$()\[\]{}]+"
    out, end = [], 0
    for match in _EXPANSION.finditer(raw):
        out += [_decoded_by_asterisk(raw[end : match.start()], special), expand % match[0]]
        end = match.end()
    return Quoted("".join([*out, _decoded_by_asterisk(raw[end:], special)]))


#: The places by name, as templates write them: ``{{ jid | argument }}``.
PLACES: Final[Mapping[str, Callable[[Value], Quoted]]] = {
    "extension": extension,
    "context": context,
    "key": key,
    "dialstring": dialstring,
    "argument": argument,
    "text": text,
}


def _raw(value: Value, *types: str) -> str:
    if value.type not in types:
        raise TypeError(f"a value of type {value.type} cannot stand where {' or '.join(types)} belongs")
    return value.raw


def _is_balanced(text: str) -> bool:
    """True if each bracket has its partner, as AEL wants it."""
    closing = []
    for character in text:
        if character in "([{":
            closing.append(")]}"["([{".index(character)])
        elif character in ")]}" and (not closing or closing.pop() != character):
            return False
    return not closing


def _decoded_by_asterisk(text: str, special: str) -> str:
    """Hide what ``special`` matches from the readers of the file; Asterisk puts it back during the call."""
    return re.sub(special, lambda run: f"${{URIDECODE({''.join(f'%{ord(each):02X}' for each in run[0])})}}", text)
