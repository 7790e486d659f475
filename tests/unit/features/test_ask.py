"""jabber_ask."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agi_xmpp.errors import BadJid, Bounced, UsageError
from agi_xmpp.features.ask import MAX_PEOPLE, parse_people
from agi_xmpp.features.asking import Asking
from agi_xmpp.xmpp.jid import parse as parse_jid
from agi_xmpp.xmpp.model import IncomingMessage, Jid
from tests.unit.features.fakes import FOREVER, FakeChannel, FakeSession, dispatcher, run

ARGUMENTS = ("pbx", "bob@x.org", "20", "Where to", " then?", "1=Cell", "2=Desk")


class Conversation:
    """A call of the verb that goes on."""

    def __init__(self, *arguments: str, session: FakeSession | None = None, **query: str) -> None:
        self.session = session or FakeSession()
        self.channel = FakeChannel("jabber_ask", arguments or ARGUMENTS, query)
        self._task = asyncio.ensure_future(dispatcher(self.session)(self.channel))  # type: ignore[arg-type]

    async def until_asked(self) -> None:
        async with asyncio.timeout(5):
            while not self.session.calls:
                await asyncio.sleep(0)

    async def answer(self, body: str) -> None:
        await self.until_asked()
        now = asyncio.get_running_loop().time()  # the same clock as time.monotonic on every platform of ours
        message = IncomingMessage(Jid("bob", "x.org", "pc"), body, "chat", "b1", "", now + 1, now + 1)
        assert self.session.guest(Asking).message_came(message, kept=False, awaited=False)

    async def show(self, sender: str) -> None:
        await self.until_asked()
        question = next(kwargs["message_id"] for _, args, kwargs in self.session.calls if args[0] == sender)
        now = asyncio.get_running_loop().time() + 1
        message = IncomingMessage(parse_jid(f"{sender}/pc"), "", "chat", "b2", "", now, now, displayed=question)
        self.session.guest(Asking).message_came(message, kept=False, awaited=False)

    async def variables(self) -> dict[str, str]:
        async with asyncio.timeout(5):
            await self._task
        return self.channel.variables


async def refused(*arguments: str, **query: str) -> str:
    """Return JABBER_ERROR of a call that must not ask anybody."""
    session = FakeSession()
    variables = (await run("jabber_ask", *arguments, session=session, **query)).variables
    assert variables["JABBER_ASK_STATUS"] == "ERROR"
    assert session.calls == []
    return variables["JABBER_ERROR"]


async def test_a_choice():
    call = Conversation()
    await call.answer("desk")
    assert await call.variables() == {
        "JABBER_ASK_STATUS": "OK",
        "JABBER_ASK": "2",
        "JABBER_ASK_FROM": "bob@x.org/pc",
        "JABBER_SEEN": "1",
        "JABBER_SEEN_BY": "bob@x.org",
        "JABBER_ERROR": "",
    }
    _, args, kwargs = call.session.calls[0]
    assert args == ("bob@x.org", "Where to, then?\n1: Cell\n2: Desk")
    assert (kwargs["thread"], kwargs["timeout"]) == ("call-1700000000.42", 5.0)
    # The status last: a dialplan that sees OK sees the key, too.
    assert [name for name, _ in call.channel.history][-1] == "JABBER_ASK_STATUS"


async def test_declined():
    call = Conversation()
    await call.answer("no")
    variables = await call.variables()
    assert (variables["JABBER_ASK_STATUS"], variables["JABBER_ASK"]) == ("DECLINED", "")
    assert variables["JABBER_ASK_FROM"] == "bob@x.org/pc"


async def test_silence():
    variables = await Conversation("pbx", "bob@x.org", "0.01", "q", "1=a").variables()
    assert (variables["JABBER_ASK_STATUS"], variables["JABBER_ASK"], variables["JABBER_ERROR"]) == ("TIMEOUT", "", "")


async def test_a_hangup_ends_it_and_closes_the_card():
    call = Conversation()
    await call.until_asked()
    call.channel.hang_up()
    variables = await call.variables()
    assert variables["JABBER_ASK_STATUS"] == "HANGUP"
    assert call.session.calls[-1][1][1].endswith("Closed: the caller hung up.")


@pytest.mark.parametrize("ending", ["timeout", "hangup", "bounce"])
async def test_who_has_seen_it_is_known_however_it_ends(ending: str):
    seconds = "0.05" if ending == "timeout" else "20"
    call = Conversation("pbx", "bob@x.org&carol@x.org&dave@x.org", seconds, "q", "1=a")
    await call.show("carol@x.org")
    await call.show("bob@x.org")
    if ending == "hangup":
        call.channel.hang_up()
    elif ending == "bounce":
        for _, _, kwargs in list(call.session.calls):
            call.session.guest(Asking).message_bounced(kwargs["message_id"], Bounced("gone", "gone"))
    variables = await call.variables()
    assert (variables["JABBER_SEEN"], variables["JABBER_SEEN_BY"]) == ("1", "carol@x.org&bob@x.org")
    assert variables["JABBER_ASK_STATUS"] == {"timeout": "TIMEOUT", "hangup": "HANGUP", "bounce": "ERROR"}[ending]


async def test_nobody_has_seen_it():
    variables = await Conversation("pbx", "bob@x.org", "0.01", "q", "1=a").variables()
    assert (variables["JABBER_SEEN"], variables["JABBER_SEEN_BY"]) == ("0", "")


async def test_more_time_for_somebody_who_looks():
    call = Conversation("pbx", "bob@x.org", "0.01", "q", "1=a", seen_extends="0.01")
    await call.show("bob@x.org")
    variables = await call.variables()
    assert (variables["JABBER_ASK_STATUS"], variables["JABBER_SEEN"]) == ("TIMEOUT", "1")
    assert "number of seconds" in await refused("pbx", "bob@x.org", "20", "q", "1=a", seen_extends="long")


async def test_a_stop_of_the_service_closes_the_card():
    call = Conversation()
    await call.until_asked()
    call._task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.variables()
    assert call.session.calls[-1][1][1].endswith("Closed: the call is over.")


async def test_a_bounce_is_an_error_with_the_reason():
    variables = await Conversation(session=FakeSession(send_message=Bounced("bob: gone", "gone"))).variables()
    assert (variables["JABBER_ASK_STATUS"], variables["JABBER_ERROR"]) == ("ERROR", "bob: gone")


@pytest.mark.parametrize(
    ("query", "timeout"), [({}, 5.0), ({"timeout": "2.5"}, 2.5), ({"timeout": "0"}, 0.0), ({"timeout": "60"}, 20.0)]
)
async def test_the_time_for_sending_is_a_part_of_the_time_for_answering(query: dict[str, str], timeout: float):
    call = Conversation(session=FakeSession(send_message=FOREVER), **query)
    await call.answer("1")
    await call.variables()
    assert call.session.calls[0][2]["timeout"] == timeout


async def test_question_from_a_variable_and_encoded_labels():
    session = FakeSession()
    channel = FakeChannel("jabber_ask", ("pbx", "bob@x.org", "0.01", "1=a%2C%20b"), {"var": "Q", "enc": "uri"})
    channel.variables["Q"] = "100%25%3F"
    await dispatcher(session)(channel)  # type: ignore[arg-type]
    assert session.calls[0][1][1] == "100%?\n1: a, b"


@pytest.mark.parametrize(
    ("arguments", "query", "words"),
    [
        (("pbx", "bob@x.org", "20", "q"), {}, "arguments"),
        (("pbx", "bob@x.org", "20", "q", "r"), {}, "no choices"),
        (("pbx", "bob@x.org", "0", "q", "1=a"), {}, "more than 0 seconds"),
        (("pbx", "bob@x.org", "x", "q", "1=a"), {}, "number of seconds"),
        (("pbx", "bob@@", "20", "q", "1=a"), {}, "not a Jabber ID"),
        (("pbx", "bob@x.org&", "20", "q", "1=a"), {}, "empty"),
        (("nobody", "bob@x.org", "20", "q", "1=a"), {}, "no account"),
        (("pbx", "bob@x.org", "20", "q", "1=%"), {"enc": "uri"}, "URIENCODE"),
        (("pbx", "bob@x.org", "20", "1=a"), {"var": "NONE"}, "no variable"),
        (("pbx", "bob@x.org", "20", "q", "1=a"), {"wait": "sent"}, "no option"),
    ],
)
async def test_what_makes_no_sense_asks_nobody(arguments: tuple[str, ...], query: dict[str, Any], words: str):
    assert words in await refused(*arguments, **query)


def test_people():
    assert parse_people("bob@x.org & carol@x.org/pc") == [Jid("bob", "x.org"), Jid("carol", "x.org", "pc")]
    assert len(parse_people("bob@x.org/pc&bob@x.org/phone")) == 2
    with pytest.raises(BadJid):
        parse_people("bob@x.org,carol@x.org")


@pytest.mark.parametrize("people", ["bob@x.org&Bob@X.org", "bob@x.org&bob@x.org/pc", "bob@x.org/pc&bob@x.org"])
def test_nobody_is_asked_twice(people):
    with pytest.raises(UsageError, match="asked twice"):
        parse_people(people)


@pytest.mark.parametrize(("count", "allowed"), [(MAX_PEOPLE - 1, True), (MAX_PEOPLE, True), (MAX_PEOPLE + 1, False)])
def test_so_many_people(count, allowed):
    people = "&".join(f"p{n}@x.org" for n in range(count))
    if allowed:
        assert len(parse_people(people)) == count
    else:
        with pytest.raises(UsageError, match="at most"):
            parse_people(people)
