"""Rights that the manager user gets while agi-xmpp runs: a real Asterisk, real phones and clients."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.party import PHONE
from tests.testbed.conference import ConferenceExchange
from tests.testbed.hall import Hall, open_hall
from tests.testbed.muc import Refused
from tests.testbed.rootfs import Rootfs
from tests.testbed.xmpp import Prosody

LOGGED_IN = "logged in to Asterisk anew"
UNKNOWN = "Asterisk does not say whether conferences are locked"


class Restricted(ConferenceExchange):
    """An exchange whose manager user may not do all that agi-xmpp needs, until it is granted.

    Args:
        rootfs: where Asterisk is.
        line: of manager.conf: ``read`` or ``write``.
        classes: that the line has at first.
        outside_calls: numbers of phones that write and read outside of calls.
    """

    def __init__(self, rootfs: Rootfs, line: str, classes: str, outside_calls: Sequence[str] = ()) -> None:
        super().__init__(rootfs, outside_calls=outside_calls)
        self._line, self._classes = line, classes
        self._granted = ""

    def _configuration(self) -> dict[str, str]:
        files = super()._configuration()
        self._granted = files["manager.conf"]
        others, name, user = self._granted.partition(f"[{self.manager_user}]")
        restricted, changed = re.subn(rf"(?m)^{self._line} = .*$", f"{self._line} = {self._classes}", user)
        assert changed == 1
        files["manager.conf"] = others + name + restricted
        return files

    async def grant(self) -> None:
        """Let the manager user do all that it needs."""
        self.write("manager.conf", self._granted)
        await self.cli("manager reload")


@contextlib.asynccontextmanager
async def restricted(
    rootfs: Rootfs, server: Prosody, state: Path, line: str, classes: str, outside_calls: Sequence[str] = ()
) -> AsyncIterator[tuple[Hall, Restricted]]:
    with Restricted(rootfs, line, classes, outside_calls) as exchange:
        try:
            people = ("romeo", "juliet", "tybalt")
            outside = {"texts_outside_calls": list(outside_calls)}
            async with open_hall(exchange, server, state, people=people, phone=PHONE, conference=outside) as hall:
                yield hall, exchange
        finally:
            await exchange.disconnect()


async def test_rights_that_are_granted_count_after_a_reload_and_nothing_is_lost(
    rootfs: Rootfs, prosody: Prosody, tmp_path: Path
) -> None:
    async with restricted(rootfs, prosody, tmp_path, "write", "call,originate") as (hall, exchange):
        (alice, carol) = await hall.phones("101", "103")
        await hall.dial(alice, "6000")
        await exchange.cli("confbridge lock 6000")
        # Nobody can say that it is locked.
        romeo, juliet = await hall.enter("romeo", "6000"), await hall.enter("juliet", "6000")
        assert hall.service.log_tail(lines=10_000).count(UNKNOWN) == 1
        await romeo.sees("Alice A")
        assert any("reporting" in problem for problem in (await hall.service.status())["conference"]["problems"])
        romeo.invite(f"carol@{hall.phones_domain}")
        ringing = await carol.rings()
        left = [seen for seen in juliet.buddy.seen if seen.type == "unavailable"]

        await exchange.grant()
        since = hall.service.log_size()
        await hall.service.reload()
        assert hall.service.log_tail(since).count(LOGGED_IN) == 1
        await hall.agrees("6000", [romeo, juliet], ["101"])
        with pytest.raises(Refused, match="auth forbidden"):
            await hall.enter("tybalt", "6000")
        assert not (await hall.service.status())["conference"]["problems"]
        await exchange.cli("confbridge unlock 6000")
        await ringing.answer()
        await romeo.sees("Carol C")
        romeo.say("still here")
        await alice.hears("still here", display="Romeo")
        await juliet.hears("still here", nick="Romeo")
        assert left == [seen for seen in juliet.buddy.seen if seen.type == "unavailable"]

        since = hall.service.log_size()
        await hall.service.reload()
        assert LOGGED_IN not in hall.service.log_tail(since), "nothing is missing any more"


async def test_events_that_are_granted_come_after_a_reload(rootfs: Rootfs, prosody: Prosody, tmp_path: Path) -> None:
    async with restricted(rootfs, prosody, tmp_path, "read", "") as (hall, exchange):
        alice, bob = await hall.phones("101", "102")
        juliet = await hall.enter("juliet", "6000")
        await hall.dial(alice, "6000")
        assert set(juliet.members) == {"Juliet"}
        await exchange.grant()
        await hall.service.reload()
        await juliet.sees("Alice A")
        await hall.dial(bob, "6000")
        await juliet.sees("Bob B")
        await hall.agrees("6000", [juliet], ["101", "102"])


async def test_texts_outside_of_calls_come_after_a_reload(rootfs: Rootfs, prosody: Prosody, tmp_path: Path) -> None:
    async with restricted(rootfs, prosody, tmp_path, "read", "call", ["103"]) as (hall, exchange):
        (carol,) = await hall.phones("103")
        romeo = await hall.enter("romeo", "6000")
        await hall.dial(carol, "6000")
        await romeo.sees("Carol C")
        plain = {"Content-Type": "text/plain"}
        assert (await carol.request("MESSAGE", "6000", headers=plain, body="nobody is told")).status_code == 202
        await exchange.grant()
        await hall.service.reload()
        assert (await carol.request("MESSAGE", "6000", headers=plain, body="hello")).status_code == 202
        await romeo.hears_nothing_until("hello")
        since = hall.service.log_size()
        await hall.service.reload()
        assert LOGGED_IN not in hall.service.log_tail(since), "nothing is missing any more"


#: So many texts are on their way at once.
WRITERS = ("a", "b", "c", "d", "e", "f")


async def test_texts_that_come_while_we_log_in_anew_are_read_once(
    rootfs: Rootfs, prosody: Prosody, tmp_path: Path
) -> None:
    async with restricted(rootfs, prosody, tmp_path, "write", "call,originate,reporting", ["103"]) as (hall, _exchange):
        (carol,) = await hall.phones("103")
        romeo = await hall.enter("romeo", "6000")
        await hall.dial(carol, "6000")
        await romeo.sees("Carol C")
        is_over = asyncio.Event()

        async def write(name: str) -> list[str]:
            written: list[str] = []
            while not is_over.is_set():
                written.append(f"{name} {len(written)}")
                headers = {"Content-Type": "text/plain"}
                assert (await carol.request("MESSAGE", "6000", headers=headers, body=written[-1])).status_code == 202
            return written

        writing = asyncio.gather(*(write(name) for name in WRITERS))
        for name in WRITERS:
            await romeo.hears(f"{name} 0")
        since = hall.service.log_size()
        for _ in range(40):
            await hall.service.reload()
        is_over.set()
        assert hall.service.log_tail(since, lines=10_000).count(LOGGED_IN) == 40
        for text in [text for written in await writing for text in written[1:]]:
            await romeo.hears(text)
        romeo.say("end")
        await romeo.hears_nothing_until("end")
