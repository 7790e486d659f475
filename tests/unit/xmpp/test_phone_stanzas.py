"""What the phone protocol looks like on the wire."""

from __future__ import annotations

import base64
import hashlib
import xml.etree.ElementTree as ET

import aioxmpp
import pytest

from agi_xmpp.errors import Refused
from agi_xmpp.xmpp import phone_stanzas
from agi_xmpp.xmpp.model import Jid, Show
from agi_xmpp.xmpp.phone_model import ActionType, ContactState, EventType, PhoneAction, PhoneEvent
from agi_xmpp.xmpp.xso.phone import NAMESPACE
from tests.unit.xmpp.parsing import written
from tests.unit.xmpp.xso.test_phone import NS, read

ALICE = Jid("alice", "x.org", "Spark")
CONTACT = Jid("alice", "phone.x.org", "PJSIP-101")
BOB = Jid("bob", "x.org")


def normal(xml: str) -> str:
    """Return a stanza in one way of writing it: the order of what stands side by side means nothing."""

    def sort(element: ET.Element) -> None:
        for child in element:
            sort(child)
        element[:] = sorted(element, key=lambda child: ET.canonicalize(ET.tostring(child)))

    stanza = ET.fromstring(xml)
    sort(stanza)
    return ET.canonicalize(ET.tostring(stanza))


class TestEvents:
    def test_the_whole_stanza(self) -> None:
        stanza = phone_stanzas.event(ALICE, PhoneEvent(EventType.RING, "c-1.0", "PJSIP/102", "101", "Alice (101)"))
        assert normal(written(stanza)) == normal(
            f'<message xmlns="jabber:client" type="headline" to="alice@x.org" id="{stanza.id_}">'
            f'<phone-event xmlns="{NAMESPACE}" type="RING" status="RING" callID="c-1.0" id="c-1.0" device="PJSIP/102">'
            "<callerID>101</callerID><callerIDName>Alice (101)</callerIDName></phone-event>"
            '<no-store xmlns="urn:xmpp:hints"/></message>'
        )

    @pytest.mark.parametrize(
        ("kind", "children"),
        [
            (EventType.RING, ["callerID", "callerIDName"]),
            (EventType.DIALED, ["callerID", "callerIDName"]),
            (EventType.ON_PHONE, ["callerID"]),
            (EventType.HANG_UP, []),
        ],
    )
    @pytest.mark.parametrize("known", [True, False])
    def test_each_kind_has_its_children(self, kind: EventType, children: list[str], known: bool) -> None:
        number, name = ("101", "Alice") if known else ("", "")
        stanza = ET.fromstring(written(phone_stanzas.event(ALICE, PhoneEvent(kind, "c", "d", number, name))))
        event = stanza.find(f"{{{NAMESPACE}}}phone-event")
        assert event is not None
        assert (event.get("type"), event.get("status")) == (kind.value, kind.value)
        assert [child.tag.partition("}")[2] for child in event] == children
        assert all(len(child) == 0 and bool(child.text) is known for child in event)

    def test_each_message_has_its_own_id(self) -> None:
        event = PhoneEvent(EventType.RING, "c", "d")
        assert len({phone_stanzas.event(ALICE, event).id_ for _ in range(50)}) == 50

    def test_what_xml_cannot_carry_is_left_out(self) -> None:
        event = PhoneEvent(EventType.RING, "c\x00", "d\x01", "1\x000\ufffe1", "A\r\nnn\x0b<b/>&")
        stanza = ET.fromstring(written(phone_stanzas.event(ALICE, event)))
        assert stanza.findtext(f".//{{{NAMESPACE}}}callerID") == "101"
        assert stanza.findtext(f".//{{{NAMESPACE}}}callerIDName") == "A nn<b/>&"

    @pytest.mark.parametrize(("length", "left"), [(999, 999), (1000, 1000), (1001, 1000)])
    def test_the_length_of_a_name(self, length: int, left: int) -> None:
        stanza = phone_stanzas.event(ALICE, PhoneEvent(EventType.RING, "c", "d", "1", "x" * length))
        assert len(stanza.phone_event.caller_name) == left


