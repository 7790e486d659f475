"""A room (XEP-0045) on a real server, run by a person."""

from __future__ import annotations

from typing import Self
from xml.sax.saxutils import escape, quoteattr

from tests.testbed.client import Buddy, Heard, Seen

_MUC = "http://jabber.org/protocol/muc"


class RoomOf:
    """A room as its owner sees it. Make it with `opened`.

    Attributes:
        jid: its bare JID.
        owner: the person.
        nick: the owner's.
    """

    def __init__(self, jid: str, owner: Buddy, nick: str) -> None:
        self.jid = jid
        self.owner = owner
        self.nick = nick

    @classmethod
    async def opened(cls, jid: str, owner: Buddy, nick: str = "bob", **settings: str) -> Self:
        """Make the room.

        Args:
            jid: nobody has it yet.
            owner: online.
            nick: the owner's.
            settings: of the form ``muc#roomconfig``, without that prefix.
        """
        room = cls(jid, owner, nick)
        await room.enter(owner, nick)
        await room.configure(**settings)
        return room

    async def enter(self, who: Buddy, nick: str, password: str = "") -> None:
        """Let somebody enter, without the history."""
        key = f"<password>{escape(password)}</password>" if password else ""
        who.send_raw(
            f"<presence to={quoteattr(self.of(nick))}><x xmlns='{_MUC}'><history maxstanzas='0'/>{key}</x></presence>"
        )
        await who.sees(lambda seen: seen.sender == self.of(nick) and seen.type == "" and 'code="110"' in seen.xml)

    def of(self, nick: str) -> str:
        """Return the address of an occupant."""
        return f"{self.jid}/{nick}"

    async def configure(self, **settings: str) -> None:
        """Change settings; with none, accept the service's own (a new room is locked until then)."""
        fields = {"FORM_TYPE": f"{_MUC}#roomconfig"}
        fields |= {f"muc#roomconfig_{name}": value for name, value in settings.items()}
        form = "".join(f"<field var='{var}'><value>{escape(value)}</value></field>" for var, value in fields.items())
        form = f"<x xmlns='jabber:x:data' type='submit'>{form if settings else ''}</x>"
        await self.owner.request(self.jid, f"<query xmlns='{_MUC}#owner'>{form}</query>")

    async def give_affiliation(self, jid: str, affiliation: str, reason: str = "") -> None:
        """Make somebody owner, admin, member, none or outcast (a ban)."""
        await self._administer(f"jid={quoteattr(jid)} affiliation='{affiliation}'", reason)

    async def give_role(self, nick: str, role: str, reason: str = "") -> None:
        """Make an occupant moderator, participant, visitor or none (a kick)."""
        await self._administer(f"nick={quoteattr(nick)} role='{role}'", reason)

    async def destroy(self, reason: str = "") -> None:
        """End the room."""
        await self.owner.request(
            self.jid,
            f"<query xmlns='{_MUC}#owner'><destroy><reason>{escape(reason)}</reason></destroy></query>",
        )

    def say(self, text: str) -> None:
        """Let the owner say something."""
        self.owner.say(self.jid, text, kind="groupchat")

    async def hears(self, text: str = "", *, nick: str = "", timeout: float = 10.0) -> Heard:
        """Wait until the owner hears something in the room; it is what was said last if nothing is named."""
        return await self.owner.hears(
            lambda heard: (
                heard.type == "groupchat"
                and heard.sender.startswith(self.of(nick) if nick else self.of(""))
                and (heard.body == text if text else bool(heard.body))
            ),
            timeout=timeout,
        )

    async def sees_in(self, nick: str, timeout: float = 15.0) -> Seen:
        """Wait until the owner sees somebody enter."""
        return await self.owner.sees(lambda seen: seen.sender == self.of(nick) and seen.type == "", timeout=timeout)

    async def sees_out(self, nick: str, timeout: float = 15.0) -> Seen:
        """Wait until the owner sees somebody leave."""
        return await self.owner.sees(
            lambda seen: seen.sender == self.of(nick) and seen.type == "unavailable", timeout=timeout
        )

    async def _administer(self, item: str, reason: str) -> None:
        words = f"<reason>{escape(reason)}</reason>" if reason else ""
        await self.owner.request(self.jid, f"<query xmlns='{_MUC}#admin'><item {item}>{words}</item></query>")
