"""The manager protocol (AMI) without I/O: bytes in, messages out; actions in, bytes out.

Sources: manager.c of Asterisk 22.10.1 (``get_input``, ``process_message``, ``man_do_variable_value``), and what running
Asterisks 16.28 and 22.10 do; https://docs.asterisk.org/Configuration/Interfaces/Asterisk-Manager-Interface-AMI/.

AMI is lines: whatever brings a line break into a value writes a header, or an action, of its own. `encode_action` is
the one place where text becomes bytes, and it refuses such a value. The other way Asterisk does not escape either, so
a message can hold what its sender never meant; the blank line between messages puts us right again.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from agi_xmpp.errors import AmiArgumentError, AmiProtocolError

#: Bytes of a line, without its end. Measured on 16.28 and 22.10: 1022 and CR LF are read; with one byte more Asterisk
#: gives two answers to one action.
LINE_BYTES: Final = 1022

#: Headers of an action. Asterisk reads 128 (``AST_MAX_MANHEADERS``, measured); a few are left to it.
HEADERS: Final = 120

_END: Final = b"\r\n\r\n"
_BANNER: Final = b"Asterisk Call Manager/"
#: Bytes of the banner: it has 30.
_BANNER_BYTES: Final = 200

_ACTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_ACTION_ID = re.compile(rb"\r\nActionID: ?([^\r\n]*)")
#: What Asterisk would read as more than a character in a ``Variable`` header: it splits the header at commas outside of
#: quotes and brackets, and takes quotes and backslashes away (app.c: ``__ast_app_separate_args``).
_SPECIAL_IN_VARIABLE = re.compile(r'([\\",()\[\]])')


class Kind(enum.Enum):
    """What a message is, by its first line."""

    EVENT = "event"
    RESPONSE = "response"
    NEITHER = "neither"


class Received(Mapping[str, str]):
    """A message from Asterisk: header to value. Read only when it is looked at: most events interest nobody.

    A header that comes several times (``Output``, ``ChanVariable``) has its values joined by line breaks. Bytes that
    are not UTF-8 become U+FFFD, which XML and databases can carry.
    """

    __slots__ = ("_headers", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._headers: dict[str, str] | None = None

    @property
    def kind(self) -> Kind:
        """What it is. The event ``OriginateResponse`` has a header ``Response``, too: the first line decides."""
        if self._raw.startswith(b"Event:"):
            return Kind.EVENT
        return Kind.RESPONSE if self._raw.startswith(b"Response:") else Kind.NEITHER

    @property
    def action_id(self) -> str:
        """The ``ActionID``, "" if there is none; without reading the rest."""
        match = _ACTION_ID.search(self._raw)
        return match[1].decode(errors="replace") if match else ""

    def __getitem__(self, header: str) -> str:
        return self._read()[header]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"Received({self._read()})"

    def _read(self) -> dict[str, str]:
        if self._headers is None:
            self._headers = _headers(self._raw.decode(errors="replace"))
        return self._headers


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    name = ""
    for line in text.split("\r\n"):
        before, colon, value = line.partition(":")
        if colon:
            name, value = before, value.removeprefix(" ")
        else:
            value = line  # a value with a line break in it goes on
        value = value.rstrip("\n")  # as in "Message: No Contacts found\n"
        headers[name] = f"{headers[name]}\n{value}" if name in headers else value
    return headers


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may send.

    Attributes:
        message_bytes: of one message. The longest that we ask for, ``ListCommands``, has 20 KB; channel variables
            (``channelvars`` in manager.conf) and values of variables may add to any event.
        headers: of one message.
    """

    message_bytes: int = 262_144
    headers: int = 4000


