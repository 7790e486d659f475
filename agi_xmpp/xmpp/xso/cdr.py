"""Call records (``urn:xmpp:cdr:0``): who called whom, and how it went.

They come from a talk about a mobile client (docs/developer.md says whose); no XEP has them.
"""

from __future__ import annotations

from typing import Any

import aioxmpp
from aioxmpp import xso

from agi_xmpp.xmpp.call_record import CallRecord
from agi_xmpp.xmpp.text import clean_status
from agi_xmpp.xmpp.xso import fallback, hints

NAMESPACE = "urn:xmpp:cdr:0"


class Ssrc(xso.XSO):  # type: ignore[misc]
    """The source of a stream of sound (RFC 3550 section 8). Read only."""

    TAG = (NAMESPACE, "ssrc")
    text = xso.Text(default="")


class OptionalValue(xso.XSO):  # type: ignore[misc]
    """Whatever else somebody's record holds. Read only."""

    TAG = (NAMESPACE, "optional-value")
    text = xso.Text(default="")


class Record(xso.XSO):  # type: ignore[misc]
    """A record. An attribute that makes no sense counts as absent: a message is not lost because of it."""

    TAG = (NAMESPACE, "cdr")
    sid = xso.Attr("sid", default=None)
    initiator = xso.Attr("initiator", default=None)
    responder = xso.Attr("responder", default=None)
    answer = xso.Attr("answer", type_=xso.Bool(), default=None, erroneous_as_absent=True)
    ring = xso.Attr("ring", type_=xso.Bool(), default=None, erroneous_as_absent=True)
    termination_reason = xso.Attr("termination-reason", default=None)
    duration = xso.Attr("duration", type_=xso.Integer(), default=None, erroneous_as_absent=True)
    ssrcs = xso.ChildList([Ssrc])
    optional_values = xso.ChildList([OptionalValue])


aioxmpp.Message.call_record = xso.Child([Record])


def add(message: Any, record: CallRecord) -> None:
    """Put a record into a message whose body says the same, and ask that it is kept: servers drop headlines."""
    element = Record()
    element.sid = clean_status(record.sid)
    element.initiator, element.responder = record.initiator or None, record.responder or None
    element.answer, element.ring = record.answered, record.rang
    element.termination_reason = record.reason.value
    element.duration = record.duration
    message.call_record = element
    message.xep0428_fallbacks.append(fallback.Fallback(NAMESPACE))
    hints.do_store(message)
