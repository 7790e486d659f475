"""`BridgedAgi` outside of a call is pyst2's own class; inside, `test_pyst2` has it."""

from __future__ import annotations

import asyncio
import io
import signal
from typing import Any

import asterisk.agi as pyst2
import pytest

from agi_xmpp.agi.channel import Channel
from agi_xmpp.agi.environment import Environment
from agi_xmpp.agi.pyst2_agi import Bridge, BridgedAgi, install, is_hangup
from agi_xmpp.agi.wire import AgiConnection
from agi_xmpp.errors import AgiHangup


@pytest.fixture
def sighup():
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def original(replies: str) -> tuple[Any, io.StringIO]:
    sent = io.StringIO()
    return BridgedAgi(io.StringIO(f"agi_uniqueid: 1.2\n\n{replies}"), sent, io.StringIO()), sent


def test_outside_of_a_call_it_is_pyst2s_own_class(sighup):
    agi, sent = original("200 result=1\n200 result=1 (x)\n200 result=1 (y)\n200 result=1\n")
    assert agi.env == {"agi_uniqueid": "1.2"}
    agi.set_variable("X", "x")
    assert agi.get_variable("X") == "x"
    assert agi.database_get("f", "k") == "y"
    agi.database_deltree("f")
    assert (
        sent.getvalue() == 'SET VARIABLE "X" "x"\nGET VARIABLE "X"\nDATABASE GET ""f"" ""k""\nDATABASE DELTREE "f" ""\n'
    )


def test_install_is_seen_by_scripts():
    install()
    from asterisk.agi import AGI

    assert AGI is BridgedAgi


def test_is_hangup():
    assert is_hangup(pyst2.AGIHangup())
    assert is_hangup(pyst2.AGISIGHUPHangup())
    assert not is_hangup(pyst2.AGIAppError())
    assert not is_hangup(ValueError())


def test_bridge_after_the_service_has_stopped():
    class Writer:
        def write(self, data: bytes, /) -> None:
            raise AssertionError

    loop = asyncio.new_event_loop()
    bridge = Bridge(Channel(AgiConnection(), Environment({}), Writer()), loop)
    loop.close()
    with pytest.raises(AgiHangup, match="has stopped"):
        bridge.run(bridge.channel.noop)
