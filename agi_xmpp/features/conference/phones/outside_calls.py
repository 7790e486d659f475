"""Phones that write and read outside of calls: their texts come and go by the manager connection.

Many softphones know no texts within a call. Theirs go to the conference's number as a message of its own, and so they
get what others write; in the conference they have a ConfBridge profile without texts, so that nothing comes twice.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from agi_xmpp.ami import messages
from agi_xmpp.ami.conferences import Conferences, Participant
from agi_xmpp.ami.messages import OutsideText
from agi_xmpp.ami.model import Ami, Message
from agi_xmpp.background import Background
from agi_xmpp.config import ConferenceSettings
from agi_xmpp.errors import AmiError, AmiForbidden, AmiRefused
from agi_xmpp.features.conference.phones.roster import LOST_AFTER
from agi_xmpp.features.conference.room import nicks, wording
from agi_xmpp.sip.text import display_name, numbered

log = logging.getLogger("agi_xmpp.conference")

#: Texts that wait for one phone, and that phones have written and are not looked at yet. Each is an action or two of
#: the manager connection, which calls need, too.
WAITING_EACH: Final = 1000
WAITING_IN: Final = 1000

#: Seconds that a text waits for the manager connection; after that time nobody counts as in any more.
AWAY: Final = LOST_AFTER

#: Messages that one text may become: a phone may ring or beep at each.
MAX_PARTS: Final = 20

#: What who writes too much is told. Asterisk takes the text, and then has none of it.
TOO_LONG: Final = "Your text was too long or empty, and nobody has got it: send 1023 bytes at the most."

_FORBIDDEN: Final = (
    "Asterisk does not let us write to phones outside of calls (conference.texts_outside_calls): add message to the"
    ' manager user\'s line write = in manager.conf; after that, asterisk -rx "manager reload", and systemctl reload'
    " agi-xmpp"
)


@dataclass(frozen=True, slots=True)
class _Text:
    """A text on its way to a phone.

    Attributes:
        number: the conference's, which is where an answer goes.
        name: the writer's.
        text: whole.
        done: is told "" when Asterisk has all of it, else the reason.
    """

    number: str
    name: str
    text: str
    done: Callable[[str], None]


@dataclass(slots=True)
class _Reader:
    """A phone in a conference that is being told something.

    Attributes:
        participant: as Asterisk told of it.
        waiting: what it is to be told; the first one is on its way.
        host: at which it knows Asterisk; "" while that was not asked.
    """

    participant: Participant
    waiting: deque[_Text] = field(default_factory=deque)
    host: str = ""

    @property
    def endpoint(self) -> str:
        """Of pjsip.conf."""
        return _endpoint(self.participant)


class OutsideCalls:
    """The texts of phones outside of calls, in all conferences.

    Args:
        settings: ``[conference]``, which says whose phones read so.
        ami: the manager connection.
        conferences: who is in which.
        said: gets what a phone has written: the conference's number, who wrote it, and the text.

    Attributes:
        problem: why such phones are not told anything; "" if all is well, as far as we know.
    """

    def __init__(
        self,
        settings: ConferenceSettings,
        ami: Ami,
        conferences: Conferences,
        said: Callable[[str, Participant, str], None],
    ) -> None:
        self._settings = settings
        self._ami = ami
        self._conferences = conferences
        self._said = said
        self._readers: dict[str, _Reader] = {}  # by channel, while there is something to tell them
        self._written: deque[OutsideText] = deque()
        self._listening = False
        self._handed_on = False  # something was, since the login: the manager user gets such events
        self._unreachable: set[str] = set()
        self._background = Background(log, "texts outside of calls")
        self.problem = ""

    def apply(self, settings: ConferenceSettings) -> None:
        """Use other settings from now on."""
        self._settings = settings

    @property
    def may_be_deaf(self) -> bool:
        """True if phones may write, and nothing has come yet: perhaps Asterisk does not tell us what they write."""
        return bool(self._settings.texts_outside_calls) and not self._handed_on

    async def stop(self) -> None:
        """Forget what waits."""
        await self._background.stop()

    def reads(self, participant: Participant) -> bool:
        """Tell whether a phone reads texts outside of calls, and none within."""
        return _endpoint(participant) in self._settings.texts_outside_calls

    # To phones

    def overheard(self, number: str, title: str, display: str, text: str, sender: str | None) -> None:
        """Tell what a phone has written within its call, which the other phones have read there.

        Args:
            number: of the conference.
            title: of its room, which says what nobody is known to have said.
            display, text, sender: as of `ConferenceRoom.phone_said`.
        """
        phones = self._conferences.of(number)
        if sender is None:
            writer = nicks.speaker(phones, display)
        else:
            writer = next((one for one in phones if one.channel == sender), None)
        if writer is not None:
            self.tell(number, title, name_of(writer), text, but=writer.device)
        else:
            self.tell(number, title, "", wording.unproven(nicks.claimed(phones, display), text))

    def tell(self, number: str, title: str, name: str, text: str, *, but: str = "") -> None:
        """Tell the phones of a conference that read outside of calls something, after what they were told before.

        The writer stands in the text, too: to such a phone all that comes from the conference is one conversation,
        and who says what in it is not shown by baresip, for one. An endpoint that is in by several calls is told once.

        Args:
            number: of the conference.
            title: of its room.
            name: the writer's; "" for the room itself.
            text: of any length: phones get it in numbered parts, and `MAX_PARTS` of them.
            but: device of the writer, which is not told.
        """
        text = wording.marked(f"<{name}>", text) if name else text
        readers = {one.device: one for one in reversed(self._conferences.of(number)) if self.reads(one)}
        readers.pop(but, None)
        for participant in readers.values():
            self._send(number, participant, name or title, text, _nobody)

    def whisper(self, number: str, channel: str, name: str, text: str, done: Callable[[str], None]) -> bool:
        """Tell one phone something that is for nobody else.

        Args:
            number: of the conference.
            channel: of the phone.
            name: the writer's; "" for the room itself.
            text: of any length.
            done: is called once, with "" when Asterisk has all of it, else with the reason.

        Returns:
            False if the phone is none that reads outside of calls: nothing was done.
        """
        found = [one for one in self._conferences.of(number) if one.channel == channel and self.reads(one)]
        if not found:
            return False
        text = wording.marked(f"[private] <{name}>" if name else "[private]", text)
        if len(_parts(text)) > MAX_PARTS:
            done(f"one phone can be told {MAX_PARTS * messages.MAX_BODY} bytes at once")
        else:
            self._send(number, found[0], name, text, done)
        return True

    def _send(self, number: str, participant: Participant, name: str, text: str, done: Callable[[str], None]) -> None:
        """Tell one phone something, after what it was told before; arguments as of `whisper`."""
        reader = self._readers.get(participant.channel)
        if reader is None:
            reader = self._readers[participant.channel] = _Reader(participant)
            self._background.spawn(self._serve(reader))
        if len(reader.waiting) >= WAITING_EACH:
            done("too many texts are waiting for this phone")
        else:
            reader.waiting.append(_Text(number, name, text, done))

    def phone_left(self, channel: str) -> None:
        """Forget a phone; what waits for it is not sent any more."""
        reader = self._readers.get(channel)
        while reader is not None and len(reader.waiting) > 1:
            reader.waiting.pop().done("the phone has gone")

    async def _serve(self, reader: _Reader) -> None:
        """Tell a phone what waits for it, in order, until nothing does."""
        try:
            while reader.waiting:
                reason = await self._deliver(reader, reader.waiting[0])
                done = reader.waiting.popleft().done
                try:
                    done(reason)
                except Exception:
                    log.exception("telling what became of a text failed; the others go on")
        finally:
            del self._readers[reader.participant.channel]

    async def _deliver(self, reader: _Reader, text: _Text) -> str:
        """Send a text, and return why that was not possible; "" if it was."""
        try:
            await self._ami.ready(AWAY)  # as long as the phone counts as in
            address = f"sip:{text.number}@{await self._host(reader)}"
            places = await messages.contacts(self._ami, reader.endpoint)
            for part in _parts(text.text)[:MAX_PARTS]:
                await self._send_to_all(places, display_name(text.name), address, part)
        except AmiError as error:
            self._complain(reader, text.number, error)
            return str(error)
        self.problem = ""
        self._unreachable.discard(reader.endpoint)
        return ""

    async def _send_to_all(self, places: Sequence[str], name: str, address: str, part: str) -> None:
        """Send to all phones of an endpoint, of which one may be gone.

        Raises:
            AmiRefused: there is none to which Asterisk can send.
            AmiError: see `messages.send_message`.
        """
        refusal, sent = AmiRefused("it is not registered"), False
        for place in places:
            try:
                await messages.send_message(self._ami, place, name, address, part)
                sent = True
            except AmiForbidden:
                raise
            except AmiRefused as error:
                refusal = error
        if not sent:
            raise refusal

    async def _host(self, reader: _Reader) -> str:
        if not reader.host:
            with contextlib.suppress(AmiRefused):  # it has just gone
                reader.host = await messages.host_of(self._ami, reader.participant.channel)
            reader.host = reader.host or self._settings.sip.host
        return reader.host

    def _complain(self, reader: _Reader, number: str, error: AmiError) -> None:
        """Log once what is wrong with a phone, or with our rights."""
        if isinstance(error, AmiForbidden):
            if not self.problem:
                log.error("%s", _FORBIDDEN)
            self.problem = _FORBIDDEN
        elif reader.endpoint not in self._unreachable:
            self._unreachable.add(reader.endpoint)
            log.warning("conference %s: texts do not reach %s outside of calls: %s", number, reader.endpoint, error)

    # From phones

    def ami_connected(self) -> None:
        """The manager user may have other rights now."""
        self._handed_on = False

    def ami_event(self, event: Message) -> None:
        """Take an event; texts that the dialplan hands on count."""
        text = messages.read_text(event)
        if text is None:
            return
        self._handed_on = True
        if len(self._written) >= WAITING_IN:
            log.warning("conference %s: a text was lost: too many come outside of calls", _shown(text.number))
            return
        self._written.append(text)
        if not self._listening:
            self._listening = True
            self._background.spawn(self._listen())

    async def _listen(self) -> None:
        try:
            while self._written:
                text = self._written.popleft()
                try:
                    await self._take(text)
                except AmiError as error:
                    log.warning("conference %s: whose a text is cannot be asked: %s", _shown(text.number), error)
                except Exception:
                    log.exception("conference %s: taking a text failed; the others go on", _shown(text.number))
        finally:
            self._listening = False

    async def _take(self, text: OutsideText) -> None:
        """Hand a text on if its writer is in the conference that it was written to."""
        writer = self._writer(text)
        if writer is None or not await messages.is_caller_of(self._ami, text.user, text.caller):
            log.info("conference %s: a text of %s, who is not in, was dropped", _shown(text.number), _shown(text.user))
        elif not text.text:
            self._send(text.number, writer, "", TOO_LONG, _nobody)
        elif self._writer(text) is not None:  # not gone while Asterisk was asked
            self._said(text.number, writer, text.text)

    def _writer(self, text: OutsideText) -> Participant | None:
        return next((one for one in self._conferences.of(text.number) if _endpoint(one) == text.user), None)


def _endpoint(participant: Participant) -> str:
    """Return the endpoint of pjsip.conf that a phone is; "" for other kinds of channels."""
    technology, _, endpoint = participant.device.partition("/")
    return endpoint if technology == "PJSIP" else ""


def name_of(participant: Participant) -> str:
    """Return the name under which other phones read what a phone has written."""
    return nicks.caller_name(participant) or nicks.UNKNOWN


def _parts(text: str) -> list[str]:
    return numbered(text, messages.MAX_BODY)


def _nobody(_reason: str) -> None:
    pass


def _shown(text: str) -> str:
    """Return what a stranger may have made up, as it may stand in the log."""
    return repr(text[:80])
