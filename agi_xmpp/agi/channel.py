"""One call's conversation with Asterisk: a coroutine for each AGI command that the package needs.

The methods carry pyst2's names (``appexec``, ``get_variable``, ``database_put``, …); times are seconds.
"""

from __future__ import annotations

import asyncio
import base64
import enum
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol

from agi_xmpp.agi.environment import Environment
from agi_xmpp.agi.wire import AgiConnection, Reply, State
from agi_xmpp.errors import (
    AgiArgumentError,
    AgiCommandError,
    AgiError,
    AgiHangup,
    AgiProtocolError,
    AgiTimeout,
    BadText,
)

log = logging.getLogger("agi_xmpp.agi")

#: Longest text of one channel variable, in bytes of UTF-8. Asterisk evaluates dialplan functions on the thread's stack
#: of 496 KiB: 22.10.1 carried 400,000 bytes whole and died of 480,000. Applications of the dialplan see the first
#: 4095 bytes of a variable, whatever is in it (buffer of ``pbx_substitute_variables_helper``).
TEXT_LIMIT: Final = 100_000

#: Seconds beyond its own duration that a command may take.
MARGIN: Final = 5.0

#: GET VARIABLE cuts values that are longer without saying so (buffer of ``handle_getvariable``).
_GET_VARIABLE_BYTES: Final = 1023

#: Bytes of a text in one command. Dialplan functions work in 4096 bytes, and base64 makes 4 of 3. A piece that is read
#: has as many opening parentheses before it, see `_guard`.
_READ_PIECE: Final = 1500
_WRITE_PIECE: Final = 3000

#: Bytes around a piece in its command: the expression, and the variable's name twice.
_WRITE_OVERHEAD: Final = 400

#: Characters of a message to Asterisk's console: more is no help there, and 400 fit every version's line.
_VERBOSE_LENGTH: Final = 400

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\([^${}\x00-\x1f\x7f]*\)")
_TEXT_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")


class _Default(enum.Enum):
    TIMEOUT = enum.auto()


class Writer(Protocol):
    """What a channel needs of its connection; `asyncio.Transport` has it."""

    def write(self, data: bytes, /) -> None:
        """Send ``data``."""


@dataclass(frozen=True, slots=True)
class Playback:
    """How a playback ended.

    Attributes:
        digit: the key that stopped it, or "".
        endpos: the sample at which it ended.
    """

    digit: str
    endpos: int


@dataclass(frozen=True, slots=True)
class Digits:
    """What a caller dialled.

    Attributes:
        digits: the keys, without the closing ``#``.
        timed_out: the time ran out before the caller had finished.
    """

    digits: str
    timed_out: bool


