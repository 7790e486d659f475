"""A telephone exchange with conferences (ConfBridge) and phones that can write, as conference chat needs it.

| number | what is there |
|---|---|
| 101 … 104 | Alice A, Bob B, Carol C, Dave D: the phone ``PJSIP/101`` … ``PJSIP/104``; the last two have a password |
| 6000 … 6999, names such as ``verona`` | conferences; ``*1`` mutes who presses it |

Phones dial in the context ``internal``. The contexts and profiles of the conferences are those that the documents show
to administrators: ``conferences``, ``conferences-chat`` for the endpoint ``agi-xmpp`` of our own leg, which has a
password, and ``conference-invited``, where a phone that is called into a conference comes to ``s``, with the number of
the conference in ``ROOM``.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from agi_xmpp.render import find, render
from tests.testbed.ami import Message
from tests.testbed.asterisk import Asterisk
from tests.testbed.errors import TestbedError
from tests.testbed.handsets import Handsets
from tests.testbed.rootfs import Rootfs
from tests.testbed.softphone import SoftCall, Softphone

#: The people by the number of their phone.
NAMES = {"101": "Alice A", "102": "Bob B", "103": "Carol C", "104": "Dave D"}
#: Whose phones have a password.
WITH_PASSWORD = ("103", "104")
#: The endpoint of agi-xmpp's own leg.
OWN_LEG = "agi-xmpp"
#: Where phones dial, where the conferences are, and where a phone that was called into one goes.
PHONE_CONTEXT, CONFERENCE_CONTEXT, INVITED_CONTEXT = "internal", "conferences", "conference-invited"

_MODULES = ("res_pjsip_messaging", "res_pjsip_refer")
_TRANSPORT = """
[udp]
type = transport
protocol = udp
bind = 127.0.0.1:{sip_port}
"""
_ENDPOINT = """
[{name}]
type = endpoint
context = {context}
message_context = {message_context}
disallow = all
allow = ulaw
direct_media = no
media_address = 127.0.0.1
bind_rtp_to_media_address = yes
callerid = "{caller}" <{name}>
"""
_AOR = """
[{name}]
type = aor
max_contacts = {contacts}
remove_existing = yes
"""
_AUTH = """
[{name}]
type = auth
auth_type = userpass
username = {name}
password = {password}
"""
_DOCUMENT = Path(__file__).parents[2] / "docs/conference.md"
# Two letters at least: Asterisk's own extensions (h, i, s, t) have one.
_NAMES = """
[conferences]
exten => _[a-z][a-z]!,1,Answer()
 same => n,ConfBridge(${EXTEN},conference,conference-phone,conference-menu)
[conferences-chat]
exten => _[a-z][a-z]!,1,Answer()
 same => n,ConfBridge(${EXTEN},conference,conference-chat)
