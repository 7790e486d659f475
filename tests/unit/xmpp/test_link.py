"""What becomes of a stanza, from the library's words for it. The life of a link: test_session.py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from aioxmpp.stream import StanzaState, StanzaToken

from agi_xmpp.config import AccountSettings
from agi_xmpp.xmpp.link import Delivery, Link, Outcome, _hide_room_passwords
from agi_xmpp.xmpp.model import Jid

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


class Client:
    """As much of the library's client as a delivery needs."""

    token: Any = None

    def enqueue(self, stanza: object, *, on_state_change: Callable[..., None]) -> Any:
        self.token = StanzaToken(stanza, on_state_change=on_state_change)
        return self.token


@pytest.fixture
async def sent() -> tuple[Delivery, Any]:
    """A delivery that has begun, and the library's token of it."""
    client = Client()
    delivery = Delivery(asyncio.get_running_loop())
    delivery.begin(client, object())
    return delivery, client.token


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (StanzaState.ACKED, Outcome.ACKNOWLEDGED),
        (StanzaState.SENT_WITHOUT_SM, Outcome.UNCONFIRMED),
        (StanzaState.DISCONNECTED, Outcome.NOT_SENT),
        (StanzaState.DROPPED, Outcome.NOT_SENT),
    ],
)
async def test_final_states(sent: tuple[Delivery, Any], state: StanzaState, outcome: Outcome) -> None:
    delivery, token = sent
    token._set_state(StanzaState.SENT)
    assert not delivery.outcome.done()
    token._set_state(state)
    assert await delivery.outcome is outcome


@pytest.mark.parametrize("error", [ValueError("a control character"), None])
async def test_what_cannot_be_written_is_refused(sent: tuple[Delivery, Any], error: Exception | None) -> None:
    delivery, token = sent
    token._set_state(StanzaState.FAILED, error)
    assert await delivery.outcome is Outcome.REFUSED
    assert not delivery.withdraw()


async def test_what_has_not_left_can_be_taken_back(sent: tuple[Delivery, Any]) -> None:
    delivery, token = sent
    assert delivery.withdraw()
    assert token.state is StanzaState.ABORTED


async def test_what_has_left_cannot(sent: tuple[Delivery, Any]) -> None:
    delivery, token = sent
    token._set_state(StanzaState.SENT)
    assert not delivery.withdraw()


@pytest.mark.parametrize(
    ("state", "outcome"), [(StanzaState.ACTIVE, Outcome.NOT_SENT), (StanzaState.SENT, Outcome.UNCONFIRMED)]
)
async def test_what_is_given_up(sent: tuple[Delivery, Any], state: StanzaState, outcome: Outcome) -> None:
    delivery, token = sent
    token._set_state(state)
    delivery.give_up()
    assert await delivery.outcome is outcome


class _Ended:
    """A client of the library whose session is over."""

    running = False
    on_stopped = on_failure = SimpleNamespace(connect=lambda _handler: None)

    def __init__(self) -> None:
        self.stream = self

    def stop(self) -> None: ...

    async def wait_stop(self) -> None: ...


async def test_a_request_given_up_in_the_moment_the_session_ends() -> None:
    link = Link("pbx", Jid("a", "x.org"), AccountSettings.model_validate({"jid": "a@x.org", "password": "p"}), Mock())
    loop = asyncio.get_running_loop()
    given_up, open_ = loop.create_future(), loop.create_future()
    link._client = _Ended()
    link._replies |= {given_up, open_}
    given_up.cancel()
    await link._end_client(0.0)  # the supervisor would have ended by what this raised, and with it the account
    assert isinstance(open_.exception(), ConnectionError)


@pytest.mark.parametrize(
    ("wire", "logged"),
    [
        (b"<x xmlns='u'><password>s3cret</password></x>", b"<x xmlns='u'><password>(hidden)</password></x>"),
        (
            b"<field type='text-private' var='muc#roomconfig_roomsecret'><value>s3cret</value></field>",
            b"<field type='text-private' var='muc#roomconfig_roomsecret'><value>(hidden)</value></field>",
        ),
        (b"<password>s3c", b"<password>(hidden)"),
        (b"3cret</password></x>", b"(hidden)</password></x>"),
        (b"word>s3cret</password>", b"(hidden)</password>"),
        (b"3cret</value></field>", b"(hidden)</value></field>"),
        (b"<body>not s3cret</body>", b"<body>not s3cret</body>"),
        (b"<field var='x'><value>not s3cret</value></field>", b"<field var='x'><value>not s3cret</value></field>"),
    ],
)
def test_passwords_of_rooms_are_not_in_the_log(wire: bytes, logged: bytes) -> None:
    record = logging.LogRecord("x", logging.DEBUG, "x", 1, "RECV %r", (wire,), None)
    assert _hide_room_passwords(record)
    assert record.args == (logged,)
