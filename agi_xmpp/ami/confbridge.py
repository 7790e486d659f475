"""What Asterisk is asked about conferences (ConfBridge), and to do with those who are in.

Source: app_confbridge.c and manager.c of Asterisk 22.10, and what it does. The manager user needs the classes
``reporting`` for lists and ``call`` for the rest in its line ``write =``, and ``call`` in ``read =`` for the events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from agi_xmpp.ami.model import Ami, Message
from agi_xmpp.ami.wire import LINE_BYTES
from agi_xmpp.errors import AmiArgumentError, AmiRefused

#: Bytes of a text in one action: a line less the name of its header.
TEXT_BYTES: Final = LINE_BYTES - len(b"Message: ")

#: AMI's lines end at any of these; a phone shows the parts of a text one below the other.
_LINE_BREAKS = re.compile(r"[\r\n\x00\x0b\x0c\x85\u2028\u2029]+")

#: Asterisk's words for a conference that has ended.
_ENDED = re.compile(r"No (active conferences|Conference by that name found)\.?")


async def participants(ami: Ami) -> Sequence[Message]:
    """Return the items of ConfbridgeList for all conferences, for `Conferences.resync`.

    Who is in a list, and in no bridge, is left out: they are about to come in, or have just gone.

    Raises:
        AmiError: Asterisk could not be asked, see `Ami.items`.
    """
    found: list[Message] = []
    for room in await ami.items("ConfbridgeListRooms"):
        try:
            found += await ami.items("ConfbridgeList", {"Conference": room["Conference"]})
        except AmiRefused as error:
            if not _ENDED.match(str(error)):
                raise
    # Last: who comes in while this goes on may have said so before we listened, and is in a bridge now.
    bridged = {item["Uniqueid"] for item in await ami.items("Status") if item.get("BridgeID")}
    return [item for item in found if item["Uniqueid"] in bridged]


async def locked(ami: Ami, *, timeout: float | None = None) -> frozenset[str]:
    """Return the conferences that are locked: nobody but their administrators may come in. No event tells of that.

    Args:
        ami: the manager connection.
        timeout: seconds for the answer; see `Ami.items`.

    Raises:
        AmiError: Asterisk could not be asked, see `Ami.items`.
    """
    rooms = await ami.items("ConfbridgeListRooms", timeout=timeout)
    return frozenset(room["Conference"] for room in rooms if room.get("Locked") == "Yes")


async def kick(ami: Ami, number: str, channel: str) -> None:
    """Throw a channel out of a conference. ConfbridgeLeave follows, as if it had hung up.

    Raises:
        AmiRefused: it is not there (any more).
        AmiError: see `Ami.action`.
    """
    await ami.action("ConfbridgeKick", _participant(number, channel))


async def mute(ami: Ami, number: str, channel: str, muted: bool) -> None:
    """Take a channel's voice in a conference, or give it back. ConfbridgeMute or ConfbridgeUnmute follows.

    Raises:
        AmiRefused: it is not there (any more).
        AmiError: see `Ami.action`.
    """
    await ami.action("ConfbridgeMute" if muted else "ConfbridgeUnmute", _participant(number, channel))


async def send_text(ami: Ami, channel: str, text: str) -> None:
    """Send a text to one phone. Its display shows it as coming from the conference: the text has to say who speaks.

    Each line of the text is a message of its own, and a long one several, in order.

    Raises:
        AmiRefused: there is no such channel (any more).
        AmiUnknown: the connection broke: it may have arrived, or its beginning.
        AmiError: see `Ami.action`.
    """
    for part in split(text):
        await ami.action("SendText", {"Channel": channel, "Message": part})


def split(text: str, limit: int = TEXT_BYTES) -> Sequence[str]:
    """Return a text in parts that AMI can carry: lines, none longer than ``limit`` bytes, between words if possible.

    No character is taken apart, and blanks at the beginning and end of a part are dropped: AMI drops those at the
    beginning. A text of nothing but blanks has no parts.
    """
    parts: list[str] = []
    for line in _LINE_BREAKS.split(text):
        rest = line.strip()
        while len(rest.encode(errors="replace")) > limit:
            # Not the whole rest is encoded for each part: a character has a byte at least.
            head = rest[:limit].encode(errors="replace")[:limit].decode(errors="ignore")
            blank = head.rfind(" ")
            # Only in the second half: a line of one long word behind a short one is not worth a part of its own.
            cut = blank if blank > len(head) // 2 else len(head)
            parts.append(rest[:cut].rstrip())
            rest = rest[cut:].lstrip()
        if rest:
            parts.append(rest)
    return parts


def _participant(number: str, channel: str) -> Mapping[str, str]:
    if "/" not in channel:  # "all" and "participants" would be everybody
        raise AmiArgumentError(f"{channel!r} is no channel")
    return {"Conference": number, "Channel": channel}
