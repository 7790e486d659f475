"""Whether a caller withholds who they are.

Asterisk's events have a caller's number and name even where the caller has withheld them, without a word about it
(measured on 22.10, with ``CALLERID(pres)=prohib``). So Asterisk is asked, channel by channel, before anybody is told.
"""

from __future__ import annotations

from typing import Final

from agi_xmpp.ami.model import Ami

#: Seconds for Asterisk to say it. It takes a millisecond.
ASK_TIME: Final = 1.0

#: Asterisk's words for a channel that has hung up meanwhile (manager.c).
GONE: Final = "No such channel"

#: Of whom: the caller whose channel it is, name or number; and the number of the other side, as that phone shows it.
#: Source: func_callerid, on docs.asterisk.org.
CALLER: Final = "CALLERID(pres)"
OTHER_SIDE: Final = "CONNECTEDLINE(num-pres)"


async def is_withheld(ami: Ami, channel: str, of: str = CALLER) -> bool:
    """Return True if somebody withholds who they are.

    Args:
        ami: the manager connection; its user needs the class ``call`` or ``reporting``.
        channel: whose it is about.
        of: `CALLER` or `OTHER_SIDE`.

    Raises:
        AmiRefused: there is no such channel (any more), or the manager user may not ask.
        AmiError: Asterisk could not be asked. What is not known is not to be shown.
    """
    answer = await ami.action("Getvar", {"Channel": channel, "Variable": of}, timeout=ASK_TIME)
    return answer.get("Value", "").startswith("prohib")
