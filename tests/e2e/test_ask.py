"""jabber_ask on the real thing: each way to answer, calls that must not mix, and cards that are always closed."""

from __future__ import annotations

import asyncio
import inspect
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.testbed.asterisk import Call
from tests.testbed.client import Buddy, Heard
from tests.testbed.profanity import Profanity
from tests.testbed.program import PROBE_INTERVAL
from tests.testbed.scene import Scene

SHOW = ("JABBER_ASK", "JABBER_ASK_STATUS", "JABBER_ASK_FROM", "JABBER_ERROR", "JABBER_RECEIVE", "AGISTATUS")
MENU = "1=Forward to cell,2=Forward to desk,3=Voicemail"
ASK = f"AGI({{agi}}/jabber_ask,pbx,{{bob}},20,Call from ${{CALLERID(name)}}, where to?,{MENU})"
CARD = "Call from Ann, where to?\n1: Forward to cell\n2: Forward to desk\n3: Voicemail"
COMMAND = "{http://jabber.org/protocol/commands}"
ITEM = ".//{http://jabber.org/protocol/disco#items}item"
ERROR = "{urn:ietf:params:xml:ns:xmpp-stanzas}"


async def ask(scene: Scene, name: str = "Ann", step: str = ASK) -> tuple[Call, Heard]:
    """Let a caller of that name ask bob, and return the call and the question as bob got it."""
    await scene.load(step, show=SHOW)
    call = await scene.asterisk.call("s", caller_id=f'"{name}" <5551234>')
    return call, await scene.bob.hears(lambda heard: heard.body.startswith(f"Call from {name}"))


async def result(scene: Scene, call: Call) -> tuple[str, str]:
    """Return how the call's question ended."""
    shown = await scene.result(call)
    return shown["JABBER_ASK_STATUS"], shown["JABBER_ASK"]


async def waiting(scene: Scene) -> None:
    """Wait until a jabber_receive waits: from outside, only the status tells."""
    async with asyncio.timeout(10):
        while not (await scene.service.status())["accounts"][0]["waiting"]:
            await asyncio.sleep(PROBE_INTERVAL)


def nodes(card: Heard) -> list[tuple[str, str]]:
    """Return address and node of the buttons that a card carries."""
    return [(item.get("jid", ""), item.get("node", "")) for item in ET.fromstring(card.xml).iterfind(ITEM)]


def replaced(heard: Heard) -> str:
    """Return the id of the message that this one corrects."""
    element = ET.fromstring(heard.xml).find("{urn:xmpp:message-correct:0}replace")
    return "" if element is None else element.get("id", "")


async def closed(buddy: Buddy, card: Heard) -> str:
    """Wait until a card is corrected, and return its last line."""
    correction = await buddy.hears(lambda heard: replaced(heard) == card.id)
    return correction.body.splitlines()[-1]


def react(scene: Scene, card: Heard, emoji: str) -> None:
    scene.bob.send_raw(
        f"<message xmlns='jabber:client' to='{card.sender}' type='chat' id='r1'>"
        f"<reactions xmlns='urn:xmpp:reactions:0' id='{card.id}'><reaction>{emoji}</reaction></reactions>"
        f"<store xmlns='urn:xmpp:hints'/></message>"
    )


def reply(scene: Scene, card: Heard, text: str) -> None:
    quote = "> Call from Ann\n"
    scene.bob.send_raw(
        f"<message xmlns='jabber:client' to='{card.sender}' type='chat' id='r2'><body>&gt; Call from Ann\n{text}</body>"
        f"<reply xmlns='urn:xmpp:reply:0' to='{card.sender}' id='{card.id}'/>"
        f"<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='{len(quote)}'/></fallback>"
        f"</message>"
    )


def button(scene: Scene, card: Heard) -> None:
    """Do what a client with XEP-0439 does: send the value of the second button."""
    responses = ET.fromstring(card.xml).findall("{urn:xmpp:tmp:quick-response}response")
    scene.bob.say(card.sender, responses[1].get("value", ""))


def press(scene: Scene, card: Heard) -> None:
    scene.bob.send_raw(
        f"<message xmlns='jabber:client' to='{card.sender}' type='chat'>"
        f"<action-selected xmlns='urn:xmpp:tmp:quick-response' id='{nodes(card)[1][1]}'/></message>"
    )


