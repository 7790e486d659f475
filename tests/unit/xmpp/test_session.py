"""The session against a server that does what real ones do on bad days only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agi_xmpp import pace
from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import (
    BadJid,
    BadText,
    Bounced,
    ConfigError,
    LoginFailed,
    NotAcknowledged,
    NotConfirmed,
    NotConnected,
)
from agi_xmpp.xmpp import link as link_module
from agi_xmpp.xmpp import session as session_module
from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.component import make_session
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Extras, SessionState, Show
from agi_xmpp.xmpp.session import BaseSession, ClientSession
from tests.unit.xmpp.fake import CARBONS, CLIENT, PASSWORD, PING, ROSTER, Conversation, FakeServer

BOB = "bob@fake.test"
pytestmark = pytest.mark.usefixtures("nothing_left_behind")

#: The test holds for a client's login and for a component alike.
BOTH = pytest.mark.parametrize("server", ["client", "component"], indirect=True)

RECEIPT = "{urn:xmpp:receipts}"
DEAD_PORT = 1  # nobody listens there


@pytest.fixture(autouse=True)
def quick_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST", 0.02)


def settings(server: FakeServer | None, **changes: Any) -> AccountSettings:
    values: dict[str, Any] = {
        "jid": "agi@fake.test/pbx",
        "password": PASSWORD,
        "server": "127.0.0.1",
        "port": server.port if server else DEAD_PORT,
        "tls": "none",
        "buddies": [BOB],
        "subscribe": False,
        "type": "component" if server and server.does.component else "client",
    }
    # Not even the configuration allows as little time as a test has.
    quick: dict[str, Any] = {
        name: changes.pop(name) for name in ("login_retry", "keepalive", "keepalive_timeout") if name in changes
    }
    return AccountSettings(**values | changes).model_copy(update=quick)


@contextlib.asynccontextmanager
async def running(server: FakeServer | None, **changes: Any) -> AsyncIterator[BaseSession]:
    session = make_session("main", settings(server, **changes))
    await session.start()
    try:
        yield session
    finally:
        await session.stop(0.4)


@contextlib.asynccontextmanager
async def online(server: FakeServer, **changes: Any) -> AsyncIterator[BaseSession]:
    async with running(server, **changes) as session:
        await session.ready(10)
        yield session


def say(body: str, *, sender: str = f"{BOB}/phone", kind: str = "chat", more: str = "") -> str:
    attributes = f"from='{sender}' to='agi@fake.test/pbx' type='{kind}' id='m-{body}'"
    return f"<message {attributes}><body>{body}</body>{more}</message>"


def bounce(message: ET.Element, sender: str = BOB) -> str:
    return (
        f"<message type='error' from='{sender}' to='agi@fake.test/pbx' id='{message.get('id')}'><body>echo</body>"
        "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no such\n user</text></error></message>"
    )


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= level and r.name.startswith("agi_xmpp")]


async def until_state(session: BaseSession, state: SessionState) -> None:
    async with asyncio.timeout(20):
        while session.info().state is not state:
            await session._link.next_change()


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
        while session._queue:
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


# Sending


@BOTH
async def test_sent_means_that_the_server_has_it(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(f"{BOB}/phone", "one & <two>", thread="call-1.2")
        heard = await server.hears("message")
        assert heard.get("id") == message_id
        assert (heard.get("to"), heard.get("type")) == (f"{BOB}/phone", "chat")
        assert heard.findtext(f"{CLIENT}body") == "one & <two>"
        assert heard.findtext(f"{CLIENT}thread") == "call-1.2"
        assert heard.find(f"{RECEIPT}request") is None
        assert session.info().sent == 1


@BOTH
async def test_an_id_of_one_s_own_is_used(server: FakeServer) -> None:
    async with online(server) as session:
        assert await session.send_message(BOB, "x", message_id="mine-1") == "mine-1"
        assert (await server.hears("message")).get("id") == "mine-1"
        with pytest.raises(BadText):
            await session.send_message(BOB, "x", message_id="\x00")


@pytest.mark.parametrize("answer", ["result", "error"])
async def test_without_acknowledgements_a_ping_behind_the_message_confirms_it(server: FakeServer, answer: str) -> None:
    server.does.sm, server.does.ping = False, answer
    async with online(server) as session:
        await session.send_message(BOB, "x")
        assert await server.hears_message() == "x"


async def test_a_server_without_both_confirms_nothing(server: FakeServer) -> None:
    server.does.sm, server.does.ping = False, "silent"
    async with online(server) as session:
        with pytest.raises(NotConfirmed):
            await session.send_message(BOB, "x", timeout=0.1)


async def test_a_server_that_answers_no_pings_costs_a_moment_only(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "FENCE_TIME", 0.01)
    server.does.ping = "silent"
    async with online(server) as session:
        await session.send_message(BOB, "x", timeout=5)


async def test_without_an_acknowledgement_nothing_is_claimed(server: FakeServer) -> None:
    server.does.ack = False
    async with online(server) as session:
        with pytest.raises(NotConfirmed, match="did not confirm the message in time; it may have arrived"):
            await session.send_message(BOB, "x", timeout=0.1)
        assert session.info().sent == 0


async def test_a_connection_that_breaks_for_good_leaves_a_doubt(server: FakeServer) -> None:
    server.does.ack, server.does.resume = False, False
    async with online(server) as session:
        sending = asyncio.create_task(session.send_message(BOB, "x"))
        await server.hears_message()
        server.conversation.reset()
        with pytest.raises(NotConfirmed, match="broke before the server confirmed"):
            await sending


async def test_a_break_in_mid_send_is_healed_by_resumption(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        session_module, "FENCE_TIME", 0.05
    )  # the fake does not send its own unacknowledged stanzas again
    server.does.ack = False
    async with online(server) as session:
        sending = asyncio.create_task(session.send_message(BOB, "x"))
        await server.hears_message()
        server.does.ack = True
        server.conversation.fin()
        await sending
        assert server.resumed.is_set()


async def test_messages_keep_their_order_over_a_resumption(server: FakeServer) -> None:
    server.does.ack = False
    async with online(server) as session:
        sending = [asyncio.create_task(session.send_message(BOB, str(number))) for number in range(5)]
        for _ in sending:
            await server.hears_message()
        assert server.stream is not None
        server.stream.handled -= 10  # the server lost the five messages and their pings
        server.does.ack = True
        server.conversation.fin()
        assert [await server.hears_message() for _ in sending] == ["0", "1", "2", "3", "4"]
        await asyncio.gather(*sending)


@BOTH
async def test_a_message_waits_for_a_session(server: FakeServer) -> None:
    await server.refuse()
    async with running(server) as session:
        sending = asyncio.create_task(session.send_message(BOB, "x", timeout=10))
        await until_state(session, SessionState.WAITING)
        await server.listen()
        await sending
        assert await server.hears_message() == "x"


async def test_and_is_not_sent_if_there_is_none_in_time() -> None:
    async with running(None) as session:
        with pytest.raises(NotConnected, match=r"account main is not connected: no connection to 127\.0\.0\.1:1:"):
            await session.send_message(BOB, "x", timeout=0.1)


@BOTH
async def test_nothing_bad_is_sent(server: FakeServer) -> None:
    async with online(server, max_body=10) as session:
        for text in ("", "x" * 11, "bell\a", "\ufffe", "\ud800"):
            with pytest.raises(BadText):
                await session.send_message(BOB, text)
            with pytest.raises(BadText):
                session.queue_message(BOB, text)
        with pytest.raises(BadJid):
            await session.send_message("nobody@", "x")
        with pytest.raises(BadJid):
            session.queue_message("nobody@", "x")
        await session.send_message(BOB, "x" * 10)
        assert await server.hears_message() == "x" * 10


async def test_a_cancelled_send_that_has_not_left_never_leaves(server: FakeServer) -> None:
    server.does.ack = False
    async with online(server) as session:
        server.does.greeting = b""  # the server reads nothing any more
        sending = asyncio.create_task(session.send_message(BOB, "x"))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not session._sending


async def test_messages_on_their_way_are_limited(server: FakeServer) -> None:
    server.does.ack = False
    async with online(server) as session:
        session._window = asyncio.Semaphore(1)
        first = asyncio.create_task(session.send_message(BOB, "1"))
        await server.hears_message()
        with pytest.raises(NotConnected, match="on their way already; nothing was sent"):
            await session.send_message(BOB, "2", timeout=0.05)
        server.conversation.acknowledge()
        await first
        server.does.ack = True
        await session.send_message(BOB, "3")


# Bounces and receipts


@BOTH
async def test_a_bounce_that_comes_at_once_is_told_to_the_sender(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def bounce_first(conversation: Conversation, iq: ET.Element) -> None:
        conversation.send(bounce(await server.hears("message")))
        conversation.result(iq)

    async with online(server) as session:
        server.answers[PING + "ping"] = bounce_first
        with pytest.raises(
            Bounced, match=r"bob@fake.test: the message came back: item-not-found \(no such user\)"
        ) as e:
            await session.send_message(BOB, "x", thread="call-1")
        assert e.value.condition == "item-not-found"
        assert session.info().sent == 0
        with pytest.raises(Bounced):  # who waits all the same does not wait in vain
            await session.receive_message(BOB, 20, thread="call-1")
    assert lines(caplog) == []


@BOTH
@pytest.mark.parametrize("early", [False, True])
async def test_a_late_bounce_is_logged_and_ends_the_wait(
    server: FakeServer, caplog: pytest.LogCaptureFixture, early: bool
) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "the text is private", thread="call-1")
        message = await server.hears("message")
        if early:
            server.conversation.send(bounce(message) + say("mark", sender="carol@fake.test/x"))
            await session.receive_message("carol@fake.test", 5)
        wait = asyncio.create_task(session.receive_message(BOB, 20, thread="call-1"))
        other = asyncio.create_task(session.receive_message(BOB, 20, thread="call-2"))
        await asyncio.sleep(0)
        if not early:
            server.conversation.send(bounce(message))
        with pytest.raises(Bounced) as caught:
            await wait
        assert caught.value.condition == "item-not-found"
        server.conversation.send(say("for the other"))
        assert (await other).body == "for the other"
    assert lines(caplog) == [
        f"account main: message {message_id} to bob@fake.test: the message came back: item-not-found (no such user)"
    ]


@BOTH
async def test_a_bounce_is_never_an_answer_and_a_forged_one_is_nothing(server: FakeServer) -> None:
    async with online(server) as session:
        await session.send_message(BOB, "x", thread="call-1")
        message = await server.hears("message")
        wait = asyncio.create_task(session.receive_message(BOB, 20, thread="call-1"))
        await asyncio.sleep(0)
        server.conversation.send(bounce(message, "eve@fake.test/x") + bounce(message, "bob@fake.test.evil"))
        server.conversation.send(say("echo of something", kind="error") + say("yes"))
        assert (await wait).body == "yes"


async def test_an_error_that_cannot_be_read_is_still_a_bounce(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", thread="call-1")
        server.conversation.send(
            f"<message type='error' from='{BOB}' id='{message_id}'><error><huh/></error></message>"
        )
        with pytest.raises(Bounced, match="without a reason"):
            await session.receive_message(BOB, 5, thread="call-1")


@BOTH
async def test_delivered_waits_for_the_addressee_s_receipt(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", receipt=True)
        assert (await server.hears("message")).find(f"{RECEIPT}request") is not None
        receipt = f"<received xmlns='urn:xmpp:receipts' id='{message_id}'/>"
        server.conversation.send(f"<message from='eve@fake.test/x'>{receipt}</message>")
        with pytest.raises(NotAcknowledged, match=r"bob@fake\.test sent no receipt within 0\.05 s"):
            await session.delivered(message_id, 0.05)
        server.conversation.send(f"<message from='{BOB}/desk'>{receipt}</message>")
        await session.delivered(message_id, 5)
        await session.delivered(message_id, 5)  # known by now


@BOTH
async def test_delivered_ends_with_a_bounce(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", receipt=True)
        wait = asyncio.create_task(session.delivered(message_id, 20))
        server.conversation.send(bounce(await server.hears("message")))
        with pytest.raises(Bounced):
            await wait


async def test_delivered_needs_a_message_that_asked(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x")
        for name in (message_id, "never-sent"):
            with pytest.raises(NotAcknowledged, match="no receipt was asked for"):
                await session.delivered(name, 5)


MARKERS = "urn:xmpp:chat-markers:0"
MARKABLE = Extras(markable=True)
OWN = "agi@fake.test"


def displayed(message_id: str, sender: str) -> str:
    return f"<message type='chat' from='{sender}'><displayed xmlns='{MARKERS}' id='{message_id}'/></message>"


@BOTH
async def test_seen_waits_for_a_client_of_the_addressee(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", extras=MARKABLE)
        assert (await server.hears("message")).find(f"{{{MARKERS}}}markable") is not None
        for stranger in ("eve@fake.test/x", "bob@fake.test.evil/phone"):
            server.conversation.send(displayed(message_id, stranger))
        with pytest.raises(NotAcknowledged, match=r"no client of bob@fake\.test has said within 0\.05 s"):
            await session.seen(message_id, 0.05)
        server.conversation.send(displayed(message_id, f"{BOB}/desk"))
        await session.seen(message_id, 5)
        await session.seen(message_id, 5)  # known by now


async def test_seen_knows_of_what_was_read_on_another_client_of_ours(server: FakeServer) -> None:
    """The read mark went to another resource of our account, and comes as a carbon copy (XEP-0280)."""
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", extras=MARKABLE)
        wait = asyncio.create_task(session.seen(message_id, 20))
        inner = displayed(message_id, f"{BOB}/desk").replace("<message ", f"<message xmlns='jabber:client' to='{OWN}' ")
        server.conversation.send(
            f"<message from='{OWN}'><received xmlns='urn:xmpp:carbons:2'>"
            f"<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></received></message>"
        )
        await wait


async def test_a_later_message_that_was_seen_counts_for_the_earlier_one(server: FakeServer) -> None:
    async with online(server) as session:
        first = await session.send_message(BOB, "x", thread="call-1", extras=MARKABLE)
        second = await session.send_message(BOB, "y", thread="call-1", extras=MARKABLE)
        server.conversation.send(displayed(second, f"{BOB}/desk"))
        await session.seen(first, 5)


async def test_seen_ends_with_a_bounce(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", extras=MARKABLE)
        wait = asyncio.create_task(session.seen(message_id, 20))
        server.conversation.send(bounce(await server.hears("message")))
        with pytest.raises(Bounced):
            await wait


async def test_seen_needs_a_message_that_asked(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", receipt=True)
        assert (await server.hears("message")).find(f"{{{MARKERS}}}markable") is None
        for name in (message_id, "never-sent"):
            with pytest.raises(NotAcknowledged, match="no read mark was asked for"):
                await session.seen(name, 5)


@BOTH
async def test_a_headline(server: FakeServer) -> None:
    async with online(server) as session:
        extras = Extras(expects_answer=False, headline=True, subject="Tonight")
        message_id = await session.send_message(BOB, "No phones from 22 h on.", extras=extras)
        sent = await server.hears("message")
        assert (sent.get("type"), sent.get("id"), sent.get("to")) == ("headline", message_id, BOB)
        children = [(child.tag.removeprefix(CLIENT), child.text) for child in sent]
        assert sorted(children) == [("body", "No phones from 22 h on."), ("subject", "Tonight")]


@pytest.mark.parametrize("subject", ["a\0b", 60_001 * "x"])
async def test_a_subject_that_cannot_be_sent(server: FakeServer, subject: str) -> None:
    async with online(server) as session:
        with pytest.raises(BadText):
            await session.send_message(BOB, "x", extras=Extras(subject=subject))
        with pytest.raises(BadText):
            session.queue_message(BOB, "x", extras=Extras(subject=subject))
        assert session.info().sent == 0


@pytest.mark.parametrize(("subscription", "answered"), [("both", True), ("from", True), ("to", False), ("none", False)])
async def test_our_receipts_go_to_those_who_may_see_us(server: FakeServer, subscription: str, answered: bool) -> None:
    server.does.roster = f"<item jid='{BOB}' subscription='{subscription}'/>"
    request = "<request xmlns='urn:xmpp:receipts'/>"
    async with online(server) as session:
        await server.carbons_enabled.wait()  # the roster was read before
        server.conversation.send(say("question", more=request))
        assert (await session.receive_message(BOB, 5)).body == "question"
        server.conversation.send(say("headline", kind="headline", more=request))
        await session.send_message(BOB, "end of test")
        first = await server.hears("message")
        received = first.find(f"{RECEIPT}received")
        assert (received is not None) is answered
        if received is not None:
            assert (received.get("id"), first.get("to")) == ("m-question", f"{BOB}/phone")
            assert await server.hears_message() == "end of test"


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


def carbon(kind: str, wrapper_from: str, inner: str) -> str:
    return (
        f"<message from='{wrapper_from}' to='agi@fake.test/pbx'><{kind} xmlns='urn:xmpp:carbons:2'>"
        f"<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></{kind}></message>"
    ).replace("<message from='bob", "<message xmlns='jabber:client' from='bob")


async def test_a_copy_of_what_our_other_client_got_counts(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(carbon("received", "agi@fake.test", say("copied")))
        message = await session.receive_message(BOB, 5)
        assert (message.body, message.carbon, str(message.sender)) == ("copied", True, f"{BOB}/phone")


@pytest.mark.parametrize(
    "forger", ["eve@fake.test/x", "eve@fake.test", "agi@fake.test/other", "fake.test", "agi@fake.test.evil", f"{BOB}/x"]
)
async def test_a_forged_copy_does_not(server: FakeServer, forger: str) -> None:
    async with online(server) as session:
        server.conversation.send(carbon("received", forger, say("forged")) + say("real"))
        assert (await session.receive_message(BOB, 5)).body == "real"


async def test_a_copy_of_what_our_other_client_sent_is_not_ours_to_hear(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(carbon("sent", "agi@fake.test", say("sent-by-us")) + say("real"))
        assert (await session.receive_message(BOB, 5)).body == "real"


async def test_carbons_are_asked_for_only_if_they_are_offered(server: FakeServer) -> None:
    async with online(server):
        await server.carbons_enabled.wait()
    server.carbons_enabled.clear()
    server.does.carbons = False
    asked = asyncio.Event()

    async def note(_conversation: Conversation, _iq: ET.Element) -> None:
        asked.set()

    server.answers[CARBONS + "enable"] = note
    async with online(server) as session:
        await asyncio.gather(*session._background._tasks)
        assert not asked.is_set()


# Presence, roster, subscriptions


def presence(resource: str, *, kind: str = "", more: str = "", sender: str = BOB) -> str:
    kind = f" type='{kind}'" if kind else ""
    resource = f"/{resource}" if resource else ""
    return f"<presence from='{sender}{resource}'{kind}>{more}</presence>"


async def test_our_presence_is_as_the_settings_say(server: FakeServer) -> None:
    async with online(server, show="dnd", status="In a \x01call", priority=-5):
        shown = await server.hears("presence")
        assert shown.get("type") is None
        assert shown.findtext(f"{CLIENT}show") == "dnd"
        assert shown.findtext(f"{CLIENT}status") == "In a call"
        assert shown.findtext(f"{CLIENT}priority") == "-5"


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


async def test_who_is_in_the_roster_is_known_as_soon_as_it_comes(server: FakeServer) -> None:
    server.does.roster = "<item jid='dave@fake.test' subscription='both'/>"
    async with online(server) as session:
        assert (await session.presence("carol@fake.test", timeout=20)).show is Show.NOT_IN_ROSTER
        server.conversation.send(presence("x", sender="dave@fake.test"))
        assert (await session.presence("dave@fake.test", timeout=20)).show is Show.ONLINE


async def test_without_a_session_nothing_is_known(server: FakeServer) -> None:
    async with running(None) as session:
        with pytest.raises(NotConnected):
            await session.presence(BOB)
        with pytest.raises(BadJid):
            await session.presence("")


async def test_a_server_without_a_roster_is_used_nevertheless(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.does.roster = None
    async with online(server) as session:
        await server.carbons_enabled.wait()
        server.conversation.send(presence("phone"))
        assert (await session.presence(BOB, timeout=5)).show is Show.ONLINE
    assert any("the server does not give us the roster" in line for line in lines(caplog))


def push(jid: str, subscription: str, *, sender: str = "") -> str:
    origin = f" from='{sender}'" if sender else ""
    return (
        f"<iq type='set' id='push1'{origin}><query xmlns='jabber:iq:roster'>"
        f"<item jid='{jid}' subscription='{subscription}'/></query></iq>"
    )


@pytest.mark.parametrize("sender", ["", "agi@fake.test"])
async def test_the_roster_changes_when_our_server_says_so(server: FakeServer, sender: str) -> None:
    async with online(server) as session:
        await server.carbons_enabled.wait()
        server.conversation.send(push("carol@fake.test", "both", sender=sender))
        assert (await server.hears("iq")).get("type") == "result"
        assert (await session.presence("carol@fake.test")).show is Show.OFFLINE
        server.conversation.send(push("carol@fake.test", "remove", sender=sender))
        await server.hears("iq")
        assert (await session.presence("carol@fake.test")).show is Show.NOT_IN_ROSTER


@pytest.mark.parametrize("sender", ["eve@fake.test/x", "agi@fake.test.evil", "fake.test"])
async def test_and_not_when_others_do(server: FakeServer, sender: str) -> None:
    async with online(server) as session:
        await server.carbons_enabled.wait()
        server.conversation.send(push("eve@fake.test", "both", sender=sender))
        assert (await server.hears("iq")).get("type") == "error"
        assert (await session.presence("eve@fake.test")).show is Show.NOT_IN_ROSTER


@pytest.mark.parametrize(
    ("policy", "who", "answer"),
    [
        ("accept", "eve@fake.test", "subscribed"),
        ("buddies", BOB, "subscribed"),
        ("buddies", "eve@fake.test", "unsubscribed"),
        ("deny", BOB, "unsubscribed"),
    ],
)
async def test_requests_to_see_our_presence(server: FakeServer, policy: str, who: str, answer: str) -> None:
    async with online(server, subscriptions=policy):
        await server.hears("presence")  # our own
        server.conversation.send(presence("", kind="subscribe", sender=who))
        reply = await server.hears("presence")
        assert (reply.get("type"), reply.get("to")) == (answer, who)


@pytest.mark.parametrize(("subscription", "asked"), [("none", True), ("from", True), ("to", False), ("both", False)])
async def test_buddies_are_asked_for_their_presence_at_login(
    server: FakeServer, subscription: str, asked: bool
) -> None:
    server.does.roster = f"<item jid='{BOB}' subscription='{subscription}'/>"
    async with online(server, subscribe=True) as session:
        await asyncio.gather(*session._background._tasks)
        session._link.post(stanzas.subscription("subscribed", parse(BOB)))  # marks the end
        await server.hears("presence")  # our own
        kinds = [(await server.hears("presence")).get("type")]
        if asked:
            kinds.append((await server.hears("presence")).get("type"))
        assert kinds == (["subscribe", "subscribed"] if asked else ["subscribed"])


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


# The queue


@BOTH
async def test_queued_messages_go_out_in_order_when_there_is_a_session(server: FakeServer) -> None:
    await server.refuse()
    async with running(server) as session:
        ids = [session.queue_message(BOB, str(number), thread="call-1") for number in range(5)]
        await server.listen()
        heard = [await server.hears("message") for _ in ids]
        assert [message.get("id") for message in heard] == ids
        assert [message.findtext(f"{CLIENT}body") for message in heard] == ["0", "1", "2", "3", "4"]


async def test_a_queued_message_that_nobody_confirms_does_not_hold_up_others(server: FakeServer) -> None:
    server.does.ack = False
    async with online(server) as session:
        session.queue_message(BOB, "first")
        session.queue_message("carol@fake.test", "second")
        assert {await server.hears_message(), await server.hears_message()} == {"first", "second"}


@BOTH
async def test_a_queued_question_takes_answers_from_then_on(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(say("before") + say("mark", sender="carol@fake.test/x"))
        await session.receive_message("carol@fake.test", 5)
        session.queue_message(BOB, "?", thread="call-1")
        await server.hears_message()
        server.conversation.send(say("after"))
        assert (await session.receive_message(BOB, 5, thread="call-1")).body == "after"


@BOTH
async def test_what_is_queued_while_the_line_runs_empty_is_sent_too(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with online(server) as session:
        first = session._queue.first

        def then_another(contact: Any) -> Any:
            found = first(contact)
            if found is None:  # the task that sends is about to end
                monkeypatch.setattr(session._queue, "first", first)
                asyncio.get_running_loop().call_soon(session.queue_message, BOB, "second")
            return found

        monkeypatch.setattr(session._queue, "first", then_another)
        session.queue_message(BOB, "first")
        assert [await server.hears_message(), await server.hears_message()] == ["first", "second"]


async def test_a_fault_of_ours_in_the_background_is_logged(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with online(server) as session:

        async def fail(*_arguments: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(session, "_send", fail)
        session.queue_message(BOB, "x")
        await asyncio.gather(*session._drains.values(), return_exceptions=True)
        await asyncio.sleep(0)
        assert "account main: internal error" in lines(caplog)
        assert len(session._queue) == 0


@pytest.mark.parametrize("roster", ["<query xmlns='jabber:iq:roster'/>", "", "<ping xmlns='urn:xmpp:ping'/>"])
async def test_a_roster_that_is_none_does_no_harm(server: FakeServer, roster: str) -> None:
    async def answer(conversation: Conversation, iq: ET.Element) -> None:
        conversation.result(iq, roster)

    server.answers[ROSTER + "query"] = answer
    async with online(server) as session:
        await server.carbons_enabled.wait()
        await session.send_message(BOB, "x")


async def test_a_queue_is_limited() -> None:
    async with running(None, queue_limit=2) as session:
        session.queue_message(BOB, "1")
        session.queue_message(BOB, "2")
        with pytest.raises(NotConnected, match="2 messages wait for a session already"):
            session.queue_message(BOB, "3")


async def test_what_waits_too_long_is_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with running(None) as session:
        message_id = session.queue_message(BOB, "the text is private", max_age=0.05)
        async with asyncio.timeout(5):
            await asyncio.gather(*session._drains.values())
        assert f"account main: message {message_id} to {BOB} was dropped: there was no session in time" in lines(caplog)
        assert "private" not in caplog.text
        assert not session._drains


async def test_what_is_left_at_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with running(None) as session:
        message_id = session.queue_message(BOB, "x")
        await session.stop(0.1)
        assert f"account main: message {message_id} to {BOB} was dropped: the service stops" in lines(caplog)


@BOTH
async def test_stop_sends_what_is_queued(server: FakeServer) -> None:
    async with online(server) as session:
        for number in range(20):
            session.queue_message(BOB, str(number))
        await session.stop()
        assert [await server.hears_message() for _ in range(20)] == [str(number) for number in range(20)]


async def test_a_queued_message_that_bounces_or_is_in_doubt_is_logged(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def bounce_first(conversation: Conversation, iq: ET.Element) -> None:
        conversation.send(bounce(await server.hears("message")))
        conversation.result(iq)

    async with online(server) as session:
        server.answers[PING + "ping"] = bounce_first
        bounced = session.queue_message(BOB, "x")
        await asyncio.gather(*session._drains.values())
        server.answers.clear()
        server.does.ack = False
        doubtful = session.queue_message(BOB, "y", max_age=0.1)
        await asyncio.gather(*session._drains.values())
    logged = lines(caplog)
    assert len(logged) == 2
    assert f"message {bounced} to {BOB} was dropped" in logged[0]
    assert f"message {doubtful} to {BOB}: the server did not confirm" in logged[1]


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


async def _silence(_conversation: Conversation, _iq: ET.Element) -> None:
    """Answer nothing."""


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


async def test_a_client_s_login_has_no_stanzas_of_a_whole_domain() -> None:
    session = ClientSession("main", settings(None))
    with pytest.raises(ConfigError, match="account main is no component"):
        session.serve_stanzas(None)
