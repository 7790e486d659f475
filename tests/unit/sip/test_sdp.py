"""Sessions without voice."""

from __future__ import annotations

import pytest

from agi_xmpp.sip.sdp import Description
from agi_xmpp.sip.wire import Place

HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=x\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


@pytest.fixture
def ours() -> Description:
    return Description(Place("127.0.0.1", 5070), 7)


def answer(ours: Description, media: str) -> str | None:
    body = ours.answer((HEAD + media).encode())
    return None if body is None else body.decode().partition("t=0 0\r\n")[2]


def test_our_offer(ours):
    lines = ours.offer().decode().split("\r\n")
    assert lines[:6] == [
        "v=0",
        "o=- 7 1 IN IP4 127.0.0.1",
        "s=agi-xmpp",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        "m=audio 9 RTP/AVP 0 8 9 3 107",
    ]
    assert lines[-2:] == ["a=inactive", ""]


def test_the_version_tells_of_changes_only(ours):
    assert ours.offer() == ours.offer()
    changed = ours.answer((HEAD + "m=audio 4000 RTP/AVP 8\r\n").encode())
    assert changed is not None
    assert b"o=- 7 2 " in changed


@pytest.mark.parametrize(
    ("media", "answered"),
    [
        ("m=audio 4000 RTP/AVP 8 0\r\na=sendrecv\r\n", "m=audio 9 RTP/AVP 8\r\na=inactive\r\n"),
        (
            "m=audio 4000 RTP/AVPF 107\r\na=rtpmap:107 opus/48000/2\r\n",
            "m=audio 9 RTP/AVPF 107\r\na=rtpmap:107 opus/48000/2\r\na=inactive\r\n",
        ),
        (
            "m=video 5000 RTP/AVP 99\r\nm=audio 4000 RTP/AVP 0\r\nm=audio 4002 RTP/AVP 0\r\n",
            "m=video 0 RTP/AVP 99\r\nm=audio 9 RTP/AVP 0\r\na=inactive\r\nm=audio 0 RTP/AVP 0\r\n",
        ),
        ("m=audio 4000/2 RTP/AVP 0\n", "m=audio 9 RTP/AVP 0\r\na=inactive\r\n"),
        ("m=audio 0 RTP/AVP 0\r\n", None),
        ("m=audio 4000 RTP/SAVP 0\r\n", None),
        ("m=audio x RTP/AVP 0\r\n", None),
        ("m=image 4000 udptl t38\r\n", None),
        ("", None),
    ],
)
def test_answers(ours, media, answered):
    assert answer(ours, media) == answered


def test_an_endless_offer_has_an_end(ours):
    found = answer(ours, "m=audio 4000 RTP/AVP 0\r\n" * 10_000)
    assert found is not None
    assert found.count("m=") == 20


def test_ipv6():
    assert b"c=IN IP6 ::1\r\n" in Description(Place("::1", 5070), 7).offer()
