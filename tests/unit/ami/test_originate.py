from __future__ import annotations

import pytest

from agi_xmpp.ami.originate import headers, shown_as


def test_headers():
    assert headers(
        "PJSIP/101", context="internal", exten="102", caller_id='"Me" <101>', ring_time=1.5, channel_id="ours-1"
    ) == {
        "Channel": "PJSIP/101",
        "Context": "internal",
        "Exten": "102",
        "Priority": "1",
        "Timeout": "1500",
        "CallerID": '"Me" <101>',
        "Async": "true",
        "ChannelId": "ours-1",
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Balcony", '"Balcony" <6000>'),
        ("Müller, Jörg & Söhne", '"Müller, Jörg & Söhne" <6000>'),
        ('a"b\\c<d>e', '"abcde" <6000>'),
        ("two\r\nlines\x00", '"twolines" <6000>'),
        ("", '"" <6000>'),
    ],
)
def test_what_a_phone_shows(name, shown):
    assert shown_as(name, "6000") == shown
