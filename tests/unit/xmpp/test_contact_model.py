"""What a request for contacts means."""

from __future__ import annotations

from agi_xmpp.xmpp.contact_model import AskedContact, Enquiry


def test_addresses_are_counted_with_doubles_and_asked_for_once() -> None:
    asked = Enquiry("1", (AskedContact("a", ("tel:1", "tel:2")), AskedContact("b", ("tel:2", "tel:1", "tel:3"))))
    assert asked.addresses == 5
    assert asked.uris == ("tel:1", "tel:2", "tel:3")


def test_a_contact_without_addresses_counts() -> None:
    asked = Enquiry("1", (AskedContact("a", ()), AskedContact("b", ()), AskedContact("c", ("tel:1", "tel:2"))))
    assert (asked.addresses, asked.uris) == (4, ("tel:1", "tel:2"))


def test_nothing_asked() -> None:
    assert (Enquiry("1", ()).addresses, Enquiry("1", ()).uris) == (0, ())
