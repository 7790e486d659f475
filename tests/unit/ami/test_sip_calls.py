"""Which SIP call a channel has."""

from __future__ import annotations

import pytest

from agi_xmpp.ami.sip_calls import SipCall, call_of, name_for_texts
from agi_xmpp.errors import AmiNotConnected, AmiRefused
from tests.unit.features.phone.fakes import FakeAmi

CHANNEL = "PJSIP/101-0000002a"
VALUES = {
    "CHANNEL(pjsip,call-id)": "call-1@127.0.0.1",
    "CHANNEL(pjsip,local_tag)": "asterisk-1",
    "CHANNEL(pjsip,remote_tag)": "phone-1",
}


def asterisk(values: dict[str, str] = VALUES) -> FakeAmi:
    def getvar(headers: dict[str, str]) -> dict[str, str]:
        assert headers["Channel"] == CHANNEL
        return {"Response": "Success", "Value": values[headers["Variable"]]}

    return FakeAmi(Getvar=getvar)


async def test_a_call():
    assert await call_of(asterisk(), CHANNEL) == SipCall("call-1@127.0.0.1", "asterisk-1", "phone-1")


@pytest.mark.parametrize("channel", ["Local/101@internal-00000001;2", "SIP/101-0000002a", "DAHDI/1-1"])
async def test_other_channels_have_none(channel):
    ami = asterisk()
    with pytest.raises(AmiRefused, match="is no channel of chan_pjsip"):
        await call_of(ami, channel)
    assert ami.actions == []


@pytest.mark.parametrize("variable", VALUES)
async def test_an_asterisk_that_does_not_tell(variable):
    with pytest.raises(AmiRefused, match="does not tell the SIP call of PJSIP/101-0000002a"):
        await call_of(asterisk({**VALUES, variable: ""}), CHANNEL)


@pytest.mark.parametrize("error", [AmiRefused("No such channel"), AmiNotConnected("gone")])
async def test_errors_are_passed_on(error):
    with pytest.raises(type(error)):
        await call_of(FakeAmi(Getvar=error), CHANNEL)


async def test_the_name_of_texts():
    assert await name_for_texts(asterisk({"CALLERID(name)": "Alice A"}), CHANNEL) == "Alice A"
    with pytest.raises(AmiRefused):
        await name_for_texts(FakeAmi(Getvar=AmiRefused("No such channel")), CHANNEL)
