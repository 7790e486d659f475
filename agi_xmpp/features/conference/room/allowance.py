"""How much rooms send out because of one person: no single client may hold up all rooms, or fill the stream. Pure.

Small stanzas make much: who enters gets the history and a presence of everybody, and what they write goes to all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agi_xmpp.errors import Refused
from agi_xmpp.features.quota import Quota
from agi_xmpp.xmpp.model import Jid

#: Characters that are sent for one person within `PERIOD` seconds: three of the longest messages in a room of 200.
#: It is a tenth of a processor's time, and with all that escaping adds, below what may wait for the server.
CHARACTERS: Final = 40_000_000
PERIOD: Final = 10.0

#: What is counted at the least: for a text, because phones may ring or beep at each (500 in the period: a program may
#: have a burst to say); for a question to a room, whose answer may be a list (1000); for entering a room (200).
TEXT: Final = CHARACTERS // 500
QUESTION: Final = CHARACTERS // 1000
ENTRY: Final = CHARACTERS // 200

#: Characters of what each stanza has besides what its sender has put in it, such as addresses.
FRAME: Final = 500
#: Characters of the presence of somebody who is in, on average.
PRESENCE: Final = 1000


class Allowance:
    """What is left to each person, in all rooms together.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._quota = Quota(CHARACTERS, PERIOD, clock)

    def ask(self, person: Jid, count: int = 1) -> None:
        """Count a question to the service or a room, or as many changes in one request.

        Raises:
            Refused: ``resource-constraint``: those were too many.
        """
        if not self.take(person, QUESTION * count):
            raise Refused("Those are too many questions at once: wait some seconds.", "resource-constraint")

    def take(self, person: Jid, characters: int) -> bool:
        """Count what is sent for somebody; return False, and count nothing, if that is too much.

        Args:
            person: bare JID; of a room for its phones together.
            characters: about how many.
        """
        if not self._quota.allows(person, characters):
            return False
        self._quota.spend(person, characters)
        return True
