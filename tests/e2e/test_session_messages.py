"""The session between real servers and an independent client (slixmpp): messages both ways."""

from __future__ import annotations

import asyncio
import logging

import pytest

from agi_xmpp.errors import BadText, Bounced, NotAcknowledged
from tests.e2e.sessions import Login, beside_bob, online, own_account, settings, settled
from tests.testbed.client import Buddy
from tests.testbed.xmpp import Accounts

# Quotes, blanks at the ends, line ends, markup, Asterisk's and AGI's special characters, emoji of several code points
AWKWARD = (
    " \"quotes\" 'too' \\ , ; | &amp; <b> ]]> ${EXTEN} $[1+1]\n\n\ttab — äöü "
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \n"
)


@pytest.fixture(params=["client", "component"])
async def pbx(request: pytest.FixtureRequest, accounts: Accounts) -> Login:
    """Our own account: a client's, and the component."""
    return await own_account(accounts, request.param)


def long_text(characters: int) -> str:
    return (AWKWARD * (characters // len(AWKWARD) + 1))[:characters]


@pytest.mark.parametrize("text", ["1", AWKWARD, long_text(20_000)], ids=["short", "awkward", "20000"])
async def test_any_text_arrives_whole_both_ways(accounts: Accounts, pbx: Login, text: str) -> None:
    async with beside_bob(accounts, pbx) as (session, bob):
        message_id = await session.send_message(bob.jid, text, thread="call-1.2")
        heard = await bob.hears()
        assert (heard.body, heard.id, heard.thread, heard.type) == (text, message_id, "call-1.2", "chat")
        answer_id = bob.say(heard.sender, text, thread=heard.thread)
        answer = await session.receive_message(bob.jid, 10, thread="call-1.2")
        assert (answer.body, answer.id, str(answer.sender)) == (text, answer_id, bob.full_jid)


async def test_the_longest_text_that_we_allow_passes_the_server(accounts: Accounts, pbx: Login) -> None:
    async with beside_bob(accounts, pbx) as (session, bob):
        longest = session._settings.max_body
        for text in ("x" * longest, "\U0001f4f1" * longest, "&" * (longest * 4 // 5)):
            await session.send_message(bob.jid, text)
            assert (await bob.hears()).body == text
        with pytest.raises(BadText):
            await session.send_message(bob.jid, "x" * (longest + 1))
        assert session.info().connects == 1


async def test_a_receipt_of_a_real_client(accounts: Accounts, pbx: Login) -> None:
    bob = await accounts("bob")
    server = accounts.server
    async with online(settings(server, pbx)) as session:
        async with Buddy.online(server, bob.jid, bob.password):
            message_id = await session.send_message(bob.jid, "seen?", receipt=True)
            await session.delivered(message_id, 10)
        async with Buddy.online(server, bob.jid, bob.password, receipts=False):
            message_id = await session.send_message(bob.jid, "seen?", receipt=True)
            with pytest.raises(NotAcknowledged):
                await session.delivered(message_id, 0.5)


async def test_our_receipts_go_to_buddies_only(accounts: Accounts, pbx: Login) -> None:
    bob, eve = await accounts("bob"), await accounts("eve")
    server = accounts.server
    async with (
        online(settings(server, pbx, buddies=[bob.jid])) as session,
        Buddy.online(server, bob.jid, bob.password) as buddy,
        Buddy.online(server, eve.jid, eve.password) as stranger,
    ):
        us = session.info().jid
        buddy.subscribe(pbx.jid)
        await buddy.sees(lambda seen: seen.sender == us and seen.type == "")
        asked = buddy.say(us, "there?", receipt=True)
        await buddy.hears(lambda message: message.receipt_for == asked)
        stranger.say(us, "there?", receipt=True)
        await session.receive_message(eve.jid, 10)
        await session.send_message(eve.jid, "no")
        await stranger.hears_nothing_until("no")
        assert not any(message.receipt_for for message in stranger.heard)


async def test_a_message_to_nobody_bounces_at_once(accounts: Accounts, pbx: Login) -> None:
    server = accounts.server
    async with online(settings(server, pbx)) as session:
        for to in (f"nobody@{server.domain}", f"nobody@{server.domain}/phone"):
            with pytest.raises(Bounced, match=f"^{to}: the message came back: service-unavailable") as caught:
                await session.send_message(to, "hello?")
            assert caught.value.condition == "service-unavailable"
        with pytest.raises(Bounced):  # who waits all the same does not wait in vain
            await session.send_message(f"nobody@{server.domain}", "?", thread="call-1")
        with pytest.raises(Bounced):
            await session.receive_message(f"nobody@{server.domain}", 10, thread="call-1")


async def test_a_stranger_and_an_impostor_do_not_end_a_wait(accounts: Accounts, pbx: Login) -> None:
    bob = await accounts("bob")
    server = accounts.server
    # Its address begins with bob's
    password = "impostor-9"
    impostor = await server.add_user(f"{bob.jid.partition('@')[0]}2", password)
    async with (
        online(settings(server, pbx, buddies=[bob.jid])) as session,
        Buddy.online(server, bob.jid, bob.password) as buddy,
        Buddy.online(server, impostor, password, resource="phone") as stranger,
    ):
        await session.send_message(bob.jid, "1 or 2?", thread="call-1")
        waiting = asyncio.create_task(session.receive_message(bob.jid, 20, thread="call-1"))
        stranger.say(session.info().jid, "2", thread="call-1")
        assert (await session.receive_message(impostor, 10)).body == "2"  # it came, and to another
        assert not waiting.done()
        buddy.say(session.info().jid, "1", thread="call-1")
        assert (await waiting).body == "1"


async def test_two_calls_that_ask_one_person_get_their_own_answers(accounts: Accounts, pbx: Login) -> None:
    async with beside_bob(accounts, pbx) as (session, bob):
        waits = {}
        for thread in ("call-1", "call-2"):
            await session.send_message(bob.jid, f"question of {thread}", thread=thread)
            waits[thread] = asyncio.create_task(session.receive_message(bob.jid, 20, thread=thread))
        for thread in ("call-2", "call-1"):
            question = await bob.hears(f"question of {thread}")
            bob.say(question.sender, f"answer to {thread}", thread=question.thread)
        assert (await waits["call-1"]).body == "answer to call-1"
        assert (await waits["call-2"]).body == "answer to call-2"


async def test_without_threads_the_answers_come_in_the_order_of_the_waits(accounts: Accounts, pbx: Login) -> None:
    async with beside_bob(accounts, pbx) as (session, bob):
        first = asyncio.create_task(session.receive_message(bob.jid, 20, thread="call-1"))
        await asyncio.sleep(0)
        second = asyncio.create_task(session.receive_message(bob.jid, 20, thread="call-2"))
        await asyncio.sleep(0)
        bob.say(session.info().jid, "1")
        bob.say(session.info().jid, "2")
        assert [(await first).body, (await second).body] == ["1", "2"]


async def test_an_answer_typed_during_the_prompt_is_not_lost(accounts: Accounts, pbx: Login) -> None:
    async with beside_bob(accounts, pbx, message_ttl=0) as (session, bob):
        us = session.info().jid
        bob.say(us, "before the question")
        await processed(bob, us)
        await session.send_message(bob.jid, "?", thread="call-1")
        bob.say(us, "quick answer")
        await processed(bob, us)  # the caller still hears the prompt
        assert (await session.receive_message(bob.jid, 10, thread="call-1")).body == "quick answer"


async def test_old_mail_that_comes_with_the_login_is_no_answer(accounts: Accounts) -> None:
    pbx, bob = await accounts("pbx"), await accounts("bob")
    server = accounts.server
    async with Buddy.online(server, bob.jid, bob.password) as buddy:
        buddy.send_raw(
            f"<message to='{pbx.jid}' type='chat'><body>from yesterday</body>"
            "<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/></message>"
        )
        buddy.say(buddy.full_jid, "mark")  # the server has taken the one above
        await buddy.hears("mark")
        async with online(settings(server, pbx, buddies=[bob.jid])) as session:
            waiting = asyncio.create_task(session.receive_message(bob.jid, 20))
            await asyncio.sleep(0)
            buddy.say(session.info().jid, "from today")
            assert (await waiting).body == "from today"


async def test_carbon_copies_of_our_own_account_count_and_forged_ones_do_not(accounts: Accounts) -> None:
    pbx, bob, eve = await accounts("pbx"), await accounts("bob"), await accounts("eve")
    server = accounts.server
    async with (
        online(settings(server, pbx, buddies=[bob.jid])) as session,
        Buddy.online(server, pbx.jid, pbx.password, resource="desk", priority=10) as desk,
        Buddy.online(server, bob.jid, bob.password) as buddy,
        Buddy.online(server, eve.jid, eve.password) as forger,
    ):
        await settled(session)  # carbons are on
        waiting = asyncio.create_task(session.receive_message(bob.jid, 20))
        await asyncio.sleep(0)
        addresses = f"from='{bob.jid}/phone' to='{pbx.jid}'"
        inner = f"<message xmlns='jabber:client' {addresses} type='chat'><body>forged</body></message>"
        for kind in ("received", "sent"):
            forger.send_raw(
                f"<message to='{session.info().jid}' type='chat'><{kind} xmlns='urn:xmpp:carbons:2'>"
                f"<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></{kind}></message>"
            )
        forger.say(session.info().jid, "mark")
        await session.receive_message(eve.jid, 10)
        assert not waiting.done()
        desk.say(bob.jid, "sent by our other client")
        await buddy.hears("sent by our other client")
        buddy.say(desk.full_jid, "copied")
        message = await waiting
        assert (message.body, message.carbon) == ("copied", True)


async def test_other_types_are_no_answers(accounts: Accounts, pbx: Login) -> None:
    async with beside_bob(accounts, pbx) as (session, bob):
        us = session.info().jid
        waiting = asyncio.create_task(session.receive_message(bob.jid, 20))
        await asyncio.sleep(0)
        bob.say(us, "news", kind="headline")
        bob.send_raw(
            f"<message to='{us}' type='error' id='x'><body>echo</body><error type='cancel'>"
            "<gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        )
        bob.say(us, "an answer", kind="normal")
        assert (await waiting).body == "an answer"


async def test_a_late_bounce_ends_the_wait(accounts: Accounts, pbx: Login, caplog: pytest.LogCaptureFixture) -> None:
    async with beside_bob(accounts, pbx) as (session, bob):
        message_id = await session.send_message(bob.full_jid, "private", thread="call-1")
        waiting = asyncio.create_task(session.receive_message(bob.jid, 20, thread="call-1"))
        await bob.hears("private")
        bob.send_raw(
            f"<message to='{session.info().jid}' type='error' id='{message_id}'><error type='cancel'>"
            "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        )
        with pytest.raises(Bounced) as caught:
            await waiting
        assert caught.value.condition == "not-acceptable"
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and "agi_xmpp" in r.name]
    assert any(message_id in line and "not-acceptable" in line and "private" not in line for line in warnings)


async def test_what_we_answer_to_others(accounts: Accounts, pbx: Login) -> None:
    async with beside_bob(accounts, pbx, buddies=[]) as (session, bob):
        client, us = bob._client, session.info().jid
        assert await client.plugin["xep_0199"].ping(us, timeout=10) > 0
        reply = await _ask(client, us, "jabber:iq:version")
        assert reply.find("{jabber:iq:version}query/{jabber:iq:version}name").text == "agi-xmpp"
        info = await _ask(client, us, "http://jabber.org/protocol/disco#info")
        features = {f.get("var") for f in info.iter("{http://jabber.org/protocol/disco#info}feature")}
        assert {"urn:xmpp:ping", "jabber:iq:version"} <= features
        unknown = await _ask(client, us, "nobody:knows:this")
        assert unknown.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}service-unavailable") is not None


async def processed(buddy: Buddy, us: str) -> None:
    """Return when we have taken all that the buddy has sent us: stanzas stay in order, and ours answers the ping."""
    await buddy._client.plugin["xep_0199"].ping(us, timeout=10)


async def _ask(client: object, to: str, namespace: str):
    from slixmpp.exceptions import IqError

    iq = client.make_iq_get(queryxmlns=namespace, ito=to)  # type: ignore[attr-defined]
    try:
        return (await iq.send(timeout=10)).xml
    except IqError as error:
        return error.iq.xml
