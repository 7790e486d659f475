"""``[conference]``: what is right, and what is said about everything else."""

from __future__ import annotations

from typing import Any

import pytest

from agi_xmpp.config import ConferenceSettings, parse
from agi_xmpp.errors import ConfigError


def conference(**keys: Any) -> ConferenceSettings:
    file = {
        "account": {"rooms": {"type": "component", "jid": "conference.example.org", "password": "s3cr3t-word"}},
        "ami": {"username": "u", "password": "p4ssword"},
        "conference": {"account": "rooms", "context": "conferences", **keys},
    }
    found = parse(file, "test").conference
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"sip": {"password": "a", "password_env": "B"}}, "needs one password at the most"),
        ({"room": {"a": {"password": "a", "password_env": "B"}}}, "needs one password at the most"),
        ({"context": "a b"}, "conference.context: 'a b' is no context"),
    ],
)
def test_what_is_wrong(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        conference(**keys)
    assert words in str(caught.value)
