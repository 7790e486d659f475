"""The verbs, from a real dialplan to a real chat and back."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import pytest

from tests.testbed.asterisk import Asterisk
from tests.testbed.client import Buddy
from tests.testbed.program import PROBE_INTERVAL
from tests.testbed.rootfs import Rootfs
from tests.testbed.scene import Scene

SEND = "AGI({agi}/jabber_send,pbx,{bob},Call from Ann)"
RECEIVE = "AGI({agi}/jabber_receive,pbx,{bob},20)"

#: Everything that a line protocol, a dialplan or XML could stumble over.
NASTY = {
    "quotes": 'say "hi" and \'bye\' \\ \\" \\\\',
    "dialplan": "${EXTEN} $[1+1] %{X} , ; | & (unbalanced :( [ ] ) )",
    "lines": "one\ntwo\r\nthree\n\n",
    "agi": '200 result=1 (owned)\nHANGUP\nSET VARIABLE X "y"',
    "words": "'\" ' " * 300,
    "emoji": "grüße 😀 👩‍👩‍👧 \u202e rtl",
    "xml": "<body>&amp;]]></body>",
    "blank": "  leading and trailing\t ",
    "long": "0123456789" * 2000,
}


class TestSend:
    async def test_the_text_arrives(self, scene: Scene) -> None:
        call = await scene.run(SEND)
        result = await scene.result(call)
        heard = await scene.bob.hears()
        assert (heard.body, heard.type) == ("Call from Ann", "chat")
        assert (result["JABBER_SEND_STATUS"], result["JABBER_ERROR"]) == ("SENT", "")
        assert result["JABBER_SEND_ID"] == heard.id
        assert result["AGISTATUS"] == "SUCCESS"

    async def test_commas_and_old_spelling(self, scene: Scene) -> None:
        call = await scene.run("AGI({agi}/JabberSend,pbx,{bob},Hello, world,, how are you?)")
        assert (await scene.bob.hears()).body == "Hello, world,, how are you?"
        assert (await scene.result(call))["JABBER_SEND_STATUS"] == "SENT"

    async def test_uri_encoded_in_the_dialplan(self, scene: Scene) -> None:
        await scene.run(
            "Set(T=${BASE64_DECODE(YSwgImIiIDooIApjIFwgJCU=)})",
            "AGI({agi}/jabber_send?enc=uri,pbx,{bob},${URIENCODE(${T})})",
        )
        assert (await scene.bob.hears()).body == 'a, "b" :( \nc \\ $%'

    async def test_a_receipt_says_delivered(self, scene: Scene) -> None:
        call = await scene.run("AGI({agi}/jabber_send?wait=delivered,pbx,{bob},hi)")
        assert (await scene.result(call))["JABBER_SEND_STATUS"] == "DELIVERED"

    async def test_no_receipt_says_so(self, scene: Scene) -> None:
        login = await scene.accounts("silent")
        async with Buddy.online(scene.server, login.jid, login.password, receipts=False) as silent:
            call = await scene.run(f"AGI({{agi}}/jabber_send?wait=delivered&timeout=0.5,pbx,{silent.jid},hi)")
            result = await scene.result(call)
        assert result["JABBER_SEND_STATUS"] == "SENT"
        assert "receipt" in result["JABBER_ERROR"]

    async def test_nobody_of_that_name(self, scene: Scene) -> None:
        call = await scene.run(f"AGI({{agi}}/jabber_send?wait=delivered,pbx,nobody@{scene.server.domain},hi)")
        result = await scene.result(call)
        assert result["JABBER_SEND_STATUS"] == "FAILED"
        assert "nobody@" in result["JABBER_ERROR"]

    async def test_from_the_h_extension(self, scene: Scene) -> None:
        complaints = await scene.asterisk.dialplan(
            "[testbed]\nexten => s,1,Hangup()\n"
            f"exten => h,1,AGI({scene.service.agi_url}/jabber_send,pbx,{scene.bob.jid},missed)\n"
            " same => n,UserEvent(After,Status: ${JABBER_SEND_STATUS})\n"
        )
        assert not complaints
        call = await scene.asterisk.call("s")
        assert (await scene.bob.hears()).body == "missed"
        assert (await call.event("After"))["Status"] == "SENT"

    @pytest.mark.parametrize(
        ("step", "words"),
        [
            ("AGI({agi}/jabber_send,nope,{bob},hi)", "no account 'nope' (known: pbx)"),
            ("AGI({agi}/jabber_send,pbx,not a jid @@,hi)", "not a jid @@"),
            ("AGI({agi}/jabber_send,pbx,{bob})", "got 2 arguments"),
            ("AGI({agi}/jabber_send?wat=1,pbx,{bob},hi)", "no option 'wat'"),
            ("AGI({agi}/jabber_send,pbx,{bob},${BASE64_DECODE(YQFi)})", "U+0001"),
        ],
        ids=["account", "jid", "arguments", "option", "control character"],
    )
    async def test_mistakes_are_explained_and_the_call_goes_on(self, scene: Scene, step: str, words: str) -> None:
        result = await scene.result(await scene.run(step))
        assert result["JABBER_SEND_STATUS"] == "ERROR"
        assert words in result["JABBER_ERROR"]
        assert words in scene.service.log

    async def test_a_verb_that_is_none(self, scene: Scene) -> None:
        result = await scene.result(await scene.run("AGI({agi}/jabber_sent,pbx,{bob},hi)"))
        assert result["AGISTATUS"] == "FAILURE"
        assert "no verb 'jabber_sent'; there are: jabber_send" in scene.service.log


class TestReceive:
    async def test_a_question_and_its_answer(self, scene: Scene) -> None:
        call = await scene.run(SEND, RECEIVE)
        heard = await scene.bob.hears()
        message_id = scene.bob.say(heard.sender, "1")
        result = await scene.result(call)
        assert (result["JABBER_RECEIVE_STATUS"], result["JABBER_RECEIVE"]) == ("OK", "1")
        assert (result["JABBER_RECEIVE_FROM"], result["JABBER_RECEIVE_ID"]) == (scene.bob.full_jid, message_id)

    async def test_an_answer_before_the_wait_begins(self, scene: Scene) -> None:
        """Typed while a prompt was played between the question and the wait."""
        await scene.load(SEND, "UserEvent(Asked)", "Wait(3600)", RECEIVE)
        call = await scene.asterisk.call("s")
        await call.event("Asked")
        scene.bob.say((await scene.bob.hears()).sender, "early")
        await unclaimed(scene, 1)
        await scene.asterisk.cli(f"channel redirect {await call.variable('CHANNEL(name)')} testbed,s,5")
        assert (await scene.result(call))["JABBER_RECEIVE"] == "early"

    async def test_what_was_said_before_the_question_is_no_answer(self, scene: Scene) -> None:
        scene.bob.say(scene.pbx.jid, "hello?")
        await unclaimed(scene, 1)
        call = await scene.run(SEND, RECEIVE)
        heard = await scene.bob.hears()
        await waiting(scene, 1)
        scene.bob.say(heard.sender, "2")
        assert (await scene.result(call))["JABBER_RECEIVE"] == "2"

    async def test_silence(self, scene: Scene) -> None:
        result = await scene.result(await scene.run("AGI({agi}/jabber_receive,pbx,{bob},0.2)"))
        assert (result["JABBER_RECEIVE_STATUS"], result["JABBER_RECEIVE"]) == ("TIMEOUT", "")

    async def test_the_caller_hangs_up(self, scene: Scene) -> None:
        call = await scene.run(RECEIVE)
        await waiting(scene, 1)
        await call.hangup()
        result = await scene.result_after_hangup(call)
        assert (result["JABBER_RECEIVE_STATUS"], result["JABBER_RECEIVE"]) == ("HANGUP", "")
        await waiting(scene, 0)

    async def test_strangers_headlines_errors_and_rooms_are_no_answer(self, scene: Scene) -> None:
        login = await scene.accounts("mallory")
        call = await scene.run(RECEIVE)
        await waiting(scene, 1)
        async with Buddy.online(scene.server, login.jid, login.password) as mallory:
            mallory.say(scene.pbx.jid, "666")
            for kind in ("headline", "error", "groupchat"):
                scene.bob.say(scene.pbx.jid, f"not a {kind}", kind=kind)
            await unclaimed(scene, 1)  # mallory's has come, and before it nothing was taken
            scene.bob.say(scene.pbx.jid, "1")
            assert (await scene.result(call))["JABBER_RECEIVE"] == "1"

    async def test_a_domain_that_only_begins_alike_is_another(self, scene: Scene) -> None:
        """``bob@xmpp.test.evil``: the original compares no further than ``bob@xmpp.test`` is long."""
        user, server = scene.bob.jid.partition("@")[0], scene.server
        evil = await server.add_user(user, "evil-password", server.impostor_domain)
        assert evil.startswith(scene.bob.jid)
        call = await scene.run(RECEIVE)
        await waiting(scene, 1)
        async with Buddy.online(server, evil, "evil-password") as impostor:
            impostor.say(scene.pbx.jid, "666")
            await unclaimed(scene, 1)
            scene.bob.say(scene.pbx.jid, "1")
            assert (await scene.result(call))["JABBER_RECEIVE"] == "1"

    async def test_a_resource_that_only_begins_alike_is_another(self, scene: Scene) -> None:
        login = scene.bob_login
        async with (
            Buddy.online(scene.server, login.jid, login.password, resource="home") as home,
            Buddy.online(scene.server, login.jid, login.password, resource="home2") as home2,
        ):
            call = await scene.run("AGI({agi}/jabber_receive?max_age=0,pbx,{bob}/home,20)")
            await waiting(scene, 1)
            home2.say(scene.pbx.jid, "impostor")
            await unclaimed(scene, 1)
            home.say(scene.pbx.jid, "1")
            result = await scene.result(call)
        assert (result["JABBER_RECEIVE"], result["JABBER_RECEIVE_FROM"]) == ("1", f"{login.jid}/home")

    async def test_two_calls_that_wait_for_one_person(self, scene: Scene) -> None:
        await scene.load(SEND, RECEIVE)
        first = await scene.asterisk.call("s")
        to_first = await scene.bob.hears()
        await waiting(scene, 1)
        second = await scene.asterisk.call("s")
        to_second = await scene.bob.hears()
        await waiting(scene, 2)
        assert to_first.thread != to_second.thread
        scene.bob.say(to_second.sender, "for the second", thread=to_second.thread)
        assert (await scene.result(second))["JABBER_RECEIVE"] == "for the second"
        scene.bob.say(to_first.sender, "for the first")
        assert (await scene.result(first))["JABBER_RECEIVE"] == "for the first"

    async def test_answers_without_a_thread_go_to_the_longest_waiting_one_each(self, scene: Scene) -> None:
        await scene.load(RECEIVE)
        first = await scene.asterisk.call("s")
        await waiting(scene, 1)
        second = await scene.asterisk.call("s")
        await waiting(scene, 2)
        scene.bob.say(scene.pbx.jid, "a")
        scene.bob.say(scene.pbx.jid, "b")
        assert (await scene.result(first))["JABBER_RECEIVE"] == "a"
        assert (await scene.result(second))["JABBER_RECEIVE"] == "b"

    async def test_two_people_are_asked_in_one_call(self, scene: Scene) -> None:
        login = await scene.accounts("ann")
        async with Buddy.online(scene.server, login.jid, login.password) as ann:
            call = await scene.run(
                *(SEND, f"AGI({{agi}}/jabber_send,pbx,{ann.jid},and you?)"),
                *(f"AGI({{agi}}/jabber_receive,pbx,{ann.jid},20)", "Set(ANN=${JABBER_RECEIVE})", RECEIVE),
                show=("ANN", "JABBER_RECEIVE"),
            )
            scene.bob.say((await scene.bob.hears()).sender, "bob's")
            ann.say((await ann.hears()).sender, "ann's")
            assert await scene.result(call) == {"ANN": "ann's", "JABBER_RECEIVE": "bob's"}

    async def test_a_question_that_came_back_ends_the_wait(self, scene: Scene) -> None:
        nobody = f"nobody@{scene.server.domain}"
        call = await scene.run(
            f"AGI({{agi}}/jabber_send,pbx,{nobody},hi)", f"AGI({{agi}}/jabber_receive,pbx,{nobody},3600)"
        )
        result = await scene.result(call)
        assert (result["JABBER_RECEIVE_STATUS"], result["JABBER_RECEIVE"]) == ("ERROR", "")
        assert nobody in result["JABBER_ERROR"]

    @pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
    async def test_any_text_comes_and_goes_whole(self, scene: Scene, text: str) -> None:
        """Bob's text reaches a channel variable, and from there bob, character for character."""
        call = await scene.run(
            RECEIVE,
            "AGI({agi}/jabber_send?var=JABBER_RECEIVE,pbx,{bob})",
            show=("JABBER_SEND_STATUS", "JABBER_RECEIVE_STATUS"),
        )
        await waiting(scene, 1)
        scene.bob.say(scene.pbx.jid, text)
        assert await scene.result(call) == {"JABBER_SEND_STATUS": "SENT", "JABBER_RECEIVE_STATUS": "OK"}
        # XML knows one kind of line end (XML 1.0 section 2.11); a client may send two
        assert (await scene.bob.hears()).body == text.replace("\r\n", "\n")

    async def test_a_text_that_no_variable_can_hold_is_refused_with_the_reason(self, scene: Scene) -> None:
        call = await scene.run(RECEIVE, show=("JABBER_RECEIVE", "JABBER_RECEIVE_STATUS", "JABBER_ERROR"))
        await waiting(scene, 1)
        scene.bob.say(scene.pbx.jid, "x" * 150_000)
        result = await scene.result(call)
        assert (result["JABBER_RECEIVE"], result["JABBER_RECEIVE_STATUS"]) == ("", "ERROR")
        assert "150000" in result["JABBER_ERROR"]


