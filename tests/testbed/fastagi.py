"""A FastAGI server that stands in for agi-xmpp: it notes what a dialplan asks for, and answers what a test wants.

It shares no code with the package, so that a dialplan is tested and not our own idea of AGI. What it knows of AGI:
the environment up to a blank line, ``SET VARIABLE`` and ``GET FULL VARIABLE``
(https://docs.asterisk.org/Configuration/Interfaces/Asterisk-Gateway-Interface-AGI/).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import re
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

from tests.testbed.errors import TestbedError


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One ``AGI(…)`` of a dialplan.

    Attributes:
        verb: what stands between host and ``?``.
        options: what stands behind the ``?``.
        arguments: as Asterisk split them.
        variable: the value of the channel variable that ``?var=`` names, or "".
        environment: the ``agi_…`` lines; of a name that comes twice, the last.
    """

    verb: str
    options: Mapping[str, str]
    arguments: tuple[str, ...]
    variable: str
    environment: Mapping[str, str]

    def text(self, position: int) -> str:
        """Return the free text as the real verbs read it: from argument ``position`` on, or from ``?var=``."""
        text = self.variable if "var" in self.options else ",".join(self.arguments[position:])
        return urllib.parse.unquote(text, errors="strict") if self.options.get("enc") == "uri" else text


#: The variables that a verb sets; or a function from the request to them.
Answer = Mapping[str, str] | Callable[[Request], Mapping[str, str]]


class FakeFastAgi:
    """The server; use it by ``async with``.

    Attributes:
        answers: by verb, what is set; a verb that is not there sets nothing.
        requests: every request so far, in order.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[Request] = []
        self._fresh: asyncio.Queue[Request] = asyncio.Queue()
        self._errors: list[str] = []
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        # An environment can hold 8 KiB in one line.
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", limit=2**20)
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._server is not None
        self._server.close()
        for session in list(self._sessions):
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._server.wait_closed()
        if self._errors and _error[0] is None:
            raise TestbedError("; ".join(self._errors))

    @property
    def url(self) -> str:
        """What stands in ``AGI(…)`` before the verb, such as ``agi://127.0.0.1:34567``."""
        assert self._server is not None
        return f"agi://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def request(self, verb: str, timeout: float = 10.0) -> Request:
        """Return the next request, which must be for ``verb``; wait for it up to ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                request = await self._fresh.get()
        except TimeoutError:
            raise AssertionError(f"no {verb} within {timeout:g} s; there was {self.requests} {self._errors}") from None
        assert request.verb == verb, f"expected {verb}, got {request}"
        return request

    def verbs(self) -> list[str]:
        """Return the verbs that were asked for so far, in order."""
        return [request.verb for request in self.requests]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await self._session(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the call, or Asterisk, is gone
        except Exception as error:
            self._errors.append(f"{type(error).__name__}: {error}")
        finally:
            self._sessions.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def command(line: str) -> str:
            writer.write(f"{line}\n".encode())
            while True:
                reply = (await reader.readuntil()).decode().removesuffix("\n")
                if reply != "HANGUP":
                    return reply

        head = (await reader.readuntil(b"\n\n")).decode().removesuffix("\n\n")
        pairs = [(name, value) for name, _, value in (line.partition(": ") for line in head.split("\n"))]
        verb, _, query = dict(pairs)["agi_network_script"].partition("?")
        options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        variable = ""
        if "var" in options:
            variable = await _read(options["var"], command)
        arguments = tuple(value for name, value in pairs if name.startswith("agi_arg_"))
        request = Request(verb, options, arguments, variable, dict(pairs))
        self.requests.append(request)
        self._fresh.put_nowait(request)
        answer = self.answers.get(verb, {})
        for name, value in (answer(request) if callable(answer) else answer).items():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            reply = await command(f'SET VARIABLE {name} "{escaped}"')
            assert reply == "200 result=1", f"SET VARIABLE {name}: {reply}"


async def _read(name: str, command: Callable[[str], Awaitable[str]]) -> str:
    """Read a variable whole: by pieces, because functions return 4 KB at most, and as base64.

    Asterisk takes a ``:`` behind a ``)`` for the beginning of an offset, unless a ``(`` is open.
    """
    content, size = b"", 600
    while True:
        guard = "(" * size
        reply = await command(f'GET FULL VARIABLE "${{BASE64_ENCODE({guard}${{{name}:{len(content)}:{size}}})}}"')
        match = re.fullmatch(r"200 result=1 \((.*)\)", reply)
        assert match, f"{name}: {reply}"
        piece = base64.b64decode(match[1])[size:]
        content += piece
        if len(piece) < size:
            return content.decode()
