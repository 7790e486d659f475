"""Somebody in a room by chat (XEP-0045), on slixmpp: what a client makes of what a room says.

`tests.testbed.room` is a room's owner who sends stanzas as they stand; this is a client with rules of its own, which
believes a room only what it says in the right order.
"""

from __future__ import annotations

import asyncio
import dataclasses
import xml.etree.ElementTree as ET
from typing import Any

from slixmpp import JID
from slixmpp.exceptions import IqError, PresenceError

from tests.testbed.client import Buddy, Heard, Seen, read_message

#: Seconds for entering, and for what a person waits for if the test does not say.
TIMEOUT = 10.0

_STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
_USER = "{http://jabber.org/protocol/muc#user}"


class Refused(Exception):
    """A room refused something.

    Attributes:
        sender: who says so.
        condition: such as ``conflict`` (RFC 6120 section 8.3.3).
        type: such as ``cancel``.
        text: in words, or "".
    """

    def __init__(self, stanza: ET.Element) -> None:
        error = stanza.find("{jabber:client}error")
        assert error is not None
        self.sender = stanza.get("from", "")
        self.type = error.get("type", "")
        self.condition = next((child.tag for child in error if child.tag.startswith(_STANZAS)), "").partition("}")[2]
        self.text = error.findtext(f"{_STANZAS}text", "")
        super().__init__(f"{self.sender}: {self.type} {self.condition} {self.text}".rstrip())


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """An occupant, as one of the others sees them.

    Attributes:
        affiliation, role: XEP-0045 section 5.
        jid: their real address, or "" where the room does not tell.
        show, status: of their presence.
    """

    affiliation: str
    role: str
    jid: str
    show: str
    status: str


@dataclasses.dataclass(frozen=True, slots=True)
class Gone:
    """Somebody's leave.

    Attributes:
        codes: status codes (XEP-0045 section 15.6), such as 307 for a kick.
        reason: "" if there is none.
        actor: the nick of who did it, or "".
        new_nick: of who only changes their name.
    """

    codes: frozenset[int]
    reason: str
    actor: str
    new_nick: str


