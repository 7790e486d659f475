from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agi_xmpp.ami import connection as module
from agi_xmpp.ami.connection import Connection, address, connect
from agi_xmpp.ami.model import Message
from agi_xmpp.errors import (
    AmiArgumentError,
    AmiForbidden,
    AmiNotConnected,
    AmiProtocolError,
    AmiRefused,
    AmiUnknown,
)
from tests.testbed.pki import Certificate, Pki
from tests.unit.ami.manager import Manager, message


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    async with Manager() as listening:
        yield listening


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
async def connection(manager: Manager, events: list[str]) -> AsyncIterator[Connection]:
    """Logged in."""

    def keep(event: Message) -> None:
        events.append(event["Event"])

    made = await connect(manager.settings(), keep)
    yield made
    made.abort("the test is over")
    await made.lost


def ignore(_event: Message) -> None:
    pass


async def barrier(connection: Connection) -> None:
    """Return when all that Asterisk said before has been read."""
    await connection.action("Ping")


# Login


async def test_the_secret_never_leaves_us(manager: Manager, connection: Connection) -> None:
    challenge, login = manager.asked
    assert challenge["AuthType"] == login["AuthType"] == "MD5"
    assert login["Username"] == "phone"
    assert login["Events"] == "call,agent,user"
    assert "s3cr3t" not in str(manager.asked)
    assert connection.version == "11.0.0"
    assert connection.encryption == ""


async def test_a_wrong_secret(manager: Manager) -> None:
    manager.secret = "another"
    with pytest.raises(AmiRefused) as caught:
        await connect(manager.settings(), ignore)
    text = str(caught.value)
    for word in ("manager user phone", f"127.0.0.1:{manager.port}", "Authentication failed", "[phone] of manager.conf"):
        assert word in text
    assert "s3cr3t" not in text


async def test_a_password_that_cannot_be_had(manager: Manager) -> None:
    settings = manager.settings(password=None, password_file="/nowhere/secret")
    with pytest.raises(AmiRefused, match=r"password_file /nowhere/secret: No such file"):
        await connect(settings, ignore)
    assert manager.connections == 0


async def test_case_095_a_banner_in_pieces(manager: Manager) -> None:
    manager.banner = b""
    connecting = asyncio.create_task(connect(manager.settings(), ignore))
    await manager.until(lambda: manager.connections)
    for byte in b"Asterisk Call Manager/7.0.3\r\n":
        manager.say(bytes([byte]))
        await asyncio.sleep(0)
    connection = await connecting
    assert connection.version == "7.0.3"
    await connection.log_off()


async def test_case_100_fully_booted_before_the_answer_to_the_login(manager: Manager) -> None:
    manager.before_login = message("Event: FullyBooted|Privilege: system,all|Status: Fully Booted")
    events: list[Message] = []
    connection = await connect(manager.settings(), events.append)
    await barrier(connection)
    assert [event["Event"] for event in events] == ["FullyBooted"]
    await connection.log_off()


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0"])
async def test_somebody_else_answers_there(manager: Manager, banner: bytes) -> None:
    manager.banner = banner
    with pytest.raises(AmiProtocolError, match=rf"^127\.0\.0\.1:{manager.port}: no manager interface"):
        await connect(manager.settings(), ignore)
    assert manager.asked == []


async def test_nobody_says_anything(manager: Manager) -> None:
    manager.banner = b""
    settings = manager.settings().model_copy(update={"connect_timeout": 0.05})
    with pytest.raises(AmiNotConnected, match=r'answered within 0.05 s; if its port is for TLS .* set tls = "direct"'):
        await connect(settings, ignore)


async def test_nobody_listens(manager: Manager) -> None:
    await manager.refuse()
    with pytest.raises(AmiNotConnected, match=r"nobody listens at 127.0.0.1.*enabled = yes"):
        await connect(manager.settings(), ignore)


async def test_a_name_that_nobody_knows() -> None:
    settings = Manager().settings(host="pbx.invalid", port=5038, tls="direct")
    with pytest.raises(AmiNotConnected, match=r"no connection to pbx.invalid:5038: the name is not known"):
        await connect(settings, ignore)


async def test_the_connection_ends_before_the_greeting(manager: Manager) -> None:
    manager.banner = b""
    connecting = asyncio.create_task(connect(manager.settings(), ignore))
    await manager.until(lambda: manager.connections)
    manager.cut()
    with pytest.raises(AmiNotConnected, match=r"ended the connection before it said anything"):
        await connecting


async def test_the_connection_ends_during_the_login(manager: Manager) -> None:
    manager.answers["Login"] = None
    connecting = asyncio.create_task(connect(manager.settings(), ignore))
    await manager.action("Login")
    manager.cut()
    with pytest.raises(AmiNotConnected, match=r"no login at 127.0.0.1"):
        await connecting


