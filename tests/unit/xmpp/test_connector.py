"""Where to, TLS, password: what a login does when a server is not as it should be."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aioxmpp import errors

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import LoginFailed, NotConnected, TlsFailed, XmppError
from agi_xmpp.pace import Pace
from agi_xmpp.xmpp import link
from agi_xmpp.xmpp.client import ClientSession
from agi_xmpp.xmpp.connector import Connector, security
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import SessionState
from agi_xmpp.xmpp.srv import NoService, Target
from tests.unit.xmpp.conftest import server_context
from tests.unit.xmpp.fake import PASSWORD, TOKEN, FakeServer

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@contextlib.asynccontextmanager
async def tls_server(
    ca: trustme.CA, *names: str, direct: bool = False, starttls: bool = True
) -> AsyncIterator[FakeServer]:
    async with FakeServer(server_context(ca, *(names or ("fake.test",))), direct=direct) as server:
        server.does.starttls = starttls
        yield server


def settings(port: int, **changes: Any) -> AccountSettings:
    return anywhere(**{"server": "127.0.0.1", "port": port} | changes)


def anywhere(**changes: Any) -> AccountSettings:
    """Return settings that leave it to the DNS where the server is."""
    values: dict[str, Any] = {"jid": "agi@fake.test/pbx", "password": PASSWORD}
    # Not even the configuration allows as little time as a test has.
    quick: dict[str, Any] = {name: changes.pop(name) for name in ("connect_timeout", "login_retry") if name in changes}
    return AccountSettings(**values | changes).model_copy(update=quick)


@contextlib.asynccontextmanager
async def login(port: int, **changes: Any) -> AsyncIterator[ClientSession]:
    """Start a session; yield it when its first attempt has succeeded, or raise what it failed of."""
    session = ClientSession("main", settings(port, **changes))
    await session.start()
    try:
        await session.ready(10, patient=False)
        yield session
    finally:
        await session.stop(0.5)


async def failure(port: int, **changes: Any) -> XmppError:
    """Return what the first attempt fails of."""
    with pytest.raises(XmppError) as caught:
        async with login(port, **changes):
            pass
    assert "\n" not in str(caught.value)
    return caught.value


# TLS as it should be


@pytest.mark.parametrize("direct", [False, True])
async def test_with_the_private_ca_the_login_is_encrypted(ca: trustme.CA, ca_file: Path, direct: bool) -> None:
    async with (
        tls_server(ca, direct=direct) as server,
        login(server.port, ca_file=ca_file, tls="direct" if direct else "starttls") as session,
    ):
        assert session.info().tls.startswith("TLSv1.3 TLS_")
        assert server.attempts == [("SCRAM-SHA-256", True)]
        await session.send_message("bob@fake.test", "x")
        assert await server.hears_message() == "x"


async def test_direct_tls_says_what_it_is_for(ca: trustme.CA, ca_file: Path) -> None:
    context = server_context(ca, "fake.test")
    context.set_alpn_protocols(["http/1.1", "xmpp-client"])
    async with FakeServer(context, direct=True) as server, login(server.port, ca_file=ca_file, tls="direct"):
        assert server.conversation.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "xmpp-client"


async def test_tls_1_2_is_enough(ca: trustme.CA, ca_file: Path) -> None:
    async with tls_server(ca) as server:
        assert server.tls is not None
        server.tls.maximum_version = ssl.TLSVersion.TLSv1_2
        async with login(server.port, ca_file=ca_file) as session:
            assert session.info().tls.startswith("TLSv1.2 ")


@pytest.mark.parametrize(("offered", "used"), [(("PLAIN",), "PLAIN"), (("PLAIN", "SCRAM-SHA-1"), "SCRAM-SHA-1")])
async def test_plain_is_the_last_resort_on_an_encrypted_connection(
    ca: trustme.CA, ca_file: Path, offered: tuple[str, ...], used: str
) -> None:
    async with tls_server(ca) as server:
        server.does.mechanisms = offered
        async with login(server.port, ca_file=ca_file):
            assert server.attempts == [(used, True)]


async def test_without_any_check_every_certificate_is_taken(ca: trustme.CA) -> None:
    async with (
        tls_server(trustme.CA(), "elsewhere.test") as server,
        login(server.port, accept_any_certificate=True) as session,
    ):
        assert session.info().tls


# TLS as it should not be


@pytest.mark.parametrize("direct", [False, True])
async def test_a_certificate_for_another_name_is_refused(ca: trustme.CA, ca_file: Path, direct: bool) -> None:
    async with tls_server(ca, "elsewhere.test", direct=direct) as server:
        error = await failure(server.port, ca_file=ca_file, tls="direct" if direct else "starttls")
        assert isinstance(error, TlsFailed)
        assert f"the certificate of 127.0.0.1:{server.port} is not valid for fake.test" in str(error)
        assert server.attempts == []


async def test_the_address_that_we_connect_to_is_not_the_name_that_counts(ca: trustme.CA, ca_file: Path) -> None:
    async with tls_server(ca, "127.0.0.1", "localhost") as server:
        assert isinstance(await failure(server.port, ca_file=ca_file), TlsFailed)


@pytest.mark.parametrize("direct", [False, True])
async def test_an_unknown_ca_is_refused_with_advice(ca: trustme.CA, direct: bool) -> None:
    async with tls_server(ca, direct=direct) as server:
        error = await failure(server.port, tls="direct" if direct else "starttls")
        assert isinstance(error, TlsFailed)
        assert "is signed by nobody whom this machine trusts; if it is your own CA, name its file in ca_file" in str(
            error
        )
        assert server.attempts == []


async def test_an_expired_certificate_is_refused(ca: trustme.CA, ca_file: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    ca.issue_cert("fake.test", not_after=yesterday).configure_cert(context)
    async with FakeServer(context) as server:
        server.does.starttls = True
        error = await failure(server.port, ca_file=ca_file)
        assert isinstance(error, TlsFailed)
        assert "has expired; renew it on the server" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<stream:error><unsupported-stanza-type xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
        "</stream:stream>",
    ],
)
async def test_a_server_without_starttls_gets_no_password(answer: str) -> None:
    async with FakeServer() as server:
        server.does.starttls_answer = answer
        error = await failure(server.port)
        assert isinstance(error, TlsFailed)
        assert "does not offer STARTTLS, and nothing is sent unencrypted" in str(error)
        assert server.attempts == []


async def test_a_server_that_breaks_off_in_the_handshake(ca: trustme.CA, ca_file: Path) -> None:
    async with tls_server(ca) as server:
        server.does.starttls_answer = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>this is no TLS"
        error = await failure(server.port, ca_file=ca_file)
        assert isinstance(error, (TlsFailed, NotConnected))
        assert server.attempts == []


def test_tls_1_2_and_the_right_name_are_demanded(ca_file: Path) -> None:
    context = Connector(
        parse("agi@fake.test"),
        settings(1, ca_file=ca_file),
        Pace(1, lambda: 0.0),
        on_attempt=lambda: None,
        on_failure=lambda _error, _delay: None,
    )._ssl_context(Target("127.0.0.1", 1, direct_tls=False))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


async def test_direct_tls_towards_a_port_without_it_gives_advice() -> None:
    async with FakeServer() as server:
        server.does.greeting = b"<?xml version='1.0'?><stream:stream>"
        error = await failure(server.port, tls="direct")
        assert isinstance(error, TlsFailed)
        assert 'it does not speak TLS from the first byte: set tls = "starttls"' in str(error)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), ("no PEM", r"it holds no certificate \(PEM\)")]
)
async def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    async with FakeServer() as server:
        with pytest.raises(TlsFailed, match=f"ca_file {path}: {reason}"):
            async with login(server.port, ca_file=path):
                pass
        assert server.accepted == 0


async def test_no_encryption_is_for_this_machine_only() -> None:
    # The configuration refuses it; this is the second lock, for settings that were changed afterwards.
    changed = settings(5222, tls="none").model_copy(update={"server": "192.0.2.1"})
    session = ClientSession("main", changed)
    await session.start()
    with pytest.raises(TlsFailed, match="towards this machine only"):
        await session.ready(10, patient=False)
    await session.stop(0.5)


def test_the_library_s_own_tls_is_out_of_play() -> None:
    layer = security()
    for factory in (layer.ssl_context_factory, layer.certificate_verifier_factory):
        with pytest.raises(errors.TLSFailure):
            factory()
    assert layer.tls_required
    assert not layer.sasl_providers


# Servers that are none, or do not answer


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
        b"<html><body>hello</body></html>",
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        b"\xff\xff\xff",
    ],
)
async def test_what_is_no_xmpp_server_ends_the_attempt_in_words(greeting: bytes) -> None:
    async with FakeServer() as server:
        server.does.greeting = greeting
        error = await failure(server.port, tls="none")
        assert isinstance(error, NotConnected)
        assert f"127.0.0.1:{server.port}" in str(error)


@pytest.mark.parametrize("tls", ["starttls", "direct", "none"])
async def test_a_silent_peer_does_not_hold_us_up(tls: str) -> None:
    async with FakeServer() as server:
        server.does.greeting = b""
        error = await failure(server.port, tls=tls, connect_timeout=0.2)
        assert str(error) == f"127.0.0.1:{server.port} did not answer within 0.2 s"
        await server.until_closed()


async def test_a_closed_port_is_told() -> None:
    assert str(await failure(1)) == "no connection to 127.0.0.1:1: Connection refused"


async def test_a_name_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_arguments: object, **_options: object) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    error = await failure(5222, server="nowhere.test")
    assert str(error) == "no connection to nowhere.test:5222: the name is not known (Name or service not known)"


async def test_a_server_that_does_not_serve_our_domain_is_told() -> None:
    async with FakeServer() as server:
        server.does.greeting = (
            b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' from='o.test' id='1'"
            b" xmlns:stream='http://etherx.jabber.org/streams'><stream:error>"
            b"<host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
        )
        error = await failure(server.port, tls="none")
        assert str(error) == f"127.0.0.1:{server.port} does not serve the domain fake.test (host-unknown)"


# Passwords


@pytest.mark.parametrize("mechanisms", [("PLAIN",), ("SCRAM-SHA-512", "EXTERNAL"), ()])
async def test_without_a_method_that_we_may_use_nothing_is_sent(mechanisms: tuple[str, ...]) -> None:
    async with FakeServer() as server:
        server.does.mechanisms = mechanisms
        error = await failure(server.port, tls="none")
        assert isinstance(error, LoginFailed)
        assert "offers no login method that we may use" in str(error)
        assert server.attempts == []


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("not-authorized", "the server refuses the password of agi@fake.test (not-authorized)"),
        ("account-disabled", "the server has disabled the account agi@fake.test (account-disabled)"),
        ("credentials-expired", "the server says that the password of agi@fake.test has expired (credentials-expired)"),
        ("invalid-authzid", "the server does not let us be agi@fake.test (invalid-authzid)"),
    ],
)
async def test_a_refused_login_is_told_in_words(condition: str, sentence: str) -> None:
    async with FakeServer() as server:
        server.does.sasl_failure = condition
        error = await failure(server.port, tls="none")
        assert isinstance(error, LoginFailed)
        assert str(error) == sentence
        assert len(server.attempts) == 1  # more would count as wrong passwords and might lock the account


async def test_a_password_that_cannot_be_prepared_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with FakeServer() as server:
        error = await failure(server.port, tls="none", password="pass\u200eword\u0007")
        assert isinstance(error, LoginFailed)
        assert str(error) == "the password of agi@fake.test holds a character that no password may hold (RFC 4013)"
    assert "word\u0007" not in caplog.text


# Several places


async def test_the_domain_s_records_are_tried_in_order(ca: trustme.CA, ca_file: Path) -> None:
    async with (
        FakeServer() as no_tls,
        tls_server(ca, "elsewhere.test") as wrong_name,
        tls_server(ca, direct=True) as good,
    ):
        found = [
            Target("127.0.0.1", 1, direct_tls=False),
            Target("127.0.0.1", no_tls.port, direct_tls=False),
            Target("127.0.0.1", wrong_name.port, direct_tls=False),
            Target("127.0.0.1", good.port, direct_tls=True),
        ]
        session = ClientSession("main", anywhere(ca_file=ca_file))
        asked = _answer(session, found)
        await session.start()
        await session.ready(10, patient=False)
        assert asked == [("fake.test", False)]
        assert [no_tls.attempts, wrong_name.attempts, good.attempts] == [[], [], [("SCRAM-SHA-256", True)]]
        found.pop()
        await good.refuse()
        good.conversation.reset()
        while session._link.failure is None:
            await session._link.next_change()
        error = session._link.failure
        await session.stop(0.5)
        assert isinstance(error, TlsFailed)  # what to mend, rather than what may pass
        assert str(error).startswith("no connection to 127.0.0.1:1: Connection refused; ")
        assert "does not offer STARTTLS" in str(error)
        assert "is not valid for fake.test" in str(error)


async def test_a_refused_password_is_not_tried_elsewhere() -> None:
    async with FakeServer() as first, FakeServer() as second:
        first.does.sasl_failure = "not-authorized"
        session = ClientSession("main", settings(1, tls="none"))
        targets = [Target("127.0.0.1", server.port, direct_tls=False) for server in (first, second)]

        async def both() -> list[Target]:
            return targets

        session._link._connector._targets = both  # type: ignore[method-assign]
        await session.start()
        with pytest.raises(LoginFailed):
            await session.ready(10, patient=False)
        await session.stop(0.5)
        assert second.accepted == 0


async def test_a_domain_without_xmpp_says_so_and_is_asked_again() -> None:
    session = ClientSession("main", anywhere())
    asked = _answer(session, NoService("fake.test says in its SRV records that it has no XMPP service"))
    await session.start()
    with pytest.raises(NotConnected, match="has no XMPP service"):
        await session.ready(10, patient=False)
    async with asyncio.timeout(10):
        while len(asked) < 2:
            await session._link.next_change()
    await session.stop(0.5)


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({"server": "host.test"}, Target("host.test", 5222, direct_tls=False)),
        ({"server": "host.test", "tls": "direct"}, Target("host.test", 5223, direct_tls=True)),
        ({"server": "host.test", "port": 443, "tls": "direct"}, Target("host.test", 443, direct_tls=True)),
    ],
)
async def test_a_server_in_the_settings_decides(changes: dict[str, Any], target: Target) -> None:
    session = ClientSession("main", anywhere(**changes))
    assert await session._link._connector._targets() == [target]


async def test_without_one_the_dns_is_asked_in_ascii() -> None:
    for tls, direct_only in (("starttls", False), ("direct", True)):
        session = ClientSession("main", anywhere(jid="agi@münchen.test", tls=tls))
        asked = _answer(session, [])
        await session._link._connector._targets()
        assert asked == [("xn--mnchen-3ya.test", direct_only)]


def _answer(session: ClientSession, answer: list[Target] | Exception) -> list[tuple[str, bool]]:
    """Put an answer in the DNS's place; return the list of what it was asked."""
    asked: list[tuple[str, bool]] = []

    async def find(domain: str, *, direct_only: bool) -> list[Target]:
        asked.append((domain, direct_only))
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    session._link._connector._find = find
    return asked


