"""XEP-0461."""

from __future__ import annotations

import pytest

from tests.unit.xmpp.parsing import incoming


def test_a_reply_names_its_message():
    came = incoming("<body>1</body><reply xmlns='urn:xmpp:reply:0' to='pbx@x.org/agi' id='m7'/>")
    assert (came.body, came.reply_to) == ("1", "m7")


@pytest.mark.parametrize("element", ["", "<reply xmlns='urn:xmpp:reply:0' to='x'/>", "<reply xmlns='urn:x' id='m7'/>"])
def test_a_message_without_one(element):
    assert (incoming(f"<body>1</body>{element}").reply_to, incoming(f"<body>1</body>{element}").body) == ("", "1")
