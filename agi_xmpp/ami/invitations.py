"""Invitations: Asterisk calls a phone, and puts it into a conference when it is picked up.

What becomes of one is told by events that have our ``ChannelId`` as their ``Uniqueid`` (measured on Asterisk 22.10).
Who picks up the phone makes OriginateResponse ``Success``. Otherwise Hangup and OriginateResponse ``Failure`` come, in
either order. A phone's Hangup has the cause, and its ``Reason`` is 0; with a Local channel it is the other way round.
A phone that is not registered has no channel, so no Hangup.

The manager user needs the class ``originate`` in its line ``write =``, and ``call`` in ``read =``.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import quote

from agi_xmpp.ami import originate
from agi_xmpp.ami.model import Ami, Message
from agi_xmpp.errors import AmiForbidden, AmiRefused, AmiUnknown

#: Seconds that Asterisk has to end an invitation by itself, after the time that the phone may ring.
GRACE: Final = 5.0

#: Bytes of an address in a header of SIP; with a longer one the phone is called without it.
ADDRESS_BYTES: Final = 500

#: Schemes of an address of who invites.
_SCHEMES = ("sip", "sips", "xmpp")

#: Q.850 causes (causes.h): user busy and call rejected; no user responding and no answer.
_REFUSED, _NO_ANSWER = (17, 21), (18, 19)

#: ``Reason`` of OriginateResponse (frame.h, ``enum ast_control_frame_type``): what the channel did last, as a cause.
_REASONS = {"3": (19, "No answer"), "5": (17, "User busy"), "8": (34, "Circuit/channel congestion")}


@dataclass(frozen=True, slots=True)
class Joined:
    """The phone was picked up, and has gone where it was sent.

    Attributes:
        channel: its channel.
    """

    channel: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The phone was asked, and said no.

    Attributes:
        reason: such as ``User busy (SIP 486)``.
        cause: Q.850.
    """

    reason: str
    cause: int


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nobody picked the phone up in the time given."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The phone could not be called.

    Attributes:
        reason: such as ``Unallocated (unassigned) number (SIP 404)``.
    """

    reason: str


Outcome: TypeAlias = Joined | Refused | NoAnswer | Unreachable


@dataclass(frozen=True, slots=True)
class Place:
    """Where an invited phone goes when it is picked up.

    Attributes:
        context: of the dialplan; its extension ``s`` is begun at priority 1.
        number: of the conference: the channel variable ``ROOM``.
        title: what the phone shows while it rings, with the number.
    """

    context: str
    number: str
    title: str


@dataclass(slots=True)
class _Call:
    """An invitation whose outcome is not known.

    Attributes:
        outcome: what became of it; None if nobody will ever say.
        has_channel: there is one, so a Hangup will come.
        ended: what Hangup said.
        failed: OriginateResponse said that nobody has picked it up.
    """

    outcome: asyncio.Future[Outcome | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    has_channel: bool = False
    ended: Message | None = None
    failed: Message | None = None

    def settle(self, outcome: Outcome | None) -> None:
        """Say what became of it; the first word counts."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Inviter:
    """Calls phones into conferences. Give it the connection's events by `event`.

    Args:
        ami: the manager connection.
    """

    def __init__(self, ami: Ami) -> None:
        self._ami = ami
        self._calls: dict[str, _Call] = {}

    async def invite(
        self, destination: str, place: Place, *, referred_by: str = "", ring_time: float = 30.0
    ) -> Outcome:
        """Call a phone, and return when it is known what becomes of it.

        Args:
            destination: what Asterisk calls: ``PJSIP/103``, or ``Local/103@internal/n`` for a number that is no device.
            place: where the phone goes.
            referred_by: address of who invites (``sip:…`` or ``xmpp:…``), for the SIP header Referred-By (RFC 3892);
                "" for none. What is no address is left out: the call is not to fail for it.
            ring_time: seconds that it may ring.

        Raises:
            AmiUnknown: no answer came: the phone may ring all the same.
            AmiError: nothing was done; see `Ami.action`.
        """
        channel_id = f"conference-{secrets.token_hex(16)}"
        call = self._calls[channel_id] = _Call()
        headers = originate.headers(
            destination,
            context=place.context,
            exten="s",
            caller_id=originate.shown_as(place.title, place.number),
            ring_time=ring_time,
            channel_id=channel_id,
        )
        variables = {"ROOM": place.number}
        # PJSIP_HEADER() is for channels of SIP alone.
        if destination.startswith("PJSIP/") and (header := _referred_by(referred_by)):
            variables["PJSIP_HEADER(add,Referred-By)"] = header
        try:
            await self._ami.action("Originate", headers, variables=variables)
            async with asyncio.timeout(ring_time + GRACE):
                outcome = await call.outcome
        except AmiRefused as error:
            if isinstance(error, AmiForbidden):
                raise
            return Unreachable(str(error))
        except TimeoutError:
            raise AmiUnknown("Asterisk does not say what became of the invitation; the phone may ring still") from None
        finally:
            del self._calls[channel_id]
        if outcome is None:
            raise AmiUnknown("the connection to Asterisk broke during the invitation; the phone may ring still")
        return outcome

    def event(self, message: Message) -> None:
        """Take any event of the connection."""
        call = self._calls.get(message.get("Uniqueid", ""))
        if call is None:
            return
        match message.get("Event"):
            case "Newchannel":
                call.has_channel = True
            case "Hangup":
                call.ended = message
            case "OriginateResponse" if message.get("Response") == "Success":
                call.settle(Joined(message["Channel"]))
            case "OriginateResponse":
                call.failed = message
        if call.failed is not None and not call.has_channel:
            call.settle(Unreachable("not registered, or unknown"))
        elif call.failed is not None and call.ended is not None:
            call.settle(_outcome(call.ended, call.failed))

    def lost(self) -> None:
        """The connection is gone: nobody will say what became of those that are under way."""
        for call in self._calls.values():
            call.settle(None)


def _outcome(hangup: Message, response: Message) -> Outcome:
    """Return what the end of a call means that nobody has taken."""
    cause = int(hangup["Cause"]) if hangup.get("Cause", "").isdecimal() else 0
    reason, code = hangup.get("Cause-txt") or "Unknown", hangup.get("TechCause", "")
    if not cause:
        cause, reason = _REASONS.get(response.get("Reason", ""), (cause, reason))
    if cause in _NO_ANSWER:
        return NoAnswer()
    if re.fullmatch(r"[1-6][0-9][0-9]", code):
        reason += f" (SIP {code})"
    return Refused(reason, cause) if cause in _REFUSED else Unreachable(reason)


def _referred_by(address: str) -> str:
    """Return an address as it stands in a header Referred-By, where nothing in it means anything; "" if it is none."""
    scheme, _, rest = address.partition(":")
    if scheme not in _SCHEMES or not rest:
        return ""
    written = f"<{scheme}:{quote(rest, safe='@:')}>"
    return written if len(written) <= ADDRESS_BYTES else ""
