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
        can_send: tells whether events reach anybody now. While they don't, what happens is only taken note of.
        lookup: asks the phone book; it returns in bounded time and does not raise. None: there is no phone book.
    """

    def __init__(
        self,
        announcer: Announcer,
        send: Callable[[str, PhoneEvent], None],
        can_send: Callable[[], bool],
        lookup: Callable[[str], Awaitable[Entry | None]] | None,
    ) -> None:
        self._announcer = announcer
        self._send = send
        self._can_send = can_send
        self._lookup = lookup
        self._lanes: dict[str, deque[Change]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled = False

    def call_changed(self, change: Change) -> None:
        """Take what happened to a call. Nothing here waits."""
        owner = change.call.owner
        if owner in self._lanes:
            self._lanes[owner].append(change)
        elif self._wants_name(change):
            self._lanes[owner] = deque([change])
            task = asyncio.create_task(self._run(owner))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._announce(change)

    def settle(self) -> None:
        """End what was announced of calls that are no more, once all that waits has been told.

        To be called when all calls are known, and whenever events can be sent again.
        """
        if not self._can_send():
            return
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
                if self._wants_name(change):
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

    def _wants_name(self, change: Change) -> bool:
        return self._lookup is not None and isinstance(change, Rang | Dialled) and bool(change.call.party.number)

    async def _named(self, change: Change) -> Change:
        assert self._lookup is not None  # noqa: S101 - _wants_name has seen to it
        party = change.call.party
        entry = await self._lookup(party.number)
        if entry is None:
            return change
        call = dataclasses.replace(change.call, party=Party(party.number, _label(entry) or party.name))
        return dataclasses.replace(change, call=call)

    def _announce(self, change: Change) -> None:
        if not self._can_send():
            self._announcer.note(change)
            return
        for owner, event in self._announcer.announce(change):
            self._send(owner, event)


def _is_over(rang: Rang, later: deque[Change]) -> bool:
    return any(isinstance(change, Ended) and change.call.id == rang.call.id for change in later)


def _label(entry: Entry) -> str:
    """Return name and company as one text: clients have one line for both."""
    return ", ".join(part for part in (entry.name, entry.company) if part)
