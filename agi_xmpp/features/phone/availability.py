"""Who is away or does not want to be disturbed; Asterisk is told (``PRESENCE_STATE``, ``QueuePause``).

What somebody says by the command ``dnd`` goes before what their chat client shows. While somebody talks, the presence
of their client does not count: some clients (Spark) set "away, On the phone" by themselves then, and that is no reason
to pause anybody. It counts again `SETTLE` seconds after the last call: by then those clients have put back what was.

Who goes offline stays paused, or not paused, as they were: who went home while away must get no calls of a queue, and
who lost only the connection must not miss them. Only what we have paused ourselves is ever unpaused by us.

Reference: the pages "PRESENCE_STATE" and "QueuePause" of docs.asterisk.org; the values were tried on Asterisk 22.10.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from types import MappingProxyType

from agi_xmpp.ami.calls import Change, Ended
from agi_xmpp.ami.model import Ami
from agi_xmpp.config import PhoneSettings
from agi_xmpp.errors import AmiError, AmiNotConnected, AmiRefused
from agi_xmpp.features.phone.people import Person
from agi_xmpp.xmpp.model import Jid, Presence, Show

log = logging.getLogger("agi_xmpp.phone")

#: Seconds that a chat client gets to put its presence back after a call.
SETTLE = 3.0

#: Characters of a status text that Asterisk is told: a line of AMI holds 1024 bytes, and base64 makes more of them.
MAX_TEXT = 100

_STATES: Mapping[Show, str] = MappingProxyType(
    {
        Show.ONLINE: "available",
        Show.CHAT: "chat",
        Show.AWAY: "away",
        Show.XA: "xa",
        Show.DND: "dnd",
        Show.OFFLINE: "unavailable",
    }
)
_PAUSES: Mapping[Show, str] = MappingProxyType({Show.AWAY: "im-away", Show.XA: "im-away", Show.DND: "im-dnd"})
_DO_NOT_DISTURB = Presence(Show.DND)

#: What Asterisk says to `QueuePause` about a phone that is in no queue.
_IN_NO_QUEUE = "Interface not found"


class Availability:
    """The availability of everybody, and what Asterisk has to be told of it.

    Args:
        people: the user map.
        settings: ``[phone]``.
        ami: the manager connection.
        is_talking: tells whether somebody (by the bare JID as text) talks on the phone now.
        dnd: who has said ``dnd on``; kept over a restart.
        told: what Asterisk was last told; kept over a restart.
        changed: is told whose availability has changed.
    """

    def __init__(
        self,
        people: Iterable[Person],
        settings: PhoneSettings,
        ami: Ami,
        is_talking: Callable[[str], bool],
        dnd: MutableMapping[str, str],
        told: MutableMapping[str, str],
        changed: Callable[[Person], None] = lambda _person: None,
    ) -> None:
        self._people = {str(person.jid): person for person in people}
        self._names = presentities(self._people.values())
        self._settings = settings
        self._ami = ami
        self._is_talking = is_talking
        self._dnd = dnd
        self._told = told
        self._changed = changed
        #: What the clients show, and what they showed during a call.
        self._shown: dict[str, Presence] = {}
        self._meanwhile: dict[str, Presence] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        #: On the present connection to Asterisk: what it knows, and what it did not take.
        self._known: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._teller: asyncio.Task[None] | None = None

    # What people say

    def presence(self, person: Person) -> Presence | None:
        """Return how available somebody is, apart from calls; None if nothing is known."""
        return _DO_NOT_DISTURB if self.has_dnd(person) else self._shown.get(str(person.jid))

    def is_dnd(self, person: Person) -> bool:
        """Return True if somebody does not want to be disturbed: by the command, or by what their client shows."""
        presence = self.presence(person)
        return presence is not None and presence.show is Show.DND

    def has_dnd(self, person: Person) -> bool:
        """Return True if somebody has said ``dnd on``."""
        return str(person.jid) in self._dnd

    def set_dnd(self, person: Person, on: bool) -> None:
        """Take what somebody says by the command ``dnd``."""
        if on:
            self._dnd[str(person.jid)] = "on"
        else:
            self._dnd.pop(str(person.jid), None)
            shown = self._shown.get(str(person.jid))
            if shown is None or shown.show is Show.OFFLINE:
                # Who says so is there, also where we may not see it; and a pause must not outlast the reason for it.
                self._shown[str(person.jid)] = Presence(Show.ONLINE)
        self._news(person)

    def presence_changed(self, who: Jid, presence: Presence) -> None:
        """Take the best presence of somebody (bare JID)."""
        owner = str(who.bare)
        if owner not in self._people or presence.show is Show.NOT_IN_ROSTER:
            return
        if presence.show is Show.AWAY and presence.status == self._settings.on_phone:
            return
        if self._is_talking(owner):
            self._meanwhile[owner] = presence
            return
        self._forget_meanwhile(owner)
        self._show(owner, presence)

    def call_changed(self, change: Change) -> None:
        """Take what happened to a call."""
        owner = change.call.owner
        if isinstance(change, Ended) and owner in self._meanwhile and not self._is_talking(owner):
            self._stop_timer(owner)
            self._timers[owner] = asyncio.get_running_loop().call_later(SETTLE, self._settle, owner)

    def _settle(self, owner: str) -> None:
        self._timers.pop(owner, None)
        if not self._is_talking(owner) and (presence := self._meanwhile.pop(owner, None)):
            self._show(owner, presence)

    def _show(self, owner: str, presence: Presence) -> None:
        if self._shown.get(owner) != presence:
            self._shown[owner] = presence
            self._news(self._people[owner])

    def _news(self, person: Person) -> None:
        self._changed(person)
        self._tell_soon()

    def _forget_meanwhile(self, owner: str) -> None:
        self._meanwhile.pop(owner, None)
        self._stop_timer(owner)

    def _stop_timer(self, owner: str) -> None:
        if timer := self._timers.pop(owner, None):
            timer.cancel()

    # What Asterisk is told

    def ami_connected(self) -> None:
        """Tell Asterisk all again: it may have been another one, or have lost it."""
        self._known.clear()
        self._failed.clear()
        self._tell_soon()

    async def stop(self) -> None:
        """Leave no task and no timer behind."""
        for owner in list(self._timers):
            self._stop_timer(owner)
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.gather(self._teller, return_exceptions=True)

    def _tell_soon(self) -> None:
        if self._teller is None or self._teller.done():
            self._teller = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        """Tell Asterisk one thing after the other, until it knows all; what changes meanwhile comes behind."""
        while news := self._news_for_asterisk():
            for key, value in news.items():
                try:
                    await self._ami.action(*_action(key, value))
                except AmiNotConnected:
                    return  # `ami_connected` begins anew
                except AmiError as error:
                    self._failed[key] = value
                    unneeded = isinstance(error, AmiRefused) and _IN_NO_QUEUE in str(error)
                    log.log(logging.DEBUG if unneeded else logging.WARNING, "Asterisk was not told %s: %s", key, error)
                else:
                    self._was_told(key, value)

    def _was_told(self, key: str, value: str) -> None:
        self._failed.pop(key, None)
        self._known[key] = value
        if value == _default(key):
            self._told.pop(key, None)
        else:
            self._told[key] = value
        log.info("Asterisk was told: %s is %s", key, value or "free")

    def _news_for_asterisk(self) -> dict[str, str]:
        """Return what Asterisk has to know, and does not."""
        return {
            key: value
            for key, value in self._wanted().items()
            if value not in (self._known.get(key), self._failed.get(key))
            # What Asterisk never heard otherwise from us, but somebody else has set, stays.
            and (value != _default(key) or key in self._told)
        }

    def _wanted(self) -> dict[str, str]:
        """Return what Asterisk has to know: by `_action`'s keys."""
        wanted = {key: _default(key) for key in self._told}
        for owner, person in self._people.items():
            presence = self.presence(person)
            # Who says "dnd on" to a telephone system wants it to know, also where it is not told of chat clients.
            if presence is not None and (self._settings.presence_state or self.has_dnd(person)):
                wanted[f"presence {self._names[owner]}"] = _state(presence)
            elif presence is None and self._settings.presence_state:
                wanted.pop(f"presence {self._names[owner]}", None)
            if self._settings.pause_queues:
                for device in person.devices:
                    key = f"pause {device}"
                    if presence is None or presence.show is Show.OFFLINE:
                        wanted[key] = self._told.get(key, "")
                    else:
                        wanted[key] = _PAUSES.get(presence.show, "")
        return wanted


