"""Which SIP call a channel has, and what name its texts get.

Asterisk tells it by the dialplan function CHANNEL (docs.asterisk.org: "CHANNEL", technology PJSIP), for channels of
chan_pjsip only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from agi_xmpp.ami.model import Ami
from agi_xmpp.errors import AmiRefused

#: Seconds for Asterisk to say it. It takes a millisecond.
ASK_TIME: Final = 1.0

_TECHNOLOGY = "PJSIP/"


@dataclass(frozen=True, slots=True)
class SipCall:
    """A dialog (RFC 3261 section 12), as Asterisk has it.

    Attributes:
        call_id: Call-ID.
        local_tag: Asterisk's.
        remote_tag: the phone's.
    """

    call_id: str
    local_tag: str
    remote_tag: str


async def call_of(ami: Ami, channel: str) -> SipCall:
    """Return the SIP call of a channel.

    Args:
        ami: the manager connection; its user needs the class ``call`` or ``reporting``.
        channel: such as ``PJSIP/101-0000002a``.

    Raises:
        AmiRefused: it is gone, or has no such call: another technology, or a Local channel before the phone's own.
        AmiError: Asterisk could not be asked.
    """
    if not channel.startswith(_TECHNOLOGY):
        raise AmiRefused(f"{channel} is no channel of chan_pjsip")

    async def value(name: str) -> str:
        variable = {"Channel": channel, "Variable": f"CHANNEL(pjsip,{name})"}
        return (await ami.action("Getvar", variable, timeout=ASK_TIME)).get("Value", "")

    call = SipCall(*await asyncio.gather(value("call-id"), value("local_tag"), value("remote_tag")))
    if not (call.call_id and call.local_tag and call.remote_tag):
        raise AmiRefused(f"Asterisk does not tell the SIP call of {channel}")
    return call


async def name_for_texts(ami: Ami, channel: str) -> str:
    """Return the name that Asterisk gives to a text that came on a channel without one: the caller's.

    It does so even where the caller has withheld it (measured on 22.10): for comparing, not for showing.

    Args:
        ami: the manager connection; its user needs the class ``call`` or ``reporting``.
        channel: whose it is about.

    Raises:
        AmiError: Asterisk could not be asked, or there is no such channel (any more).
    """
    answer = await ami.action("Getvar", {"Channel": channel, "Variable": "CALLERID(name)"}, timeout=ASK_TIME)
    return answer.get("Value", "")
