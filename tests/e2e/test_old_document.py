"""The examples of res_jabber's own document, migrated, on a real Asterisk with a real chat: they do what the text says.

Their contexts are taken from the document as it stands, but for the listed repairs of its slips of the pen
(tests/data/res_jabber_repairs.toml). SIP and Gtalk devices of 2010 are not there: that the call goes to them is read in
Asterisk's log.
"""

from __future__ import annotations

import dataclasses

import pytest

from tests.migrate_corpus import documentation, migrated
from tests.testbed.asterisk import Call
from tests.testbed.scene import Scene

#: The addresses in the document; all are bob's.
ADDRESSES = ("buddy@gmail.com", "bob@jabber.org")


@dataclasses.dataclass(frozen=True, slots=True)
class Play:
    """One example on stage."""

    scene: Scene
    context: str

    async def call(self, exten: str = "1234", caller_id: str = '"Ann" <5551234>') -> tuple[Call, int]:
        """Ring, and return the call and where Asterisk's log begins for it."""
        since = self.scene.asterisk.log_size()
        return await self.scene.asterisk.call(exten, self.context, caller_id=caller_id), since

    async def dials(self, device: str, since: int) -> None:
        """Wait until the dialplan dials a device."""
        await self.scene.asterisk.log_says('Dial("Local/', since=since)
        await self.scene.asterisk.log_says(f'"{device}', since=since)

    async def bob_reads(self, *texts: str) -> str:
        """Check what bob reads next, and return who wrote the last of it."""
        for text in texts:
            heard = await self.scene.bob.hears()
            assert heard.body == text
        return heard.sender


async def stage(scene: Scene, context: str, seconds: int = 20) -> Play:
    """Migrate an example and load it."""
    scene.service.accounts = {"asterisk-xmpp": scene.service.accounts["pbx"]}
    await scene.service.reload()
    await scene.service.online("asterisk-xmpp")
    text = documentation()[context]
    for address in ADDRESSES:
        text = text.replace(address, scene.bob.jid)
    text = text.replace(",20)", f",{seconds})")
    assert not await scene.asterisk.ael(migrated("ael", text, scene.service.agi_url).after)
    return Play(scene, context)


@pytest.fixture(autouse=True)
async def _no_ael_afterwards(scene: Scene):
    yield
    await scene.asterisk.ael("context testbed-own-ael { }\n")


async def test_a_buddy_is_told_who_calls(scene: Scene) -> None:
    play = await stage(scene, "default")
    _, since = await play.call()
    await play.bob_reads("Ann is calling 1234")
    await play.dials("SIP/1234, 30", since)


@pytest.mark.parametrize(("show", "device"), [("", "Gtalk/"), ("dnd", "SIP/1234")])
async def test_whoever_is_online_is_rung_on_his_computer(scene: Scene, show: str, device: str) -> None:
    play = await stage(scene, "status")
    await scene.bob.be(show)
    await scene.service.account("asterisk-xmpp", lambda account: account["state"] == "online")
    _, since = await play.call()
    await play.dials(device, since)


@pytest.mark.parametrize(
    ("answer", "note", "device"),
    [("1", "Calling cellphone...", "SIP/987654321"), ("2", "Calling workphone...", "SIP/1234")],
)
async def test_bob_says_where_the_call_goes(scene: Scene, answer: str, note: str, device: str) -> None:
    play = await stage(scene, "from-ext")
    _, since = await play.call()
    pbx = await play.bob_reads(
        "Call from 5551234 - choose an option to process the call",
        "1 : forward to cellphone",
        "2 : forward to work phone",
        "Default action : forward to your voicemail",
    )
    scene.bob.say(pbx, answer)
    await play.bob_reads(note)
    await play.dials(device, since)


async def test_bobs_silence_is_the_voicemail(scene: Scene) -> None:
    play = await stage(scene, "from-ext", seconds=1)
    _, since = await play.call()
    await scene.asterisk.log_says('VoiceMail("Local/', since=since)


async def test_a_caller_types_the_number_that_he_wishes_to_call(scene: Scene) -> None:
    play = await stage(scene, "gtalk-in")
    _, since = await play.call("s", caller_id=f'"{scene.bob.jid}" <100>')
    await scene.service.account("asterisk-xmpp", lambda account: account["waiting"] == 1)
    scene.bob.say(scene.pbx.jid, "601")
    await scene.asterisk.log_says("Calling 601 ...", since=since)
    await play.dials("SIP/601", since)