class TestActions:
    @pytest.mark.parametrize(
        ("inner", "attributes", "expected"),
        [
            ("<extension>601</extension>", "type='DIAL'", PhoneAction(ActionType.DIAL, "601")),
            ("<extension> +49 (30) 1-2\n</extension>", "type='DIAL'", PhoneAction(ActionType.DIAL, "+49 (30) 1-2")),
            ("<jid>bob@x.org/a</jid>", "type='DIAL' id='1'", PhoneAction(ActionType.DIAL, jid="bob@x.org/a")),
            (
                "<extension>103</extension>",
                "type='FORWARD' id='c1'",
                PhoneAction(ActionType.FORWARD, "103", call_id="c1"),
            ),
            (
                "<jid>bob@x.org</jid>",
                "type='FORWARD' callID='c1'",
                PhoneAction(ActionType.FORWARD, jid="bob@x.org", call_id="c1"),
            ),
            (
                f"<phone-action {NS}  type='DIAL' ><extension>601</extension></phone-action>",
                "",
                PhoneAction(ActionType.DIAL, "601"),
            ),
            (
                f"<phone-action {NS}  type='FORWARD' id='c1'  ><extension>103</extension></phone-action>",
                "",
                PhoneAction(ActionType.FORWARD, "103", call_id="c1"),
            ),
        ],
    )
    def test_what_clients_send(self, inner: str, attributes: str, expected: PhoneAction) -> None:
        assert phone_stanzas.action(read(inner, attributes)) == expected

    @pytest.mark.parametrize(
        ("inner", "attributes", "condition"),
        [
            ("<extension>1</extension>", "", "bad-request"),
            ("<extension>1</extension>", "type=''", "feature-not-implemented"),
            ("<extension>1</extension>", "type='dial'", "feature-not-implemented"),
            ("<extension>1</extension>", "type='INVITE'", "feature-not-implemented"),
            ("", "type='DIAL'", "bad-request"),
            ("<extension>1</extension><jid>bob@x.org</jid>", "type='DIAL'", "bad-request"),
            ("<extension>1</extension><extension>2</extension>", "type='DIAL'", "bad-request"),
            ("<extension/>", "type='DIAL'", "bad-request"),
            ("<extension> \n </extension>", "type='DIAL'", "bad-request"),
            ("<jid/>", "type='DIAL'", "bad-request"),
            ("<extension>1&#13;&#10;2</extension>", "type='DIAL'", "bad-request"),
            ("<extension>1\u20282</extension>", "type='DIAL'", "bad-request"),
            ("<extension>1<b/></extension>", "type='DIAL'", "bad-request"),
            ("<extension>1</extension>", "type='FORWARD'", "bad-request"),
            ("<extension>1</extension>", "type='FORWARD' id=''", "bad-request"),
            (f"<phone-action {NS}><extension>1</extension></phone-action>", "", "bad-request"),
            (f"<phone-action {NS} type='DIAL'><extension>1</extension></phone-action>" * 2, "", "bad-request"),
            (f"<phone-action {NS} type='DIAL'><extension>1</extension></phone-action>", "type='DIAL'", "bad-request"),
        ],
    )
    def test_what_makes_no_sense(self, inner: str, attributes: str, condition: str) -> None:
        with pytest.raises(Refused) as refused:
            phone_stanzas.action(read(inner, attributes))
        assert refused.value.condition == condition
        assert str(refused.value)

    @pytest.mark.parametrize(
        ("element", "limit"), [("extension", phone_stanzas.EXTENSION_LENGTH), ("jid", 3 * 1023 + 2)]
    )
    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_how_long_a_target_may_be(self, element: str, limit: int, more: int) -> None:
        payload = read(f"<{element}>{'1' * (limit + more)}</{element}>")
        if more <= 0:
            action = phone_stanzas.action(payload)
            assert len(action.extension + action.jid) == limit + more
        else:
            with pytest.raises(Refused, match="characters"):
                phone_stanzas.action(payload)

    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_how_long_a_call_id_may_be(self, more: int) -> None:
        call_id = "c" * (phone_stanzas.CALL_ID_LENGTH + more)
        payload = read("<extension>1</extension>", f"type='FORWARD' id='{call_id}'")
        if more <= 0:
            assert phone_stanzas.action(payload).call_id == call_id
        else:
            with pytest.raises(Refused) as refused:
                phone_stanzas.action(payload)
            assert refused.value.condition == "item-not-found"

    def test_the_result_is_flat_and_has_the_type(self) -> None:
        assert written(phone_stanzas.action_result(ActionType.DIAL)) == (
            f'<phone-action xmlns="{NAMESPACE}" type="DIAL"/>'
        )


