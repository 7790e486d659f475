"""Migrated dialplans on a real Asterisk: they load without a complaint and do what the original was documented to do.

A FastAGI server of the tests stands where agi-xmpp would be: it writes down what it is asked and answers as told.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

import pytest

from agi_xmpp.agi.server import AgiServer
from agi_xmpp.config import AgiSettings
from agi_xmpp.features import VERBS
from agi_xmpp.features.dispatch import Dispatcher
from agi_xmpp.features.verb import Accounts
from tests.agi_recorder import Recorder, Request
from tests.migrate_corpus import Fragment, fragments, migrated
from tests.testbed.asterisk import Asterisk
from tests.unit.features.fakes import FakeSession

LOADABLE = [fragment for fragment in fragments() if fragment.name != "look: this is no AEL"]

ROUTING = """
[testbed]
exten => 1234,1,Answer
exten => 1234,2,JabberSend(pbx,bob@example.org,Call from ${CALLERID(name)}: 1 cellphone, 2 work phone)
exten => 1234,3,Set(OPTION=${JABBER_RECEIVE(pbx,bob@example.org,20)})
exten => 1234,4,GotoIf($["${OPTION}" = "1"]?8)
exten => 1234,5,GotoIf($["${OPTION}" = "2"]?10)
exten => 1234,6,UserEvent(Routed,To: voicemail)
exten => 1234,7,Hangup
exten => 1234,8,UserEvent(Routed,To: cellphone)
exten => 1234,9,Hangup
exten => 1234,10,UserEvent(Routed,To: work)
exten => 1234,11,Hangup
"""

ROUTING_AEL = """
context testbed-ael {
  1234 => {
    JabberSend(pbx,bob@example.org,Call from ${CALLERID(name)}: 1 cellphone, 2 work phone);
    switch (${JABBER_RECEIVE(pbx,bob@example.org,20)}) {
      case 1: UserEvent(Routed,To: cellphone); break;
      case 2: UserEvent(Routed,To: work); break;
      default: UserEvent(Routed,To: voicemail);
    }
  }
}
"""

#: Texts as JabberSend was documented to send them, and how they are written in extensions.conf.
TEXTS = {
    "plain": ("hello", "hello"),
    "commas": ("a, b,c,", "a, b,c,"),
    "quotes and backslashes": (r'say "hi" \o/ c:\x', r'say "hi" \o/ c:\x'),
    "brackets that stay open": (":( [ (a, b", ":( [ (a, b"),
    "brackets that were never open": ("a) b] :)", "a) b] :)"),
    "semicolons": ("a; b;", r"a\; b\;"),
    "a backslash before a semicolon": (r"a\; b", r"a\\; b"),
    "blanks": ("  two  blanks  in it", "  two  blanks  in it"),
    "more commas than AGI has arguments": ("," * 140 + '"x"', "," * 140 + '"x"'),
    "not ASCII": ("Grüße 🐻", "Grüße 🐻"),
    "a percent sign": ("100%41", "100%41"),
    "a percent sign beside a number": (r'100%41 "7" \o/ 1234', r'100%41 "7" \o/ ${EXTEN}'),
    "a variable": ('ok :) at 12:30, "so" \\o/', "${TEXT}"),
    "a variable in a text": ('he says: ok :) at 12:30, "so" \\o/ (', "he says: ${TEXT} ("),
    "a name": ("Ann :) 1:2 is calling 1234", "${CALLERID(name)} is calling ${EXTEN}"),
}


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    async with Recorder() as recorder:
        yield recorder


@pytest.fixture(autouse=True)
async def _nothing_loaded(asterisk: Asterisk) -> None:
    """extensions.conf and AEL add to each other's contexts, so both begin empty."""
    await asterisk.dialplan("")
    await asterisk.ael("context testbed-own-ael { }")


async def load(asterisk: Asterisk, kind: str, text: str, recorder: Recorder) -> None:
    outcome = migrated(kind, text, recorder.server)
    assert outcome.changes
    assert outcome.remarks == []
    complaints = await (asterisk.ael if kind == "ael" else asterisk.dialplan)(outcome.after)
    assert complaints == [], outcome.after


async def events(asterisk: Asterisk, exten: str, context: str = "testbed", **variables: str) -> list[dict[str, str]]:
    """Let somebody ring; return the dialplan's user events when the call is over."""
    call = await asterisk.call(exten, context, variables=variables, caller_id='"Ann :) 1:2" <201>')
    await call.ended()
    return [dict(event) for event in call.events() if event.get("Event") == "UserEvent"]


