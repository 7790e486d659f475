"""Our calls into conferences, which carry the texts: when there is one, and what is left over of others.

There is one while a phone is in that reads within its call, and somebody who does not: in chat, or on a phone that
writes and reads outside of calls.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from agi_xmpp.ami import confbridge
from agi_xmpp.ami.calls import device_of
from agi_xmpp.ami.conferences import Conferences
from agi_xmpp.ami.model import Ami, Message
from agi_xmpp.background import Background
from agi_xmpp.config import SipSettings
from agi_xmpp.errors import AmiError, AmiRefused
from agi_xmpp.features.conference.model import ConferenceRoom, Utterance
from agi_xmpp.features.conference.phones.outside_calls import OutsideCalls
from agi_xmpp.features.conference.phones.texts import PhoneTexts
from agi_xmpp.features.conference.phones.true_senders import TrueSenders
from agi_xmpp.pace import Pace
from agi_xmpp.sip.agent import SipAgent

log = logging.getLogger("agi_xmpp.conference")

#: Seconds between attempts to reach a conference at the most.
CALL_RETRY_MAX = 30.0

#: Seconds for which our leg stays in a conference when the last one has left chat: an XMPP server that stops says so of
#: everybody before it goes. And seconds that people then get, once it is there again, to come back.
GRACE = 2.0
RETURN_TIME = 30.0


def own_device(settings: SipSettings) -> str:
    """Return the device of our legs, as Asterisk's channels have it."""
    return f"PJSIP/{settings.endpoint}"