class Attendee:
    """Somebody in a room. Make it with `enter`.

    Attributes:
        buddy: the client.
        room: the room's bare JID.
        codes: the status codes of our own presence as we came in.
        entered: everybody's nick, in the order in which the room said who is in; our own comes last.
        history: the messages from before, oldest first.
        subject: the room's, as it was when we came in.
    """

    def __init__(self, buddy: Buddy, room: str) -> None:
        self.buddy = buddy
        self.room = room
        self.codes: frozenset[int] = frozenset()
        self.entered: list[str] = []
        self.history: list[Heard] = []
        self.subject = ""
        self._plugin = buddy.muc()

    @classmethod
    async def enter(cls, buddy: Buddy, room: str, nick: str, **options: Any) -> Attendee:
        """Enter a room; return when the client counts as in: after who is in, the history and the subject.

        Args:
            buddy: online.
            room: bare JID.
            nick: wanted.
            options: ``password``, ``maxstanzas``, ``maxchars``, ``seconds`` or ``since`` (XEP-0045 section 7.2.14).

        Raises:
            Refused: the room does not let us in.
            AssertionError: no answer, or one that is not whole: a client would wait for ever.
        """
        self = cls(buddy, room)
        # slixmpp takes note of a refusal only if <x/> is in it, which Prosody does not send.
        refused = asyncio.create_task(
            buddy.sees(lambda seen: seen.type == "error" and seen.sender.partition("/")[0] == room, timeout=TIMEOUT)
        )
        joined = asyncio.create_task(self._plugin.join_muc_wait(JID(room), nick, timeout=TIMEOUT, **options))
        done, pending = await asyncio.wait((refused, joined), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(refused, joined, return_exceptions=True)
        if refused in done and refused.exception() is None:
            raise Refused(ET.fromstring(refused.result().xml))
        try:
            own, subject, occupants, history = joined.result()
        except PresenceError as error:
            raise Refused(error.presence.xml) from None
        except (TimeoutError, asyncio.CancelledError):
            raise AssertionError(f"{buddy.full_jid} is not in {room} within {TIMEOUT:g} s: {buddy.seen}") from None
        self.codes = frozenset(own["muc"]["status_codes"])
        self.entered = [str(presence["from"].resource) for presence in occupants]
        self.history = [read_message(message.xml) for message in history]
        self.subject = subject["subject"]
        return self

    # What we see

    @property
    def nick(self) -> str:
        """Our name there."""
        return str(self._plugin.our_nicks[None][self.room])

    @property
    def members(self) -> dict[str, Member]:
        """Everybody who is in, by nick, ourselves too."""
        return {nick: _member(entry) for nick, entry in self._plugin.rooms[None].get(JID(self.room), {}).items()}

    async def sees(self, nick: str, *, timeout: float = TIMEOUT, **wanted: str) -> Member:
        """Wait until somebody is in, with these attributes (``role="visitor"``), and return them."""

        def found() -> Member | None:
            member = self.members.get(nick)
            right = member is not None and all(getattr(member, name) == value for name, value in wanted.items())
            return member if right else None

        try:
            return await self.buddy.until(found, timeout)
        except TimeoutError:
            raise AssertionError(f"{nick} is not in {self.room} with {wanted}: {self.members}") from None

    async def sees_gone(self, nick: str, *, timeout: float = TIMEOUT) -> Gone:
        """Wait until somebody leaves, and return how."""
        seen = await self.buddy.sees(
            lambda seen: seen.sender == self.of(nick) and seen.type == "unavailable", timeout=timeout
        )
        assert nick not in self.members, f"{nick} is still listed"
        return _gone(seen)

    async def hears(self, text: str = "", *, nick: str | None = None, timeout: float = TIMEOUT) -> Heard:
        """Wait for something said to all, not long ago, and return it.

        Args:
            text: exactly this; "" for whatever comes next.
            nick: by whom; "" for the room itself, None for anybody.
            timeout: seconds.
        """
        sender = None if nick is None else self.of(nick)
        return await self.buddy.hears(
            lambda heard: (
                heard.type == "groupchat"
                and heard.sender.partition("/")[0] == self.room
                and sender in (None, heard.sender)
                and (heard.body == text if text else bool(heard.body))
                and not heard.delayed
            ),
            timeout=timeout,
        )

    async def hears_nothing_until(self, text: str, *, timeout: float = TIMEOUT) -> Heard:
        """Fail if anything else is said to all before ``text``."""
        heard = await self.hears(timeout=timeout)
        assert heard.body == text, f"{self.buddy.full_jid} heard {heard.body!r} before {text!r}"
        return heard

    async def hears_whisper(self, nick: str, timeout: float = TIMEOUT) -> Heard:
        """Wait for something said to us alone."""
        return await self.buddy.hears(
            lambda heard: heard.type == "chat" and heard.sender == self.of(nick) and bool(heard.body), timeout=timeout
        )

    async def sees_subject(self, text: str, timeout: float = TIMEOUT) -> str:
        """Wait until the subject is set to this; return the nick of who did it."""
        heard = await self.buddy.hears(
            lambda heard: (
                heard.type == "groupchat"
                and heard.sender.partition("/")[0] == self.room
                and not heard.body
                and not heard.delayed
                and ET.fromstring(heard.xml).findtext("{jabber:client}subject") == text
            ),
            timeout=timeout,
        )
        return heard.sender.partition("/")[2]

    async def bounced(self, message_id: str, timeout: float = TIMEOUT) -> Heard:
        """Wait until a message of ours comes back as an error."""
        return await self.buddy.hears(lambda heard: heard.type == "error" and heard.id == message_id, timeout=timeout)

    async def is_in(self) -> bool:
        """Ask whether the room has us (XEP-0410), as clients do now and then."""
        try:
            await self.buddy.ping(self.of(self.nick))
        except IqError as error:
            if Refused(error.iq.xml).condition != "not-acceptable":
                raise
            return False
        return True

    async def archive(self) -> list[Heard]:
        """Return all that the room has kept (XEP-0313), oldest first, page after page."""
        client = self._plugin.xmpp
        client.register_plugin("xep_0313")
        async with asyncio.timeout(2 * TIMEOUT):
            results = [
                result async for result in client.plugin["xep_0313"].iterate(jid=JID(self.room), rsm={"max": 100})
            ]
        return [read_message(result["mam_result"]["forwarded"]["stanza"].xml) for result in results]

    # What we do

    def of(self, nick: str) -> str:
        """Return the address of an occupant; of the room itself for ""."""
        return f"{self.room}/{nick}" if nick else self.room

    def say(self, text: str) -> str:
        """Say something to all; return the message's id."""
        return self.buddy.say(self.room, text, kind="groupchat")

    def whisper(self, nick: str, text: str) -> str:
        """Say something to one; return the message's id."""
        return self.buddy.say(self.of(nick), text)

    def set_subject(self, text: str) -> None:
        """Set the subject."""
        self._plugin.set_subject(self.room, text)

    def be(self, show: str = "", status: str = "") -> None:
        """Change our presence in the room."""
        self.buddy.send_presence(self.of(self.nick), show, status)

    async def rename(self, nick: str) -> str:
        """Change our name; return the one that we have then.

        Raises:
            Refused: it is taken.
        """
        old, new = self.of(self.nick), self.of(nick)
        self.buddy.send_presence(new)
        seen = await self.buddy.sees(
            lambda seen: (
                (seen.sender == new and seen.type == "error")
                or (seen.sender == old and seen.type == "unavailable" and {110, 303} <= _gone(seen).codes)
            ),
            timeout=TIMEOUT,
        )
        if seen.type == "error":
            raise Refused(ET.fromstring(seen.xml))
        return _gone(seen).new_nick

    async def kick(self, nick: str, reason: str = "") -> None:
        """Throw somebody out."""
        await self.set_role(nick, "none", reason)

    async def set_role(self, nick: str, role: str, reason: str = "") -> None:
        """Make somebody moderator, participant or visitor."""
        await self._ask(self._plugin.set_role(self.room, nick, role, reason=reason, timeout=TIMEOUT))

    async def set_affiliation(self, jid: str, affiliation: str, reason: str = "") -> None:
        """Make somebody owner, admin, member, none or outcast."""
        await self._ask(self._plugin.set_affiliation(self.room, affiliation, jid=jid, reason=reason, timeout=TIMEOUT))

    async def affiliated(self, affiliation: str) -> set[str]:
        """Return the bare JIDs of all with an affiliation."""
        found = await self._ask(self._plugin.get_affiliation_list(self.room, affiliation, timeout=TIMEOUT))
        return {str(jid) for jid in found}

    async def configuration(self) -> dict[str, Any]:
        """Return the room's settings: values by field, as the owner's form has them."""
        form = await self._ask(self._plugin.get_room_config(self.room, timeout=TIMEOUT))
        return dict(form.get_values())

    async def configure(self, **values: Any) -> None:
        """Change settings of the form ``muc#roomconfig``, named without that prefix; the others stay."""
        form = await self._ask(self._plugin.get_room_config(self.room, timeout=TIMEOUT))
        form.reply()
        form.set_values(form.get_values() | {f"muc#roomconfig_{name}": value for name, value in values.items()})
        await self._ask(self._plugin.set_room_config(self.room, form, timeout=TIMEOUT))

    async def destroy(self, reason: str = "") -> None:
        """End the room."""
        await self._ask(self._plugin.destroy(self.room, reason, timeout=TIMEOUT))

    def invite(self, jid: str, reason: str = "") -> None:
        """Let the room invite somebody (XEP-0045 section 7.8.2)."""
        self._plugin.invite(self.room, jid, reason)

    async def leave(self, status: str = "") -> Gone:
        """Leave, and return what the room says to that."""
        nick = self.nick
        self._plugin.leave_muc(JID(self.room), nick, status)
        seen = await self.buddy.sees(lambda seen: seen.sender == self.of(nick) and seen.type == "unavailable")
        return _gone(seen)

    async def _ask(self, request: Any) -> Any:
        try:
            return await request
        except IqError as error:
            raise Refused(error.iq.xml) from None


def _member(entry: Any) -> Member:
    return Member(
        affiliation=entry["affiliation"],
        role=entry["role"],
        jid=str(entry["jid"] or ""),
        show=entry["show"] or "",
        status=entry["status"] or "",
    )


def _gone(seen: Seen) -> Gone:
    muc = ET.fromstring(seen.xml).find(f"{_USER}x")
    assert muc is not None, f"a leave without an item: {seen.xml}"
    actor, item = muc.find(f"{_USER}item/{_USER}actor"), muc.find(f"{_USER}item")
    return Gone(
        codes=frozenset(int(status.get("code", "0")) for status in muc.findall(f"{_USER}status")),
        reason=muc.findtext(f"{_USER}item/{_USER}reason", ""),
        actor="" if actor is None else actor.get("nick", ""),
        new_nick="" if item is None else item.get("nick", ""),
    )
