"""Who the other side of a call is, as far as the person may know: withheld numbers, and names from the phone book.

Asterisk's events have a caller's number and name even where the caller has withheld them, without a word about it
(measured on 22.10, with ``CALLERID(pres)=prohib``). The phone that rings shows "anonymous". So Asterisk is asked, call
by call, before anybody is told; if it does not answer, nobody is told who calls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from agi_xmpp.ami.calls import Call, Change, Dialled, Ended, Party, Rang, Restored
from agi_xmpp.ami.model import Ami
from agi_xmpp.errors import AmiError
from agi_xmpp.features.phone.book.model import Entry

#: Seconds for Asterisk to say whether a number is withheld. It takes a millisecond.
ASK_TIME = 1.0

#: The presentation of the number that the person's phone shows (func_callerid): "prohib…" for a withheld one.
_PRESENTATION = "CONNECTEDLINE(num-pres)"


@dataclasses.dataclass(slots=True)
class _Known:
    """What is known of the other side of one person's call.

    Attributes:
        withheld: it does not want to be known.
        number: the one that was looked up.
        name: of that number, "" if the phone book has none.
    """

    withheld: bool = False
    number: str = ""
    name: str = ""


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
        if not isinstance(change, Rang | Dialled | Restored) or not (call.party.number or call.party.name):
            return False
        return call.incoming or self._lookup is not None

    async def ask(self, change: Change) -> None:
        """Find it out; `seen` knows it then. Takes a moment, and does not raise."""
        call = change.call
        known = self._known.setdefault((call.owner, call.id), _Known())
        if call.incoming:
            known.withheld = await self._is_withheld(call.channel)
        if self._lookup is not None and call.party.number and not known.withheld:
            entry = await self._lookup(call.party.number)
            known.number, known.name = call.party.number, _label(entry) if entry else ""

    def seen(self, call: Call) -> Call:
        """Return a call as its owner may see it."""
        known = self._known.get((call.owner, call.id))
        if known is None:
            return call
        if known.withheld:
            return dataclasses.replace(call, party=Party())
        if known.name and known.number == call.party.number:
            return dataclasses.replace(call, party=Party(known.number, known.name))
        return call

    def seen_change(self, change: Change) -> Change:
        """Return a change as the owner of its call may see it; the end of a call is the last that is known of it."""
        seen = dataclasses.replace(change, call=self.seen(change.call))
        if isinstance(change, Ended):
            self._known.pop((change.call.owner, change.call.id), None)
        return seen

    async def _is_withheld(self, channel: str) -> bool:
        try:
            answer = await self._ami.action("Getvar", {"Channel": channel, "Variable": _PRESENTATION}, timeout=ASK_TIME)
        except AmiError:
            return True
        return answer.get("Value", "").startswith("prohib")


def _label(entry: Entry) -> str:
    """Return name and company as one text: clients have one line for both."""
    return ", ".join(part for part in (entry.name, entry.company) if part)
