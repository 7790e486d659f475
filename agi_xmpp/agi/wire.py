"""The AGI protocol without I/O: bytes in, events out; commands in, bytes out. In the style of h11.

Sources: res_agi.c of Asterisk 22.10.1 (``setup_env``, ``parse_args``, ``agi_handle_command``, ``run_agi``) and what a
running Asterisk does; https://docs.asterisk.org/Configuration/Interfaces/Asterisk-Gateway-Interface-AGI/.

Two things make AGI dangerous, and each is met in one place here:

* Asterisk writes values without escaping them, so a value can hold what looks like another reply. Whatever arrives
  unasked poisons the connection (`AgiConnection.next_event`, `AgiConnection.send_command`).
* Asterisk reads commands line by line, with a parser that can be made to overrun its stack. Every word goes through
  `quote`, and `send_command` counts words and bytes.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agi_xmpp.agi.environment import Environment
from agi_xmpp.agi.environment import parse as parse_environment
from agi_xmpp.errors import AgiArgumentError, AgiProtocolError

#: A line that ends the session with AGISTATUS=FAILURE, whatever it was doing (res_agi.c: ``run_agi``).
FAILURE: Final = b"failure\n"

_HANGUP: Final = b"HANGUP\n"


class Role(enum.Enum):
    """Which end of the connection we are."""

    SCRIPT = "script"
    ASTERISK = "asterisk"


class State(enum.Enum):
    """Where the conversation stands. Both roles see the same states."""

    ENVIRONMENT = "the environment has not come yet"
    IDLE = "a command may be sent"
    IN_FLIGHT = "a reply is owed"
    DEAD = "the caller hung up; some commands may still be sent"
    DEAD_IN_FLIGHT = "the caller hung up and a reply is owed"
    CLOSED = "the connection is closed"
    POISONED = "the protocol was broken; nothing that comes can be trusted"


class _Step(enum.Enum):
    """What moves the conversation on."""

    ENVIRONMENT = enum.auto()
    COMMAND = enum.auto()
    REPLY = enum.auto()
    HANGUP = enum.auto()


#: The whole state machine; a step that is not here breaks the protocol. CLOSED and POISONED are reached from anywhere.
_TRANSITIONS: Final = {
    (State.ENVIRONMENT, _Step.ENVIRONMENT): State.IDLE,
    (State.IDLE, _Step.COMMAND): State.IN_FLIGHT,
    (State.IDLE, _Step.HANGUP): State.DEAD,
    (State.IN_FLIGHT, _Step.REPLY): State.IDLE,
    (State.IN_FLIGHT, _Step.HANGUP): State.DEAD_IN_FLIGHT,
    (State.DEAD, _Step.COMMAND): State.DEAD_IN_FLIGHT,
    (State.DEAD, _Step.HANGUP): State.DEAD,  # AGIEXITONHANGUP=yes sends it twice
    (State.DEAD_IN_FLIGHT, _Step.REPLY): State.DEAD,
    (State.DEAD_IN_FLIGHT, _Step.HANGUP): State.DEAD_IN_FLIGHT,
    (State.CLOSED, _Step.HANGUP): State.CLOSED,  # Asterisk's answer when the script closes its side
}


@dataclass(frozen=True, slots=True)
class Reply:
    """Asterisk's answer to a command.

    ``200 result=1 (timeout) endpos=0`` has the result "1", the data "timeout" and the tail "endpos=0".

    Attributes:
        code: 200, 510 (unknown command), 511 (not permitted on a dead channel) or 520 (usage).
        result: what stands behind ``result=``; may be empty.
        data: what stands in parentheses; None without parentheses.
        tail: the rest of the line; of a refusal, its whole text.
    """

    code: int
    result: str = ""
    data: str | None = None
    tail: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """The ``name=value`` words of the tail, such as ``endpos``."""
        return {name: value for name, equals, value in (word.partition("=") for word in self.tail.split()) if equals}


@dataclass(frozen=True, slots=True)
class Hangup:
    """The caller hung up. Variables, the database and the log can still be used."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer closed the connection.

    Attributes:
        clean: at a moment when nothing was half-said or owed.
        silent: without a single byte, as a port probe does.
    """

    clean: bool
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command as Asterisk's parser understands it (role ASTERISK)."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """The script gave up: AGISTATUS becomes FAILURE (role ASTERISK)."""


class NeedData(enum.Enum):
    """Type of `NEED_DATA`."""

    NEED_DATA = enum.auto()


#: There is no further event until more bytes arrive.
NEED_DATA: Final = NeedData.NEED_DATA

Event = Environment | Reply | Hangup | Closed | Command | Failure | NeedData


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may cost us, and what Asterisk can bear.

    Attributes:
        environment_bytes: Asterisk sends about 600 bytes and up to 8 KiB of arguments.
        environment_headers: Asterisk sends 23 and up to 127 arguments.
        reply_bytes: the longest variable that Asterisk survives is half a MiB (see `channel.Channel.set_text`).
        words: of a command. Asterisk has room for 127 and does not check that for quoted words: 140 of them kill it.
        command_bytes: of a command without its newline; None takes what the announced version can read.
    """

    environment_bytes: int = 65_536
    environment_headers: int = 200
    reply_bytes: int = 1_048_576
    words: int = 100
    command_bytes: int | None = None


