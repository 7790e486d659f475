"""XEP-0444."""

from __future__ import annotations

from tests.unit.xmpp.parsing import incoming

REACTIONS = "xmlns='urn:xmpp:reactions:0'"


def test_emoji_on_a_message():
    came = incoming(f"<reactions {REACTIONS} id='m7'><reaction>👍</reaction><reaction>1️⃣</reaction></reactions>")
    assert (came.body, came.reacts_to, came.reactions) == ("", "m7", ("👍", "1️⃣"))


def test_the_last_one_is_taken_back():
    came = incoming(f"<reactions {REACTIONS} id='m7'/>")
    assert (came.reacts_to, came.reactions) == ("m7", ())


def test_a_message_without_any():
    came = incoming(f"<body>1</body><reactions {REACTIONS}><reaction/></reactions>")
    assert (came.body, came.reacts_to, came.reactions) == ("1", "", ("",))
