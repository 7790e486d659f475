"""The session against a server that does what real ones do on bad days only."""

from __future__ import annotations

import asyncio
import logging
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp import pace
from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import BadJid, LoginFailed, NotConnected
from agi_xmpp.xmpp import link as link_module
from agi_xmpp.xmpp import session as session_module
from agi_xmpp.xmpp.client import ClientSession
from agi_xmpp.xmpp.component import make_session
from agi_xmpp.xmpp.model import SessionState, Show
from tests.unit.xmpp.fake import PASSWORD, PING, Conversation, FakeServer
from tests.unit.xmpp.sessions import BOB, BOTH, lines, online, presence, running, say, settings, until_state

pytestmark = pytest.mark.usefixtures("nothing_left_behind", "quick_pace")


# Login


@BOTH
async def test_what_is_asked_before_the_start_waits_for_it(server: FakeServer) -> None:
    session = make_session("main", settings(server))
    session.queue_message(BOB, "queued")
    sending = asyncio.ensure_future(session.send_message(BOB, "sent"))
    await asyncio.sleep(0.05)
    await session.start()
    await sending
    async with asyncio.timeout(5):
        while session._sending._queue:
            await asyncio.sleep(0.01)
    assert session.info().sent == 2
    await session.stop()
    with pytest.raises(NotConnected, match="main is stopped"):
        await session.send_message(BOB, "too late")


async def test_a_session_that_was_never_started_is_over_when_stopped(server: FakeServer) -> None:
    session = make_session("main", settings(server))
    waiting = asyncio.ensure_future(session.presence(BOB, timeout=10))
    await asyncio.sleep(0)
    await session.stop()
    with pytest.raises(NotConnected, match="main is stopped"):
        await asyncio.wait_for(waiting, 1)


async def test_a_session_tells_how_it_is(server: FakeServer) -> None:
    session = make_session("main", settings(server))
    assert session.account == "main"
    assert session.info().state is SessionState.STOPPED
    await session.start()
    assert session.info().state is SessionState.CONNECTING
    await session.ready(10)
    info = session.info()
    assert (info.account, info.jid, info.state) == ("main", "agi@fake.test/pbx", SessionState.ONLINE)
    assert (info.tls, info.resumable, info.connects, info.error) == ("", True, 1, "")
    assert abs(time.time() - info.since) < 10
    await session.stop()
    assert session.info().state is SessionState.STOPPED
    assert session.info().resumable is False


async def test_without_a_resource_the_server_gives_one(server: FakeServer) -> None:
    async with online(server, jid="agi@fake.test") as session:
        assert session.info().jid == "agi@fake.test/given-by-server"


@pytest.mark.parametrize(("sm", "resume"), [(False, True), (True, False)])
async def test_resumable_is_said_only_if_it_is(server: FakeServer, sm: bool, resume: bool) -> None:
    server.does.sm, server.does.resume = sm, resume
    async with online(server) as session:
        assert session.info().resumable is False


async def test_resumption_can_be_turned_off(server: FakeServer) -> None:
    async with online(server, resume_timeout=0) as session:
        assert session._link.acknowledges
        assert session.info().resumable is False


@BOTH
async def test_start_returns_at_once_and_an_outage_at_start_ends_nothing(server: FakeServer) -> None:
    await server.refuse()
    async with running(server) as session:
        with pytest.raises(
            NotConnected, match=rf"127\.0\.0\.1:{server.port}: (Connection refused|is the XMPP server running)"
        ):
            await session.ready(10, patient=False)
        await server.listen()
        await session.ready(10)
        assert session.info().error == ""


@BOTH
async def test_ready_waits_no_longer_than_told(server: FakeServer) -> None:
    server.does.greeting = b""
    async with running(server) as session:
        with pytest.raises(NotConnected, match=r"no session within 0\.05 s"):
            await session.ready(0.05)


