"""jabber_lookup: who is behind a number?"""

from __future__ import annotations

import asyncio

from agi_xmpp.errors import NotConnected, UsageError
from agi_xmpp.features.phone.book.model import clean_text
from agi_xmpp.features.verb import Call, Verb
from agi_xmpp.xmpp.model import Jid, Session

#: Seconds that a caller waits for the whole look-up.
TIMEOUT = 5.0

#: Seconds of them for the vCard of somebody whom no source of ours names.
VCARD_TIME = 2.0

#: What has a meaning in caller IDs ("name" <number>), expressions and variables of a dialplan.
_MEANINGFUL = str.maketrans(dict.fromkeys('"\\<>$`{}'))


async def run(call: Call) -> None:
    """Set JABBER_LOOKUP to the Jabber ID behind a number, and beside it name and company."""
    session = call.session
    began = asyncio.get_running_loop().time()
    timeout = call.seconds("timeout", TIMEOUT)
    if call.who_is is None or call.who_is.is_empty:
        raise UsageError("there is nobody to look up: the configuration has neither [contacts] nor [phone]")
    text = call.arguments[1].strip()
    address = call.who_is.read(text)
    if address is None:
        # Such as a caller who does not show a number: that is no mistake of the dialplan's.
        await call.set("JABBER_LOOKUP_STATUS", "UNKNOWN")
        return
    known = await call.who_is.find(address, timeout)
    name = known.name
    if known.jid is not None and not name:
        left = began + timeout - asyncio.get_running_loop().time()
        name = await _vcard_name(session, known.jid, min(left, VCARD_TIME))
    await call.set("JABBER_LOOKUP", str(known.jid or ""))
    await call.set("JABBER_LOOKUP_NAME", for_dialplan(name))
    await call.set("JABBER_LOOKUP_COMPANY", for_dialplan(known.company))
    if known.jid is not None or name:
        await call.set("JABBER_LOOKUP_STATUS", "FOUND")
    elif known.problem:
        await call.set("JABBER_ERROR", known.problem)
        await call.set("JABBER_LOOKUP_STATUS", "FAILED")
    else:
        await call.set("JABBER_LOOKUP_STATUS", "UNKNOWN")


def for_dialplan(text: str) -> str:
    """Return a name as it may stand in a caller ID and between the quotes of an expression: one line, no quotes."""
    return " ".join(clean_text(text).translate(_MEANINGFUL).split())


async def _vcard_name(session: Session, person: Jid, timeout: float) -> str:
    """Return the name that somebody gives themselves, or "" if none is to be had now."""
    if timeout <= 0:
        return ""
    try:
        return await session.vcard_name(str(person), timeout)
    except NotConnected:
        return ""


VERB = Verb(
    name="jabber_lookup",
    usage="jabber_lookup[?timeout=5],account,number",
    clears={
        "JABBER_LOOKUP_STATUS": "ERROR",
        "JABBER_LOOKUP": "",
        "JABBER_LOOKUP_NAME": "",
        "JABBER_LOOKUP_COMPANY": "",
        "JABBER_ERROR": "",
    },
    status="JABBER_LOOKUP_STATUS",
    failures=frozenset({"ERROR", "FAILED"}),
    options=frozenset({"timeout"}),
    arguments=2,
    max_arguments=2,
    run=run,
    ends_with_call=True,
)