def presentities(people: Iterable[Person]) -> dict[str, str]:
    """Return the name behind ``CustomPresence:`` of everybody, by bare JID.

    It is the part of the JID before the ``@``; the whole JID with ``_`` for the ``@`` where two have the same. What
    Asterisk would take for syntax becomes ``_``: it reads a backslash as an escape, for example.
    """
    taken: dict[str, str] = {}
    names: dict[str, str] = {}
    for person in people:
        name = _word(person.jid.local)
        if taken.setdefault(name.casefold(), str(person.jid)) != str(person.jid):
            name = _word(str(person.jid))
        names[str(person.jid)] = name
    return names


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _state(presence: Presence) -> str:
    """Return the value of ``PRESENCE_STATE``: state, subtype, message, options. Option ``e``: the message is base64."""
    text = "".join(character for character in presence.status if character.isprintable())[:MAX_TEXT]
    coded = base64.b64encode(text.encode()).decode("ascii")
    return f"{_STATES[presence.show]},,{coded},e" if text else f"{_STATES[presence.show]},,"


def _default(key: str) -> str:
    return "not_set,," if key.startswith("presence ") else ""


def _action(key: str, value: str) -> tuple[str, dict[str, str]]:
    """Return the action that tells Asterisk that something, such as ``pause PJSIP/101``, has a value."""
    what, _, name = key.partition(" ")
    if what == "presence":
        return "Setvar", {"Variable": f"PRESENCE_STATE(CustomPresence:{name})", "Value": value}
    if value:
        return "QueuePause", {"Interface": name, "Paused": "true", "Reason": value}
    return "QueuePause", {"Interface": name, "Paused": "false"}
