"""Phones as a session sees them, without any: a host that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agi_xmpp.xmpp.model import Jid, Show
from agi_xmpp.xmpp.phone_model import Contact, ContactState, PhoneAction


class FakeHost:
    """Knows alice and bob of one domain, and does what it is told to.

    Attributes:
        users: nodes with a phone, and bare JIDs that may ask.
        acted: what was asked of it.
        refuse: raised by `act`.
        hold: `act` waits for it, if there is one.
        states: what the contacts show.
        watchers: who may watch them; "*" is everybody.
        numbers: what users may dial besides.
    """

    def __init__(self, domain: str = "fake.test") -> None:
        self.users = {f"alice@{domain}", f"bob@{domain}", f"d\\27artagnan@{domain}"}
        self.nodes = {"alice", "bob", "d'artagnan", "d\\27artagnan"} | self.users
        self.acted: list[tuple[Jid, PhoneAction]] = []
        self.news = asyncio.Event()
        self.refuse: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.states = {"alice": ContactState(Show.ONLINE, device="PJSIP/101")}
        self.watchers = {f"bob@{domain}"}
        self.numbers = {"+4930123"}

    def has_phone(self, node: str) -> bool:
        return node.casefold() in self.nodes

    def may_ask(self, who: Jid) -> bool:
        return str(who.bare) in self.users

    def features(self) -> Sequence[str]:
        return ["urn:x-phone:test"]

    async def act(self, who: Jid, action: PhoneAction) -> None:
        self.acted.append((who, action))
        self.news.set()
        if self.hold:
            await self.hold.wait()
        if self.refuse:
            raise self.refuse

    def contacts(self) -> Sequence[Contact]:
        return [Contact(local, local.title()) for local in self.states]

    def contact(self, local: str) -> ContactState | None:
        return self.states.get(local)

    def may_watch(self, who: Jid, local: str) -> bool:
        return "*" in self.watchers or str(who.bare) in self.watchers

    def may_reach(self, who: Jid, local: str) -> bool:
        if local in self.numbers:
            return self.may_ask(who)
        return self.contact(local) is not None and self.may_watch(who, local)
