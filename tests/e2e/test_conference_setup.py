"""What docs/conference.md says to write for Asterisk, and the template `conference-room`, on a real one."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agi_xmpp import render
from agi_xmpp.ami.messages import EVENT, OutsideText, read_text
from agi_xmpp.config import parse
from agi_xmpp.diagnose import check_asterisk
from agi_xmpp.render import FORMATS, find
from tests.testbed.ami import Message
from tests.testbed.asterisk import Asterisk
from tests.testbed.rootfs import Rootfs
from tests.testbed.softphone import Softphone

DOCUMENT = (Path(__file__).parents[2] / "docs/conference.md").read_text(encoding="utf-8")
#: The samples by the name of the file that they are for.
SAMPLES = dict(re.findall(r"^```ini\n; /etc/asterisk/(\S+)\n(.*?)^```", DOCUMENT, flags=re.M | re.S))
LEG = "agi-xmpp"
LEG_PASSWORD = re.findall(r"^password = (\S+)$", SAMPLES["pjsip.conf"], flags=re.M)[0]
#: The machine of the tests need not have a name that leads to an address.
ON_LOOPBACK = "direct_media = no\nmedia_address = 127.0.0.1\nbind_rtp_to_media_address = yes\n"
PHONE = (
    "[{0}]\ntype = endpoint\ncontext = internal\nmessage_context = conferences-texts\n"
    "disallow = all\nallow = ulaw\naors = {0}\n{1}\n"
    f"{ON_LOOPBACK}[{{0}}]\ntype = aor\nmax_contacts = 1\n"
)


@pytest.fixture(scope="module")
def process(rootfs: Rootfs) -> Iterator[Asterisk]:
    pjsip = SAMPLES["pjsip.conf"].replace(":5060", ":{sip_port}").replace("direct_media = no\n", ON_LOOPBACK)
    pjsip += PHONE.format("101", 'callerid = "Alice (A, B)" <101>') + PHONE.format("102", "")
    files = {"confbridge.conf": SAMPLES["confbridge.conf"], "pjproject.conf": ""}
    with Asterisk(rootfs, modules=("res_pjsip_messaging",), pjsip=pjsip, files=files) as asterisk:
        yield asterisk


@pytest.fixture(params=FORMATS)
async def exchange(process: Asterisk, request: pytest.FixtureRequest) -> AsyncIterator[Asterisk]:
    """An Asterisk as the document has it, with the dialplan in one format and then in the other."""
    text = render.render(find("conference-room"), {}, request.param)
    # The same contexts must not be there in both formats at any moment, nor be missed by who includes them.
    async with process.lent() as asterisk:
        assert await asterisk.dialplan("") == []
        assert await asterisk.ael(text if request.param == "ael" else "context empty-ael { }\n") == []
        assert await asterisk.dialplan(SAMPLES["extensions.conf"] + (text if request.param == "conf" else "")) == []
        since = asterisk.log_size()
        yield asterisk
        assert await complaints(asterisk, since) == []


@pytest.fixture
async def phones(exchange: Asterisk) -> AsyncIterator[dict[str, Softphone]]:
    """Two telephones, and what agi-xmpp's own call comes from."""
    async with contextlib.AsyncExitStack() as stack:
        own = Softphone(exchange, LEG, LEG_PASSWORD, registers=False)
        everything = (Softphone(exchange, "101"), Softphone(exchange, "102"), own)
        yield {phone.number: await stack.enter_async_context(phone) for phone in everything}


async def complaints(asterisk: Asterisk, since: int) -> list[str]:
    """Return the warnings and errors since a place in the log.

    Left out are modules that Asterisk has and cannot load, that one test dials what is not there, and what is left of
    asking for rights by a call that cannot be made.
    """
    expected = r" loader\.c: | sent to invalid extension | No channel type registered for 'None'"
    return [line for line in await asterisk.problems(since) if not re.search(expected, line)]


class Entries:
    """Those who come into conferences, in order."""

    def __init__(self, asterisk: Asterisk) -> None:
        self.asterisk = asterisk

    async def __aenter__(self) -> Entries:
        self.ami = await self.asterisk.ami()
        self._joins = self.ami.subscribe(lambda event: event.get("Event") == "ConfbridgeJoin")
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.ami.unsubscribe(self._joins)

    async def of(self, channel: str) -> Message:
        return await self._joins.get(lambda event: event["Channel"].startswith(channel), 10)