class TestContacts:
    def test_on_the_phone(self) -> None:
        state = ContactState(Show.AWAY, "On the phone", on_phone=True, device="PJSIP/101")
        stanza = phone_stanzas.contact_presence(CONTACT, BOB, state)
        assert normal(written(stanza)) == normal(
            '<presence xmlns="jabber:client" from="alice@phone.x.org/PJSIP-101" to="bob@x.org"><show>away</show>'
            f'<status>On the phone</status><phone-status xmlns="{NAMESPACE}" status="ON_PHONE"/>'
            f'<c xmlns="http://jabber.org/protocol/caps" hash="sha-1" node="{phone_stanzas.CAPS_NODE}"'
            f' ver="{phone_stanzas.CAPS_VERSION}"/></presence>'
        )

    @pytest.mark.parametrize(
        ("show", "word"), [(Show.ONLINE, ""), (Show.CHAT, "chat"), (Show.XA, "xa"), (Show.DND, "dnd")]
    )
    def test_not_on_the_phone(self, show: Show, word: str) -> None:
        stanza = ET.fromstring(written(phone_stanzas.contact_presence(CONTACT, BOB, ContactState(show))))
        assert stanza.findtext("{jabber:client}show", "") == word
        assert stanza.find(f"{{{NAMESPACE}}}phone-status") is None
        assert stanza.find("{jabber:client}status") is None

    def test_offline(self) -> None:
        stanza = phone_stanzas.contact_presence(CONTACT, BOB, ContactState(Show.OFFLINE))
        assert stanza.type_ is aioxmpp.PresenceType.UNAVAILABLE

    @pytest.mark.parametrize(
        ("device", "resource"),
        [
            ("PJSIP/101", "PJSIP-101"),
            ("DAHDI/i1/5551", "DAHDI-i1-5551"),
            ("", "phone"),
            ("\x00", "phone"),
            ("x" * 2000, "phone"),
        ],
    )
    def test_the_resource(self, device: str, resource: str) -> None:
        assert phone_stanzas.resource(device) == resource

    def test_the_capabilities_have_the_right_hash(self) -> None:
        """XEP-0115 section 5.1, by hand."""
        features = phone_stanzas.contact_features().features
        text = "client/phone//phone<" + "".join(f"{feature}<" for feature in sorted(features))
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).digest()
        assert base64.b64encode(digest).decode() == phone_stanzas.CAPS_VERSION


def test_an_activity_is_published_in_the_users_name() -> None:
    request = phone_stanzas.publish_activity(ALICE, "On\x00 the phone")
    request.autoset_id()  # as the link does
    stanza = ET.fromstring(written(request))
    assert (stanza.get("to"), stanza.get("type")) == ("alice@x.org", "set")
    inner = stanza.find("{urn:xmpp:privilege:2}privileged_iq/{jabber:client}iq")
    assert inner is not None
    assert (inner.get("from"), inner.get("to"), inner.get("type")) == ("alice@x.org", "alice@x.org", "set")
    pubsub = "{http://jabber.org/protocol/pubsub}"
    item = inner.find(f"{pubsub}pubsub/{pubsub}publish/{pubsub}item")
    assert item is not None
    assert item.get("id") == "current"
    assert item.findtext(".//{http://jabber.org/protocol/activity}text") == "On the phone"
