"""The record of a call as plain data."""

from __future__ import annotations

from agi_xmpp.xmpp.call_record import Reason

#: XEP-0166 section 7.4, version 1.1.2.
JINGLE = {
    *("alternative-session", "busy", "cancel", "connectivity-error", "decline", "expired", "failed-application"),
    *("failed-transport", "general-error", "gone", "incompatible-parameters", "media-error", "security-error"),
    *("success", "timeout", "unsupported-applications", "unsupported-transports"),
}


def test_the_reasons_are_those_of_jingle() -> None:
    assert set(Reason) <= JINGLE
