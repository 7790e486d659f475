"""What Asterisk's own files call things by."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from agi_xmpp.config.dialplan import Context, Device, DialPattern, Extension


def taken(kind: Any, text: str) -> Any:
    return TypeAdapter(kind).validate_python(text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Context, "a" * 79),
        (Context, "from-internal_2.a"),
        (Extension, ""),
        (Extension, "1" * 64),
        (Extension, "*97#"),
        (DialPattern, "_" + "X" * 79),
        (DialPattern, "_0[1-9]X."),
        (Device, "PJSIP/" + "1" * 74),
    ],
)
def test_right(kind: Any, text: str) -> None:
    assert taken(kind, text) == text


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (Context, "", "is no context"),
        (Context, "a" * 80, "is no context"),
        (Context, "a b", "is no context"),
        (Extension, "1" * 65, "is no extension"),
        (Extension, "1 2", "is no extension"),
        (DialPattern, "_" + "X" * 80, "is no pattern"),
        (DialPattern, "6XX", "write '_6XX'"),
        (Device, "PJSIP/" + "1" * 75, "is no device"),
        (Device, "101", "is no device"),
    ],
)
def test_wrong(kind: Any, text: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        taken(kind, text)


def test_a_device_gets_its_usual_spelling() -> None:
    assert taken(Device, "pjsip/Desk") == "PJSIP/Desk"
