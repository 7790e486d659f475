"""SIP messages to bytes and back; with torture messages after RFC 4475."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sipmessage import Request, Response

from agi_xmpp.sip.wire import (
    MAX_ADDRESS,
    MAX_HEADERS,
    MAX_HEADERS_BYTES,
    BadMessage,
    Party,
    Place,
    addresses,
    branch,
    encode,
    parse,
    party,
    response,
    tokens,
    via,
)

LINES = {
    "": "MESSAGE sip:gw@127.0.0.1:5070 SIP/2.0",
    "Via": "SIP/2.0/UDP 127.0.0.1:5060;rport;branch=z9hG4bKx",
    "From": '"Alice A" <sip:6000@127.0.0.1>;tag=far',
    "To": "<sip:gw@127.0.0.1>;tag=near",
    "Call-ID": "c",
    "CSeq": "7 MESSAGE",
    "Content-Length": "2",
}


def datagram(body: Any = b"hi", **changes: Any) -> Any:
    lines: dict[str, Any] = {**LINES, **{name.replace("_", "-"): value for name, value in changes.items()}}
    if "first" in lines:
        lines[""] = lines.pop("first")
    head = [lines.pop(""), *(f"{name}: {value}" for name, value in lines.items() if value is not None)]
    return "\r\n".join([*head, "", ""]).encode() + body


def test_a_message():
    message = parse(datagram())
    assert isinstance(message, Request)
    assert (message.method, message.body, branch(message)) == ("MESSAGE", b"hi", "z9hG4bKx")
    assert party(message, "From") == Party("Alice A", "far")


@pytest.mark.parametrize(
    ("value", "name", "tag"),
    [
        ("<sip:a@h>;tag=1", "", "1"),
        ('"J \\"x\\\\ <é, \\"" <sip:a@h>;tag=1', 'J "x\\ <é, "', "1"),
        ('"A ; tag=2" <sip:a@h>;x=y;tag=1', "A ; tag=2", "1"),
        ("Alice A <sip:a@h>;tag=1", "Alice A", "1"),
        ("sip:a@h;tag=1", "", "1"),
        ("<sip:a@pbx1>;tag=1", "", "1"),  # a host that the library does not read
        ('"Alice" <sip:a@h;x=1?y=2>;tag=1', "", "1"),
        ("<sip:a@h>;self=1;tag=1", "", ""),
        ("<tel:+1234>;tag=1", "", "1"),
        ("<sip:a@h>", "", ""),
        ("", "", ""),
        ('"' + "x" * MAX_ADDRESS + '" <sip:a@h>;tag=1', "", "1"),
        ('"<' * 20_000 + ">;tag=1", "", "1"),
        ("<>" * 20_000, "", ""),
    ],
)
def test_who_it_is_from(value, name, tag):
    message = Request("MESSAGE", Place("h", 1).uri())
    message.headers.set("From", value)
    assert party(message, "From") == Party(name, tag)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"From": '"Al\r\n ice"\r\n\t<sip:a@h>;tag=far'}, "Al ice"),  # folded
        ({"From": None, "f": '"Al" <sip:a@h>;tag=far'}, "Al"),  # short form
        ({"From": None, "FROM ": '"Al" <sip:a@h>;tag=far'}, "Al"),  # blank before the colon
        ({"X-Odd": "\x00\x7f:::"}, "Alice A"),
        ({"Content-Length": None, "l": "2"}, "Alice A"),
    ],
)
def test_odd_forms_are_read(changes, name):
    message = parse(datagram(**changes))
    assert party(message, "From").name == name
    assert message.body == b"hi"


def test_a_name_that_is_no_utf8_is_read_nevertheless():
    message = parse(datagram().replace(b"Alice", "Älice".encode("latin-1")))
    assert party(message, "From").tag == "far"
    assert isinstance(message, Request)
    encode(response(message, 200))


def test_a_line_that_is_no_header_is_skipped():
    assert parse(datagram(X="y\r\nnonsense")).body == b"hi"


def test_what_follows_the_body_is_no_part_of_it():
    assert parse(datagram(b"hi and more")).body == b"hi"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",  # keep-alive
        b"\x00\xff" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        datagram(first="MESSAGE sip:gw@127.0.0.1 SIP/3.0"),
        datagram(first="MESSAGE http://x SIP/2.0"),
        datagram(first="SIP/2.0 abc OK"),
        datagram(first="SIP/2.0 42 OK"),
        datagram(first="SIP/2.0 700 OK"),
        datagram(b"h"),  # cut
        datagram(Content_Length="-1"),
        datagram(Content_Length="two"),
        datagram(Content_Length="9" * 5000),
        datagram(CSeq="7 INVITE"),
        datagram(CSeq="x MESSAGE"),
        datagram(CSeq=f"{2**32} MESSAGE"),
        datagram(Via="SIP/2.0/UDP"),
        datagram(Via="SIP/2.0/UDP 127.0.0.1;branch=" + "x" * MAX_ADDRESS),
        datagram(X="y" * MAX_HEADERS_BYTES),
        datagram(**{f"X{number}": "y" for number in range(MAX_HEADERS)}),
        *(datagram(b"hi", **{name: None}) for name in ("Via", "From", "To", "Call-ID", "CSeq")),
    ],
)
def test_what_deserves_no_answer(data):
    with pytest.raises(BadMessage):
        parse(data)


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 60))
def test_whatever_comes_it_is_a_message_or_none(junk, place, length):
    good = datagram()
    try:
        message = parse(good[:place] + junk + good[place + length :])
    except BadMessage:
        return
    party(message, "From")
    addresses(message, "Contact")
    tokens(message, "Require")
    if isinstance(message, Request):
        encode(response(message, 200, tag="t"))


@pytest.mark.parametrize("evil", ["a\r\nX: y", "a\nX", "a\0"])
def test_nothing_with_a_line_break_is_sent(evil):
    request = parse(datagram())
    request.headers.set("Subject", evil)
    with pytest.raises(ValueError, match="line break"):
        encode(request)
    with pytest.raises(ValueError, match="line break"):
        encode(Response(200, evil))
    with pytest.raises(ValueError, match="line break"):
        encode(Request(evil, Place("h", 1).uri()))


def test_an_answer():
    request = parse(datagram(To="<sip:gw@127.0.0.1>", Record_Route="<sip:proxy@h;lr>"))
    assert isinstance(request, Request)
    answer = parse(encode(response(request, 200, tag="mine", headers=[("Allow", "BYE")])))
    assert isinstance(answer, Response)
    assert answer.headers["Via"] == LINES["Via"]
    assert answer.headers["Record-Route"] == "<sip:proxy@h;lr>"
    assert party(answer, "To").tag == "mine"
    assert answer.headers["Allow"] == "BYE"
    assert party(response(request, 481, tag="mine"), "From").tag == "far"
    assert response(request, 481).headers.get("Record-Route") is None


def test_a_tag_is_added_to_a_stranger_only():
    request = parse(datagram())
    assert isinstance(request, Request)
    assert response(request, 200, tag="mine").headers["To"] == LINES["To"]


@pytest.mark.parametrize(
    ("contact", "hosts"),
    [
        ("<sip:127.0.0.1:5060>", ["127.0.0.1"]),
        ("<sip:a@h>, <sip:b@[::1]>", ["h", "[::1]"]),
        ("<sip:a@h>, nonsense", []),
        ("<sip:a@h>, " * 1000, []),
    ],
)
def test_addresses(contact, hosts):
    assert [address.uri.host for address in addresses(parse(datagram(Contact=contact)), "Contact")] == hosts


def test_words():
    assert tokens(parse(datagram(Require="Timer,  100rel,,")), "Require") == ["timer", "100rel"]
    assert tokens(parse(datagram()), "Require") == []


@pytest.mark.parametrize(
    ("place", "text"), [(Place("127.0.0.1", 5060), "127.0.0.1:5060"), (Place("::1", 5060), "[::1]:5060")]
)
def test_places(place, text):
    assert str(place) == text
    assert str(place.uri("gw")) == f"sip:gw@{text}"
    assert via(place, "b") == f"SIP/2.0/UDP {text};rport;branch=b"
