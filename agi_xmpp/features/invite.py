"""jabber_invite: the dialplan invites somebody into a room, or a phone into a conference."""

from __future__ import annotations

from agi_xmpp.errors import Refused, UsageError
from agi_xmpp.features.conference.invitations.answers import Answer, How
from agi_xmpp.features.conference.invitations.convener import Convener
from agi_xmpp.features.verb import Call, Verb
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Extras, Jid, RoomInvitation

#: Seconds for the server to take an invitation to a room of another service.
TIMEOUT = 5.0

#: Seconds to wait at the most: so long it is remembered who was invited.
MAX_WAIT = 3600.0


async def run(call: Call) -> None:
    """Send the invitation and, with ``?wait=SECONDS``, wait for what comes of it.

    ``?room=`` is an address or the number of a conference; without it, it is the one that the caller is in.
    """
    if len(call.arguments) < 2:  # whatever is in a variable: the reason is the third
        raise UsageError(f"got {len(call.arguments)} arguments; it is written {VERB.usage}")
    session, invitee = call.session, parse(call.arguments[1]).bare
    reason = await _reason(call)
    wait = call.seconds("wait", 0.0)
    if wait > MAX_WAIT:
        raise UsageError(f"wait={call.options['wait']}: at most {MAX_WAIT:g} seconds")
    room = _room(call)
    convener = call.convener
    if convener is not None and convener.invites(room, invitee):
        answer = await _answer(call, convener, room, invitee, reason, wait)
    else:
        if convener is not None and convener.is_phone(invitee):
            raise UsageError(f"{invitee} is a phone, and {room} no conference here: phones come into those only")
        text = f"You are invited to {room}{f': {reason}' if reason else '.'}"
        extras = Extras(expects_answer=False, invitation=RoomInvitation(room, reason))
        await session.send_message(str(invitee), text, extras=extras, timeout=TIMEOUT)
        answer, wait = Answer(How.SENT, str(invitee)), 0.0
    await _tell(call, answer, waited=bool(wait))


async def _reason(call: Call) -> str:
    """Return what is given as a reason, which may be nothing."""
    value = await call.variable()
    if value is not None and len(call.arguments) > 2:
        raise UsageError("give the reason either as the last argument or by var=NAME, not both")
    return call.decoded(",".join(call.arguments[2:]) if value is None else value)


def _room(call: Call) -> Jid:
    named = call.options.get("room", "").strip()
    if call.convener is not None:
        return call.convener.place(named, call.channel.environment.uniqueid)
    if "@" not in named:
        raise UsageError(f"room={named}: there are no conferences here ([conference]): give the address of a room")
    return parse(named).bare


async def _answer(call: Call, convener: Convener, room: Jid, invitee: Jid, reason: str, wait: float) -> Answer:
    try:
        if not wait:
            return await convener.invite(room, invitee, reason)
        # Only the wait ends with the call: the invitation has left.
        async with call.channel.until_hangup():
            return await convener.invite(room, invitee, reason, wait)
    except Refused as problem:
        return Answer.failed(str(invitee), problem)


async def _tell(call: Call, answer: Answer, *, waited: bool) -> None:
    await call.set("JABBER_INVITE_REASON", answer.reason)
    if answer.how is How.FAILED:
        await call.set("JABBER_ERROR", answer.reason)
    timed_out = waited and answer.how is How.SENT
    await call.set("JABBER_INVITE_STATUS", "TIMEOUT" if timed_out else answer.how.name)


VERB = Verb(
    name="jabber_invite",
    usage="jabber_invite[?room=6000&wait=30&enc=uri&var=NAME],account,jid[,reason]",
    clears={"JABBER_INVITE_STATUS": "ERROR", "JABBER_INVITE_REASON": "", "JABBER_ERROR": ""},
    status="JABBER_INVITE_STATUS",
    failures=frozenset({"FAILED", "HANGUP"}),
    options=frozenset({"room", "wait", "enc", "var"}),
    arguments=2,
    max_arguments=None,
    run=run,
    ends_with_call=False,  # the invitation outlives the call; the h extension may send it
)
