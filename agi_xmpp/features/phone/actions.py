"""What people do with their phones from a keyboard: call somebody, send a call on, end it.

One way for all who ask: phone actions of clients, commands with forms, and chat words. Whoever asks may use their own
phones and their own calls alone, and reach the extensions of others and what their patterns allow. Every action is one
line in the log, done or refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agi_xmpp.ami import originate
from agi_xmpp.ami.calls import Call, Change, Party, Phase
from agi_xmpp.ami.model import Message
from agi_xmpp.config import PhoneSettings
from agi_xmpp.errors import AmiError, AmiNotConnected, AmiRefused, AmiUnknown, BadJid, Refused
from agi_xmpp.features.phone.numbers import allowed, clean, plain
from agi_xmpp.features.phone.people import People, Person
from agi_xmpp.xmpp import jid
from agi_xmpp.xmpp.model import Jid

log = logging.getLogger("agi_xmpp.phone")

#: Seconds for which a call may still fail before we say that it is under way. Spark waits 10 s for the answer, and
#: people look at their phones after one.
EARLY = 1.0

#: Q.850 causes that we give. Normal clearing; and user busy, with which Dial() sets DIALSTATUS=BUSY: call rejected (21)
#: would be CHANUNAVAIL, as if there were no phone (measured on Asterisk 22.10).
_CLEARING, _BUSY = "16", "17"

#: Why the own phone did not ring, by the cause of its Hangup.
_CAUSES = {"17": "is busy", "21": "rejects the call"}

#: Asterisk's words for a channel that is no more (Redirect, BlindTransfer and Hangup have each their own).
_GONE = re.compile(r"No such channel|Channel (specified )?does not exist|Channel is not up")

#: States of a channel (channelstate.h): ringing, and up.
_RINGING_OR_UP = ("5", "6")


class Manager(Protocol):
    """What is needed of `agi_xmpp.ami.model.Ami`."""

    async def action(
        self, name: str, headers: Mapping[str, str] | None = None, *, variables: Mapping[str, str] | None = None
    ) -> Message:
        """Carry out an action, see `Ami.action`."""


class LiveCalls(Protocol):
    """What is needed of `agi_xmpp.ami.calls.Calls`."""

    def expect(self, channel_id: str, owner: str, target: Party | None = None) -> None:
        """A call of ours is about to begin with that channel; its id is ``c-<channel_id>``."""

    def forget(self, channel_id: str) -> Sequence[Change]:
        """It will not."""

    def find(self, call_id: str, owner: str) -> Call | None:
        """Return a call of that owner."""

    def of(self, owner: str) -> Sequence[Call]:
        """Return the owner's calls."""


@dataclass(slots=True)
class _Start:
    """A call by click to dial in its first moment.

    Attributes:
        owner: whose.
        outcome: "" if the phone rings, or why it does not.
        has_channel: Asterisk has begun to call the phone, so a Hangup will say why it failed.
    """

    owner: str
    outcome: asyncio.Future[str]
    has_channel: bool = False


