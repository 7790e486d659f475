"""A component's stream against a server that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from agi_xmpp import pace
from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import LoginFailed, NotConnected, TlsFailed, XmppError
from agi_xmpp.xmpp.component import ComponentSession
from agi_xmpp.xmpp.model import SessionState
from tests.unit.xmpp.conftest import server_context
from tests.unit.xmpp.fake import CLIENT, PASSWORD, PING, Conversation, FakeServer

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@pytest.fixture(autouse=True)
def quick_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST", 0.02)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as fake:
        fake.does.component = True
        yield fake


def settings(server: FakeServer, **changes: Any) -> AccountSettings:
    quick: dict[str, Any] = {
        name: changes.pop(name) for name in ("login_retry", "keepalive", "keepalive_timeout") if name in changes
    }
    values: dict[str, Any] = {
        "type": "component",
        "jid": "agi@phone.fake.test",
        "password": PASSWORD,
        "port": server.port,
    }
    return AccountSettings(**values | changes).model_copy(update=quick)


@contextlib.asynccontextmanager
async def running(server: FakeServer, **changes: Any) -> AsyncIterator[ComponentSession]:
    session = ComponentSession("main", settings(server, **changes))
    await session.start()
    try:
        yield session
    finally:
        await session.stop(0.4)


@contextlib.asynccontextmanager
async def online(server: FakeServer, **changes: Any) -> AsyncIterator[ComponentSession]:
    async with running(server, **changes) as session:
        await session.ready(10)
        yield session


async def refusal(server: FakeServer, **changes: Any) -> XmppError:
    async with running(server, **changes) as session:
        with pytest.raises(XmppError) as caught:
            await session.ready(10, patient=False)
        return caught.value


@pytest.mark.parametrize(
    ("jid", "full"),
    [
        ("phone.fake.test", "phone.fake.test/agi-xmpp"),
        ("agi@phone.fake.test", "agi@phone.fake.test/agi-xmpp"),
        ("agi@phone.fake.test/desk", "agi@phone.fake.test/desk"),
    ],
)
async def test_what_we_send_says_who_we_are(server: FakeServer, jid: str, full: str) -> None:
    async with online(server, jid=jid) as session:
        assert server.conversation.jid == "phone.fake.test"  # the stream is the domain's
        info = session.info()
        assert (info.jid, info.tls, info.resumable, info.connects) == (full, "", False, 1)
        await session.send_message("bob@fake.test", "x")
        assert (await server.hears("message")).get("from") == full


async def test_a_server_that_does_not_run(server: FakeServer) -> None:
    async with running(server, port=1) as session:
        with pytest.raises(NotConnected, match=r"nobody listens at 127\.0\.0\.1:1: is the XMPP server running, and"):
            await session.ready(10, patient=False)


async def test_a_wrong_secret_is_told_once_and_neither_it_nor_its_proof_is_logged(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.does.password = "another"
    async with running(server, login_retry=0.01) as session:
        with pytest.raises(LoginFailed, match=r"secret of the component phone.fake.test \(not-authorized\): it must"):
            await session.ready(10, patient=False)
        await server.until_accepted(3)
        server.does.password = PASSWORD
        await session.ready(10)
    assert PASSWORD not in caplog.text
    assert "<handshake>" not in caplog.text
    errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([record for record in errors if "refuses the secret" in record.getMessage()]) == 1


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("host-unknown", "knows no component phone.fake.test: it must be configured on the server"),
        ("invalid-namespace", "must be the port for components"),
        ("conflict", "has a connection of the component phone.fake.test already (conflict)"),
        ("policy-violation", "refused the stream (policy-violation"),
    ],
)
async def test_a_server_that_does_not_want_us(server: FakeServer, condition: str, words: str) -> None:
    server.does.refuse_with = condition
    error = await refusal(server)
    assert isinstance(error, NotConnected)
    assert words in str(error)


async def test_a_server_that_closes_before_it_says_anything(server: FakeServer) -> None:
    server.does.greeting = b"</x>"
    assert isinstance(await refusal(server), NotConnected)


async def test_a_port_without_tls(server: FakeServer) -> None:
    server.does.greeting = b"<?xml version='1.0'?>"
    error = await refusal(server, tls="direct")
    assert isinstance(error, TlsFailed)
    assert 'does not speak TLS with components; tls = "none"' in str(error)


async def test_tls_needs_a_certificate_for_the_component_s_domain(ca: trustme.CA, ca_file: Any) -> None:
    async with FakeServer(server_context(ca, "phone.fake.test"), direct=True) as server:
        server.does.component = True
        async with online(server, tls="direct", ca_file=ca_file) as session:
            assert session.info().tls.startswith("TLSv1.3")
        error = await refusal(server, tls="direct", ca_file=ca_file, jid="agi@other.fake.test")
        assert isinstance(error, TlsFailed)
        assert "is not valid for other.fake.test" in str(error)


async def test_another_connection_that_throws_us_out_is_not_fought(server: FakeServer) -> None:
    async with online(server, login_retry=0.2) as session:
        server.conversation.end("conflict")
        async with asyncio.timeout(10):
            while session.info().state is not SessionState.WAITING:
                await session._link.next_change()
        assert "another connection of the component phone.fake.test threw us out" in session.info().error
        await session.ready(10)
        assert session.info().connects == 2


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_broken_connection_is_made_anew(server: FakeServer, how: str) -> None:
    async with online(server) as session:
        getattr(server.conversation, how)()
        await server.until_accepted(2)
        await session.ready(10)
        assert session.info().connects == 2
        await session.send_message("bob@fake.test", "still here")


@pytest.mark.parametrize(("domain", "to"), [(None, "phone.fake.test"), ("fake.test", "fake.test")])
async def test_a_server_that_is_there_is_not_taken_for_dead(
    server: FakeServer, caplog: pytest.LogCaptureFixture, domain: str | None, to: str
) -> None:
    pings = 0
    enough = asyncio.Event()

    async def answer(conversation: Conversation, iq: ET.Element) -> None:
        nonlocal pings
        pings += 1
        assert (iq.get("from"), iq.get("to")) == ("agi@phone.fake.test/agi-xmpp", to)
        conversation._answer_iq(iq, iq[0])
        if pings == 3:
            enough.set()

    server.answers[PING + "ping"] = answer
    async with online(server, keepalive=0.05, keepalive_timeout=2, domain=domain) as session:
        await asyncio.wait_for(enough.wait(), 10)
        assert session.info().connects == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_stanzas_in_the_same_segment_as_the_handshake_are_not_lost(server: FakeServer) -> None:
    addresses = "from='bob@fake.test/x' to='agi@phone.fake.test' type='chat'"
    ping = "<iq type='get' id='q' from='bob@fake.test/x' to='phone.fake.test'><ping xmlns='urn:xmpp:ping'/></iq>"
    server.does.after_bind = f"<message {addresses}><body>at <![CDATA[once]]></body></message>{ping}"
    async with online(server) as session:
        assert (await session.receive_message("bob@fake.test", 5)).body == "at once"
        assert (await server.hears("iq")).get("type") == "result"
        assert session.info().connects == 1


async def test_a_handshake_inside_a_message_is_nothing(server: FakeServer) -> None:
    addresses = "from='bob@fake.test/x' to='agi@phone.fake.test' type='chat'"
    async with online(server) as session:
        server.conversation.send(f"<message {addresses}><handshake/><body>1</body></message>")
        assert (await session.receive_message("bob@fake.test", 5)).body == "1"


@pytest.mark.parametrize(
    "end",
    [
        "</stream:stream>",
        "<what xmlns='what:is:this'/>",
        "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    ],
)
async def test_a_stream_that_ends_with_the_handshake_is_begun_anew(server: FakeServer, end: str) -> None:
    server.does.after_bind = end
    async with running(server) as session:
        await server.until_accepted(2)
        server.does.after_bind = ""
        await session.ready(10)
        await session.send_message("bob@fake.test", "x", timeout=5)


async def test_a_silent_server_counts_as_dead(server: FakeServer) -> None:
    server.does.ping = "silent"
    async with online(server, keepalive=0.05, keepalive_timeout=0.05):
        await server.until_accepted(2)


async def test_sent_means_that_the_server_has_come_to_the_ping_behind_it(server: FakeServer) -> None:
    async with online(server) as session:
        server.does.ping = "silent"
        sending = asyncio.create_task(session.send_message("bob@fake.test", "x", timeout=5))
        assert await server.hears_message() == "x"
        server.conversation.reset()
        with pytest.raises(XmppError, match="broke before the server confirmed"):
            await sending


async def test_an_answer_comes_from_the_address_that_was_asked(server: FakeServer) -> None:
    async with online(server):
        for to in ("phone.fake.test", "1001@phone.fake.test", "1001@phone.fake.test/desk"):
            server.conversation.send(
                f"<iq type='get' id='q' from='bob@fake.test/x' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>"
            )
            reply = await server.hears("iq")
            assert (reply.get("type"), reply.get("from"), reply.get("to")) == ("result", to, "bob@fake.test/x")


async def test_we_are_a_gateway(server: FakeServer) -> None:
    async with online(server):
        server.conversation.send(
            "<iq type='get' id='q' from='bob@fake.test/x' to='phone.fake.test'>"
            "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        )
        reply = await server.hears("iq")
        identities = [
            (identity.get("category"), identity.get("type"))
            for identity in reply.iter("{http://jabber.org/protocol/disco#info}identity")
        ]
        assert identities == [("gateway", "pstn")]


async def test_an_element_that_we_do_not_know_ends_the_stream_and_not_the_session(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send("<what xmlns='what:is:this'/>")
        await server.until_accepted(2)
        await session.ready(10)


async def test_the_namespace_on_the_wire_is_the_component_s() -> None:
    """Byte for byte: an XML parser of the test would forgive what servers don't."""
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(await reader.read(4096))  # one segment; ejabberd would not answer a header in pieces
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    session = ComponentSession(
        "main",
        AccountSettings(
            type="component", jid="phone.fake.test", password=SecretStr("x"), port=listener.sockets[0].getsockname()[1]
        ),
    )
    await session.start()
    header = (await asyncio.wait_for(seen, 10)).decode()
    await session.stop(0.2)
    listener.close()
    assert 'xmlns="jabber:component:accept"' in header
    assert "jabber:client" not in header
    assert 'to="phone.fake.test"' in header
    assert CLIENT not in header