class Channel:
    """One FastAGI session: Asterisk's channel, for as long as the dialplan's ``AGI()`` lasts.

    Commands of several tasks wait for each other. A command that is cancelled does no harm: its reply is waited for,
    and thrown away, before the next one is sent.

    Args:
        connection: the protocol's state, role SCRIPT, with the environment received.
        environment: what Asterisk said at the start.
        writer: where commands go.
        command_timeout: seconds for a command that is answered at once.
    """

    def __init__(
        self, connection: AgiConnection, environment: Environment, writer: Writer, *, command_timeout: float = 10.0
    ) -> None:
        self.environment = environment
        self._connection = connection
        self._writer = writer
        self._command_timeout = command_timeout
        self._lock = asyncio.Lock()
        self._waiter: asyncio.Future[Reply] | None = None
        self._hung_up = False
        self._end: AgiError | None = None
        self._at_hangup: set[Callable[[], None]] = set()
        self._id = "".join(c if c.isprintable() and c != " " else "?" for c in environment.uniqueid[:80])

    def __repr__(self) -> str:
        return f"<Channel {self.id}>"

    @property
    def id(self) -> str:
        """Asterisk's id of the channel, fit for a log line."""
        return self._id

    @property
    def hung_up(self) -> bool:
        """True once the caller hung up or the connection to Asterisk ended."""
        return self._hung_up

    # What the server tells us

    def deliver(self, reply: Reply) -> None:
        """Hand over the reply to the command in flight."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(reply)

    def hangup_received(self) -> None:
        """The caller hung up: end all blocks of `until_hangup`. Commands are still possible."""
        self._hung_up = True
        for callback in tuple(self._at_hangup):
            callback()

    def end(self, error: AgiError) -> None:
        """The conversation is over: fail the command in flight and every later one with ``error``."""
        if self._end is not None:
            return
        self._end = error
        self.hangup_received()  # first: it may cancel the task that waits for the reply
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    # The conversation

    def until_hangup(self) -> UntilHangup:
        """Return an asynchronous context manager whose block ends with the call.

        When the caller hangs up, the block is cancelled and `AgiHangup` leaves it. Commands outside of it, such as
        `set_variable`, still work then: Asterisk runs them on a dead channel.
        """
        return UntilHangup(self)

    async def command(self, *words: str, timeout: float | _Default | None = _Default.TIMEOUT) -> Reply:
        """Send a command and return its reply.

        Args:
            words: unquoted: ``"SET", "VARIABLE", name, value``.
            timeout: seconds; None waits as long as the call lasts; by default the server's ``command_timeout``.

        Raises:
            AgiArgumentError: AGI cannot carry the words; nothing was sent.
            AgiCommandError: Asterisk refused the command (510, 511, 520).
            AgiHangup: Asterisk has closed the connection.
            AgiTimeout: there was no reply in time; the conversation is over.
            AgiProtocolError: Asterisk's replies cannot be trusted any more; the conversation is over.
        """
        seconds = self._command_timeout if isinstance(timeout, _Default) else timeout
        async with self._lock:
            while self._reply_owed():  # of a command that was cancelled
                await self._reply(self._command_timeout if seconds is None else seconds)
            self._raise_end()
            self._send(words)
            reply = await self._reply(seconds)
        log.debug("%s < %r", self.id, reply)
        if reply.code != 200:
            reason = reply.tail.partition("\n")[0] or "no reason given"
            raise AgiCommandError(f"Asterisk refused {words[0]}: {reply.code} {reason}", reply.code)
        return reply

    def _reply_owed(self) -> bool:
        return self._end is None and self._connection.state in {State.IN_FLIGHT, State.DEAD_IN_FLIGHT}

    def _raise_end(self) -> None:
        if self._end is not None:
            raise type(self._end)(str(self._end)) from None

    def _send(self, words: tuple[str, ...]) -> None:
        try:
            line = self._connection.send_command(*words)
        except AgiProtocolError as error:
            self.end(error)
            raise
        log.debug("%s > %r", self.id, words)
        self._writer.write(line)

    async def _reply(self, seconds: float | None) -> Reply:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Reply] = loop.create_future()
        self._waiter = waiter
        timer = None if seconds is None else loop.call_later(seconds, self._overdue, seconds)
        try:
            return await waiter
        finally:
            if timer is not None:
                timer.cancel()

    def _overdue(self, seconds: float) -> None:
        self._connection.poison()
        self.end(AgiTimeout(f"Asterisk did not answer within {seconds:g} s"))

    async def _succeed(self, *words: str, timeout: float | _Default | None = _Default.TIMEOUT) -> Reply:
        """Send a command whose result -1 is a failure."""
        reply = await self.command(*words, timeout=timeout)
        if reply.result == "-1":
            await self.settle()
            if self.hung_up or reply.data == "hangup":
                raise AgiHangup(f"the caller hung up during {words[0]}")
            raise AgiCommandError(f"Asterisk could not do {words[0]} (result -1)", reply.code)
        return reply

    async def settle(self) -> None:
        """Make sure that `hung_up` is up to date.

        A command that a hangup interrupts is answered by -1, and HANGUP comes after that. A further round trip brings
        it in.
        """
        await self.command("NOOP")

    # Variables

    async def get_variable(self, name: str) -> str | None:
        """Return a variable or a function such as ``CHANNEL(state)``; None if it is not set.

        For text from strangers use `get_text`: a value with newlines can look like Asterisk's own replies, and then
        ends the conversation with `AgiProtocolError`. Bytes that are not UTF-8 become lone surrogates (PEP 383).
        """
        _check_name(name)
        reply = await self.command("GET", "VARIABLE", name)
        if reply.result != "1":
            return None
        value = reply.data or ""
        if len(value.encode(errors="surrogateescape")) < _GET_VARIABLE_BYTES:
            return value
        return await self.get_full_variable(f"${{{name}}}")

    async def get_full_variable(self, expression: str) -> str:
        """Return what an expression such as ``${CALLERID(num)}`` evaluates to. It runs whatever it names."""
        reply = await self.command("GET", "FULL", "VARIABLE", expression)
        return reply.data or ""

    async def set_variable(self, name: str, value: str) -> None:
        """Set a variable or a function such as ``CHANNEL(language)``.

        Raises:
            AgiArgumentError: AGI cannot carry the value in one line (newlines, length); `set_text` can.
        """
        _check_name(name)
        await self.command("SET", "VARIABLE", name, value)

    async def get_text(self, name: str) -> str | None:
        """Return a variable that may hold any text; None if it is not set.

        It travels as base64, so that nothing in it can be taken for a reply, and in pieces.

        Raises:
            BadText: it is not UTF-8, or longer than `TEXT_LIMIT`.
        """
        _check_text_name(name)
        content = bytearray()
        while len(piece := await self._read_piece(name, len(content))) == _READ_PIECE:
            content += piece
            if len(content) > TEXT_LIMIT:
                break
        content += piece
        if len(content) > TEXT_LIMIT:
            raise BadText(f"variable {name} holds more than {TEXT_LIMIT} bytes")
        if not content:
            # Empty or not set? Nothing can be smuggled in an empty value.
            return None if (await self.command("GET", "VARIABLE", name)).result == "0" else ""
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise BadText(f"variable {name} is not UTF-8 text") from None

    async def _read_piece(self, name: str, start: int) -> bytes:
        guarded = f"{'(' * _READ_PIECE}${{{name}:{start}:{_READ_PIECE}}}"
        # Asterisk 16 drops what base64 would write with a "=": one or two bytes at the end, without a word. So two
        # bytes stand there that may be lost, and where it is not plain how many were, Asterisk is asked for the length.
        encoded = await self.get_full_variable(f"${{BASE64_ENCODE({guarded}..)}}")
        try:
            piece = base64.b64decode(encoded, validate=True)
        except ValueError:
            piece = b""
        if not piece.startswith(b"(" * _READ_PIECE):
            raise AgiError(f"Asterisk cannot encode variable {name}: is func_base64 loaded?")
        length = len(piece) - 2
        if length != 2 * _READ_PIECE:
            length = _number(await self.get_full_variable(f"${{LEN({guarded})}}"))
            if not 0 <= len(piece) - length <= 2:
                raise AgiError(f"Asterisk does not give variable {name} whole ({len(piece)} of {length} bytes)")
        return piece[_READ_PIECE:length]

    async def set_text(self, name: str, text: str) -> None:
        """Set a variable to any text, whole.

        What a line of AGI cannot carry travels as base64, in pieces; what Asterisk has of it is checked at each.

        Raises:
            BadText: the text holds a NUL, is no Unicode, or is longer than `TEXT_LIMIT`; nothing was changed.
        """
        _check_text_name(name)
        if "\0" in text:
            raise BadText("the text holds a NUL, which no channel variable can hold")
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise BadText("the text holds half a character (a lone surrogate)") from None
        if len(content) > TEXT_LIMIT:
            raise BadText(f"the text has {len(content)} bytes; a channel variable can carry {TEXT_LIMIT}")
        try:
            await self.command("SET", "VARIABLE", name, text)
        except AgiArgumentError:
            await self._set_text_in_pieces(name, content)

    async def _set_text_in_pieces(self, name: str, content: bytes) -> None:
        guard = _guard(content)
        size = min(_WRITE_PIECE, (self._connection.command_bytes - _WRITE_OVERHEAD) // 4 * 3)
        # SET() takes white space off both ends: the guard stands at the one and ",." at the other until all is there.
        await self.command("SET", "VARIABLE", name, ",.")
        expected = 2
        whole = True
        for piece in _pieces(guard + b"," + content, size):
            longer = f"${{SET({name}=${{{name}:0:-2}}${{BASE64_DECODE({base64.b64encode(piece).decode()})}},.)}}"
            expected += len(piece)
            whole = whole and await self.get_full_variable(f"${{LEN({longer})}}") == str(expected)
        # SHIFT() takes the guard away and POP() the dot, each with its comma; both return what they took.
        whole = await self.get_full_variable(f"${{SHIFT({name})}}${{POP({name})}}") == f"{guard.decode()}." and whole
        if not whole:
            await self.command("SET", "VARIABLE", name, "")
            raise AgiError(
                f"Asterisk cannot hold the text in {name}: are func_base64, func_logic, func_strings loaded?"
            )

    # The call

    async def answer(self) -> None:
        """Answer the call if it is not answered yet."""
        await self._succeed("ANSWER")

    async def hangup(self) -> None:
        """Hang up. The dialplan's ``h`` extension follows when the handler ends."""
        await self.command("HANGUP")

    async def noop(self) -> None:
        """Do nothing, and hear that Asterisk is there."""
        await self.command("NOOP")

    async def verbose(self, message: str, level: int = 1) -> None:
        """Show a message on Asterisk's console; line breaks become blanks and the end of a long one is left out."""
        text = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", message)
        await self.command("VERBOSE", text[:_VERBOSE_LENGTH], str(level))

    async def appexec(self, application: str, options: str = "", *, timeout: float | None = None) -> int:
        """Run an application of the dialplan and return its result; -1 says that it wanted the call to end.

        Args:
            application: its name.
            options: its arguments, with commas between them.
            timeout: seconds; None for as long as it takes.

        Raises:
            AgiCommandError: there is no such application.
        """
        reply = await self.command("EXEC", application, options, timeout=timeout)
        if reply.result == "-2":
            raise AgiCommandError(f"Asterisk has no application {application}", reply.code)
        return _number(reply.result)

    async def channel_status(self) -> int:
        """Return the channel's state: 0 down … 4 ringing … 6 up, 7 busy."""
        return _number((await self._succeed("CHANNEL", "STATUS")).result)

    async def goto_on_exit(self, context: str, extension: str, priority: str = "1") -> None:
        """Let the dialplan go on elsewhere after the handler."""
        await self.command("SET", "CONTEXT", context)
        await self.command("SET", "EXTENSION", extension)
        await self.command("SET", "PRIORITY", priority)

    async def stream_file(self, filename: str, escape_digits: str = "", sample_offset: int = 0) -> Playback:
        """Play a sound file (without its extension) until it ends or one of ``escape_digits`` is pressed.

        Raises:
            AgiCommandError: there is no such file.
            AgiHangup: the caller hung up.
        """
        reply = await self._succeed("STREAM", "FILE", filename, escape_digits, str(sample_offset), timeout=None)
        return Playback(_digit(reply.result), _number(reply.fields.get("endpos", "0")))

    async def wait_for_digit(self, seconds: float) -> str:
        """Wait for one key and return it, or "" when none was pressed in time."""
        reply = await self._succeed("WAIT", "FOR", "DIGIT", _milliseconds(seconds), timeout=seconds + MARGIN)
        return _digit(reply.result)

    async def get_data(self, filename: str, seconds: float, max_digits: int = 255) -> Digits:
        """Play a file and collect keys, until ``#``, ``max_digits``, or ``seconds`` without one."""
        reply = await self._succeed("GET", "DATA", filename, _milliseconds(seconds), str(max_digits), timeout=None)
        return Digits(reply.result, reply.data == "timeout")

    # Asterisk's database

    async def database_get(self, family: str, key: str) -> str | None:
        """Return an entry of Asterisk's database; None if there is none."""
        reply = await self.command("DATABASE", "GET", family, key)
        return (reply.data or "") if reply.result == "1" else None

    async def database_put(self, family: str, key: str, value: str) -> None:
        """Set an entry of Asterisk's database.

        Raises:
            AgiCommandError: the database did not take it.
        """
        reply = await self.command("DATABASE", "PUT", family, key, value)
        if reply.result != "1":
            raise AgiCommandError(f"Asterisk's database did not take {family}/{key}", reply.code)

    async def database_del(self, family: str, key: str) -> bool:
        """Delete an entry of Asterisk's database; False if there was none."""
        return (await self.command("DATABASE", "DEL", family, key)).result == "1"

    async def database_deltree(self, family: str, keytree: str = "") -> bool:
        """Delete a family of Asterisk's database, or a part of it; False if there was none.

        Asterisk 16 and 22 answer 0 after they deleted something and 1 otherwise, against their documentation.
        """
        words = (family, keytree) if keytree else (family,)
        return (await self.command("DATABASE", "DELTREE", *words)).result == "0"