def quote(text: str) -> str:
    r"""Return ``text`` as one word of an AGI command. This is the only quoting that Asterisk knows.

    Inside quotes its parser takes the character behind a backslash as it is; there is no code for a newline.

    Raises:
        AgiArgumentError: the text holds CR, LF or NUL, which no quoting can carry, or is no Unicode (lone surrogate).
    """
    if match := re.search(r"[\0\r\n]", text):
        name = {"\0": "a NUL", "\r": "a carriage return", "\n": "a newline"}[match[0]]
        raise AgiArgumentError(f"an AGI command cannot carry {name}")
    if re.search(r"[\ud800-\udfff]", text):
        # Asterisk logs an error with a backtrace for each command that is not UTF-8, and hides it from AMI.
        raise AgiArgumentError("an AGI command cannot carry bytes that are not UTF-8")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def split_words(line: str) -> tuple[str, ...]:
    """Split a command line into words as Asterisk's ``parse_args`` does.

    Blanks and tabs separate, a double quote groups, a backslash makes the next character literal everywhere.
    """
    words: list[str] = []
    word: list[str] | None = None
    quoted = False
    characters = iter(line)
    for character in characters:
        if character == "\\":
            if literal := next(characters, ""):
                word = [] if word is None else word
                word.append(literal)
        elif character == '"':
            word = [] if word is None else word
            quoted = not quoted
        elif character in " \t" and not quoted:
            if word is not None:
                words.append("".join(word))
            word = None
        else:
            word = [] if word is None else word
            word.append(character)
    if word is not None:
        words.append("".join(word))
    return tuple(words)


@functools.lru_cache(maxsize=16)  # an Asterisk says the same in every session
def command_limit(version: str) -> int:
    """Return how many bytes of one command, without its newline, an Asterisk of this version reads.

    The buffer grew from 2048 to 8192 bytes in 20.16.0, 21.11.0, 22.6.0 and 23. A version that says nothing about that
    (``GIT-master-…``, ``SVN-…``) counts as old; ``certified-20.7-cert5`` and ``certified/22.8-cert1`` go by their base.
    """
    match = re.match(r"(?:certified[-/])?(\d+)\.(\d+)", version)
    if match is None:
        return 2046
    major, minor = int(match[1]), int(match[2])
    least_minor = {20: 16, 21: 11, 22: 6}.get(major)
    grown = major > 22 if least_minor is None else minor >= least_minor
    return 8190 if grown else 2046


#: A word that means the same with and without quotes.
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_.:/@%+*#=-]+")

_SUCCESS = re.compile(
    r"200 result=(?P<result>[^ ]*)(?: \((?P<data>.*)\))?(?: (?P<tail>.*))?", re.DOTALL | re.IGNORECASE
)
#: The replies that go on behind the parenthesis: RECORD FILE, GET DATA, SPEECH RECOGNIZE.
_SUCCESS_AND_MORE = re.compile(r"200 result=(?P<result>[^ ]*) \((?P<data>\w+)\) (?P<tail>(?:endpos|digit|results)=.*)")
_REFUSAL = re.compile(r"(?P<code>510|511|520)(?: (?P<text>.*))?")
_USAGE_BEGINS = "520-"
_USAGE_ENDS = "520 End of proper usage"


