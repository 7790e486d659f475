"""urn:xmpp:cdr:0."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import aioxmpp
import pytest

from agi_xmpp.xmpp.call_record import CallRecord, Reason
from agi_xmpp.xmpp.xso import cdr
from tests.unit.xmpp.parsing import incoming, message, written

CDR = "{urn:xmpp:cdr:0}"

#: From the talk that call records come from.
SAMPLE = """<cdr xmlns='urn:xmpp:cdr:0'
     sid='sessionNumber1'
     initiator='northumberland@shakespeare.lit/westminster'
     responder='kingrichard@royalty.england.lit'
     answer='true'
     ring='true'
     termination-reason='success'
     duration='324'>
  <ssrc>a73sjjvkla37jfea</ssrc>
  <optional-value>a73sjjvkla37jfea</optional-value>
</cdr>"""
RECORD = CallRecord("1699.12", "15550123@pbx.x.org", "romeo@x.org", False, True, Reason.TIMEOUT, 0)


def test_the_sample_is_read() -> None:
    record = message(SAMPLE).call_record
    assert record.sid == "sessionNumber1"
    assert record.initiator == "northumberland@shakespeare.lit/westminster"
    assert record.responder == "kingrichard@royalty.england.lit"
    assert (record.answer, record.ring, record.termination_reason, record.duration) == (True, True, "success", 324)
    assert [each.text for each in record.ssrcs] == ["a73sjjvkla37jfea"]
    assert [each.text for each in record.optional_values] == ["a73sjjvkla37jfea"]


def test_the_sample_goes_out_as_it_came() -> None:
    again = ET.fromstring(written(message(SAMPLE))).find(f"{CDR}cdr")
    assert again is not None
    assert ET.canonicalize(ET.tostring(again), strip_text=True, rewrite_prefixes=True) == ET.canonicalize(
        SAMPLE, strip_text=True, rewrite_prefixes=True
    )


@pytest.mark.parametrize(
    ("attributes", "answer", "duration"),
    [
        ("", None, None),
        ("answer='perhaps' duration='long'", None, None),
        ("answer='1' duration='0'", True, 0),
        ("answer='false' duration=''", False, None),
    ],
)
def test_what_makes_no_sense_counts_as_absent(attributes: str, answer: bool | None, duration: int | None) -> None:
    record = message(f"<body>hi</body><cdr xmlns='urn:xmpp:cdr:0' {attributes}><x xmlns='urn:y'/></cdr>").call_record
    assert (record.answer, record.duration, record.sid) == (answer, duration, None)


def test_a_message_with_a_record_is_a_message() -> None:
    assert incoming(f"<body>Missed call</body>{SAMPLE}").body == "Missed call"


def test_what_is_sent() -> None:
    stanza = aioxmpp.Message(aioxmpp.MessageType.HEADLINE)
    cdr.add(stanza, RECORD)
    sent = ET.fromstring(written(stanza))
    element = sent.find(f"{CDR}cdr")
    assert element is not None
    assert len(element) == 0
    assert element.attrib == {
        "sid": "1699.12",
        "initiator": "15550123@pbx.x.org",
        "responder": "romeo@x.org",
        "answer": "false",
        "ring": "true",
        "termination-reason": "timeout",
        "duration": "0",
    }
    fallback = sent.find("{urn:xmpp:fallback:0}fallback")
    assert fallback is not None
    assert (fallback.attrib, len(fallback)) == ({"for": "urn:xmpp:cdr:0"}, 0)  # the whole body is there for others
    assert sent.find("{urn:xmpp:hints}store") is not None


def test_who_is_not_known_is_left_out() -> None:
    stanza = aioxmpp.Message(aioxmpp.MessageType.HEADLINE)
    cdr.add(stanza, dataclasses.replace(RECORD, initiator="", sid="a\x00b"))
    element = ET.fromstring(written(stanza)).find(f"{CDR}cdr")
    assert element is not None
    assert (element.get("initiator"), element.get("responder"), element.get("sid")) == (None, "romeo@x.org", "ab")