@pytest.mark.parametrize("fragment", LOADABLE, ids=str)
async def test_every_migrated_fragment_loads(asterisk: Asterisk, fragment: Fragment) -> None:
    outcome = migrated(fragment.kind, fragment.before)
    load_text = asterisk.ael if fragment.kind == "ael" else asterisk.dialplan
    complaints = await load_text(outcome.after)
    if complaints:  # Asterisk must have had the same to say before: of ExecIf in AEL, of a function in [globals]
        complaints = sorted(set(map(_essence, complaints)) - set(map(_essence, await load_text(fragment.before))))
    assert complaints == [], outcome.after


def _essence(complaint: str) -> str:
    """Return a log line without its time, thread and place."""
    return re.sub(r"^\S+ \S+ |\[\d+\]|/\S+/etc/|line \d+(-\d+)?", "", complaint)


@pytest.mark.parametrize("kind", ["conf", "ael"])
@pytest.mark.parametrize(("answer", "to"), [("1", "cellphone"), ("2", "work"), ("", "voicemail"), ("7", "voicemail")])
async def test_a_call_is_routed_by_an_answer(
    asterisk: Asterisk, recorder: Recorder, kind: str, answer: str, to: str
) -> None:
    await load(asterisk, kind, {"conf": ROUTING, "ael": ROUTING_AEL}[kind], recorder)
    recorder.answers = [answer]
    (event,) = await events(asterisk, "1234", {"conf": "testbed", "ael": "testbed-ael"}[kind])
    assert event["To"] == to
    assert recorder.requests == [
        Request("jabber_send", ("pbx", "bob@example.org"), "Call from Ann :) 1:2: 1 cellphone, 2 work phone"),
        Request("jabber_receive", ("pbx", "bob@example.org", "20")),
    ]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("how", ["{}", "ExecIf(1?{})", "Exec({})"])
async def test_the_text_that_is_sent_is_the_one_that_was_written(
    asterisk: Asterisk, recorder: Recorder, name: str, how: str
) -> None:
    text, written = TEXTS[name]
    call = how.format(f"JabberSend(pbx,bob@example.org,{written})")
    rows = [f"exten => 1234,1,Set(TEXT={TEXTS['a variable'][0]})", f" same => n,{call}"]
    await load(asterisk, "conf", "\n".join(["[testbed]", *rows, ""]), recorder)
    await events(asterisk, "1234")
    if how.startswith("ExecIf") and name == "brackets that were never open":
        text = "a"  # there the colon ended the branch, and the parenthesis before it the text
    assert recorder.requests == [Request("jabber_send", ("pbx", "bob@example.org"), text)]


async def test_our_own_verbs_understand_what_was_written(asterisk: Asterisk) -> None:
    session = FakeSession()
    accounts = Accounts({"pbx": session})
    service = AgiServer(AgiSettings(port=0), Dispatcher(accounts, VERBS, {}))
    await service.start()
    try:
        rows = [f"exten => 1234,1,Set(TEXT={TEXTS['a variable'][0]})"]
        rows += [f" same => n,JabberSend(pbx,bob@example.org,{written})" for _, written in TEXTS.values()]
        rows += [" same => n,JabberJoin(pbx,r@conference.example.org,Asterisk)"]
        rows += [" same => n,JabberSendGroup(pbx,r@conference.example.org,${TEXT})"]
        rows += [" same => n,JabberLeave(pbx,r@conference.example.org)"]
        rows += [" same => n,UserEvent(Got,Status: ${JABBER_STATUS(pbx,b@x.org)},Text: ${JABBER_RECEIVE(pbx,b@x.org)})"]
        outcome = migrated("conf", "\n".join(["[testbed]", *rows, ""]), f"agi://127.0.0.1:{service.ports[0]}")
        assert await asterisk.dialplan(outcome.after) == []
        (event,) = await events(asterisk, "1234")
    finally:
        await service.stop()
    assert (event["Status"], event["Text"]) == ("3", "1")
    sent = [arguments for name, arguments, _ in session.calls if name == "send_message"]
    assert sent == [("bob@example.org", text) for text, _ in TEXTS.values()]
    room = "r@conference.example.org"
    names = ["join_room", "send_to_room", "leave_room", "presence", "voice", "receive_message"]
    assert [name for name, _, _ in session.calls[-6:]] == names
    assert session.calls[-5][1] == (room, TEXTS["a variable"][0])


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('"now" \\o/ {x} [y] (z), a; // b /* c */', '"now" \\o/ {x} [y] (z), a; // b /* c */'),
        ("sorry :\\( no", "sorry :\\( no"),
        ("one\n  two, three", "one\n  two, three"),
        ("he says: ok :) at 12:30 (", "he says: ${TEXT} \\("),
        ("100%41 1234", "100%41 ${EXTEN}"),
    ],
)
async def test_the_text_that_is_sent_from_ael_is_the_one_that_was_written(
    asterisk: Asterisk, recorder: Recorder, text: str, written: str
) -> None:
    statement = f"JabberSend(pbx,bob@example.org,{written});"
    await load(asterisk, "ael", f"context testbed-ael {{ 1234 => {{ {statement} }} }}", recorder)
    await events(asterisk, "1234", "testbed-ael", TEXT="ok :) at 12:30")
    expected = text.replace("12:30 (", "12:30 \\(")  # AEL hands the backslash on, and JabberSend sent it
    assert recorder.requests == [Request("jabber_send", ("pbx", "bob@example.org"), expected)]


