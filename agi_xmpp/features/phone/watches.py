"""Tell me when Ann is free: who waits for whom, and the one message that ends it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from agi_xmpp.errors import AgiXmppError, Refused
from agi_xmpp.features.phone.people import Person
from agi_xmpp.xmpp.model import Button, Extras, Session

log = logging.getLogger("agi_xmpp.phone")

#: Seconds after which nobody waits any more: a working day.
WATCH_TTL = 8 * 3600.0

#: People that one person may wait for at a time.
WATCHES_EACH = 20

#: Seconds for which the message may wait for a session: after that, somebody who was free may not be any more.
TELL_AGE = 60.0


@dataclass(frozen=True, slots=True)
class _Watch:
    """Somebody waits for somebody."""

    asker: Person
    person: Person
    until: float


class Watches:
    """Who waits for whom. They are not kept over a restart.

    Args:
        session: which the messages are sent over.
        is_free: tells whether somebody has no call and may be disturbed.
        clock: seconds, monotonic.
    """

    def __init__(self, session: Session, is_free: Callable[[Person], bool], clock: Callable[[], float]) -> None:
        self._session = session
        self._is_free = is_free
        self._clock = clock
        self._watches: dict[tuple[str, str], _Watch] = {}

    def add(self, asker: Person, person: Person) -> str:
        """Tell ``asker`` when ``person`` is free.

        Returns:
            What to answer.

        Raises:
            Refused: that makes no sense, or ``asker`` waits for too many already.
        """
        self._forget_old()
        if asker.jid == person.jid:
            raise Refused("You will know that yourself.", "not-acceptable")
        if self._is_free(person):
            return f"{person.name} is free now: {_dial(person)}"
        key = (str(asker.jid), str(person.jid))
        if key not in self._watches and len(self.of(asker)) >= WATCHES_EACH:
            raise Refused(f"You wait for {WATCHES_EACH} people already.", "resource-constraint")
        self._watches[key] = _Watch(asker, person, self._clock() + WATCH_TTL)
        return f"You will be told when {person.name} is free, for the next {WATCH_TTL / 3600:g} hours."

    def remove(self, asker: Person) -> int:
        """Let somebody wait for nobody any more; return how many it were."""
        mine = [key for key, watch in self._watches.items() if watch.asker.jid == asker.jid]
        for key in mine:
            del self._watches[key]
        return len(mine)

    def of(self, asker: Person) -> list[Person]:
        """Return whom somebody waits for."""
        self._forget_old()
        return [watch.person for watch in self._watches.values() if watch.asker.jid == asker.jid]

    def look(self, person: Person) -> None:
        """Tell those who wait for ``person`` if the moment has come. Call this whenever it may have."""
        self._forget_old()
        mine = [key for key, watch in self._watches.items() if watch.person.jid == person.jid]
        if not mine or not self._is_free(person):
            return
        for key in mine:
            watch = self._watches.pop(key)
            extras = Extras(
                buttons=(Button(_dial(person), f"Call {person.name}", f"dial/{person.extension}"),),
                expects_answer=False,
            )
            text = f"{person.name} is free again: {_dial(person)}"
            try:
                self._session.queue_message(str(watch.asker.jid), text, extras=extras, max_age=TELL_AGE)
            except AgiXmppError as error:
                log.warning("%s is not told that %s is free: %s", watch.asker.jid, person.jid, error)

    def _forget_old(self) -> None:
        now = self._clock()
        for key in [key for key, watch in self._watches.items() if watch.until <= now]:
            del self._watches[key]


def _dial(person: Person) -> str:
    """Return what to type to call somebody; it is a chat command of ours."""
    return f"call {person.extension}"
