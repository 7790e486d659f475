"""Names in a room: how a phone's is made, and which of chat are taken. Pure."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from agi_xmpp.ami.conferences import Participant
from agi_xmpp.errors import BadJid
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid

#: Characters of a nick at the most: what a list of occupants can show.
MAX_NICK = 64

#: What a phone is called that has no name at all; and for phones, somebody in chat whose name they cannot show.
UNKNOWN = "phone"
SOMEBODY = "somebody"

#: What a caller's name loses: SIP quotes names with some of these, and "/" and "@" would look like an address.
_UNWANTED = re.compile(r'["<>/@\\]')
_BLANKS = re.compile(r"\s+")


def shown(text: str) -> str:
    """Return a name in one line, without what cannot be seen: control characters and marks of the writing direction."""
    text = "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
    text = "".join(char for char in text if unicodedata.category(char) not in ("Cf", "Cs"))
    return _BLANKS.sub(" ", text).strip()


def of_speaker(text: str) -> str:
    """Return a name as phones can take it, in the display name of a SIP address."""
    return shown(_UNWANTED.sub(" ", text)).strip()


def for_phones(nick: str) -> str:
    """Return the name that phones show of somebody in chat. It is never empty: that would be the room's own voice."""
    return of_speaker(nick) or SOMEBODY


@functools.lru_cache(maxsize=4096)  # asked of each phone in a room for each text of a phone
def folded(nick: str) -> str:
    """Return what two names have in common that people cannot tell apart: width of characters, case, blanks.

    Phones show no quotes and brackets: with these, a name would be another's on their displays.
    """
    return of_speaker(unicodedata.normalize("NFKC", nick)).casefold()


def of_chat(room: Jid, nick: str) -> str | None:
    """Return the nick that somebody in chat gets who asks for ``nick``, or None if it is none.

    Args:
        room: bare JID.
        nick: prepared (it was part of an address).
    """
    name = shown(nick)
    if not name or len(name) > MAX_NICK:
        return None
    return _prepared(room, name)


@functools.lru_cache(maxsize=4096)
def caller_name(participant: Participant) -> str:
    """Return who calls: the caller's name, else the number, else what the phone is called; "" if nobody knows."""
    return next(_names(participant), "")


def speaker(participants: Iterable[Participant], display: str) -> Participant | None:
    """Return the phone that a text is from by the name that it gives itself.

    The name proves nothing, so it only counts if exactly one phone has it as its caller's name. Those of chat are not
    looked at: no phone speaks as one of them.

    Args:
        participants: the phones that are in.
        display: the name.
    """
    wanted = folded(of_speaker(display))
    if not wanted:
        return None
    found = [one for one in participants if folded(caller_name(one)) == wanted]
    return found[0] if len(found) == 1 else None


def claimed(participants: Iterable[Participant], display: str) -> str:
    """Return the name that a text is shown with that is nobody's for certain.

    While somebody is in who withholds their name there is none, "": it might be theirs.
    """
    return "" if any(one.withheld for one in participants) else display


def of_caller(room: Jid, participant: Participant) -> str:
    """Return a phone's nick, before it is made unique: the first of its names that can be one.

    Who withholds name and number has none, and is not given away by the phone's.
    """
    prepared = (_prepared(room, name[:MAX_NICK].strip()) for name in _names(participant))
    return next((nick for nick in prepared if nick is not None), UNKNOWN)


def _names(participant: Participant) -> Iterator[str]:
    device = "" if participant.withheld else participant.device.rpartition("/")[2]
    return filter(None, map(of_speaker, (participant.name, participant.number, device)))


def unique(nick: str, is_taken: Callable[[str], bool]) -> str:
    """Return ``nick``, or ``nick (2)`` and so on, whichever is free."""
    return next(name for name in _numbered(nick) if not is_taken(name))


def _numbered(nick: str) -> Iterator[str]:
    yield nick
    number = 2
    while True:
        yield f"{nick} ({number})"
        number += 1


def _prepared(room: Jid, name: str) -> str | None:
    """Return the name as the last part of an address has it (RFC 6122, resourceprep); None if it cannot be one."""
    try:
        return parse(f"{room}/{name}").resource
    except BadJid:
        return None
