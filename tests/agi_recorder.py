"""A FastAGI server that stands where agi-xmpp would be: it writes down what it is asked, and answers as told."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import urllib.parse
from typing import Self


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What a dialplan asked: the verb, the arguments before the text, and the text."""

    verb: str
    arguments: tuple[str, ...]
    text: str = ""


class Recorder:
    """Stands where agi-xmpp would be.

    Attributes:
        requests: what was asked so far.
        server: its address, as a dialplan writes it.
        statuses, answers: what jabber_status and jabber_receive say, one after another; the last one for ever.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.statuses = ["6"]
        self.answers = [""]
        self.server = ""
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1")
        self.server = f"agi://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._listener is not None
        self._listener.close()
        await self._listener.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            environment = (await reader.readuntil(b"\n\n")).decode().splitlines()
            headers = dict(line.partition(": ")[::2] for line in environment)
            verb, _, query = headers["agi_network_script"].partition("?")
            options = dict(urllib.parse.parse_qsl(query))
            arguments = [value for name, value in headers.items() if name.startswith("agi_arg_")]

            async def command(line: str) -> str:
                writer.write(f"{line}\n".encode())
                return (await reader.readline()).decode().rstrip("\n")

            text = ""
            if verb.startswith("jabber_send"):
                arguments, text = arguments[:2], ",".join(arguments[2:])
                if "var" in options:
                    assert text == ""
                    text = (await command(f"GET VARIABLE {options['var']}")).removeprefix("200 result=1 (")[:-1]
                if options.get("enc") == "uri":
                    text = urllib.parse.unquote(text)
                await command('SET VARIABLE JABBER_SEND_STATUS "SENT"')
            self.requests.append(Request(verb, tuple(arguments), text))
            if verb == "jabber_status":
                await command(f'SET VARIABLE JABBER_STATUS "{_next(self.statuses)}"')
            if verb == "jabber_receive":
                await command(f'SET VARIABLE JABBER_RECEIVE "{_next(self.answers)}"')


def _next(values: list[str]) -> str:
    return values.pop(0) if len(values) > 1 else values[0]
