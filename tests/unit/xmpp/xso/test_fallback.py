"""XEP-0428."""

from __future__ import annotations

import time

import pytest

from tests.unit.xmpp.parsing import incoming

REPLY, REACTIONS = "urn:xmpp:reply:0", "urn:xmpp:reactions:0"


def fallback(protocol: str, *ranges: str) -> str:
    return f"<fallback xmlns='urn:xmpp:fallback:0' for='{protocol}'>{''.join(ranges)}</fallback>"


@pytest.mark.parametrize(
    ("body", "elements", "left"),
    [
        ("> hi\n1", fallback(REPLY, "<body start='0' end='5'/>"), "1"),
        ("> 😀\n1", fallback(REPLY, "<body start='0' end='4'/>"), "1"),  # code points, not bytes
        ("1 (reply)", fallback(REPLY, "<body start='1' end='9'/>"), "1"),
        ("a1b", fallback(REPLY, "<body start='0' end='1'/>", "<body start='2' end='3'/>"), "1"),
        ("a1b", fallback(REPLY, "<body start='0' end='1'/>") + fallback(REACTIONS, "<body start='2'/>"), "1"),
        (
            "ab1c",
            fallback(REPLY, "<body start='3' end='4'/>", "<body start='0' end='2'/><body start='1' end='2'/>"),
            "1",
        ),
        ("👍", fallback(REACTIONS, "<body/>"), ""),
        ("👍", fallback(REACTIONS), ""),
        ("👍", fallback(REACTIONS, "<subject/>"), ""),
        ("kept", fallback("urn:xmpp:other:0", "<body/>"), "kept"),
        ("kept", "<fallback xmlns='urn:xmpp:fallback:0'/>", "kept"),
        ("kept", fallback(REPLY, "<body start='3' end='99'/>"), "kept"),
        ("kept", fallback(REPLY, "<body start='-3' end='2'/>"), "kept"),
        ("kept", fallback(REPLY, "<body start='3' end='1'/>"), "kept"),
        ("kept", fallback(REPLY, "<body start='x' end='1'/>"), "kept"),
        ("", fallback(REPLY, "<body/>"), ""),
    ],
)
def test_what_is_there_for_other_clients_is_taken_away(body, elements, left):
    assert incoming(f"<body>{body}</body>{elements}").body == left


def test_a_stanza_full_of_ranges_holds_nobody_up():
    many = "<body start='0' end='99999'/>" * 3000  # with the body: as much as servers let through
    began = time.perf_counter()
    assert incoming(f"<body>{'x' * 99999}1</body>{fallback(REPLY, many)}").body == "1"
    assert time.perf_counter() - began < 5  # 12 s, when each range was taken away for itself
