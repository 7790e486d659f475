"""What a human should know that is no call of the XMPP module, but depends on it."""

from __future__ import annotations

import re

_MEDIA = re.compile(r"\b(Gtalk|Jingle|Motif)/", re.IGNORECASE)
_DEVICE = re.compile(r"\bXMPP/[^\s,)&]+")


def media_remark(code: str) -> str:
    """Return what to say about calls over Jingle; nothing if the line makes none."""
    match = _MEDIA.search(code)
    if match is None:
        return ""
    if match[1].lower() == "motif":
        return "Motif/: agi-xmpp carries no calls; chan_motif needs res_xmpp with an account of its own"
    return (
        f"{match[1]}/: agi-xmpp carries no calls, and this channel driver left Asterisk long ago; ring a phone instead"
    )


def hint_remark(code: str) -> str:
    """Return what to say about device states of the XMPP module; nothing if the line names none."""
    match = _DEVICE.search(code)
    return f"{match[0]}: this device state came from res_xmpp; ask jabber_status in the dialplan" if match else ""