class Legs:
    """The texts of all conferences: a leg in each that needs one, see above.

    Args:
        settings: ``[conference.sip]``.
        ami: the manager connection.
        conferences: who is in which; it hides our legs.
        room_of: finds the room of a conference's number; None where there is none.
        heard: gets each text of a phone: the conference's number, and the arguments of `ConferenceRoom.phone_said`.
        outside_calls: tells the phones that read outside of calls.
        make_agent: makes what calls conferences.
    """

    def __init__(
        self,
        settings: SipSettings,
        ami: Ami,
        conferences: Conferences,
        room_of: Callable[[str], ConferenceRoom | None],
        heard: Callable[[str, str, str, str | None], None],
        outside_calls: OutsideCalls,
        make_agent: Callable[[SipSettings], SipAgent] = SipAgent,
    ) -> None:
        self._settings = settings
        self._ami = ami
        self._conferences = conferences
        conferences.hide(own_device(settings))
        self._room_of = room_of
        self._tell = heard
        self._outside_calls = outside_calls
        self._agent = make_agent(settings)
        self._senders = TrueSenders(settings, ami, heard)
        self._texts: dict[str, PhoneTexts] = {}
        self._parting: set[str] = set()
        self._streaming = asyncio.Event()
        self._was_away = False
        self._return_until = 0.0
        self._background = Background(log, "texts of conferences")

    async def start(self) -> None:
        """Be ready to call."""
        await self._agent.start()
        await self._senders.start()

    async def stop(self) -> None:
        """Leave all conferences, and free everything."""
        await self._background.stop()
        await asyncio.gather(*(texts.stop() for texts in self._texts.values()))
        await self._agent.stop()
        await self._senders.stop()

    async def apply(self, settings: SipSettings) -> None:
        """Use other settings from now on. Legs by the old ones end and come anew; texts that wait go by these."""
        old, self._settings = self._settings, settings
        if settings == old:
            self._senders.retry()
            return
        if (settings.hep, settings.host) != (old.hep, old.host):
            await self._ask_anew_who_writes()
        self._conferences.hide(own_device(settings))
        for texts in self._texts.values():
            texts.expect_other_settings()
        await self._agent.apply(settings)
        if own_device(settings) != own_device(old):
            self._conferences.show(own_device(old))

    async def _ask_anew_who_writes(self) -> None:
        await self._senders.stop()
        self._senders = TrueSenders(self._settings, self._ami, self._tell)
        await self._senders.start()
        for number in self._conferences.numbers():
            for participant in self._conferences.of(number):
                self._senders.phone_is_in(number, participant.channel)

    @property
    def problem(self) -> str:
        """Why it is not known who writes; "" if all is well."""
        return self._senders.problem

    def senders_status(self) -> dict[str, Any] | None:
        """See `TrueSenders.status`."""
        return self._senders.status()

    def status(self, number: str) -> dict[str, Any]:
        """Return what `agi-xmpp status` shows of a conference's texts."""
        texts = self._texts.get(number)
        unread = bool(self._outside_calls.problem) and any(map(self._outside_calls.reads, self._conferences.of(number)))
        if texts is None:
            return {"texts": "not needed", "texts_fail": unread}
        return {"texts": texts.state, "texts_fail": texts.fails or unread}

    # What Asterisk tells

    def ami_connected(self) -> None:
        """Ask for what could not be asked for."""
        self._senders.ami_connected()

    def ami_event(self, event: Message) -> None:
        """Take an event; those of our own legs count."""
        if event.get("Event") == "ConfbridgeJoin" and device_of(event["Channel"]) == own_device(self._settings):
            texts = self._texts.get(event["Conference"])
            if texts is not None:
                texts.entered()

    def check(self) -> None:
        """Compare our legs with Asterisk's lists: it may have been restarted, or we."""
        listed = self._conferences.own_legs()
        for number, texts in self._texts.items():
            if all(number != other for other, _ in listed):
                texts.left()
        for number, channel in listed:
            texts_of_it = self._texts.get(number)
            if texts_of_it is None or not texts_of_it.has_leg:
                log.info("conference %s: %s is a leg that was left over", number, channel)
                self._background.spawn(self._remove(number, channel))

    async def _remove(self, number: str, channel: str) -> None:
        try:
            await confbridge.kick(self._ami, number, channel)
        except AmiRefused:
            pass  # it has gone by itself
        except AmiError as error:
            log.warning("conference %s: %s could not be thrown out: %s", number, channel, error)

    def phone_is_in(self, number: str, channel: str) -> None:
        """Take that a phone has come into a conference, or has another name now."""
        self._senders.phone_is_in(number, channel)

    def phone_left(self, number: str, channel: str) -> None:
        """Take that a phone has gone."""
        self._senders.phone_left(number, channel)

    # What the XMPP server tells

    def stream_began(self) -> None:
        """The XMPP server is there: who was in chat may come back."""
        self._streaming.set()
        if self._was_away:
            self._return_until = time.monotonic() + RETURN_TIME

    def stream_ended(self) -> None:
        """The XMPP server is away."""
        self._streaming.clear()
        self._was_away = True

    # What rooms want

    def say(self, number: str, utterance: Utterance) -> None:
        """See `Outside.say`."""
        if (texts := self._texts.get(number)) is not None:
            texts.say(utterance)
        elif (room := self._room_of(number)) is not None:
            self._spoken(room, utterance)

    def _spoken(self, room: ConferenceRoom, utterance: Utterance) -> None:
        room.spoken(utterance)
        self._outside_calls.tell(room.number, room.title, utterance.speaker, utterance.text, but=utterance.device)

    def occupancy_changed(self, number: str) -> None:
        """Come into a conference, stay or go: somebody in its room, or on its phones, has come or gone."""
        room = self._room_of(number)
        texts = self._texts.get(number)
        if texts is not None and texts.room is not room:
            self._forget(number, texts)
            texts = None
        if room is None:
            return
        has_phones = bool(self._conferences.of(number))
        wanted = self._is_wanted(room)
        if wanted and texts is None:
            texts = self._texts[number] = self._make_texts(number, room)
        if texts is not None and texts.wanted and has_phones and not wanted:
            self._part_soon(number)
        elif texts is not None:
            texts.want(wanted)

    def _is_wanted(self, room: ConferenceRoom) -> bool:
        reads = [self._outside_calls.reads(one) for one in self._conferences.of(room.number)]
        return not all(reads) and (room.has_listeners or any(reads))

    def _make_texts(self, number: str, room: ConferenceRoom) -> PhoneTexts:
        def heard(display: str, text: str) -> None:
            self._senders.heard(number, display, text)

        spoken = partial(self._spoken, room)
        return PhoneTexts(room, self._agent, Pace(CALL_RETRY_MAX, time.monotonic), heard, spoken)

    def _forget(self, number: str, texts: PhoneTexts) -> None:
        del self._texts[number]
        self._senders.forget(number)
        texts.want(False)  # what waits is for the room that was, and is said now
        self._background.spawn(texts.stop())

    def _part_soon(self, number: str) -> None:
        """Let our leg go, unless somebody comes back to chat."""
        if number not in self._parting:
            self._parting.add(number)
            self._background.spawn(self._part(number))

    async def _part(self, number: str) -> None:
        await asyncio.sleep(GRACE)
        await self._streaming.wait()
        await asyncio.sleep(max(0.0, self._return_until - time.monotonic()))
        self._parting.discard(number)
        room, texts = self._room_of(number), self._texts.get(number)
        if texts is not None and texts.room is room and not self._is_wanted(texts.room):
            texts.want(False)
