"""What is read is what expat would read of it, and no more is a fault than must be."""

from __future__ import annotations

import xml.sax
from typing import Any

import aioxmpp.xml
import pytest
from aioxmpp.errors import StreamError, StreamErrorCondition

from agi_xmpp.xmpp.namespaces import read_with

XML = "http://www.w3.org/XML/1998/namespace"


class Notes(xml.sax.handler.ContentHandler):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def startElementNS(self, name: Any, qname: Any, attributes: Any) -> None:  # noqa: N802 - SAX
        self.told.append(("start", name, qname, dict(attributes)))

    def endElementNS(self, name: Any, qname: Any) -> None:  # noqa: N802 - SAX
        self.told.append(("end", name, qname))

    def characters(self, text: str) -> None:
        self.told.append(text)

    def startDocument(self) -> None:  # noqa: N802 - SAX
        self.told.append("document")


def read(document: str, *, by_expat: bool = False, pieces: int = 1) -> list[Any]:
    """Return what a handler is told, by the library's own parser or by ours."""
    notes, parser = Notes(), aioxmpp.xml.make_parser()
    if by_expat:
        parser.setContentHandler(notes)
    else:
        read_with(parser, notes)
    data = document.encode()
    for start in range(0, len(data), len(data) // pieces + 1):
        parser.feed(data[start : start + len(data) // pieces + 1])
    return notes.told


@pytest.mark.parametrize(
    "document",
    [
        "<a/>",
        "<a xmlns='urn:a' k='1'><b>text &amp; more</b><c xmlns='urn:c'/><d xmlns=''><e/></d><f/></a>",
        "<s:a xmlns:s='urn:s' xmlns='urn:d' s:k='1' k='2' xml:lang='de'><s:b/><b xmlns:s='urn:t' s:k='3'/><s:c/></s:a>",
        "<a xmlns:p='urn:1'><b xmlns:p='urn:2'><p:c xmlns:p='urn:3'/><p:d/></b><p:e/></a>",
        "<a k:x='1' xmlns:k='urn:late'/>",
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        "<message><body>\u00e4 \U0001f600</body></message></stream:stream>",
        "<\u00e4 \u00f6='\u00fc'/>",
    ],
)
def test_what_is_right_is_read_as_by_expat(document: str) -> None:
    expected = read(document, by_expat=True)
    assert read(document) == expected
    whole = [event for event in expected if not isinstance(event, str)]
    assert [event for event in read(document, pieces=7) if not isinstance(event, str)] == whole


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ("<r><x xmlns='a b'/></r>", ("a b", "x")),
        ("<r><x xmlns='a&#10;b'/></r>", ("a\nb", "x")),
        (f"<r><x xmlns='{XML}'/></r>", (XML, "x")),
        (f"<r><p:x xmlns:p='{XML}'/></r>", (XML, "x")),
        ("<r><xml:x/></r>", (XML, "x")),
    ],
)
def test_what_a_stranger_can_write_ends_nothing(document: str, name: tuple[str, str]) -> None:
    started = [event[1] for event in read(document + " ") if event[0] == "start"]
    assert started == [(None, "r"), name]


def test_the_same_of_attributes() -> None:
    told = read(f"<x xmlns:a='b c' a:k='1' xmlns:n='{XML}' n:space='2'/>")
    assert told[1] == ("start", (None, "x"), None, {("b c", "k"): "1", (XML, "space"): "2"})


@pytest.mark.parametrize("document", ["<p:x/>", "<x p:k='1'/>", "<x:/>", "<:x/>", "<a xmlns:p='u'><p:x:y/></a>"])
def test_a_prefix_that_nobody_declared_ends_the_stream(document: str) -> None:
    with pytest.raises(StreamError) as caught:
        read(document)
    assert caught.value.condition is StreamErrorCondition.BAD_NAMESPACE_PREFIX


@pytest.mark.parametrize("document", ["<a xmlns:p='u'><b xmlns:p=''><p:c/></b></a>", "<a><b xmlns:p='u'/><p:c/></a>"])
def test_a_prefix_is_no_longer_declared(document: str) -> None:
    with pytest.raises(StreamError):
        read(document)


@pytest.mark.parametrize("restricted", ["<!-- x -->", "<!DOCTYPE a>", "<?what now?>"])
def test_what_xmpp_forbids_stays_forbidden(restricted: str) -> None:
    class Handler(Notes):
        def processingInstruction(self, target: str, data: str) -> None:  # noqa: N802 - SAX
            raise StreamError(StreamErrorCondition.RESTRICTED_XML, f"{target} {data}")

    parser = aioxmpp.xml.make_parser()
    read_with(parser, Handler())
    with pytest.raises(StreamError) as caught:
        parser.feed(restricted + "<a>")
    assert caught.value.condition is StreamErrorCondition.RESTRICTED_XML


def test_a_hundred_thousand_levels_of_declarations() -> None:
    levels = 100_000
    document = "".join(f"<a xmlns='urn:{level}' xmlns:p{level % 50}='urn:x'>" for level in range(levels))
    assert len(read(document + "</a>" * levels)) == 2 * levels + 1