class TestStatus:
    @pytest.mark.parametrize(
        ("show", "number"),
        [("", "1"), ("chat", "2"), ("away", "3"), ("xa", "4"), ("dnd", "5")],
        ids=lambda value: value,
    )
    async def test_presence(self, scene: Scene, show: str, number: str) -> None:
        await scene.bob.be(show, status='gone fishing, back "soon"', priority=3)
        result = await until_status(scene, number, 'gone fishing, back "soon"')
        assert result["JABBER_STATUS_RESOURCE"] == "phone"
        assert result["JABBER_ERROR"] == ""

    async def test_offline_and_back(self, scene: Scene) -> None:
        await until_status(scene, "1")
        await scene.bob.disconnect()
        await until_status(scene, "6")
        async with Buddy.online(scene.server, scene.bob_login.jid, scene.bob_login.password):
            await until_status(scene, "1")

    async def test_somebody_unknown(self, scene: Scene) -> None:
        result = await scene.result(await scene.run(f"AGI({{agi}}/jabber_status,pbx,unknown@{scene.server.domain})"))
        assert result["JABBER_STATUS"] == "7"

    async def test_the_highest_priority_counts(self, scene: Scene) -> None:
        login = scene.bob_login
        await scene.bob.be("away", priority=1)
        async with Buddy.online(scene.server, login.jid, login.password, resource="pc", priority=9, show="dnd"):
            assert (await until_status(scene, "5"))["JABBER_STATUS_RESOURCE"] == "pc"
            result = await scene.result(await scene.run("AGI({agi}/jabber_status,pbx,{bob}/phone)"))
            assert result["JABBER_STATUS"] == "3"
        await until_status(scene, "3")


