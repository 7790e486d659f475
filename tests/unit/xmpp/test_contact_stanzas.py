"""From the stanzas of contact discovery to plain data, and back."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import aioxmpp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.errors import Refused
from agi_xmpp.xmpp import contact_stanzas
from agi_xmpp.xmpp.contact_model import AskedContact, Enquiry
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid
from tests.unit.xmpp.parsing import written
from tests.unit.xmpp.xso.test_contact_disco import FIRST_RESULT, REQUEST, contacts, read

JULIET = Jid("juliet", "capulet.lit")
TRISTAN = Jid("tristan", "capulet.lit")
DISCO = "{urn:xmpp:contact-disco:0}"


def one(address: str) -> str:
    return f"<contact id='1'>{address}</contact>"


class TestRequests:
    def test_the_sample(self) -> None:
        assert contact_stanzas.enquiry(read(REQUEST).payload) == Enquiry(
            "100000",
            (
                AskedContact("1234", ("tel:5550909090", "tel:5550909091", "mailto:elvis@rock.com")),
                AskedContact("1235", ("tel:5550909092", "tel:5550909094")),
            ),
        )

    def test_nothing_at_all_may_be_asked(self) -> None:
        assert contact_stanzas.enquiry(contacts("")).contacts == ()
        assert contact_stanzas.enquiry(contacts(one(""))).contacts == (AskedContact("1", ()),)

    @pytest.mark.parametrize(
        ("inner", "attributes", "complaint"),
        [
            ("", "", "'bid'"),
            ("", "bid=''", "'bid'"),
            ("", f"bid='{'x' * 201}'", "more than 200"),
            ("<contact/>", "bid='1'", "'id' of a <contact/> is missing"),
            (f"<contact id='{'x' * 201}'/>", "bid='1'", "more than 200"),
            (one("<address/>"), "bid='1'", "'uri'"),
            (one("<address uri=''/>"), "bid='1'", "'uri'"),
            (one(f"<address uri='{'x' * 1001}'/>"), "bid='1'", "more than 1000"),
            (one("x"), "bid='1'", "cannot be read"),
            (one("") + one(""), "bid='1'", "same 'id'"),
        ],
    )
    def test_what_makes_no_sense(self, inner: str, attributes: str, complaint: str) -> None:
        with pytest.raises(Refused, match=complaint) as caught:
            contact_stanzas.enquiry(contacts(inner, attributes))
        assert caught.value.condition == "bad-request"

    def test_what_is_just_not_too_long(self) -> None:
        inner = f"<contact id='{'x' * 200}'><address uri='{'y' * 1000}'/></contact>"
        asked = contact_stanzas.enquiry(contacts(inner, f"bid='{'z' * 200}'"))
        assert asked.contacts == (AskedContact("x" * 200, ("y" * 1000,)),)

    def test_our_own_is_marked(self) -> None:
        (iq,) = contact_stanzas.requests(aioxmpp.JID.fromstr("peer.test"), "b", ["tel:+15550100", "mailto:a@b"])
        iq.autoset_id()
        asked = contact_stanzas.enquiry(iq.payload)
        assert asked.relayed
        assert asked.batch == "b"
        assert asked.uris == ("tel:+15550100", "mailto:a@b")
        assert iq.type_ is aioxmpp.IQType.GET

    def test_our_own_end_no_stream(self) -> None:
        uris = [f"mailto:{n:03}" + 250 * "'" + "@x" for n in range(200)]
        sent = list(contact_stanzas.requests(aioxmpp.JID.fromstr("peer.test"), "b", uris))
        for iq in sent:
            iq.autoset_id()
        assert all(len(written(iq).encode()) < 60_000 for iq in sent)
        asked = [contact_stanzas.enquiry(iq.payload) for iq in sent]
        assert all(one.batch == "b" and one.relayed for one in asked)
        assert [uri for one in asked for uri in one.uris] == uris
        ids = [contact.id for one in asked for contact in one.contacts]
        assert len(set(ids)) == len(uris)

    def test_a_contact_whose_answer_would_end_the_stream(self) -> None:
        addresses = "".join(f"<address uri='{n}{400 * '&lt;'}'/>" for n in range(12))
        assert len(contact_stanzas.enquiry(contacts(one(addresses))).contacts) == 1
        with pytest.raises(Refused, match="too many addresses in one contact"):
            contact_stanzas.enquiry(contacts(one(addresses + addresses.replace("uri='", "uri='x"))))


class TestAnswers:
    def test_as_in_the_sample(self) -> None:
        asked = contact_stanzas.enquiry(read(REQUEST).payload)
        known = {
            "tel:5550909090": (JULIET,),
            "tel:5550909091": (JULIET, TRISTAN),
            "mailto:elvis@rock.com": (),
        }
        (message,) = contact_stanzas.answers(asked, asked.contacts[:1], known)
        assert message.type_ is aioxmpp.MessageType.HEADLINE
        root = ET.fromstring(written(message))
        (payload,) = root
        assert (payload.tag, dict(payload.attrib)) == (f"{DISCO}contacts", {"bid": "100000"})
        (contact,) = payload
        assert (contact.tag, dict(contact.attrib)) == (f"{DISCO}contact", {"id": "1234"})
        assert [(child.get("uri"), [found.get("uri") for found in child]) for child in contact] == [
            ("tel:5550909090", ["xmpp:juliet@capulet.lit"]),
            ("tel:5550909091", ["xmpp:juliet@capulet.lit", "xmpp:tristan@capulet.lit"]),
            ("mailto:elvis@rock.com", []),
        ]

    def test_each_stanza_is_one_that_every_server_takes(self) -> None:
        book = tuple(AskedContact(f"id-{n}", (f"tel:{n}", f"mailto:\"o'<&>ä{n}@x.org")) for n in range(500))
        known = {uri: (JULIET, TRISTAN) for contact in book for uri in contact.uris}
        messages = list(contact_stanzas.answers(Enquiry("b", book), book, known))
        texts = [written(message) for message in messages]
        assert all(len(text.encode()) < 10_000 for text in texts)
        assert 10 < len(texts) < 40
        got = [contact.get("id") for text in texts for contact in ET.fromstring(text).iter(f"{DISCO}contact")]
        assert got == [contact.id for contact in book]

    def test_a_contact_that_is_larger_than_that_goes_alone(self) -> None:
        large = AskedContact("large", tuple(f"tel:{n:0100}" for n in range(100)))
        small = AskedContact("small", ("tel:1",))
        known = dict.fromkeys((*large.uris, *small.uris), ())
        messages = list(contact_stanzas.answers(Enquiry("b", ()), [small, large, small], known))
        assert [[contact.id_ for contact in message.contact_disco.contacts] for message in messages] == [
            ["small"],
            ["large"],
            ["small"],
        ]

    def test_a_crowd_behind_one_number_ends_no_stream(self) -> None:
        crowd = tuple(Jid(f"p{n}", "capulet.lit") for n in range(5000))
        asked = AskedContact("1", ("tel:1", "tel:2"))
        (message,) = contact_stanzas.answers(Enquiry("b", ()), [asked], {"tel:1": crowd, "tel:2": crowd})
        assert len(written(message).encode()) < 60_000
        found = contact_stanzas.found(message.contact_disco)
        assert set(found) == {"tel:1", "tel:2"}
        assert found["tel:1"] == crowd[: len(found["tel:1"])]
        assert len(found["tel:1"]) > 500

    def test_nothing_is_no_stanza(self) -> None:
        assert not list(contact_stanzas.answers(Enquiry("b", ()), [], {}))

    def test_what_others_have_found(self) -> None:
        assert contact_stanzas.found(read(FIRST_RESULT).contact_disco) == {
            "tel:5550909090": (JULIET,),
            "tel:5550909091": (JULIET,),
            "mailto:elvis@rock.com": (),
        }

    def test_what_others_write_wrong_is_left_out(self) -> None:
        wrong = "<discovery/><discovery uri=''/><discovery uri='xmpp:'/><discovery uri='xmpp:capulet.lit'/>"
        right = "<discovery uri='xmpp:juliet@capulet.lit/balcony'/><discovery uri='XMPP:Juliet@capulet.lit'/>"
        payload = contacts(one(f"<address uri='tel:1'>{wrong}{right}</address><address>{right}</address>"))
        assert contact_stanzas.found(payload) == {"tel:1": (JULIET,)}


class TestUris:
    @pytest.mark.parametrize(
        ("jid", "uri"),
        [
            ("juliet@capulet.lit", "xmpp:juliet@capulet.lit"),
            ("d\\27artagnan@x.org", "xmpp:d%5C27artagnan@x.org"),
            ("jülia@x.org", "xmpp:j%C3%BClia@x.org"),
            ("a%b#c?d@x.org", "xmpp:a%25b%23c%3Fd@x.org"),
        ],
    )
    def test_written_and_read(self, jid: str, uri: str) -> None:
        assert contact_stanzas.uri(parse(jid)) == uri
        assert contact_stanzas.read_uri(uri) == parse(jid)

    @pytest.mark.parametrize(
        "uri", ["", "xmpp", "xmpp:", "mailto:a@x.org", "xmpp:x.org", "xmpp:@x.org", "xmpp:a@", "xmpp:%ff@x.org"]
    )
    def test_what_names_nobody(self, uri: str) -> None:
        assert contact_stanzas.read_uri(uri) is None

    def test_what_belongs_to_no_address(self) -> None:
        assert contact_stanzas.read_uri("xmpp:a@x.org/res?message;body=hi#x") == Jid("a", "x.org")

    @given(st.text(max_size=60))
    def test_anything(self, text: str) -> None:
        found = contact_stanzas.read_uri(f"xmpp:{text}")
        assert found is None or (found.local and found.is_bare)
