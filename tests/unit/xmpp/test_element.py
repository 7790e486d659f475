"""Stanzas as they stand: what is read comes out again as the same tree, whatever strangers put in."""

from __future__ import annotations

import xml.etree.ElementTree as ET
import xml.sax
import xml.sax.handler
from typing import Any
from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.xmpp.element import DEPTH_LIMIT, Builder, renamed, serialise

HEADER = b"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>"
XML = "http://www.w3.org/XML/1998/namespace"


class Reader(xml.sax.handler.ContentHandler):
    """Lets a builder read the stanzas of a component's stream."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.builders: list[Builder] = []

    def startElementNS(self, name: Any, _qname: Any, attributes: Any) -> None:  # noqa: N802 - SAX
        self.depth += 1
        if self.depth == 2:
            self.builders.append(Builder())
        if self.depth > 1:
            self.builders[-1].start(name, attributes.items())

    def characters(self, text: str) -> None:
        if self.depth > 1:
            self.builders[-1].text(text)

    def endElementNS(self, name: Any, _qname: Any) -> None:  # noqa: N802 - SAX
        self.depth -= 1
        if self.depth:
            assert self.builders[-1].end(name) is (self.depth == 1)


def builders(data: bytes) -> list[Builder]:
    reader = Reader()
    parser = xml.sax.make_parser()
    parser.setFeature(xml.sax.handler.feature_namespaces, True)
    parser.setContentHandler(reader)
    parser.feed(HEADER + data)  # type: ignore[attr-defined]
    return reader.builders


def read(data: bytes) -> ET.Element:
    """Return the one stanza that stands in a component's stream."""
    (builder,) = builders(data)
    assert builder.stanza is not None
    return builder.stanza


def same(one: ET.Element, other: ET.Element) -> bool:
    pairs = [(one, other)]
    while pairs:
        left, right = pairs.pop()
        if (left.tag, left.attrib, left.text or "", len(left)) != (
            right.tag,
            right.attrib,
            right.text or "",
            len(right),
        ):
            return False
        if any((a.tail or "") != (b.tail or "") for a, b in zip(left, right, strict=True)):
            return False
        pairs += zip(left, right, strict=True)
    return True


def test_a_stanza_s_own_namespace_is_a_client_s() -> None:
    stanza = read(b"<message to='a@b'><body>x</body></message>")
    assert stanza.tag == "{jabber:client}message"
    assert stanza[0].tag == "{jabber:client}body"
    assert renamed(("urn:x", "a")) == ("urn:x", "a")


def test_what_is_in_it_is_all_there() -> None:
    stanza = read(
        b"<message xml:lang='de' type='groupchat' id='1'>\n<body xml:lang='fr'>a&amp;b&#13;<![CDATA[<c>]]></body>"
        b"<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>"
        b"one <b>two</b> three</body></html><p:x xmlns:p='urn:p' p:k='1' k='2'/><plain xmlns=''/></message>"
    )
    assert stanza.attrib == {f"{{{XML}}}lang": "de", "type": "groupchat", "id": "1"}
    assert stanza.text == "\n"
    body, html, prefixed, plain = stanza
    assert (body.text, body.attrib) == ("a&b\r<c>", {f"{{{XML}}}lang": "fr"})
    bold = html[0][0]
    assert (html[0].text, bold.tag, bold.tail) == ("one ", "{http://www.w3.org/1999/xhtml}b", " three")
    assert prefixed.attrib == {"{urn:p}k": "1", "k": "2"}
    assert plain.tag == "plain"


