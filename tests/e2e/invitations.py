"""Invitations, as people in chat send them and tests read them; and what phones are told of theirs."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from tests.e2e.answers import USER, tree
from tests.testbed.client import Buddy, Heard
from tests.testbed.muc import Attendee
from tests.testbed.softphone import Text

#: What makes a message an invitation that needs no room (XEP-0249).
DIRECT = "{jabber:x:conference}x"


def is_invitation(heard: Heard) -> bool:
    """Tell whether somebody is invited by a room."""
    return tree(heard).find(f"{USER}x/{USER}invite") is not None


def inviter_of(heard: Heard) -> str:
    """Return who invites, as the room says."""
    invite = tree(heard).find(f"{USER}x/{USER}invite")
    assert invite is not None
    return invite.get("from", "")


def declined(by: str) -> Callable[[Heard], bool]:
    """Return what recognises a room's message that somebody does not come."""

    def wanted(heard: Heard) -> bool:
        found = tree(heard).find(f"{USER}x/{USER}decline")
        return found is not None and found.get("from") == by

    return wanted


def reason_of(heard: Heard) -> str:
    """Return why somebody does not come."""
    return tree(heard).findtext(f"{USER}x/{USER}decline/{USER}reason", "")


def decline(buddy: Buddy, room: str, inviter: str, reason: str) -> None:
    """Tell who has invited by a room that one does not come."""
    buddy.send_raw(
        f"<message xmlns='jabber:client' to='{room}'><x xmlns='http://jabber.org/protocol/muc#user'>"
        f"<decline to='{inviter}'><reason>{reason}</reason></decline></x></message>"
    )


def invite_directly(attendee: Attendee, to: str, reason: str = "") -> str:
    """Invite as Gajim does (XEP-0249); return the message's id."""
    id_ = secrets.token_hex(4)
    attendee.buddy.send_raw(
        f"<message xmlns='jabber:client' to='{to}' id='{id_}'>"
        f"<x xmlns='jabber:x:conference' jid='{attendee.room}' reason='{reason}'/></message>"
    )
    return id_


def told_alone(words: str) -> Callable[[Text], bool]:
    """Return what recognises a text to one phone alone that says so."""
    return lambda text: text.body.startswith("[private]") and words in text.body
