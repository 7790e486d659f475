from __future__ import annotations

import dataclasses

import pytest

from agi_xmpp.ami.client import AmiClient
from agi_xmpp.ami.model import Ami, AmiInfo, AmiListener, AmiState
from tests.unit.ami.manager import Events, Manager


def test_nothing_is_known_before_the_first_connection() -> None:
    info = AmiInfo("127.0.0.1:5038", AmiState.STOPPED, 1.0)
    assert (info.error, info.version, info.connects, info.events) == ("", "", 0, 0)


def test_what_is_told_does_not_change_any_more() -> None:
    info = AmiInfo("127.0.0.1:5038", AmiState.STOPPED, 1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.error = "x"  # type: ignore[misc]


async def test_the_client_is_what_features_see() -> None:
    listener: AmiListener = Events()
    ami: Ami = AmiClient(Manager().settings(port=5038), listener)
    assert ami.info().address == "127.0.0.1:5038"