@pytest.mark.parametrize("xmpp_server", ["prosody"], indirect=True)
@pytest.mark.parametrize("text", [NASTY["long"], NASTY["agi"], NASTY["words"]], ids=["long", "agi", "words"])
async def test_asterisk_16_with_its_short_lines(bullseye: Rootfs, scene: Scene, text: str) -> None:
    async with Asterisk(bullseye) as old:
        beside = dataclasses.replace(scene, asterisk=old)
        call = await beside.run(
            *(SEND, RECEIVE, "AGI({agi}/jabber_send?var=JABBER_RECEIVE,pbx,{bob})"),
            show=("JABBER_SEND_STATUS", "JABBER_RECEIVE_STATUS"),
        )
        scene.bob.say((await scene.bob.hears()).sender, text)
        assert await beside.result(call) == {"JABBER_SEND_STATUS": "SENT", "JABBER_RECEIVE_STATUS": "OK"}
        assert (await scene.bob.hears()).body == text
        await old.assert_serving()


async def until_status(scene: Scene, number: str, text: str | None = None, timeout: float = 10.0) -> dict[str, str]:
    """Run jabber_status until bob's new presence has come through the server."""
    await scene.load("AGI({agi}/jabber_status,pbx,{bob})")
    deadline = time.monotonic() + timeout
    while True:
        result = await scene.result(await scene.asterisk.call("s"))
        if result["JABBER_STATUS"] == number and text in (None, result["JABBER_STATUS_TEXT"]):
            return result
        assert time.monotonic() < deadline, result
        await asyncio.sleep(PROBE_INTERVAL)


async def unclaimed(scene: Scene, count: int) -> None:
    """Wait until that many messages lie in the inbox."""
    await scene.service.account("pbx", lambda account: account["unclaimed"] == count)


async def waiting(scene: Scene, count: int) -> None:
    """Wait until that many verbs wait for a message."""
    await scene.service.account("pbx", lambda account: account["waiting"] == count)
