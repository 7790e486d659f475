"""Who has seen a message or a question, from a real dialplan to a real client's read mark (XEP-0333) and back."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.testbed.client import Buddy, Heard
from tests.testbed.scene import Scene

MARKERS = "urn:xmpp:chat-markers:0"
SHOW = (
    *("JABBER_SEND_STATUS", "JABBER_ASK", "JABBER_ASK_STATUS", "JABBER_SEEN", "JABBER_SEEN_BY", "JABBER_ERROR"),
    "AGISTATUS",
)


def is_markable(heard: Heard) -> bool:
    return ET.fromstring(heard.xml).find(f"{{{MARKERS}}}markable") is not None


def mark(buddy: Buddy, to: str, message_id: str, what: str = "displayed", thread: str = "") -> None:
    """Let a client say what became of a message, as those do that know XEP-0333."""
    inner = f"<thread>{thread}</thread>" if thread else ""
    buddy.send_raw(
        f"<message xmlns='jabber:client' to='{to}' type='chat'><{what} xmlns='{MARKERS}' id='{message_id}'/>"
        f"{inner}<store xmlns='urn:xmpp:hints'/></message>"
    )


def seen(result: dict[str, str]) -> tuple[str, str]:
    return result["JABBER_SEEN"], result["JABBER_SEEN_BY"]


class TestSend:
    async def test_a_client_shows_it(self, scene: Scene) -> None:
        call = await scene.run("AGI({agi}/jabber_send?seen=20,pbx,{bob},hi)", show=SHOW)
        heard = await scene.bob.hears("hi")
        assert is_markable(heard)
        mark(scene.bob, heard.sender, heard.id, thread=heard.thread)
        result = await scene.result(call)
        assert (result["JABBER_SEND_STATUS"], result["JABBER_SEEN"], result["JABBER_ERROR"]) == ("DELIVERED", "1", "")

    async def test_another_client_of_the_person_shows_it(self, scene: Scene) -> None:
        login = scene.bob_login
        async with Buddy.online(scene.server, login.jid, login.password, resource="desk", carbons=True) as desk:
            call = await scene.run("AGI({agi}/jabber_send?seen=20,pbx,{bob}/phone,hi)", show=SHOW)
            heard = await desk.hears("hi")  # a copy of what went to the phone
            assert heard.carbon == "received"
            mark(desk, heard.sender, heard.id)
            assert (await scene.result(call))["JABBER_SEEN"] == "1"

    async def test_others_and_other_markers_do_not_count(self, scene: Scene) -> None:
        login = await scene.accounts("mallory")
        call = await scene.run("AGI({agi}/jabber_send?seen=2,pbx,{bob},hi)", show=SHOW)
        heard = await scene.bob.hears("hi")
        async with Buddy.online(scene.server, login.jid, login.password) as mallory:
            mark(mallory, heard.sender, heard.id)
            mark(scene.bob, heard.sender, heard.id, "received")
            mark(scene.bob, heard.sender, "another-message")
            await mallory.ping(heard.sender)
            await scene.bob.ping(heard.sender)  # all that was sent before has come
            result = await scene.result(call)
        assert (result["JABBER_SEND_STATUS"], result["JABBER_SEEN"]) == ("SENT", "0")
        assert "that it has shown the message" in result["JABBER_ERROR"]

    async def test_without_the_option_nobody_is_asked(self, scene: Scene) -> None:
        call = await scene.run("AGI({agi}/jabber_send,pbx,{bob},hi)", show=SHOW)
        assert not is_markable(await scene.bob.hears("hi"))
        assert (await scene.result(call))["JABBER_SEEN"] == "0"

    async def test_a_hangup_ends_the_wait(self, scene: Scene) -> None:
        call = await scene.run("AGI({agi}/jabber_send?seen=3600,pbx,{bob},hi)", show=SHOW)
        await scene.bob.hears("hi")
        await call.hangup()
        result = await scene.result_after_hangup(call)
        assert (result["JABBER_SEND_STATUS"], result["JABBER_SEEN"]) == ("SENT", "0")
        assert result["JABBER_ERROR"] == "the caller hung up"


class TestAsk:
    async def test_shown_and_not_answered(self, scene: Scene) -> None:
        call = await scene.run("AGI({agi}/jabber_ask,pbx,{bob},2,Where to?,1=Cell)", show=SHOW)
        card = await scene.bob.hears()
        assert is_markable(card)
        mark(scene.bob, card.sender, card.id)
        result = await scene.result(call)
        assert (result["JABBER_ASK_STATUS"], *seen(result)) == ("TIMEOUT", "1", scene.bob.jid)

    async def test_not_shown_and_not_answered(self, scene: Scene) -> None:
        call = await scene.run("AGI({agi}/jabber_ask,pbx,{bob},0.2,Where to?,1=Cell)", show=SHOW)
        result = await scene.result(call)
        assert (result["JABBER_ASK_STATUS"], *seen(result)) == ("TIMEOUT", "0", "")

    async def test_who_looks_at_it_gets_more_time(self, scene: Scene) -> None:
        step = "AGI({agi}/jabber_ask?seen_extends=3600,pbx,{bob},1,Where to?,1=Cell)"
        call = await scene.run(step, show=SHOW)
        card = await scene.bob.hears()
        mark(scene.bob, card.sender, card.id)
        await scene.service.log_says("3600 s more for the answer")
        scene.bob.say(card.sender, "1")
        result = await scene.result(call)
        assert (result["JABBER_ASK_STATUS"], result["JABBER_ASK"], *seen(result)) == ("OK", "1", "1", scene.bob.jid)

    async def test_of_two_people_only_who_has_shown_it(self, scene: Scene) -> None:
        login = await scene.accounts("ann")
        async with Buddy.online(scene.server, login.jid, login.password) as ann:
            step = f"AGI({{agi}}/jabber_ask,pbx,{{bob}}&{ann.jid},20,Where to?,1=Cell)"
            call = await scene.run(step, show=SHOW)
            card, others = await scene.bob.hears(), await ann.hears()
            mark(ann, card.sender, card.id)  # bob's card, and not hers
            mark(ann, others.sender, others.id)
            await ann.ping(others.sender)
            await call.hangup()
            result = await scene.result_after_hangup(call)
        assert (result["JABBER_ASK_STATUS"], *seen(result)) == ("HANGUP", "1", login.jid)
