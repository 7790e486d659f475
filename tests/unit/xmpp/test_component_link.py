"""A component's stream against a server that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from agi_xmpp import pace
from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import LoginFailed, NotConnected, TlsFailed, XmppError
from agi_xmpp.xmpp import component_link, stanzas
from agi_xmpp.xmpp.component import ComponentSession
from agi_xmpp.xmpp.model import SessionState, StanzaPort
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


# Raw stanzas

BOB = "bob@fake.test/x"
OURS = "agi@phone.fake.test"
ROOM = "6000@phone.fake.test"


class Host:
    """Takes the stanzas that the test says, and notes all that it is told."""

    def __init__(self, takes: Callable[[ET.Element], bool] = lambda _stanza: True) -> None:
        self.takes = takes
        self.port: StanzaPort
        self.told: asyncio.Queue[ET.Element | str] = asyncio.Queue()

    def stanza_came(self, stanza: ET.Element) -> bool:
        self.told.put_nowait(stanza)
        return self.takes(stanza)

    def stream_began(self) -> None:
        self.told.put_nowait("began")

    def stream_ended(self) -> None:
        self.told.put_nowait("ended")

    async def hears(self) -> ET.Element:
        told = await asyncio.wait_for(self.told.get(), 20)
        assert isinstance(told, ET.Element)
        return told

    async def is_told(self, what: str) -> None:
        assert await asyncio.wait_for(self.told.get(), 20) == what


@contextlib.asynccontextmanager
async def hosted(
    server: FakeServer, host: Host, **changes: Any
) -> AsyncIterator[tuple[ComponentSession, Host, Conversation]]:
    """A session whose stanzas a host gets from the start."""
    session = ComponentSession("main", settings(server, **changes))
    host.port = session.serve_stanzas(host)
    await session.start()
    try:
        await session.ready(10)
        await host.is_told("began")
        assert host.port.online
        yield session, host, server.conversation
    finally:
        await session.stop(0.4)


def message(body: str = "x", to: str = ROOM, more: str = "") -> str:
    return f"<message from='{BOB}' to='{to}' type='chat' id='m1'><body>{body}</body>{more}</message>"


def copy(stanza: ET.Element) -> ET.Element:
    """Return a stanza on its way back to its sender."""
    stanza.attrib["from"], stanza.attrib["to"] = stanza.attrib["to"], stanza.attrib["from"]
    return stanza


async def test_a_host_gets_all_of_a_stanza_and_sends_it_back(server: FakeServer) -> None:
    more = (
        "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/><html xmlns='http://jabber.org/protocol/xhtml-im'>"
        "<body xmlns='http://www.w3.org/1999/xhtml' xml:lang='de'>one <b>two</b></body></html>"
        "<p:x xmlns:p='urn:p' p:k='1'/><forwarded xmlns='urn:xmpp:forward:0'>"
        "<message xmlns='jabber:client'><body>inner</body></message></forwarded>"
    )
    async with hosted(server, Host()) as (_, host, conversation):
        conversation.send(message("1 &lt; 2", more=more))
        came = await host.hears()
        expected = ET.fromstring(
            message("1 &lt; 2", more=more).replace("<message", "<message xmlns='jabber:client'", 1)
        )
        assert ET.canonicalize(ET.tostring(came)) == ET.canonicalize(ET.tostring(expected))
        host.port.send(copy(came))
        back = await server.hears("message")
        assert ET.canonicalize(ET.tostring(back)) == ET.canonicalize(ET.tostring(copy(expected)))


async def test_what_the_host_leaves_goes_the_way_it_always_went(server: FakeServer) -> None:
    async with hosted(server, Host(lambda _stanza: False)) as (session, host, conversation):
        conversation.send(message("for <![CDATA[<the>]]> inbox", OURS))
        assert (await session.receive_message("bob@fake.test", 5)).body == "for <the> inbox"
        conversation.send(f"<iq type='get' id='q' from='{BOB}' to='{ROOM}'><ping xmlns='urn:xmpp:ping'/></iq>")
        assert (await server.hears("iq")).get("type") == "result"
        conversation.send(message(to=ROOM))
        assert (await server.hears("message")).get("type") == "error"  # nobody there
        assert [(await host.hears()).tag for _ in range(3)] == [CLIENT + "message", CLIENT + "iq", CLIENT + "message"]


async def test_what_the_host_takes_reaches_nobody_else(server: FakeServer) -> None:
    async with hosted(server, Host(lambda stanza: stanza.get("id") == "m1")) as (session, _, conversation):
        conversation.send(message("taken", OURS) + message("left", OURS).replace("m1", "m2"))
        assert (await session.receive_message("bob@fake.test", 5)).body == "left"


async def test_what_the_host_raises_is_told_and_the_stanza_is_left(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_stanza: ET.Element) -> bool:
        raise RuntimeError("a fault of the host")

    async with hosted(server, Host(fail)) as (session, _, conversation):
        conversation.send(message("still there", OURS))
        assert (await session.receive_message("bob@fake.test", 5)).body == "still there"
        assert session.info().connects == 1
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info


async def test_a_host_that_takes_everything_does_not_take_our_pings(server: FakeServer) -> None:
    pings = 0
    enough = asyncio.Event()

    async def answer(conversation: Conversation, iq: ET.Element) -> None:
        nonlocal pings
        pings += 1
        conversation._answer_iq(iq, iq[0])
        if pings == 3:
            enough.set()

    server.answers[PING + "ping"] = answer
    async with hosted(server, Host(), keepalive=0.05, keepalive_timeout=2) as (session, _, _):
        await asyncio.wait_for(enough.wait(), 10)
        assert session.info().connects == 1
        await session.send_message("bob@fake.test", "x", timeout=5)


async def test_a_host_knows_of_the_stream_before_any_stanza_comes(server: FakeServer) -> None:
    server.does.after_bind = message("at once") + message("for the inbox", OURS)
    async with hosted(server, Host(lambda stanza: stanza.get("to") == ROOM)) as (session, host, _):
        assert (await host.hears()).findtext(f"{CLIENT}body") == "at once"
        assert (await session.receive_message("bob@fake.test", 5)).body == "for the inbox"


async def test_a_host_that_comes_and_goes_while_we_are_online(server: FakeServer) -> None:
    async with online(server) as session:
        host = Host()
        host.port = session.serve_stanzas(host)
        await host.is_told("began")
        server.conversation.send(message())
        host.port.send(copy(await host.hears()))
        assert await server.hears_message() == "x"
        session.serve_stanzas(None)
        server.conversation.send(message("for the inbox", OURS))
        assert (await session.receive_message("bob@fake.test", 5)).body == "for the inbox"
    assert host.told.empty()


async def test_a_host_that_comes_in_the_middle_of_a_stanza_gets_the_next_one(server: FakeServer) -> None:
    head, body, tail = message("first", OURS).partition("<body>")
    async with online(server) as session:
        server.conversation.send(message("before", OURS) + head)  # one segment
        assert (await session.receive_message("bob@fake.test", 5)).body == "before"
        host = Host()
        session.serve_stanzas(host)
        await host.is_told("began")
        server.conversation.send(body + tail + message("second"))
        assert (await host.hears()).findtext(f"{CLIENT}body") == "second"
        assert (await session.receive_message("bob@fake.test", 5)).body == "first"


async def test_the_end_and_the_next_beginning_are_told(server: FakeServer) -> None:
    async with hosted(server, Host()) as (session, host, conversation):
        conversation.reset()
        await host.is_told("ended")
        with pytest.raises(NotConnected):
            host.port.send(ET.Element(CLIENT + "message"))
        await host.is_told("began")
        server.conversation.send(message("again"))
        assert (await host.hears()).findtext(f"{CLIENT}body") == "again"
        assert session.info().connects == 2
    await host.is_told("ended")


async def test_a_stream_that_is_being_closed_takes_nothing(server: FakeServer) -> None:
    async with hosted(server, Host()) as (session, host, _):
        await session.stop(0.4)
        with pytest.raises(NotConnected):
            host.port.send(ET.Element(CLIENT + "message"))


async def test_ten_thousand_stanzas_in_a_moment_keep_their_order(server: FakeServer) -> None:
    count = 10_000
    async with hosted(server, Host()) as (session, host, conversation):
        for number in range(count):
            stanza = ET.Element(CLIENT + "message", {"from": ROOM, "to": BOB, "id": str(number)})
            ET.SubElement(stanza, CLIENT + "body").text = "x" * 100
            host.port.send(stanza)
            if number == count // 2:  # what the library writes comes between two of ours, never into one
                fence = session._link.request(stanzas.ping(session._link.server))
        heard = [(await server.hears("message")).get("id") for _ in range(count)]
        assert heard == [str(number) for number in range(count)]
        assert (await fence).type_.value == "result"
        conversation.send("".join(message(str(number)) for number in range(count)))
        bodies = [(await host.hears()).findtext(f"{CLIENT}body") for _ in range(count)]
        assert bodies == [str(number) for number in range(count)]


async def test_a_stanza_as_long_as_servers_allow_passes(server: FakeServer) -> None:
    body = "ä&lt;" * ((262_144 - 500) // 6)
    async with hosted(server, Host()) as (_, host, conversation):
        conversation.send(message(body))
        host.port.send(copy(await host.hears()))
        assert await server.hears_message() == body.replace("&lt;", "<")


async def test_a_stanza_with_too_many_levels_is_dropped_with_one_line(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    deep = "<a>" * 100_000 + "</a>" * 100_000
    async with hosted(server, Host()) as (session, host, conversation):
        conversation.send(message(more=deep) + message("next"))
        assert (await host.hears()).findtext(f"{CLIENT}body") == "next"
        assert session.info().connects == 1
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line == f"account main: a stanza of '{BOB}' was dropped: it has more than 200 levels"


async def send_for_ever(port: StanzaPort, stanza: ET.Element) -> None:
    while True:
        port.send(stanza)
        await asyncio.sleep(0)


async def test_a_server_that_does_not_read_is_given_up(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(component_link, "BACKLOG", 1 << 20)
    asleep = asyncio.Event()

    async def answer(_conversation: Conversation, _iq: ET.Element) -> None:
        asleep.set()
        await asyncio.Event().wait()

    server.answers[PING + "ping"] = answer
    stanza = ET.Element(CLIENT + "message")
    stanza.text = "x" * 262_144
    async with hosted(server, Host()) as (session, host, _):
        session._link.request(stanzas.ping(session._link.server))
        await asyncio.wait_for(asleep.wait(), 10)
        with pytest.raises(NotConnected, match="the server has not taken 1 MB that were sent"):
            await send_for_ever(host.port, stanza)
        with pytest.raises(NotConnected):
            host.port.send(stanza)
        await host.is_told("ended")
        await host.is_told("began")
        assert session.info().connects == 2
    assert "connection lost: the server has not taken 1 MB that were sent" in caplog.text


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
async def test_what_is_sent_is_in_the_library_s_log(
    server: FakeServer, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    caplog.set_level(level)
    async with hosted(server, Host()) as (_, host, _):
        host.port.send(ET.Element(CLIENT + "message", {"id": "raw-one"}))
        await server.hears("message")
    assert ("SENT b'<message id=\"raw-one\"/>'" in caplog.text) is (level == logging.DEBUG)
