"""Which priorities are named by number."""

from __future__ import annotations

import pytest

from agi_xmpp.migrate.jumps import Jump, jumps, overlap


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Goto(5)", [(None, None, "5")]),
        ("Goto(s,5)", [(None, "s", "5")]),
        ("Goto(ctx,s,5)", [("ctx", "s", "5")]),
        ("Goto(ctx|s|5)", [("ctx", "s", "5")]),
        ("Goto,s|5", [(None, "s", "5")]),
        ("Gosub(sub,s,1(a,b))", [("sub", "s", "1")]),
        ("GotoIf($[${A} = 1]?5:s,7)", [(None, None, "5"), (None, "s", "7")]),
        ("GotoIf($[${A} = 1]?:7)", [(None, None, "7")]),
        ("GotoIf($[${A} = 1])", []),
        ("GosubIf($[${A}]?sub,s,2(x):lab)", [("sub", "s", "2"), (None, None, "lab")]),
        ("GotoIfTime(9:00-17:00,mon-fri,*,*?open,s,2)", [("open", "s", "2")]),
        ("ExecIf($[1]?Goto(5):GotoIf(1?6))", [(None, None, "5"), (None, None, "6")]),
        ("TryExec(Goto(5))", [(None, None, "5")]),
        ("Dial(SIP/1,20,gG(a^b^3))", [("a", "b", "3")]),
        ("Originate(SIP/1,exten,a,b,3)", [("a", "b", "3")]),
        ("ChannelRedirect(SIP/1,a,b,3)", [("a", "b", "3")]),
        ("NoOp(5)", []),
        ("Goto(${A", []),
        ("Goto()", []),
    ],
)
def test_jumps(text, expected):
    assert [(jump.context, jump.exten, jump.priority) for jump in jumps(text)] == expected


@pytest.mark.parametrize(
    ("priority", "beyond", "relative"),
    [
        ("3", False, False),
        ("4", True, False),
        ("lab", False, False),
        ("${P}", True, False),
        ("+2", False, True),
        ("-1", False, True),
        ("$[${PRIORITY} + 2]", True, True),
    ],
)
def test_where_a_jump_may_lead(priority, beyond, relative):
    jump = Jump(None, None, priority)
    assert jump.may_reach_beyond(3) is beyond
    assert jump.is_relative is relative


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("100", "100", True),
        ("100", "101", False),
        ("_1XX", "105", True),
        ("105", "_1XX", True),
        ("_1XX", "1055", False),
        ("_1ZN", "112", True),
        ("_1ZN", "101", False),
        ("_[1-3,5]X", "57", True),
        ("_[1-3,5]X", "47", False),
        ("_1.", "1", False),
        ("_1.", "12", True),
        ("_1!", "1", True),
        ("_X.", "s", False),
        ("_1-2", "12", True),
        ("_*XX", "*12", True),
        ("_1XX", "_2XX", True),
        ("100/201", "100/202", True),
    ],
)
def test_overlap(one, other, expected):
    assert overlap(one, other) is expected