def test_how_it_is_written() -> None:
    """Byte for byte: a parser would forgive prefixes, and libstrophe's clients don't."""
    stanza = ET.fromstring(
        '<message xmlns="jabber:client" to="a&quot;b" xml:lang="de"><body>1 &lt; 2 &amp; ]]&gt;</body>'
        '<x xmlns="urn:o" xmlns:p="urn:p" p:k="1" p:l="2" k="3"><y/>between<forwarded xmlns="urn:xmpp:forward:0">'
        '<message xmlns="jabber:client"><body>inner</body></message></forwarded></x>'
        '<n xmlns=""/></message>'
    )
    assert serialise(stanza).decode() == (
        '<message to="a&quot;b" xml:lang="de"><body>1 &lt; 2 &amp; ]]&gt;</body>'
        '<x xmlns="urn:o" xmlns:a1="urn:p" a1:k="1" a1:l="2" k="3"><y/>between<forwarded xmlns="urn:xmpp:forward:0">'
        '<message xmlns="jabber:client"><body>inner</body></message></forwarded></x>'
        '<n xmlns=""/></message>'
    )


def test_what_stands_behind_a_stanza_is_not_its_own() -> None:
    stanza = ET.fromstring("<a xmlns='jabber:client'><presence/>later<presence/></a>")[0]
    assert serialise(stanza) == b"<presence/>"


def test_white_space_of_attributes_and_line_ends_arrive() -> None:
    stanza = ET.Element("{jabber:client}message", {"k": "a\t\r\nb  c"})
    stanza.text = "a\r\nb\rc\n\t"
    assert same(read(serialise(stanza)), stanza)


TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r<>&\"']"),
    max_size=20,
)
NAMESPACES = st.sampled_from(["", "jabber:client", "urn:a", "urn:b?&'=#", "http://etherx.jabber.org/streams"])
LOCAL = st.from_regex(r"[A-Za-z_\u00c0-\u00d6\u4e00-\u9fa5][-.A-Za-z0-9_\u00b7]{0,8}", fullmatch=True)


@st.composite
def attribute_names(draw: st.DrawFn) -> str:
    namespace, name = draw(NAMESPACES), draw(LOCAL)
    return f"{{{namespace}}}{name}" if namespace else name


@st.composite
def stanzas(draw: st.DrawFn) -> ET.Element:
    kind = draw(st.sampled_from(["message", "presence", "iq"]))
    stanza = ET.Element(f"{{jabber:client}}{kind}", draw(_attributes))
    stanza.text = draw(TEXT)
    places = [stanza]
    for _ in range(draw(st.integers(0, 12))):
        child = ET.SubElement(draw(st.sampled_from(places)), draw(attribute_names()), draw(_attributes))
        child.text, child.tail = draw(TEXT), draw(TEXT)
        places.append(child)
    return stanza


_attributes = st.dictionaries(
    attribute_names().filter(lambda name: name != "xmlns") | st.just(f"{{{XML}}}lang"), TEXT, max_size=4
)


@given(stanzas())
def test_what_is_written_is_read_as_the_same(stanza: ET.Element) -> None:
    assert same(read(serialise(stanza)), stanza)


@given(stanzas())
def test_no_element_has_a_prefix_of_ours(stanza: ET.Element) -> None:
    tags: list[str] = []
    parser = expat.ParserCreate()  # without namespaces: names as they stand
    parser.StartElementHandler = lambda name, _attributes: tags.append(name)
    parser.Parse(HEADER + serialise(stanza))
    assert all(tag.startswith("xml:") or ":" not in tag for tag in tags[1:])


@pytest.mark.parametrize("bad", ["\0", "\x1f", "\x0b", "\ufffe", "\uffff", "\ud800"])
@pytest.mark.parametrize("place", ["text", "tail", "attribute"])
def test_a_character_that_xml_cannot_carry(bad: str, place: str) -> None:
    stanza = ET.Element("{jabber:client}message")
    child = ET.SubElement(stanza, "x")
    if place == "text":
        child.text = f"a{bad}"
    elif place == "tail":
        child.tail = bad
    elif place == "attribute":
        child.set("k", bad)
    with pytest.raises(ValueError, match=f"U\\+{ord(bad):04X}, which XMPP cannot carry"):
        serialise(stanza)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a:b",
        "1a",
        "-a",
        "a/><evil",
        "{urn:x}",
        "{urn:x}a><b",
        "x}a",
        "{x",
        "{}a",
        "a\n",
        "{urn:x}a b",
        "é\ud800",
    ],
)
def test_a_name_that_is_none(name: str) -> None:
    stanza = ET.Element("{jabber:client}message")
    ET.SubElement(stanza, name)
    with pytest.raises(ValueError, match="a name that cannot be sent"):
        serialise(stanza)
    with pytest.raises(ValueError, match="a name that cannot be sent"):
        serialise(ET.Element("{jabber:client}message", {name: "x"}))