async def test_a_room_text_ends_at_the_comma_unless_quoted(asterisk: Asterisk, recorder: Recorder) -> None:
    room = "r@conference.example.org"
    outcome = migrated(
        "conf",
        f"""
[testbed]
exten => 1,1,JabberJoin(pbx,{room},Asterisk)
 same => n,JabberSendGroup(pbx,{room},Hello,Asterisk)
 same => n,JabberSendGroup(pbx,{room},"Hello, all"\\, "of" you \\"there\\" from ${{CALLERID(num)}})
 same => n,JabberLeave(pbx,{room})
""",
        recorder.server,
    )
    assert await asterisk.dialplan(outcome.after) == []
    await events(asterisk, "1")
    assert recorder.requests == [
        Request("jabber_join", ("pbx", room, "Asterisk")),
        Request("jabber_send_group", ("pbx", room), "Hello"),
        Request("jabber_send_group", ("pbx", room), 'Hello, all, of you "there" from 201'),
        Request("jabber_leave", ("pbx", room)),
    ]


async def test_message_send_and_its_status(asterisk: Asterisk, recorder: Recorder) -> None:
    text = """
[testbed]
exten => 1,1,Set(MESSAGE(body)=ok :) at 12:30)
exten => 1,2,MessageSend(xmpp:bob@example.org,xmpp:pbx)
exten => 1,3,UserEvent(Sent,Status: ${MESSAGE_SEND_STATUS})
"""
    await load(asterisk, "conf", text, recorder)
    (event,) = await events(asterisk, "1")
    assert event["Status"] == "SUCCESS"
    assert recorder.requests == [Request("jabber_send", ("pbx", "bob@example.org"), "ok :) at 12:30")]


LOOPS = {
    "numbers": """
[testbed]
exten => 1,1,Set(X=0)
exten => 1,2,GotoIf($[${JABBER_STATUS(pbx,bob@example.org)} != 5]?6)
exten => 1,3,UserEvent(Round,X: ${X})
exten => 1,4,Set(X=$[${X} + 1])
exten => 1,5,Goto(2)
exten => 1,6,UserEvent(Out,X: ${X})
""",
    "While": """
[testbed]
exten => 1,1,Set(X=0)
 same => n,While($[${JABBER_STATUS(pbx,bob@example.org)} = 5])
 same => n,UserEvent(Round,X: ${X})
 same => n,Set(X=$[${X} + 1])
 same => n,ExecIf($[${X} = 1]?ContinueWhile())
 same => n,EndWhile()
 same => n,UserEvent(Out,X: ${X})
""",
    "label": """
[testbed]
exten => 1,1,Set(X=0)
 same => n(look),GotoIf($[${JABBER_STATUS(pbx,bob@example.org)} != 5]?out)
 same => n,UserEvent(Round,X: ${X})
 same => n,Set(X=$[${X} + 1])
 same => n,Goto(look)
 same => n(out),UserEvent(Out,X: ${X})
""",
    "while of AEL": """
context testbed {
  1 => {
    X=0;
    while (${JABBER_STATUS(pbx,bob@example.org)} = 5) {
      UserEvent(Round,X: ${X});
      X=${X}+1;
      if (${X} = 1) { continue; }
      NoOp();
    }
    UserEvent(Out,X: ${X});
  }
}
""",
    "for of AEL": """
context testbed {
  1 => {
    for (X=0; ${JABBER_STATUS(pbx,bob@example.org)} = 5; X=${X}+1) {
      UserEvent(Round,X: ${X});
      if (${X} = 0) { continue; }
    }
    UserEvent(Out,X: ${X});
  }
}
""",
}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("rounds", [0, 1, 2])
async def test_a_loop_asks_in_each_round(asterisk: Asterisk, recorder: Recorder, name: str, rounds: int) -> None:
    await load(asterisk, "ael" if "AEL" in name else "conf", LOOPS[name], recorder)
    recorder.statuses = ["5"] * rounds + ["6"]
    seen = [(event["UserEvent"], event["X"]) for event in await events(asterisk, "1")]
    assert seen == [*(("Round", str(number)) for number in range(rounds)), ("Out", str(rounds))]
    assert len(recorder.requests) == rounds + 1