async def test_asterisk_takes_the_files_without_a_word(exchange: Asterisk) -> None:
    assert await complaints(exchange, 0) == []
    for kind, name in (("bridge", "conference"), ("user", "conference-phone"), ("user", "conference-chat")):
        assert re.search(rf"^Name: +{name}$", await exchange.cli(f"confbridge show profile {kind} {name}"), flags=re.M)
    assert "toggle_mute" in await exchange.cli("confbridge show menu conference-menu")
    endpoint = await exchange.cli(f"pjsip show endpoint {LEG}")
    assert re.search(r"^ *context +: conferences-chat$", endpoint, flags=re.M)


async def test_a_phone_and_our_own_call_read_each_other(exchange: Asterisk, phones: dict[str, Softphone]) -> None:
    async with Entries(exchange) as entries:
        call = await phones["101"].call("6000")
        assert (await entries.of("PJSIP/101"))["Muted"] == "No"
        own = await phones[LEG].call("6000")
        assert (await entries.of(f"PJSIP/{LEG}"))["Muted"] == "Yes"
    assert await own.send("from chat", display="Romeo") == 202
    assert (await phones["101"].hears("from chat")).display == "Romeo"
    assert await call.send("from the phone") == 202
    assert (await phones[LEG].hears("from the phone")).display == "Alice (A, B)"


async def test_check_finds_all_that_the_settings_name(exchange: Asterisk) -> None:
    (sample,) = (text for text in re.findall(r"^```toml\n(.*?)^```", DOCUMENT, flags=re.M | re.S) if "owners" in text)
    file = tomllib.loads(sample)
    file["ami"] = {"port": exchange.ami_port, "username": exchange.ami_user, "password": exchange.ami_secret}
    file["conference"]["sip"] = {"port": exchange.sip_port, "endpoint": LEG, "password": LEG_PASSWORD}
    settings = parse(file, "docs/conference.md")
    assert settings.ami is not None
    lines: list[str] = []
    assert await check_asterisk(settings.ami, None, settings.conference, lines.append), lines
    assert lines[-1] == "conferences: Asterisk has the context conferences, and takes texts from agi-xmpp"


async def test_what_is_written_outside_of_calls_is_handed_on(exchange: Asterisk, phones: dict[str, Softphone]) -> None:
    async def write(number: str, text: str) -> int:
        headers = {"Content-Type": "text/plain"}
        return (await phones["101"].request("MESSAGE", number, headers=headers, body=text)).status_code

    ami = await exchange.ami()
    events = ami.subscribe(lambda event: event.get("UserEvent") == EVENT)
    for text in ("great :) note: it", 'x):0:3 ${EXTEN}, 100%: "a"', "two\nlines", ":" * 1023, "%" * 1023, ""):
        assert await write("6000", text) == 202
        came = read_text(await events.get(lambda _event: True, 10))
        assert came == OutsideText("6000", "101", "Alice (A, B)", text)
    events.close()
    for other in ("101", "5999"):
        assert await write(other, "x") == 404


async def test_our_own_call_reaches_conferences_only(exchange: Asterisk, phones: dict[str, Softphone]) -> None:
    for number in ("101", "s", "5999"):
        with pytest.raises(AssertionError, match="404 Not Found"):
            await phones[LEG].call(number)


async def invite(entries: Entries, channel: str, room: str) -> None:
    await entries.ami.action(
        "Originate",
        Channel=channel,
        Context="conference-invited",
        Exten="s",
        Priority="1",
        CallerID='"The balcony" <6000>',
        Variable=f"ROOM={room}",
        Async="true",
    )


@pytest.mark.parametrize(("number", "name"), [("101", "Alice (A, B)"), ("102", "<unknown>")])
async def test_an_invited_phone_comes_in_as_itself(
    exchange: Asterisk, phones: dict[str, Softphone], number: str, name: str
) -> None:
    async with Entries(exchange) as entries:
        await invite(entries, f"PJSIP/{number}", "6001")
        call = await phones[number].rings()
        assert call.caller == "The balcony"
        await call.answer()
        joined = await entries.of(f"PJSIP/{number}")
    assert (joined["Conference"], joined["CallerIDNum"], joined["CallerIDName"]) == ("6001", number, name)


async def test_an_invited_device_of_another_technology_comes_in(exchange: Asterisk) -> None:
    async with Entries(exchange) as entries:
        await invite(entries, "Local/6003@conferences/n", "6002")
        joined = [await entries.of("Local/") for _ in range(2)]
    assert {entry["Conference"] for entry in joined} == {"6002", "6003"}


async def test_an_invitation_leads_to_conferences_only(exchange: Asterisk, phones: dict[str, Softphone]) -> None:
    async with Entries(exchange) as entries:
        await invite(entries, "PJSIP/101", "7000")
        call = await phones["101"].rings()
        await call.answer()
        assert await call.ended() == "BYE"