class Actions:
    """Carries out what people ask for. All its methods raise `Refused` with a sentence for them.

    Args:
        people: the user map.
        settings: ``[phone]``.
        ami: the manager connection; give its events to `ami_event`.
        calls: those that are going on.
        changed: is told what becomes of a call that Asterisk did not even begin.
        early: see `EARLY`.
    """

    def __init__(
        self,
        people: People,
        settings: PhoneSettings,
        ami: Manager,
        calls: LiveCalls,
        changed: Callable[[Sequence[Change]], None] = lambda _changes: None,
        early: float = EARLY,
    ) -> None:
        self._people = people
        self._settings = settings
        self._ami = ami
        self._calls = calls
        self._changed = changed
        self._early = early
        self._extensions = frozenset(person.extension for person in people)
        self._starts: dict[str, _Start] = {}
        #: Channels that are being hung up; done when they are gone.
        self._ending: dict[str, asyncio.Future[None]] = {}

    def ami_event(self, event: Message) -> None:
        """Take an event of Asterisk, before `Calls` does or after."""
        if event.get("Event") == "Hangup" and (gone := self._ending.pop(event.get("Channel", ""), None)):
            gone.set_result(None)
        start = self._starts.get(event.get("Uniqueid", ""))
        if start is None or start.outcome.done():
            return
        kind, failed = event.get("Event"), event.get("Response") == "Failure"
        if kind == "Newchannel":
            start.has_channel = True
        elif kind == "Newstate" and event.get("ChannelState") in _RINGING_OR_UP:
            start.outcome.set_result("")
        elif kind == "Hangup":
            start.outcome.set_result(_CAUSES.get(event.get("Cause", ""), "cannot be reached"))
        elif kind == "OriginateResponse" and not (failed and start.has_channel):
            # A failure comes before the Hangup, and says less: busy is 0 here, as everything is (Asterisk 22.10).
            start.outcome.set_result("cannot be reached" if failed else "")

    async def dial(self, person: Person, target: str, *, device: str = "", by: Jid | None = None) -> None:
        """Let the person's own phone ring, and call somebody when it is picked up.

        Returns when the phone rings, or after `EARLY`: never later than that.

        Args:
            person: who calls.
            target: a number as it was typed, or the JID of somebody in the user map.
            device: which of the person's phones; the first one if empty.
            by: the full JID of who asks, for the log.

        Raises:
            Refused: it is not allowed, makes no sense, or has failed already.
        """
        async with self._audited(by or person.jid, "dial", target) as line:
            number = self._number(person, target)
            device = _own_device(person, device)
            line["number"], line["device"] = number, device
            self._refuse_a_second_one(person)
            channel_id = f"xp-{secrets.token_hex(16)}"
            line["call"] = f"c-{channel_id}"
            await self._originate(person, number, device, channel_id)

    async def forward(self, person: Person, call_id: str, target: str, *, by: Jid | None = None) -> None:
        """Send a call of the person on to somebody else: while it rings, or while they talk.

        Args:
            person: whose call.
            call_id: of the call.
            target: as for `dial`.
            by: the full JID of who asks, for the log.

        Raises:
            Refused: there is no such call of this person, it cannot be forwarded now, or `target` is not allowed.
        """
        async with self._audited(by or person.jid, "forward", target, call_id) as line:
            call = self._call(person, call_id)
            number = self._number(person, target)
            line["number"] = number
            self._forwarding(call)
            await self._check_extension(number)
            # Meanwhile somebody may have answered: what was to be sent on may be another's conversation by now.
            action, headers = self._forwarding(self._call(person, call_id))
            line["channel"] = headers["Channel"]
            headers |= {"Context": self._settings.context, "Exten": number}
            try:
                await self._act(action, headers, "the call may be forwarded all the same")
            except AmiRefused as error:
                raise _not_forwarded(error) from None

    async def hangup(self, person: Person, call_id: str, *, by: Jid | None = None) -> None:
        """End a call of the person; one that rings is rejected as busy, on all their phones.

        Args:
            person: whose call.
            call_id: of the call.
            by: the full JID of who asks, for the log.

        Raises:
            Refused: there is no such call of this person, or Asterisk cannot end it.
        """
        async with self._audited(by or person.jid, "hangup", call=call_id) as line:
            call = self._call(person, call_id)
            line["channel"] = call.channel
            await self._hang_up(call)
            # All phones that ring for the call are to be silent. Each that is gone leaves the next one as its channel.
            for _other in person.devices[1:]:
                if call.phase is not Phase.RINGING:
                    return
                left = self._calls.find(call_id, str(person.jid))
                if left is None or left.phase is not Phase.RINGING or left.channel == call.channel:
                    return
                call = left
                line["channel"] += f",{call.channel}"
                await self._hang_up(call)

    # Whom, and which

    def may_dial(self, person: Person, number: str) -> bool:
        """Return True if that is a number which the person may dial. Whether somebody has it is known to Asterisk."""
        try:
            return allowed(clean(number), self._extensions, person.dial)
        except Refused:
            return False

    def _number(self, person: Person, target: str) -> str:
        """Return the extension that is meant, if the person may reach it."""
        number = self._extension_of(target) if "@" in target else clean(target)
        if number == person.extension:
            raise Refused("That is your own number.", "not-acceptable")
        if not allowed(number, self._extensions, person.dial):
            raise Refused(f"You may not call {number}.", "forbidden")
        return number

    def _extension_of(self, address: str) -> str:
        try:
            whom = jid.parse(address.strip())
        except BadJid as error:
            raise Refused(f"{plain(str(error), 200)}.", "bad-request") from None
        person = self._people.by_jid(whom)
        if person is None:
            raise Refused(f"{whom.bare} has no phone here.", "item-not-found")
        return person.extension

    def _call(self, person: Person, call_id: str) -> Call:
        call = self._calls.find(call_id, str(person.jid))
        if call is None:
            # The same for a call of somebody else: nobody finds out by asking which calls there are.
            raise Refused(f"No such call: {plain(call_id)}", "item-not-found")
        return call

    def _refuse_a_second_one(self, person: Person) -> None:
        """One at a time: whoever clicks twice does not mean two calls."""
        owner = str(person.jid)
        rings = any(call.clicked and call.phase is Phase.OPENING for call in self._calls.of(owner))
        if rings or any(start.owner == owner for start in self._starts.values()):
            raise Refused("Your phone rings for a call already: pick it up, or hang up.", "resource-constraint")

    # What Asterisk is asked to do

    async def _originate(self, person: Person, number: str, device: str, channel_id: str) -> None:
        owner = str(person.jid)
        target = self._people.by_extension(number)
        start = self._starts[channel_id] = _Start(owner, asyncio.get_running_loop().create_future())
        self._calls.expect(channel_id, owner, Party(number, target.name if target else ""))
        headers = originate.headers(
            device,
            context=self._settings.context,
            exten=number,
            # Both phones show it: the own one while it rings, and the other one.
            caller_id=originate.shown_as(person.name, person.extension),
            ring_time=self._settings.ring_time,
            channel_id=channel_id,
        )
        variables = {**self._settings.variables, "__XMPP_JID": owner}
        try:
            await self._act("Originate", headers, "the phone may ring all the same", variables)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._early):
                    problem = await start.outcome
                    if problem:
                        raise Refused(f"Your phone {device} {problem}.", "recipient-unavailable")
        except AmiRefused as error:
            self._changed(self._calls.forget(channel_id))
            raise _not_dialled(error, number) from None
        except _NothingDone:
            self._changed(self._calls.forget(channel_id))
            raise
        finally:
            del self._starts[channel_id]

    async def _hang_up(self, call: Call) -> None:
        """Hang up the own channel of a call; if it rings, wait a moment until it is gone."""
        headers = {"Channel": call.channel, "Cause": _BUSY if call.phase is Phase.RINGING else _CLEARING}
        gone = self._ending.setdefault(call.channel, asyncio.get_running_loop().create_future())
        try:
            await self._act("Hangup", headers, "the call may be over all the same")
            if call.phase is Phase.RINGING:
                await asyncio.wait([gone], timeout=self._early)
        except AmiRefused as error:
            if _GONE.search(str(error)):
                raise Refused("The call is over already.", "item-not-found") from None
            raise _unexpected(error) from None
        finally:
            self._ending.pop(call.channel, None)

    def _forwarding(self, call: Call) -> tuple[str, dict[str, str]]:
        """Return the action that sends a call on, and which channel it takes."""
        if call.phase is Phase.TALKING:
            # On the own channel: Asterisk moves whoever is on the other side, and hangs up the own one.
            return "BlindTransfer", {"Channel": call.channel}
        if call.phase is Phase.RINGING and call.source:
            return "Redirect", {"Channel": call.source, "Priority": "1"}
        if call.phase is Phase.RINGING:
            raise Refused("Nobody is there who could be sent on: answer the call first.", "not-acceptable")
        raise Refused("The other side has not answered yet: a call can be forwarded from then on.", "not-acceptable")

    async def _check_extension(self, number: str) -> None:
        """Ask the dialplan, because Redirect does not: it would drop the caller (Asterisk 22.10).

        Without the module func_dialplan the answer is empty, and we go on.
        """
        question = {"Variable": f"DIALPLAN_EXISTS({self._settings.context},{number},1)"}
        try:
            answer = await self._act("Getvar", question, "nothing was forwarded")
        except AmiRefused as error:
            raise _unexpected(error) from None
        if answer.get("Value") == "0":
            raise _no_extension(number)

    async def _act(
        self, name: str, headers: Mapping[str, str], otherwise: str, variables: Mapping[str, str] | None = None
    ) -> Message:
        """Carry out an action; `AmiRefused` is left to the caller.

        Args:
            name: of the action.
            headers: of the action.
            otherwise: what may be although no answer came.
            variables: of the channel.
        """
        try:
            return await self._ami.action(name, headers, variables=variables)
        except AmiNotConnected:
            raise _NothingDone("The telephone system is out of reach: try again later.", _OUT_OF_REACH) from None
        except AmiUnknown:
            # Never again by ourselves: two calls would be worse than none.
            raise Refused(f"The telephone system does not answer; {otherwise}.", _OUT_OF_REACH) from None
        except AmiRefused:
            raise
        except AmiError as error:
            log.error("phone: %s was not sent: %s", name, error)
            raise _NothingDone("The telephone system cannot be asked for that.", "internal-server-error") from None

    @contextlib.asynccontextmanager
    async def _audited(self, who: Jid, what: str, typed: str = "", call: str = "") -> AsyncIterator[dict[str, str]]:
        """Write one line when the action is over. The block adds to what it says."""
        line: dict[str, str] = {}
        if call:
            line["call"] = _shown(call)
        try:
            yield line
        except Refused as error:
            reason = f"{error.condition}, {_shown(str(error), 300)}"
            log.warning("%s: %s refused: %s", who, _said(what, typed, line), reason)
            raise
        except asyncio.CancelledError:
            log.warning("%s: %s broken off", who, _said(what, typed, line))
            raise
        log.info("%s: %s done", who, _said(what, typed, line))


