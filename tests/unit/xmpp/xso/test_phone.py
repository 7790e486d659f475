"""Elements of the phone protocol, right and wrong."""

from __future__ import annotations

import io
from typing import Any

import aioxmpp
import aioxmpp.xml
import pytest

from agi_xmpp.xmpp.xso.phone import NAMESPACE
from tests.unit.xmpp.parsed import presence

NS = f"xmlns='{NAMESPACE}'"


def read(inner: str, attributes: str = "type='DIAL'") -> Any:
    xml = (
        "<iq xmlns='jabber:client' type='set' id='1' from='bob@x.org/c'>"
        f"<phone-action {NS} {attributes}>{inner}</phone-action></iq>"
    )
    return aioxmpp.xml.read_single_xso(io.BytesIO(xml.encode()), aioxmpp.IQ).payload


def test_an_action() -> None:
    action = read("<extension>601</extension><jid>a@x.org</jid>", "type='FORWARD' id='1' callID='2' device='x'")
    assert (action.type_, action.id_, action.call_id) == ("FORWARD", "1", "2")
    assert [element.text for element in action.extensions] == ["601"]
    assert [element.text for element in action.addresses] == ["a@x.org"]
    assert not action.nested
    assert not action.is_broken


def test_an_action_in_an_action() -> None:
    action = read(f"<phone-action {NS} type='DIAL'><extension>601</extension></phone-action>", "")
    assert action.type_ is None
    assert [inner.type_ for inner in action.nested] == ["DIAL"]
    assert not action.is_broken


@pytest.mark.parametrize(
    "inner", ["601", "<extension>6<b/>01</extension>", "<extension><phone-action/></extension>", "<jid><x>1</x></jid>"]
)
def test_what_makes_no_sense_is_noted(inner: str) -> None:
    assert read(inner).is_broken
    nested = read(f"<phone-action {NS} type='DIAL'>{inner}</phone-action>", "")
    assert nested.nested[0].is_broken


def test_what_is_unknown_is_passed_over() -> None:
    action = read("<note xmlns='urn:x'>1</note><extension x='1'>601</extension>", "type='DIAL' colour='red'")
    assert [element.text for element in action.extensions] == ["601"]
    assert not action.is_broken


@pytest.mark.parametrize("depth", [2, 5000])
def test_however_deep_it_is_nested(depth: int) -> None:
    inner = f"<phone-action {NS}>" * depth + "</phone-action>" * depth
    assert len(read(inner).nested) == 1


def test_the_status_of_a_presence() -> None:
    assert presence(f"<presence ><phone-status {NS} status='ON_PHONE'/></presence>").phone_status.status == "ON_PHONE"
