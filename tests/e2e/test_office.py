"""The whole: telephones, exchange, agi-xmpp, XMPP server, and people at Sparks, on each kind of server.

After each step every Spark must show what is true of its user's phones (`Office.after`).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import slixmpp.exceptions

from tests.spark import NAMESPACE, ON_THE_PHONE, Shown, Toast
from tests.testbed.client import Buddy
from tests.testbed.office import Colleague, Mode, Office, open_office
from tests.testbed.phone import Line, Phone
from tests.testbed.proxy import Proxy
from tests.testbed.rootfs import Rootfs
from tests.testbed.scenarios import SCENARIOS, Stage
from tests.testbed.telephony import Exchange, Phones
from tests.testbed.xmpp import XmppServer

MODES = ["prosody-component", "prosody-client", "ejabberd-component"]


@pytest.fixture
def server_and_mode(request: pytest.FixtureRequest) -> tuple[XmppServer, Mode]:
    name, _, mode = getattr(request, "param", MODES[0]).partition("-")
    server: XmppServer = request.getfixturevalue(name)
    return server, "component" if mode == "component" else "client"


@pytest.fixture
async def office(exchange: Exchange, server_and_mode: tuple[XmppServer, Mode], tmp_path: Path) -> AsyncIterator[Office]:
    """Alice, Bob and Carol at work; by default with a component on Prosody."""
    server, mode = server_and_mode
    async with open_office(exchange, server, mode, tmp_path) as office:
        yield office


everywhere = pytest.mark.parametrize("server_and_mode", MODES, indirect=True)


def action(kind: str, *, extension: str = "", jid: str = "", call: str = "") -> str:
    """Return a phone action as Spark 3.1 writes it."""
    child = f"<jid>{jid}</jid>" if jid else f"<extension>{extension}</extension>"
    attribute = f" id='{call}'" if call else ""
    return f"<phone-action xmlns='{NAMESPACE}' type='{kind}'{attribute}>{child}</phone-action>"


async def refused(who: Buddy, to: str, payload: str) -> tuple[str, str, str]:
    """Ask for something that is refused; return type, condition and text of the error."""
    with pytest.raises(slixmpp.exceptions.IqError) as caught:
        await who.request(to, payload)
    error = caught.value.iq["error"]
    return error["type"], error["condition"], error["text"]


async def connect(office: Office, caller: Phone, callee: Phone) -> Line:
    """Alice calls Bob, and they talk."""
    await caller.call(callee.number)
    await office.after(alice="dialling", bob="ringing")
    line = await callee.answer()
    await office.after(alice="talking", bob="talking")
    await caller.talks()
    await callee.talks()
    return line


async def channels(exchange: Exchange) -> int:
    return len((await exchange.cli("core show channels concise")).splitlines())


class TestCalls:
    @everywhere
    async def test_answered(self, office: Office) -> None:
        alice, bob = await office.phones("101", "102")
        await alice.call("102")
        await office.after(alice="dialling", bob="ringing")
        await bob.answer()
        await office.after(alice="talking", bob="talking")
        await alice.hangup()
        await office.after()
        assert office["alice"].told() == ["DIALED", "ON_PHONE", "HANG_UP"]
        assert office["bob"].told() == ["RING", "ON_PHONE", "HANG_UP"]
        assert office["bob"].watched.spark.toasts == [Toast("Alice (101)", "")]
        events = office["alice"].events + office["bob"].events
        assert len({event.call_id for event in events}) == 1
        assert {event.device for event in office["alice"].events} == {"PJSIP/101"}
        assert [(event.caller_id, event.caller_name) for event in office["alice"].events] == [
            ("102", "Bob"),
            ("102", ""),
            ("", ""),
        ]

    @everywhere
    async def test_what_stands_on_the_wire(self, office: Office) -> None:
        alice, _bob = await office.phones("101", "102")
        await alice.call("102")
        await office.after(alice="dialling", bob="ringing")
        message = office["bob"].stanzas[0]
        event = message.find(f"{{{NAMESPACE}}}phone-event")
        assert event is not None
        assert (message.get("type"), message.get("from")) == ("headline", office.jid)
        assert message.find("{jabber:client}body") is None
        call = event.get("callID")
        assert event.attrib == {"type": "RING", "status": "RING", "callID": call, "id": call, "device": "PJSIP/102"}
        assert [child.tag.partition("}")[2] for child in event] == ["callerID", "callerIDName"]
        assert message.find("{urn:xmpp:hints}no-store") is not None

    @everywhere
    async def test_missed(self, office: Office) -> None:
        office["bob"].watched.choose(Shown("dnd", "In a meeting"))
        alice, _bob = await office.phones("101", "102")
        await alice.call("102")
        await office.after(alice="dialling", bob="ringing")
        await alice.hangup()
        await office.after()
        assert office["bob"].told() == ["RING"]

    async def test_rejected(self, office: Office) -> None:
        alice, bob = await office.phones("101", "102")
        await alice.call("102")
        await office.after(alice="dialling", bob="ringing")
        await bob.reject()
        await office.after()
        assert (office["alice"].told(), office["bob"].told()) == (["DIALED"], ["RING"])

    @everywhere
    async def test_two_phones_of_one_person_ring_once(self, office: Office) -> None:
        desk, cordless, bob = await office.phones("101", "201", "102")
        await bob.call("611")
        await desk.rings()
        await cordless.rings()
        await office.after(alice="ringing", bob="dialling")
        await cordless.answer()
        await office.after(alice="talking", bob="talking")
        await bob.hangup()
        await office.after()
        assert office["alice"].told() == ["RING", "ON_PHONE", "HANG_UP"]
        assert [event.device for event in office["alice"].events][1:] == ["PJSIP/201"] * 2

    @everywhere
    @pytest.mark.parametrize("number", ["610", "620"], ids=["ring group", "queue"])
    async def test_whoever_was_slower_is_not_on_the_phone(self, office: Office, number: str) -> None:
        alice, bob, carol = await office.phones("101", "102", "103")
        await alice.call(number)
        await bob.rings()
        await carol.rings()
        await office.after(alice="dialling", bob="ringing", carol="ringing")
        await carol.answer()
        await office.after(alice="talking", carol="talking")
        await alice.hangup()
        await office.after()
        assert office["bob"].told() == ["RING"]
        assert office["carol"].told() == ["RING", "ON_PHONE", "HANG_UP"]

    @everywhere
    async def test_two_calls_at_once(self, office: Office) -> None:
        alice, bob, carol = await office.phones("101", "102", "103")
        first = await connect(office, alice, bob)
        await carol.call("102")
        await bob.rings()
        await office.after(alice="talking", bob="talking ringing", carol="dialling")
        await bob.hold()
        await bob.answer()
        await office.after(alice="talking", bob="talking talking", carol="talking")
        await bob.hangup(first)
        await office.after(bob="talking", carol="talking")
        await carol.hangup()
        await office.after()
        assert office["bob"].told() == ["RING", "ON_PHONE", "RING", "HANG_UP", "ON_PHONE", "HANG_UP"]

    async def test_hold(self, office: Office) -> None:
        alice, bob = await office.phones("101", "102")
        await connect(office, alice, bob)
        await bob.hold()
        await bob.resume()
        await alice.hangup()
        await office.after()
        assert office["bob"].told() == ["RING", "ON_PHONE", "HANG_UP"]

    @everywhere
    async def test_attended_transfer(self, office: Office) -> None:
        alice, bob, carol = await office.phones("101", "102", "103")
        await connect(office, alice, bob)
        await bob.hold()
        await bob.call("103")
        await carol.rings()
        await office.after(alice="talking", bob="talking dialling", carol="ringing")
        await carol.answer()
        await bob.talks()
        await office.after(alice="talking", bob="talking talking", carol="talking")
        await bob.attended_transfer()
        await office.after(alice="talking", carol="talking")
        await alice.talks()
        await carol.talks()
        await carol.hangup()
        await office.after()
        # Each keeps the id that the call began with, whatever Asterisk does to its channels.
        assert len({event.call_id for event in office["alice"].events}) == 1
        assert len({event.call_id for event in office["carol"].events}) == 1

    @everywhere
    async def test_blind_transfer(self, office: Office) -> None:
        alice, bob, carol = await office.phones("101", "102", "103")
        await connect(office, alice, bob)
        await bob.transfer("103")
        await carol.rings()
        await office.after(alice="talking", carol="ringing")
        await carol.answer()
        await office.after(alice="talking", carol="talking")
        await alice.hangup()
        await office.after()

    @pytest.mark.parametrize("number", ["630", "640", "650"], ids=["menu", "conference", "echo"])
    async def test_a_call_that_no_person_answers(self, office: Office, number: str) -> None:
        (alice,) = await office.phones("101")
        await alice.call(number)
        await office.after(alice="talking")
        await alice.hangup()
        await office.after()
        assert office["alice"].told() == ["ON_PHONE", "HANG_UP"]


@pytest.mark.timeout(300)
async def test_every_scene_leaves_spark_as_it_was(exchange: Exchange, office: Office) -> None:
    """What happens with telephones, one scene after the other on one day: nobody stays "On the phone"."""
    for name, scene in SCENARIOS.items():
        async with Phones(exchange) as phones, Stage(exchange, phones) as stage:
            await scene(stage)
            await exchange.disconnect()  # hangs up whatever is left
            await office.until()
            await office.arrived()
        for colleague in office.people.values():
            spark = colleague.watched.spark
            assert (spark.bar, spark.alerts) == (colleague.watched.quiet, []), name
            told = [event.type for event in colleague.events]
            rung = {event.call_id for event in colleague.events if event.type == "RING"}
            assert len(spark.toasts) == len(rung), name
            assert told.count("ON_PHONE") == told.count("HANG_UP"), name


class TestActions:
    @everywhere
    async def test_click_to_dial(self, office: Office) -> None:
        desk, bob = await office.phones("101", "102")
        office["alice"].watched.spark.dial()
        reply = ET.fromstring(await office["alice"].buddy.request(office.jid, action("DIAL", extension="1 0-2")))
        (result,) = reply
        assert (reply.get("type"), result.tag, result.attrib) == (
            "result",
            f"{{{NAMESPACE}}}phone-action",
            {"type": "DIAL"},
        )
        assert (await desk.rings()).number == "101"
        assert office["alice"].told() == []
        await desk.answer()
        assert (await bob.rings()).name == "Alice"
        await office.after(alice="dialling", bob="ringing")
        await bob.answer()
        await office.after(alice="talking", bob="talking")
        await desk.talks()
        await bob.talks()
        await bob.hangup()
        await office.after()
        assert office["alice"].told() == ["DIALED", "ON_PHONE", "HANG_UP"]
        assert not office["alice"].watched.spark.dial_window

    @everywhere
    async def test_click_to_dial_somebody(self, office: Office) -> None:
        desk, bob = await office.phones("101", "102")
        await office["alice"].buddy.request(office.jid, action("DIAL", jid=office["bob"].jid))
        await desk.answer()
        await office.after(alice="dialling", bob="ringing")
        await bob.answer()
        await office.after(alice="talking", bob="talking")
        await desk.hangup()
        await office.after()

    @everywhere
    async def test_nobody_picks_up_the_own_phone(
        self, exchange: Exchange, server_and_mode: tuple[XmppServer, Mode], tmp_path: Path
    ) -> None:
        server, mode = server_and_mode
        async with open_office(exchange, server, mode, tmp_path, phone={"ring_time": 1.0}) as office:
            (desk,) = await office.phones("101")
            office["alice"].watched.spark.dial()
            await office["alice"].buddy.request(office.jid, action("DIAL", extension="102"))
            await desk.rings()
            await desk.idle()
            await office.after()
            assert not office["alice"].watched.spark.dial_window

    @everywhere
    async def test_the_other_side_is_busy(self, office: Office) -> None:
        desk, bob = await office.phones("101", "102")
        office["alice"].watched.spark.dial()
        await office["alice"].buddy.request(office.jid, action("DIAL", extension="102"))
        await desk.answer()
        await office.after(alice="dialling", bob="ringing")
        await bob.reject()
        await desk.idle()
        await office.after()
        assert not office["alice"].watched.spark.dial_window

    @everywhere
    async def test_forward_while_it_rings(self, office: Office) -> None:
        alice, bob, carol = await office.phones("101", "102", "103")
        await alice.call("102")
        await office.after(alice="dialling", bob="ringing")
        (event,) = office["bob"].events
        await office["bob"].buddy.request(office.jid, action("FORWARD", extension="103", call=event.call_id))
        await carol.rings()
        await bob.idle()
        await office.after(alice="dialling", carol="ringing")
        await carol.answer()
        await office.after(alice="talking", carol="talking")
        await alice.hangup()
        await office.after()
        assert office["bob"].told() == ["RING"]

    @everywhere
    async def test_forward_while_they_talk(self, office: Office) -> None:
        alice, bob, carol = await office.phones("101", "102", "103")
        await connect(office, alice, bob)
        event = office["bob"].events[-1]
        await office["bob"].buddy.request(office.jid, action("FORWARD", jid=office["carol"].jid, call=event.call_id))
        await carol.rings()
        await office.after(alice="talking", carol="ringing")
        await carol.answer()
        await office.after(alice="talking", carol="talking")
        await alice.talks()
        await carol.talks()
        await alice.hangup()
        await office.after()

    @everywhere
    async def test_who_may_not_gets_an_error_and_asterisk_sees_nothing(
        self, office: Office, exchange: Exchange
    ) -> None:
        alice, bob = await office.phones("101", "102")
        await connect(office, alice, bob)
        call = office["bob"].events[-1].call_id
        before = await channels(exchange)
        since = exchange.log_size()
        stranger = await office.accounts("stranger")
        local = office["alice"].jid.partition("@")[0]
        namesake = await office.server.add_user(local, "secret-of-another", office.server.impostor_domain)
        async with (
            Buddy.online(office.server, stranger.jid, stranger.password) as zoe,
            Buddy.online(office.server, namesake, "secret-of-another") as impostor,
        ):
            for who in (zoe, impostor):
                for payload in (action("DIAL", extension="102"), action("FORWARD", extension="103", call=call)):
                    kind, condition, _text = await refused(who, office.jid, payload)
                    assert (kind, condition) == ("auth", "forbidden")
                assert await who.commands(office.jid) == {}
                who.say(office.jid, "call 102")
        carol = office["carol"].buddy
        for request, expected in {
            action("FORWARD", extension="101", call=call): ("cancel", "item-not-found"),
            action("FORWARD", extension="101", call="c-1"): ("cancel", "item-not-found"),
            action("DIAL", extension="0190123456"): ("auth", "forbidden"),
            action("DIAL", extension="102,1&amp;PJSIP/103"): ("modify", "bad-request"),
            action("DIAL", extension="699"): ("cancel", "item-not-found"),
            action("DIAL", jid=stranger.jid): ("cancel", "item-not-found"),
        }.items():
            kind, condition, _text = await refused(carol, office.jid, request)
            assert (kind, condition) == expected, request
        await office.arrived()
        assert await channels(exchange) == before
        assert "0190123456" not in exchange.log[since:]
        await alice.hangup()
        await office.after()

    @everywhere
    async def test_asterisk_is_away(self, office: Office, rootfs: Rootfs, tmp_path: Path) -> None:
        office.service.sections["ami"] = {**office.service.sections["ami"], "port": 1}
        await office.service.reload()
        kind, condition, _text = await refused(office["alice"].buddy, office.jid, action("DIAL", extension="102"))
        assert (kind, condition) == ("wait", "remote-server-timeout")


class TestWhatOthersSee:
    @everywhere
    async def test_what_is_offered_is_found(self, office: Office) -> None:
        offered = await office["alice"].buddy.info(office.jid)
        for name in ("ring", "dial", "forward", "hangup", "do-not-disturb"):
            assert f"{NAMESPACE}#{name}" in offered
        assert f"{NAMESPACE}#phone-book" not in offered

    @pytest.mark.parametrize("server_and_mode", ["prosody-component", "ejabberd-component"], indirect=True)
    async def test_a_phone_contact(self, office: Office) -> None:
        alice, bob = await office.phones("101", "102")
        carol = office["carol"].buddy
        contact = f"{office['alice'].jid.partition('@')[0]}@{office.jid}"
        carol.subscribe(contact)
        await carol.sees(lambda seen: seen.type == "subscribed" and seen.sender == contact)
        await carol.sees(lambda seen: seen.sender == f"{contact}/PJSIP-101" and seen.show == "")
        await connect(office, alice, bob)
        away = await carol.sees(lambda seen: seen.sender.startswith(contact) and seen.show == "away")
        assert away.status == "On the phone"
        assert ET.fromstring(away.xml).find(f"{{{NAMESPACE}}}phone-status").get("status") == "ON_PHONE"  # type: ignore[union-attr]
        await alice.hangup()
        await carol.sees(lambda seen: seen.sender.startswith(contact) and seen.show == "" and seen.type == "")
        office["alice"].buddy.say(office.jid, "dnd on")
        await carol.sees(lambda seen: seen.sender.startswith(contact) and seen.show == "dnd")
        await alice.stop()
        office["alice"].buddy.say(office.jid, "dnd off")
        await carol.sees(lambda seen: seen.sender.startswith(contact) and seen.show == "xa")

    async def test_a_stranger_sees_no_phone_contact(self, office: Office) -> None:
        stranger = await office.accounts("stranger")
        contact = f"{office['alice'].jid.partition('@')[0]}@{office.jid}"
        async with Buddy.online(office.server, stranger.jid, stranger.password) as zoe:
            zoe.subscribe(contact)
            await zoe.sees(lambda seen: seen.type == "unsubscribed" and seen.sender == contact)

    async def test_names_of_the_phone_book(self, exchange: Exchange, prosody: XmppServer, tmp_path: Path) -> None:
        contacts = tmp_path / "contacts.csv"
        contacts.write_text(
            "name;number;company;link\nJörg Müller;030 1234567;ACME;https://crm.test/7\n", encoding="utf-8"
        )
        book = {"country": "DE", "files": [str(contacts)]}
        users = {"bob": {"notes": True}}
        async with open_office(exchange, prosody, "component", tmp_path, phone={"book": book}, users=users) as office:
            alice, bob = await office.phones("101", "102")
            await alice.call("680")  # which calls Bob with +49301234567
            await office.after(alice="dialling", bob="ringing")
            assert office["bob"].events[0].caller_id == "+49301234567"
            assert office["bob"].events[0].caller_name == "Jörg Müller, ACME (+49301234567)"
            note = await office["bob"].buddy.hears(lambda message: "is calling you" in message.body)
            assert "Jörg Müller" in note.body
            assert "https://crm.test/7" in note.xml
            await bob.answer()
            await office.after(alice="talking", bob="talking")
            await alice.hangup()
            await office.after()

    async def test_a_withheld_number_is_shown_to_nobody(
        self, exchange: Exchange, prosody: XmppServer, tmp_path: Path
    ) -> None:
        async with open_office(exchange, prosody, "component", tmp_path, users={"bob": {"notes": True}}) as office:
            alice, bob = await office.phones("101", "102")
            await alice.call("681")
            assert (await bob.rings()).number == "anonymous"
            await office.after(alice="dialling", bob="ringing")
            note = await office["bob"].buddy.hears(lambda message: "is calling you" in message.body)
            assert "101" not in note.body
            assert "Alice" not in note.body
            office["bob"].buddy.say(office.jid, "calls")
            assert "Alice" not in (await office["bob"].buddy.hears(lambda message: "#1" in message.body)).body
            await alice.hangup()
            await office.after()
            assert {(event.caller_id, event.caller_name) for event in office["bob"].events} == {("", "")}


class TestBreaks:
    @everywhere
    async def test_the_service_is_killed_in_mid_call_and_comes_back_before_its_end(self, office: Office) -> None:
        alice, bob = await office.phones("101", "102")
        await connect(office, alice, bob)
        await _again(office)
        await office.after(alice="talking", bob="talking")
        assert office["bob"].told() == ["RING", "ON_PHONE"]
        await bob.hangup()
        await office.after()
        assert office["bob"].told() == ["HANG_UP"]

    async def test_a_call_ends_while_the_service_is_away(self, office: Office) -> None:
        alice, bob = await office.phones("101", "102")
        await connect(office, alice, bob)
        await office.service.kill()
        await bob.hangup()
        await office.service.start()
        await office.service.online()
        await office.in_sight()
        await office.after()
        assert (office["bob"].told(), office["alice"].told()) == (
            ["RING", "ON_PHONE", "HANG_UP"],
            ["DIALED", "ON_PHONE", "HANG_UP"],
        )

    async def test_asterisk_dies_in_mid_call(self, rootfs: Rootfs, prosody: XmppServer, tmp_path: Path) -> None:
        async with Exchange(rootfs) as own, open_office(own, prosody, "component", tmp_path) as office:
            alice, bob = await office.phones("101", "102")
            await connect(office, alice, bob)
            await own.kill()
            await office.after()
            assert office["bob"].told() == ["RING", "ON_PHONE", "HANG_UP"]
            await own.start()
            await office.in_sight()
            await office.after()

    async def test_the_manager_connection_breaks_for_a_moment(
        self, exchange: Exchange, prosody: XmppServer, tmp_path: Path
    ) -> None:
        async with (
            Proxy(exchange.ami_port) as proxy,
            open_office(exchange, prosody, "component", tmp_path, ami={"port": proxy.port}) as office,
        ):
            alice, bob = await office.phones("101", "102")
            await connect(office, alice, bob)
            since = office.service.log_size()
            proxy.cut()
            await office.service.log_says(lambda line: "logged in as xmppphone" in line, since=since)
            await office.in_sight()
            await office.after(alice="talking", bob="talking")
            await alice.hangup()
            await office.after()
            assert office["bob"].told() == ["RING", "ON_PHONE", "HANG_UP"]

    @everywhere
    async def test_somebody_logs_in_in_mid_call(self, office: Office) -> None:
        alice, bob = await office.phones("101", "102")
        await connect(office, alice, bob)
        login = office["bob"].login
        async with Buddy.online(office.server, login.jid, login.password, resource="Late") as late:
            colleague = Colleague("late", login, late)
            await late.ping(office.jid)
            assert colleague.events == []
            await alice.hangup()
            await office.after()
            await late.ping(office.jid)
            assert colleague.told() == ["HANG_UP"]

    async def test_reload_keeps_calls_and_takes_new_people_in(self, office: Office) -> None:
        alice, bob = await office.phones("101", "102")
        await connect(office, alice, bob)
        phone = office.service.sections["phone"]
        new = await office.accounts("dave")
        office.service.sections["phone"] = {
            **phone,
            "user": {**phone["user"], new.jid: {"devices": ["PJSIP/104"], "name": "Dave"}},
        }
        await office.service.reload()
        await office.in_sight()
        await office.after(alice="talking", bob="talking")
        async with Buddy.online(office.server, new.jid, new.password) as dave:
            assert "dial" in await dave.commands(office.jid)
        await bob.hangup()
        await office.after()
        assert office["bob"].told() == ["RING", "ON_PHONE", "HANG_UP"]


async def _again(office: Office) -> None:
    await office.service.kill()
    await office.service.start()
    await office.service.online()
    await office.in_sight()


def test_spark_would_notice() -> None:
    """The checks of `Office.after` can fail: a Spark that stays on the phone is not as it was."""
    from tests.spark import Watched

    watched = Watched()
    watched.spark.choose(ON_THE_PHONE)
    with pytest.raises(AssertionError):
        watched.check()