async def tap(scene: Scene, card: Heard) -> None:
    """Do what Cheogram does: execute the command of the second button."""
    jid, node = nodes(card)[1]
    command = (await scene.bob.execute(jid, node)).find(f"{COMMAND}command")
    assert command is not None
    assert command.get("status") == "completed"
    assert command.findtext(f"{COMMAND}note") == "You chose 2: Forward to desk"


async def fill_in(scene: Scene, card: Heard) -> None:
    """Do what Gajim and Psi do: take the command from the list, and fill in its form."""
    listed = await scene.bob.commands(card.sender)
    assert listed == {"questions": "Calls that wait for your answer (1)"}
    command = (await scene.bob.execute(card.sender, "questions")).find(f"{COMMAND}command")
    assert command is not None
    assert command.get("status") == "executing"
    fields = command.findall("{jabber:x:data}x/{jabber:x:data}field")
    assert [field.get("type") for field in fields] == ["list-single"]
    options = {option.get("label"): option.findtext("{jabber:x:data}value") for option in fields[0][:]}
    form = {fields[0].get("var", ""): options["Forward to desk"] or ""}
    done = await scene.bob.execute(
        card.sender, "questions", action="complete", session=command.get("sessionid", ""), form=form
    )
    completed = done.find(f"{COMMAND}command")
    assert completed is not None
    assert completed.get("status") == "completed"


RUNGS = {
    "key": lambda scene, card: scene.bob.say(card.sender, "2"),
    "label": lambda scene, card: scene.bob.say(card.sender, "forward to desk"),
    "prefix": lambda scene, card: scene.bob.say(card.sender, "Forward to d"),
    "thread": lambda scene, card: scene.bob.say(card.sender, "2", thread=card.thread),
    "normal message": lambda scene, card: scene.bob.say(card.sender, "2", kind="normal"),
    "quick response": button,
    "action selected": press,
    "reaction": lambda scene, card: react(scene, card, "2️⃣"),
    "reply": lambda scene, card: reply(scene, card, "2"),
    "command": tap,
    "form": fill_in,
}


class TestLadder:
    @pytest.mark.parametrize("rung", RUNGS)
    async def test_each_rung_yields_the_key(self, scene: Scene, rung: str) -> None:
        call, card = await ask(scene)
        assert (card.body, card.type, bool(card.thread)) == (CARD, "chat", True)
        climbing = RUNGS[rung](scene, card)
        if inspect.isawaitable(climbing):
            await climbing
        shown = await scene.result(call)
        assert (shown["JABBER_ASK_STATUS"], shown["JABBER_ASK"]) == ("OK", "2")
        assert shown["JABBER_ASK_FROM"] == scene.bob.full_jid
        assert (shown["JABBER_ERROR"], shown["AGISTATUS"]) == ("", "SUCCESS")
        assert await closed(scene.bob, card) == "You chose 2: Forward to desk"

    async def test_a_wrong_answer_then_a_right_one(self, scene: Scene) -> None:
        call, card = await ask(scene)
        scene.bob.say(card.sender, "4")
        hint = await scene.bob.hears()
        assert hint.body == (
            "“4” is not among the answers. Possible: 1 (Forward to cell), 2 (Forward to desk), 3 (Voicemail)."
        )
        scene.bob.say(card.sender, "3")
        assert await result(scene, call) == ("OK", "3")

    async def test_question_and_labels_may_be_encoded(self, scene: Scene) -> None:
        step = (
            "AGI({agi}/jabber_ask?enc=uri,pbx,{bob},20,${URIENCODE(Call from Ann, :) 100%?)},"
            "1=${URIENCODE(a=b, c)},2=d)"
        )
        call, card = await ask(scene, step=step)
        assert card.body == "Call from Ann, :) 100%?\n1: a=b, c\n2: d"
        scene.bob.say(card.sender, "a=b, c")
        assert await result(scene, call) == ("OK", "1")

    async def test_the_question_may_come_from_a_variable(self, scene: Scene) -> None:
        await scene.load("Set(Q=Call from Ann, 1=2?)", "AGI({agi}/jabber_ask?var=Q,pbx,{bob},20,1=yes,2=no)", show=SHOW)
        call = await scene.asterisk.call("s")
        card = await scene.bob.hears()
        assert card.body == "Call from Ann, 1=2?\n1: yes\n2: no"
        scene.bob.say(card.sender, "no")
        assert await result(scene, call) == ("OK", "2")


