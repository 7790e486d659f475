"""The original beside ours, on the same Asterisk, the same server and the same dialplan."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest

from tests.testbed import res_xmpp
from tests.testbed.asterisk import Asterisk, Call
from tests.testbed.client import Buddy
from tests.testbed.rootfs import Rootfs
from tests.testbed.scene import Scene
from tests.testbed.service import Account, Service
from tests.testbed.xmpp import Accounts, Prosody

DIALPLAN = """
[original]
exten => s,1,UserEvent(Waits)
 same => n,Set(ANSWER=${{JABBER_RECEIVE(original,{bob},20)}})
 same => n,UserEvent(Answer,Text: ${{ANSWER}})
[ours]
exten => s,1,UserEvent(Waits)
 same => n,AGI({agi}/jabber_receive,pbx,{bob},20)
 same => n,UserEvent(Answer,Text: ${{JABBER_RECEIVE}})
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Both(Scene):
    """A scene with the original in it.

    Attributes:
        original: the JID that ``res_xmpp`` is logged in as.
    """

    original: str


@pytest.fixture
async def both(rootfs: Rootfs, prosody: Prosody) -> AsyncIterator[Both]:
    """An Asterisk with ``res_xmpp`` logged in (account ``original``), and our service beside it (account ``pbx``)."""
    accounts = Accounts(prosody)
    original, ours, bob_login = await accounts("original"), await accounts("ours"), await accounts("bob")
    configuration = res_xmpp.configuration("original", prosody, original.jid, original.password, [bob_login.jid])
    async with (
        Asterisk(rootfs, xmpp=configuration) as asterisk,
        Service({"pbx": Account(prosody, ours.jid, ours.password, (bob_login.jid,))}) as service,
        Buddy.online(prosody, bob_login.jid, bob_login.password) as bob,
    ):
        await res_xmpp.connected(asterisk, "original")
        await service.online("pbx")
        assert not await asterisk.dialplan(DIALPLAN.format(agi=service.agi_url, bob=bob.jid))
        yield Both(asterisk, prosody, accounts, service, ours, bob, bob_login, original.jid)


async def test_a_strangers_message_ends_the_originals_wait_and_not_ours(both: Both) -> None:
    login = await both.accounts("stranger")
    async with Buddy.online(both.server, login.jid, login.password) as stranger:
        theirs, ours = await both.asterisk.call("s", "original"), await both.asterisk.call("s", "ours")
        await theirs.event("Waits")
        await both.service.account("pbx", lambda account: account["waiting"] == 1)
        # A wake-up within the first 20 ms still goes well there; the original compares milliseconds with seconds.
        await _is_past_its_first_moment(both)
        for jid in (both.original, both.pbx.jid):
            stranger.say(jid, "spam")
        await both.service.account("pbx", lambda account: account["unclaimed"] == 1)
        # The original gives up, seconds before the time that the dialplan asked for: bob's answer comes too late.
        assert await _answer(theirs, timeout=10) == ""
        for jid in (both.original, both.pbx.jid):
            both.bob.say(jid, "1")
        assert await _answer(ours) == "1"


async def test_without_a_stranger_both_get_the_answer(both: Both) -> None:
    theirs, ours = await both.asterisk.call("s", "original"), await both.asterisk.call("s", "ours")
    await theirs.event("Waits")
    await both.service.account("pbx", lambda account: account["waiting"] == 1)
    for jid in (both.original, both.pbx.jid):
        both.bob.say(jid, "1")
    assert (await _answer(theirs), await _answer(ours)) == ("1", "1")


async def test_an_impostor_answers_the_originals_question_and_not_ours(both: Both) -> None:
    user, server = both.bob.jid.partition("@")[0], both.server
    evil = await server.add_user(user, "evil-password", server.impostor_domain)
    async with Buddy.online(server, evil, "evil-password") as impostor:
        theirs, ours = await both.asterisk.call("s", "original"), await both.asterisk.call("s", "ours")
        await theirs.event("Waits")
        await both.service.account("pbx", lambda account: account["waiting"] == 1)
        for jid in (both.original, both.pbx.jid):
            impostor.say(jid, "666")
        assert await _answer(theirs) == "666"
        await both.service.account("pbx", lambda account: account["unclaimed"] == 1)
        both.bob.say(both.pbx.jid, "1")
        assert await _answer(ours) == "1"


async def _answer(call: Call, timeout: float = 15.0) -> str:
    return (await call.event("Answer", timeout))["Text"]


async def _is_past_its_first_moment(both: Both) -> None:
    for _ in range(100):  # 100 questions to Asterisk over its manager port take longer than 20 ms
        await both.asterisk.cli("core show uptime")
