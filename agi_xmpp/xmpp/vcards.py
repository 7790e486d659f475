"""The name that somebody gives themselves: in a vCard4 (XEP-0292), or in the older vcard-temp (XEP-0054)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aioxmpp
import aioxmpp.pubsub.xso
import aioxmpp.vcard.xso

from agi_xmpp.xmpp.jid import outward
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.xso import vcard4

#: The same name in a vcard-temp (XEP-0054 section 2).
_FULL_NAME = "{vcard-temp}FN"


async def name(request: Callable[[Any], asyncio.Future[Any]], of: Jid, timeout: float) -> str:
    """Return the name in somebody's vCard as it stands there, or "" if there is none to be had in time.

    Both forms are asked for at once, and the newer one is believed if it has a name. People publish the newer one
    (XEP-0163), for everybody or for their contacts alone. Prosody makes the older one of it for those who may see it;
    to ejabberd the two have nothing to do with each other.

    Args:
        request: sends an IQ request and gives the future of its reply.
        of: bare JID.
        timeout: seconds.

    Raises:
        NotConnected: there is no session.
    """
    questions = [request(_question(of, payload)) for payload in (vcard4.question(), aioxmpp.vcard.xso.VCard())]
    try:
        await asyncio.wait(questions, timeout=timeout)
        replies = (_payload(question) for question in questions)
        return next(filter(None, map(_name, replies)), "")
    finally:
        for question in questions:
            question.cancel()


def _question(of: Jid, payload: Any) -> Any:
    return aioxmpp.IQ(aioxmpp.IQType.GET, to=outward(of.bare), payload=payload)


def _payload(question: asyncio.Future[Any]) -> Any:
    """Return what was answered; None for an error, or if nothing came."""
    return question.result().payload if question.done() and question.exception() is None else None


def _name(answer: Any) -> str:
    if isinstance(answer, aioxmpp.pubsub.xso.Request):
        names = (name.text for vcard in vcard4.vcards(answer) for name in vcard.names)
        return next(filter(None, names), "").strip()
    if isinstance(answer, aioxmpp.vcard.xso.VCard):
        return (answer.elements.findtext(_FULL_NAME) or "").strip()
    return ""
