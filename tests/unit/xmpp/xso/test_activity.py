"""XEP-0108."""

from __future__ import annotations

import pytest

from agi_xmpp.xmpp.xso.activity import on_the_phone
from tests.unit.xmpp.parsing import written

ACTIVITY = '<activity xmlns="http://jabber.org/protocol/activity"'


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        (None, "/>"),
        ("", "><talking><on_the_phone/></talking></activity>"),
        ("On the phone", "><talking><on_the_phone/></talking><text>On the phone</text></activity>"),
    ],
)
def test_what_is_published(text: str | None, inner: str) -> None:
    assert written(on_the_phone(text)) == ACTIVITY + inner
