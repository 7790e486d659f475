"""Call records, with real telephones: who is told what of a call that is over, on each kind of server."""

from __future__ import annotations

import asyncio
import functools
import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.spark import NAMESPACE
from tests.testbed.client import Buddy
from tests.testbed.office import Mode, Office, open_office
from tests.testbed.phone import Phone
from tests.testbed.proxy import Proxy
from tests.testbed.rootfs import Rootfs
from tests.testbed.telephony import Exchange
from tests.testbed.xmpp import XmppServer

CLIENT = "{jabber:client}"
CDR = "{urn:xmpp:cdr:0}cdr"
MODES = ["prosody-component", "ejabberd-component"]
WITH_CLIENT = [*MODES, "prosody-client"]
EXTERNAL = "{number}@pbx.example.org"
everywhere = pytest.mark.parametrize("server_and_mode", WITH_CLIENT, indirect=True)


@pytest.fixture(params=MODES)
def server_and_mode(request: pytest.FixtureRequest) -> tuple[XmppServer, Mode]:
    name, _, mode = request.param.partition("-")
    return request.getfixturevalue(name), mode


@pytest.fixture
async def office(exchange: Exchange, server_and_mode: tuple[XmppServer, Mode], tmp_path: Path) -> AsyncIterator[Office]:
    """Alice, Bob and Carol at work, all of whose calls are recorded."""
    server, mode = server_and_mode
    records = {"send": "all", "external_jid": EXTERNAL}
    async with open_office(exchange, server, mode, tmp_path, phone={"records": records}) as office:
        yield office