@pytest.mark.parametrize(("answer", "goes"), [("1", "cell"), ("2", "desk"), ("3", "voicemail"), ("", "voicemail")])
@pytest.mark.parametrize("xmpp_server", ["prosody"], indirect=True)
async def test_the_example_in_the_documents(scene: Scene, answer: str, goes: str) -> None:
    (example,) = re.findall(r"^```asterisk\n(.*?)^```", documentation(), flags=re.M | re.S)
    replacements = {
        "agi://127.0.0.1": scene.service.agi_url,
        "bob@example.org,20": f"{scene.bob.jid},{20 if answer else 0.2}",
        "Dial(PJSIP/bob-cell,30)": "UserEvent(Went,To: cell)",
        "Dial(PJSIP/bob,30)": "UserEvent(Went,To: desk)",
        "VoiceMail(${EXTEN},u)": "UserEvent(Went,To: voicemail)",
    }
    for old, new in replacements.items():
        assert old in example
        example = example.replace(old, new)
    assert await scene.asterisk.dialplan(f"[testbed]\n{example}") == []
    call = await scene.asterisk.call("1234", caller_id='"Ann" <5551234>')
    card = await scene.bob.hears()
    assert card.body.startswith("Call from 5551234\n1: Forward to cell")
    if answer:
        scene.bob.say(card.sender, answer)
    assert (await call.event("Went"))["To"] == goes


class TestSeveralCalls:
    async def test_they_never_mix(self, scene: Scene) -> None:
        ann, ann_card = await ask(scene, "Ann")
        ben, ben_card = await ask(scene, "Ben")
        reply(scene, ann_card, "2")
        react(scene, ben_card, "1️⃣")
        assert await result(scene, ben) == ("OK", "1")
        assert await result(scene, ann) == ("OK", "2")

    async def test_a_bare_answer_is_asked_back(self, scene: Scene) -> None:
        ann, ann_card = await ask(scene, "Ann")
        ben, ben_card = await ask(scene, "Ben")
        scene.bob.say(ann_card.sender, "1")
        question = (await scene.bob.hears()).body
        assert question == (
            "You are asked about 2 calls. Which one is “1” for?\n"
            "#1: Call from Ann, where to?\n#2: Call from Ben, where to?\nAnswer for example #1"
        )
        scene.bob.say(ann_card.sender, "#2")
        assert await result(scene, ben) == ("OK", "1")
        assert await closed(scene.bob, ben_card) == "You chose 1: Forward to cell"
        scene.bob.say(ann_card.sender, "2")  # there is only one call left
        assert await result(scene, ann) == ("OK", "2")

    async def test_the_second_question_says_how_to_name_it(self, scene: Scene) -> None:
        ann, card = await ask(scene, "Ann")
        ben, ben_card = await ask(scene, "Ben")
        assert ben_card.body.endswith("for this one, answer for example #2 1")
        scene.bob.say(card.sender, "#2 voicemail")
        assert await result(scene, ben) == ("OK", "3")
        scene.bob.say(card.sender, "#1 forward to cell")
        assert await result(scene, ann) == ("OK", "1")

    async def test_the_form_shows_both(self, scene: Scene) -> None:
        ann, ann_card = await ask(scene, "Ann")
        ben, _ = await ask(scene, "Ben")
        command = (await scene.bob.execute(ann_card.sender, "questions")).find(f"{COMMAND}command")
        assert command is not None
        fields = command.findall("{jabber:x:data}x/{jabber:x:data}field")
        assert [field.get("label") for field in fields] == [
            "#1 Call from Ann, where to?",
            "#2 Call from Ben, where to?",
        ]
        form = {fields[0].get("var", ""): "3", fields[1].get("var", ""): "1"}
        await scene.bob.execute(
            ann_card.sender, "questions", action="complete", session=command.get("sessionid", ""), form=form
        )
        assert await result(scene, ann) == ("OK", "3")
        assert await result(scene, ben) == ("OK", "1")

    async def test_beside_jabber_receive(self, scene: Scene) -> None:
        receive = await scene.run("AGI({agi}/jabber_receive,pbx,{bob},20)", show=SHOW)
        await waiting(scene)
        call, card = await ask(scene)
        scene.bob.say(card.sender, "I call you back")
        assert (await scene.result(receive))["JABBER_RECEIVE"] == "I call you back"
        scene.bob.say(card.sender, "Voicemail")
        assert await result(scene, call) == ("OK", "3")