#: Each ends the connection of somebody: of who reads with expat, or behind a server that writes it with another prefix.
HARMFUL = [
    "{a b}x",
    "{a}b}x",
    "{a\nb}x",
    "{a|b}x",
    "{ä}x",
    "{http://www.w3.org/2000/xmlns/}x",
    f"{{{XML}}}x",
    f"{{{XML}}}space",
]


@pytest.mark.parametrize("name", HARMFUL)
@pytest.mark.parametrize("of", ["element", "attribute"])
def test_a_name_that_harms_is_neither_taken_nor_sent(name: str, of: str) -> None:
    namespace, _, local = name[1:].rpartition("}")
    builder = Builder()
    builder.start(("jabber:component:accept", "message"), [])
    builder.start(*((namespace, local), []) if of == "element" else ((None, "x"), [((namespace, local), "1")]))
    builder.text("more")
    assert not builder.end((namespace, local))
    assert builder.end(("jabber:component:accept", "message"))
    assert builder.stanza is None
    assert builder.fault == "it has a name that would end the connections of those whom it is sent on to"
    stanza = ET.Element("{jabber:client}message")
    if of == "element":
        ET.SubElement(stanza, name)
    else:
        stanza.set(name, "1")
    with pytest.raises(ValueError, match="a name that cannot be sent"):
        serialise(stanza)


def test_a_declaration_is_no_attribute() -> None:
    name = "xmlns"
    with pytest.raises(ValueError, match="a name that cannot be sent"):
        serialise(ET.Element("{jabber:client}message", {name: "urn:x"}))


def test_comments_and_instructions_have_no_place() -> None:
    for what in (ET.Comment("x"), ET.ProcessingInstruction("x")):
        stanza = ET.Element("{jabber:client}message")
        stanza.append(what)
        with pytest.raises(ValueError, match="a name that cannot be sent"):
            serialise(stanza)


@pytest.mark.parametrize(("levels", "kept"), [(DEPTH_LIMIT - 1, True), (DEPTH_LIMIT, True), (DEPTH_LIMIT + 1, False)])
def test_levels_have_a_limit(levels: int, kept: bool) -> None:
    inner = levels - 1
    first, second = builders(b"<message>" + b"<a>" * inner + b"x" + b"</a>" * inner + b"</message><presence/>")
    assert first.fault == ("" if kept else "it has more than 200 levels")
    assert (first.stanza is not None) is kept
    assert second.stanza is not None


def test_a_hundred_thousand_levels_harm_nobody() -> None:
    levels = 100_000
    (builder,) = builders(b"<message>" + b"<a>" * levels + b"</a>" * levels + b"</message>")
    assert builder.fault
    assert builder.stanza is None
    stanza = deepest = ET.Element("{jabber:client}message")
    for level in range(levels):
        deepest = ET.SubElement(deepest, f"{{urn:{level % 3}}}a")
        deepest.tail = "t"
    assert serialise(stanza).count(b"xmlns=") == levels


@pytest.mark.parametrize("length", [200 - 5, 200 - 4, 262_144])
def test_names_of_any_length(length: int) -> None:
    stanza = ET.Element("{jabber:client}message")
    ET.SubElement(stanza, "{u:}" + "a" * length)
    assert same(read(serialise(stanza)), stanza)
    ET.SubElement(stanza, "{u:}" + "a" * length + ">")
    with pytest.raises(ValueError, match="cannot be sent"):
        serialise(stanza)


def test_a_long_text_in_many_pieces() -> None:
    text = "&lt;" * 65_536  # each a piece of its own
    assert read(f"<message><body>{text}</body></message>".encode())[0].text == "<" * 65_536
