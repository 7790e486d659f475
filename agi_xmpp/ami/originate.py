"""Calls that Asterisk begins for us (action Originate), and what a phone is told of them."""

from __future__ import annotations


def headers(
    channel: str, *, context: str, exten: str, caller_id: str, ring_time: float, channel_id: str
) -> dict[str, str]:
    """Return the headers of an Originate that rings one side, and begins the dialplan when it is picked up.

    The answer comes at once; what becomes of the call is told by events with ``channel_id`` as their ``Uniqueid``.

    Args:
        channel: whom to ring, such as ``PJSIP/101``.
        context, exten: of the dialplan; it begins at priority 1.
        caller_id: what the phone shows while it rings: see `shown_as`.
        ring_time: seconds.
        channel_id: never used before.
    """
    return {
        "Channel": channel,
        "Context": context,
        "Exten": exten,
        "Priority": "1",
        "Timeout": str(round(ring_time * 1000)),
        "CallerID": caller_id,
        "Async": "true",
        "ChannelId": channel_id,
    }


def shown_as(name: str, number: str) -> str:
    """Return ``"Name" <number>``. Within the quotes Asterisk gives a meaning to quotes and backslashes."""
    plain = "".join(char for char in name if char.isprintable() and char not in '"\\<>')
    return f'"{plain}" <{number}>'
