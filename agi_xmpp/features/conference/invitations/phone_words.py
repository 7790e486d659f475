"""What a phone can ask the conference that it is in, by a text that begins with a slash. Pure.

The answer goes to that phone alone. The other phones see what was asked: ConfBridge passes on every text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from agi_xmpp.errors import BadJid, Refused
from agi_xmpp.features.conference.elsewhere.puppet import Puppet
from agi_xmpp.features.conference.elsewhere.puppets import BridgedRoom
from agi_xmpp.features.conference.invitations import answers
from agi_xmpp.features.conference.invitations.answers import Answer, Tell
from agi_xmpp.features.conference.invitations.invitees import Invitees, Phone
from agi_xmpp.features.conference.invitations.inviting import Inviting
from agi_xmpp.features.conference.model import Invitation, PhoneOccupant
from agi_xmpp.features.conference.room import wording
from agi_xmpp.features.conference.room.invitations import MAX_REASON
from agi_xmpp.features.conference.room.room import Room
from agi_xmpp.features.phone.numbers import plain
from agi_xmpp.features.quota import Quota
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

#: Names of an answer at the most, of each kind.
MAX_LISTED = 30

#: Words of one phone within `PERIOD` seconds; each is answered by an action of the manager connection.
MAX_WORDS, PERIOD = 20, 60.0

_WORD = re.compile(r"/(invite|who|help)(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)

_HELP = "Say “/who” to hear who is in, “/invite 103” or “/invite juliet@example.org come over” to bring somebody in."
_USAGE = "Say for example “/invite 103” or “/invite juliet@example.org come over”."


class PhoneWords:
    """The words of all phones.

    Args:
        inviting: carries invitations out.
        invitees: whose phones can be invited.
        phones_domain: of the phones' addresses; "" if they have none.
        whisper: tells a phone something: the conference's number, the channel, the text.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        inviting: Inviting,
        invitees: Invitees,
        phones_domain: str,
        whisper: Callable[[str, str, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._inviting = inviting
        self._invitees = invitees
        self._phones_domain = phones_domain
        self._whisper = whisper
        self._quota = Quota(MAX_WORDS, PERIOD, clock)

    def said(self, room: Room | BridgedRoom, display: str, text: str, sender: str | None = None) -> bool:
        """Take what a phone has written, if it is for us; otherwise return False.

        Whose text it is must be certain: else nobody could be answered, and it is shown as any other. Arguments as of
        `ConferenceRoom.phone_said`.
        """
        word = _WORD.fullmatch(wording.for_chat(text))
        phone = room.speaker_of(display, sender) if word is not None else None
        if word is None or phone is None:
            return False
        who = Jid(room.address.local, room.address.domain, phone.nick)
        if self._quota.allows(who, 1):
            self._quota.spend(who, 1)
            self._obey(room, phone, word[1].casefold(), word[2] or "")
        return True

    def _obey(self, room: Room | BridgedRoom, phone: PhoneOccupant | Puppet, word: str, rest: str) -> None:
        def say(answer: str) -> None:
            self._whisper(room.number, phone.participant.channel, answer)

        if word == "who":
            say(_who(room))
            return
        if word == "help":
            say(_HELP)
            return
        whom, _, reason = rest.strip().partition(" ")
        if not whom:
            say(_USAGE)
            return
        try:
            self._invite(room, phone, whom, reason.strip()[:MAX_REASON], answers.in_words(say))
        except Refused as problem:
            say(answers.sentence(Answer.failed(plain(whom), problem)))

    def _invite(self, room: Room | BridgedRoom, by: PhoneOccupant | Puppet, whom: str, reason: str, tell: Tell) -> None:
        """Invite somebody for a phone.

        Raises:
            Refused: nobody is meant, or they must not be invited by a phone.
        """
        inviter = room.phone_jid(by.participant) or Jid(room.address.local, room.address.domain, by.nick)
        phone = self._phone(whom)
        if phone is not None:
            address = Jid(phone.local, self._phones_domain)
            if self._phones_domain and isinstance(room, Room) and room.is_banned(address):
                raise Refused(f"{phone.name} is banned from this room.", "forbidden")
            self._inviting.call(room, Invitation(inviter, address, reason, by.nick), phone, tell)
            return
        try:
            invitee = parse(whom).bare
        except BadJid as problem:
            raise Refused(f"{problem}. {_USAGE}", "jid-malformed") from None
        if isinstance(room, Room):  # one of another service says itself whom it lets in
            room.check_invitee(invitee)
        self._inviting.invite(room, Invitation(inviter, invitee, reason, by.nick), tell)

    def _phone(self, whom: str) -> Phone | None:
        """Return the phone that is meant; None if it is an address of chat.

        Raises:
            Refused: nobody has it.
        """
        local, at, domain = whom.rpartition("@")
        if at and domain.casefold() == self._phones_domain:
            return self._invitees.by_address(local)
        if at:
            return None
        phone = self._invitees.by_name(whom)
        if phone is None:
            raise Refused(f"Nobody with a phone is called “{plain(whom)}”.", "item-not-found")
        return phone


def _who(room: Room | BridgedRoom) -> str:
    chat = _listed(sorted(room.people, key=str.casefold))
    phones = _listed(sorted(filter(None, (phone.nick for phone in room.phones.values())), key=str.casefold))
    kinds = [f"in chat {chat}" if chat else "nobody in chat", f"on the phone {phones}" if phones else ""]
    return f"{room.title}: {'; '.join(filter(None, kinds))}."


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
