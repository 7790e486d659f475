"""What becomes of one call. What whole dialplans become stands in tests/data/migrate."""

from __future__ import annotations

import pytest

from agi_xmpp.migrate.model import Target, Unclear
from agi_xmpp.migrate.rewrite import Rewriter


def rewritten(text: str, *, message_status: bool = False) -> list[str]:
    return [
        str(step).replace("agi://127.0.0.1", "@")
        for step in Rewriter(Target(message_status=message_status)).statement(text)
    ]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("hi", ","),
        ("${NOTE}", "?var=NOTE"),
        ("${NOTE:2}", "Set"),
        ("${NOTE} ", "Set"),
        ("${EXTEN} rings", "?enc=uri"),
        ("${EXTEN:-3:2}", "?enc=uri"),
        ("${CALLERID(num)} ${UNIQUEID} ${STRFTIME(${EPOCH},,%H:%M)}", "Set"),
        ("${CALLERID(num)} at ${STRFTIME(,,%H)}", "?enc=uri"),
        ("${CALLERID(name)}", "Set"),
        ("${EXTEN} ${CALLERID(name)}", "Set"),
        ("$[1 + 2]", "Set"),
        ("${EXTENSION}", "?var=EXTENSION"),
        ("${JABBER_RECEIVE} ", "Set"),
    ],
)
def test_the_form_of_a_text(text, form):
    first = rewritten(f"JabberSend(pbx,bob@example.org,{text})")[0]
    assert first.removeprefix("AGI(@/jabber_send").startswith(form)


@pytest.mark.parametrize(("commas", "quoted"), [(99, False), (100, False), (101, True)])
def test_many_commas_are_quoted(commas, quoted):
    (step,) = rewritten(f"JabberSend(pbx,bob@example.org,{',' * commas})")
    assert ('"' in step) is quoted
    assert step.count(",") == commas + 3


@pytest.mark.parametrize(
    "text",
    [
        "NoOp(JABBER_STATUS)",
        "NoOp(${JABBER_STATUS} ${JABBER_RECEIVE:0:1})",
        "AGI(@/JabberSend,pbx,bob@example.org,JABBER_STATUS)",
        'ExecIf($["${A}" = "b:c"]?NoOp(a:):NoOp(b))',
        "ExecIf($[1]?NoOp(a))",
        "ExecIf(1,NoOp,a)",
        "ExecIf()",
        "ExecIfTime(9:00-17:00,mon-fri,*,*?NoOp(JabberSend))",
        "ExecIfTime()",
        "TryExec(${APP}(x))",
        "MessageSend(pjsip:bob,sip:ann)",
        "MyJabberSend(a,b@c,d)",
    ],
)
def test_what_is_none_of_ours_stays(text):
    assert rewritten(text) == [text]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("JabberSend(pbx,bob@example.org)", "account, address and text; it has 2"),
        ("JabberSend(pbx,bob@example.org,)", "account, address and text; it has 2 of them"),
        ("JabberSend(,bob@example.org,x)", "account, address and text; it has 2 of them"),
        ("JabberSend( ,bob@example.org,x)", "an argument is empty"),
        ("JabberSend()", "it has 0"),
        ("JabberSend", "it has 0"),
        ("JabberSend(pbx,bob,x)", "'bob' is no address"),
        ("JabberSend(pbx,bob@example.org,${X)", "not closed"),
        ("JabberSend(pbx,bob@example.org,x", "not closed"),
        ("JabberSendGroup(pbx,room)", "it has 2"),
        ("JabberSendGroup(pbx,room,text)", "no address"),
        ("JabberJoin(pbx,r@example.org,a,b)", "it has 4"),
        ("JabberLeave(pbx)", "it has 1"),
        ("JabberStatus(pbx,bob@example.org)", "it has 2"),
        ("JabberStatus(pbx,bob@example.org,X,Y)", "it has 4"),
        ("Set(X=${JABBER_STATUS(pbx)})", "JABBER_STATUS needs account and address; it has 1"),
        ("Set(X=${JABBER_STATUS(pbx,b@c,d)})", "it has 3"),
        ("Set(X=${JABBER_STATUS()})", "it has 0"),
        ("Set(X=${JABBER_RECEIVE(pbx,b@c,1,2)})", "it has 4"),
        ("Set(X=${JABBER_RECEIVE(pbx,,1)})", "it has 2 of them"),
        ("Set(X=${JABBER_RECEIVE(pbx,b@c)x})", "cannot be read"),
        ("Set(X=${JABBER_STATUS(pbx,b@c)", "not closed"),
        ("MessageSend(xmpp:b@c,pbx)", "begin with xmpp:"),
        ("MessageSend(xmpp:b@c)", "begin with xmpp:"),
        ("MessageSend(xmpp:,xmpp:pbx)", "begin with xmpp:"),
        ("MessageSend(${TO},xmpp:pbx)", "begin with xmpp:"),
        ("ExecIf(1?JabberStatus(pbx,b@c,X))", "two applications"),
        ("ExecIf(1?JabberSend(pbx,b@c))", "it has 2"),
        ("${APP}(${JABBER_STATUS(pbx,b@c)})", "name is in a variable"),
    ],
)
def test_what_a_human_must_look_at(text, reason):
    with pytest.raises(Unclear, match=reason):
        rewritten(text)


