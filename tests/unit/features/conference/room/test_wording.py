from __future__ import annotations

import pytest

from agi_xmpp.features.conference.room import wording
from agi_xmpp.features.conference.room.wording import ENCRYPTED, for_chat, for_phones
from tests.unit.features.conference.fakes import stanza

QUOTED = "&gt; Juliet: where?\n"


def reply(start: object, end: object, what: str = "urn:xmpp:reply:0") -> str:
    return f"<fallback xmlns='urn:xmpp:fallback:0' for='{what}'><body start='{start}' end='{end}'/></fallback>"


@pytest.mark.parametrize(
    ("children", "text"),
    [
        ("<body>hello</body>", "hello"),
        ("<body>/me waves</body>", "/me waves"),
        ("<body>  </body>", ""),
        ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", ""),
        ("<body>helo</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/>", "helo (corrected)"),
        ("<replace xmlns='urn:xmpp:message-correct:0' id='1'/>", ""),
        ("<body>no OMEMO</body><encryption xmlns='urn:xmpp:eme:0' namespace='x'/>", ENCRYPTED),
        ("<encrypted xmlns='urn:xmpp:omemo:2'><header/><payload/></encrypted>", ENCRYPTED),
        ("<encrypted xmlns='eu.siacs.conversations.axolotl'><header/><payload/></encrypted>", ENCRYPTED),
        ("<encrypted xmlns='eu.siacs.conversations.axolotl'><header/></encrypted>", ""),
        ("<body>pgp</body><x xmlns='jabber:x:encrypted'>x</x>", ENCRYPTED),
        (f"<body>{QUOTED}here</body>{reply(0, 17)}", "here"),
        (f"<body>{QUOTED}here</body>{reply(0, 999)}", "> Juliet: where?\nhere"),
        (f"<body>{QUOTED}here</body>{reply(5, 3)}", "> Juliet: where?\nhere"),
        (f"<body>{QUOTED}here</body>{reply('x', 3)}", "> Juliet: where?\nhere"),
        (f"<body>{QUOTED}here</body>{reply('9' * 5000, 3)}", "> Juliet: where?\nhere"),
        (f"<body>{QUOTED}here</body>{reply(0, 17, 'urn:other')}", "> Juliet: where?\nhere"),
        (f"<body>{QUOTED}</body>{reply(0, 17)}", "> Juliet: where?"),
        ("<body>whole</body><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'/>", "whole"),
        ("<body>🎈🎈b</body>" + reply(0, 2), "b"),
    ],
)
def test_what_phones_read(children, text):
    assert for_phones(stanza(f"<message>{children}</message>")) == text


@pytest.mark.parametrize(
    ("came", "text"),
    [
        ("hi", "hi"),
        (" a\r\nb\rc\n", "a\nb\nc"),
        ("bell\x07 null\x00 tab\t. c1\x85\x9b.", "bell null tab\t. c1."),
        ("\ufffe\ud800ok\uffff", "ok"),
        ("\x00 ", ""),
        ("<b>&amp;</b> 🎈", "<b>&amp;</b> 🎈"),
    ],
)
def test_what_chat_reads_of_a_phones_text(came, text):
    assert for_chat(came) == text


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("hello", "<Romeo> hello"),
        ("", "<Romeo> "),
        ("one\ntwo\n\nthree", "<Romeo> one\ntwo\n\nthree"),
        ("a < b\nc (d)", "<Romeo> a < b\nc (d)"),
        *((f"hi{end}<Boss> go", "<Romeo> hi\n<Romeo> <Boss> go") for end in ("\n", "\r", "\r\n", "\v", "\u2028")),
        *((f"hi\n{sign} Boss", f"<Romeo> hi\n<Romeo> {sign} Boss") for sign in "<[(＜［（"),
        ("hi\n \u200b\u202e<Boss> go", "<Romeo> hi\n<Romeo>  \u200b\u202e<Boss> go"),
    ],
)
def test_no_line_of_a_text_looks_like_somebody_else_s(text, marked):
    assert wording.marked("<Romeo>", text) == marked


def test_nobody_speaks_for_others_behind_a_line_break():
    assert wording.unproven("Mallory", "hi\n<Alice> go") == "<Mallory> hi\n<Mallory> <Alice> go"