async def test_a_wrong_password_is_told_once_and_tried_again_slowly(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = tmp_path / "secret"
    secret.write_text("hunter2-is-not-it\n")
    async with running(server, password=None, password_file=secret, login_retry=0.3) as session:
        with pytest.raises(LoginFailed) as caught:
            await session.ready(10, patient=False)
        sentence = "the server refuses the password of agi@fake.test (not-authorized)"
        assert str(caught.value) == sentence == session.info().error
        assert session.info().state is SessionState.WAITING
        begun = time.monotonic()
        await server.until_accepted(3)
        assert time.monotonic() - begun > 0.5  # two pauses, less a little
        assert lines(caplog) == [f"account main: {sentence}; trying again every 0.3 s"]
        secret.write_text(PASSWORD)  # the administrator mends it; no restart is needed
        await session.ready(10)
        assert session.info().error == ""
    assert "hunter2" not in caplog.text
    assert PASSWORD not in caplog.text


async def test_a_password_that_cannot_be_had_is_told(server: FakeServer, tmp_path: Path) -> None:
    missing = tmp_path / "none"
    async with running(server, password=None, password_file=missing) as session:
        with pytest.raises(LoginFailed, match=r"no password for agi@fake.test: password_file .* No such file"):
            await session.ready(10, patient=False)
    assert server.accepted == 0


async def test_a_server_that_cannot_check_passwords_just_now_is_tried_again_soon(server: FakeServer) -> None:
    server.does.sasl_failure = "temporary-auth-failure"
    async with running(server) as session:
        with pytest.raises(NotConnected, match="cannot check passwords at the moment"):
            await session.ready(10, patient=False)
        server.does.sasl_failure = ""
        await session.ready(5)


async def test_a_bad_address_in_the_settings_is_refused() -> None:
    with pytest.raises(BadJid):
        ClientSession("main", settings(None, jid='a"b@fake.test'))
    with pytest.raises(BadJid):
        ClientSession("main", settings(None, buddies=["b\u200b&ob@fake.test"]))


async def test_an_account_that_trusts_everybody_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with running(None, accept_any_certificate=True):
        assert any("accept_any_certificate is on" in line for line in lines(caplog))


# Faults of the connection


async def test_a_server_that_refuses_to_bind_is_tried_again_with_a_new_client(
    server: FakeServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "REPLACE_DELAY", 0.01)
    server.does.bind_failure = True
    async with running(server) as session:
        await server.until_accepted(2)
        assert "Resource binding failed" in session.info().error
        server.does.bind_failure = False
        await session.ready(10)
    await server.until_closed()
    assert len(lines(caplog)) == 1


async def test_a_conflict_is_told_once_and_not_answered_by_a_fight(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with online(server, login_retry=0.4) as session:
        begun = time.monotonic()
        server.conversation.send(
            "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
        )
        await until_state(session, SessionState.WAITING)
        assert "another login with the resource of agi@fake.test/pbx threw us out" in session.info().error
        await server.until_accepted(2)
        assert time.monotonic() - begun > 0.3
        await session.ready(10)
    assert sum("another login" in line for line in lines(caplog)) == 1


async def test_a_stream_error_after_every_login_makes_no_hot_loop(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "FIRST", 0.25)
    server.does.after_bind = (
        "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    )
    async with running(server) as session:
        await server.until_accepted(1)
        begun = time.monotonic()
        await server.until_accepted(3)
        # 0.25 + 0.5 s, each less a fifth; aioxmpp alone makes 340 connections in 4 s
        assert time.monotonic() - begun > 0.55
        server.does.after_bind = ""
        await session.ready(10)


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_broken_connection_is_noticed_and_the_stream_resumed(server: FakeServer, how: str) -> None:
    async with online(server) as session:
        getattr(server.conversation, how)()
        await until_state(session, SessionState.SUSPENDED)
        await session.ready(10)
        assert server.resumed.is_set()
        assert session.info().connects == 1  # still the same session
        await session.send_message(BOB, "still here")
        assert await server.hears_message() == "still here"


async def test_a_session_that_cannot_be_resumed_begins_anew(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(presence("phone"))
        assert (await session.presence(BOB, timeout=5)).show is Show.ONLINE
        server.stream = None  # the server was restarted
        server.conversation.fin()
        await until_state(session, SessionState.SUSPENDED)
        await session.ready(10)
        assert session.info().connects == 2
        assert (await session.presence(BOB)).show is Show.OFFLINE


@BOTH
async def test_a_server_that_closes_in_order_is_dialled_again(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send("</stream:stream>")
        await server.until_accepted(2)
        await session.ready(10)


async def test_a_silent_server_counts_as_dead(server: FakeServer) -> None:
    async with online(server, keepalive=0.2, keepalive_timeout=0.2) as session:
        server.does.ack = False
        server.answers[PING + "ping"] = _silence
        await until_state(session, SessionState.SUSPENDED)
        server.does.ack = True
        await session.ready(10)


async def test_where_the_server_would_have_us_resume_is_ignored(server: FakeServer) -> None:
    async with FakeServer() as elsewhere:
        server.does.sm_attributes = f"location='127.0.0.1:{elsewhere.port}'"
        async with online(server) as session:
            server.conversation.fin()
            await until_state(session, SessionState.SUSPENDED)
            await session.ready(10)
            assert elsewhere.accepted == 0


async def test_a_fault_in_the_library_ends_nothing(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link_module, "REPLACE_DELAY", 0.01)
    session = make_session("main", settings(server))
    connect = session._link._connector.connect

    async def fail_once(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(session._link._connector, "connect", connect)
        raise ZeroDivisionError

    monkeypatch.setattr(session._link._connector, "connect", fail_once)
    await session.start()
    await session.ready(10)
    await session.stop()
    assert "account main: unexpected error, beginning anew" in lines(caplog)


@BOTH
async def test_a_handler_that_fails_does_not_end_the_stream(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with online(server) as session:
        put = session._inbox.put

        def fail_once(message: Any) -> bool:
            monkeypatch.setattr(session._inbox, "put", put)
            raise ZeroDivisionError

        monkeypatch.setattr(session._inbox, "put", fail_once)
        server.conversation.send(say("lost") + say("heard"))
        assert (await session.receive_message(BOB, 5)).body == "heard"
    assert any("a handler failed" in line for line in lines(caplog))
    assert server.accepted == 1


# Stopping


@BOTH
@pytest.mark.parametrize("greeting", [b"", b"<?xml version='1.0'?><stream:stream xmlns='jabber:client'"])
async def test_stop_does_not_wait_for_a_server_that_says_nothing(server: FakeServer, greeting: bytes) -> None:
    server.does.greeting = greeting
    async with running(server) as session:
        await server.until_accepted(1)
        async with asyncio.timeout(1):
            await session.stop(0.2)
    await server.until_closed()


@BOTH
async def test_stop_does_not_wait_for_a_server_that_went_silent(server: FakeServer) -> None:
    async with online(server) as session:
        server.does.greeting = b""
        begun = time.monotonic()
        await session.stop(0.7)
        assert time.monotonic() - begun < 1.5
    await server.until_closed()


async def test_stop_does_not_wait_for_the_dns() -> None:
    session = ClientSession("main", AccountSettings.model_validate({"jid": "agi@fake.test", "password": PASSWORD}))
    asked = asyncio.Event()

    async def find(*_arguments: object, **_options: object) -> list[Any]:
        asked.set()
        await asyncio.Event().wait()
        return []

    session._link._connector._find = find
    await session.start()
    await asked.wait()
    async with asyncio.timeout(1):
        await session.stop(0.2)


async def test_stop_in_an_outage_and_twice_and_before_the_start(server: FakeServer) -> None:
    session = ClientSession("main", settings(None))
    await session.stop()
    assert session.info().state is SessionState.STOPPED
    async with running(None) as other:
        await until_state(other, SessionState.WAITING)
        await other.stop(0)
        await other.stop(0)


@BOTH
async def test_stop_ends_the_waits_with_a_reason(server: FakeServer) -> None:
    async with online(server) as session:
        wait = asyncio.create_task(session.receive_message(BOB, 20))
        await asyncio.sleep(0)
        await session.stop()
        with pytest.raises(NotConnected, match="is being stopped"):
            await wait
        with pytest.raises(NotConnected, match="is being stopped"):
            await session.receive_message(BOB, 20)
        with pytest.raises(NotConnected, match="is being stopped"):
            session.queue_message(BOB, "x")
        with pytest.raises(NotConnected, match="is stopped"):
            await session.send_message(BOB, "x")


# Receiving


@BOTH
async def test_an_answer_brings_all_that_is_known(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(say("1", more="<thread>call-1</thread>"))
        message = await session.receive_message(BOB, 5)
        assert (str(message.sender), message.body, message.type) == (f"{BOB}/phone", "1", "chat")
        assert (message.id, message.thread, message.carbon) == ("m-1", "call-1", False)
        assert session.info().received == 1


@BOTH
async def test_a_wait_ends_in_time(server: FakeServer) -> None:
    async with online(server) as session:
        with pytest.raises(TimeoutError, match=r"bob@fake\.test sent nothing within 0\.01 s"):
            await session.receive_message(BOB, 0.01)
        with pytest.raises(BadJid):
            await session.receive_message("@", 1)
        assert session.info().waiting == 0


@BOTH
async def test_a_hangup_in_the_moment_of_the_answer_loses_nothing(server: FakeServer) -> None:
    async with online(server) as session:
        gone = asyncio.create_task(session.receive_message(BOB, 20, thread="call-1"))
        await asyncio.sleep(0)
        (future,) = session._receiving
        future.add_done_callback(lambda _future: gone.cancel())
        server.conversation.send(say("1"))
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert (await session.receive_message(BOB, 5)).body == "1"


@BOTH
async def test_a_wait_survives_a_restart_of_the_server(server: FakeServer) -> None:
    server.does.resume = False
    async with online(server) as session:
        wait = asyncio.create_task(session.receive_message(BOB, 20))
        await asyncio.sleep(0)
        server.conversation.fin()
        await server.until_accepted(2)
        await session.ready(10)
        server.conversation.send(say("back"))
        assert (await wait).body == "back"


DELAY = "<delay xmlns='urn:xmpp:delay' stamp='{}'/>"


@BOTH
async def test_old_mail_is_no_answer(server: FakeServer) -> None:
    async with online(server) as session:
        await session.send_message(BOB, "?", thread="call-1")
        wait = asyncio.create_task(session.receive_message(BOB, 20, thread="call-1"))
        await asyncio.sleep(0)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        server.conversation.send(say("yesterday", more=DELAY.format("2020-01-01T00:00:00Z")))
        server.conversation.send(say("just-now", more=DELAY.format(now)))
        assert (await wait).body == "just-now"


@BOTH
@pytest.mark.parametrize(
    "more",
    [
        DELAY.format("yesterday"),
        "<delay xmlns='urn:xmpp:delay'/>",
        "<received xmlns='urn:xmpp:receipts'/>",
        "<forwarded xmlns='urn:xmpp:forward:0'><message/></forwarded>",
        "some text",
        "<active xmlns='http://jabber.org/protocol/chatstates'><x/></active>",
        "<thread/>",
        "<x xmlns='jabber:x:oob'><url>http://[</url></x>",
        "<error/>",
    ],
)
async def test_an_extension_that_cannot_be_read_does_not_cost_the_message(server: FakeServer, more: str) -> None:
    async with online(server) as session:
        server.conversation.send(say("yes", more=more))
        assert (await session.receive_message(BOB, 5)).body == "yes"
        assert server.accepted == 1


@BOTH
@pytest.mark.parametrize(
    "junk",
    [
        "<message from='a b@@' type='chat'><body>x</body></message>",
        "<message/>",
        "<message type='error'/>",
        "<message type='error' from='x.test'><error type='what'/></message>",
        "<message from='bob@fake.test/x'><body/></message>",
        "<presence from='@' type='subscribe'/>",
        "<presence type='nonsense' from='bob@fake.test/x'/>",
        "<iq type='get' id='1' from='bob@fake.test/x'/>",
        "<iq type='result' id='never-asked' from='bob@fake.test/x'/>",
        "<iq type='what' id='1'/>",
        "<presence from='bob@fake.test/x'><show>partying</show><priority>high</priority></presence>",
        "<presence from='bob@fake.test/x'><priority>99999999999999999999</priority></presence>",
    ],
)
async def test_a_stanza_that_is_junk_does_not_end_the_stream(server: FakeServer, junk: str) -> None:
    async with online(server) as session:
        server.conversation.send(junk + say("still-here"))
        assert (await session.receive_message(BOB, 5)).body == "still-here"
        assert server.accepted == 1


@BOTH
async def test_a_message_in_two_languages_has_one_text(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(say("eins", more="<body xml:lang='en'>one</body>"))
        assert (await session.receive_message(BOB, 5)).body == "eins"
        server.conversation.send(f"<message from='{BOB}/x'><body xml:lang='en'>one</body></message>")
        assert (await session.receive_message(BOB, 5)).body == "one"


# Presence, roster, subscriptions


@BOTH
async def test_a_contact_s_presence(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(
            presence("phone", more="<show>away</show><status>lunch</status><priority>5</priority>")
        )
        found = await session.presence(BOB, timeout=5)
        assert (found.show, found.status, found.resource, found.priority) == (Show.AWAY, "lunch", "phone", 5)
        server.conversation.send(presence("phone", more="<priority>high</priority>"))
        server.conversation.send(presence("", kind="error") + say("mark"))
        await session.receive_message(BOB, 5)
        assert (await session.presence(BOB)).show is Show.OFFLINE


async def test_a_presence_that_comes_a_moment_after_the_login_is_waited_for(server: FakeServer) -> None:
    async with online(server) as session:
        looking = asyncio.create_task(session.presence(BOB, timeout=5))
        await server.hears("presence")
        server.conversation.send(presence("phone"))
        assert (await looking).show is Show.ONLINE


@BOTH
async def test_but_not_for_ever(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "SETTLE_TIME", 0.05)
    async with online(server) as session:
        assert (await session.presence(BOB, timeout=20)).show is Show.OFFLINE
        assert (await session.presence("carol@fake.test", timeout=20)).show is Show.NOT_IN_ROSTER


async def test_without_a_session_nothing_is_known(server: FakeServer) -> None:
    async with running(None) as session:
        with pytest.raises(NotConnected):
            await session.presence(BOB)
        with pytest.raises(BadJid):
            await session.presence("")


# What others may ask us


async def ask(server: FakeServer, payload: str) -> ET.Element:
    server.conversation.send(f"<iq type='get' id='q1' from='{BOB}/phone' to='agi@fake.test/pbx'>{payload}</iq>")
    reply = await server.hears("iq")
    assert (reply.get("id"), reply.get("to")) == ("q1", f"{BOB}/phone")
    return reply


@BOTH
async def test_a_ping_is_answered(server: FakeServer) -> None:
    async with online(server):
        assert (await ask(server, "<ping xmlns='urn:xmpp:ping'/>")).get("type") == "result"


@BOTH
async def test_our_version_is_told(server: FakeServer) -> None:
    async with online(server):
        reply = await ask(server, "<query xmlns='jabber:iq:version'/>")
        assert reply.findtext(".//{jabber:iq:version}name") == "agi-xmpp"
        assert reply.find(".//{jabber:iq:version}os") is None


async def test_our_identity_is_told(server: FakeServer) -> None:
    async with online(server):
        reply = await ask(server, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        identity = reply.find(".//{http://jabber.org/protocol/disco#info}identity")
        assert identity is not None
        assert (identity.get("category"), identity.get("type"), identity.get("name")) == ("client", "bot", "agi-xmpp")


@BOTH
async def test_what_we_do_not_know_is_service_unavailable(server: FakeServer) -> None:
    async with online(server):
        reply = await ask(server, "<query xmlns='what:is:this'/>")
        assert reply.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}service-unavailable") is not None


# Logs


@BOTH
async def test_texts_are_logged_at_debug_only(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with online(server) as session:
        await session.send_message(BOB, "private-out")
        server.conversation.send(say("private-in"))
        await session.receive_message(BOB, 5)
    assert "private" not in caplog.text


@BOTH
async def test_the_password_is_not_logged_even_at_debug(server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with online(server):
        pass
    assert "fake.test" in caplog.text
    assert PASSWORD not in caplog.text


@BOTH
@pytest.mark.parametrize(
    "child", ["<x xmlns='a b'/>", "<x xmlns='http://www.w3.org/XML/1998/namespace'/>", "<xml:x xml:y='1'/>"]
)
async def test_a_stranger_cannot_end_the_stream_by_an_odd_name(server: FakeServer, child: str) -> None:
    async with online(server) as session:
        to = f"to='{session.info().jid}' from='{BOB}/pc' type='chat'"
        server.conversation.send(f"<message {to}>{child}<body>1</body>{child}</message>")
        assert (await session.receive_message(BOB, 5)).body == "1"
        assert session.info().connects == 1


async def _silence(_conversation: Conversation, _iq: ET.Element) -> None:
    """Answer nothing."""
