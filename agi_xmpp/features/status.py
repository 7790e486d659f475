"""jabber_status: is somebody there, and can they take a call?"""

from __future__ import annotations

import asyncio

from agi_xmpp.features.verb import Call, Verb
from agi_xmpp.xmpp.model import Presence, Session, Show

#: Seconds to wait for a session and for the presences that the server sends after a login.
TIMEOUT = 2.0

#: Seconds to wait for somebody who is asked for their presence; what Telepathy waits, too.
DECLOAK_TIMEOUT = 5.0

#: Seconds to ask a client what it can, the first time that it is seen.
VOICE_TIMEOUT = 1.0

_WORDS = {
    Show.ONLINE: "online",
    Show.CHAT: "chat",
    Show.AWAY: "away",
    Show.XA: "xa",
    Show.DND: "dnd",
    Show.OFFLINE: "offline",
    Show.NOT_IN_ROSTER: "unknown",
}

_ABSENT = (Show.OFFLINE, Show.NOT_IN_ROSTER)

_VOICE = {True: "1", False: "0", None: ""}


async def run(call: Call) -> None:
    """Set JABBER_STATUS to res_jabber's number; beside it the word, the contact's own text, the resource, and voice."""
    session, address = call.session, call.arguments[1]
    reason = call.choice("decloak", ("no", "media", "text", "file"))
    asks = reason != "no"
    timeout = call.seconds("timeout", DECLOAK_TIMEOUT if asks else TIMEOUT)
    end = asyncio.get_running_loop().time() + timeout
    presence = await session.presence(address, timeout=timeout)
    if asks and presence.show in _ABSENT:
        await _ask(call, session, reason, presence, end)
    else:
        await _tell(call, session, presence, end)


async def _ask(call: Call, session: Session, reason: str, known: Presence, end: float) -> None:
    """Ask somebody of whom nothing is known for their presence; we show ourselves to them till the end of the call."""
    share = session.share_presence(call.arguments[1], reason)
    if share is None:
        await _tell(call, session, known, end)
        return
    lasts = False
    try:
        will_end = call.ends.add(call.channel.environment.uniqueid, share.end)
        shown = await share.presence(_left(end))
        await _tell(call, session, known if shown.show in _ABSENT else shown, end)
        # Nothing came of it: then there is nothing to keep for the rest of the call.
        lasts = will_end and shown.show not in _ABSENT
    finally:
        if not lasts:
            share.end()


async def _tell(call: Call, session: Session, presence: Presence, end: float) -> None:
    voice = None
    if presence.show not in _ABSENT:
        voice = await session.voice(call.arguments[1], min(VOICE_TIMEOUT, _left(end)))
    await call.set("JABBER_STATUS_SHOW", _WORDS[presence.show])
    await call.set("JABBER_STATUS_TEXT", presence.status)
    await call.set("JABBER_STATUS_RESOURCE", presence.resource)
    await call.set("JABBER_VOICE", _VOICE[voice])
    await call.set("JABBER_STATUS", str(int(presence.show)))


def _left(end: float) -> float:
    return max(end - asyncio.get_running_loop().time(), 0.0)


VERB = Verb(
    name="jabber_status",
    usage="jabber_status[?timeout=2][&decloak=media],account,jid[/resource]",
    clears={
        "JABBER_STATUS": "",
        "JABBER_STATUS_SHOW": "",
        "JABBER_STATUS_TEXT": "",
        "JABBER_STATUS_RESOURCE": "",
        "JABBER_VOICE": "",
        "JABBER_ERROR": "",
    },
    status="JABBER_STATUS",
    failures=frozenset(),
    options=frozenset({"decloak", "timeout"}),
    arguments=2,
    max_arguments=2,
    run=run,
    ends_with_call=True,
)
