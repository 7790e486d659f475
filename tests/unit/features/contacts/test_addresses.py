"""URIs, numbers and mail addresses made comparable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.features.contacts.addresses import from_mail, from_number, from_uri


@pytest.mark.parametrize(
    ("uri", "country", "same"),
    [
        ("tel:+49-30-1234567", "", "tel:+49301234567"),
        ("TEL:+49(30)1234567", "", "tel:+49301234567"),
        ("tel:0301234567", "DE", "tel:+49301234567"),
        ("tel:%2B49301234567", "", "tel:+49301234567"),
        ("tel:2125550123", "US", "tel:+12125550123"),
        ("tel:2125550123", "", "tel:2125550123"),  # no country, no guess
        ("tel:101", "DE", "tel:101"),
        ("tel:1234567;phone-context=+4930", "", "tel:+49301234567"),
        ("tel:+49301234567;phone-context=+1", "", "tel:+49301234567"),
        ("tel:+49301234567;tgrp=x", "", "tel:+49301234567"),
        ("mailto:Elvis@Rock.com", "", "mailto:elvis@rock.com"),
        ("mailto:elvis%40rock.com", "", "mailto:elvis@rock.com"),
        ("mailto:elvis@rock.com?subject=hi", "", "mailto:elvis@rock.com"),
    ],
)
def test_what_is_the_same(uri: str, country: str, same: str) -> None:
    address = from_uri(uri, country)
    assert address is not None
    assert address.uri == same


@pytest.mark.parametrize(
    "uri",
    [
        *("", "tel", "tel:", "tel:bob", "tel:+", "5550909090", "sip:bob@x.org", "xmpp:bob@x.org", "urn:x", ":101"),
        *("tel:101;phone-context=example.com", "tel:+49301234567;ext=12", "tel:+49301234567;isub=1"),
        *("mailto:", "mailto:bob", "mailto:a@x,b@x", "mailto:a b@x", "mailto:%ff@x.org", "mailto:a%0a@x.org"),
        f"tel:{'1' * 65}",
    ],
)
def test_what_is_nobodys(uri: str) -> None:
    assert from_uri(uri, "DE") is None


@pytest.mark.parametrize(("length", "fits"), [(253, True), (254, True), (255, False)])
def test_the_length_of_a_mail_address(length: int, fits: bool) -> None:
    assert (from_mail("a" * (length - 6) + "@x.org") is not None) is fits


def test_what_means_the_same_everywhere() -> None:
    numbers = ["+49301234567", "0301234567", "101", "*99"]
    assert [from_number(number, "DE").is_global for number in numbers] == [True, True, False, False]  # type: ignore[union-attr]
    assert from_mail("a@x.org").is_global  # type: ignore[union-attr]
    assert from_number("anonymous", "DE") is None


@given(st.sampled_from(["tel:", "mailto:", ""]), st.text(max_size=80))
def test_anything(scheme: str, text: str) -> None:
    address = from_uri(scheme + text, "DE")
    if address is not None:
        again = from_uri(address.uri, "DE")
        assert again is not None
        assert again.uri == address.uri