class TestEndings:
    async def test_hangup(self, scene: Scene) -> None:
        call, card = await ask(scene)
        await call.hangup()
        shown = await scene.result_after_hangup(call)
        assert (shown["JABBER_ASK_STATUS"], shown["JABBER_ASK"]) == ("HANGUP", "")
        assert await closed(scene.bob, card) == "Closed: the caller hung up."

    async def test_timeout(self, scene: Scene) -> None:
        call, card = await ask(scene, step=ASK.replace(",20,", ",0.5,"))
        assert await result(scene, call) == ("TIMEOUT", "")
        assert await closed(scene.bob, card) == "Closed: there was no answer in time."

    async def test_declined(self, scene: Scene) -> None:
        call, card = await ask(scene)
        scene.bob.say(card.sender, "no")
        assert await result(scene, call) == ("DECLINED", "")
        assert await closed(scene.bob, card) == "You declined."

    async def test_a_late_tap(self, scene: Scene) -> None:
        call, card = await ask(scene)
        await call.hangup()
        await closed(scene.bob, card)
        jid, node = nodes(card)[0]
        late = await scene.bob.execute(jid, node)
        assert late.get("type") == "error"
        assert late.find(f".//{ERROR}item-not-found") is not None
        assert (await scene.bob.hears()).body == (
            "This question is closed: Call from Ann, where to?\nClosed: the caller hung up."
        )
        assert await scene.bob.commands(jid) == {}

    async def test_a_late_reply(self, scene: Scene) -> None:
        call, card = await ask(scene)
        await call.hangup()
        await closed(scene.bob, card)
        reply(scene, card, "1")
        assert (await scene.bob.hears()).body.endswith("Closed: the caller hung up.")

    async def test_a_bounce(self, scene: Scene) -> None:
        nobody = f"nobody@{scene.server.domain}"
        call = await scene.run(ASK.replace("{bob}", nobody), show=SHOW)
        shown = await scene.result(call)
        assert (shown["JABBER_ASK_STATUS"], shown["JABBER_ASK"]) == ("ERROR", "")
        assert nobody in shown["JABBER_ERROR"]
        assert "came back" in shown["JABBER_ERROR"]

    async def test_the_service_stops(self, scene: Scene) -> None:
        scene.service.agi["drain_timeout"] = 0.2
        await scene.service.reload()
        _, card = await ask(scene)
        stopping = asyncio.create_task(scene.service.restart())
        assert await closed(scene.bob, card) == "Closed: the call is over."
        await stopping

    async def test_the_account_is_taken_away(self, scene: Scene) -> None:
        call, card = await ask(scene)
        del scene.service.accounts["pbx"]
        await scene.service.reload()
        assert await closed(scene.bob, card) == "Closed: the call is over."
        shown = await scene.result(call)
        assert shown["JABBER_ASK_STATUS"] == "ERROR"
        assert "being stopped" in shown["JABBER_ERROR"]