# An expression without its left side is an error and counts as false, so the loops made with GotoIf never end then.
@pytest.mark.parametrize("name", [name for name in LOOPS if "GotoIf" not in LOOPS[name]])
async def test_a_loop_ends_when_the_status_is_not_known(asterisk: Asterisk, recorder: Recorder, name: str) -> None:
    await load(asterisk, "ael" if "AEL" in name else "conf", LOOPS[name], recorder)
    recorder.statuses = [""]
    assert [event["UserEvent"] for event in await events(asterisk, "1")] == ["Out"]


@pytest.mark.parametrize(
    ("statuses", "who", "asked"), [(["1"], "bob", 1), (["6", "1"], "ann", 2), (["6", "6"], "nobody", 2)]
)
async def test_else_if_asks_only_if_it_is_reached(
    asterisk: Asterisk, recorder: Recorder, statuses: Sequence[str], who: str, asked: int
) -> None:
    text = """
context testbed {
  1 => {
    if (${JABBER_STATUS(pbx,bob@example.org)} = 1) UserEvent(In,Who: bob);
    else if (${JABBER_STATUS(pbx,ann@example.org)} = 1) UserEvent(In,Who: ann);
    else UserEvent(In,Who: nobody);
  }
}
"""
    await load(asterisk, "ael", text, recorder)
    recorder.statuses = list(statuses)
    (event,) = await events(asterisk, "1")
    assert event["Who"] == who
    people = ["bob@example.org", "ann@example.org"][:asked]
    assert recorder.requests == [Request("jabber_status", ("pbx", person)) for person in people]


async def test_several_results_in_one_line_are_kept_apart(asterisk: Asterisk, recorder: Recorder) -> None:
    text = """
[testbed]
exten => 1,1,UserEvent(Got,One: ${JABBER_STATUS(pbx,a@example.org)}${JABBER_RECEIVE(pbx,a@example.org)},\
Two: ${JABBER_STATUS(pbx,b@example.org):0:1}${JABBER_RECEIVE(pbx,b@example.org,3)})
""".replace("\\\n", "")
    await load(asterisk, "conf", text, recorder)
    recorder.statuses, recorder.answers = ["1", "2"], ["first", "second"]
    (event,) = await events(asterisk, "1")
    assert (event["One"], event["Two"]) == ("1first", "2second")
    assert [request.verb for request in recorder.requests] == ["jabber_status", "jabber_receive"] * 2


async def test_a_detour_keeps_extension_context_stack_and_end(asterisk: Asterisk, recorder: Recorder) -> None:
    text = """
[testbed]
exten => _12X,1,Gosub(sub,s,1(hello))
exten => _12X,2,UserEvent(Back,At: ${CONTEXT} ${EXTEN} ${PRIORITY})
exten => _12X,3,Set(S=${JABBER_STATUS(pbx,bob@example.org)}-${CONTEXT}-${EXTEN})
exten => h,1,UserEvent(Over,S: ${S})
[sub]
exten => s,1,NoOp()
exten => s,2,GotoIf($[${JABBER_STATUS(pbx,bob@example.org)} = 1]?5)
exten => s,3,UserEvent(Wrong)
exten => s,4,Return()
exten => s,5,UserEvent(Sub,Argument: ${ARG1},At: ${CONTEXT} ${EXTEN} ${PRIORITY})
exten => s,6,Return()
"""
    text = text.replace("exten => h", "exten => 124,1,Goto(123,3)\nexten => h")
    await load(asterisk, "conf", text, recorder)
    recorder.statuses = ["1"]
    sub, back, over = await events(asterisk, "123")
    assert (sub["Argument"], sub["At"]) == ("hello", "sub s 5")
    assert back["At"] == "testbed 123 2"
    assert over["S"] == "1-testbed-123"
    (over,) = await events(asterisk, "124")  # a jump by number from another extension still finds the line
    assert over["S"] == "1-testbed-123"


@pytest.mark.parametrize(("condition", "to", "text"), [("1", "bob", "yes (1"), ("0", "ann", "no, 0:")])
async def test_each_branch_of_execif_sends_its_own_text(
    asterisk: Asterisk, recorder: Recorder, condition: str, to: str, text: str
) -> None:
    dialplan = """
[testbed]
exten => 1,1,ExecIf($[${X}]?JabberSend(pbx,bob@example.org,yes ${OPEN}${X}):JabberSend(pbx,ann@example.org,no, ${X}:))
"""
    await load(asterisk, "conf", dialplan, recorder)
    await events(asterisk, "1", X=condition, OPEN="(")
    assert recorder.requests == [Request("jabber_send", ("pbx", f"{to}@example.org"), text)]


async def test_a_condition_is_asked_whether_the_branch_is_taken_or_not(asterisk: Asterisk, recorder: Recorder) -> None:
    await load(
        asterisk, "conf", "[testbed]\nexten => 1,1,ExecIf(0?NoOp(${JABBER_STATUS(pbx,bob@example.org)}))\n", recorder
    )
    await events(asterisk, "1")
    assert len(recorder.requests) == 1
