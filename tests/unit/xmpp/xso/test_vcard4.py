"""vCard4 over XMPP."""

from __future__ import annotations

import io

import aioxmpp
import aioxmpp.pubsub.xso
import aioxmpp.xml
import pytest

from agi_xmpp.xmpp.xso.vcard4 import NAMESPACE, VCard4, question, vcards


def read(pubsub: str) -> list[VCard4]:
    xml = (
        "<iq xmlns='jabber:client' type='result' id='1'>"
        f"<pubsub xmlns='http://jabber.org/protocol/pubsub'>{pubsub}</pubsub></iq>"
    )
    return vcards(aioxmpp.xml.read_single_xso(io.BytesIO(xml.encode()), aioxmpp.IQ).payload)


def items(*payloads: str) -> str:
    inner = "".join(f"<item>{payload}</item>" for payload in payloads)
    return f"<items node='urn:xmpp:vcard4'>{inner}</items>"


def vcard(inner: str) -> str:
    return f"<vcard xmlns='{NAMESPACE}'>{inner}</vcard>"


def test_names() -> None:
    # The sample of XEP-0292 has many more elements, which say nothing here.
    (found,) = read(
        items(
            vcard(
                "<fn><text>Peter Saint-Andre</text></fn><fn><text>stpeter</text></fn>"
                "<n><surname>Saint-Andre</surname><given>Peter</given></n><url><uri>https://stpeter.im/</uri></url>"
            )
        )
    )
    assert [name.text for name in found.names] == ["Peter Saint-Andre", "stpeter"]


def test_no_name() -> None:
    empty, nameless = read(items(vcard(""), vcard("<fn/>")))
    assert not empty.names
    assert nameless.names[0].text is None


@pytest.mark.parametrize(
    "pubsub",
    [
        "",
        items(),
        items(""),
        items("<nick xmlns='http://jabber.org/protocol/nick'>Juliet</nick>"),
        "<affiliations node='urn:xmpp:vcard4'/>",
    ],
)
def test_no_vcard(pubsub: str) -> None:
    assert read(pubsub) == []


def test_the_question_is_for_the_newest_item() -> None:
    iq = aioxmpp.IQ(aioxmpp.IQType.GET, payload=question(), id_="1")
    xml = aioxmpp.xml.serialize_single_xso(iq)
    assert 'node="urn:xmpp:vcard4"' in xml
    assert 'max_items="1"' in xml
