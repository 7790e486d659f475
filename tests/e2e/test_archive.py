"""A room's messages read again by an independent client (slixmpp's XEP-0313), over real servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from slixmpp.exceptions import IqError

from agi_xmpp.background import Background
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.archive.archive import Archive
from agi_xmpp.features.conference.archive.mam import Mam
from agi_xmpp.features.conference.model import Archived
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid, StanzaPort
from tests.e2e.sessions import component, online, settings
from tests.testbed.client import Buddy
from tests.testbed.xmpp import Accounts

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
COUNT = 230


class Room:
    """Answers what is asked of one room's archive, and nothing else."""

    def __init__(self, address: Jid, archive: Archive) -> None:
        self.address = address
        self.port: StanzaPort
        self.background = Background(logging.getLogger("test"), "room")
        self._mam = Mam(archive, self._send)

    def _send(self, stanza: ET.Element) -> None:
        self.port.send(stanza)

    def stanza_came(self, stanza: ET.Element) -> bool:
        if stanza.get("to") != str(self.address):
            return False
        self.background.spawn(self._mam.answer(self.address, stanza))
        return True

    def stream_began(self) -> None: ...

    def stream_ended(self) -> None: ...


class Reader:
    """A client that reads the room's archive."""

    def __init__(self, buddy: Buddy, room: Jid) -> None:
        self.client: Any = buddy.muc().xmpp
        self.client.register_plugin("xep_0313")
        self.mam = self.client.plugin["xep_0313"]
        self.room = str(room)

    async def read(self, **how: Any) -> list[str]:
        """Return the texts of all messages, page after page."""
        async with asyncio.timeout(60):
            messages = [message async for message in self.mam.iterate(jid=self.room, **how)]
        return [message["mam_result"]["forwarded"]["stanza"]["body"] for message in messages]


def said(room: Jid, number: int) -> Archived:
    nick = ("Romeo", "Juliet \u2713")[number % 2]
    message = stanzas.message(Jid(room.local, room.domain, nick), None, "groupchat", f"m{number}")
    stanzas.add(message, stanzas.CLIENT, "body", f"{number} < & \U0001f339")
    stanzas.add(message, stanzas.STANZA_ID, "stanza-id", by=room, id=f"id{number}")
    return Archived(f"id{number}", NOON + timedelta(seconds=number), nick, message)


TEXTS = [f"{number} < & \U0001f339" for number in range(COUNT)]


@asynccontextmanager
async def reading(accounts: Accounts, directory: Path, fill: int = COUNT) -> AsyncIterator[tuple[Reader, Jid, Archive]]:
    server, juliet = accounts.server, await accounts("juliet")
    address = parse(f"balcony@{server.component_domain}")
    archive = Archive(str(directory), 7, lambda: NOON)
    await archive.start()
    for number in range(fill):
        archive.add(address, said(address, number))
    await archive.close()
    archive = Archive(str(directory), 7, lambda: NOON)  # as after a restart
    await archive.start()
    room = Room(address, archive)
    try:
        async with (
            online(settings(server, component(server))) as session,
            Buddy.online(server, juliet.jid, juliet.password) as buddy,
        ):
            room.port = session.serve_stanzas(room)
            yield Reader(buddy, address), address, archive
    finally:
        await room.background.stop()
        await archive.close()


async def test_a_client_reads_everything_page_after_page(accounts: Accounts, tmp_path: Path) -> None:
    async with reading(accounts, tmp_path) as (reader, _room, _archive):
        assert await reader.read(rsm={"max": 100}) == TEXTS
        assert await reader.read(rsm={"max": 7}) == TEXTS
        assert await reader.read(reverse=True, rsm={"max": 50}) == TEXTS[::-1]


async def test_a_client_reads_by_time_and_by_person(accounts: Accounts, tmp_path: Path) -> None:
    async with reading(accounts, tmp_path) as (reader, room, _archive):
        start, end = NOON + timedelta(seconds=100), NOON + timedelta(seconds=129)
        assert await reader.read(start=start, end=end) == TEXTS[100:130]
        assert await reader.read(with_jid=f"{room}/Juliet \u2713", rsm={"max": 30}) == TEXTS[1::2]
        assert await reader.read(with_jid="juliet@xmpp.test") == []


async def test_a_client_sees_who_said_it_and_when(accounts: Accounts, tmp_path: Path) -> None:
    async with reading(accounts, tmp_path, 3) as (reader, room, _archive):
        answer = await reader.mam.retrieve(jid=reader.room, timeout=20)
        results = answer["mam"]["results"]
        assert len(results) == 3
        first = results[0]
        assert (first["from"].full, first["mam_result"]["id"]) == (str(room), "id0")
        inner = first["mam_result"]["forwarded"]["stanza"]
        assert (inner["from"].full, inner["type"], inner["id"]) == (f"{room}/Romeo", "groupchat", "m0")
        assert first["mam_result"]["forwarded"]["delay"]["stamp"] == NOON
        assert inner.xml.find("{urn:xmpp:sid:0}stanza-id").get("id") == "id0"


async def test_a_client_asks_for_the_form_and_the_ends(accounts: Accounts, tmp_path: Path) -> None:
    async with reading(accounts, tmp_path, 5) as (reader, _room, _archive):
        form = await reader.mam.get_fields(jid=reader.room, timeout=20)
        fields = {field["var"] for field in form["fields"]}
        assert fields == {"FORM_TYPE", "with", "start", "end", "before-id", "after-id", "ids"}
        ends = (await reader.mam.get_archive_metadata(jid=reader.room, timeout=20))["mam_metadata"]
        assert (ends["start"]["id"], ends["start"]["timestamp"]) == ("id0", NOON)
        assert (ends["end"]["id"], ends["end"]["timestamp"]) == ("id4", NOON + timedelta(seconds=4))


async def test_a_client_names_a_message_that_is_gone(accounts: Accounts, tmp_path: Path) -> None:
    async with reading(accounts, tmp_path, 5) as (reader, _room, _archive):
        with pytest.raises(IqError) as caught:
            await reader.mam.retrieve(jid=reader.room, rsm={"after": "gone"}, timeout=20)
        assert caught.value.condition == "item-not-found"


async def test_what_is_said_meanwhile_is_read_next(accounts: Accounts, tmp_path: Path) -> None:
    async with reading(accounts, tmp_path, 5) as (reader, room, archive):
        assert await reader.read() == TEXTS[:5]
        archive.add(room, said(room, 5))
        large = said(room, 6)
        large.stanza[0].text = "x" * 200_000
        archive.add(room, large)
        answer = await reader.mam.retrieve(jid=reader.room, rsm={"after": "id4"}, timeout=20)
        bodies = [message["mam_result"]["forwarded"]["stanza"]["body"] for message in answer["mam"]["results"]]
        assert bodies == [TEXTS[5], "x" * 200_000]
