"""Temporary presence on the wire: the stanzas of XEP-0276, and its three names."""

from __future__ import annotations

import io
from typing import Any

import aioxmpp
import aioxmpp.xml
import pytest

from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.xso import temppres
from tests.unit.xmpp.parsed import presence

#: XEP-0276 version 0.1, sections 4 and 5, in their order. Its capabilities are cut short (``…``); these are whole.
CAPS = "xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://psi-im.org'"
SAMPLES = {
    "balcony": f"""<presence from='juliet@shakespeare.lit/balcony'>
  <show>dnd</show>
  <status>on the phone</status>
  <c {CAPS} ver='juliet-caps-hash'/>
</presence>""",
    "library": f"""<presence from='tybalt@shakespeare.lit/library'>
  <show>dnd</show>
  <status>researching</status>
  <c {CAPS} ver='tybalt-caps-hash'/>
</presence>""",
    "garden": f"""<presence from='tybalt@shakespeare.lit/garden'>
  <show>xa</show>
  <status>gone to the library</status>
  <c {CAPS} ver='tybalt-caps-hash'/>
</presence>""",
    "request": f"""<presence from='juliet@shakespeare.lit/balcony'
          to='tybalt@shakespeare.lit'>
  <c {CAPS} ver='juliet-caps-hash'/>
  <temppres xmlns='urn:xmpp:temppres:0' reason='media'/>
</presence>""",
    "response of the library": f"""<presence from='tybalt@shakespeare.lit/library'
          to='juliet@shakespeare.lit'>
  <c {CAPS} ver='tybalt-caps-hash'/>
</presence>""",
    "response of the garden": f"""<presence from='tybalt@shakespeare.lit/garden'
          to='juliet@shakespeare.lit'>
  <c {CAPS} ver='tybalt-caps-hash'/>
</presence>""",
    "request to a gateway": f"""<presence from='juliet@shakespeare.lit/balcony'
          to='romeo%shakespeare.lit@sip.shakespeare.lit'>
  <c {CAPS} ver='juliet-caps-hash'/>
  <temppres xmlns='urn:xmpp:temppres:0' reason='media'/>
</presence>""",
    "response of the gateway": f"""<presence from='romeo%shakespeare.lit@sip.shakespeare.lit'
          to='juliet@shakespeare.lit'>
  <c {CAPS} ver='gateway-caps-hash'/>
</presence>""",
}


def content(stanza: Any) -> dict[str, Any]:
    return {
        "from": str(stanza.from_),
        "to": None if stanza.to is None else str(stanza.to),
        "type": stanza.type_,
        "show": stanza.show,
        "status": dict(stanza.status),
        "caps": stanzas.caps(stanza),
        "requests": [(request.TAG, request.reason) for request in stanza.xep0276_requests],
    }


def written(stanza: Any) -> bytes:
    out = io.BytesIO()
    aioxmpp.xml.write_single_xso(stanza, out)
    return out.getvalue()


@pytest.mark.parametrize("xml", SAMPLES.values(), ids=SAMPLES)
def test_every_stanza_is_read_and_written_again(xml: str) -> None:
    first = presence(xml)
    again = aioxmpp.xml.read_single_xso(io.BytesIO(written(first)), aioxmpp.Presence)
    assert content(again) == content(first)
    assert content(first)["caps"].version in xml
    assert (stanzas.asked_for(first) == "media") is ("temppres" in xml)
    assert ("dnd" in xml) is (first.show is aioxmpp.PresenceShow.DND)


@pytest.mark.parametrize(
    "element",
    [
        "<temppres xmlns='urn:xmpp:temppres:0' reason='{}'/>",
        "<decloak xmlns='urn:xmpp:decloak:0' reason='{}'/>",
        "<decloak xmlns='http://telepathy.freedesktop.org/xmpp/protocol/decloak' reason='{}'/>",
        "<temppres xmlns='http://telepathy.freedesktop.org/xmpp/protocol/decloak' reason='{}'/>",
    ],
)
@pytest.mark.parametrize("reason", ["media", "text", "file", "carrier pigeon", ""])
def test_each_name_alone_asks_and_any_reason_is_kept_as_text(element: str, reason: str) -> None:
    asks = presence(f"<presence from='a@b/c'>{element.format(reason)}</presence>")
    assert stanzas.asked_for(asks) == reason


def test_without_a_reason() -> None:
    assert stanzas.asked_for(presence("<presence from='a@b/c'><decloak xmlns='urn:xmpp:decloak:0'/></presence>")) == ""


@pytest.mark.parametrize("element", ["", "<temppres xmlns='urn:x'/>", "<decloak xmlns='urn:xmpp:decloaking:0'/>"])
def test_what_does_not_ask(element: str) -> None:
    assert stanzas.asked_for(presence(f"<presence from='a@b/c'>{element}</presence>")) is None


def test_we_write_both_names_and_nothing_else_of_us() -> None:
    ours = aioxmpp.Presence()
    temppres.add_request(ours, "media")
    text = written(ours).decode()
    assert text.count("reason=") == 2
    assert "urn:xmpp:temppres:0" in text
    assert "urn:xmpp:decloak:0" in text
    assert temppres.TELEPATHY not in text


def test_two_names_are_one_request_and_the_first_reason_counts() -> None:
    both = presence(
        "<presence from='a@b/c'><temppres xmlns='urn:xmpp:temppres:0'/>"
        "<decloak xmlns='urn:xmpp:decloak:0' reason='text'/></presence>"
    )
    assert stanzas.asked_for(both) == "text"


@pytest.mark.parametrize("length", [temppres.REASON_LENGTH - 1, temppres.REASON_LENGTH, temppres.REASON_LENGTH + 1])
def test_a_long_reason_is_cut(length: int) -> None:
    asks = presence(f"<presence from='a@b/c'><decloak xmlns='urn:xmpp:decloak:0' reason='{'x' * length}'/></presence>")
    assert stanzas.asked_for(asks) == "x" * min(length, temppres.REASON_LENGTH)