class _NothingDone(Refused):
    """Asterisk was not asked."""


_OUT_OF_REACH = "remote-server-timeout"


def _own_device(person: Person, device: str) -> str:
    """Return the device as the configuration writes it: nothing that was typed becomes a channel."""
    if not device:
        return person.devices[0]
    for own in person.devices:
        if own.casefold() == device.casefold():
            return own
    raise Refused(f"{plain(device)} is no phone of yours; you have {', '.join(person.devices)}.", "item-not-found")


def _not_dialled(error: AmiRefused, number: str) -> Refused:
    return _no_extension(number) if "does not exist" in str(error) else _unexpected(error)


def _not_forwarded(error: AmiRefused) -> Refused:
    text = str(error)
    if _GONE.search(text):
        return Refused("The call is over already.", "item-not-found")
    if "Transfer invalid" in text:
        return Refused("The call cannot be forwarded now: nobody is connected on the other side.", "not-acceptable")
    if "Transfer not permitted" in text:
        return Refused("The telephone system does not allow this call to be forwarded.", "not-allowed")
    return _unexpected(error)


def _no_extension(number: str) -> Refused:
    return Refused(f"The telephone system knows no number {number}.", "item-not-found")


def _unexpected(error: AmiRefused) -> Refused:
    return Refused(f"The telephone system refuses: {error}", "internal-server-error")


def _said(what: str, typed: str, line: Mapping[str, str]) -> str:
    words = [what, *([_shown(typed)] if typed else []), *(f"{key}={value}" for key, value in line.items())]
    return " ".join(words)


def _shown(text: str, limit: int = 80) -> str:
    """Return a text for the log: short, in quotes, and with what cannot be seen written out."""
    return repr(text if len(text) <= limit else f"{text[: limit - 1]}…")
