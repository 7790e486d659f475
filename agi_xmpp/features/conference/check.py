"""Whether Asterisk has what conferences in chat need: for `agi-xmpp check --online`."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable

from agi_xmpp.ami.messages import Handover
from agi_xmpp.config import ConferenceSettings, SipSettings
from agi_xmpp.errors import AmiRefused, SipError
from agi_xmpp.features.phone.check import Manager, value_of
from agi_xmpp.sip.copies import open_copies

#: Seconds for the copy of a SIP packet to come. It comes at once if it comes.
COPY_TIME = 2.0

#: Rooms that are named at the most: with a wrong context, all are wrong in the same way.
NAMED = 10


async def check_conferences(
    settings: ConferenceSettings,
    ami: Manager,
    handover: Handover,
    options: Callable[[str], Awaitable[None]],
    say: Callable[[str], None],
) -> bool:
    """Ask Asterisk for ConfBridge, for the dialplan of the conferences, and for our SIP endpoint. True if all is well.

    Args:
        settings: ``[conference]``.
        ami: logged in, with all rights.
        handover: is told its events.
        options: asks Asterisk by SIP whether we could call a number; "" asks for the endpoint alone.
        say: gets each line.

    Raises:
        AmiNotConnected, AmiUnknown: the connection broke.
    """
    problems = []
    try:
        await ami.items("ConfbridgeListRooms")
    except AmiRefused as error:
        problems.append(f"Asterisk does not list conferences: {error}; is app_confbridge loaded?")
    problems += await _dialplan(settings, ami)
    problems += await _outside_calls(settings, ami, handover)
    numbers = [room.number or name for name, room in settings.room.items()]
    try:
        await options(numbers[0] if numbers and not problems else "")
    except SipError as error:
        problems.append(f"texts cannot reach the phones (conference.sip): {error}")
    else:
        if settings.sip.hep:
            problems += await _copies(settings.sip, options, say)
    for problem in problems:
        say(f"conferences: FAILED: {problem}")
    if not problems:
        say(f"conferences: Asterisk has the context {settings.context}, and takes texts from {settings.sip.endpoint}")
    return not problems


async def _copies(
    settings: SipSettings, options: Callable[[str], Awaitable[None]], say: Callable[[str], None]
) -> list[str]:
    """Return what is wrong with the copies of SIP packets; a question and its answer make some."""
    try:
        copies = await open_copies(settings, lambda _text: None)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return [f"cannot listen at {settings.hep} (conference.sip.hep): {error.strerror or error}"]
        say(
            f"conferences: {settings.hep} (conference.sip.hep) is in use. If agi-xmpp runs, that is right, and agi-xmpp"
            " status says how many copies of SIP packets have come; else another program has it, and what phones write"
            " is shown without its sender"
        )
        return []
    try:
        await options("")
        async with asyncio.timeout(COPY_TIME):
            await copies.wait()
    except SipError as error:
        return [f"texts cannot reach the phones (conference.sip): {error}"]
    except TimeoutError:
        return [
            f"no copy of a SIP packet has come to {settings.hep} (conference.sip.hep): is res_hep_pjsip loaded, and has"
            f" hep.conf enabled = yes and capture_address = {settings.hep}?"
        ]
    finally:
        copies.close()
    say(f"conferences: copies of SIP packets come to {settings.hep}")
    return []


async def _dialplan(settings: ConferenceSettings, ami: Manager) -> list[str]:
    """Return what the dialplan lacks."""
    context, invited = settings.context, settings.invite_context
    if not await _exists(ami, context):
        return [f'Asterisk has no context {context} (conference.context): asterisk -rx "dialplan show" lists them']
    missing = [
        f"context {context} has no extension {room.number or name} (conference.room.{name})"
        for name, room in settings.room.items()
        if not await _exists(ami, f"{context},{room.number or name}")
    ]
    problems = missing[:NAMED]
    if len(missing) > NAMED:
        problems.append(f"and {len(missing) - NAMED} more rooms whose number Asterisk does not know")
    if not await _exists(ami, f"{invited},s"):
        problems.append(
            f"Asterisk has no extension s in the context {invited} (conference.invite_context), where phones go that"
            " take an invitation"
        )
    return problems


async def _outside_calls(settings: ConferenceSettings, ami: Manager, handover: Handover) -> list[str]:
    """Return what phones lack that read outside of calls. Their ``set_var`` is not seen: Asterisk does not tell it."""
    wrong, contexts = [], set()
    for endpoint in settings.texts_outside_calls:
        context = await value_of(ami, f"PJSIP_ENDPOINT({endpoint},message_context)")
        if context:
            contexts.add(context)
        elif await value_of(ami, f"PJSIP_ENDPOINT({endpoint},context)"):
            wrong.append(
                f"what {endpoint} writes outside of calls does not reach us (conference.texts_outside_calls): its"
                f" endpoint in pjsip.conf lacks message_context = {settings.context}-texts"
            )
        else:
            wrong.append(
                f"Asterisk has no endpoint {endpoint} (conference.texts_outside_calls), or func_pjsip_endpoint is not"
                " loaded"
            )
    problems = wrong[:NAMED]
    if len(wrong) > NAMED:
        problems.append(f"and {len(wrong) - NAMED} more of conference.texts_outside_calls")
    for context in sorted(contexts):
        if not await _exists(ami, f"{context},s"):
            problems.append(
                f"the context {context}, a message_context in pjsip.conf, does not hand texts on: agi-xmpp render"
                " conference-room writes one that does"
            )
        elif not await handover.works(ami, context):
            problems.append(
                f"what phones write outside of calls does not reach us from the context {context}: add user to the"
                ' manager user\'s line read = in manager.conf; after that, asterisk -rx "manager reload", and'
                " systemctl reload agi-xmpp if it runs"
            )
    return problems


async def _exists(ami: Manager, place: str) -> bool:
    """Tell whether a context, or an extension in one, is there; True if this Asterisk cannot say."""
    arguments = f"{place},1" if "," in place else place
    return await value_of(ami, f"DIALPLAN_EXISTS({arguments})") != "0"
