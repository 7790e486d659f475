"""The rooms of an account on a link that the test plays the other end of."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import aioxmpp
import pytest

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp.link import Outcome
from agi_xmpp.xmpp.membership import Timing
from agi_xmpp.xmpp.model import Jid, RoomEntry
from agi_xmpp.xmpp.rooms import Rooms
from tests.unit.xmpp.parsed import message, presence

TEAM = "team@rooms.x.org"
USER = "xmlns='http://jabber.org/protocol/muc#user'"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

#: Long enough for nothing to run out, and no pause before another attempt.
PATIENT = Timing(answer=10, silence=100, retry=0)


class FakeDelivery:
    def __init__(self, outcome: Outcome | None) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if outcome:
            self.outcome.set_result(outcome)

    def withdraw(self) -> bool:
        if not self.outcome.done():
            self.outcome.set_result(Outcome.NOT_SENT)
        return self.outcome.result() is Outcome.NOT_SENT


class FakeLink:
    """Keeps what is sent; the test answers."""

    jid = Jid("agi", "x.org", "pbx")

    def __init__(self) -> None:
        self.online = asyncio.Event()
        self.outcome: Outcome | None = Outcome.ACKNOWLEDGED
        self.out: asyncio.Queue[Any] = asyncio.Queue()
        self.requests: asyncio.Queue[tuple[Any, asyncio.Future[Any]]] = asyncio.Queue()

    async def until_online(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self.online.wait()
        except TimeoutError:
            raise NotConnected("account main is not connected: the server is away") from None

    def send(self, stanza: Any) -> FakeDelivery:
        if not self.online.is_set():
            raise NotConnected("account main is not connected")
        self.out.put_nowait(stanza)
        return FakeDelivery(self.outcome)

    def post(self, stanza: Any) -> None:
        with contextlib.suppress(NotConnected):
            self.send(stanza)

    def request(self, iq: Any) -> asyncio.Future[Any]:
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.requests.put_nowait((iq, reply))
        return reply


class House:
    """The rooms under test and the world round them."""

    def __init__(self, timing: Timing, settings: dict[str, Any]) -> None:
        self.link = FakeLink()
        self.gone: list[str] = []
        self.tasks: list[asyncio.Task[RoomEntry]] = []
        self.rooms = Rooms(
            "main",
            self.link,  # type: ignore[arg-type]
            AccountSettings(jid="agi@x.org/pbx", password="s", **settings),  # type: ignore[arg-type]
            lambda occupant: self.gone.append(str(occupant)),
            timing,
        )

    def log_in(self) -> None:
        self.link.online.set()
        self.rooms.session_began()

    def lose_session(self) -> None:
        self.link.online.clear()
        self.rooms.session_ended()

    async def next_out(self) -> Any:
        """Return the next stanza that we send."""
        async with asyncio.timeout(5):
            return await self.link.out.get()

    async def asked_in(self, nick: str = "agi", room: str = TEAM) -> Any:
        """Wait until we ask a room to let us in under ``nick``."""
        stanza = await self.next_out()
        assert str(stanza.to) == f"{room}/{nick}"
        assert stanza.type_ is aioxmpp.PresenceType.AVAILABLE
        assert stanza.xep0045_muc is not None
        return stanza

    async def asked_out(self, nick: str = "agi", room: str = TEAM) -> None:
        stanza = await self.next_out()
        assert (str(stanza.to), stanza.type_) == (f"{room}/{nick}", aioxmpp.PresenceType.UNAVAILABLE)

    def let_in(self, nick: str = "agi", *others: str, codes: tuple[int, ...] = (110,), room: str = TEAM) -> None:
        for other in others:
            self.shows(other, room=room)
        self.shows(nick, *codes, room=room)

    def shows(self, nick: str, *codes: int, kind: str = "", reason: str = "", room: str = TEAM) -> None:
        status = "".join(f"<status code='{code}'/>" for code in codes)
        item = f"<item role='none'><reason>{reason}</reason></item>"
        attributes = f"type='{kind}'" if kind else ""
        self.rooms.presence_came(
            presence(f"<presence from='{room}/{nick}' {attributes}><x {USER}>{item}{status}</x></presence>")
        )

    def throws_out(self, *codes: int, nick: str = "agi", reason: str = "", room: str = TEAM) -> None:
        self.shows(nick, 110, *codes, kind="unavailable", reason=reason, room=room)

    def refuses(self, condition: str, nick: str = "agi", room: str = TEAM) -> None:
        self.rooms.presence_came(
            presence(
                f"<presence from='{room}/{nick}' type='error'><error type='auth'><{condition} xmlns='{STANZAS}'/>"
                "</error></presence>"
            )
        )

    async def said(self) -> str:
        """Wait for a message of ours to the room and return its id."""
        stanza = await self.next_out()
        assert (str(stanza.to), stanza.type_) == (TEAM, aioxmpp.MessageType.GROUPCHAT)
        return str(stanza.id_)

    def reflects(self, message_id: str, nick: str = "agi", kind: str = "groupchat", attribute: str = "id") -> None:
        self.rooms.message_came(
            message(f"<message from='{TEAM}/{nick}' type='{kind}' {attribute}='{message_id}'><body>x</body></message>")
        )

    def sends_back(self, message_id: str, condition: str, sender: str = TEAM) -> bool:
        return self.rooms.message_came(
            message(
                f"<message from='{sender}' type='error' id='{message_id}'><error type='auth'>"
                f"<{condition} xmlns='{STANZAS}'/></error></message>"
            )
        )

    def join(self, nick: str = "", password: str = "", timeout: float = 5, room: str = TEAM) -> asyncio.Task[RoomEntry]:
        task = asyncio.create_task(self.rooms.join(room, nick, password, timeout))
        self.tasks.append(task)
        return task

    def speak(self, text: str = "hi", timeout: float = 5, message_id: str = "m1") -> asyncio.Task[None]:
        deadline = asyncio.get_running_loop().time() + timeout
        return asyncio.create_task(self.rooms.send(TEAM, text, message_id, deadline))

    async def be_in(self, *others: str) -> None:
        joining = self.join()
        await self.asked_in()
        self.let_in("agi", *others)
        await joining


MakeHouse = Callable[..., House]


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]
