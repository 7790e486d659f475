"""Asterisk's end of FastAGI for unit tests: the ASTERISK role of `wire.AgiConnection` on a socket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import Callable, Mapping

from agi_xmpp.agi.wire import NEED_DATA, AgiConnection, Closed, Command, Failure, Role

#: As Asterisk 22.10.1 sends it for a Local channel, without ``agi_network_script`` and arguments.
HEADERS = {
    "agi_network": "yes",
    "agi_network_script": "verb",
    "agi_request": "agi://127.0.0.1:4573/verb",
    "agi_channel": "Local/s@probe-00000002;2",
    "agi_language": "en",
    "agi_type": "Local",
    "agi_uniqueid": "1795258243.5",
    "agi_version": "22.10.1+dfsg+~cs6.17.60671434-1",
    "agi_callerid": "unknown",
    "agi_calleridname": "unknown",
    "agi_callingpres": "67",
    "agi_callingani2": "0",
    "agi_callington": "0",
    "agi_callingtns": "0",
    "agi_dnid": "unknown",
    "agi_rdnis": "unknown",
    "agi_context": "probe",
    "agi_extension": "s",
    "agi_priority": "2",
    "agi_enhanced": "0.0",
    "agi_accountcode": "",
    "agi_threadid": "139910737245888",
}

DEAD = "511 Command Not Permitted on a dead channel or intercept routine"


def environment_bytes(headers: Mapping[str, str] = HEADERS) -> bytes:
    return AgiConnection(Role.ASTERISK).send_environment(headers)


class FakeAsterisk:
    """One connection to a FastAGI server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.wire = AgiConnection(Role.ASTERISK)
        self.failed = False

    @classmethod
    async def connect(
        cls, port: int, headers: Mapping[str, str] | None = HEADERS, host: str = "127.0.0.1"
    ) -> FakeAsterisk:
        """Connect, and send the environment unless ``headers`` is None."""
        asterisk = cls(*await asyncio.open_connection(host, port))
        environment = asterisk.wire.send_environment(headers or HEADERS)
        if headers is not None:
            asterisk.send(environment)
        return asterisk

    @property
    def transport(self) -> asyncio.Transport:
        transport = self._writer.transport
        assert isinstance(transport, asyncio.Transport)
        return transport

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def event(self) -> Command | Failure | Closed:
        while (event := self.wire.next_event()) is NEED_DATA:
            try:
                data = await self._reader.read(65536)
            except ConnectionError:
                data = b""
            self.wire.receive_data(data)
        assert isinstance(event, (Command, Failure, Closed))
        return event

    async def command(self) -> tuple[str, ...]:
        """Wait for the next command and return its words."""
        event = await self.event()
        assert isinstance(event, Command), event
        return event.words

    def reply(self, text: str = "200 result=1") -> None:
        self.send(self.wire.send_reply(text))

    async def answer(self, text: str = "200 result=1") -> tuple[str, ...]:
        """Wait for a command, reply, and return its words."""
        words = await self.command()
        self.reply(text)
        return words

    def hangup(self) -> None:
        self.send(self.wire.send_hangup())

    async def status(self) -> str:
        """Wait for the session's end as Asterisk does and return what AGISTATUS would be; then close."""
        status = "SUCCESS"
        while not isinstance(event := await self.event(), Closed):
            assert isinstance(event, Failure), event
            status = "FAILURE"
        await self.close()
        return status

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Dialplan:
    """The variables of one channel, and the commands and functions that use them, as Asterisk 22.10.1 works them."""

    def __init__(self, **variables: str) -> None:
        self.variables = {name: value.encode(errors="surrogateescape") for name, value in variables.items()}
        self.database: dict[tuple[str, ...], str] = {}
        self.missing_functions: set[str] = set()
        self.drops_end_of_base64 = False  # Asterisk 16 encodes whole groups of three bytes only

    def text(self, name: str) -> str:
        return self.variables[name].decode()

    def reply(self, words: tuple[str, ...]) -> str:
        """Return the reply to a command."""
        match words:
            case ("SET", "VARIABLE", name, value):
                self.variables[name] = value.encode(errors="surrogateescape")
                return "200 result=1"
            case ("GET", "VARIABLE", name):
                content = self.variables.get(name)
                return "200 result=0" if content is None else _reply(content[:1023])
            case ("GET", "FULL", "VARIABLE", expression):
                return _reply(self.evaluate(expression))
            case ("DATABASE", "PUT", family, key, value):
                self.database[family, key] = value
                return "200 result=1"
            case ("DATABASE", "GET", family, key):
                found = self.database.get((family, key))
                return "200 result=0" if found is None else f"200 result=1 ({found})"
            case ("DATABASE", "DEL", family, key):
                return "200 result=" + ("1" if self.database.pop((family, key), None) is not None else "0")
            case ("DATABASE", "DELTREE", *tree):
                keys = [entry for entry in self.database if list(entry[: len(tree)]) == tree]
                for entry in keys:
                    del self.database[entry]
                return "200 result=" + ("0" if keys else "1")
            case ("NOOP" | "VERBOSE" | "ANSWER", *_):
                return "200 result=0"
        return "510 Invalid or unknown command"

    def evaluate(self, expression: str) -> bytes:
        """Substitute ``${…}`` as ``ast_str_substitute_variables`` does: the innermost first, nothing twice."""
        result = bytearray()
        rest = expression
        while rest:
            before, dollar, rest = rest.partition("${")
            result += before.encode()
            if not dollar:
                break
            end = _closing_brace(rest)
            result += self._value(self.evaluate(rest[:end]))
            rest = rest[end + 1 :]
        return bytes(result)

    def _value(self, term: bytes) -> bytes:
        # parse_variable_name: the first colon at which the parentheses are balanced begins a substring.
        depth = 0
        offset, length = 0, None
        for position, character in enumerate(term):
            depth += (character == 0x28) - (character == 0x29)
            if character == 0x3A and depth == 0:
                numbers = re.match(rb":(-?\d+)(?::(-?\d+))?", term[position:])
                if numbers:
                    offset, length = int(numbers[1]), None if numbers[2] is None else int(numbers[2])
                term = term[:position]
                break
        if b"(" in term:
            name, _, arguments = term.partition(b"(")
            end = arguments.rfind(b")")
            value = self._function(name.decode(), arguments if end < 0 else arguments[:end])
        else:
            value = self.variables.get(term.decode(), b"")
        return value[offset:] if length is None else value[offset : offset + length if length >= 0 else length]

    def _function(self, name: str, arguments: bytes) -> bytes:
        if name in self.missing_functions:
            return b""
        functions: dict[str, Callable[[bytes], bytes]] = {
            "LEN": lambda text: str(len(text)).encode(),
            "BASE64_ENCODE": self._encode,
            "BASE64_DECODE": base64.b64decode,
            "SET": self._set,
            "SHIFT": self._shift,
            "POP": self._pop,
        }
        return functions[name](arguments)

    def _encode(self, text: bytes) -> bytes:
        return base64.b64encode(text[: len(text) // 3 * 3] if self.drops_end_of_base64 else text)[:4096]

    def _set(self, arguments: bytes) -> bytes:
        name, _, value = arguments.partition(b"=")
        stripped = value.strip(bytes(range(33)))  # ast_strip: control characters too
        self.variables[name.decode()] = stripped
        return stripped

    def _shift(self, name: bytes) -> bytes:
        first, _, rest = self.variables.get(name.decode(), b"").partition(b",")
        self.variables[name.decode()] = rest
        return first

    def _pop(self, name: bytes) -> bytes:
        rest, _, last = self.variables.get(name.decode(), b"").rpartition(b",")
        self.variables[name.decode()] = rest
        return last


def _reply(value: bytes) -> str:
    return f"200 result=1 ({value.decode(errors='surrogateescape')})"


def _closing_brace(text: str) -> int:
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return position
    return len(text)
