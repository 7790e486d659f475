"""A channel and a session without Asterisk and without XMPP, for what the verbs themselves do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from agi_xmpp.errors import AgiHangup
from agi_xmpp.features import VERBS
from agi_xmpp.features.dispatch import Dispatcher
from agi_xmpp.features.verb import Accounts
from agi_xmpp.xmpp.model import IncomingMessage, Jid, Presence, RoomEntry, SessionInfo, SessionState, Show


class FakeChannel:
    """Keeps variables in a dict, and the order in which they were set."""

    def __init__(self, script: str, args: tuple[str, ...] = (), query: dict[str, str] | None = None) -> None:
        self.id = "agi-1"
        self.environment = SimpleNamespace(
            script=script,
            args=args,
            query=query or {},
            uniqueid="1700000000.42",
            callerid="",
            callerid_name="",
            withheld=False,
        )
        self.variables: dict[str, str] = {}
        self.history: list[tuple[str, str]] = []
        self.said: list[str] = []
        self._hangup = asyncio.Event()

    async def set_variable(self, name: str, value: str) -> None:
        self.variables[name] = value
        self.history.append((name, value))

    set_text = set_variable

    async def get_text(self, name: str) -> str | None:
        return self.variables.get(name)

    async def verbose(self, text: str, level: int = 1) -> None:
        self.said.append(text)

    @property
    def hung_up(self) -> bool:
        return self._hangup.is_set()

    def hang_up(self) -> None:
        self._hangup.set()

    @contextlib.asynccontextmanager
    async def until_hangup(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        assert task is not None

        async def watch() -> None:
            await self._hangup.wait()
            task.cancel()

        watcher = asyncio.ensure_future(watch())
        try:
            yield
        except asyncio.CancelledError:
            if not self._hangup.is_set():
                raise
            task.uncancel()
            raise AgiHangup("the caller hung up") from None
        finally:
            watcher.cancel()


class FakeSession:
    """Answers as it was told to: each attribute is what the method returns, or raises if it is an exception."""

    account = "pbx"
    state = SessionState.ONLINE

    def __init__(self, **results: Any) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.results: dict[str, Any] = {
            "send_message": "m1",
            "delivered": None,
            "seen": None,
            "queue_message": "q1",
            "receive_message": IncomingMessage(Jid("bob", "x.org", "pc"), "1", "chat", "b1", "", 0.0, 0.0),
            "presence": Presence(Show.AWAY, "at lunch", "pc", 5),
            "share_presence": None,
            "voice": True,
            "join_room": RoomEntry("asterisk", 3),
            "leave_room": True,
            "send_to_room": "g1",
            "services": (),
            "vcard_name": "",
            "contact_port": None,
            "stanza_port": None,
            "change_to": None,
            "upload": "https://up.x.org/1/voicemail.wav",
            **results,
        }
        self.waiting = asyncio.Event()
        self.guests: dict[Any, Any] = {}

    def change_to(self, _settings: Any) -> Any:
        return self.results["change_to"]

    def guest(self, make: Any) -> Any:
        if make not in self.guests:
            self.guests[make] = make(self)
        return self.guests[make]

    async def services(self, *args: Any, **kwargs: Any) -> Any:
        return await self._result("services", args, kwargs)

    async def upload(self, *args: Any, **kwargs: Any) -> Any:
        return await self._result("upload", args, kwargs)

    def dismiss(self, make: Any) -> None:
        self.guests.pop(make, None)

    def serve_phones(self, host: Any, table: Any = None) -> Any:
        raise NotImplementedError("tests of phones bring a port of their own")

    def serve_contacts(self, host: Any) -> Any:
        self.contact_host = host
        return self.results["contact_port"]

    def serve_stanzas(self, host: Any) -> Any:
        self.stanza_host = host
        return self.results["stanza_port"]

    async def vcard_name(self, *args: Any, **kwargs: Any) -> Any:
        return await self._result("vcard_name", args, kwargs)

    async def _result(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.calls.append((name, args, kwargs))
        result = self.results[name]
        if result is FOREVER:
            self.waiting.set()
            await asyncio.Event().wait()
        if isinstance(result, BaseException):
            raise result
        return result

    async def start(self) -> None: ...

    async def stop(self, timeout: float = 5.0) -> None: ...

    async def ready(self, timeout: float, *, patient: bool = True) -> None: ...

    def info(self) -> SessionInfo:
        return SessionInfo("pbx", "asterisk@x.org/pbx", self.state, 0.0)

    async def send_message(self, *args: Any, **kwargs: Any) -> Any:
        return await self._result("send_message", args, kwargs)

    async def delivered(self, *args: Any, **kwargs: Any) -> Any:
        return await self._result("delivered", args, kwargs)

    async def seen(self, *args: Any, **kwargs: Any) -> Any:
        return await self._result("seen", args, kwargs)

    async def receive_message(self, *args: Any, **kwargs: Any) -> Any:
        return await self._result("receive_message", args, kwargs)

    async def presence(self, *args: Any, **kwargs: Any) -> Any:
        return await self._result("presence", args, kwargs)

    def share_presence(self, *args: Any) -> Any:
        self.calls.append(("share_presence", args, {}))
        return self.results["share_presence"]

    async def voice(self, *args: Any) -> Any:
        return await self._result("voice", args, {})

    async def join_room(self, *args: Any, **kwargs: Any) -> Any:
        return await self._result("join_room", args, kwargs)

    async def leave_room(self, *args: Any, **kwargs: Any) -> Any:
        return await self._result("leave_room", args, kwargs)

    async def send_to_room(self, *args: Any, **kwargs: Any) -> Any:
        return await self._result("send_to_room", args, kwargs)

    def queue_message(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(("queue_message", args, kwargs))
        result = self.results["queue_message"]
        if isinstance(result, BaseException):
            raise result
        return result


#: As a result: the method never returns.
FOREVER = object()


async def run(
    script: str, *args: str, session: FakeSession | None = None, routes: Any = None, **query: str
) -> FakeChannel:
    """Let the dispatcher serve one request and return the channel."""
    channel = FakeChannel(script, args, query)
    await dispatcher(session or FakeSession(), routes)(channel)  # type: ignore[arg-type]
    return channel


def dispatcher(session: FakeSession, routes: Any = None) -> Dispatcher:
    return Dispatcher(Accounts({"pbx": session}), VERBS, routes or {})