# Tokens


@contextlib.asynccontextmanager
async def token_server(ca: trustme.CA, *offered: str) -> AsyncIterator[FakeServer]:
    async with tls_server(ca) as server:
        server.does.mechanisms = offered or ("PLAIN", "SCRAM-SHA-1", "OAUTHBEARER")
        yield server


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def by_token(token_file: Path, **changes: Any) -> dict[str, Any]:
    return {"password": None, "token_file": token_file, **changes}


def reread(monkeypatch: pytest.MonkeyPatch, *tokens: str) -> list[str]:
    """Let each reading of the token give the next of these, and the last one for ever; return what was read."""
    read: list[str] = []

    def secret(_settings: AccountSettings) -> str:
        read.append(tokens[min(len(read), len(tokens) - 1)])
        return read[-1]

    monkeypatch.setattr(AccountSettings, "secret", secret)
    return read


async def test_a_token_is_sent_to_the_byte_and_stands_in_no_log(
    ca: trustme.CA, ca_file: Path, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        token_server(ca) as server,
        login(server.port, ca_file=ca_file, **by_token(token_file)) as session,
    ):
        assert server.attempts == [("OAUTHBEARER", True)]
        assert server.token_messages == [f"n,a=agi@fake.test,\x01auth=Bearer {TOKEN}\x01\x01"]
        await session.send_message("bob@fake.test", "x")
        assert await server.hears_message() == "x"
        message = server.token_messages[0].encode()
    assert "SENT" in caplog.text  # what is sent is logged
    assert TOKEN not in caplog.text
    assert base64.b64encode(message).decode()[-20:] not in caplog.text
    assert TOKEN not in f"{session.info()}{session.__dict__}"


