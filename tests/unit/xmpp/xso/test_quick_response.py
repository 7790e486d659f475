"""XEP-0439."""

from __future__ import annotations

import pytest

from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.model import Button, Extras, Jid
from tests.unit.xmpp.parsing import OWN, incoming, message, written

NS = "xmlns='urn:tmp'".replace("urn:tmp", "urn:xmpp:tmp:quick-response")


def test_a_button_that_was_pressed():
    came = incoming(f"<action-selected {NS} id='answer/k/1'/>")
    assert (came.body, came.action) == ("", "answer/k/1")


@pytest.mark.parametrize("element", ["", f"<action-selected {NS}/>"])
def test_a_message_without_one(element):
    assert incoming(f"<body>1</body>{element}").action == ""


def test_the_responses_can_be_read_as_they_are_written():
    buttons = (Button("1", "Cell", "n/1"), Button("2", "a <b> & 'c'", "n/2"))
    stanza = stanzas.chat("m", Jid("bob", "x.org"), "q", "", wants_receipt=False, extras=Extras(buttons), own=OWN)
    inner = written(stanza).partition(">")[2].removesuffix("</message>")
    responses = message(inner).xep0439_responses
    assert [(response.value, response.label) for response in responses] == [("1", "Cell"), ("2", "a <b> & 'c'")]