"""
# Without a context of its own, a text outside of a call runs the dialplan of calls, and comes into the conference.
_DIALPLAN = """
[out-of-call]
[internal]
exten => _10[1-4],1,Dial(PJSIP/${EXTEN},60)
include => conferences
"""


def documented(name: str) -> str:
    """Return the sample of a configuration file of Asterisk in docs/conference.md."""
    text = _DOCUMENT.read_text(encoding="utf-8")
    return text.partition(f"```ini\n; /etc/asterisk/{name}\n")[2].partition("```")[0]


class ConferenceExchange(Asterisk):
    """The exchange.

    Args:
        rootfs: where Asterisk is.
        modules: loaded besides.
        files: further configuration files by name.
        pjsip: further sections of pjsip.conf.
        outside_calls: numbers of phones that write and read outside of calls, as the documents have it; two devices
            can be registered for each. With any, the manager user may do what that needs, and all phones can write so.

    Attributes:
        passwords: of the endpoints that have one, by their name; ``agi-xmpp`` is there.
        manager_user, manager_secret: of a manager user with the rights that conference chat needs, and no others.
    """

    def __init__(
        self,
        rootfs: Rootfs,
        *,
        modules: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        pjsip: str = "",
        outside_calls: Sequence[str] = (),
    ) -> None:
        self.outside_calls = outside_calls
        self._may_read = "call,user" if outside_calls else "call"
        self._may_write = "call,originate,reporting,message" if outside_calls else "call,originate,reporting"
        self.passwords = {name: secrets.token_hex(8) for name in (*WITH_PASSWORD, OWN_LEG)}
        phones = [
            self._endpoint(number, PHONE_CONTEXT, name)
            + _AOR.format(name=number, contacts=2 if number in outside_calls else 1)
            for number, name in NAMES.items()
        ]
        own = self._endpoint(OWN_LEG, f"{CONFERENCE_CONTEXT}-chat", "Chat")
        super().__init__(
            rootfs,
            modules=(*_MODULES, *modules),
            pjsip=_TRANSPORT + "".join(phones) + own + pjsip,
            files={"confbridge.conf": documented("confbridge.conf"), "pjproject.conf": "", **(files or {})},
        )
        self.manager_user = "agi-xmpp"
        self.manager_secret = secrets.token_hex(16)

    async def enters(self, phone: Softphone, number: str) -> tuple[SoftCall, str]:
        """Let a phone dial into a conference; return its call and its channel when it is in."""
        ami = await self.ami()
        joins = ami.subscribe(lambda event: event.get("Event") == "ConfbridgeJoin" and event["Conference"] == number)
        try:
            call = await phone.call(number)
            joined = await joins.get(lambda event: device(event["Channel"]) == phone.number, timeout=10.0)
        finally:
            ami.unsubscribe(joins)
        return call, joined["Channel"]

    async def grants(self, read: str, write: str) -> None:
        """Give the manager user other rights, such as ``call,user``; they count from its next login on."""
        self._may_read, self._may_write = read, write
        self.write("manager.conf", self._configuration()["manager.conf"])
        await self.cli("manager reload")

    def phone(self, number: str) -> Softphone:
        """Return a phone of these people; use it by ``async with``."""
        return Softphone(self, number, self.passwords.get(number, ""))

    async def participants(self, number: str) -> dict[str, Message]:
        """Return who is in a conference, by channel, as ``ConfbridgeList`` has it; nobody if there is none."""
        ami = await self.ami()
        events = ami.subscribe(lambda event: event.get("Event", "").startswith("ConfbridgeList"))
        try:
            await ami.action("ConfbridgeList", Conference=number)
            await events.get(lambda event: event["Event"] == "ConfbridgeListComplete", timeout=10.0)
        except TestbedError as error:
            if not re.search("No active conferences|No Conference by that name", str(error)):
                raise
        finally:
            ami.unsubscribe(events)
        return {event["Channel"]: event for event in events.seen()}

    def _endpoint(self, name: str, context: str, caller: str) -> str:
        texts = f"{CONFERENCE_CONTEXT}-texts" if self.outside_calls else "out-of-call"
        text = _ENDPOINT.format(name=name, context=context, message_context=texts, caller=caller)
        if name in self.outside_calls:
            text += "set_var = TEXTS_OUTSIDE_CALLS=yes\n"
        if name != OWN_LEG:  # nobody calls our own leg
            text += f"aors = {name}\n"
        if name in self.passwords:
            text += f"auth = {name}\n" + _AUTH.format(name=name, password=self.passwords[name])
        return text

    def _configuration(self) -> dict[str, str]:
        files = super()._configuration()
        files["extensions.conf"] += render(find("conference-room"), {"numbers": ["_6XXX"]}) + _NAMES + _DIALPLAN
        files["manager.conf"] += f"""
[{self.manager_user}]
secret = {self.manager_secret}
deny = 0.0.0.0/0.0.0.0
permit = 127.0.0.1/255.255.255.255
read = {self._may_read}
write = {self._may_write}
"""
        return files


def device(channel: str) -> str:
    """Return the endpoint that a channel belongs to: ``101`` for ``PJSIP/101-0000002a``."""
    return channel.partition("/")[2].rpartition("-")[0]


#: The phones of a test: ``alice, bob = await softphones("101", "102")``.
Softphones = Handsets[Softphone]