async def test_a_token_works_with_direct_tls(ca: trustme.CA, ca_file: Path, token_file: Path) -> None:
    async with tls_server(ca, direct=True) as server:
        server.does.mechanisms = ("OAUTHBEARER",)
        async with login(server.port, ca_file=ca_file, tls="direct", **by_token(token_file)):
            assert server.attempts == [("OAUTHBEARER", True)]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('{"status":"invalid_token","scope":"xmpp"}', "invalid_token; it asks for the scope xmpp"),
        ("", "not-authorized"),
    ],
)
async def test_a_refused_token_is_told_once_and_tried_again_slowly(
    ca: trustme.CA, ca_file: Path, token_file: Path, caplog: pytest.LogCaptureFixture, said: str, told: str
) -> None:
    caplog.set_level(logging.DEBUG)
    token_file.write_text("an-expired-token")
    async with token_server(ca) as server:
        server.does.token_reasons = said
        session = ClientSession("main", settings(server.port, ca_file=ca_file, **by_token(token_file)))
        await session.start()
        with pytest.raises(LoginFailed) as caught:
            await session.ready(10, patient=False)
        assert str(caught.value) == f"the server refuses the token of agi@fake.test ({told})"
        assert f"{caught.value}; trying again every 60 s" in caplog.text
        await session.stop(0.5)
        assert len(server.token_messages) == 1  # the file has no other one
    assert "an-expired-token" not in caplog.text