class Post:
    """The records that people get."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self._came = asyncio.Event()
        self.stanzas: dict[str, list[ET.Element]] = {name: [] for name in office.people}
        for name, colleague in office.people.items():
            colleague.buddy.on_message(functools.partial(self._take, name))

    def _take(self, name: str, stanza: ET.Element) -> None:
        if stanza.find(CDR) is not None:
            self.stanzas[name].append(stanza)
        self._came.set()

    async def rings(self, name: str) -> None:
        """Wait until somebody has been told that their phone rings: by then Asterisk has said whose call it is."""
        async with asyncio.timeout(10):
            while "RING" not in [event.type for event in self.office[name].events]:
                self._came.clear()
                await self._came.wait()

    def texts(self, name: str) -> list[str]:
        """Return what somebody has read so far."""
        return [stanza.findtext(f"{CLIENT}body") or "" for stanza in self.stanzas[name]]

    def record(self, name: str, index: int = -1) -> dict[str, str]:
        """Return the attributes of a record."""
        element = self.stanzas[name][index].find(CDR)
        assert element is not None
        return dict(element.attrib)

    def result(self, name: str, index: int = -1) -> tuple[str, str, str]:
        """Return answer, ring and termination-reason of a record."""
        record = self.record(name, index)
        return record["answer"], record["ring"], record["termination-reason"]

    async def counts(self, **counts: int) -> None:
        """Wait until everybody has so many records, and all that was sent has come; then nobody must have more."""
        await self.office.until()
        try:
            async with asyncio.timeout(10):
                while any(len(self.stanzas[name]) < count for name, count in counts.items()):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            pass  # the assertion says what is missing
        await self.office.arrived()
        found = {name: self.texts(name) for name in self.stanzas if self.stanzas[name]}
        assert {name: len(texts) for name, texts in found.items()} == counts, self.office.service.log_tail()


async def talk(office: Office, caller: Phone, callee: Phone) -> None:
    """Alice calls Bob, and they talk."""
    await caller.call(callee.number)
    await callee.rings()
    await callee.answer()
    await office.until(alice="talking", bob="talking")


class TestOneCall:
    @everywhere
    async def test_answered(self, office: Office) -> None:
        post = Post(office)
        alice, bob = await office.phones("101", "102")
        await talk(office, alice, bob)
        await alice.hangup()
        await post.counts(alice=1, bob=1)
        for name, other in (("alice", "Bob, 102"), ("bob", "Alice, 101")):
            record = post.record(name)
            assert (record["initiator"], record["responder"]) == (office["alice"].jid, office["bob"].jid)
            assert post.result(name) == ("true", "true", "success")
            assert post.texts(name)[0].startswith(f"You talked to {other}, for 0:0")
            assert 0 <= int(record["duration"]) < 60
        # The events of the call have the same id, with a letter in front.
        sid = post.record("alice")["sid"]
        assert post.record("bob")["sid"] == sid
        assert {event.call_id for event in office["bob"].events} == {f"c-{sid}"}

    async def test_what_stands_on_the_wire(self, office: Office) -> None:
        post = Post(office)
        alice, _bob = await office.phones("101", "102")
        await alice.call("102")
        await post.rings("bob")
        await alice.hangup()
        await post.counts(alice=1, bob=1)
        (stanza,) = post.stanzas["bob"]
        assert (stanza.get("type"), stanza.get("to")) == ("headline", office["bob"].jid)
        assert (stanza.get("from") or "").partition("/")[0] == office.jid.partition("/")[0]
        fallback = stanza.find("{urn:xmpp:fallback:0}fallback")
        assert fallback is not None
        assert fallback.get("for") == "urn:xmpp:cdr:0"
        assert stanza.find("{urn:xmpp:hints}store") is not None
        record = post.record("bob")
        assert record.pop("sid")
        assert record == {
            "initiator": office["alice"].jid,
            "responder": office["bob"].jid,
            "answer": "false",
            "ring": "true",
            "termination-reason": "cancel",
            "duration": "0",
        }

    @everywhere
    async def test_missed(self, office: Office) -> None:
        post = Post(office)
        alice, bob = await office.phones("101", "102")
        await alice.call("102")
        await bob.rings()
        await post.rings("bob")
        await alice.hangup()
        await post.counts(alice=1, bob=1)
        (text,) = post.texts("bob")
        assert re.fullmatch(r"Missed call from Alice, 101 \(rang \d+ s\)", text)
        assert post.texts("alice")[0].startswith("Call to Bob, 102: no answer (rang ")
        assert post.result("alice") == post.result("bob") == ("false", "true", "cancel")

    async def test_nobody_picks_up_in_time(self, office: Office) -> None:
        post = Post(office)
        alice, bob = await office.phones("101", "102")
        await alice.call("663")  # after a second his voicemail
        await bob.rings()
        await bob.idle()
        await office.until(alice="talking")
        assert post.texts("bob") == []  # somebody may still take it
        await alice.hangup()
        await post.counts(alice=1, bob=1)
        assert post.texts("bob") == ["Missed call from Alice, 101 (rang 1 s)"]
        assert post.result("bob") == ("false", "true", "timeout")
        assert post.result("alice") == ("true", "true", "success")

    async def test_rejected(self, office: Office) -> None:
        post = Post(office)
        alice, bob = await office.phones("101", "102")
        await alice.call("102")
        await post.rings("bob")
        await bob.reject()
        await post.counts(alice=1, bob=1)
        assert post.texts("alice") == ["Call to Bob, 102: busy"]
        assert post.texts("bob")[0].startswith("You rejected a call from Alice, 101 (rang ")
        assert post.result("alice") == post.result("bob") == ("false", "true", "busy")

    async def test_busy(self, office: Office) -> None:
        post = Post(office)
        (alice,) = await office.phones("101")
        await alice.call("670")
        await alice.ended()
        await post.counts(alice=1)
        assert post.result("alice") == ("false", "false", "busy")
        assert post.record("alice")["responder"] == "670@pbx.example.org"

    async def test_a_phone_that_is_off(self, office: Office) -> None:
        post = Post(office)
        (alice,) = await office.phones("101")
        await alice.call("102")
        await alice.ended()
        await post.counts(alice=1)
        assert post.result("alice")[:2] == ("false", "false")
        assert post.texts("alice") == ["Call to 102: failed"]

    async def test_a_number_that_is_withheld(self, office: Office) -> None:
        post = Post(office)
        alice, bob = await office.phones("101", "102")
        await alice.call("681")
        await bob.rings()
        await post.rings("bob")
        await alice.hangup()
        await post.counts(alice=1, bob=1)
        assert post.texts("bob")[0].startswith("Missed call from somebody without a number (rang ")
        assert "initiator" not in post.record("bob")
        whole = ET.tostring(post.stanzas["bob"][0], encoding="unicode")
        assert "Alice" not in whole
        assert office["alice"].jid not in whole
        assert post.record("alice")["responder"] == office["bob"].jid

    async def test_a_number_of_the_world(self, office: Office) -> None:
        post = Post(office)
        alice, bob = await office.phones("101", "102")
        await alice.call("680")
        await bob.rings()
        await post.rings("bob")
        await alice.hangup()
        await post.counts(alice=1, bob=1)
        assert post.record("bob")["initiator"] == "+49301234567@pbx.example.org"
        assert post.texts("bob")[0].startswith("Missed call from Müller, Jörg & Söhne, +49301234567 (rang ")


class TestSeveralPhones:
    async def test_a_ring_group(self, office: Office) -> None:
        post = Post(office)
        alice, bob, carol = await office.phones("101", "102", "103")
        await alice.call("610")
        await bob.rings()
        await post.rings("bob")
        await carol.answer()
        await bob.idle()
        await office.until(alice="talking", carol="talking")
        await carol.hangup()
        await post.counts(alice=1, bob=1, carol=1)
        assert post.texts("bob") == ["Call from Alice, 101, was answered by Carol"]
        assert post.result("bob") == ("false", "true", "cancel")
        assert post.result("carol") == post.result("alice") == ("true", "true", "success")
        assert post.record("alice")["responder"] == office["carol"].jid
        assert len({post.record(name)["sid"] for name in ("alice", "bob", "carol")}) == 1

    async def test_two_phones_of_one_person(self, office: Office) -> None:
        post = Post(office)
        desk, cordless, bob = await office.phones("101", "201", "102")
        await bob.call("611")
        await desk.rings()
        await cordless.answer()
        await desk.idle()
        await office.until(alice="talking", bob="talking")
        await bob.hangup()
        await post.counts(alice=1, bob=1)
        assert post.result("alice") == ("true", "true", "success")

    async def test_a_queue(self, office: Office) -> None:
        post = Post(office)
        alice, bob, carol = await office.phones("101", "102", "103")
        await alice.call("620")
        await carol.rings()
        await post.rings("carol")
        await bob.answer()
        await carol.idle()
        await office.until(alice="talking", bob="talking")
        await bob.hangup()
        await post.counts(alice=1, bob=1, carol=1)
        assert post.texts("carol") == ["Call from Alice, 101, was answered by Bob"]
        assert post.result("bob") == ("true", "true", "success")

    async def test_a_queue_calls_again_and_again(self, office: Office) -> None:
        post = Post(office)
        alice, bob = await office.phones("101", "102")
        await alice.call("620")
        await bob.reject()
        await bob.reject()  # the queue calls again after a second
        await bob.rings()
        await post.rings("bob")
        await alice.hangup()
        await bob.idle()
        await post.counts(alice=1, bob=1)
        assert post.texts("bob")[0].startswith("Missed call from Alice, 101 (rang ")

    async def test_a_queue_whose_call_is_taken_later(self, office: Office) -> None:
        post = Post(office)
        alice, bob = await office.phones("101", "102")
        await alice.call("620")
        await bob.reject()
        await bob.rings()
        await bob.answer()
        await office.until(alice="talking", bob="talking")
        await alice.hangup()
        await post.counts(alice=1, bob=1)
        assert post.result("bob") == ("true", "true", "success")
        assert post.record("alice")["sid"] == post.record("bob")["sid"]

    async def test_the_next_one_takes_it(self, office: Office) -> None:
        post = Post(office)
        alice, bob, carol = await office.phones("101", "102", "103")
        await alice.call("661")  # Bob, and after a second Carol
        await post.rings("bob")
        await bob.idle()
        await carol.rings()
        assert post.texts("bob") == []
        await carol.answer()
        await office.until(alice="talking", carol="talking")
        await carol.hangup()
        await post.counts(alice=1, bob=1, carol=1)
        assert post.texts("bob") == ["Call from Alice, 101, was answered by Carol"]


class TestTransfers:
    async def test_blind(self, office: Office) -> None:
        post = Post(office)
        alice, bob, carol = await office.phones("101", "102", "103")
        await talk(office, alice, bob)
        await bob.transfer("103")
        await carol.rings()
        await carol.answer()
        await office.until(alice="talking", carol="talking")
        await alice.hangup()
        await post.counts(alice=1, bob=1, carol=1)
        assert {post.result(name) for name in office.people} == {("true", "true", "success")}
        assert post.record("alice")["responder"] == office["carol"].jid
        assert post.record("bob")["initiator"] == post.record("carol")["initiator"] == office["alice"].jid

    @everywhere
    async def test_attended(self, office: Office) -> None:
        post = Post(office)
        alice, bob, carol = await office.phones("101", "102", "103")
        await talk(office, alice, bob)
        await bob.hold()
        await bob.call("103")
        await carol.answer()
        await bob.talks()
        await office.until(alice="talking", bob="talking talking", carol="talking")
        await bob.attended_transfer()
        await office.until(alice="talking", carol="talking")
        await alice.talks()
        await carol.hangup()
        # Bob has had two calls, Alice and Carol one each.
        await post.counts(alice=1, bob=2, carol=1)
        assert {
            tuple(sorted((r["initiator"], r["responder"]))) for r in (post.record("bob", 0), post.record("bob", 1))
        } == {
            (office["alice"].jid, office["bob"].jid),
            (office["bob"].jid, office["carol"].jid),
        }
        assert post.record("alice")["responder"] == office["carol"].jid

    async def test_forwarded_while_it_rings(self, office: Office) -> None:
        post = Post(office)
        alice, bob, carol = await office.phones("101", "102", "103")
        await alice.call("102")
        await office.until(alice="dialling", bob="ringing")
        await office.arrived()
        call = office["bob"].events[-1].call_id
        await office["bob"].buddy.request(
            office.jid,
            f"<phone-action xmlns='{NAMESPACE}' type='FORWARD' id='{call}'><extension>103</extension></phone-action>",
        )
        await carol.rings()
        await bob.idle()
        await carol.answer()
        await office.until(alice="talking", carol="talking")
        await alice.hangup()
        await post.counts(alice=1, bob=1, carol=1)
        assert post.texts("bob")[0].startswith("Call from Alice, 101, was forwarded (rang ")
        assert post.result("bob") == ("false", "true", "cancel")
        assert post.record("alice")["responder"] == office["carol"].jid


class TestClickToDial:
    async def click(self, office: Office) -> None:
        await office["alice"].buddy.request(
            office.jid,
            f"<phone-action xmlns='{NAMESPACE}' type='DIAL'><extension>102</extension></phone-action>",
        )

    async def test_answered(self, office: Office) -> None:
        post = Post(office)
        desk, bob = await office.phones("101", "102")
        await self.click(office)
        await desk.answer()
        await bob.answer()
        await office.until(alice="talking", bob="talking")
        await bob.hangup()
        await post.counts(alice=1, bob=1)
        for name in ("alice", "bob"):
            assert post.result(name) == ("true", "true", "success")
            assert post.record(name)["initiator"] == office["alice"].jid
            assert post.record(name)["responder"] == office["bob"].jid
        assert post.record("alice")["sid"] == post.record("bob")["sid"]

    async def test_the_own_phone_is_not_picked_up(self, office: Office) -> None:
        post = Post(office)
        (desk,) = await office.phones("101")
        await self.click(office)
        await desk.reject()
        await post.counts(alice=1)
        assert post.texts("alice") == ["Call to Bob, 102: you did not pick up your own phone"]
        assert post.result("alice")[0] == "false"


class TestSettings:
    async def test_missed_calls_alone(self, exchange: Exchange, prosody: XmppServer, tmp_path: Path) -> None:
        records = {"send": "missed"}
        async with open_office(exchange, prosody, "component", tmp_path, phone={"records": records}) as office:
            post = Post(office)
            alice, bob, carol = await office.phones("101", "102", "103")
            await talk(office, alice, bob)
            await alice.hangup()
            await office.until()
            await alice.call("610")
            await bob.rings()
            await carol.answer()
            await office.until(alice="talking", carol="talking")
            await carol.hangup()
            await office.until()
            await alice.call("102")
            await bob.rings()
            await post.rings("bob")
            await alice.hangup()
            await post.counts(bob=1)
            assert post.texts("bob")[0].startswith("Missed call")

    async def test_chat_takes_the_place_of_the_ring_note(
        self, exchange: Exchange, prosody: XmppServer, tmp_path: Path
    ) -> None:
        records = {"send": "all", "type": "chat"}
        async with open_office(
            exchange, prosody, "component", tmp_path, phone={"records": records}, users={"bob": {"notes": True}}
        ) as office:
            post = Post(office)
            chats: list[ET.Element] = []
            office["bob"].buddy.on_message(lambda xml: chats.append(xml) if xml.get("type") == "chat" else None)
            alice, bob = await office.phones("101", "102")
            await alice.call("102")
            await bob.rings()
            await post.rings("bob")
            await alice.hangup()
            await post.counts(alice=1, bob=1)
            assert post.stanzas["alice"][0].get("type") == "chat"
            first, *corrections = chats
            assert "is calling you" in (first.findtext(f"{CLIENT}body") or "")
            replaced = [xml.find("{urn:xmpp:message-correct:0}replace") for xml in corrections]
            assert [element.get("id") for element in replaced if element is not None] == [first.get("id")] * len(
                corrections
            )
            assert corrections[-1] is post.stanzas["bob"][0]

    async def test_who_is_no_user_gets_nothing(self, exchange: Exchange, prosody: XmppServer, tmp_path: Path) -> None:
        records = {"send": "all"}
        async with open_office(
            exchange, prosody, "component", tmp_path, people=["alice"], phone={"records": records}
        ) as office:
            post = Post(office)
            alice, bob = await office.phones("101", "102")
            await alice.call("102")
            await bob.answer()
            await office.until(alice="talking")
            await bob.hangup()
            await post.counts(alice=1)
            assert "responder" not in post.record("alice")  # Bob is nobody here, and numbers have no address


async def test_who_is_offline(exchange: Exchange, server_and_mode: tuple[XmppServer, Mode], tmp_path: Path) -> None:
    server, mode = server_and_mode
    records = {"send": "missed", "type": "chat"}
    async with open_office(exchange, server, mode, tmp_path, phone={"records": records}) as office:
        login = office["bob"].login
        await office["bob"].buddy.disconnect()
        alice, bob = await office.phones("101", "102")
        await alice.call("102")
        await bob.rings()
        await alice.hangup()
        await office.until()
        async with Buddy.online(server, login.jid, login.password) as back:
            record = await back.hears(lambda message: "urn:xmpp:cdr:0" in message.xml)
            assert record.body.startswith("Missed call from ")
            assert record.delayed


class TestBreaks:
    async def test_asterisk_dies_in_mid_call(self, rootfs: Rootfs, prosody: XmppServer, tmp_path: Path) -> None:
        records = {"send": "all"}
        async with (
            Exchange(rootfs) as own,
            open_office(own, prosody, "component", tmp_path, phone={"records": records}) as office,
        ):
            post = Post(office)
            alice, bob = await office.phones("101", "102")
            await talk(office, alice, bob)
            await own.kill()
            await post.counts(alice=1, bob=1)
            assert post.result("bob") == ("true", "true", "general-error")

    async def test_the_service_restarts_in_mid_call(
        self, exchange: Exchange, prosody: XmppServer, tmp_path: Path
    ) -> None:
        records = {"send": "all"}
        async with open_office(exchange, prosody, "component", tmp_path, phone={"records": records}) as office:
            post = Post(office)
            alice, bob = await office.phones("101", "102")
            await talk(office, alice, bob)
            await office.service.kill()
            await office.service.start()
            await office.service.online()
            await office.in_sight()
            await office.until(alice="talking", bob="talking")
            await bob.hangup()
            await post.counts(alice=1, bob=1)
            assert post.result("bob")[0] == "true"
            assert post.record("bob")["termination-reason"] == "success"

    async def test_the_xmpp_server_is_away(self, exchange: Exchange, prosody: XmppServer, tmp_path: Path) -> None:
        async with Proxy(prosody.component_port) as proxy:
            records = {"send": "all", "type": "headline"}
            async with open_office(
                exchange,
                prosody,
                "component",
                tmp_path,
                phone={"records": records},
                account={"port": proxy.port, "retry_max": 1.0},
            ) as office:
                post = Post(office)
                alice, _bob = await office.phones("101", "102")
                await alice.call("102")
                await office.until(alice="dialling", bob="ringing")
                await proxy.refuse()
                proxy.cut()
                await alice.hangup()
                await office.until()
                await proxy.accept()
                await office.service.online()
                await post.counts(alice=1, bob=1)
                assert post.texts("bob")[0].startswith("Missed call")
