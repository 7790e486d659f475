"""jabber_voicemail: a recording, and who left it, into somebody's chat."""

from __future__ import annotations

import asyncio
import dataclasses

from agi_xmpp.errors import UsageError
from agi_xmpp.features.verb import Call, Verb
from agi_xmpp.features.voicemail.delivery import Voicemail, describe
from agi_xmpp.features.voicemail.recording import Details, Recording, Unreadable, clean_name, read


async def run(call: Call) -> None:
    """Upload the recording, send its address, and then who called, for how long, and what was said."""
    if call.voicemail is None:
        raise UsageError("this service has no voicemail")
    session = call.session
    text = call.decoded(",".join(call.arguments[3:])).strip()
    given = _given(call)
    async with call.voicemail.slot:
        recording, details, problem = await _read(call, call.voicemail)
        details = _merged(call, given, details, recording)
        result = await call.voicemail.deliver(
            session, call.arguments[1], recording, text or describe(details), thread=call.thread, problem=problem
        )
    await call.set("JABBER_VOICEMAIL_URL", result.url)
    await call.set("JABBER_ERROR", "; ".join(result.problems))
    await call.set("JABBER_VOICEMAIL_STATUS", result.status)


async def _read(call: Call, voicemail: Voicemail) -> tuple[Recording | None, Details, str]:
    """Return the recording, what stands beside it, and why it is none."""
    settings, path = voicemail.settings, call.decoded(call.arguments[2])
    if not path:
        raise UsageError("the file is empty: VoiceMail() sets VM_MESSAGEFILE only if a message was left")
    try:
        recording, details = await asyncio.to_thread(read, path, settings.spool, settings.max_size)
    except Unreadable as error:
        return None, Details(), str(error)
    return recording, details, ""


def _given(call: Call) -> Details:
    """Return what the dialplan says about the recording."""
    name, number = (clean_name(call.options.get(option, "")) for option in ("name", "caller"))
    return Details(name, number, seconds=call.seconds("seconds", 0.0) if "seconds" in call.options else None)


def _merged(call: Call, given: Details, beside: Details, recording: Recording | None) -> Details:
    """Return what is known: what the dialplan says before what Asterisk wrote, and that before what the call shows."""
    seconds = next((value for value in (given.seconds, beside.seconds) if value is not None), None)
    if seconds is None and recording is not None:
        seconds = recording.seconds
    if given.name or given.number:
        return dataclasses.replace(given, seconds=seconds)
    environment = call.channel.environment
    if environment.withheld:
        # Asterisk writes the number beside the recording all the same.
        return Details(withheld=True, seconds=seconds)
    if beside.name or beside.number:
        return dataclasses.replace(beside, seconds=seconds)
    return Details(clean_name(environment.callerid_name), clean_name(environment.callerid), seconds=seconds)


VERB = Verb(
    name="jabber_voicemail",
    usage="jabber_voicemail[?seconds=23&caller=NUMBER&name=NAME&enc=uri],account,jid[/resource],file[,text]",
    clears={"JABBER_VOICEMAIL_STATUS": "ERROR", "JABBER_VOICEMAIL_URL": "", "JABBER_ERROR": ""},
    status="JABBER_VOICEMAIL_STATUS",
    failures=frozenset({"FAILED"}),
    options=frozenset({"seconds", "caller", "name", "enc"}),
    arguments=3,
    max_arguments=None,
    run=run,
    ends_with_call=False,  # who has left a message is gone
)