def test_the_last_comma_of_receive_stands_for_the_default():
    assert rewritten("Set(X=${JABBER_RECEIVE(pbx,b@c,)})")[0] == "AGI(@/jabber_receive,pbx,b@c)"


def test_a_status_is_asked_again_if_a_message_was_waited_for_in_its_arguments():
    call = "${JABBER_STATUS(pbx,${JABBER_RECEIVE(pbx,b@c)})}"
    assert rewritten(f"NoOp({call}{call})") == [
        "AGI(@/jabber_receive,pbx,b@c)",
        "Set(AGI_XMPP_RESULT1=${JABBER_RECEIVE})",
        "AGI(@/jabber_status,pbx,${AGI_XMPP_RESULT1})",
        "Set(AGI_XMPP_RESULT2=${JABBER_STATUS})",
        "AGI(@/jabber_receive,pbx,b@c)",
        "AGI(@/jabber_status,pbx,${JABBER_RECEIVE})",
        "NoOp(${AGI_XMPP_RESULT2}${JABBER_STATUS})",
    ]


def test_a_status_with_a_status_in_its_arguments_is_asked_once():
    inner = "${JABBER_STATUS(pbx,a@c)}"
    call = f"${{JABBER_STATUS(pbx,{inner}@c)}}"
    assert rewritten(f"NoOp({call}{inner}{call})") == [
        "AGI(@/jabber_status,pbx,a@c)",
        "Set(AGI_XMPP_RESULT1=${JABBER_STATUS})",
        "AGI(@/jabber_status,pbx,${AGI_XMPP_RESULT1}@c)",
        "NoOp(${JABBER_STATUS}${AGI_XMPP_RESULT1}${JABBER_STATUS})",
    ]


def test_texts_of_two_branches_are_not_encoded():
    one, two = (
        rewritten("ExecIf(1?JabberSend(pbx,b@c,${EXTEN} x))"),
        rewritten("ExecIf(1?JabberSend(pbx,b@c,${EXTEN} x):A())"),
    )
    assert "?enc=uri" in one[0]
    assert two[0] == "Set(AGI_XMPP_TEXT=${EXTEN} x)"


def test_message_send_in_a_branch_cannot_set_its_status():
    text = "ExecIf(1?MessageSend(xmpp:b@c,xmpp:pbx))"
    assert rewritten(text) == [
        "Set(AGI_XMPP_TEXT=${MESSAGE(body)})",
        "ExecIf(1?AGI(@/jabber_send?var=AGI_XMPP_TEXT,pbx,b@c))",
    ]
    with pytest.raises(Unclear, match="two applications"):
        rewritten(text, message_status=True)


def test_the_nick_of_a_room_message_is_noted():
    rewriter = Rewriter(Target())
    rewriter.statement("JabberSendGroup(pbx,r@c,text,nick)")
    assert rewriter.notes == ["JabberSendGroup's text ended at the comma; 'nick' was a nick, now that of jabber_join"]
