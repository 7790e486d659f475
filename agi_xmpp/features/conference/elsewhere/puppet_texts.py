"""What phones write, on its way into a room that is another service's. Pure.

A text goes out by the occupant of its phone. While that is not in yet it waits, and so do all that come after it.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

from agi_xmpp.features.conference.elsewhere import puppet_stanzas
from agi_xmpp.features.conference.elsewhere.puppet import Puppet, State
from agi_xmpp.features.conference.elsewhere.puppet_crowd import PuppetCrowd
from agi_xmpp.features.conference.elsewhere.puppet_queue import PuppetQueue, Text
from agi_xmpp.features.conference.model import Outside, Utterance
from agi_xmpp.features.conference.room import nicks, wording
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.room import message_refusal

#: Errors to a text that say that we are not in the room any more, and that nobody has got it.
_NOT_IN = ("not-acceptable", "item-not-found", "gone", "recipient-unavailable", "service-unavailable")


class PuppetTexts:
    """The texts of phones for one room.

    Args:
        number: of the conference.
        room: bare JID.
        outside: the world.
        crowd: the puppets; not changed.
        clock: seconds, monotonic.
    """

    def __init__(
        self, number: str, room: Jid, outside: Outside, crowd: PuppetCrowd, clock: Callable[[], float]
    ) -> None:
        self._number = number
        self._room = room
        self._outside = outside
        self._crowd = crowd
        self._phones = crowd.phones
        self._queue = PuppetQueue(clock)

    def phone_said(self, display: str, text: str, sender: str | None = None) -> None:
        """Take a text; see `ConferenceRoom.phone_said`."""
        text = wording.for_chat(text)
        if not text:
            return
        puppet = self._crowd.speaker_of(display, sender)
        channel = puppet.participant.channel if puppet is not None else ""
        display = nicks.claimed((puppet.participant for puppet in self._phones.values()), display)
        if not self._queue.add(channel, display, text):
            self._tell(channel, "Too many texts are waiting for the chat: it has not got yours.")
        self.flush()

    def announce(self, text: str) -> None:
        """Tell everybody in chat something by the first phone that may write, if there is one."""
        puppet = self._speaker_for_others()
        if puppet is not None and puppet.voice:
            puppet.say(self._outside.new_id(), wording.for_chat(text))

    def flush(self) -> None:
        """Send what can be sent, in order."""
        while (text := self._queue.first) is not None:
            puppet, problem = self._speaker(text)
            if puppet is not None:
                id_ = self._outside.new_id()
                puppet.say(id_, text.text if text.channel else wording.unproven(text.display, text.text))
                self._queue.sent(id_)
            elif problem:
                self._queue.drop()
                self._tell(text.channel, problem)
            else:
                return

    def reflected(self, id_: str) -> None:
        """A text has reached the room."""
        self._queue.reflected(id_)

    def returned(self, stanza: Element) -> str:
        """A text has come back. Return why if that says that its phone is not in any more; otherwise ""."""
        text = self._queue.returned(stanza.get("id", ""))
        if text is None:
            return ""
        condition, words = puppet_stanzas.error_of(stanza)
        reason = message_refusal(self._room, condition, words)
        if condition in _NOT_IN and self._queue.send_again(text):
            return reason
        self._tell(text.channel, f"The chat has not got your text: {reason}.")
        return ""

    def stream_ended(self) -> None:
        """What was sent a moment ago may have arrived or not: it is not sent again, so that nobody reads it twice."""
        for text in self._queue.uncertain():
            self._tell(text.channel, "The connection broke: perhaps the chat has not got your last text.")

    def tick(self) -> None:
        """Give up what has waited too long."""
        for text in self._queue.late():
            self._tell(text.channel, "The chat has not got your text: it cannot be reached.")

    def _speaker(self, text: Text) -> tuple[Puppet | None, str]:
        """Return who sends a text; or None, and why nobody does; or None and "": it has to wait.

        It is sent by another phone than its own only if its own is gone: what the room refuses to one phone does not
        come in by another.
        """
        puppet = self._phones.get(text.channel)
        if puppet is None:
            text.channel = ""
            puppet = self._speaker_for_others()
        if puppet is None or puppet.state is State.EXPELLED:
            return None, "You are not in the chat any more."
        if puppet.state is State.IN:
            return (puppet, "") if puppet.voice else (None, "The chat does not let you write.")
        return None, f"The chat does not get your texts: {puppet.problem}." if puppet.refused else ""

    def _speaker_for_others(self) -> Puppet | None:
        """Return the phone that tells what none of them has said: the best that there is."""
        return max(self._phones.values(), key=_fitness, default=None)

    def _tell(self, channel: str, words: str) -> None:
        """Tell a phone something about its texts, once."""
        puppet = self._phones.get(channel)
        if puppet is not None and puppet.told != words:
            puppet.told = words
            self._outside.whisper(self._number, channel, Utterance("", words))


def _fitness(puppet: Puppet) -> int:
    """Return how well a phone can tell something; of two that are alike, `max` takes the first."""
    if puppet.state is State.IN:
        return 3 if puppet.voice else 1
    return 2 if puppet.state in (State.OUT, State.ENTERING) and not puppet.refused else 0
