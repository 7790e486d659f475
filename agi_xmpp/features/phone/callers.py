"""Who the other side of a call is, as far as the person may know: withheld numbers, and names from the phone book.

The phone that rings shows "anonymous" for a withheld number, but Asterisk's events have it
(`agi_xmpp.ami.presentation`). So Asterisk is asked, call by call, before anybody is told; if it does not answer, nobody
is told who calls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from agi_xmpp.ami import presentation
from agi_xmpp.ami.calls import Call, Change, Dialled, Ended, Party
from agi_xmpp.ami.model import Ami
from agi_xmpp.errors import AmiError
from agi_xmpp.features.phone.book.model import Entry


@dataclasses.dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the other side of one person's call.

    Attributes:
        asked: who it was when that was found out. A transfer brings somebody else, who may withhold their number.
        shown: what of that may be shown, with the name of the phone book.
    """

    asked: Party
    shown: Party


class Callers:
    """The other sides of all calls.

    Args:
        ami: is asked whether a number is withheld.
        lookup: asks the phone book; it returns in bounded time and does not raise. None: there is no phone book.
    """

    def __init__(self, ami: Ami, lookup: Callable[[str], Awaitable[Entry | None]] | None) -> None:
        self._ami = ami
        self._lookup = lookup
        self._known: dict[tuple[str, str], _Known] = {}

    def must_ask(self, change: Change) -> bool:
        """Return True if something has to be found out before anybody may be told of the change."""
        call = change.call
        known = self._known.get(_key(call))
        if isinstance(change, Ended) or not call.party or (known is not None and known.asked == call.party):
            return False
        return self._lookup is not None or not isinstance(change, Dialled)

    async def ask(self, change: Change) -> None:
        """Find it out; `seen` knows it then. Takes a moment, and does not raise."""
        call, party = change.call, change.call.party
        # Whom the person has dialled is no secret to them.
        if not isinstance(change, Dialled) and await self._is_withheld(call.channel):
            party = Party()
        if self._lookup is not None and party.number and (entry := await self._lookup(party.number)):
            party = Party(party.number, _label(entry) or party.name)
        self._known[_key(call)] = _Known(call.party, party)

    def seen(self, call: Call) -> Call:
        """Return a call as its owner may see it. Who called, or came by a transfer, is nobody before `ask`."""
        known = self._known.get(_key(call))
        if known is not None:
            party = known.shown if known.asked == call.party else Party()
        elif call.incoming or call.answered is not None:
            party = Party()
        else:
            return call
        return dataclasses.replace(call, party=party)

    def seen_change(self, change: Change) -> Change:
        """Return a change as the owner of its call may see it; the end of a call is the last that is known of it."""
        call = change.call
        if isinstance(change, Dialled):
            self._known.setdefault(_key(call), _Known(call.party, call.party))
        seen = dataclasses.replace(change, call=self.seen(call))
        if isinstance(change, Ended):
            self._known.pop(_key(call), None)
        return seen

    async def _is_withheld(self, channel: str) -> bool:
        try:
            return await presentation.is_withheld(self._ami, channel, presentation.OTHER_SIDE)
        except AmiError:
            return True


def _key(call: Call) -> tuple[str, str]:
    return call.owner, call.id


def _label(entry: Entry) -> str:
    """Return name and company as one text: clients have one line for both."""
    return ", ".join(part for part in (entry.name, entry.company) if part)
