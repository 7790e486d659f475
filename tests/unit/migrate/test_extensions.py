"""extensions.conf: the corpus, and what no fragment of it shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.migrate.extensions import Dialplan, Document
from agi_xmpp.migrate.model import Outcome, Target
from agi_xmpp.quoting import LINE_BYTES
from tests.migrate_corpus import fragments, migrated

FRAGMENTS = list(fragments("conf"))

#: Lines of which dialplans are made; none of them has to do with XMPP.
_ROWS = """[general]
[a]
[b](a)
[a](+)
exten => s,1,NoOp()
exten => _X.,n,Dial(SIP/${EXTEN}|20)
same=>n,x
exten => s,n(l),GotoIf($[${A}=1]?2:l)
exten => s,3,Set(JABBER_STATUS=1)
exten => s,hint,SIP/1
exten => ,,
exten => [,1,x
exten
same =>
include => b
#include x.conf
; c
;--
--;

[
\ufeff"""
LINES = st.sampled_from(_ROWS.split("\n"))
NOISE = st.text(st.characters(exclude_categories=()), max_size=30)


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=str)
def test_line_ends_and_the_lack_of_the_last_one_are_kept(fragment):
    windows = fragment.before.replace("\n", "\r\n").removesuffix("\r\n")
    assert migrated("conf", windows).after == fragment.after.replace("\n", "\r\n").removesuffix("\r\n")


@given(st.lists(st.one_of(LINES, NOISE), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_what_has_nothing_to_do_with_xmpp_stays_byte_for_byte(rows, end):
    text = end.join(rows)
    outcome = migrated("conf", text)
    assert outcome.after == text
    assert outcome.changes == []


@given(st.lists(LINES, max_size=6), st.lists(LINES, max_size=6), st.sampled_from(FRAGMENTS))
def test_whatever_stands_around_it_is_kept_and_is_migrated_once(above, below, fragment):
    rows = [*above, *fragment.before.splitlines(), *below]
    outcome = migrated("conf", "\n".join(rows))
    left = outcome.after.split("\n")
    changed = {change.line for change in outcome.changes}
    kept = [row for number, row in enumerate(rows, 1) if number not in changed]
    position = 0
    for row in kept:  # in their order, with new lines in between
        position = left.index(row, position) + 1
    assert migrated("conf", outcome.after).after == outcome.after


def test_a_change_says_what_was_and_what_is():
    outcome = migrated("conf", "[a]\nexten => 1,2,JabberStatus(pbx,b@c,X) ; c\nexten => 1,3,Hangup\n")
    (change,) = outcome.changes
    assert (change.file, change.line, change.before) == ("extensions.conf", 2, "JabberStatus(pbx,b@c,X)")
    assert change.after == ("AGI(agi://127.0.0.1/jabber_status,pbx,b@c)", "Set(X=${JABBER_STATUS})")
    assert change.notes == ("the work is done at priority 2000, so that all numbers keep their meaning",)


@pytest.mark.parametrize(("extra", "fits"), [(-1, True), (0, True), (1, False)])
def test_a_line_that_asterisk_would_skip_is_not_made(extra, fits):
    frame = "exten => 1,1,AGI(agi://127.0.0.1/jabber_send,pbx,b@c,)"
    text = "ü" + "x" * (LINE_BYTES["conf"] - len(frame) - 2 + extra)
    outcome = migrated("conf", f"[a]\nexten => 1,1,JabberSend(pbx,b@c,{text})\n")
    assert bool(outcome.changes) is fits
    assert bool(outcome.remarks) is not fits


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exten => 1,1,JabberSend(pbx,b@c,x) ;-- c\n--;\n", "a comment begins or ends"),
        ("exten => 1,n,JabberStatus(pbx,b@c,X)\nexten => 1,5,NoOp\n", "no number that could be told"),
        ("exten => 1,1,ElseIf(${JABBER_STATUS(pbx,b@c)})\n", "ElseIf is reached by a jump"),
        ("exten => 1,1,Goto(+${JABBER_STATUS(pbx,b@c)})\nexten => 1,2,NoOp\n", "counts from its own priority"),
        ("exten => 1,1,JabberStatus(pbx,b@c,X)\nexten => 2,n,NoOp\nsame => 5,NoOp\n", "from the line before"),
        ("exten => 1,1,NoOp(JabberSend failed)\n", "not a call that migrate understands"),
        ("exten => JabberSend\n", "not a call that migrate understands"),
    ],
)
def test_what_a_human_must_look_at(text, reason):
    outcome = migrated("conf", f"[a]\n{text}")
    assert outcome.changes == []
    (remark,) = outcome.remarks
    assert reason in remark.text
    assert remark.line == 2


def two_files(one: str, other: str) -> list[Outcome]:
    return Dialplan([Document("one", one), Document("other", other)], Target()).migrate()


ONE = "[a]\nexten => s,1,Set(X=${JABBER_STATUS(pbx,b@c)})\nexten => s,n,NoOp\n"


@pytest.mark.parametrize(
    ("other", "is_detour"),
    [
        ("[b]\nexten => s,1,Goto(a,s,1)\n", False),
        ("[b]\nexten => s,1,Goto(a,s,2)\n", True),
        ("[b]\nexten => s,1,Goto(a,t,2)\n", False),
        ("[b]\nexten => s,1,Goto(s,2)\n", False),
        ("[b]\ninclude => a\nexten => t,1,Goto(s,2)\n", True),
        ("[b]\ninclude => c\n[c]\ninclude => a|9:00-17:00\n[d]\nexten => t,1,Goto(b,s,2)\n", True),
        ("[b](a)\nexten => t,1,Goto(s,2)\n", True),
        ("[b]\nexten => s,1,Goto(${C},s,2)\n", True),
        ("[b]\nexten => s,1,GotoIf($[1]?a,${E},2)\n", True),
        ("[a]\nexten => s,5,NoOp\n", True),
        ("[a]\nexten => t,5,NoOp\n", False),
        ("[general]\nexten => s,1,Goto(a,s,2)\n", False),
    ],
)
def test_jumps_of_other_files_count(other, is_detour):
    first, second = two_files(ONE, other)
    assert ("Goto(1000)" in first.after) is is_detour
    assert second.after == other


def test_a_pattern_and_what_it_may_stand_for():
    text = "[a]\nexten => _1X,1,Set(X=${JABBER_STATUS(pbx,b@c)})\nexten => _1X,n,NoOp\nexten => s,1,Goto(12,2)\n"
    assert "Goto(1000)" in migrated("conf", text).after
    assert "Goto(1000)" not in migrated("conf", text.replace("12,2", "22,2")).after


def test_two_lines_of_one_context_take_different_numbers():
    row = "exten => {},2,JabberStatus(pbx,b@c,X)\nexten => {},3,NoOp\n"
    text = f"[a]\nexten => 1,1,NoOp\n{row.format(1, 1)}[a]\nexten => 1,4,JabberStatus(pbx,b@c,X)\nexten => 1,5,NoOp\n"
    after = migrated("conf", text).after
    assert "exten => 1,2000,AGI" in after
    assert "exten => 1,4000,AGI" in after
