"""What comes of an invitation, and how whoever invited is told. Pure."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias
from xml.etree.ElementTree import Element

from agi_xmpp.errors import BadJid, Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.invitations import invitation_stanzas
from agi_xmpp.features.conference.room import nicks
from agi_xmpp.xmpp.model import Jid


class How(enum.Enum):
    """What has come of an invitation until now."""

    SENT = "sent"
    JOINED = "joined"
    DECLINED = "declined"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What has come of an invitation. ``SENT`` comes first, if it got that far, and one of the others may follow.

    Attributes:
        how: see `How`.
        whom: the invitee's name for people, such as ``Carol C`` or ``juliet@example.org``.
        reason: in words: why they do not come, or why nobody was invited.
        condition: of a failure, as XMPP has it (RFC 6120 section 8.3.3).
    """

    how: How
    whom: str
    reason: str = ""
    condition: str = ""

    @staticmethod
    def failed(whom: str, problem: Refused) -> Answer:
        """Return the answer for an invitation that was not made, or did not arrive."""
        return Answer(How.FAILED, whom, str(problem), problem.condition)


#: Takes answers as they come.
Tell: TypeAlias = Callable[[Answer], None]


def nobody(_answer: Answer) -> None:
    """Tell nobody."""


@contextlib.contextmanager
def by_error(send: Callable[[Element], None], stanza: Element) -> Iterator[None]:
    """Tell whoever has sent an invitation that it is none that could be taken: by an error.

    Args:
        send: sends a stanza.
        stanza: the message.
    """
    try:
        yield
    except BadJid as problem:
        if stanza.get("from"):
            send(stanzas.error(stanza, "jid-malformed", f"Nobody was invited: {problem}."))
    except Refused as problem:
        send(stanzas.error(stanza, problem.condition, str(problem)))


def by_room(send: Callable[[Element], None], room: Jid, inviter: Jid, invitee: Jid, stanza: Element) -> Tell:
    """Return what tells somebody in chat who has invited by the room: by refusals, and errors to their message.

    Who comes is seen in the room; and a refusal from chat is passed on by the room itself.

    Args:
        send: sends a stanza.
        room: its bare JID.
        inviter: full JID.
        invitee: bare JID.
        stanza: the message that asked for it.
    """

    def tell(answer: Answer) -> None:
        if answer.how is How.DECLINED:
            send(invitation_stanzas.declined(room, inviter, invitee, answer.reason, stanza.get("id")))
        elif answer.how is How.FAILED:
            send(stanzas.error(stanza, answer.condition, answer.reason, by=room))

    return tell


def by_other_room(send: Callable[[Element], None], room: Jid, inviter: Jid, invitee: Jid) -> Tell:
    """Return what tells somebody who has invited into a room of another service: by refusals, which it passes on.

    Args:
        send: sends a stanza from a phone's address.
        room: its bare JID.
        inviter: their address, or what the room has named them by.
        invitee: bare JID of the phone.
    """

    def tell(answer: Answer) -> None:
        if answer.how in (How.DECLINED, How.FAILED):
            send(invitation_stanzas.refusal(invitee, room, inviter, answer.reason))

    return tell


def by_refusal(send: Callable[[Element], None], room: Jid, inviter: Jid, invitee: Jid, stanza: Element) -> Tell:
    """Return what tells somebody in a room of ours who has invited directly (XEP-0249): by its refusals only.

    Gajim invites in this way, says that somebody was invited, and shows no errors, but refusals.

    Args:
        send: sends a stanza from a room.
        room: its bare JID.
        inviter: full JID.
        invitee: bare JID.
        stanza: the invitation.
    """

    def tell(answer: Answer) -> None:
        if answer.how in (How.DECLINED, How.FAILED):
            send(invitation_stanzas.declined(room, inviter, invitee, answer.reason, stanza.get("id")))

    return tell


def in_words(say: Callable[[str], None]) -> Tell:
    """Return what tells somebody who reads sentences: on a phone, or in chat. Who comes is seen, and not told of.

    Args:
        say: gives them one.
    """
    sent = False

    def tell(answer: Answer) -> None:
        nonlocal sent
        if not (sent and answer.how is How.JOINED):
            say(sentence(answer))
        sent = True

    return tell


def sentence(answer: Answer) -> str:
    """Return an answer in words."""
    whom = nicks.shown(answer.whom)
    match answer.how:
        case How.SENT:
            return f"Invited {whom}."
        case How.JOINED:
            return f"{whom} is in already."
        case How.DECLINED:
            return f"{whom} does not come: {answer.reason}." if answer.reason else f"{whom} does not come."
        case How.FAILED:
            return f"{whom} was not invited: {answer.reason}"
