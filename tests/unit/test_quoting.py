"""Values for dialplans: what each type takes and refuses, and how each place writes it.

That Asterisk reads back what was written is shown by tests/e2e/test_dialplan.py.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp import quoting
from agi_xmpp.quoting import PLACES, TYPES, Quoted, Value, check

GOOD = {
    "jid": ["bob@example.org", 'bob@example.org/Büro (oben), "x"', "b@[::1]/1", "$x{}@example.org", "j@h/" + "x" * 496],
    "bare-jid": ["bob@example.org", "ops@conference.example.org"],
    "account": ["pbx", "asterisk-xmpp", "a.b_c@d", "x" * 64],
    "extension": ["200", "s", "bob", "*98", "#1", "+4930", "_2XX", "_[1-35]ZN", "_xzn", "1" * 79],
    "pattern": ["200", "_2XX", "_0Z.", "_X."],
    "context": ["from-phones", "_x", "A1", "x" * 60],
    "dialstring": [
        *("PJSIP/bob", "PJSIP/ann&PJSIP/bob", "PJSIP/${EXTEN}@trunk", "Local/1@phones/n"),
        *("PJSIP/trunk/sip:123@host:5060", "DAHDI/g1/${EXTEN}"),
    ],
    "seconds": ["1", "30", "86400"],
    "text": ["a", "${CALLERID(name)} is calling ${EXTEN}", '50% "off"; see (a) [b] {c} $5 \\', "x" * 1000, "é😀"],
    "link": ["https://example.org", "http://h:8080/?n=${CALLERID(num)}&m=(1)", "https://[::1]/x#y"],
    "label": ["To my cell", "${EXTEN} is not replaced", "x" * 200],
    "key": ["1", "cell", "a_B", "x" * 20],
    "agi-url": ["agi://127.0.0.1", "agi://pbx.example.org:4573", "agi://[::1]:65535", "hagi://example.org"],
    "mailbox": ["200@default", "bob_1@my-box"],
}
BAD = {
    "jid": ["bob", "bob@", "@example.org", "b o@example.org", "a@b@c", "bob@exa mple", "bob@x/", "j@h/" + "x" * 497],
    "bare-jid": ["bob@example.org/home", "bob"],
    "account": ["my account", "a,b", "-x", "x" * 65, "a)"],
    "extension": ["_2XX.", "_X!", "_.", "_", "h", "i", "t", "20 0", "200,1", "bob/x", "_2X]", "1" * 80, "_[9-]"],
    "pattern": ["_2XX!", "_.", "h", "1.", "_1.2"],
    "context": ["from phones", "a]", "general", "Globals", "1x", "x" * 61, "-a"],
    "dialstring": [
        *("bob", "PJSIP/", "PJSIP/bob,30", "PJSIP/${CALLERID(num)}", "PJSIP/bob&", "PJSIP/a b", "&PJSIP/a"),
        *("PJSIP/bob)", "PJSIP/${EXTEN:1}", "PJSIP/a;x"),
    ],
    "seconds": ["0", "-1", "1.5", "86401", "ten", "030", "9999999999"],
    "text": ["x" * 1001, "${SHELL(ls)}", "$[1+1]", "${CALLERID(${X})}", "${X:1}", "${", "${ENV(PATH)}"],
    "link": ["example.org", "ftp://example.org", "https://", "https://a b", "javascript:1", "https://x/${SHELL(ls)}"],
    "label": ["x" * 201],
    "key": ["a b", "a-b", "a=b", "x" * 21, "é"],
    "agi-url": ["127.0.0.1", "agi://", "agi://h/x", "agi://h:65536", "agi://h:1:2", "http://h", "agi://h?x"],
    "mailbox": ["200", "200@", "200@a,u", "2 0@default"],
}


@pytest.mark.parametrize(("type_", "text"), [(name, text) for name, texts in GOOD.items() for text in texts])
def test_right_values_are_taken_as_they_are(type_, text):
    assert check(type_, text) == Value(type_, text)


@pytest.mark.parametrize(("type_", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_wrong_values_are_refused_with_the_value_and_a_reason(type_, text):
    with pytest.raises(ValueError) as caught:
        check(type_, text)
    assert repr(text)[:20] in str(caught.value)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("text", ["", " a", "a ", "a\nb", "a\rb", "a\0b", "a\u2028b", "a\x85b", "a\ud800b", "a\x1bb"])
def test_nothing_empty_invisible_or_with_blanks_round_it_is_taken(type_, text):
    with pytest.raises(ValueError):
        check(type_, text)


def test_every_type_has_its_cases():
    assert GOOD.keys() == BAD.keys() == TYPES.keys()


@pytest.mark.parametrize(
    ("place", "type_", "raw", "written"),
    [
        ("argument", "jid", 'b@x/a,"(b;\\', 'b@x/a\\,\\"\\(b\\;\\\\'),
        ("argument", "label", "${X} $[1]", "$\\{X\\} $\\[1\\]"),
        ("argument", "agi-url", "agi://[::1]:1", "agi://\\[::1\\]:1"),
        ("text", "text", 'a, "b" (c) [d]', 'a, "b" (c) [d]'),
        ("text", "text", "x :( ;$", "x :${URIDECODE(%28)} ${URIDECODE(%3B%24)}"),
        ("text", "text", "(]", "${URIDECODE(%28%5D)}"),
        ("text", "text", "a\\(b)", "a${URIDECODE(%5C)}(b)"),
        ("text", "text", "${CALLERID(name)}: ${EXTEN}", "${CALLERID(name)}: ${EXTEN}"),
        ("text", "text", "$${X}", "${URIDECODE(%24)}${X}"),
        ("text", "link", "https://h/?a=${X};b", "https://h/?a=${URIENCODE(${X})}${URIDECODE(%3B)}b"),
        ("extension", "pattern", "_0Z.", "_0Z."),
        ("dialstring", "dialstring", "PJSIP/${EXTEN}", "PJSIP/${EXTEN}"),
        ("context", "context", "from-x", "from-x"),
        ("key", "key", "cell", "cell"),
    ],
)
def test_places(place, type_, raw, written):
    result = PLACES[place](check(type_, raw))
    assert result == written
    assert type(result) is Quoted


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("type_", TYPES)
def test_a_value_stands_only_where_its_type_belongs(place, type_):
    value = Value(type_, GOOD[type_][0])
    belongs = {
        "extension": {"extension", "pattern"},
        "context": {"context"},
        "key": {"key"},
        "dialstring": {"dialstring"},
        "argument": {"account", "agi-url", "bare-jid", "jid", "label", "mailbox", "seconds"},
        "text": {"link", "text"},
    }
    if type_ in belongs[place]:
        assert PLACES[place](value)
    else:
        with pytest.raises(TypeError, match=f"type {type_} cannot stand"):
            PLACES[place](value)


def test_a_value_has_no_text_form_without_a_place():
    with pytest.raises(TypeError, match="without a place"):
        str(check("jid", "bob@example.org"))


def _accepted(type_: str, raw: str) -> Value | None:
    try:
        return check(type_, raw)
    except ValueError:
        return None


SPECIAL = st.text(st.sampled_from('"\\,;()[]{}$%&|=: aX') | st.characters(codec="utf-8"), min_size=1, max_size=30)


@given(SPECIAL)
def test_in_a_text_only_what_was_asked_for_is_expanded(raw):
    if value := _accepted("text", raw):
        static = re.sub(r"\$\{URIDECODE\([%0-9A-F]+\)\}", "", quoting.text(value))
        for expansion in re.findall(r"\$\{[^{}]+\}", raw):
            static = static.replace(expansion, "", 1)
        assert not re.search(r"[$\\;\n]", static)
        assert all(static.count(pair[0]) == static.count(pair[1]) for pair in ("()", "[]", "{}"))


@given(SPECIAL)
def test_an_argument_has_each_special_character_behind_a_backslash(raw):
    if value := _accepted("label", raw):
        written = quoting.argument(value)
        assert re.sub(r"\\(.)", r"\1", written) == raw
        assert not re.search(r'[",;()\[\]{}\\]', re.sub(r"\\.", "", written))
