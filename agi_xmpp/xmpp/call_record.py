"""The record of a call that is over, as plain data. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Reason(enum.StrEnum):
    """Why a call ended, in the words of Jingle (XEP-0166 section 7.4)."""

    SUCCESS = "success"
    BUSY = "busy"
    TIMEOUT = "timeout"
    DECLINE = "decline"
    CANCEL = "cancel"
    CONNECTIVITY_ERROR = "connectivity-error"
    GENERAL_ERROR = "general-error"


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What one person took part in.

    Attributes:
        sid: the same for everybody in the call, but for those whom a transfer brought together.
        initiator: JID of who called; "" if there is none, or if it is not to be known.
        responder: JID of who was called; likewise.
        answered: the person has talked.
        rang: a phone has rung.
        reason: see `Reason`.
        duration: seconds talked.
    """

    sid: str
    initiator: str
    responder: str
    answered: bool
    rang: bool
    reason: Reason
    duration: int
