"""Tells people's clients of their calls: in order for everybody, with names from the phone book where it knows one."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Awaitable, Callable

from agi_xmpp.ami.calls import Change, Dialled, Ended, Party, Rang
from agi_xmpp.features.phone.book.model import Entry
from agi_xmpp.features.phone.events import Announcer
from agi_xmpp.xmpp.phone_model import PhoneEvent


class Teller:
    """Turns changes of calls into events and sends them.

    The phone book may take a moment. What happens to the same person meanwhile waits behind; others do not.

    Args:
        announcer: decides what is sent.
        send: sends an event to an owner.
        lookup: asks the phone book; it returns in bounded time and does not raise.
    """

    def __init__(
        self,
        announcer: Announcer,
        send: Callable[[str, PhoneEvent], None],
        lookup: Callable[[str], Awaitable[Entry | None]],
    ) -> None:
        self._announcer = announcer
        self._send = send
        self._lookup = lookup
        self._lanes: dict[str, deque[Change]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled = False

    def call_changed(self, change: Change) -> None:
        """Take what happened to a call. Nothing here waits."""
        owner = change.call.owner
        if owner in self._lanes:
            self._lanes[owner].append(change)
        elif _wants_name(change):
            self._lanes[owner] = deque([change])
            task = asyncio.create_task(self._run(owner))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._announce(change)

    def settle(self) -> None:
        """End what was announced of calls that are no more, once all that waits has been told."""
        if self._lanes:
            self._unsettled = True
            return
        self._unsettled = False
        for owner, event in self._announcer.settle():
            self._send(owner, event)

    async def stop(self) -> None:
        """Tell what waits, without names, and leave no task behind."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, owner: str) -> None:
        lane = self._lanes[owner]
        try:
            while lane:
                change = lane[0]
                if _wants_name(change):
                    change = await self._named(change)
                lane.popleft()
                # Nobody wants to see a call pop up that is over already.
                if not (isinstance(change, Rang) and _is_over(change, lane)):
                    self._announce(change)
        finally:
            del self._lanes[owner]
            for change in lane:
                self._announce(change)
            if self._unsettled:
                self.settle()

    async def _named(self, change: Change) -> Change:
        party = change.call.party
        entry = await self._lookup(party.number)
        if entry is None:
            return change
        call = dataclasses.replace(change.call, party=Party(party.number, _label(entry) or party.name))
        return dataclasses.replace(change, call=call)

    def _announce(self, change: Change) -> None:
        for owner, event in self._announcer.announce(change):
            self._send(owner, event)


def _wants_name(change: Change) -> bool:
    return isinstance(change, Rang | Dialled) and bool(change.call.party.number)


def _is_over(rang: Rang, later: deque[Change]) -> bool:
    return any(isinstance(change, Ended) and change.call.id == rang.call.id for change in later)


def _label(entry: Entry) -> str:
    """Return name and company as one text: clients have one line for both."""
    return ", ".join(part for part in (entry.name, entry.company) if part)
