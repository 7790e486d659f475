"""Who is in which conference (ConfBridge): AMI events in, changes out. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Participant:
    """A channel in a conference.

    Attributes:
        channel: such as ``PJSIP/101-0000002a``.
        uniqueid: of the channel.
        name, number: the caller's, "" where Asterisk knows none.
        device: the phone: the channel's name without what is unique, such as ``PJSIP/101``.
        muted: nobody hears it.
        admin: a user whose profile says ``admin = yes``.
    """

    channel: str
    uniqueid: str
    name: str
    number: str
    device: str
    muted: bool = False
    admin: bool = False
