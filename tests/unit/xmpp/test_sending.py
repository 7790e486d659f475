"""Our messages at a server that does what real ones do on bad days only."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from agi_xmpp.errors import BadJid, BadText, Bounced, NotAcknowledged, NotConfirmed, NotConnected
from agi_xmpp.xmpp import sending as sending_module
from agi_xmpp.xmpp.model import Extras, SessionState
from tests.unit.xmpp.fake import CLIENT, PING, Conversation, FakeServer
from tests.unit.xmpp.sessions import BOB, BOTH, bounce, lines, online, running, say, until_state

pytestmark = pytest.mark.usefixtures("nothing_left_behind", "quick_pace")

RECEIPT = "{urn:xmpp:receipts}"


# Sending


@BOTH
async def test_sent_means_that_the_server_has_it(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(f"{BOB}/phone", "one & <two>", thread="call-1.2")
        heard = await server.hears("message")
        assert heard.get("id") == message_id
        assert (heard.get("to"), heard.get("type")) == (f"{BOB}/phone", "chat")
        assert heard.findtext(f"{CLIENT}body") == "one & <two>"
        assert heard.findtext(f"{CLIENT}thread") == "call-1.2"
        assert heard.find(f"{RECEIPT}request") is None
        assert session.info().sent == 1


@BOTH
async def test_an_id_of_one_s_own_is_used(server: FakeServer) -> None:
    async with online(server) as session:
        assert await session.send_message(BOB, "x", message_id="mine-1") == "mine-1"
        assert (await server.hears("message")).get("id") == "mine-1"
        with pytest.raises(BadText):
            await session.send_message(BOB, "x", message_id="\x00")


@pytest.mark.parametrize("answer", ["result", "error"])
async def test_without_acknowledgements_a_ping_behind_the_message_confirms_it(server: FakeServer, answer: str) -> None:
    server.does.sm, server.does.ping = False, answer
    async with online(server) as session:
        await session.send_message(BOB, "x")
        assert await server.hears_message() == "x"


async def test_a_server_without_both_confirms_nothing(server: FakeServer) -> None:
    server.does.sm, server.does.ping = False, "silent"
    async with online(server) as session:
        with pytest.raises(NotConfirmed):
            await session.send_message(BOB, "x", timeout=0.1)


async def test_a_server_that_answers_no_pings_costs_a_moment_only(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_module, "FENCE_TIME", 0.01)
    server.does.ping = "silent"
    async with online(server) as session:
        await session.send_message(BOB, "x", timeout=5)


async def test_without_an_acknowledgement_nothing_is_claimed(server: FakeServer) -> None:
    server.does.ack = False
    async with online(server) as session:
        with pytest.raises(NotConfirmed, match="did not confirm the message in time; it may have arrived"):
            await session.send_message(BOB, "x", timeout=0.1)
        assert session.info().sent == 0


async def test_a_connection_that_breaks_for_good_leaves_a_doubt(server: FakeServer) -> None:
    server.does.ack, server.does.resume = False, False
    async with online(server) as session:
        sending = asyncio.create_task(session.send_message(BOB, "x"))
        await server.hears_message()
        server.conversation.reset()
        with pytest.raises(NotConfirmed, match="broke before the server confirmed"):
            await sending


async def test_a_break_in_mid_send_is_healed_by_resumption(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sending_module, "FENCE_TIME", 0.05
    )  # the fake does not send its own unacknowledged stanzas again
    server.does.ack = False
    async with online(server) as session:
        sending = asyncio.create_task(session.send_message(BOB, "x"))
        await server.hears_message()
        server.does.ack = True
        server.conversation.fin()
        await sending
        assert server.resumed.is_set()


async def test_messages_keep_their_order_over_a_resumption(server: FakeServer) -> None:
    server.does.ack = False
    async with online(server) as session:
        sending = [asyncio.create_task(session.send_message(BOB, str(number))) for number in range(5)]
        for _ in sending:
            await server.hears_message()
        assert server.stream is not None
        server.stream.handled -= 10  # the server lost the five messages and their pings
        server.does.ack = True
        server.conversation.fin()
        assert [await server.hears_message() for _ in sending] == ["0", "1", "2", "3", "4"]
        await asyncio.gather(*sending)


@BOTH
async def test_a_message_waits_for_a_session(server: FakeServer) -> None:
    await server.refuse()
    async with running(server) as session:
        sending = asyncio.create_task(session.send_message(BOB, "x", timeout=10))
        await until_state(session, SessionState.WAITING)
        await server.listen()
        await sending
        assert await server.hears_message() == "x"


async def test_and_is_not_sent_if_there_is_none_in_time() -> None:
    async with running(None) as session:
        with pytest.raises(NotConnected, match=r"account main is not connected: no connection to 127\.0\.0\.1:1:"):
            await session.send_message(BOB, "x", timeout=0.1)


@BOTH
async def test_nothing_bad_is_sent(server: FakeServer) -> None:
    async with online(server, max_body=10) as session:
        for text in ("", "x" * 11, "bell\a", "\ufffe", "\ud800"):
            with pytest.raises(BadText):
                await session.send_message(BOB, text)
            with pytest.raises(BadText):
                session.queue_message(BOB, text)
        with pytest.raises(BadJid):
            await session.send_message("nobody@", "x")
        with pytest.raises(BadJid):
            session.queue_message("nobody@", "x")
        await session.send_message(BOB, "x" * 10)
        assert await server.hears_message() == "x" * 10


async def test_a_cancelled_send_that_has_not_left_never_leaves(server: FakeServer) -> None:
    server.does.ack = False
    async with online(server) as session:
        server.does.greeting = b""  # the server reads nothing any more
        sending = asyncio.create_task(session.send_message(BOB, "x"))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not session._sending._under_way


async def test_messages_on_their_way_are_limited(server: FakeServer) -> None:
    server.does.ack = False
    async with online(server) as session:
        session._sending._window = asyncio.Semaphore(1)
        first = asyncio.create_task(session.send_message(BOB, "1"))
        await server.hears_message()
        with pytest.raises(NotConnected, match="on their way already; nothing was sent"):
            await session.send_message(BOB, "2", timeout=0.05)
        server.conversation.acknowledge()
        await first
        server.does.ack = True
        await session.send_message(BOB, "3")


# Bounces and receipts


@BOTH
async def test_a_bounce_that_comes_at_once_is_told_to_the_sender(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def bounce_first(conversation: Conversation, iq: ET.Element) -> None:
        conversation.send(bounce(await server.hears("message")))
        conversation.result(iq)

    async with online(server) as session:
        server.answers[PING + "ping"] = bounce_first
        with pytest.raises(
            Bounced, match=r"bob@fake.test: the message came back: item-not-found \(no such user\)"
        ) as e:
            await session.send_message(BOB, "x", thread="call-1")
        assert e.value.condition == "item-not-found"
        assert session.info().sent == 0
        with pytest.raises(Bounced):  # who waits all the same does not wait in vain
            await session.receive_message(BOB, 20, thread="call-1")
    assert lines(caplog) == []


@BOTH
@pytest.mark.parametrize("early", [False, True])
async def test_a_late_bounce_is_logged_and_ends_the_wait(
    server: FakeServer, caplog: pytest.LogCaptureFixture, early: bool
) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "the text is private", thread="call-1")
        message = await server.hears("message")
        if early:
            server.conversation.send(bounce(message) + say("mark", sender="carol@fake.test/x"))
            await session.receive_message("carol@fake.test", 5)
        wait = asyncio.create_task(session.receive_message(BOB, 20, thread="call-1"))
        other = asyncio.create_task(session.receive_message(BOB, 20, thread="call-2"))
        await asyncio.sleep(0)
        if not early:
            server.conversation.send(bounce(message))
        with pytest.raises(Bounced) as caught:
            await wait
        assert caught.value.condition == "item-not-found"
        server.conversation.send(say("for the other"))
        assert (await other).body == "for the other"
    assert lines(caplog) == [
        f"account main: message {message_id} to bob@fake.test: the message came back: item-not-found (no such user)"
    ]


@BOTH
async def test_a_bounce_is_never_an_answer_and_a_forged_one_is_nothing(server: FakeServer) -> None:
    async with online(server) as session:
        await session.send_message(BOB, "x", thread="call-1")
        message = await server.hears("message")
        wait = asyncio.create_task(session.receive_message(BOB, 20, thread="call-1"))
        await asyncio.sleep(0)
        server.conversation.send(bounce(message, "eve@fake.test/x") + bounce(message, "bob@fake.test.evil"))
        server.conversation.send(say("echo of something", kind="error") + say("yes"))
        assert (await wait).body == "yes"


async def test_an_error_that_cannot_be_read_is_still_a_bounce(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", thread="call-1")
        server.conversation.send(
            f"<message type='error' from='{BOB}' id='{message_id}'><error><huh/></error></message>"
        )
        with pytest.raises(Bounced, match="without a reason"):
            await session.receive_message(BOB, 5, thread="call-1")


@BOTH
async def test_delivered_waits_for_the_addressee_s_receipt(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", receipt=True)
        assert (await server.hears("message")).find(f"{RECEIPT}request") is not None
        receipt = f"<received xmlns='urn:xmpp:receipts' id='{message_id}'/>"
        server.conversation.send(f"<message from='eve@fake.test/x'>{receipt}</message>")
        with pytest.raises(NotAcknowledged, match=r"bob@fake\.test sent no receipt within 0\.05 s"):
            await session.delivered(message_id, 0.05)
        server.conversation.send(f"<message from='{BOB}/desk'>{receipt}</message>")
        await session.delivered(message_id, 5)
        await session.delivered(message_id, 5)  # known by now


@BOTH
async def test_delivered_ends_with_a_bounce(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", receipt=True)
        wait = asyncio.create_task(session.delivered(message_id, 20))
        server.conversation.send(bounce(await server.hears("message")))
        with pytest.raises(Bounced):
            await wait


async def test_delivered_needs_a_message_that_asked(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x")
        for name in (message_id, "never-sent"):
            with pytest.raises(NotAcknowledged, match="no receipt was asked for"):
                await session.delivered(name, 5)


MARKERS = "urn:xmpp:chat-markers:0"


MARKABLE = Extras(markable=True)


OWN = "agi@fake.test"


def displayed(message_id: str, sender: str) -> str:
    return f"<message type='chat' from='{sender}'><displayed xmlns='{MARKERS}' id='{message_id}'/></message>"


@BOTH
async def test_seen_waits_for_a_client_of_the_addressee(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", extras=MARKABLE)
        assert (await server.hears("message")).find(f"{{{MARKERS}}}markable") is not None
        for stranger in ("eve@fake.test/x", "bob@fake.test.evil/phone"):
            server.conversation.send(displayed(message_id, stranger))
        with pytest.raises(NotAcknowledged, match=r"no client of bob@fake\.test has said within 0\.05 s"):
            await session.seen(message_id, 0.05)
        server.conversation.send(displayed(message_id, f"{BOB}/desk"))
        await session.seen(message_id, 5)
        await session.seen(message_id, 5)  # known by now


async def test_seen_knows_of_what_was_read_on_another_client_of_ours(server: FakeServer) -> None:
    """The read mark went to another resource of our account, and comes as a carbon copy (XEP-0280)."""
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", extras=MARKABLE)
        wait = asyncio.create_task(session.seen(message_id, 20))
        inner = displayed(message_id, f"{BOB}/desk").replace("<message ", f"<message xmlns='jabber:client' to='{OWN}' ")
        server.conversation.send(
            f"<message from='{OWN}'><received xmlns='urn:xmpp:carbons:2'>"
            f"<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></received></message>"
        )
        await wait


async def test_a_later_message_that_was_seen_counts_for_the_earlier_one(server: FakeServer) -> None:
    async with online(server) as session:
        first = await session.send_message(BOB, "x", thread="call-1", extras=MARKABLE)
        second = await session.send_message(BOB, "y", thread="call-1", extras=MARKABLE)
        server.conversation.send(displayed(second, f"{BOB}/desk"))
        await session.seen(first, 5)


async def test_seen_ends_with_a_bounce(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", extras=MARKABLE)
        wait = asyncio.create_task(session.seen(message_id, 20))
        server.conversation.send(bounce(await server.hears("message")))
        with pytest.raises(Bounced):
            await wait


async def test_seen_needs_a_message_that_asked(server: FakeServer) -> None:
    async with online(server) as session:
        message_id = await session.send_message(BOB, "x", receipt=True)
        assert (await server.hears("message")).find(f"{{{MARKERS}}}markable") is None
        for name in (message_id, "never-sent"):
            with pytest.raises(NotAcknowledged, match="no read mark was asked for"):
                await session.seen(name, 5)


@BOTH
async def test_a_headline(server: FakeServer) -> None:
    async with online(server) as session:
        extras = Extras(expects_answer=False, headline=True, subject="Tonight")
        message_id = await session.send_message(BOB, "No phones from 22 h on.", extras=extras)
        sent = await server.hears("message")
        assert (sent.get("type"), sent.get("id"), sent.get("to")) == ("headline", message_id, BOB)
        children = [(child.tag.removeprefix(CLIENT), child.text) for child in sent]
        assert sorted(children) == [("body", "No phones from 22 h on."), ("subject", "Tonight")]


@pytest.mark.parametrize("subject", ["a\0b", 60_001 * "x"])
async def test_a_subject_that_cannot_be_sent(server: FakeServer, subject: str) -> None:
    async with online(server) as session:
        with pytest.raises(BadText):
            await session.send_message(BOB, "x", extras=Extras(subject=subject))
        with pytest.raises(BadText):
            session.queue_message(BOB, "x", extras=Extras(subject=subject))
        assert session.info().sent == 0


@pytest.mark.parametrize(("subscription", "answered"), [("both", True), ("from", True), ("to", False), ("none", False)])
async def test_our_receipts_go_to_those_who_may_see_us(server: FakeServer, subscription: str, answered: bool) -> None:
    server.does.roster = f"<item jid='{BOB}' subscription='{subscription}'/>"
    request = "<request xmlns='urn:xmpp:receipts'/>"
    async with online(server) as session:
        await server.carbons_enabled.wait()  # the roster was read before
        server.conversation.send(say("question", more=request))
        assert (await session.receive_message(BOB, 5)).body == "question"
        server.conversation.send(say("headline", kind="headline", more=request))
        await session.send_message(BOB, "end of test")
        first = await server.hears("message")
        received = first.find(f"{RECEIPT}received")
        assert (received is not None) is answered
        if received is not None:
            assert (received.get("id"), first.get("to")) == ("m-question", f"{BOB}/phone")
            assert await server.hears_message() == "end of test"


# The queue


@BOTH
async def test_queued_messages_go_out_in_order_when_there_is_a_session(server: FakeServer) -> None:
    await server.refuse()
    async with running(server) as session:
        ids = [session.queue_message(BOB, str(number), thread="call-1") for number in range(5)]
        await server.listen()
        heard = [await server.hears("message") for _ in ids]
        assert [message.get("id") for message in heard] == ids
        assert [message.findtext(f"{CLIENT}body") for message in heard] == ["0", "1", "2", "3", "4"]


async def test_a_queued_message_that_nobody_confirms_does_not_hold_up_others(server: FakeServer) -> None:
    server.does.ack = False
    async with online(server) as session:
        session.queue_message(BOB, "first")
        session.queue_message("carol@fake.test", "second")
        assert {await server.hears_message(), await server.hears_message()} == {"first", "second"}


@BOTH
async def test_a_queued_question_takes_answers_from_then_on(server: FakeServer) -> None:
    async with online(server) as session:
        server.conversation.send(say("before") + say("mark", sender="carol@fake.test/x"))
        await session.receive_message("carol@fake.test", 5)
        session.queue_message(BOB, "?", thread="call-1")
        await server.hears_message()
        server.conversation.send(say("after"))
        assert (await session.receive_message(BOB, 5, thread="call-1")).body == "after"


@BOTH
async def test_what_is_queued_while_the_line_runs_empty_is_sent_too(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with online(server) as session:
        first = session._sending._queue.first

        def then_another(contact: Any) -> Any:
            found = first(contact)
            if found is None:  # the task that sends is about to end
                monkeypatch.setattr(session._sending._queue, "first", first)
                asyncio.get_running_loop().call_soon(session.queue_message, BOB, "second")
            return found

        monkeypatch.setattr(session._sending._queue, "first", then_another)
        session.queue_message(BOB, "first")
        assert [await server.hears_message(), await server.hears_message()] == ["first", "second"]


async def test_a_fault_of_ours_in_the_background_is_logged(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with online(server) as session:

        async def fail(*_arguments: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(session._sending, "_send", fail)
        session.queue_message(BOB, "x")
        await asyncio.gather(*session._sending._drains.values(), return_exceptions=True)
        await asyncio.sleep(0)
        assert "account main: internal error" in lines(caplog)
        assert len(session._sending._queue) == 0


async def test_a_queue_is_limited() -> None:
    async with running(None, queue_limit=2) as session:
        session.queue_message(BOB, "1")
        session.queue_message(BOB, "2")
        with pytest.raises(NotConnected, match="2 messages wait for a session already"):
            session.queue_message(BOB, "3")


async def test_what_waits_too_long_is_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with running(None) as session:
        message_id = session.queue_message(BOB, "the text is private", max_age=0.05)
        async with asyncio.timeout(5):
            await asyncio.gather(*session._sending._drains.values())
        assert f"account main: message {message_id} to {BOB} was dropped: there was no session in time" in lines(caplog)
        assert "private" not in caplog.text
        assert not session._sending._drains


async def test_what_is_left_at_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with running(None) as session:
        message_id = session.queue_message(BOB, "x")
        await session.stop(0.1)
        assert f"account main: message {message_id} to {BOB} was dropped: the service stops" in lines(caplog)


@BOTH
async def test_stop_sends_what_is_queued(server: FakeServer) -> None:
    async with online(server) as session:
        for number in range(20):
            session.queue_message(BOB, str(number))
        await session.stop()
        assert [await server.hears_message() for _ in range(20)] == [str(number) for number in range(20)]


async def test_a_queued_message_that_bounces_or_is_in_doubt_is_logged(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def bounce_first(conversation: Conversation, iq: ET.Element) -> None:
        conversation.send(bounce(await server.hears("message")))
        conversation.result(iq)

    async with online(server) as session:
        server.answers[PING + "ping"] = bounce_first
        bounced = session.queue_message(BOB, "x")
        await asyncio.gather(*session._sending._drains.values())
        server.answers.clear()
        server.does.ack = False
        doubtful = session.queue_message(BOB, "y", max_age=0.1)
        await asyncio.gather(*session._sending._drains.values())
    logged = lines(caplog)
    assert len(logged) == 2
    assert f"message {bounced} to {BOB} was dropped" in logged[0]
    assert f"message {doubtful} to {BOB}: the server did not confirm" in logged[1]
