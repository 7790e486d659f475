"""``[voicemail]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.config import MAX_RECORDING, VoicemailSettings, parse
from agi_xmpp.errors import ConfigError

PBX = {"account": {"PBX": {"jid": "a@example.org", "password": "x"}}}


def voicemail(**keys: Any) -> VoicemailSettings:
    return parse({**PBX, "voicemail": keys}, "test").voicemail


def test_without_a_word_the_usual_spool_is_open() -> None:
    settings = parse({}, "test").voicemail
    assert settings.spool == [Path("/var/spool/asterisk/voicemail")]
    assert (settings.convert, settings.transcribe, settings.fallback, settings.undelivered) == ([], [], [], None)


def test_all_of_it() -> None:
    people = {"201@voicemail": "ann@example.org"}
    settings = voicemail(account="pbx", people=people, spool=["/a", "/b"], max_size=MAX_RECORDING, suffix="mp3")
    assert (settings.account, settings.people, settings.max_size) == ("pbx", people, MAX_RECORDING)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"account": "nobody"}, "voicemail.account: there is no account 'nobody'; known: PBX"),
        ({"spool": ["relative"]}, "'relative' is no directory of recordings"),
        ({"spool": ["/"]}, "'/' is no directory of recordings"),
        ({"max_size": MAX_RECORDING + 1}, "voicemail.max_size: "),
        ({"max_size": 0}, "voicemail.max_size: "),
        ({"upload_timeout": 0}, "voicemail.upload_timeout: "),
        ({"convert_timeout": 601}, "voicemail.convert_timeout: "),
        ({"suffix": "exe"}, "voicemail.suffix: "),
        ({"people": {"x@y": "no jid"}}, "voicemail.people.x@y: 'no jid' is not a Jabber ID"),
        ({"people": {"x@y": "a@b", "X@y": "c@d"}}, "two addresses differ in case only"),
        ({"mailbox": "1"}, "voicemail.mailbox: unknown key"),
    ],
)
def test_what_is_wrong(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        voicemail(**keys)
    assert words in str(caught.value)
