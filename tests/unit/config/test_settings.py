"""What the sections have to say about each other."""

from __future__ import annotations

import pytest

from agi_xmpp.config import parse
from agi_xmpp.errors import ConfigError

GOOD = {"jid": "asterisk@example.org", "password": "s3cr3t-word"}
COMPONENT = {"type": "component", "jid": "phone.example.org", "password": "s3cr3t-word"}


def complaint(data):
    with pytest.raises(ConfigError) as caught:
        parse(data, "f.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"account": {"pbx": GOOD, "PBX": GOOD}}, ["differ in case only"]),
        (
            {"account": {"a": COMPONENT, "b": {**COMPONENT, "jid": "agi@Phone.example.org/x"}}},
            ["accounts 'a' and 'b' are both the component phone.example.org"],
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_accounts_that_get_in_each_other_s_way(data, words):
    text = complaint(data)
    for word in words:
        assert word in text
    assert text.startswith("f.toml: ")
