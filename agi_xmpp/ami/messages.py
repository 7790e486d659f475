"""Texts outside of calls (SIP MESSAGE, RFC 3428): what phones write to a conference, and what is written to them.

Sources: res_pjsip_messaging.c and message.c of Asterisk 22.10, and what it does. A phone's text runs the dialplan of
its endpoint's ``message_context``, which hands it on by an event: `agi-xmpp render conference-room` writes it. The
manager user needs the class ``user`` in its line ``read =`` for that, and ``message`` in ``write =`` to send.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote, unquote_to_bytes

from agi_xmpp.ami.model import Ami, Message
from agi_xmpp.ami.originate import shown_as
from agi_xmpp.ami.wire import LINE_BYTES

#: The name of the event (UserEvent) by which the dialplan hands texts on.
EVENT: Final = "ConferenceText"

_BODY: Final = "Base64Body: "
#: Bytes of the longest text that one action can carry: Base64 makes four of three.
MAX_BODY: Final = (LINE_BYTES - len(_BODY)) // 4 * 3

#: Seconds for the event of a text. It comes at once if it comes.
HANDOVER_TIME: Final = 2.0

#: Seconds for Asterisk to answer a question. It takes a millisecond.
ASK_TIME: Final = 1.0

#: A From header without its parameters: the user. A name before it may look like an address, so the last one counts.
_FROM = re.compile(r"(?:.*<)?sips?:([^@<>\"]+)@[^<>\"]+>?", re.DOTALL)
_CALLER = re.compile(r'"(.*)" <.*>', re.DOTALL)
_HOST = re.compile(r"sips?:(?:[^@<>\"\s]*@)?([0-9A-Za-z.:\[\]-]+)(?:;[^<>\"\s]*)?")


class _Actions(Protocol):
    async def action(self, name: str, headers: Mapping[str, str] | None = None) -> Message: ...


@dataclass(frozen=True, slots=True)
class OutsideText:
    """A text that came outside of a call.

    Attributes:
        number: the conference's, as it was written to.
        user: whom From names: the endpoint if that is told by the user name, as Asterisk does by default. A phone whose
            endpoint is told otherwise, such as by its address, can write here what it wants; see `is_caller_of`.
        caller: the name of the endpoint that Asterisk took the text from, after the password was asked for if it has
            one: its caller's name, or the endpoint's own where it has none.
        text: "" also where it was too long: of 1024 bytes and more Asterisk drops all.
    """

    number: str
    user: str
    caller: str
    text: str


def read_text(event: Message) -> OutsideText | None:
    """Return the text that an event hands on; None if it is another event, or not whole."""
    if event.get("UserEvent") != EVENT:
        return None
    try:
        number, sender, caller, text = (_decoded(event.get(name, "")) for name in ("Number", "From", "Caller", "Text"))
    except ValueError:
        return None
    user = _FROM.fullmatch(sender)
    return OutsideText(number, unquote(user[1]), caller, text) if user is not None else None


class Handover:
    """Whether the dialplan hands texts on to us, for `agi-xmpp check --online`. Give it the connection's events."""

    def __init__(self) -> None:
        self._came = asyncio.Event()

    def event(self, event: Message) -> None:
        """Take an event."""
        if event.get("UserEvent") == EVENT:
            self._came.set()

    async def works(self, ami: _Actions, context: str) -> bool:
        """Run the extension ``s`` of a context, which hands on that there is no text, and tell whether that has come.

        Args:
            ami: the manager connection; its user needs the class ``originate``.
            context: of the dialplan, a ``message_context``.

        Raises:
            AmiError: see `Ami.action`.
        """
        self._came.clear()
        call = {"Channel": f"Local/s@{context}/n", "Application": "NoOp", "Async": "true"}
        await ami.action("Originate", call)
        try:
            async with asyncio.timeout(HANDOVER_TIME):
                await self._came.wait()
        except TimeoutError:
            return False
        return True


async def is_caller_of(ami: Ami, endpoint: str, caller: str) -> bool:
    """Tell whether a text with this `OutsideText.caller` can be an endpoint's.

    Args:
        ami: the manager connection; its user needs the class ``call`` or ``reporting``.
        endpoint: of pjsip.conf.
        caller: what Asterisk said of the text.

    Raises:
        AmiError: Asterisk could not be asked.
    """
    value = await _value(ami, f"PJSIP_ENDPOINT({endpoint},callerid)")
    named = _CALLER.fullmatch(value)
    if named is not None and named[1]:
        return caller == named[1]
    return bool(caller) and caller in (endpoint, value)  # a name alone, or a number alone: then it is the endpoint's


async def host_of(ami: Ami, channel: str) -> str:
    """Return the host, with its port if there is one, at which a phone knows Asterisk: it has called there.

    Args:
        ami: the manager connection; its user needs the class ``call`` or ``reporting``.
        channel: of the phone, such as ``PJSIP/101-0000002a``.

    Returns:
        ``""`` if the channel has no such address.

    Raises:
        AmiError: Asterisk could not be asked, or there is no such channel (any more).
    """
    variable = {"Channel": channel, "Variable": "CHANNEL(pjsip,local_uri)"}
    value = (await ami.action("Getvar", variable, timeout=ASK_TIME)).get("Value", "")
    found = _HOST.fullmatch(value)
    return found[1] if found is not None else ""


async def contacts(ami: Ami, endpoint: str) -> Sequence[str]:
    """Return where an endpoint's phones are, each as `send_message` wants it; none if it is not registered.

    Asterisk itself would only send to the first, also if that one is gone.

    Raises:
        AmiError: Asterisk could not be asked.
    """
    prefix = f"PJSIP/{endpoint}/"
    value = await _value(ami, f"PJSIP_DIAL_CONTACTS({endpoint})")
    places = f"&{value}".split(f"&{prefix}")[1:]
    return [f"pjsip:{endpoint}/{place}" for place in places]


async def send_message(ami: Ami, to: str, name: str, address: str, text: str) -> None:
    """Send a text outside of any call. Asterisk does not tell whether the phone takes it.

    Args:
        ami: the manager connection.
        to: one of `contacts`.
        name: whom the phone shows as its sender, without signs that SIP cannot quote.
        address: where an answer goes, such as ``sip:6000@pbx.example.org``.
        text: of `MAX_BODY` bytes of UTF-8 at the most.

    Raises:
        AmiRefused: Asterisk cannot send it.
        AmiUnknown: the connection broke: it may have arrived.
        AmiError: see `Ami.action`.
    """
    body = base64.b64encode(text.encode(errors="replace")).decode()
    sender = shown_as(name, address) if name else f"<{address}>"
    await ami.action("MessageSend", {"To": to, "From": sender, "Base64Body": body})


async def _value(ami: Ami, function: str) -> str:
    return (await ami.action("Getvar", {"Variable": function}, timeout=ASK_TIME)).get("Value", "")


def _decoded(value: str) -> str:
    """Undo what the dialplan does to a value: percent signs and colons (RFC 3986 section 2.1), then Base64.

    Without the first, Asterisk would read ``:) for you: 1`` within ``${BASE64_ENCODE(…)}`` as the end of the function,
    and where in its result to begin.

    Raises:
        ValueError: it is none.
    """
    return unquote_to_bytes(base64.b64decode(value, validate=True)).decode(errors="replace")
