"""vCard4 over XMPP."""

from __future__ import annotations

import io
from typing import Any

import aioxmpp
import aioxmpp.xml

from agi_xmpp.xmpp.xso.vcard4 import NAMESPACE, VCard4


def read(inner: str) -> Any:
    xml = f"<iq xmlns='jabber:client' type='result' id='1'><vcard xmlns='{NAMESPACE}'>{inner}</vcard></iq>"
    return aioxmpp.xml.read_single_xso(io.BytesIO(xml.encode()), aioxmpp.IQ).payload


def test_names() -> None:
    # The sample of XEP-0292 section 3 has many more elements, which say nothing here.
    vcard = read(
        "<fn><text>Peter Saint-Andre</text></fn><fn><text>stpeter</text></fn>"
        "<n><surname>Saint-Andre</surname><given>Peter</given></n><url><uri>https://stpeter.im/</uri></url>"
    )
    assert [name.text for name in vcard.names] == ["Peter Saint-Andre", "stpeter"]


def test_no_name() -> None:
    assert not read("").names
    assert read("<fn/>").names[0].text is None


def test_the_question_is_empty() -> None:
    iq = aioxmpp.IQ(aioxmpp.IQType.GET, payload=VCard4(), id_="1")
    assert b"vcard-4.0" in aioxmpp.xml.serialize_single_xso(iq).encode()