class TestWho:
    async def test_an_impostor_is_not_asked(self, scene: Scene) -> None:
        name = scene.bob.jid.partition("@")[0]
        evil = await scene.server.add_user(f"{name}x", "evil-password")  # begins alike
        async with Buddy.online(scene.server, evil, "evil-password") as impostor:
            call, card = await ask(scene)
            impostor.say(card.sender, "1")
            impostor.say(card.sender, "1", thread=card.thread)
            jid, node = nodes(card)[0]
            assert (await impostor.execute(jid, node)).get("type") == "error"
            assert await impostor.commands(jid) == {}
            refused = await impostor.execute(jid, "questions")
            assert refused.find(f".//{ERROR}forbidden") is not None
            scene.bob.say(card.sender, "3")
            assert await result(scene, call) == ("OK", "3")

    @pytest.mark.parametrize("kind", ["headline", "error"])
    async def test_what_is_no_answer(self, scene: Scene, kind: str) -> None:
        call, card = await ask(scene)
        error = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        scene.bob.send_raw(
            f"<message xmlns='jabber:client' to='{card.sender}' type='{kind}' id='x1'><body>1</body>"
            f"<thread>{card.thread}</thread>{error if kind == 'error' else ''}</message>"
        )
        scene.bob.say(card.sender, "2")
        assert await result(scene, call) == ("OK", "2")

    async def test_old_mail_is_no_answer(self, scene: Scene) -> None:
        call, card = await ask(scene)
        scene.bob.send_raw(
            f"<message xmlns='jabber:client' to='{card.sender}' type='chat'><body>1</body>"
            f"<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/></message>"
        )
        scene.bob.say(card.sender, "2")
        assert await result(scene, call) == ("OK", "2")

    async def test_two_are_asked_and_the_first_wins(self, scene: Scene) -> None:
        login = await scene.accounts("carol")
        async with Buddy.online(scene.server, login.jid, login.password) as carol:
            call, card = await ask(scene, step=ASK.replace("{bob}", f"{{bob}}&{carol.jid}"))
            other = await carol.hears()
            assert other.body == CARD
            carol.say(other.sender, "2")
            shown = await scene.result(call)
            assert (shown["JABBER_ASK"], shown["JABBER_ASK_FROM"]) == ("2", carol.full_jid)
            assert await closed(carol, other) == "You chose 2: Forward to desk"
            assert await closed(scene.bob, card) == f"{carol.jid} chose 2: Forward to desk"

    async def test_one_bounces_and_the_other_answers(self, scene: Scene) -> None:
        nobody = f"nobody@{scene.server.domain}"
        call, card = await ask(scene, step=ASK.replace("{bob}", f"{nobody}&{{bob}}"))
        scene.bob.say(card.sender, "1")
        assert await result(scene, call) == ("OK", "1")

    async def test_another_device_of_the_same_person_answers(self, scene: Scene) -> None:
        async with Buddy.online(
            scene.server, scene.bob.jid, scene.bob_login.password, resource="tablet", carbons=True
        ) as tablet:
            call, card = await ask(scene)
            tablet.say(card.sender, "1")
            shown = await scene.result(call)
            assert (shown["JABBER_ASK"], shown["JABBER_ASK_FROM"]) == ("1", tablet.full_jid)


@pytest.mark.parametrize("xmpp_server", ["prosody"], indirect=True)
class TestProfanity:
    """What a person sees in a client that people use."""

    async def test_the_screens_in_the_documents(self, scene: Scene) -> None:
        async with await person(scene) as client:
            call = await scene.asterisk.call("s", caller_id='"Ann" <5551234>')
            screens = [await client.shows("3: Voicemail")]
            client.type("4")
            await client.shows("3 (Voicemail)")
            client.type("2")
            screens.append(await client.shows("You chose 2"))
            assert await result(scene, call) == ("OK", "2")
        assert [shape(screen) for screen in screens] == [shape(screen) for screen in documented_screens()]

    async def test_the_form(self, scene: Scene) -> None:
        async with await person(scene) as client:
            call = await scene.asterisk.call("s", caller_id='"Ann" <5551234>')
            await client.shows("3: Voicemail")
            pbx = (await scene.service.status())["accounts"][0]["jid"]
            await client.execute("questions", pbx, "[field1] #1 Call from Ann, where to?:")
            client.type("/field1 3")
            await client.shows("Field updated")
            client.type("/form submit")
            assert await result(scene, call) == ("OK", "3")


async def person(scene: Scene) -> Profanity:
    """Load a dialplan that asks somebody new, and return their client."""
    login = await scene.accounts("dora")
    await scene.load(ASK.replace("{bob}", login.jid), show=SHOW)
    return Profanity(scene.server, login.jid, login.password, scene.pbx.jid)


def documentation() -> str:
    """Return the section about jabber_ask in docs/dialplan.md."""
    text = (Path(__file__).parents[2] / "docs/dialplan.md").read_text(encoding="utf-8")
    return text.partition("\n## jabber_ask\n")[2].partition("\n## ")[0]


def documented_screens() -> list[str]:
    """Return the screens that it shows."""
    return re.findall(r"^```text\n(.*?)^```", documentation(), flags=re.M | re.S)


def shape(screen: str) -> str:
    """Return what a screen says: without its frame, times and line ends, and with our account's name for all."""
    lines = [line for line in screen.splitlines() if not re.search(r"\[TLS\] \[online\]|^ \[\d|Loading older", line)]
    text = re.sub(r"\b\d\d:\d\d:\d\d\b", "TIME", " ".join(" ".join(lines).split()))
    return re.sub(r"\b(pbx-\w+@xmpp\.test|asterisk@example\.org)/\S+:", "PBX:", text)
