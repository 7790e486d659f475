"""The running service's back door for its own command line: a Unix socket, one JSON object a line each way.

Who may use it is decided by the file system: the socket has mode 0660, in a directory of the service's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from agi_xmpp.errors import AgiXmppError, ConfigError

log = logging.getLogger("agi_xmpp.control")

#: Longest request or answer in bytes: a text of `AccountSettings.max_body` characters, escaped, fits.
MAX_LINE = 16 * 1024 * 1024

Action = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class ControlServer:
    """Answers the command line.

    Args:
        path: where the socket stands. What a crashed service left there is replaced; a live one is not.
        actions: what can be asked for, by the request's ``do``.
    """

    def __init__(self, path: Path, actions: Mapping[str, Action]) -> None:
        self.path = path
        self._actions = actions
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the socket.

        Raises:
            ConfigError: the path is not usable, or another service answers there.
        """
        if self.path.is_socket():
            if await _answers(self.path):
                raise ConfigError(f"control.socket {self.path}: another agi-xmpp is running there already")
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(
            OSError
        ):  # systemd makes it (RuntimeDirectory=); by hand, we do; failing that, see below
            self.path.parent.mkdir(mode=0o750, exist_ok=True)
        mask = os.umask(0o117)  # set before the socket appears, so that it is never open to all
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(self.path), limit=MAX_LINE)
        except OSError as error:
            raise ConfigError(f"control.socket {self.path}: {error.strerror or error}") from None
        finally:
            os.umask(mask)

    async def stop(self) -> None:
        """Close the socket and remove it."""
        if self._server is not None:
            self._server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs each connection in a task
        self._connections.add(task)
        try:
            async for line in reader:
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError) as error:
            log.debug("a client of the control socket went away: %s", error)
        except asyncio.CancelledError:  # by `stop`; asyncio.streams would log it as a fault (Python 3.11)
            log.debug("a client of the control socket gets no answer any more: the service ends")
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            action = self._actions[request["do"]]
        except (ValueError, KeyError, TypeError):
            return {"error": "not understood: is the command line of another version than the service?"}
        try:
            return {"ok": await action(request)}
        except AgiXmppError as error:
            return {"error": str(error)}
        except (KeyError, TypeError, ValueError):
            log.exception("a request on the control socket failed")
            return {"error": "not understood: is the command line of another version than the service?"}


class NoService(AgiXmppError):
    """No service could be asked at the control socket: nothing was done."""


class NoPermission(NoService):
    """We may not use the control socket: a service may be running all the same."""


class NoAnswer(AgiXmppError):
    """The service was asked and did not answer: it may have done what it was asked to do."""


def ask(path: str, request: Mapping[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    """Ask the running service.

    Args:
        path: the control socket.
        request: with the key ``do``.
        timeout: seconds for the answer.

    Raises:
        NoService: nobody is there, or (`NoPermission`) we may not ask.
        NoAnswer: the service did not answer in time, or ended.
        AgiXmppError: the service refused, with its reason.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
        except PermissionError:
            raise NoPermission(f"no permission to use {path}: run this as root or as the service's user") from None
        except OSError as error:
            raise NoService(f"no service is running at {path} ({error.strerror or error})") from None
        try:
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline(MAX_LINE)
        except TimeoutError:
            raise NoAnswer(f"the service at {path} did not answer within {timeout:g} s") from None
        except OSError:
            line = b""
    if not line.endswith(b"\n"):
        raise NoAnswer(f"the service at {path} closed the connection without an answer")
    answer = json.loads(line)
    if "error" in answer:
        raise AgiXmppError(answer["error"])
    result: dict[str, Any] = answer["ok"]
    return result


async def _answers(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