async def test_another_token_that_is_there_by_then_is_tried_at_once(
    ca: trustme.CA, ca_file: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with token_server(ca) as server:
        read = reread(monkeypatch, "an-expired-token", TOKEN)
        async with login(server.port, ca_file=ca_file, **by_token(token_file)):
            assert read == ["an-expired-token", TOKEN]
            assert len(server.token_messages) == server.accepted == 2


async def test_a_source_that_always_has_another_token_is_asked_once_more_only(
    ca: trustme.CA, ca_file: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with token_server(ca) as server:
        read = reread(monkeypatch, *(f"wrong-{number}" for number in range(9)))
        session = ClientSession("main", settings(server.port, ca_file=ca_file, **by_token(token_file)))
        await session.start()
        with pytest.raises(LoginFailed, match="refuses the token"):
            await session.ready(10, patient=False)
        assert session.info().state is SessionState.WAITING
        await session.stop(0.5)
        assert read == ["wrong-0", "wrong-1"]
        assert server.accepted == 2


@pytest.mark.parametrize("condition", ["account-disabled", "invalid-mechanism"])
async def test_another_token_is_not_fetched_for_what_it_would_not_mend(
    ca: trustme.CA, ca_file: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    async with token_server(ca) as server:
        server.does.sasl_failure = condition
        read = reread(monkeypatch, "one", "two")
        error = await failure(server.port, ca_file=ca_file, **by_token(token_file))
        assert isinstance(error, LoginFailed)
        assert condition in str(error)
        assert (read, server.accepted) == (["one"], 1)


async def test_a_new_token_in_the_file_is_used_when_the_connection_comes_back(
    ca: trustme.CA, ca_file: Path, token_file: Path
) -> None:
    async with token_server(ca) as server, login(server.port, ca_file=ca_file, **by_token(token_file)) as session:
        server.does.token = "the-next-token"
        token_file.write_text("the-next-token")
        server.conversation.reset()
        await server.until_accepted(2)
        await session.ready(10)
        assert [message.split("Bearer ")[1] for message in server.token_messages] == [
            f"{TOKEN}\x01\x01",
            "the-next-token\x01\x01",
        ]


async def test_a_token_file_that_comes_late_is_used(ca: trustme.CA, ca_file: Path, tmp_path: Path) -> None:
    missing = tmp_path / "later"
    async with token_server(ca) as server:
        session = ClientSession("main", settings(server.port, ca_file=ca_file, login_retry=0.1, **by_token(missing)))
        await session.start()
        with pytest.raises(LoginFailed, match=r"no token for agi@fake.test: token_file .* No such file"):
            await session.ready(10, patient=False)
        assert server.accepted == 0
        missing.write_text(TOKEN)
        await session.ready(10)
        await session.stop(0.5)


@pytest.mark.parametrize(
    ("offered", "named"),
    [
        (("SCRAM-SHA-1", "PLAIN", "X-OAUTH2"), "PLAIN, SCRAM-SHA-1, X-OAUTH2"),
        (("bad name", "x\ny", "EXTERNAL"), "EXTERNAL"),
        (("lower",), "nothing"),
    ],
)
async def test_a_server_without_login_by_token_is_told_by_what_it_offers(
    ca: trustme.CA, ca_file: Path, token_file: Path, offered: tuple[str, ...], named: str
) -> None:
    async with token_server(ca, *offered) as server:
        error = await failure(server.port, ca_file=ca_file, **by_token(token_file))
        assert isinstance(error, LoginFailed)
        assert str(error) == f"127.0.0.1:{server.port} offers no login by token (OAUTHBEARER), but {named}"
        assert server.attempts == []


async def test_no_token_is_sent_without_encryption(token_file: Path) -> None:
    # The configuration refuses it; this is the second lock, for settings that were changed afterwards.
    async with FakeServer() as server:
        server.does.mechanisms = ("OAUTHBEARER",)
        changed = settings(server.port, **by_token(token_file)).model_copy(update={"tls": "none"})
        session = ClientSession("main", changed)
        await session.start()
        with pytest.raises(TlsFailed, match="a token is sent on an encrypted connection only"):
            await session.ready(10, patient=False)
        await session.stop(0.5)
        assert server.attempts == []


async def test_a_password_is_not_sent_as_a_token(ca: trustme.CA, ca_file: Path) -> None:
    async with token_server(ca, "OAUTHBEARER") as server:
        error = await failure(server.port, ca_file=ca_file)
        assert "offers no login method that we may use" in str(error)
        assert server.attempts == []


async def test_a_token_of_another_account_is_not_used(
    ca: trustme.CA,
    ca_file: Path,
    token_file: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "REPLACE_DELAY", 3600)  # it is login_retry that counts
    async with token_server(ca) as server:  # which binds agi@fake.test whatever it is asked
        changes = by_token(token_file, jid="bob@fake.test/pbx", login_retry=0.1)
        session = ClientSession("main", settings(server.port, ca_file=ca_file, **changes))
        await session.start()
        with pytest.raises(LoginFailed) as caught:
            await session.ready(10, patient=False)
        assert str(caught.value) == "the token is of agi@fake.test, not of bob@fake.test" == session.info().error
        assert server.token_messages == [f"n,a=bob@fake.test,\x01auth=Bearer {TOKEN}\x01\x01"]
        await server.until_accepted(3)
        assert session.info().connects == 0
        await session.stop(0.5)
        await server.until_closed()
        assert server.unheard("presence") == []  # nobody saw us as somebody else
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == [f"account main: {caught.value}; trying again every 0.1 s"]
