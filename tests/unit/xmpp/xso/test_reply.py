"""XEP-0461."""

from __future__ import annotations

import pytest

from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.model import Extras, Jid
from tests.unit.xmpp.parsing import OWN, incoming, message, written

BOB = Jid("bob", "x.org")


def test_a_reply_names_its_message():
    came = incoming("<body>1</body><reply xmlns='urn:xmpp:reply:0' to='pbx@x.org/agi' id='m7'/>")
    assert (came.body, came.reply_to) == ("1", "m7")


def test_a_message_that_belongs_to_an_earlier_one_of_ours():
    note = stanzas.chat("v2", BOB, "by Ann", "", wants_receipt=False, extras=Extras(replies_to="v1"), own=OWN)
    text = written(note)
    assert 'id="v1"' in text
    assert f'to="{OWN}"' in text
    assert incoming(text[text.index("<body") : text.rindex("</")]).reply_to == "v1"


def test_a_recording_is_its_address_and_nothing_else():
    """What makes clients play it in the conversation: the text equals the link (XEP-0066)."""
    url = "https://up.example.org/v/ab.ogg"
    sent = stanzas.chat("v1", BOB, url, "", wants_receipt=False, extras=Extras(link=url), own=OWN)
    came = message(f"<body>{url}</body><x xmlns='jabber:x:oob'><url>{url}</url></x>")
    assert (sent.body.any(), sent.xep0066_oob.url) == (came.body.any(), came.xep0066_oob.url) == (url, url)


def test_a_reply_to_what_is_no_jid_is_read_all_the_same():
    assert incoming("<body>1</body><reply xmlns='urn:xmpp:reply:0' to='@@' id='m7'/>").reply_to == "m7"


@pytest.mark.parametrize("element", ["", "<reply xmlns='urn:xmpp:reply:0' to='x'/>", "<reply xmlns='urn:x' id='m7'/>"])
def test_a_message_without_one(element):
    assert (incoming(f"<body>1</body>{element}").reply_to, incoming(f"<body>1</body>{element}").body) == ("", "1")
