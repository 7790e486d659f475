"""The templates on a real Asterisk: each loads without a complaint, does what its title says, and harms no call.

A fake FastAGI server notes what is asked for and answers. Each test runs for extensions.conf and for AEL.
"""

from __future__ import annotations

import base64
import contextlib
import re
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agi_xmpp import quoting, render
from agi_xmpp.errors import RenderError
from agi_xmpp.quoting import LINE_BYTES, check
from agi_xmpp.render import FORMATS, find, templates
from tests.testbed.asterisk import Asterisk, Call
from tests.testbed.fastagi import FakeFastAgi
from tests.testbed.rootfs import Rootfs
from tests.testbed.scene import Scene

DIALPLAN = Path(__file__).parents[2] / "dialplan"
#: Nobody listens on the port of TCP's own multiplexer.
UNREACHABLE = "agi://127.0.0.1:1"
#: What an earlier verb of the same call may have left behind: it must not decide anything.
STALE = {
    "JABBER_ASK": "1",
    "JABBER_ASK_STATUS": "OK",
    "JABBER_RECEIVE": "1",
    "JABBER_RECEIVE_STATUS": "OK",
    "JABBER_SEND_STATUS": "SENT",
    "JABBER_STATUS": "1",
    "answer": "1",
    "phones": "&x",
    "wanted": "201",
}
PHONES = """
[phones]
exten => _[a-z0-9].,1,UserEvent(Rang,Phone: ${EXTEN},Name: ${URIENCODE(${CALLERID(name)})})
 same => n,Wait(60)
[person]
exten => 1,1,Answer()
 same => n,Wait(60)
[answering]
exten => _[a-z0-9].,1,Answer()
 same => n,UserEvent(Rang,Phone: ${EXTEN})
 same => n,Wait(60)
"""
#: A caller's name as an attacker may choose it.
NASTY = 'O"Neil, \\ (${SHELL(id)} $[1+1] ; [x\n200 result=1 (owned) é😀%'
NUMBER = '+49 30/1 "%&'
EMPTY_AEL = "context empty-ael { }\n"

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture(params=FORMATS)
def format_(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def agi() -> AsyncIterator[FakeFastAgi]:
    async with FakeFastAgi() as server:
        yield server


@pytest.fixture
async def clean(asterisk: Asterisk) -> AsyncIterator[None]:
    """Leave neither contexts nor database entries to the next test."""
    yield
    await asterisk.ael(EMPTY_AEL)
    for family in ("jid", "cidname", "jabber-refused"):
        with contextlib.suppress(Exception):
            await asterisk.cli(f"database deltree {family}")


class Sample:
    """One template, loaded."""

    def __init__(self, asterisk: Asterisk, context: str) -> None:
        self.asterisk = asterisk
        self.context = context

    async def call(self, exten: str, *, name: str = "Ann", variables: Mapping[str, str] | None = None) -> Call:
        return await self.asterisk.call(exten, self.context, caller_id=f'"{name}" <030123>', variables=variables)


async def load(
    asterisk: Asterisk, agi: str, name: str, format_: str, values: Mapping[str, str | Sequence[str]] | None = None
) -> Sample:
    """Render a template with these values and ``agi`` as the address of the service, and load it."""
    template = find(name)
    lists = {key: [value] if isinstance(value, str) else list(value) for key, value in (values or {}).items()}
    if any(variable.name == "agi" for variable in template.variables):
        lists["agi"] = [agi]
    text = render.render(template, lists, format_)
    # The same contexts must not be there in both formats at any moment.
    assert await asterisk.ael(EMPTY_AEL) == []
    assert await asterisk.dialplan(PHONES + (text if format_ == "conf" else "")) == []
    if format_ == "ael":
        assert await asterisk.ael(text) == []
    contexts = [variable.default[0] for variable in template.variables if variable.type == "context"]
    return Sample(asterisk, contexts[0] if contexts else "")


async def rings(call: Call, *phones: str) -> None:
    assert {(await call.event("Rang"))["Phone"] for _ in phones} == set(phones)


async def reaches_voicemail(call: Call) -> None:
    assert (await call.manager_event("Newexten", Application="VoiceMail"))["AppData"] == "1234@default,u"


class TestLoading:
    @pytest.mark.parametrize("extension", ["conf", "ael"])
    async def test_the_committed_set_loads_without_complaint(self, asterisk, extension):
        text = "".join(path.read_text(encoding="utf-8") for path in sorted(DIALPLAN.glob(f"*.{extension}")))
        assert await asterisk.dialplan(text if extension == "conf" else "") == []
        assert await asterisk.ael(text if extension == "ael" else EMPTY_AEL) == []
        for template in templates():
            for variable in template.variables:
                if variable.type == "context":
                    shown = await asterisk.cli(f"dialplan show {variable.default[0]}")
                    assert "pbx_config" if extension == "conf" else "pbx_ael" in shown

    @pytest.mark.parametrize("extension", ["conf", "ael"])
    async def test_it_loads_on_asterisk_16(self, bullseye: Rootfs, extension):
        async with Asterisk(bullseye) as old:
            text = "".join(path.read_text(encoding="utf-8") for path in sorted(DIALPLAN.glob(f"*.{extension}")))
            assert await old.dialplan(text if extension == "conf" else "") == []
            assert await old.ael(text if extension == "ael" else EMPTY_AEL) == []

    @pytest.mark.parametrize("path", sorted(DIALPLAN.glob("*.ael")), ids=lambda path: path.name)
    async def test_aelparse_finds_nothing(self, rootfs: Rootfs, path):
        assert aelparse(rootfs, path.read_text(encoding="utf-8")) == []

    async def test_aelparse_would_find_something(self, rootfs: Rootfs):
        assert aelparse(rootfs, "context a { 1 => { goto x,1; } }") != []
        assert aelparse(rootfs, "context a { 1 => { NoOp(1; } }") != []


def aelparse(rootfs: Rootfs, text: str) -> list[str]:
    """Return the warnings (level 3) and errors (level 4) of Asterisk's own checker."""
    with rootfs.run_directory("aelparse", "asterisk") as directory:
        directory.write("extensions.ael", text)
        output = rootfs.run("sh", "-c", f"cd {directory.inside} && aelparse -d -n -q", user="asterisk")
    lines = [line for line in output.splitlines() if line.startswith(("LOG: lev:3", "LOG: lev:4"))]
    assert lines, f"aelparse printed no summary: {output}"
    return [line for line in lines if "func: main" not in line]


class TestSend:
    async def test_message_and_ring(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "send", format_, {"phone": "Local/${EXTEN}@phones"})
        call = await sample.call("211")
        request = await agi.request("jabber_send")
        assert request.arguments[:2] == ("pbx", "bob@example.org")
        assert request.text(2) == "Ann is calling 211"
        assert request.options == {"var": "message", "wait": "none"}
        await rings(call, "211")

    async def test_text_of_any_kind_arrives(self, asterisk, agi, format_):
        text = 'Ünïcode 😀, "quoted" \\ :( [x; {y} $5 50% 1+1 // <b> ${EXTEN}'
        sample = await load(asterisk, agi.url, "send", format_, {"message": text, "phone": "Local/x1@phones"})
        await sample.call("200")
        assert (await agi.request("jabber_send")).text(2) == text.replace("${EXTEN}", "200")


class TestStatus:
    PHONES: Final = {"computer": "Local/computer@phones", "desk": "Local/desk@phones"}

    @pytest.mark.parametrize(
        ("status", "phone"),
        [("1", "computer"), ("2", "computer"), *((status, "desk") for status in ("3", "4", "5", "6", "7", ""))],
    )
    async def test_presence_decides(self, asterisk, agi, format_, status, phone):
        sample = await load(asterisk, agi.url, "status", format_, self.PHONES)
        agi.answers["jabber_status"] = {"JABBER_STATUS": status}
        await rings(await sample.call("200"), phone)
        assert (await agi.request("jabber_status")).arguments == ("pbx", "bob@example.org")


class TestReceive:
    VALUES: Final = {"cellphone": "Local/cell@phones", "work": "Local/work@phones", "mailbox": "1234@default"}

    @pytest.mark.parametrize(
        ("answer", "phone"), [("1", "cell"), (" 2. ", "work"), ("2", "work"), ("1)", "cell"), ("“1”", "cell")]
    )
    async def test_answers(self, asterisk, agi, format_, answer, phone):
        sample = await load(asterisk, agi.url, "receive", format_, self.VALUES)
        agi.answers = {"jabber_send": {"JABBER_SEND_STATUS": "SENT"}, "jabber_receive": {"JABBER_RECEIVE": answer}}
        call = await sample.call("200")
        question = await agi.request("jabber_send")
        assert question.text(2).startswith("Call from 030123. 1: to your cellphone, 2:")
        assert (await agi.request("jabber_receive")).arguments == ("pbx", "bob@example.org", "20")
        await rings(call, phone)
        told = await agi.request("jabber_send")
        assert told.text(2) == {"cell": "Calling your cellphone", "work": "Calling your phone at work"}[phone]

    @pytest.mark.parametrize(
        "answer", ["", "no", "not 1", "11", '"', '1" = "1', '" | "1" = "1', "1,2", "${EXTEN}", "3"]
    )
    async def test_anything_else_is_the_voicemail(self, asterisk, agi, format_, answer):
        sample = await load(asterisk, agi.url, "receive", format_, self.VALUES)
        agi.answers = {"jabber_send": {"JABBER_SEND_STATUS": "SENT"}, "jabber_receive": {"JABBER_RECEIVE": answer}}
        since = asterisk.log_size()
        call = await sample.call("200")
        await reaches_voicemail(call)
        assert agi.verbs() == ["jabber_send", "jabber_receive"]
        assert await asterisk.problems(since) == []

    @pytest.mark.parametrize("status", ["FAILED", "ERROR"])
    async def test_a_question_that_was_not_sent_is_not_waited_for(self, asterisk, agi, format_, status):
        sample = await load(asterisk, agi.url, "receive", format_, self.VALUES)
        agi.answers = {"jabber_send": {"JABBER_SEND_STATUS": status}, "jabber_receive": {"JABBER_RECEIVE": "1"}}
        await reaches_voicemail(await sample.call("200"))
        assert agi.verbs() == ["jabber_send"]


class TestTextBack:
    VALUES: Final = {"numbers": ["_2XX=Local/${EXTEN}@phones"]}

    async def test_dials_what_was_written(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "text-back", format_, self.VALUES)
        await asterisk.cli("database put jid 030123 ann-b.c_d+e@example.org/x")
        agi.answers["jabber_receive"] = {"JABBER_RECEIVE": "201, please"}
        call = await sample.call("500")
        question = await agi.request("jabber_send")
        assert question.arguments == ("pbx", "ann-b.c_d+e@example.org/x")
        assert question.text(2) == "Please write the number that you wish to call"
        assert (await agi.request("jabber_receive")).arguments == ("pbx", "ann-b.c_d+e@example.org/x", "60")
        assert (await agi.request("jabber_send")).text(2) == "Calling 201 ..."
        await rings(call, "201")

    @pytest.mark.parametrize("typed", ["301", "201&Local/202@phones", "s", '"', "201,1", "_2XX", "2", "20A"])
    async def test_nothing_else_is_dialled(self, asterisk, agi, format_, typed):
        sample = await load(asterisk, agi.url, "text-back", format_, self.VALUES)
        await asterisk.cli("database put jid 030123 ann@example.org")
        agi.answers["jabber_receive"] = {"JABBER_RECEIVE": typed}
        call = await sample.call("500")
        await call.ended()
        assert not [event for event in call.events() if event.get("UserEvent") == "Rang"]

    async def test_who_has_no_jid_is_not_asked(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "text-back", format_, self.VALUES)
        await (await sample.call("500")).ended()
        assert agi.requests == []


class TestMenu:
    VALUES: Final = {
        "people": ["ann@example.org", "bob@example.org"],
        "choices": ["cell=My cell, (the new) one; 50%=Local/cell@phones", "2=Work=Local/work@phones"],
        "mailbox": "1234@default",
        "wait": "7",
    }

    @pytest.mark.parametrize(("key", "phone"), [("cell", "cell"), ("2", "work")])
    async def test_the_choice_rings(self, asterisk, agi, format_, key, phone):
        sample = await load(asterisk, agi.url, "menu", format_, self.VALUES)
        agi.answers["jabber_ask"] = {"JABBER_ASK": key, "JABBER_ASK_STATUS": "OK"}
        call = await sample.call("200")
        request = await agi.request("jabber_ask")
        assert request.variable == "Ann (030123) is calling 200. Where shall the call go?"
        assert request.arguments == (
            *("pbx", "ann@example.org&bob@example.org", "7"),
            *("cell=My cell, (the new) one; 50%", "2=Work"),
        )
        await rings(call, phone)

    @pytest.mark.parametrize("answer", ["", "3", "x"])
    async def test_without_an_answer_it_is_the_voicemail(self, asterisk, agi, format_, answer):
        sample = await load(asterisk, agi.url, "menu", format_, self.VALUES)
        agi.answers["jabber_ask"] = {"JABBER_ASK": answer}
        await reaches_voicemail(await sample.call("200"))

    async def test_a_choice_that_nobody_picks_up_is_the_voicemail(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "menu", format_, {**self.VALUES, "ring": "1"})
        agi.answers["jabber_ask"] = {"JABBER_ASK": "2"}
        call = await sample.call("200")
        await rings(call, "work")
        await reaches_voicemail(call)


class TestPresenceRing:
    MEMBERS: Final = ["ann@example.org=Local/ann@phones", "bob@example.org=Local/bob@phones"]

    @pytest.mark.parametrize(
        ("ring_when", "ann", "bob", "dialled"),
        [
            ("online", "1", "2", "Local/ann@phones&Local/bob@phones"),
            ("online", "3", "1", "Local/bob@phones"),
            ("online", "1", "6", "Local/ann@phones"),
            ("online", "", "5", "Local/ann@phones"),
            ("online", "4", "7", "Local/bob@phones"),
            ("not-busy", "3", "4", "Local/ann@phones&Local/bob@phones"),
            ("not-busy", "5", "", "Local/bob@phones"),
            ("not-busy", "7", "6", "Local/ann@phones"),
        ],
    )
    async def test_who_is_there_rings(self, asterisk, agi, format_, ring_when, ann, bob, dialled):
        values = {"members": self.MEMBERS, "ring_when": ring_when}
        sample = await load(asterisk, agi.url, "presence-ring", format_, values)
        agi.answers["jabber_status"] = lambda request: {
            "JABBER_STATUS": ann if request.arguments[1].startswith("ann") else bob
        }
        call = await sample.call("300")
        assert (await call.manager_event("Newexten", Application="Dial"))["AppData"] == f"{dialled},30"
        await rings(call, *(phone.removeprefix("Local/").removesuffix("@phones") for phone in dialled.split("&")))

    async def test_nobody_there_is_the_voicemail(self, asterisk, agi, format_):
        values = {"members": self.MEMBERS, "mailbox": "1234@default"}
        sample = await load(asterisk, agi.url, "presence-ring", format_, values)
        agi.answers["jabber_status"] = {"JABBER_STATUS": "6"}
        await reaches_voicemail(await sample.call("300"))


class TestMissedCall:
    async def test_a_caller_who_gives_up(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "missed-call", format_, {"phone": "Local/${EXTEN}@phones"})
        call = await sample.call("211")
        await rings(call, "211")
        await call.hangup()
        request = await agi.request("jabber_send")
        assert request.text(2) == "Missed call from Ann (030123) to 211"
        assert request.options == {"var": "message", "wait": "none", "queue": "86400"}
        await call.ended()
        assert len(agi.requests) == 1

    async def test_a_phone_that_nobody_picks_up(self, asterisk, agi, format_):
        values = {"phone": "Local/${EXTEN}@phones", "ring": "1"}
        sample = await load(asterisk, agi.url, "missed-call", format_, values)
        await (await sample.call("211")).ended()
        assert agi.verbs() == ["jabber_send"]

    async def test_an_answered_call_gives_none(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "missed-call", format_, {"phone": "Local/${EXTEN}@answering"})
        call = await sample.call("211")
        await rings(call, "211")
        await call.manager_event("DialEnd", DialStatus="ANSWER")
        await call.hangup()
        await call.ended()
        assert agi.requests == []


class TestVoicemailNote:
    VALUES: Final = {"phone": "Local/bob@phones", "ring": "1", "mailbox": "1234@default"}

    async def test_a_recorded_message(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "voicemail-note", format_, self.VALUES)
        since = asterisk.log_size()
        call = await sample.call("200")
        await call.manager_event("Newexten", Application="VoiceMail")
        await call.manager_event("Newstate", ChannelStateDesc="Up")
        await asterisk.log_says("Playing 'vm-theperson", since=since)
        # "#" skips the greeting.
        ami = await asterisk.ami()
        await ami.action("PlayDTMF", Channel=call.uniqueid, Digit="#", Receive="true")
        await asterisk.log_says("Recording the message", since=since)
        await call.hangup()
        request = await agi.request("jabber_send")
        assert request.text(2).startswith("Voicemail from Ann (030123), ")
        assert int(request.text(2).split()[-2]) >= 1
        await call.ended()

    async def test_no_message_no_note(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "voicemail-note", format_, self.VALUES)
        call = await sample.call("200")
        await call.manager_event("Newexten", Application="VoiceMail")
        await call.hangup()
        await call.ended()
        assert agi.requests == []


class TestScreenPop:
    async def test_text_and_link(self, asterisk, agi, format_):
        values = {"link": "https://h/?n=${CALLERID(name)}&x=(1)", "phone": "Local/${EXTEN}@phones"}
        sample = await load(asterisk, agi.url, "screen-pop", format_, values)
        call = await sample.call("200", name="Ann & Bob+1")
        request = await agi.request("jabber_send")
        assert request.options["wait"] == "none"
        assert request.text(2) == ("Ann & Bob+1 (030123) is calling 200\nhttps://h/?n=Ann%20%26%20Bob%2B1&x=(1)")
        await rings(call, "200")


class TestClickToDial:
    VALUES: Final = {"numbers": ["_2XX=Local/${EXTEN}@phones", "_0ZXXX.=Local/${EXTEN}@phones"], "longest": "60"}

    @pytest.mark.parametrize(
        "number",
        [
            *("01234&Local", '01234"', "01234 5", "01234]$,;", "01234${X}", "01234(", "01234\\&x"),
            # Asterisk takes what follows ")" and ":" for an offset, so this looks like fewer digits than it has.
            *("012345&Local):1", "01234&Local/999@phones):0:2", "01234&Local):0:0", "01234:9", "0123456):1:5"),
        ],
    )
    async def test_only_letters_and_digits_get_through(self, asterisk, agi, format_, number):
        sample = await load(asterisk, agi.url, "click-to-dial", format_, self.VALUES)
        ami = await asterisk.ami()
        ends = ami.subscribe(
            lambda event: event.get("Application") in ("Dial", "Hangup") and event["Context"].startswith(sample.context)
        )
        since = asterisk.log_size()
        await ami.action(
            "Originate", Channel="Local/1@person/n", Context=sample.context, Exten=number, Priority="1", Async="true"
        )
        end = await ends.get(lambda _event: True, 10)
        if end["Application"] == "Dial":
            assert re.fullmatch(r"Local/0[A-Za-z0-9]{5,}@phones,60", end["AppData"])
        else:
            assert end["AppData"] == "28"
        assert await asterisk.problems(since) == []

    @pytest.mark.parametrize("number", ["110", "2111", "00301234567"])
    async def test_other_numbers_do_not_exist(self, asterisk, agi, format_, number):
        sample = await load(asterisk, agi.url, "click-to-dial", format_, self.VALUES)
        exists = f"${{DIALPLAN_EXISTS({sample.context},{number},1)}}"
        assert await evaluate(asterisk, exists) == "0"


async def evaluate(asterisk: Asterisk, expression: str) -> str:
    """Return what Asterisk makes of an expression."""
    ami = await asterisk.ami()
    return (await ami.action("Getvar", Variable=expression.removeprefix("${").removesuffix("}")))["Value"]


class TestConference:
    async def test_the_first_one_invites(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "conference", format_)
        first = await sample.call("800")
        for jid in ("ann@example.org", "bob@example.org"):
            request = await agi.request("jabber_send")
            assert request.arguments[1] == jid
            assert request.text(2) == (
                "Ann is in the conference. To join, dial 800 or open:\nhttps://meet.example.org/800"
            )
        await first.manager_event("ConfbridgeJoin", Conference="800")
        second = await sample.call("800", name="Carl")
        await second.manager_event("ConfbridgeJoin", Conference="800")
        assert len(agi.requests) == 2
        await first.hangup()
        await second.hangup()


class TestConferenceInvite:
    async def test_people_are_invited_and_the_caller_goes_in(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "conference-invite", format_)
        call = await sample.call("6000")
        for jid in ("ann@example.org", "103@phone.example.org"):
            request = await agi.request("jabber_invite")
            assert (request.arguments[1], request.options["room"]) == (jid, "6000")
            assert request.text(2) == "Ann is in the conference"
        # Those numbers are another sample's.
        goes = await call.manager_event("Newexten", Application="Goto")
        assert goes["AppData"] == "conferences,6000,1"


class TestWhoIsCalling:
    VALUES: Final = {"phone": "Local/bob@phones", "mailbox": "1234@default"}

    async def test_a_known_number_rings_under_its_name(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "who-is-calling", format_, self.VALUES)
        await asterisk.cli('database put cidname 030123 "Aunt, (Ann)"')
        call = await sample.call("200")
        assert (await agi.request("jabber_send")).text(2) == "Aunt, (Ann) (030123) is calling"
        assert urllib.parse.unquote((await call.event("Rang"))["Name"]) == "Aunt, (Ann)"
        assert agi.verbs() == ["jabber_send"]

    async def test_an_unknown_number_is_asked_about(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "who-is-calling", format_, self.VALUES)
        agi.answers["jabber_ask"] = {"JABBER_ASK": "1"}
        call = await sample.call("200")
        request = await agi.request("jabber_ask")
        assert request.arguments == (
            *("pbx", "bob@example.org", "15", "030123 is calling. I do not know this number."),
            *("1=Take it", "2=To the voicemail", "3=Refuse it from now on"),
        )
        await rings(call, "bob")

    @pytest.mark.parametrize("answer", ["", "9"])
    async def test_without_an_answer_it_rings(self, asterisk, agi, format_, answer):
        sample = await load(asterisk, agi.url, "who-is-calling", format_, self.VALUES)
        agi.answers["jabber_ask"] = {"JABBER_ASK": answer}
        await rings(await sample.call("200"), "bob")

    async def test_voicemail(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "who-is-calling", format_, self.VALUES)
        agi.answers["jabber_ask"] = {"JABBER_ASK": "2"}
        await reaches_voicemail(await sample.call("200"))

    async def test_a_refused_number_stays_refused(self, asterisk, agi, format_):
        sample = await load(asterisk, agi.url, "who-is-calling", format_, self.VALUES)
        agi.answers["jabber_ask"] = {"JABBER_ASK": "3"}
        for _ in range(2):
            assert await (await sample.call("200")).ended() == "21"
        assert agi.verbs() == ["jabber_ask"]
        assert "/jabber-refused/030123" in await asterisk.cli("database show jabber-refused")


class TestSubroutines:
    """The texts are those that JabberSend takes as they are: commas, quotes and backslashes are the text's own."""

    TEXTS: Final = [
        "Hello",
        "Hello, Bob, there",
        'a "b" c',
        "back\\slash",
        "smile :) or :(",
        "50%, [x",
        "$5 = {y}",
        "é😀",
    ]

    async def run(self, asterisk: Asterisk, agi: FakeFastAgi, format_: str, line: str) -> Call:
        """Load the subroutines and a line that uses one, and call it."""
        text = render.render(find("subroutines"), {"agi": [agi.url]}, format_)
        end = "UserEvent(Done,Got: ${GOT},Returned: ${GOSUB_RETVAL})"
        if format_ == "conf":
            assert await asterisk.dialplan(f"{text}\n[test]\nexten => 1,1,{line}\n same => n,{end}\n") == []
            assert await asterisk.ael(EMPTY_AEL) == []
        else:
            assert await asterisk.dialplan("") == []
            assert await asterisk.ael(f"{text}\ncontext test {{ 1 => {{ {line} {end}; }} }}\n") == []
        return await asterisk.call("1", "test")

    @pytest.mark.parametrize("text", TEXTS)
    @pytest.mark.parametrize("name", ["JabberSend", "JabberSendGroup"])
    async def test_texts_in_extensions_conf(self, asterisk, agi, name, text):
        verb = {"JabberSend": "jabber_send", "JabberSendGroup": "jabber_send_group"}[name]
        agi.answers[verb] = {"JABBER_SEND_STATUS": "SENT"}
        call = await self.run(asterisk, agi, "conf", f"Gosub({name},s,1(pbx,r@example.org,{text}))")
        assert (await call.event("Done"))["Returned"] == "SENT"
        request = await agi.request(verb)
        assert (request.arguments, request.text(2)) == (("pbx", "r@example.org"), text)

    @pytest.mark.parametrize(
        "text", ["Hello", "Hello\\, Bob\\, there", 'a "b" c', "back\\slash", "smile :)", "é😀 (x)"]
    )
    @pytest.mark.parametrize("name", ["JabberSend", "JabberSendGroup"])
    async def test_texts_in_ael(self, asterisk, agi, name, text):
        if text == "smile :)":
            text = "smile :\\)"
        verb = {"JabberSend": "jabber_send", "JabberSendGroup": "jabber_send_group"}[name]
        call = await self.run(asterisk, agi, "ael", f"&{name}(pbx,r@example.org,{text});")
        await call.event("Done")
        request = await agi.request(verb)
        assert (request.arguments, request.text(2)) == (("pbx", "r@example.org"), text.replace("\\,", ","))

    async def test_status(self, asterisk, agi, format_):
        agi.answers["jabber_status"] = {"JABBER_STATUS": "3"}
        arguments = "pbx,bob@example.org/home,GOT"
        line = f"Gosub(JabberStatus,s,1({arguments}))" if format_ == "conf" else f"&JabberStatus({arguments});"
        done = await (await self.run(asterisk, agi, format_, line)).event("Done")
        assert done["Got"] == "3"
        assert done["Returned"] == ("3" if format_ == "conf" else "")
        assert (await agi.request("jabber_status")).arguments == ("pbx", "bob@example.org/home")

    async def test_status_without_a_variable(self, asterisk, agi, format_):
        agi.answers["jabber_status"] = {"JABBER_STATUS": "3"}
        line = {"conf": "Gosub(JabberStatus,s,1(pbx,bob@h))", "ael": "&JabberStatus(pbx,bob@h,);"}[format_]
        since = asterisk.log_size()
        await (await self.run(asterisk, agi, format_, line)).event("Done")
        assert await asterisk.problems(since) == []

    @pytest.mark.parametrize(("seconds", "asked"), [("7", "7"), ("", "20")])
    async def test_receive(self, asterisk, agi, format_, seconds, asked):
        agi.answers["jabber_receive"] = {"JABBER_RECEIVE": 'a, "b" (c'}
        arguments = f"pbx,bob@example.org,{seconds}"
        line = f"Gosub(JABBER_RECEIVE,s,1({arguments}))" if format_ == "conf" else f"&JABBER_RECEIVE({arguments});"
        call = await self.run(asterisk, agi, format_, f"{line}")
        await call.event("Done")
        assert (await agi.request("jabber_receive")).arguments == ("pbx", "bob@example.org", asked)

    async def test_receive_returns_the_text_whole(self, asterisk, agi):
        text = 'a, "b" (c'
        agi.answers["jabber_receive"] = {"JABBER_RECEIVE": text}
        both = "${BASE64_ENCODE(${GOSUB_RETVAL}|${JABBER_RECEIVE})}"
        line = f"Gosub(JABBER_RECEIVE,s,1(pbx,bob@h))\n same => n,Set(GOT={both})"
        done = await (await self.run(asterisk, agi, "conf", line)).event("Done")
        assert base64.b64decode(done["Got"]).decode() == f"{text}|{text}"

    @pytest.mark.parametrize(("name", "verb"), [("JabberJoin", "jabber_join"), ("JabberLeave", "jabber_leave")])
    @pytest.mark.parametrize("nick", ["", "Asterisk one"])
    async def test_rooms(self, asterisk, agi, format_, name, verb, nick):
        agi.answers[verb] = {"JABBER_ROOM_STATUS": "OK"}
        if format_ == "conf":
            line = f"Gosub({name},s,1(pbx,room@h{',' if nick else ''}{nick}))"
        else:
            line = f"&{name}(pbx,room@h,{nick});"
        done = await (await self.run(asterisk, agi, format_, line)).event("Done")
        assert done["Returned"] == ("OK" if format_ == "conf" else "")
        assert (await agi.request(verb)).arguments == ("pbx", "room@h", *([nick] if nick else []))


class TestNoHarm:
    """agi-xmpp cannot be reached, and an earlier verb left its results: the call takes the way of no answer."""

    @pytest.mark.parametrize(
        ("name", "values", "exten", "phone"),
        [
            ("send", {"phone": "Local/bob@phones"}, "200", "bob"),
            ("status", TestStatus.PHONES, "200", "desk"),
            ("receive", TestReceive.VALUES, "200", ""),
            ("menu", TestMenu.VALUES, "200", ""),
            ("presence-ring", {"members": TestPresenceRing.MEMBERS}, "300", "ann bob"),
            ("missed-call", {"phone": "Local/bob@phones"}, "200", "bob"),
            ("voicemail-note", TestVoicemailNote.VALUES, "200", "bob"),
            ("screen-pop", {"phone": "Local/bob@phones"}, "200", "bob"),
            ("who-is-calling", TestWhoIsCalling.VALUES, "200", "bob"),
        ],
    )
    async def test_the_call_goes_on(self, asterisk, agi, format_, name, values, exten, phone):
        sample = await load(asterisk, UNREACHABLE, name, format_, values)
        call = await sample.call(exten, variables=STALE)
        if not phone:
            await reaches_voicemail(call)
        await rings(call, *phone.split())

    async def test_a_conference_opens(self, asterisk, agi, format_):
        sample = await load(asterisk, UNREACHABLE, "conference", format_)
        call = await sample.call("800", variables=STALE)
        await call.manager_event("ConfbridgeJoin", Conference="800")

    async def test_text_back_hangs_up_rather_than_dial_an_old_answer(self, asterisk, agi, format_):
        sample = await load(asterisk, UNREACHABLE, "text-back", format_, TestTextBack.VALUES)
        await asterisk.cli("database put jid 030123 ann@example.org")
        call = await sample.call("500", variables={**STALE, "JABBER_RECEIVE": "201"})
        await call.ended()
        assert not [event for event in call.events() if event.get("UserEvent") == "Rang"]

    @pytest.mark.parametrize(
        ("line", "variable", "value"),
        [
            ("JabberSend,s,1(a,b@c,x)", "JABBER_SEND_STATUS", "ERROR"),
            ("JabberSendGroup,s,1(a,b@c,x)", "JABBER_SEND_STATUS", "ERROR"),
            ("JabberStatus,s,1(a,b@c)", "JABBER_STATUS", ""),
            ("JABBER_RECEIVE,s,1(a,b@c)", "JABBER_RECEIVE", ""),
            ("JabberJoin,s,1(a,b@c)", "JABBER_ROOM_STATUS", "ERROR"),
            ("JabberLeave,s,1(a,b@c)", "JABBER_ROOM_STATUS", "ERROR"),
        ],
    )
    async def test_subroutines_say_error(self, asterisk, line, variable, value):
        text = render.render(find("subroutines"), {"agi": [UNREACHABLE]})
        tail = f"UserEvent(Done,Value: ${{{variable}}},Returned: ${{GOSUB_RETVAL}})"
        assert await asterisk.dialplan(f"{text}\n[test]\nexten => 1,1,Gosub({line})\n same => n,{tail}\n") == []
        call = await asterisk.call("1", "test", variables={**STALE, "JABBER_ROOM_STATUS": "OK"})
        done = await call.event("Done")
        assert (done["Value"], done["Returned"]) == (value, value)

    @pytest.mark.parametrize("name", ["send", "screen-pop", "menu", "receive", "who-is-calling", "missed-call"])
    async def test_a_nasty_caller_changes_nothing(self, asterisk, agi, format_, name):
        phone = "choices" if name == "menu" else "cellphone" if name == "receive" else "phone"
        value = ["1=x=Local/bob@phones"] if name == "menu" else "Local/bob@phones"
        sample = await load(asterisk, agi.url, name, format_, {phone: value})
        agi.answers = {
            "jabber_ask": {"JABBER_ASK": "1"},
            "jabber_send": {"JABBER_SEND_STATUS": "SENT"},
            "jabber_receive": {"JABBER_RECEIVE": "1"},
        }
        # The name is set within the dialplan: a manager header cannot hold its line break.
        enter = urllib.parse.quote(NASTY)
        text = f"""
[enter]
exten => 200,1,Set(CALLERID(name)=${{URIDECODE({enter})}})
 same => n,Set(CALLERID(num)=${{URIDECODE({enter})}})
 same => n,Goto({sample.context},200,1)
"""
        rendered = render.render(find(name), {phone: [value] if isinstance(value, str) else value, "agi": [agi.url]})
        assert await asterisk.dialplan(PHONES + text + (rendered if format_ == "conf" else "")) == []
        since = asterisk.log_size()
        call = await asterisk.call("200", "enter")
        await rings(call, "bob")
        if name == "missed-call":
            await call.hangup()
            await call.ended()
        if name != "who-is-calling":  # an unknown number is told by its letters and digits
            assert NASTY in "\n".join(request.variable for request in agi.requests)
        assert await asterisk.problems(since) == []


class TestWithTheService:
    """The same with agi-xmpp itself and an XMPP client in place of the fake."""

    async def test_send(self, scene: Scene, format_):
        values = {"jid": scene.bob.jid, "phone": "Local/b1@phones", "message": '${CALLERID(name)}: "hi", x:( [; 😀'}
        sample = await load(scene.asterisk, scene.service.agi_url, "send", format_, values)
        call = await sample.call("200", name="Ann a):1")
        assert (await scene.bob.hears()).body == 'Ann a):1: "hi", x:( [; 😀'
        await rings(call, "b1")

    async def test_status(self, scene: Scene, format_):
        values = {"jid": scene.bob.jid, **TestStatus.PHONES}
        sample = await load(scene.asterisk, scene.service.agi_url, "status", format_, values)
        await rings(await sample.call("200"), "computer")

    async def test_receive(self, scene: Scene, format_):
        values = {"jid": scene.bob.jid, **TestReceive.VALUES}
        sample = await load(scene.asterisk, scene.service.agi_url, "receive", format_, values)
        call = await sample.call("200")
        question = await scene.bob.hears()
        assert question.body.startswith("Call from 030123. 1: to your cellphone")
        scene.bob.say(scene.pbx.jid, "2")
        await rings(call, "work")
        assert (await scene.bob.hears()).body == "Calling your phone at work"

    async def test_menu(self, scene: Scene, format_):
        values = {**TestMenu.VALUES, "people": scene.bob.jid, "wait": "20"}
        sample = await load(scene.asterisk, scene.service.agi_url, "menu", format_, values)
        call = await sample.call("200", name="Ann a):1")
        question = await scene.bob.hears()
        assert "Ann a):1 (030123) is calling 200. Where shall the call go?" in question.body
        assert "My cell, (the new) one; 50%" in question.body
        scene.bob.say(scene.pbx.jid, "cell", thread=question.thread)
        await rings(call, "cell")

    async def test_missed_call(self, scene: Scene, format_):
        values = {"jid": scene.bob.jid, "phone": "Local/${EXTEN}@phones"}
        sample = await load(scene.asterisk, scene.service.agi_url, "missed-call", format_, values)
        call = await sample.call("211")
        await rings(call, "211")
        await call.hangup()
        assert (await scene.bob.hears()).body == "Missed call from Ann (030123) to 211"


#: What the splitters, the lexers and the substitution of Asterisk make something of, and letters between.
SPECIAL = st.text(
    st.sampled_from("\"'\\,;()[]{}$%&|=:/@#!~^*<>- aX0") | st.characters(codec="utf-8"), min_size=1, max_size=40
)
EXPANSIONS = ("${CALLERID(name)}", "${NASTY}", "${NOTHING}", "${EXTEN}")
DIALSTRING = r"PJSIP/([a-z0-9_.:@+*#/-]|\$\{EXTEN\}){1,20}(&Local/[a-z0-9@/-]{1,20})?"
PATTERN = r"_([0-9*#+XZNxzn]|\[[0-9](-?[0-9]){0,3}\]){1,12}\.?|[A-Za-z0-9*#+]{1,12}"
#: What Asterisk's URIENCODE() does not encode (main/utils.c: ``ast_uri_http``, RFC 2396 "mark").
URIENCODE_LEAVES = "-_.!~*'()"
BATCH = 25
FUZZ = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def accepted(type_: str, raws: st.SearchStrategy[str]) -> st.SearchStrategy[list[quoting.Value]]:
    """Make batches of values of a type from texts of which it may refuse some."""

    def right(raw: str) -> bool:
        try:
            return bool(check(type_, raw))
        except ValueError:
            return False

    return st.lists(raws.filter(right).map(lambda raw: check(type_, raw)), min_size=1, max_size=BATCH)


def pieces(*others: str) -> st.SearchStrategy[str]:
    return st.lists(SPECIAL | st.sampled_from(others), min_size=1, max_size=4).map("".join)


class TestQuotingOnAsterisk:
    """What a place writes is what Asterisk reads: random values go through AGI's arguments and come back."""

    async def read_back(self, asterisk: Asterisk, agi: FakeFastAgi, written: Sequence[str]) -> list[tuple[str, ...]]:
        """Put each text into an AGI() of both formats, and return the arguments that arrived."""
        before = len(agi.requests)
        await self.run(asterisk, agi, [f"AGI({agi.url}/x,before,{text},after)" for text in written])
        return [request.arguments for request in agi.requests[before:]]

    async def run(self, asterisk: Asterisk, agi: FakeFastAgi, lines: Sequence[str]) -> None:
        """Execute these lines, first as extensions.conf, then as AEL; Asterisk must not complain."""
        nasty = f"${{URIDECODE({urllib.parse.quote(NASTY, safe='')})}}"
        number = f"${{URIDECODE({urllib.parse.quote(NUMBER, safe='')})}}"
        set_up = [f"Set(NASTY={nasty})", "Set(CALLERID(name)=${NASTY})", f"Set(CALLERID(num)={number})"]
        lines = [*set_up, *lines, "UserEvent(Done)"]
        conf = "[fuzz]\nexten => 1,1,NoOp()\n" + "".join(f" same => n,{line}\n" for line in lines)
        ael = "context fuzz-ael { 1 => {\n" + "".join(f"{line};\n" for line in lines) + "} }\n"
        assert await asterisk.dialplan(conf) == []
        assert await asterisk.ael(ael) == []
        for context in ("fuzz", "fuzz-ael"):
            since = asterisk.log_size()
            await (await asterisk.call("1", context)).event("Done")
            assert await asterisk.problems(since) == []

    @FUZZ
    @given(values=accepted("label", SPECIAL) | accepted("jid", SPECIAL.map("bob@example.org/{}".format)))
    async def test_argument(self, asterisk, agi, values):
        expected = [("before", value.raw, "after") for value in values]
        assert await self.read_back(asterisk, agi, [quoting.argument(value) for value in values]) == expected * 2

    async def variables(
        self, asterisk: Asterisk, agi: FakeFastAgi, values: Sequence[quoting.Value]
    ) -> tuple[list[str], list[str]]:
        """Set a variable to each text, in both formats; return what verbs read there."""
        before = len(agi.requests)
        lines = [f"Set(message={quoting.text(value)})\0AGI({agi.url}/x?var=message)" for value in values]
        await self.run(asterisk, agi, [line for both in lines for line in both.split("\0")])
        arrived = [request.variable for request in agi.requests[before:]]
        return arrived[: len(values)], arrived[len(values) :]

    @FUZZ
    @given(values=accepted("text", pieces(*EXPANSIONS)))
    async def test_text(self, asterisk, agi, values):
        expected = [expanded(value) for value in values]
        assert await self.variables(asterisk, agi, values) == (expected, expected)

    @FUZZ
    @given(values=accepted("link", pieces("${EXTEN}", "${CALLERID(num)}", "${NOTHING}").map("https://h/?{}".format)))
    async def test_link(self, asterisk, agi, values):
        expected = [expanded(value, lambda text: urllib.parse.quote(text, safe=URIENCODE_LEAVES)) for value in values]
        assert await self.variables(asterisk, agi, values) == (expected, expected)

    @FUZZ
    @given(values=accepted("dialstring", st.from_regex(DIALSTRING, fullmatch=True)))
    async def test_dialstring(self, asterisk, agi, values):
        written = [quoting.dialstring(value) for value in values]
        expected = [("before", value.raw.replace("${EXTEN}", "1"), "after") for value in values]
        assert await self.read_back(asterisk, agi, written) == expected * 2

    @FUZZ
    @given(values=accepted("pattern", st.from_regex(PATTERN, fullmatch=True)))
    async def test_extension(self, asterisk, values):
        extensions = sorted({quoting.extension(value) for value in values})
        conf = "[fuzz]\n" + "".join(f"exten => {extension},1,NoOp()\n" for extension in extensions)
        ael = "context fuzz-ael {\n" + "".join(f"{extension} => NoOp();\n" for extension in extensions) + "}\n"
        assert await asterisk.dialplan(conf) == []
        assert await asterisk.ael(ael) == []
        for context in ("fuzz", "fuzz-ael"):
            shown = await asterisk.cli(f"dialplan show {context}")
            assert re.findall(r"^  '([^']+)' =>", shown, re.MULTILINE) != []
            assert set(re.findall(r"^  '([^']+)' =>", shown, re.MULTILINE)) == set(extensions)

    @FUZZ
    @given(values=accepted("context", st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,59}", fullmatch=True)))
    async def test_context(self, asterisk, values):
        contexts = {f"x{quoting.context(value)}" for value in values}
        for load_, template in (
            (asterisk.dialplan, "[{}]\nexten => 1,1,NoOp()\n"),
            (asterisk.ael, "context {} {{ 1 => NoOp(); }}\n"),
        ):
            assert await asterisk.ael(EMPTY_AEL) == []
            assert await load_("".join(template.format(context) for context in contexts)) == []
            for context in contexts:
                assert "'1' =>" in await asterisk.cli(f"dialplan show {context}")
            await asterisk.dialplan("")

    @FUZZ
    @given(values=accepted("key", st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True)))
    async def test_key(self, asterisk, agi, values):
        """As the sample "menu" uses keys: in ``key=label``, compared, as a label, and as AEL's ``case``."""
        keys = {value.raw.casefold(): value.raw for value in values}
        choices = [f"{key}=x=Local/{key}@phones" for key in list(keys.values())[: render.MAX_ITEMS]]
        for format_ in FORMATS:
            sample = await load(asterisk, agi.url, "menu", format_, {"choices": choices})
            for key in (choices[0].partition("=")[0], choices[-1].partition("=")[0]):
                agi.answers["jabber_ask"] = {"JABBER_ASK": key}
                call = await sample.call("200")
                dial = await call.manager_event("Newexten", Application="Dial")
                assert dial["AppData"] == f"Local/{key}@phones,30"
                await call.hangup()

    @pytest.mark.parametrize("character", ["😀", "(", "x"])
    async def test_longest_text(self, asterisk, agi, character):
        """4-byte characters, and characters that are written as three."""
        value = check("text", character * quoting.MAX_TEXT)
        text = render.render(find("send"), {"message": [value.raw], "agi": [agi.url]})
        assert await asterisk.dialplan(text) == []
        call = await asterisk.call("200", "jabber-send")
        assert (await agi.request("jabber_send")).text(2) == value.raw
        await call.hangup()

    async def test_longest_jid(self, asterisk, agi):
        value = check("jid", "b@h/" + "(" * (quoting.MAX_JID - 4))
        arrived = await self.read_back(asterisk, agi, [quoting.argument(value)])
        assert arrived == [("before", value.raw, "after")] * 2

    async def test_longest_line(self, asterisk, agi, format_):
        """Up to the limit it loads and arrives whole; above it, `render` refuses it."""
        frame = {"conf": "exten => _2XX,1,Set(message=)", "ael": "\t\tSet(message=);"}[format_]
        pairs, rest = divmod(LINE_BYTES[format_] - len(frame), len("${URIDECODE(%3B)}x"))
        values = {"message": ";x" * pairs + "x" * rest, "phone": "Local/b1@phones"}
        sample = await load(asterisk, agi.url, "send", format_, values)
        await sample.call("200")
        assert (await agi.request("jabber_send")).text(2) == values["message"]
        with pytest.raises(RenderError, match="a line of more than"):
            render.render(find("send"), {"message": [values["message"] + "x"]}, format_)


def expanded(value: quoting.Value, encode: Callable[[str], str] = str) -> str:
    """Return what a text must become in the call that `read_back` makes."""
    contents = {"CALLERID(name)": NASTY, "CALLERID(num)": NUMBER, "NASTY": NASTY, "NOTHING": "", "EXTEN": "1"}
    return re.sub(r"\$\{([^{}]+)\}", lambda match: encode(contents[match[1]]), value.raw)
