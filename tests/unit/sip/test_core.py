"""The agent without its socket: several calls, strangers, and the question whether Asterisk is there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agi_xmpp.errors import SipNotReached, SipRefused
from tests.unit.sip.exchange import HERE, Watch, World


@pytest.fixture
def world() -> World:
    return World()


def stranger(method: str, to: str = "<sip:gw@127.0.0.1>") -> bytes:
    lines = (
        f"{method} sip:gw@{HERE} SIP/2.0",
        "Via: SIP/2.0/UDP 127.0.0.1:5060;rport;branch=z9hG4bKstranger",
        "From: <sip:a@127.0.0.1>;tag=x",
        f"To: {to}",
        "Call-ID: strange",
        f"CSeq: 1 {method}",
    )
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("method", "code"),
    [("INVITE", "403"), ("MESSAGE", "403"), ("OPTIONS", "200"), ("REGISTER", "403"), ("NOTIFY", "403")],
)
def test_nobody_calls_us(world, method, code):
    world.core.receive(stranger(method))
    assert world.methods() == [code]
    assert b"To: <sip:gw@127.0.0.1>;tag=" in world.sent[0]
    assert b"Allow: " in world.sent[0]


@pytest.mark.parametrize("method", ["BYE", "MESSAGE", "UPDATE"])
def test_a_call_of_which_we_know_nothing(world, method):
    world.core.receive(stranger(method, "<sip:gw@127.0.0.1>;tag=gone"))
    assert world.methods() == ["481"]


def test_a_stray_confirmation_is_no_matter(world):
    world.core.receive(stranger("ACK"))
    assert world.sent == []


def test_calls_do_not_mix(world):
    first, heard_by_first = world.call("6000")
    near = world.asterisk.invite.from_address.parameters["tag"]
    second, heard_by_second = world.call("6001")
    assert world.core.calls == 2
    world.asterisk.text("to the second")
    world.asterisk.ask("MESSAGE", b"to nobody", tags=("far", near))  # tag of the first, Call-ID of the second
    world.run()
    assert heard_by_first.texts == []
    assert heard_by_second.texts == [("Alice", "to the second")]
    assert world.asterisk.responses == [("MESSAGE", 200), ("MESSAGE", 481)]
    first.hang_up(lambda: None)
    world.run()
    assert world.core.calls == 1
    assert not heard_by_second.reason
    assert second.number == "6001"


def test_a_port_that_refuses_ends_all_calls(world):
    watches = [world.call(number)[1] for number in ("6000", "6001")]
    world.core.refused()
    assert all("nobody listens" in watch.reason for watch in watches)
    assert world.core.calls == 0


def test_nobody_waits_for_what_is_under_way_when_the_socket_is_closed(world):
    _, up = world.call("6000")
    ending, _ = world.call("6001")
    calling = Watch()
    world.core.call("6002", "", calling)
    ended: list[bool] = []
    ending.hang_up(lambda: ended.append(True))
    world.core.close()
    assert up.reason == "the socket of the call was closed"
    assert ended == [True]
    assert isinstance(calling.error, SipNotReached)
    assert world.core.calls == 0


@given(st.binary(max_size=400))
@settings(max_examples=200)
def test_any_datagram_is_survived(data):
    world = World()
    world.core.receive(data)
    world.core.receive(stranger("MESSAGE")[:60] + data)


class TestOptions:
    def ask(self, world: World, number: str = "") -> list[object]:
        ends: list[object] = []
        world.core.options(number, ends.append)
        world.run(6)
        return ends

    def test_all_is_well(self, world):
        assert self.ask(world) == [None]
        assert self.ask(world, "6000") == [None]
        assert [str(request.uri) for request in world.asterisk.came("OPTIONS")] == [
            "sip:127.0.0.1:5060",
            "sip:6000@127.0.0.1:5060",
        ]

    def test_refused(self, world):
        world.asterisk.answers["OPTIONS"] = lambda request: (404, [], b"")
        (error,) = self.ask(world, "6000")
        assert isinstance(error, SipRefused)
        assert "extension 6000" in str(error)

    def test_asterisk_takes_no_texts(self, world):
        world.asterisk.answers["OPTIONS"] = lambda request: (200, ["Allow: OPTIONS", "Allow: INVITE"], b"")
        (error,) = self.ask(world)
        assert isinstance(error, SipRefused)
        assert "takes no texts" in str(error)

    def test_silence(self, world):
        world.asterisk.silent = True
        (error,) = self.ask(world)
        assert isinstance(error, SipNotReached)
        assert "did not answer" in str(error)

    def test_nobody(self, world):
        world.unreachable = True
        (error,) = self.ask(world)
        assert isinstance(error, SipNotReached)
        assert "nobody listens" in str(error)

    def test_a_password(self):
        world = World(password="x")
        world.asterisk.answers["OPTIONS"] = lambda request: (
            (401, ['WWW-Authenticate: Digest realm="r",nonce="n"'], b"")
            if request.authorization is None
            else (200, [], b"")
        )
        assert self.ask(world) == [None]