class UntilHangup:
    """See `Channel.until_hangup`. Works on the task's cancellation count, as `asyncio.timeout` does."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._interrupted = False

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("until_hangup needs a task")
        if self._channel.hung_up:
            raise self._reason()
        self._cancelling = self._task.cancelling()
        self._channel._at_hangup.add(self._interrupt)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._channel._at_hangup.discard(self._interrupt)
        if not self._interrupted:
            return
        assert self._task is not None  # noqa: S101 - __aenter__ has set it
        # A cancellation from elsewhere at the same time goes first.
        if self._task.uncancel() <= self._cancelling and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise self._reason() from error

    def _interrupt(self) -> None:
        if not self._interrupted and self._task is not None:
            self._interrupted = True
            self._task.cancel()

    def _reason(self) -> AgiError:
        end = self._channel._end
        return AgiHangup("the caller hung up") if end is None else type(end)(str(end))


def _check_name(name: str) -> None:
    if not (_VARIABLE.fullmatch(name) or _FUNCTION.fullmatch(name)):
        raise AgiArgumentError(f"not the name of a channel variable: {name[:80]!r}")


def _check_text_name(name: str) -> None:
    if not _TEXT_VARIABLE.fullmatch(name):
        raise AgiArgumentError(f"not the name of a channel variable for text: {name[:80]!r}")


def _guard(content: bytes) -> bytes:
    """Return what must stand before a text so that Asterisk takes it as an argument of a dialplan function.

    Asterisk puts the text into the expression and then looks for the end of the function: the first colon behind as
    many closing as opening parentheses (``parse_variable_name``). In ``:-) so:`` that would be inside of the text.
    """
    depth = deepest = 0
    for character in content:
        depth += (character == 0x28) - (character == 0x29)
        deepest = min(deepest, depth)
    return b"(" * (1 - deepest)


def _pieces(content: bytes, size: int) -> Iterator[bytes]:
    """Cut UTF-8 between characters: Asterisk warns about half a character in a variable."""
    start = 0
    while start < len(content):
        end = min(start + size, len(content))
        while end < len(content) and content[end] & 0xC0 == 0x80:
            end -= 1
        yield content[start:end]
        start = end


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise AgiProtocolError(f"Asterisk answered {text!r:.40} where a number belongs") from None


def _digit(result: str) -> str:
    code = _number(result)
    return chr(code) if 0 < code < 128 else ""
