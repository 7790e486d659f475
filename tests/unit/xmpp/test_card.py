"""A menu as it goes out: one stanza with every way to answer, the same bytes for the same menu."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from agi_xmpp.features.desk import Desk
from agi_xmpp.features.menu import parse
from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.model import Extras, Jid
from tests.unit.xmpp.parsing import incoming, written

ROMEO, PBX = Jid("romeo", "example.org"), Jid("pbx", "example.org", "phone")
MENU = parse(("Call from Ann (+15550123)", " <where> to?", "1=Forward to cell", "2=Voicemail & note", "3=Reject"))


def test_the_same_menu_is_the_same_stanza():
    keys = itertools.repeat("k3f9")
    desk = Desk(lambda: 0.0, lambda: next(keys))
    card = desk.open(ROMEO, MENU, "1699.12")
    question = stanzas.chat(
        "m7", ROMEO, desk.text(card), "1699.12", wants_receipt=False, extras=Extras(buttons=card.buttons), own=PBX
    )
    ending = f"{MENU.question}\nYou chose 1: Forward to cell"
    correction = stanzas.chat(
        "m8", ROMEO, ending, "1699.12", wants_receipt=False, extras=Extras(replaces="m7"), own=PBX
    )
    expected = (Path(__file__).parent / "card.xml").read_text(encoding="utf-8")
    assert f"{written(question)}\n{written(correction)}\n" == expected


@pytest.mark.parametrize(
    ("marker", "displayed"), [("displayed", "m7"), ("received", ""), ("acknowledged", ""), ("markable", "")]
)
def test_a_marker_says_that_it_was_seen(marker, displayed):
    assert incoming(f"<{marker} xmlns='urn:xmpp:chat-markers:0' id='m7'/>").displayed == displayed


def test_nothing_more_than_the_text_if_nothing_is_asked_for():
    plain = written(stanzas.chat("m", ROMEO, "hi", "", wants_receipt=False, own=PBX))
    assert plain == (
        '<message xmlns="jabber:client" id="m" to="romeo@example.org" type="chat"><body>hi</body></message>'
    )
