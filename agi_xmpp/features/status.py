"""jabber_status: is somebody there?"""

from __future__ import annotations

from agi_xmpp.features.verb import Call, Verb
from agi_xmpp.xmpp.model import Show

#: Seconds to wait for a session and for the presences that the server sends after a login.
TIMEOUT = 2.0

_WORDS = {
    Show.ONLINE: "online",
    Show.CHAT: "chat",
    Show.AWAY: "away",
    Show.XA: "xa",
    Show.DND: "dnd",
    Show.OFFLINE: "offline",
    Show.NOT_IN_ROSTER: "unknown",
}


async def run(call: Call) -> None:
    """Set JABBER_STATUS to res_jabber's number, and beside it the word, the contact's own text and the resource."""
    presence = await call.session.presence(call.arguments[1], timeout=call.seconds("timeout", TIMEOUT))
    await call.set("JABBER_STATUS_SHOW", _WORDS[presence.show])
    await call.set("JABBER_STATUS_TEXT", presence.status)
    await call.set("JABBER_STATUS_RESOURCE", presence.resource)
    await call.set("JABBER_STATUS", str(int(presence.show)))


VERB = Verb(
    name="jabber_status",
    usage="jabber_status[?timeout=2],account,jid[/resource]",
    clears={
        "JABBER_STATUS": "",
        "JABBER_STATUS_SHOW": "",
        "JABBER_STATUS_TEXT": "",
        "JABBER_STATUS_RESOURCE": "",
        "JABBER_ERROR": "",
    },
    status="JABBER_STATUS",
    failures=frozenset(),
    options=frozenset({"timeout"}),
    arguments=2,
    max_arguments=2,
    run=run,
    ends_with_call=True,
)