async def test_a_login_that_is_given_up_leaves_nothing_open(manager: Manager) -> None:
    manager.answers["Login"] = None
    connecting = asyncio.create_task(connect(manager.settings(), ignore))
    await manager.action("Login")
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting


# TLS


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


def server_context(pki: Pki, directory: Path, certificate: Certificate) -> ssl.SSLContext:
    pair = pki.issue(certificate, "127.0.0.1")
    (directory / "key.pem").write_text(pair.key)
    (directory / "chain.pem").write_text(pair.chain)
    (directory / "ca.pem").write_text(pki.ca)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "chain.pem", directory / "key.pem")
    return context


async def test_an_encrypted_connection(pki: Pki, tmp_path: Path) -> None:
    async with Manager(server_context(pki, tmp_path, "good")) as manager:
        connection = await connect(manager.settings(tls="direct", ca_file=tmp_path / "ca.pem"), ignore)
        assert connection.encryption == "TLSv1.3"
        await barrier(connection)
        await connection.log_off()


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ("wrong-host", "not valid for 127.0.0.1"),
        ("unknown-ca", "signed by nobody whom this machine trusts"),
        ("expired", "has expired"),
    ],
)
async def test_a_certificate_that_cannot_be_trusted(
    pki: Pki, tmp_path: Path, certificate: Certificate, words: str
) -> None:
    async with Manager(server_context(pki, tmp_path, certificate)) as manager:
        with pytest.raises(AmiNotConnected, match=words):
            await connect(manager.settings(tls="direct", ca_file=tmp_path / "ca.pem"), ignore)
        assert manager.asked == []
        connection = await connect(manager.settings(tls="direct", accept_any_certificate=True), ignore)
        await connection.log_off()


async def test_tls_towards_a_port_without(manager: Manager) -> None:
    with pytest.raises(AmiNotConnected, match=r"it is no port for TLS"):
        await connect(manager.settings(tls="direct"), ignore)


async def test_a_ca_file_that_is_not_there(manager: Manager) -> None:
    with pytest.raises(AmiRefused, match=r"ca_file /nowhere/ca.pem: No such file"):
        await connect(manager.settings(tls="direct", ca_file="/nowhere/ca.pem"), ignore)


# Actions


async def test_answers_find_their_actions_in_any_order(manager: Manager, connection: Connection) -> None:
    manager.answers |= {"A": None, "B": None}
    first = asyncio.create_task(connection.action("A", {"Channel": "é"}, variables={"X": "1,2"}))
    second = asyncio.create_task(connection.action("B"))
    asked, other = await manager.action("A"), await manager.action("B")
    assert (asked["Channel"], asked["Variable"]) == ("é", r"X=1\,2")
    manager.say(message("Response: Success|Message: b", other["ActionID"]))
    manager.say(message("Response: Success|Message: a", asked["ActionID"]))
    assert ((await first)["Message"], (await second)["Message"]) == ("a", "b")


async def test_asterisk_says_no(manager: Manager, connection: Connection) -> None:
    manager.answers["Redirect"] = ["Response: Error|Message: Channel does not exist: x"]
    with pytest.raises(AmiRefused, match=r"^Channel does not exist: x$"):
        await connection.action("Redirect", {"Channel": "x"})


async def test_a_privilege_is_missing(manager: Manager, connection: Connection) -> None:
    manager.answers["Redirect"] = ["Response: Error|Message: Permission denied"]
    with pytest.raises(AmiForbidden, match=r"may not do Redirect: in \[phone\] of manager.conf, add call to its line"):
        await connection.action("Redirect")


async def test_what_cannot_be_written_is_not_sent(manager: Manager, connection: Connection) -> None:
    with pytest.raises(AmiArgumentError):
        await connection.action("Originate", {"Channel": "x\r\nAction: Logoff"})
    await barrier(connection)
    assert manager.names() == ["Ping"]


async def test_no_answer_in_time_and_then_a_late_one(
    manager: Manager, connection: Connection, events: list[str]
) -> None:
    manager.answers["Originate"] = None
    with pytest.raises(AmiUnknown, match=r"did not answer Originate within 0.02 s"):
        await connection.action("Originate", timeout=0.02)
    manager.say(message("Response: Success|Message: late", (await manager.action("Originate"))["ActionID"]))
    assert (await connection.action("Redirect"))["Message"] == "done"
    assert events == []