class AmiParser:
    """Makes messages of what Asterisk sends. Give it bytes by `receive_data`, and take messages by `next_message`.

    Attributes:
        version: of the manager interface, from the banner, such as ``11.0.0``; "" until that came.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.version = ""
        self._limits = limits or Limits()
        self._buffer = bytearray()
        self._scanned = 0  # so many bytes of the buffer hold no end of a message

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer."""
        self._buffer += data

    def next_message(self) -> Received | None:
        """Return the next whole message, or None if more bytes are needed.

        Raises:
            AmiProtocolError: the peer is no manager interface, or sends too much; the connection must end.
        """
        if not self.version and not self._take_banner():
            return None
        end = self._buffer.find(_END, max(0, self._scanned - len(_END) + 1))
        if (len(self._buffer) if end < 0 else end) > self._limits.message_bytes:
            raise AmiProtocolError(f"Asterisk sent a message of more than {self._limits.message_bytes} bytes")
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        raw = bytes(self._buffer[:end])
        del self._buffer[: end + len(_END)]
        self._scanned = 0
        if raw.count(b"\r\n") >= self._limits.headers:
            raise AmiProtocolError(f"Asterisk sent a message of more than {self._limits.headers} headers")
        return Received(raw)

    def _take_banner(self) -> bool:
        if not self._buffer.startswith(_BANNER[: len(self._buffer)]):
            raise AmiProtocolError(_who_is_it(bytes(self._buffer)))
        end = self._buffer.find(b"\r\n")
        if (len(self._buffer) if end < 0 else end) > _BANNER_BYTES:
            raise AmiProtocolError("the peer's first line does not end: it is no manager interface")
        if end < 0:
            return False
        self.version = self._buffer[len(_BANNER) : end].decode(errors="replace").strip() or "unknown"
        del self._buffer[: end + 2]
        return True


def _who_is_it(begin: bytes) -> str:
    """Return what to say of a peer that does not begin as Asterisk's manager interface does."""
    known = {
        b"SSH-": "it is an SSH server",
        b"HTTP/": "it is a web server",
        b"<": "it begins with XML, as XMPP servers do",
        b"\x15": "it speaks TLS",
        b"220": "it is a mail or FTP server",
    }
    for start, what in known.items():
        if begin.startswith(start):
            return f"no manager interface (AMI) answers there: {what}"
    return "no manager interface (AMI) answers there: the banner 'Asterisk Call Manager' did not come"


def encode_action(
    name: str,
    action_id: str,
    headers: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> bytes:
    """Return an action as Asterisk reads it.

    Args:
        name: such as ``Redirect``.
        action_id: comes back in the answer.
        headers: the others. Each name once, however it is written: Asterisk does not tell capitals apart.
        variables: channel variables or functions, one ``Variable`` header each; their text arrives as it is.

    Raises:
        AmiArgumentError: Asterisk could not read it, or would read something else. The text names the header and never
            repeats a value.
    """
    if not _ACTION_NAME.fullmatch(name):
        raise AmiArgumentError(f"{name!r} is no name of an action")
    pairs = [("Action", name), ("ActionID", action_id), *(headers or {}).items()]
    names = [header.casefold() for header, _value in pairs]
    twice = {header for header in names if names.count(header) > 1}
    if twice:
        raise AmiArgumentError(f"{name}: the header {', '.join(sorted(twice))} would be there twice")
    pairs += [("Variable", _variable(name, key, value)) for key, value in (variables or {}).items()]
    if len(pairs) > HEADERS:
        raise AmiArgumentError(f"{name}: {len(pairs)} headers are too many; {HEADERS} are allowed")
    return b"".join(_line(name, header, value) for header, value in pairs) + b"\r\n"


def _variable(action: str, name: str, value: str) -> str:
    if not name or "=" in name:
        raise AmiArgumentError(f"{action}: {name!r} is no name of a channel variable")
    return _SPECIAL_IN_VARIABLE.sub(r"\\\1", name) + "=" + _SPECIAL_IN_VARIABLE.sub(r"\\\1", value)


def _line(action: str, header: str, value: str) -> bytes:
    if not _HEADER_NAME.fullmatch(header):
        raise AmiArgumentError(f"{action}: {header!r} is no name of a header")
    if any(code in value for code in "\r\n\0"):
        raise AmiArgumentError(f"{action}: the value of {header} holds a line break or NUL, which AMI cannot carry")
    try:
        line = f"{header}: {value}".encode()
    except UnicodeEncodeError:
        raise AmiArgumentError(f"{action}: the value of {header} is not valid Unicode text") from None
    if len(line) > LINE_BYTES:
        raise AmiArgumentError(
            f"{action}: the line of {header} has {len(line)} bytes; Asterisk reads {LINE_BYTES} at the most"
        )
    return line + b"\r\n"
