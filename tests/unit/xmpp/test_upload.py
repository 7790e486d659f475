"""Uploads (XEP-0363): finding the service, asking for a slot, and what can stand in the way."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from agi_xmpp.errors import NotConnected, UploadFailed
from agi_xmpp.xmpp import upload as upload_module
from agi_xmpp.xmpp.session import BaseSession
from agi_xmpp.xmpp.upload import MAX_SERVICES
from tests.unit.xmpp.conftest import server_context
from tests.unit.xmpp.fake import DISCO, Conversation, FakeServer
from tests.unit.xmpp.sessions import online, running
from tests.unit.xmpp.web import Exchange, Web

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

ITEMS = "{http://jabber.org/protocol/disco#items}query"
REQUEST = "{urn:xmpp:http:upload:0}request"
AUDIO = b"RIFF" * 1000

Answer = Callable[[Conversation, ET.Element], Awaitable[None]]


class House:
    """An XMPP server with an upload service, and the web server behind it.

    Attributes:
        services: what the server lists, and what each says of itself.
        slot: what the service answers; ``{web}`` is the web server's address.
        requests: for slots.
        asked: who was asked what they are.
    """

    def __init__(self, server: FakeServer, web: Web) -> None:
        self.server, self.web = server, web
        self.services = {"rooms.fake.test": "", "up.fake.test": feature()}
        self.slot = "<put url='{web}/up/1/v.wav'/><get url='{web}/1/v.wav'/>"
        self.requests: list[ET.Element] = []
        self.asked: list[str] = []
        server.answers = {ITEMS: self._items, f"{DISCO}query": self._info, REQUEST: self._slot}

    async def _items(self, conversation: Conversation, iq: ET.Element) -> None:
        items = "".join(f"<item jid='{jid}'/>" for jid in self.services)
        conversation.result(iq, f"<query xmlns='http://jabber.org/protocol/disco#items'>{items}</query>")

    async def _info(self, conversation: Conversation, iq: ET.Element) -> None:
        who = iq.get("to", "")
        self.asked.append(who)
        conversation.result(
            iq, f"<query xmlns='http://jabber.org/protocol/disco#info'>{self.services.get(who, '')}</query>"
        )

    async def _slot(self, conversation: Conversation, iq: ET.Element) -> None:
        self.requests.append(iq)
        web = f"https://localhost:{self.web.port}"
        conversation.result(iq, f"<slot xmlns='urn:xmpp:http:upload:0'>{self.slot.replace('{web}', web)}</slot>")


def feature(limit: str = "", form_type: str = "urn:xmpp:http:upload:0") -> str:
    form = (
        "<x xmlns='jabber:x:data' type='result'>"
        f"<field var='FORM_TYPE' type='hidden'><value>{form_type}</value></field>"
        f"<field var='max-file-size'><value>{limit}</value></field></x>"
    )
    return "<feature var='urn:xmpp:http:upload:0'/>" + (form if limit else "")


@pytest.fixture
async def house(server: FakeServer, ca: trustme.CA) -> AsyncIterator[House]:
    async with Web(server_context(ca, "localhost")) as web:
        yield House(server, web)


@pytest.fixture
async def session(house: House, ca_file: Path) -> AsyncIterator[BaseSession]:
    async with online(house.server, ca_file=ca_file) as session:
        yield session


async def upload(session: BaseSession, data: bytes = AUDIO, timeout: float = 10.0) -> str:
    return await session.upload("v.wav", data, "audio/wav", timeout)


async def test_a_file_is_stored(house: House, session: BaseSession) -> None:
    """The request is that of XEP-0363, example 5."""
    assert await upload(session) == f"https://localhost:{house.web.port}/1/v.wav"
    assert house.web.exchanges[0].body == AUDIO
    assert house.web.exchanges[0].head[0] == "PUT /up/1/v.wav HTTP/1.1"
    request = house.requests[0]
    assert (request.get("to"), request.get("type")) == ("up.fake.test", "get")
    assert request[0].attrib == {"filename": "v.wav", "size": str(len(AUDIO)), "content-type": "audio/wav"}


async def test_only_the_headers_of_the_xep_are_sent(house: House, session: BaseSession) -> None:
    """Section 5: Authorization, Cookie and Expires in any case, and no others."""
    names = ("Authorization", "cookie", "EXPIRES", "Host", "X-Evil", "Content-Length")
    headers = "".join(f"<header name='{name}'>{name} &#10;value</header>" for name in names)
    house.slot = f"<put url='{{web}}/x'>{headers}</put><get url='{{web}}/x'/>"
    await upload(session)
    sent = house.web.exchanges[0].headers
    assert {name: sent[name] for name in ("authorization", "cookie", "expires")} == {
        "authorization": "Authorization value",
        "cookie": "cookie value",
        "expires": "EXPIRES value",
    }
    assert sent["host"] == f"localhost:{house.web.port}"
    assert sent["content-length"] == str(len(AUDIO))
    assert "x-evil" not in sent


async def test_the_service_is_looked_for_once_a_session(house: House, session: BaseSession) -> None:
    await upload(session)
    asked = len(house.asked)
    await upload(session)
    assert len(house.asked) == asked
    house.server.conversation.reset()
    house.server.does.resume = False
    await house.server.until_accepted(2)
    await session.ready(10)
    await upload(session)
    assert len(house.asked) > asked


async def test_a_service_that_refuses_is_looked_for_anew(house: House, session: BaseSession) -> None:
    await upload(session)
    house.server.answers[REQUEST] = refuse("item-not-found")
    with pytest.raises(UploadFailed, match=r"up\.fake\.test refuses: item-not-found"):
        await upload(session)
    house.services = {"new.fake.test": feature()}
    house.server.answers[REQUEST] = house._slot
    await upload(session)
    assert house.requests[-1].get("to") == "new.fake.test"


async def test_it_can_be_named_in_the_configuration(house: House, ca_file: Path) -> None:
    house.services = {"hidden.fake.test": feature()}
    del house.server.answers[ITEMS]
    async with online(house.server, ca_file=ca_file, upload="hidden.fake.test") as session:
        await upload(session)
    assert house.requests[0].get("to") == "hidden.fake.test"


async def test_the_server_itself_may_be_the_service(house: House, session: BaseSession) -> None:
    house.services = {"fake.test": feature()}
    await upload(session)
    assert house.requests[0].get("to") == "fake.test"


@pytest.mark.parametrize("server", ["component"], indirect=True)
async def test_a_component_asks_the_server_of_the_users(house: House, ca_file: Path) -> None:
    async with online(house.server, ca_file=ca_file, jid="agi.fake.test") as session:
        await upload(session)
    assert house.requests[0].get("from", "").partition("/")[0] == "agi.fake.test"


async def test_without_a_service(house: House, session: BaseSession) -> None:
    house.services = {"rooms.fake.test": ""}
    with pytest.raises(UploadFailed, match=r"^fake\.test has no upload service"):
        await upload(session)


async def test_a_list_without_end_is_not_asked_to_the_end(house: House, session: BaseSession) -> None:
    house.services = {f"s{n}.fake.test": "" for n in range(MAX_SERVICES + 1)} | {"up.fake.test": feature()}
    with pytest.raises(UploadFailed, match="no upload service"):
        await upload(session)
    assert len([who for who in house.asked if who.startswith("s")]) == MAX_SERVICES


async def test_a_silent_service_of_the_list_holds_nobody_up(
    house: House, session: BaseSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_module, "ASK_TIME", 0.05)
    house.services = {"silent.fake.test": "", "up.fake.test": feature()}

    async def info(conversation: Conversation, iq: ET.Element) -> None:
        if iq.get("to") != "silent.fake.test":
            await house._info(conversation, iq)

    house.server.answers[f"{DISCO}query"] = info
    await upload(session)


@pytest.mark.parametrize(
    ("limit", "form", "fits"),
    [
        (f"{len(AUDIO) - 1}", "urn:xmpp:http:upload:0", False),
        (f"{len(AUDIO)}", "urn:xmpp:http:upload:0", True),
        (f" {len(AUDIO) + 1} ", "urn:xmpp:http:upload:0", True),
        ("1", "urn:other", True),
        ("", "urn:xmpp:http:upload:0", True),
        ("-1", "urn:xmpp:http:upload:0", True),
        ("many", "urn:xmpp:http:upload:0", True),
        ("9" * 5000, "urn:xmpp:http:upload:0", True),
    ],
)
async def test_the_limit_that_it_announces(
    house: House, session: BaseSession, limit: str, form: str, fits: bool
) -> None:
    house.services = {"up.fake.test": feature(limit, form)}
    if fits:
        await upload(session)
        return
    with pytest.raises(UploadFailed, match=f"takes files of at most {limit} bytes; this one has {len(AUDIO)}"):
        await upload(session)
    assert house.requests == []


def refuse(condition: str, text: str = "", more: str = "") -> Answer:
    async def answer(conversation: Conversation, iq: ET.Element) -> None:
        words = f"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>{text}</text>" if text else ""
        conversation.send(
            f"<iq type='error' id='{iq.get('id')}' from='{iq.get('to')}'><error type='modify'>"
            f"<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>{words}{more}</error></iq>"
        )

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            refuse("not-acceptable", "File too large.", "<file-too-large xmlns='urn:xmpp:http:upload:0'/>"),
            r"up.fake.test refuses: not-acceptable \(File too large.\)",
        ),
        (
            refuse("resource-constraint", "Quota\n reached", "<retry xmlns='urn:xmpp:http:upload:0' stamp='x'/>"),
            r"up.fake.test refuses: resource-constraint \(Quota reached\)",
        ),
        (refuse("forbidden"), "up.fake.test refuses: forbidden$"),
    ],
)
async def test_refusals_are_said(house: House, session: BaseSession, answer: Answer, words: str) -> None:
    house.server.answers[REQUEST] = answer
    with pytest.raises(UploadFailed, match=words):
        await upload(session)


@pytest.mark.parametrize(
    ("slot", "words"),
    [
        ("<put url='{web}/x'/>", "no valid stanza"),
        ("<get url='{web}/x'/>", "no valid stanza"),
        ("<put/><get url='{web}/x'/>", "no valid stanza"),
        ("<put url='http://localhost/x'/><get url='{web}/x'/>", "that is not https://"),
        ("<put url='{web}/x'/><get url='javascript:alert(1)'/>", "for others that is not https://"),
        ("<put url='{web}/x'/><get url='http://localhost/x'/>", "for others that is not https://"),
        ("<put url='{web}/x'/><get url='{web}/x&#10;More words.'/>", "for others that is not https://"),
    ],
)
async def test_slots_that_are_none(house: House, session: BaseSession, slot: str, words: str) -> None:
    house.slot = slot
    with pytest.raises(UploadFailed, match=words):
        await upload(session)


async def test_an_answer_without_a_slot(house: House, session: BaseSession) -> None:
    async def answer(conversation: Conversation, iq: ET.Element) -> None:
        conversation.result(iq)

    house.server.answers[REQUEST] = answer
    with pytest.raises(UploadFailed, match=r"up\.fake\.test gives no place to upload to"):
        await upload(session)


async def test_a_web_server_that_takes_its_time(house: House, session: BaseSession) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.until_closed()

    house.web.serve = serve
    with pytest.raises(UploadFailed, match=r"was not complete within 0.2 s"):
        await upload(session, timeout=0.2)
    await asyncio.wait_for(house.web.gone.wait(), 10)


async def test_a_break_while_the_slot_is_asked_for(house: House, session: BaseSession) -> None:
    async def answer(conversation: Conversation, iq: ET.Element) -> None:
        house.server.does.resume = False
        conversation.reset()

    house.server.answers[REQUEST] = answer
    with pytest.raises(UploadFailed, match=r"the connection broke while up\.fake\.test was asked"):
        await upload(session)


async def test_without_a_session() -> None:
    async with running(None) as session:
        with pytest.raises(NotConnected):
            await upload(session, timeout=0.05)


async def test_a_ca_file_that_is_gone(house: House, session: BaseSession, ca_file: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"ca_file": tmp_path / "gone.pem"}
    session._uploads._settings = session._settings.model_copy(update=changes)
    with pytest.raises(UploadFailed, match=r"gone.pem: No such file"):
        await upload(session)