@dataclass(slots=True, eq=False)
class AgiConnection:
    """One FastAGI connection, seen from one end.

    Give it what arrives by `receive_data`, then take events from `next_event` until it returns `NEED_DATA` (or
    `Closed`). What the ``send_…`` methods return is to be written to the peer, each in one write: Asterisk spins on a
    line that comes in parts.

    Args:
        role: SCRIPT for us; ASTERISK plays Asterisk in tests and load.
        limits: see `Limits`.
    """

    role: Role = Role.SCRIPT
    limits: Limits = Limits()
    state: State = field(default=State.ENVIRONMENT, init=False)
    _buffer: bytearray = field(default_factory=bytearray, init=False)
    _scanned: int = field(default=0, init=False)  # so many bytes of the buffer hold no end of what is awaited
    _usage: list[str] | None = field(default=None, init=False)  # lines of a 520 whose end has not come yet
    _usage_bytes: int = field(default=0, init=False)
    _in_value: bool = field(default=False, init=False)  # the 200 reply has an open parenthesis at a line end
    _held_reply: Reply | None = field(default=None, init=False)  # EXEC's reply that a usage text must follow
    _verb: str = field(default="", init=False)
    _command_bytes: int = field(default=0, init=False)
    _peer_closed: bool = field(default=False, init=False)
    _received: bool = field(default=False, init=False)

    @property
    def command_bytes(self) -> int:
        """Most bytes of a command, without its newline, on this connection. Known once the environment came."""
        return self._command_bytes

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer; ``b""`` says that it closed its side."""
        if not data:
            self._peer_closed = True
            return
        self._received = True
        self._buffer += data

    def next_event(self) -> Event:
        """Return what happened next.

        Raises:
            AgiProtocolError: the peer broke the protocol; the connection is POISONED and gives no more events.
        """
        if self.state is State.POISONED:
            raise AgiProtocolError("the protocol was broken before")
        if self.state is State.CLOSED:
            return Closed(clean=True)
        try:
            event = self._event_for_script() if self.role is Role.SCRIPT else self._event_for_asterisk()
        except AgiProtocolError:
            self.poison()
            raise
        if event is None:
            return self._closed() if self._peer_closed else NEED_DATA
        return event

    def poison(self) -> None:
        """Trust nothing that arrives from now on."""
        self.state = State.POISONED
        self._buffer.clear()

    def send_command(self, *words: str) -> bytes:
        """Return the line of a command (role SCRIPT).

        Args:
            words: the command's words and arguments, unquoted: ``"SET", "VARIABLE", name, value``.

        Raises:
            AgiArgumentError: Asterisk could not read it as it stands; nothing changed.
            AgiProtocolError: bytes that no command asked for have arrived; the connection is POISONED.
            RuntimeError: a reply is still owed, or there is no conversation (a bug of the caller).
        """
        self._expect(Role.SCRIPT, _Step.COMMAND)
        line = self._line(words)
        if not _HANGUP.startswith(self._buffer):  # "HANGUP" itself may be on its way
            self.poison()
            raise AgiProtocolError("Asterisk said something that no command asked for (a newline in a variable?)")
        self._verb = words[0].upper()
        self._step(_Step.COMMAND)
        return line

    def send_environment(self, headers: Mapping[str, str]) -> bytes:
        """Return the environment as Asterisk writes it: values as they are (role ASTERISK)."""
        self._expect(Role.ASTERISK, _Step.ENVIRONMENT)
        self._step(_Step.ENVIRONMENT)
        self._command_bytes = self.limits.command_bytes or command_limit(headers.get("agi_version", ""))
        text = "".join(f"{name}: {value}\n" for name, value in headers.items())
        return f"{text}\n".encode(errors="surrogateescape")

    def send_reply(self, text: str) -> bytes:
        """Return a reply; ``text`` is all of it but the last newline (role ASTERISK)."""
        self._expect(Role.ASTERISK, _Step.REPLY)
        self._step(_Step.REPLY)
        return f"{text}\n".encode(errors="surrogateescape")

    def send_hangup(self) -> bytes:
        """Return the line that says that the caller hung up (role ASTERISK)."""
        self._expect(Role.ASTERISK, _Step.HANGUP)
        self._step(_Step.HANGUP)
        return _HANGUP

    def _expect(self, role: Role, step: _Step) -> None:
        if self.role is not role or (self.state, step) not in _TRANSITIONS:
            raise RuntimeError(f"{step.name.lower()} makes no sense for {self.role.value} now: {self.state.value}")

    def _step(self, step: _Step) -> None:
        state = _TRANSITIONS.get((self.state, step))
        if state is None:
            raise AgiProtocolError(f"unexpected {step.name.lower()}: {self.state.value}")
        self.state = state

    def _line(self, words: tuple[str, ...]) -> bytes:
        if not words or not words[0].strip():
            raise AgiArgumentError("an AGI command cannot be empty")
        if len(words) > self.limits.words:
            raise AgiArgumentError(f"an AGI command cannot have {len(words)} words; {self.limits.words} are allowed")
        line = " ".join(word if _PLAIN_WORD.fullmatch(word) else quote(word) for word in words).encode()
        if len(line) > self._command_bytes:
            raise AgiArgumentError(
                f"an AGI command of {len(line)} bytes is too long; this Asterisk reads {self._command_bytes}"
            )
        return line + b"\n"

    def _closed(self) -> Closed:
        owed = self.state in {State.IN_FLIGHT, State.DEAD_IN_FLIGHT}
        silent = not self._received
        begun = self.state is State.ENVIRONMENT and not silent
        clean = not (owed or begun or self._buffer)
        self.state = State.CLOSED
        return Closed(clean, silent)

    def _take_line(self, limit: int, what: str) -> str | None:
        """Take the next whole line off the buffer, without its newline; None if there is none yet."""
        end = self._buffer.find(b"\n", self._scanned)
        if (len(self._buffer) if end < 0 else end) > limit:
            raise AgiProtocolError(f"{what} is longer than {limit} bytes")
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        return self._take(end, end + 1)

    def _take(self, end: int, next_start: int) -> str:
        text = self._buffer[:end].decode(errors="surrogateescape")
        del self._buffer[:next_start]
        self._scanned = 0
        return text

    # Role SCRIPT

    def _event_for_script(self) -> Environment | Reply | Hangup | None:
        if self.state is State.ENVIRONMENT:
            return self._environment()
        while self._buffer:
            if self._usage is None and _HANGUP.startswith(self._buffer[: len(_HANGUP)]):
                if len(self._buffer) < len(_HANGUP):
                    return None
                self._take(len(_HANGUP), len(_HANGUP))
                self._step(_Step.HANGUP)
                return Hangup()
            if self.state in {State.IDLE, State.DEAD}:
                raise AgiProtocolError("Asterisk said something that no command asked for (a newline in a variable?)")
            reply = self._reply_or_part()
            if isinstance(reply, Reply):
                self._step(_Step.REPLY)
                return reply
            if not reply:
                return None
        return None

    def _environment(self) -> Environment | None:
        _refuse_strangers(self._buffer)
        end = self._buffer.find(b"\n\n", max(0, self._scanned - 1))
        limit = self.limits.environment_bytes
        if (len(self._buffer) if end < 0 else end + 2) > limit:
            raise AgiProtocolError(f"the environment is longer than {limit} bytes")
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        lines = self._take(end, end + 2).split("\n")
        if len(lines) > self.limits.environment_headers:
            raise AgiProtocolError(f"the environment has more than {self.limits.environment_headers} headers")
        environment = parse_environment(lines)
        self._command_bytes = self.limits.command_bytes or command_limit(environment.version)
        self._step(_Step.ENVIRONMENT)
        return environment

    def _reply_or_part(self) -> Reply | bool:
        """Return the reply that begins the buffer; True if only a part of one was taken; False if more is needed."""
        if self._usage is not None:
            return self._usage_line()
        if self._buffer.startswith(b"200 "):
            return self._success()
        line = self._take_line(self.limits.reply_bytes, "a reply")
        if line is None:
            return False
        if line.startswith("100 "):  # GOSUB: "100 result=0 Trying..." goes before the reply
            return True
        if line.startswith(_USAGE_BEGINS):
            self._usage, self._usage_bytes = [line], len(line)
            return True
        match = _REFUSAL.fullmatch(line)
        if match is None:
            raise AgiProtocolError("Asterisk's reply is none that AGI knows")
        return self._complete(Reply(int(match["code"]), tail=match["text"] or ""))

    def _success(self) -> Reply | bool:
        end = self._end_of_success()
        if end is None:
            return False
        text = self._take(end, end + 1)
        pattern = _SUCCESS if text.endswith(")") or not _SUCCESS_AND_MORE.fullmatch(text) else _SUCCESS_AND_MORE
        match = pattern.fullmatch(text)
        if match is None:
            raise AgiProtocolError("Asterisk's reply is none that AGI knows")
        reply = self._complete(Reply(200, match["result"], match["data"], match["tail"] or ""))
        # An application that returns 1 looks to AGI like a command that was used wrongly: the usage text of EXEC
        # follows its reply (res_agi.c: handle_exec returns the value, and RESULT_SHOWUSAGE is 1).
        if self._verb == "EXEC" and reply.result == "1":
            self._held_reply = reply
            return True
        return reply

    def _end_of_success(self) -> int | None:
        """Return where a 200 reply ends: at a line end, but not inside of a value in parentheses."""
        start = self._scanned
        while True:
            end = self._buffer.find(b"\n", start)
            if (len(self._buffer) if end < 0 else end) > self.limits.reply_bytes:
                raise AgiProtocolError(f"a reply is longer than {self.limits.reply_bytes} bytes")
            if end < 0:
                return None
            if not self._value_goes_on(end):
                return end
            start = self._scanned = end + 1

    def _value_goes_on(self, end: int) -> bool:
        """Tell whether the line that ends at ``end`` is inside of a value that holds newlines."""
        if not self._in_value:
            line = self._buffer[:end].decode(errors="surrogateescape")
            opened = re.match(r"200 result=[^ ]* \(", line, re.IGNORECASE) is not None
            self._in_value = opened and _SUCCESS_AND_MORE.fullmatch(line) is None
        if self._buffer[end - 1 : end] == b")":
            self._in_value = False
        return self._in_value

    def _usage_line(self) -> Reply | bool:
        assert self._usage is not None  # noqa: S101 - the caller has looked
        line = self._take_line(self.limits.reply_bytes - self._usage_bytes, "a usage text")
        if line is None:
            return False
        self._usage.append(line)
        self._usage_bytes += len(line) + 1
        if not line.startswith(_USAGE_ENDS):
            return True
        text, self._usage = "\n".join(self._usage), None
        return self._complete(Reply(520, tail=text))

    def _complete(self, reply: Reply) -> Reply:
        """Return the reply to the command: of EXEC the first one, when a usage text had to follow it."""
        held, self._held_reply = self._held_reply, None
        if held is None:
            return reply
        if reply.code != 520:
            raise AgiProtocolError("Asterisk sent two replies to one command")
        return held

    # Role ASTERISK

    def _event_for_asterisk(self) -> Command | Failure | None:
        if not self._buffer or self.state is State.ENVIRONMENT:
            return None
        line = self._take_line(self._command_bytes, "a command")
        if line is None:
            return None
        if line[:7].lower() == "failure":
            return Failure()
        words = split_words(line)
        if len(words) > 127:
            raise AgiProtocolError("a command of more than 127 words: Asterisk would have lost its stack")
        if not words or any(code in line for code in "\0\r"):
            raise AgiProtocolError("a command that Asterisk would misread: empty, or with CR or NUL")
        # A second line behind a command waits in Asterisk's stdio until more bytes come: it looks hung.
        self._step(_Step.COMMAND)
        return Command(words)


def _refuse_strangers(data: bytes | bytearray) -> None:
    """Recognise at the first bytes who does not speak AGI, instead of waiting for the time limit."""
    if not data or b"agi_".startswith(data[:4]):
        if data[: data.find(b"\n") + 1].endswith(b"\r\n"):
            raise AgiProtocolError("lines end in CR LF, so the peer is no Asterisk")
        return
    if data[0] == 0x16:
        raise AgiProtocolError("the peer begins with a TLS handshake; FastAGI knows no encryption")
    if re.match(rb"[A-Z]{3,7} /", data):
        raise AgiProtocolError("the peer sends an HTTP request; this port speaks FastAGI")
    raise AgiProtocolError("the peer does not speak FastAGI")
