"""``[agi]``: what is right, and what is said about everything else."""

from __future__ import annotations

import pytest

from agi_xmpp.config import parse
from agi_xmpp.errors import ConfigError


def complaint(data):
    with pytest.raises(ConfigError) as caught:
        parse(data, "f.toml")
    return str(caught.value)


def test_an_empty_file_is_a_working_server_without_accounts():
    empty = parse({}, "f.toml")
    assert empty.account == {}
    assert empty.agi.port == 4573
    assert empty.agi.listen == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"agi": {"prot": 1}}, ["agi.prot: unknown key", "did you mean port?"]),
        ({"agi": {"zzz": 1}}, ["agi.zzz: unknown key", "known here:", "max_sessions"]),
        ({"agi": {"script": [{"path": "a", "callabel": "m:f"}]}}, ["agi.script.0.callabel", "did you mean callable?"]),
        ({"agi": {"port": 65536}}, ["agi.port", "65535"]),
        ({"agi": {"port": -1}}, ["agi.port"]),
        ({"agi": {"allow": ["10.0.0.0/33"]}}, ["agi.allow.0"]),
        ({"agi": {"max_sessions": 0}}, ["agi.max_sessions"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_mistake_is_named(data, words):
    text = complaint(data)
    for word in words:
        assert word in text
    assert text.startswith("f.toml: ")
