"""Addresses of XMPP in the file."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from agi_xmpp.config.addresses import AnyJid, BareJid, Jid, JidOrDomain, RoomJid

BARE, FULL, DOMAIN, SERVICE = "ann@x.org", "ann@x.org/desk top", "x.org", "x.org/y"


@pytest.mark.parametrize(
    ("kind", "right"),
    [
        (Jid, {BARE, FULL}),
        (BareJid, {BARE}),
        (JidOrDomain, {BARE, DOMAIN}),
        (AnyJid, {BARE, FULL, DOMAIN, SERVICE}),
        (RoomJid, {BARE}),
    ],
    ids=["Jid", "BareJid", "JidOrDomain", "AnyJid", "RoomJid"],
)
def test_each_kind(kind: Any, right: set[str]) -> None:
    adapter = TypeAdapter(kind)
    for text in right:
        assert adapter.validate_python(text) == text
    for text in {BARE, FULL, DOMAIN, SERVICE} - right | {"", "@x.org", "ann@", "a b@x.org", "a@b@c", "*", "a@*", "/x"}:
        with pytest.raises(ValidationError, match=r"is (not|neither) a"):
            adapter.validate_python(text)
