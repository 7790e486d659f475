"""What is said in a room: by its occupants to all and to one, by phones, and by the room itself. Pure.

A text of chat is reflected once the phones' side has taken it: the reflection is the receipt. What has no text for
phones (somebody types, a reaction) is for clients only, and is reflected at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from agi_xmpp.errors import BadJid
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Archived, Occupant, PhoneOccupant, Role, Utterance
from agi_xmpp.features.conference.room import allowance, nicks, presences, wording
from agi_xmpp.features.conference.room.entrance import Entrance
from agi_xmpp.features.conference.room.invitations import Invitations
from agi_xmpp.features.conference.room.occupants import Holder
from agi_xmpp.features.conference.room.state import RoomState, Subject
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

#: Characters of a message at the most. It goes to everybody and is kept; encryption for a hundred devices fits.
MAX_MESSAGE = 65_536

#: Characters of a subject at the most.
MAX_SUBJECT = 2000

#: What a room says of a message, and the attribute that names who says it (XEP-0359, XEP-0203, XEP-0091).
_WHOSE = {
    f"{{{stanzas.STANZA_ID}}}stanza-id": "by",
    f"{{{stanzas.DELAY}}}delay": "from",
    "{jabber:x:delay}x": "from",
}
_DO_NOT_KEEP = (f"{{{stanzas.HINTS}}}no-store", f"{{{stanzas.HINTS}}}no-permanent-store")
_KEEP = f"{{{stanzas.HINTS}}}store"


class Conversation:
    """The messages of a room.

    Args:
        state: of the room.
        entrance: is told of clients that cannot be reached.
        invitations: takes those that come as messages to the room.
    """

    def __init__(self, state: RoomState, entrance: Entrance, invitations: Invitations) -> None:
        self._state = state
        self._entrance = entrance
        self._invitations = invitations
        self._phones_say_too_much = False

    def message_came(self, stanza: Element, sender: Jid, nick: str) -> None:
        """Take a message; see `Room.message_came`."""
        if stanzas.is_error(stanza):
            self._entrance.error_came(stanza, sender)
            return
        kind = stanza.get("type", "normal")
        if not nick and kind != "groupchat" and self._invitations.message_came(stanza, sender):
            return
        occupant = self._state.occupants.of_session(sender)
        weight = stanzas.weight(stanza)
        if occupant is None:
            self._refuse(stanza, "not-acceptable", "You are not in this room.")
        elif weight > MAX_MESSAGE:
            self._refuse(stanza, "policy-violation", f"A message here has {MAX_MESSAGE} characters at the most.")
        elif not self._state.affords(stanza, sender, self._cost(stanza, weight, nick)):
            return
        elif nick and kind == "groupchat":
            self._refuse(stanza, "bad-request", "A message to all goes to the room, not to somebody in it.")
        elif nick:
            self._private(stanza, sender, occupant, nick)
        elif kind == "groupchat":
            self._to_all(stanza, sender, occupant)
        else:
            self._refuse(stanza, "bad-request", "A message to a room has the type groupchat.")

    def _cost(self, stanza: Element, weight: int, nick: str) -> int:
        """Return how many characters a message makes us send."""
        copies = 1 if nick else self._state.occupants.clients
        is_text = stanzas.body_of(stanza) or stanzas.text_of(stanza, stanzas.CLIENT, "subject")
        return max((weight + allowance.FRAME) * copies, allowance.TEXT if is_text else 0)

    # To all

    def _to_all(self, stanza: Element, sender: Jid, occupant: Occupant) -> None:
        body = stanzas.child(stanza, stanzas.CLIENT, "body")
        subject = stanzas.text_of(stanza, stanzas.CLIENT, "subject")
        if body is None and subject is not None:
            self._set_subject(stanza, occupant, subject)
            return
        text = wording.for_phones(stanza)
        if occupant.role is Role.VISITOR:
            # That a visitor types is nobody's concern, and not worth an error at each key.
            if text or not _is_chat_state(stanza):
                self._refuse(stanza, "forbidden", "You can write here when a moderator has given you the word.")
        elif text:
            speaker = nicks.for_phones(occupant.nick)
            self._state.outside.say(self._state.number, Utterance(speaker, text, stanza, sender, occupant.nick))
        else:
            self._reflect(stanza, occupant.nick, sender)

    def spoken(self, utterance: Utterance) -> None:
        """Show a text to all that the phones have; to the sender, too, who thereby knows."""
        if utterance.stanza is None or utterance.sender is None or utterance.stanza.get("type") != "groupchat":
            return
        occupant = self._state.occupants.of_session(utterance.sender)
        self._reflect(utterance.stanza, occupant.nick if occupant else utterance.nick, utterance.sender)

    def not_spoken(self, utterance: Utterance, reason: str) -> None:
        """Tell the sender that the phones have not got a text."""
        if utterance.stanza is not None:
            self._refuse(utterance.stanza, "remote-server-timeout", wording.for_chat(reason))

    def _reflect(self, stanza: Element, nick: str, sender: Jid) -> None:
        """Send a message of chat to all, with everything in it but what is ours to say."""
        message = stanzas.message(self._state.at(nick), None, "groupchat", stanza.get("id"))
        if (lang := stanza.get(stanzas.LANG)) is not None:
            message.set(stanzas.LANG, lang)
        message.extend(self._proper_children(stanza))
        self._publish(message, nick, self._state.id_of(sender))

    def _publish(self, message: Element, nick: str, occupant_id: str) -> None:
        """Send a message to all clients, and keep it if it is worth it."""
        if occupant_id:
            stanzas.add(message, stanzas.OCCUPANT_ID, "occupant-id", id=occupant_id)
        has_body = bool(stanzas.body_of(message))
        unwanted = any(message.find(hint) is not None for hint in _DO_NOT_KEEP)
        if not unwanted and (has_body or message.find(_KEEP) is not None):
            id_ = self._state.outside.new_id()
            stanzas.add(message, stanzas.STANZA_ID, "stanza-id", by=self._state.address, id=id_)
            kept = Archived(id_, self._state.outside.now(), nick, message)
            if has_body:
                self._state.history.add(kept)
            self._state.outside.archive(self._state.address, kept)
        self._send_to_all(message)

    def _send_to_all(self, message: Element) -> None:
        for full, _ in self._state.occupants.sessions():
            self._state.outside.send(stanzas.addressed(message, full))

    def _proper_children(self, stanza: Element) -> Iterator[Element]:
        """Return the children of a message but those that would speak in the room's name."""
        for child in stanzas.without(stanza, tags=presences.OURS):
            whose = _WHOSE.get(child.tag)
            if whose is None or not self._is_ours(child.get(whose, "")):
                yield child

    def _is_ours(self, address: str) -> bool:
        """Tell whether something is said in the room's name; what has no address counts as from here."""
        if not address:
            return True
        try:
            return parse(address).bare == self._state.address
        except BadJid:
            return False

    def _set_subject(self, stanza: Element, occupant: Occupant, text: str) -> None:
        allowed = occupant.role is Role.MODERATOR
        if self._state.config.subject_by_all and occupant.role is Role.PARTICIPANT:
            allowed = True
        if not allowed:
            self._refuse(stanza, "forbidden", "You may not set the subject of this room.")
            return
        if len(text) > MAX_SUBJECT:
            self._refuse(stanza, "policy-violation", f"A subject has {MAX_SUBJECT} characters at the most.")
            return
        self._state.subject = Subject(text, occupant.nick, self._state.outside.now())
        self._state.on_change()
        message = stanzas.message(self._state.at(occupant.nick), None, "groupchat", stanza.get("id"))
        message.extend(self._proper_children(stanza))
        stanzas.add(message, stanzas.OCCUPANT_ID, "occupant-id", id=self._state.occupant_id(occupant))
        self._send_to_all(message)
        speaker = nicks.for_phones(occupant.nick)
        self._state.outside.say(self._state.number, Utterance("", wording.of_subject(speaker, text)))

    # To one

    def _private(self, stanza: Element, sender: Jid, occupant: Occupant, nick: str) -> None:
        holder = self._state.occupants.named(nick)
        if holder is None:
            self._refuse(stanza, "item-not-found", "There is nobody here by this name.")
        elif isinstance(holder, PhoneOccupant):
            if text := wording.for_phones(stanza):
                utterance = Utterance(nicks.for_phones(occupant.nick), text, stanza, sender, occupant.nick)
                self._state.outside.whisper(self._state.number, holder.participant.channel, utterance)
        else:
            self._relay(stanza, occupant, holder)

    def _relay(self, stanza: Element, occupant: Occupant, to: Occupant) -> None:
        """Pass a private message on to all clients of an occupant (XEP-0045 section 7.5)."""
        message = stanzas.message(self._state.at(occupant.nick), None, stanza.get("type"), stanza.get("id"))
        if (lang := stanza.get(stanzas.LANG)) is not None:
            message.set(stanzas.LANG, lang)
        message.extend(self._proper_children(stanza))
        stanzas.add_muc_user(message)
        stanzas.add(message, stanzas.OCCUPANT_ID, "occupant-id", id=self._state.occupant_id(occupant))
        for full in list(to.sessions):
            self._state.outside.send(stanzas.addressed(message, full))

    # By phones, and by the room

    def phone_said(self, display: str, text: str, sender: str | None = None) -> None:
        """Show a text of a phone to all; see `ConferenceRoom.phone_said`."""
        text = wording.for_chat(text)
        if not text or not self._phones_afford(text):
            return
        phone = self.speaker_of(display, sender)
        nick = phone.nick if phone is not None else ""
        message = stanzas.message(self._state.at(nick), None, "groupchat", self._state.outside.new_id())
        if phone is None:
            phones = (one.participant for one in self._state.occupants.phones.values())
            text = wording.unproven(nicks.claimed(phones, display), text)
        stanzas.add(message, stanzas.CLIENT, "body", text)
        self._publish(message, nick, self._occupant_id(phone))

    def speaker_of(self, display: str, sender: str | None = None) -> PhoneOccupant | None:
        """Return the phone that a text is from; arguments as of `ConferenceRoom.phone_said`, see `nicks.speaker`."""
        phones = self._state.occupants.phones
        if sender is not None:
            return phones.get(sender)
        participant = nicks.speaker((phone.participant for phone in phones.values()), display)
        return phones[participant.channel] if participant is not None else None

    def _phones_afford(self, text: str) -> bool:
        """Tell whether the phones together may say that much; the log has it when they begin to say too much."""
        cost = (len(text) + allowance.FRAME) * self._state.occupants.clients
        was_too_much, self._phones_say_too_much = (
            self._phones_say_too_much,
            not self._state.allowance.take(self._state.address, cost),
        )
        if self._phones_say_too_much and not was_too_much:
            about = "its phones write too much; some of it is not shown in chat"
            self._state.outside.note(f"room {self._state.address}: {about}")
        return not self._phones_say_too_much

    def announce(self, text: str) -> None:
        """Tell everybody in chat something about this moment; it is not kept."""
        message = stanzas.message(self._state.address, None, "groupchat", self._state.outside.new_id())
        stanzas.add(message, stanzas.CLIENT, "body", wording.for_chat(text))
        self._send_to_all(message)

    def config_changed(self) -> None:
        """Tell everybody in chat that the room's settings are others now (XEP-0045 section 10.2.1)."""
        message = stanzas.message(self._state.address, None, "groupchat", self._state.outside.new_id())
        stanzas.add_muc_user(message, codes=(presences.CONFIG_CHANGED,))
        self._send_to_all(message)

    def verify(self) -> None:
        """Send each client a message that it does not show: for those that are not there, an error comes back."""
        message = stanzas.message(self._state.address, None, "groupchat")
        stanzas.add(message, stanzas.HINTS, "no-store")
        for full, _ in self._state.occupants.sessions():
            stanza = stanzas.addressed(message, full)
            stanza.set("id", self._state.outside.new_id())
            self._state.outside.send(stanza)

    def _occupant_id(self, holder: Holder | None) -> str:
        return "" if holder is None else self._state.occupant_id(holder)

    def _refuse(self, stanza: Element, condition: str, text: str) -> None:
        if stanza.get("type") != "headline":  # RFC 6121 section 5.2.2: nobody waits for an answer to those
            self._state.refuse(stanza, condition, text)


def _is_chat_state(stanza: Element) -> bool:
    return any(stanzas.split(child.tag)[0] == stanzas.CHAT_STATES for child in stanza)
