"""jabber_ask: a menu in chat, and the choice for the dialplan."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from agi_xmpp.errors import AgiError, UsageError
from agi_xmpp.features.asking import HUNG_UP, OVER, Asking
from agi_xmpp.features.menu import parse
from agi_xmpp.features.verb import Call, Verb, parse_seconds
from agi_xmpp.xmpp.jid import parse as parse_jid
from agi_xmpp.xmpp.model import Jid

#: Seconds that the question may take to the server, as for jabber_send.
TIMEOUT = 5.0

#: People asked at once. Each of them is told how it ended.
MAX_PEOPLE = 20


async def run(call: Call) -> None:
    """Ask, and set JABBER_ASK to the key that was chosen.

    ``?enc=uri`` says that question and labels are ``${URIENCODE()}``d, ``?var=NAME`` that the question is in a channel
    variable, ``?timeout=SECONDS`` how long the question may take to the server. ``?seen_extends=SECONDS`` gives that
    much more time, once, to somebody who has the question on the screen. JABBER_SEEN and JABBER_SEEN_BY say who has
    seen it, however it ends.
    """
    people = parse_people(call.arguments[1])
    seconds = parse_seconds(call.arguments[2], "seconds")
    menu = parse(call.arguments[3:], question=await call.variable(), decode=call.decoded)
    seen_extends = call.seconds("seen_extends", 0.0)
    asking = call.session.guest(Asking)
    seen_by: list[Jid] = []
    try:
        try:
            outcome = await asking.ask(
                people,
                menu,
                thread=call.thread,
                seconds=seconds,
                send_timeout=min(call.seconds("timeout", TIMEOUT), seconds),
                why_cancelled=lambda: HUNG_UP if call.channel.hung_up else OVER,
                saw=seen_by.append,
                seen_extends=seen_extends,
            )
        finally:
            await _tell_who_saw(call, seen_by)
    except TimeoutError as error:
        await call.set("JABBER_ERROR", str(error))
        await call.set("JABBER_ASK_STATUS", "TIMEOUT")
        return
    await call.set("JABBER_ASK_FROM", str(outcome.sender))
    if outcome.choice is None:
        await call.set("JABBER_ASK_STATUS", "DECLINED")
        return
    await call.set("JABBER_ASK", outcome.choice.key)
    await call.set("JABBER_ASK_STATUS", "OK")


async def _tell_who_saw(call: Call, people: Sequence[Jid]) -> None:
    if not people:
        return
    # The addresses as the dialplan gave them: a resource of somebody else's choice could hold a "&".
    with contextlib.suppress(AgiError):  # the conversation with Asterisk is over: what ended the ask says so
        await call.set("JABBER_SEEN_BY", "&".join(map(str, people)))
        await call.set("JABBER_SEEN", "1")


def parse_people(text: str) -> Sequence[Jid]:
    """Return whom ``jid&jid&…`` names.

    Raises:
        BadJid: one of them is no Jabber ID.
        UsageError: too many, or one of them twice.
    """
    people = [parse_jid(word.strip()) for word in text.split("&")]
    if len(people) > MAX_PEOPLE:
        raise UsageError(f"{len(people)} people are asked; at most {MAX_PEOPLE} are allowed")
    for place, person in enumerate(people):
        for other in people[:place]:
            # Two resources of one person are two addressees; an address without a resource means all of them.
            if person == other or (person.bare == other.bare and (person.is_bare or other.is_bare)):
                raise UsageError(f"{person.bare} is asked twice")
    return people


VERB = Verb(
    name="jabber_ask",
    usage=(
        "jabber_ask[?enc=uri&var=NAME&timeout=5&seen_extends=SECONDS]"
        ",account,jid[&jid…],seconds,question,key=label[,key=label…]"
    ),
    clears={
        "JABBER_ASK_STATUS": "ERROR",
        "JABBER_ASK": "",
        "JABBER_ASK_FROM": "",
        "JABBER_SEEN": "0",
        "JABBER_SEEN_BY": "",
        "JABBER_ERROR": "",
    },
    status="JABBER_ASK_STATUS",
    failures=frozenset({"HANGUP"}),
    options=frozenset({"enc", "var", "timeout", "seen_extends"}),
    arguments=5,
    max_arguments=None,
    run=run,
    ends_with_call=True,
)
