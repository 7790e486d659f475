"""Elements of contact discovery: the samples of the protocol, and what makes no sense."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from typing import Any

import aioxmpp
import aioxmpp.xml
import pytest

from agi_xmpp.xmpp.xso.contact_disco import NAMESPACE

REQUEST = f"""<iq xmlns='jabber:client' from='romeo@montague.lit/orchard' id='uw72g179'
    to='contacts.montague.lit' type='get'>
  <contacts xmlns='{NAMESPACE}' bid='100000'>
    <contact id='1234'>
      <address uri='tel:5550909090'/>
      <address uri='tel:5550909091'/>
      <address uri='mailto:elvis@rock.com'/>
    </contact>
    <contact id='1235'>
      <address uri='tel:5550909092'/>
      <address uri='tel:5550909094'/>
    </contact>
  </contacts>
</iq>"""

FIRST_RESULT = f"""<message xmlns='jabber:client' from='contacts.montague.lit'
         to='romeo@montague.lit' type='headline'>
  <contacts xmlns='{NAMESPACE}' bid='100000'>
    <contact id='1234'>
      <address uri='tel:5550909090'>
        <discovery uri='xmpp:juliet@capulet.lit'/>
        <discovery uri='mailto:juliet@capulet.lit'/>
      </address>
      <address uri='tel:5550909091' >
        <discovery uri='xmpp:juliet@capulet.lit'/>
      </address>
      <address uri='mailto:elvis@rock.com'/>
    </contact>
  </contacts>
</message>"""

SECOND_RESULT = f"""<message xmlns='jabber:client' from='contacts.montague.lit'
         to='romeo@montague.lit' type='headline'>
  <contacts xmlns='{NAMESPACE}' bid='100000'>
    <contact id='1235'>
      <address uri='tel:5550909092' >
        <discovery uri='mailto:tristan@capulet.lit'/>
      </address>
      <address uri='tel:5550909094' >
        <discovery uri='xmpp:tristan@capulet.lit'/>
      </address>
    </contact>
  </contacts>
</message>"""


def read(xml: str) -> Any:
    kind = aioxmpp.IQ if xml.startswith("<iq") else aioxmpp.Message
    return aioxmpp.xml.read_single_xso(io.BytesIO(xml.encode()), kind)


def tree(xml: str) -> tuple[Any, ...]:
    """Return elements as they count: names, attributes, children; neither blanks between them nor prefixes."""

    def shape(element: ET.Element) -> tuple[Any, ...]:
        return (element.tag, dict(element.attrib), (element.text or "").strip(), [shape(child) for child in element])

    return shape(ET.fromstring(xml))


def contacts(inner: str, attributes: str = "bid='1'") -> Any:
    payload = f"<contacts xmlns='{NAMESPACE}' {attributes}>{inner}</contacts>"
    return read(f"<iq xmlns='jabber:client' type='get' id='1'>{payload}</iq>").payload


@pytest.mark.parametrize("sample", [REQUEST, FIRST_RESULT, SECOND_RESULT], ids=["request", "first", "second"])
def test_the_samples_are_written_as_they_were_read(sample: str) -> None:
    assert tree(aioxmpp.xml.serialize_single_xso(read(sample))) == tree(sample)


def test_the_request() -> None:
    payload = read(REQUEST).payload
    assert payload.batch == "100000"
    assert [(contact.id_, [address.uri for address in contact.addresses]) for contact in payload.contacts] == [
        ("1234", ["tel:5550909090", "tel:5550909091", "mailto:elvis@rock.com"]),
        ("1235", ["tel:5550909092", "tel:5550909094"]),
    ]
    assert payload.hop is None
    assert not payload.is_broken


def test_a_result() -> None:
    (contact,) = read(FIRST_RESULT).contact_disco.contacts
    assert [[found.uri for found in address.discoveries] for address in contact.addresses] == [
        ["xmpp:juliet@capulet.lit", "mailto:juliet@capulet.lit"],
        ["xmpp:juliet@capulet.lit"],
        [],
    ]


def test_the_mark_of_a_request_that_is_handed_on() -> None:
    assert contacts("<relayed xmlns='agi-xmpp:contact-disco'/>").hop is not None


@pytest.mark.parametrize(
    "inner", ["x", "<contact id='1'>x</contact>", "<contact id='1'><address uri='a'>x</address></contact>"]
)
def test_what_makes_no_sense_is_noted(inner: str) -> None:
    payload = contacts(inner)
    elements = [
        payload,
        *payload.contacts,
        *(address for contact in payload.contacts for address in contact.addresses),
    ]
    assert any(element.is_broken for element in elements)


@pytest.mark.parametrize("inner", ["<note xmlns='urn:x'>1</note>", "<contact id='1' colour='red'/>", ""])
def test_what_is_unknown_is_passed_over(inner: str) -> None:
    assert not contacts(inner).is_broken


def test_missing_attributes_are_none() -> None:
    payload = contacts("<contact><address/></contact>", "")
    assert (payload.batch, payload.contacts[0].id_, payload.contacts[0].addresses[0].uri) == (None, None, None)