async def test_case_093_a_connection_that_breaks_leaves_an_action_unknown(
    manager: Manager, connection: Connection
) -> None:
    manager.answers |= {"Originate": None, "Status": None}
    waiting = asyncio.create_task(connection.action("Originate"))
    listing = asyncio.create_task(connection.items("Status"))
    await manager.action("Status")
    manager.cut()
    with pytest.raises(AmiUnknown, match=r"broke before the answer came"):
        await waiting
    with pytest.raises(AmiUnknown):
        await listing
    with pytest.raises(AmiNotConnected, match=r"nothing was sent"):
        await connection.action("Originate")
    assert manager.names().count("Originate") == 1


async def test_cancelling_is_safe(manager: Manager, connection: Connection) -> None:
    manager.answers["Originate"] = None
    waiting = asyncio.create_task(connection.action("Originate"))
    action_id = (await manager.action("Originate"))["ActionID"]
    waiting.cancel()
    manager.say(message("Response: Success|Message: late", action_id))
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await connection.action("Redirect"))["Message"] == "done"


async def test_cancelling_while_the_connection_breaks_leaves_no_stray_error(
    manager: Manager, connection: Connection
) -> None:
    manager.answers["Originate"] = None
    waiting = asyncio.create_task(connection.action("Originate"))
    await manager.action("Originate")
    connection.connection_lost(None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_limit_of_actions_without_an_answer(
    manager: Manager, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PENDING_LIMIT", 2)
    manager.answers["Park"] = None
    waiting = [asyncio.create_task(connection.action("Park")) for _ in range(2)]
    await manager.action("Park", 2)
    with pytest.raises(AmiNotConnected, match=r"has not answered 2 actions; Park was not sent"):
        await connection.action("Park")
    manager.say(message("Response: Success", (await manager.action("Park"))["ActionID"]))
    await waiting[0]
    assert (await connection.action("Ping"))["Ping"] == "Pong"
    manager.say(message("Response: Success", (await manager.action("Park", 2))["ActionID"]))
    await waiting[1]


# Lists

STATUS = "Response: Success|EventList: start|Message: Channel status will follow"


async def test_a_list(manager: Manager, connection: Connection, events: list[str]) -> None:
    manager.answers["Status"] = [
        STATUS,
        "Event: Status|Channel: a|ChanVariable: X=1|ChanVariable: Y=2",
        "Event: Status|Channel: b",
        "Event: StatusComplete|EventList: Complete|ListItems: 2",
    ]
    manager.answers["Originate"] = ["Response: Success", "Event: OriginateResponse|Response: Failure"]
    found = await connection.items("Status")
    assert [item["Channel"] for item in found] == ["a", "b"]
    assert found[0]["ChanVariable"] == "X=1\nY=2"
    await connection.action("Originate")
    await barrier(connection)
    assert events == ["OriginateResponse"]  # with our ActionID, but no item of a list


async def test_other_events_may_come_between_the_items(
    manager: Manager, connection: Connection, events: list[str]
) -> None:
    manager.answers["Status"] = None
    listing = asyncio.create_task(connection.items("Status"))
    action_id = (await manager.action("Status"))["ActionID"]
    manager.say(message(STATUS, action_id) + message("Event: Hangup|Channel: z"))
    manager.say(message("Event: Status|Channel: a", action_id) + message("Event: Status|Channel: c", "somebody-else"))
    manager.say(message("Event: StatusComplete|EventList: Complete", action_id))
    assert [item["Channel"] for item in await listing] == ["a"]
    assert events == ["Hangup", "Status"]


@pytest.mark.parametrize(
    "answer",
    [
        [STATUS, "Event: StatusComplete|EventList: Complete|ListItems: 0"],
        ["Response: Error|Message: No active conferences."],
        ["Response: Error|Message: No Contacts found\n"],
    ],
)
async def test_case_089_a_list_without_items(manager: Manager, connection: Connection, answer: list[str]) -> None:
    manager.answers["ConfbridgeList"] = answer
    assert list(await connection.items("ConfbridgeList")) == []


async def test_case_090_a_list_that_asterisk_gives_up(manager: Manager, connection: Connection) -> None:
    manager.answers["Status"] = [STATUS, "Event: Status|Channel: a", "Event: StatusComplete|EventList: cancelled"]
    with pytest.raises(AmiRefused, match=r"gave up the list of Status"):
        await connection.items("Status")


async def test_a_list_that_is_refused(manager: Manager, connection: Connection) -> None:
    manager.answers["CoreShowChannels"] = ["Response: Error|Message: Permission denied"]
    with pytest.raises(AmiForbidden, match=r"add reporting"):
        await connection.items("CoreShowChannels")


async def test_the_rest_of_a_list_that_nobody_waits_for_is_no_news(
    manager: Manager, connection: Connection, events: list[str]
) -> None:
    manager.answers["Status"] = [STATUS, "Event: Status|Channel: a"]
    with pytest.raises(AmiUnknown):
        await connection.items("Status", timeout=0.02)
    action_id = (await manager.action("Status"))["ActionID"]
    manager.say(message("Event: Status|Channel: b", action_id))
    manager.say(message("Event: StatusComplete|EventList: Complete", action_id))
    await barrier(connection)
    assert events == []


async def test_the_items_of_a_list_that_nobody_asked_for_are_no_news(
    manager: Manager, connection: Connection, events: list[str]
) -> None:
    # as 22.10.1 answers to a Hangup with a pattern
    manager.answers["Hangup"] = [
        "Response: Success|EventList: start|Message: Channels hung up will follow",
        "Event: ChannelHungup|Channel: Local/1",
        "Event: ChannelsHungupListComplete|EventList: Complete|ListItems: 1",
    ]
    assert (await connection.action("Hangup", {"Channel": "/^Local.*$/"}))["EventList"] == "start"
    await barrier(connection)
    assert events == []


async def test_an_answer_without_a_list_is_an_empty_one(manager: Manager, connection: Connection) -> None:
    assert list(await connection.items("Ping")) == []


# Events


async def test_a_listener_that_raises_ends_nothing(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def listen(event: Message) -> None:
        seen.append(event["Event"])
        raise LookupError("a fault of ours")

    connection = await connect(manager.settings(), listen)
    manager.say(message("Event: Hangup") * 3)
    await barrier(connection)
    assert seen == ["Hangup"] * 3
    assert "a fault of ours" in caplog.text
    await connection.log_off()


async def test_case_098_events_are_read_whoever_is_late(
    manager: Manager, connection: Connection, events: list[str]
) -> None:
    manager.answers["Originate"] = None
    late = asyncio.create_task(connection.action("Originate"))  # its answer comes behind all events
    action_id = (await manager.action("Originate"))["ActionID"]
    manager.say(message(f"Event: Newstate|Padding: {'x' * 2000}") * 4000)  # 8 MB: more than the kernel keeps
    manager.say(message("Response: Success|Message: late", action_id))
    assert (await late)["Message"] == "late"
    assert events == ["Newstate"] * 4000


async def test_what_is_neither_event_nor_response_is_logged_and_passed_over(
    manager: Manager, connection: Connection, events: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    manager.say(b"half of a value\r\n\r\n" + message("Event: Hangup"))
    await barrier(connection)
    assert events == ["Hangup"]
    assert "neither event nor response" in caplog.text


async def test_too_long_a_message_ends_the_connection(manager: Manager, connection: Connection) -> None:
    manager.say(b"Event: " + b"x" * 300_000)
    assert await connection.lost == "Asterisk sent a message of more than 262144 bytes"


# Keepalive


async def test_a_quiet_asterisk_is_asked_and_answers(manager: Manager, connection: Connection) -> None:
    staying = asyncio.create_task(connection.stay(0.02, 5))
    await manager.action("Ping", 3)
    assert not staying.done()
    manager.cut()
    await staying


async def test_case_099_a_ping_without_an_answer(manager: Manager, connection: Connection) -> None:
    manager.answers["Ping"] = None
    assert await connection.stay(0.02, 0.03) == "Asterisk was silent for 0.05 s"
    assert manager.names() == ["Ping"]


async def test_any_sign_of_life_is_an_answer(manager: Manager, connection: Connection) -> None:
    manager.answers["Ping"] = ["Event: Hangup"]
    staying = asyncio.create_task(connection.stay(0.02, 5))
    await manager.action("Ping", 2)
    assert not staying.done()
    connection.abort("the test is over")
    assert await staying == "the test is over"


async def test_asterisk_closes_the_connection(manager: Manager, connection: Connection) -> None:
    manager.answers["Ping"] = None
    await connection.action("Logoff")  # it closes as it does at its end
    assert await connection.stay(30, 10) == "Asterisk closed the connection"


# The end


async def test_logging_off(manager: Manager, connection: Connection) -> None:
    await connection.log_off()
    assert manager.names() == ["Logoff"]
    await connection.log_off()  # again: nothing happens
    assert manager.names() == ["Logoff"]


async def test_logging_off_from_somebody_silent(
    manager: Manager, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOGOFF_TIME", 0.02)
    manager.answers["Logoff"] = None
    async with asyncio.timeout(1):
        await connection.log_off()
    assert connection.lost.result() == "the connection was ended by us"


async def test_the_library_logs_no_values(
    manager: Manager, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        manager.say(message("Event: UserEvent|Body: something private"))
        await connection.action("Originate", {"CallerID": "something private"})
    assert "private" not in caplog.text


def test_the_address_in_texts() -> None:
    assert address(Manager().settings(host="pbx.test", port=5039, tls="direct")) == "pbx.test:5039"
