"""The gateway: what Asterisk says reaches rooms, and what rooms ask for reaches Asterisk."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.ami.model import AmiInfo, AmiState, Message
from agi_xmpp.config import ConferenceSettings, PhoneSettings
from agi_xmpp.errors import AmiNotConnected, AmiRefused, AmiUnknown, ConfigError, Refused
from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.archive.messages import Query
from agi_xmpp.features.conference.gateway import Gateway
from agi_xmpp.features.conference.phones import legs
from agi_xmpp.store import Store
from agi_xmpp.watch import Watch
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import SessionInfo, SessionState
from tests.testbed.ports import free_port
from tests.unit.features.conference.fakes import stanza
from tests.unit.features.phone.fakes import FakeAmi
from tests.unit.sip.copies import copy, message

ROMEO, JULIET = "romeo@example.org/orchard", "juliet@example.org/balcony"
PHONE = PhoneSettings.model_validate(
    {
        "account": "phone",
        "context": "internal",
        "user": {"alice@example.org": {"devices": ["PJSIP/101"], "name": "Alice A"}},
    }
)
MORE_PEOPLE = PhoneSettings.model_validate(
    {
        **PHONE.model_dump(exclude_unset=True),
        "user": {
            "alice@example.org": {"devices": ["PJSIP/101"], "name": "Alice A"},
            "carol@example.org": {"devices": ["PJSIP/103"], "name": "Carol C"},
        },
    }
)


class Port:
    """The stream of a component."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.online = False
        self.sent: list[Element] = []

    def send(self, stanza: Element) -> None:
        if stanza.get("to") != self.domain:  # to ourselves, to see what the server has
            self.sent.append(stanza)

    def take(self) -> list[Element]:
        sent, self.sent = self.sent, []
        return sent


class Session:
    """A component's session."""

    def __init__(self, jid: str) -> None:
        self.account = jid.partition(".")[0]
        self.port = Port(jid)
        self.host: Any = None

    def info(self) -> SessionInfo:
        return SessionInfo(self.account, f"{self.port.domain}/agi-xmpp", SessionState.ONLINE, 0.0)

    def serve_stanzas(self, host: Any) -> Port:
        self.host = host
        return self.port

    def begin(self) -> None:
        self.port.online = True
        self.host.stream_began()

    def end(self) -> None:
        self.port.online = False
        self.host.stream_ended()


class Manager(FakeAmi):
    """A manager connection that has lists."""

    def __init__(self) -> None:
        super().__init__(Getvar={"Response": "Success", "Value": "allowed_not_screened"})
        self.state = AmiState.STOPPED
        self.lists: dict[str, list[Mapping[str, str]]] = {}

    def info(self) -> AmiInfo:
        return AmiInfo("127.0.0.1:5038", self.state, 0.0)

    async def items(
        self, name: str, headers: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> Sequence[Message]:
        await self.action(name, headers)
        return self.lists.get(name, [])


class Leg:
    def __init__(self, agent: Agent, listener: Any) -> None:
        self.agent, self.listener = agent, listener
        self.hung_up = asyncio.Event()

    async def send_text(self, text: str, display: str) -> None:
        self.agent.said.put_nowait((display, text))

    async def hang_up(self) -> None:
        self.hung_up.set()


class Agent:
    """Calls conferences; each call is answered."""

    def __init__(self, _settings: object) -> None:
        self.legs: asyncio.Queue[Leg] = asyncio.Queue()
        self.made: list[Leg] = []
        self.said: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def apply(self, _settings: object) -> None:
        for leg in self.made:
            leg.listener.ended("other settings")

    async def call(self, number: str, listener: Any, *, display: str = "") -> Leg:
        leg = Leg(self, listener)
        self.made.append(leg)
        self.legs.put_nowait(leg)
        return leg


class House:
    """A gateway with rooms at conference.example.org and phones at phone.example.org.

    Args:
        directory: for messages; "" keeps none.
        phones: phones have addresses.
        store: what is kept besides; by default, nothing.
        conference: keys of ``[conference]``.
    """

    def __init__(
        self, directory: Path | str, phones: bool = True, *, store: Store | None = None, **conference: object
    ) -> None:
        self.settings = ConferenceSettings.model_validate(
            {
                "account": "conference",
                "context": "conferences",
                "rooms": ["_6XXX"],
                "owners": ["romeo@example.org"],
                "room": {"balcony": {"number": "6000", "title": "Balcony"}},
                **conference,
            }
        )
        self.ami = Manager()
        self.session = Session("conference.example.org")
        self.phones = Session("phone.example.org") if phones else None
        self.agents: list[Agent] = []
        self.watch = Watch()
        self.gateway = Gateway(
            self.settings,
            PHONE,
            self.ami,
            self.session,  # type: ignore[arg-type]
            self.phones,  # type: ignore[arg-type]
            store or Store(""),
            str(directory),
            self.watch,
            self._make_agent,  # type: ignore[arg-type]
        )
        (self.agent,) = self.agents

    def _make_agent(self, settings: object) -> Agent:
        self.agents.append(Agent(settings))
        return self.agents[-1]

    def changed(self, **keys: object) -> ConferenceSettings:
        """Return the settings with other keys."""
        return ConferenceSettings.model_validate({**self.settings.model_dump(exclude_unset=True), **keys})

    async def apply(self, phone: PhoneSettings | None = PHONE, **keys: object) -> bool:
        """Let the gateway use the settings with other keys."""
        return await self.gateway.apply(self.changed(**keys), phone)

    async def start(self) -> None:
        await self.gateway.start()
        self.session.begin()

    def enter(self, who: str = ROMEO, room: str = "balcony", nick: str = "Romeo") -> list[Element]:
        self.session.port.take()
        self.session.host.stanza_came(
            stanza(
                f"<presence from='{who}' to='{room}@conference.example.org/{nick}'>"
                "<x xmlns='http://jabber.org/protocol/muc'/></presence>"
            )
        )
        return self.session.port.take()

    async def comes(self, who: str = ROMEO, nick: str = "Romeo") -> list[Element]:
        """Let somebody enter the balcony, whose conference has phones: Asterisk is asked before."""
        sent = self.enter(who, nick=nick)
        assert not sent
        await self.settle()
        return self.session.port.take()

    def leave(self, who: str = ROMEO, room: str = "balcony") -> None:
        self.session.host.stanza_came(
            stanza(f"<presence from='{who}' to='{room}@conference.example.org/x' type='unavailable'/>")
        )

    def say(self, text: str, who: str = ROMEO, to: str = "balcony@conference.example.org", kind: str = "groupchat"):
        self.session.host.stanza_came(
            stanza(f"<message from='{who}' to='{to}' type='{kind}' id='m1'><body>{text}</body></message>")
        )

    async def join(self, number: str = "101", conference: str = "6000", name: str = "Alice A") -> None:
        """Let a phone come in, and wait until it was told of."""
        self.gateway.ami_event(joined(number, conference, name))
        await self.settle()

    async def settle(self) -> None:
        """Let everything happen that is under way and needs nobody else."""
        for _ in range(20):
            await asyncio.sleep(0)

    def bodies(self) -> list[tuple[str, str]]:
        """Return the texts that chat got since the last time: from whom, and what."""
        return [
            (message.get("from", "").partition("/")[2], stanzas.body_of(message))
            for message in self.session.port.take()
            if message.tag == stanzas.MESSAGE and stanzas.body_of(message)
        ]

    def nicks(self) -> list[tuple[str, str]]:
        """Return the presences that chat got since the last time: of whom, and the type."""
        return [
            (presence.get("from", "").partition("/")[2], presence.get("type", ""))
            for presence in self.session.port.take()
            if presence.tag == stanzas.PRESENCE
        ]


def joined(number: str = "101", conference: str = "6000", name: str = "Alice A") -> dict[str, str]:
    return {
        "Event": "ConfbridgeJoin",
        "Conference": conference,
        "Channel": f"PJSIP/{number}-00000001",
        "Uniqueid": f"17.{number}",
        "CallerIDNum": number,
        "CallerIDName": name,
        "Muted": "No",
        "Admin": "No",
    }


def left(number: str = "101", conference: str = "6000") -> dict[str, str]:
    return {**joined(number, conference), "Event": "ConfbridgeLeave"}


def ban(house: House, who: str = "alice") -> None:
    """Let somebody's phone be banned."""
    house.session.host.stanza_came(
        stanza(
            f"<iq from='{ROMEO}' to='balcony@conference.example.org' type='set' id='1'>"
            "<query xmlns='http://jabber.org/protocol/muc#admin'>"
            f"<item affiliation='outcast' jid='{who}@phone.example.org'/></query></iq>"
        )
    )
    house.session.port.take()


def listed(house: House, *items: dict[str, str]) -> None:
    """Let Asterisk's lists have these in the conference 6000."""
    house.ami.lists = {"ConfbridgeListRooms": [{"Conference": "6000"}]}
    house.ami.lists["ConfbridgeList"] = house.ami.lists["Status"] = [{**item, "BridgeID": "b"} for item in items]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let our leg go as soon as the last one has left chat."""
    monkeypatch.setattr(legs, "GRACE", 0.0)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.start()
    yield house
    await house.gateway.stop()


class TestPhones:
    async def test_a_phone_that_joins_and_leaves_is_seen_in_chat(self, house):
        house.enter()
        await house.join()
        assert house.nicks() == [("Alice A", "")]
        house.gateway.ami_event(left())
        assert house.nicks() == [("Alice A", "unavailable")]

    async def test_who_is_in_already_is_there_when_somebody_joins(self, house):
        await house.join()
        nicks = [presence.get("from", "").partition("/")[2] for presence in await house.comes()]
        assert "Alice A" in nicks

    async def test_who_was_in_before_we_came_is_found(self, house):
        item = {**joined(), "BridgeID": "b"}
        house.ami.lists = {
            "ConfbridgeListRooms": [{"Conference": "6000"}],
            "ConfbridgeList": [item],
            "Status": [item],
        }
        house.enter()
        house.gateway.ami_connected()
        await house.settle()
        assert house.nicks() == [("Alice A", "")]

    async def test_conferences_that_are_no_rooms_are_nobodys_business(self, house):
        await house.join(conference="staff")
        assert [room.number for room in house.gateway.rooms.own_rooms] == ["6000"]

    async def test_a_conference_that_may_be_a_room_is_one_as_long_as_somebody_is_in(self, house):
        await house.join(conference="6123")
        assert [room.number for room in house.gateway.rooms.own_rooms] == ["6000", "6123"]
        house.gateway.ami_event(left(conference="6123"))
        assert [room.number for room in house.gateway.rooms.own_rooms] == ["6000"]

    async def test_a_caller_who_withholds_their_name_has_none_in_chat(self, house):
        house.ami.answers["Getvar"] = {"Response": "Success", "Value": "prohib_not_screened"}
        house.enter()
        await house.join()
        ((nick, kind),) = house.nicks()
        assert kind == ""
        assert "Alice" not in nick
        assert "101" not in nick

    async def test_what_is_not_known_is_not_shown(self, house):
        house.ami.answers["Getvar"] = AmiRefused("Permission denied")
        house.enter()
        await house.join()
        assert "Alice" not in house.nicks()[0][0]

    async def test_a_phone_has_the_address_of_its_owner(self, house):
        await house.join()
        (room,) = house.gateway.rooms.own_rooms
        (phone,) = room.phones.values()
        assert str(house.gateway.phone_jid(phone.participant)) == "alice@phone.example.org/17.101"

    async def test_a_phone_of_nobody_has_that_of_its_number(self, house):
        await house.join("555", name="Somebody")
        (room,) = house.gateway.rooms.own_rooms
        (phone,) = room.phones.values()
        assert str(house.gateway.phone_jid(phone.participant)) == "555@phone.example.org/17.555"

    async def test_without_a_domain_of_their_own_phones_have_no_address(self, tmp_path):
        house = House(tmp_path, phones=False)
        await house.start()
        await house.join()
        (room,) = house.gateway.rooms.own_rooms
        (phone,) = room.phones.values()
        assert house.gateway.phone_jid(phone.participant) is None
        await house.gateway.stop()

    async def test_a_banned_phone_is_thrown_out_and_not_shown(self, house):
        house.enter()
        ban(house)
        await house.join()
        assert house.nicks() == []
        kick = ("ConfbridgeKick", {"Conference": "6000", "Channel": "PJSIP/101-00000001"})
        assert [action for action in house.ami.taken() if action[0] == "ConfbridgeKick"] == [kick]
        house.enter(JULIET, nick="Juliet")
        await house.settle()
        assert "ConfbridgeKick" not in house.ami.names  # it is on its way out

    async def test_a_phone_that_withholds_its_number_is_banned_all_the_same(self, house):
        house.enter()
        ban(house)
        house.ami.answers["Getvar"] = {"Response": "Success", "Value": "prohib_not_screened"}
        await house.join()
        assert house.nicks() == []
        assert "ConfbridgeKick" in house.ami.names

    async def test_a_banned_phone_that_could_not_be_thrown_out_is_tried_again(self, house):
        house.enter()
        ban(house)
        house.ami.answers["ConfbridgeKick"] = AmiUnknown("no answer")
        await house.join()
        house.ami.taken()
        house.enter(JULIET, nick="Juliet")
        await house.settle()
        assert "ConfbridgeKick" in house.ami.names


class TestDoor:
    async def test_nobody_comes_from_chat_into_a_locked_conference_but_owners(self, house):
        house.ami.lists["ConfbridgeListRooms"] = [{"Conference": "6000", "Locked": "Yes"}]
        await house.join()
        (error,) = await house.comes(JULIET, "Juliet")
        assert error.get("type") == "error"
        assert stanzas.condition_of(error) == "forbidden"
        assert "Romeo" in [sent.get("from", "").partition("/")[2] for sent in await house.comes(ROMEO)]
        house.ami.lists["ConfbridgeListRooms"] = [{"Conference": "6000", "Locked": "No"}]
        assert "Juliet" in [sent.get("from", "").partition("/")[2] for sent in await house.comes(JULIET, "Juliet")]

    async def test_who_is_in_goes_on_while_the_conference_is_locked(self, house):
        house.enter()
        await house.join()
        house.ami.lists["ConfbridgeListRooms"] = [{"Conference": "6000", "Locked": "Yes"}]
        house.ami.taken()
        assert house.enter(), "a client that comes again is told all at once"
        assert not house.ami.taken()

    async def test_who_waits_when_the_service_stops_is_told_to_come_again(self, house):
        await house.join()
        assert not house.enter()
        await house.gateway.stop()
        told = [element for sent in house.session.port.take() for element in sent.iter()]
        assert [element.get("code") for element in told if element.get("code")] == ["110", "110", "332"]


class TestTrueSenders:
    """With ``conference.sip.hep``."""

    @pytest.fixture
    async def house(self, tmp_path: Path) -> AsyncIterator[House]:
        house = House(tmp_path, sip={"hep": f"127.0.0.1:{free_port()}"})
        house.ami.answers["Getvar"] = self._value
        await house.start()
        yield house
        await house.gateway.stop()

    @staticmethod
    def _value(headers: Mapping[str, str]) -> Mapping[str, str]:
        """Tell a channel's Call-ID and tags: ``call-id-101``."""
        name = headers["Variable"].removeprefix("CHANNEL(pjsip,").removesuffix(")")
        return {"Value": f"{name}-{headers['Channel'][6:9]}"}

    async def test_a_text_is_that_of_the_phone_that_sent_it(self, house):
        house.enter()
        await house.join()
        await house.join("102", name="Bob B")
        async with asyncio.timeout(5):
            leg = await house.agent.legs.get()
        house.session.port.take()
        leg.listener.text_came("Bob B", "I am bob")
        leg.listener.text_came("Bob B", "so am I")
        packet = message("I am bob", display="Bob B", call_id="call-id-101", tags=("remote_tag-101", "local_tag-101"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asterisk:
            asterisk.sendto(copy(packet), house.settings.sip.hep_place)
        heard: list[tuple[str, str]] = []
        async with asyncio.timeout(5):
            while len(heard) < 2:
                heard += house.bodies()
                await asyncio.sleep(0)
        assert heard == [("Alice A", "I am bob"), ("", "<Bob B> so am I")]
        status = house.gateway.status()["senders"]
        assert (status["address"], status["copies"]) == (house.settings.sip.hep, 1)

    async def test_other_settings_of_it_change_in_place(self, house):
        house.enter()
        await house.join()
        assert await house.apply(sip={})
        leg = await house.agent.legs.get()
        house.session.port.take()
        leg.listener.text_came("Alice A", "hello chat")
        assert house.bodies() == [("Alice A", "hello chat")]
        assert house.gateway.status()["senders"] is None


class TestTexts:
    async def leg(self, house: House) -> Leg:
        house.enter()
        await house.join()
        async with asyncio.timeout(5):
            leg = await house.agent.legs.get()
        house.gateway.ami_event(joined("agi-xmpp"))
        house.session.port.take()
        return leg

    async def test_chat_is_read_on_phones_and_then_in_chat(self, house):
        await self.leg(house)
        house.say("hello phones")
        async with asyncio.timeout(5):
            assert await house.agent.said.get() == ("Romeo", "hello phones")
        await house.settle()
        assert house.bodies() == [("Romeo", "hello phones")]

    async def test_phones_are_read_in_chat_under_their_own_name(self, house):
        leg = await self.leg(house)
        leg.listener.text_came("Alice A", "hello chat")
        assert house.bodies() == [("Alice A", "hello chat")]

    async def test_until_it_is_known_who_may_be_named_nobody_new_is(self, house):
        leg = await self.leg(house)
        house.ami.answers["Getvar"] = {"Response": "Success", "Value": "prohib_not_screened"}
        house.gateway.ami_event(joined("102", name="Bob B"))
        leg.listener.text_came("Bob B", "I am nobody")
        leg.listener.text_came("Alice A", "I am Alice")
        assert house.bodies() == [("", "<phone> I am nobody"), ("Alice A", "I am Alice")]

    async def test_our_own_leg_is_nobody(self, house):
        await self.leg(house)
        (room,) = house.gateway.rooms.own_rooms
        assert len(room.phones) == 1

    async def test_another_endpoint_is_used_in_place(self, house):
        leg = await self.leg(house)
        assert await house.apply(sip={"endpoint": "other"})
        async with asyncio.timeout(5):
            await leg.hung_up.wait()
            again = await house.agent.legs.get()
        house.gateway.ami_event(left("agi-xmpp"))
        house.gateway.ami_event(joined("other"))
        house.say("hello phones")
        async with asyncio.timeout(5):
            assert await house.agent.said.get() == ("Romeo", "hello phones")
        again.listener.text_came("Alice A", "hello chat")
        await house.settle()
        assert sorted(house.bodies()) == [("Alice A", "hello chat"), ("Romeo", "hello phones")]
        (room,) = house.gateway.rooms.own_rooms
        assert room.has_listeners
        assert len(room.phones) == 1

    async def test_without_phones_chat_goes_on_and_no_call_is_made(self, house):
        house.enter()
        house.say("alone")
        assert house.bodies() == [("Romeo", "alone")]
        assert house.agent.legs.empty()

    @pytest.mark.parametrize("goes", ["phone", "chat"])
    async def test_the_leg_goes_with_the_last_phone_or_the_last_in_chat(self, house, goes):
        leg = await self.leg(house)
        if goes == "phone":
            house.gateway.ami_event(left())
        else:
            house.leave()
        async with asyncio.timeout(5):
            await leg.hung_up.wait()

    async def test_the_leg_stays_for_who_comes_back_at_once(self, house):
        await self.leg(house)
        house.leave()
        house.enter()
        house.say("still here")
        async with asyncio.timeout(5):
            assert await house.agent.said.get() == ("Romeo", "still here")
        assert house.agent.legs.empty()

    async def test_a_leg_that_asterisk_has_lost_is_made_anew(self, house):
        leg = await self.leg(house)
        listed(house, joined())
        house.gateway.ami_connected()
        async with asyncio.timeout(5):
            await leg.hung_up.wait()
            await house.agent.legs.get()

    async def test_a_leg_that_is_listed_stays(self, house):
        await self.leg(house)
        house.ami.taken()
        listed(house, joined(), joined("agi-xmpp"))
        house.gateway.ami_connected()
        await house.settle()
        assert house.agent.legs.empty()
        assert "ConfbridgeKick" not in dict(house.ami.taken())

    @pytest.mark.parametrize("error", [None, AmiRefused("No Channel by that name"), AmiUnknown("no answer")])
    async def test_a_leg_that_a_killed_service_left_behind_is_thrown_out(self, house, error, caplog):
        if error is not None:
            house.ami.answers["ConfbridgeKick"] = error
        listed(house, joined(), joined("agi-xmpp"))
        house.gateway.ami_connected()
        await house.settle()
        kick = ("ConfbridgeKick", {"Conference": "6000", "Channel": "PJSIP/agi-xmpp-00000001"})
        assert house.ami.taken().count(kick) == 1
        assert ("could not be thrown out" in caplog.text) is isinstance(error, AmiUnknown)

    async def test_a_word_to_one_phone_goes_by_the_manager(self, house):
        await self.leg(house)
        house.ami.taken()
        house.say("psst", to="balcony@conference.example.org/Alice A", kind="chat")
        await house.settle()
        assert house.ami.taken() == [
            ("SendText", {"Channel": "PJSIP/101-00000001", "Message": "[private] <Romeo> psst"})
        ]
        assert house.bodies() == []

    async def test_each_line_for_one_phone_says_whose_it_is(self, house):
        await self.leg(house)
        house.ami.taken()
        house.say("psst\n&lt;Boss&gt; go home", to="balcony@conference.example.org/Alice A", kind="chat")
        await house.settle()
        assert [headers["Message"] for _name, headers in house.ami.taken()] == [
            "[private] <Romeo> psst",
            "[private] <Romeo> <Boss> go home",
        ]

    async def test_what_waits_when_a_room_closes_is_forgotten_with_it(self, house):
        house.enter(room="6123")
        await house.join(conference="6123")
        house.say("the last word", to="6123@conference.example.org")  # our leg is not in yet
        house.session.host.stanza_came(
            stanza(
                f"<iq from='{ROMEO}' to='6123@conference.example.org' type='set' id='1'>"
                "<query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query></iq>"
            )
        )
        await house.settle()
        page = await house.gateway._archive.page(parse("6123@conference.example.org"), Query())
        assert page.messages == ()

    async def test_a_word_that_does_not_arrive_comes_back(self, house):
        await self.leg(house)
        house.ami.answers["SendText"] = AmiRefused("No such channel")
        house.say("psst", to="balcony@conference.example.org/Alice A", kind="chat")
        await house.settle()
        (error,) = [message for message in house.session.port.take() if message.tag == stanzas.MESSAGE]
        assert error.get("type") == "error"
        assert error.get("to") == ROMEO

    async def test_a_room_that_is_closed_lets_its_leg_go(self, house):
        house.enter(room="6123")
        await house.join(conference="6123")
        async with asyncio.timeout(5):
            leg = await house.agent.legs.get()
        house.leave(room="6123")
        house.gateway.ami_event(left(conference="6123"))
        async with asyncio.timeout(5):
            await leg.hung_up.wait()
        assert [room.number for room in house.gateway.rooms.own_rooms] == ["6000"]


class TestActs:
    async def kick(self, house: House) -> None:
        house.session.host.stanza_came(
            stanza(
                f"<iq from='{ROMEO}' to='balcony@conference.example.org' type='set' id='1'>"
                "<query xmlns='http://jabber.org/protocol/muc#admin'><item role='none' nick='Alice A'/></query></iq>"
            )
        )
        await house.settle()

    async def test_a_kick_is_carried_out(self, house):
        house.enter()
        await house.join()
        house.ami.taken()
        await self.kick(house)
        assert house.ami.taken() == [("ConfbridgeKick", {"Conference": "6000", "Channel": "PJSIP/101-00000001"})]

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (AmiRefused("No active conferences."), "Alice A could not be thrown out."),
            (AmiUnknown("no answer"), "Asterisk did not say whether that was done."),
            (AmiNotConnected("not connected"), "Alice A could not be thrown out."),
        ],
    )
    async def test_what_asterisk_does_not_do_is_told_to_the_room(self, house, error, said, caplog):
        house.enter()
        await house.join()
        house.ami.answers["ConfbridgeKick"] = error
        house.session.port.take()
        await self.kick(house)
        assert house.bodies() == [("", said)]
        assert f"conference 6000: PJSIP/101-00000001 could not be thrown out: {error}" in caplog.text

    async def test_who_it_was_not_done_to_stays_as_unknown_as_they_are(self, house):
        house.ami.answers["Getvar"] = {"Response": "Success", "Value": "prohib_not_screened"}
        house.ami.answers["ConfbridgeMute"] = AmiRefused("No active conferences.")
        house.enter()
        await house.join()
        house.session.port.take()
        house.gateway.mute("6000", "PJSIP/101-00000001", muted=True)
        await house.settle()
        assert house.bodies() == [("", "phone could not be muted.")]

    async def test_a_reason_is_no_line_of_the_log_of_its_own(self, house, caplog):
        caplog.set_level("INFO")
        house.gateway.note("room a: bob was thrown out: bye\n2026-11-21 INFO room b: destroyed by ann\u2028x")
        assert caplog.messages == ["room a: bob was thrown out: bye 2026-11-21 INFO room b: destroyed by ann x"]


class TestAsteriskAway:
    async def test_a_short_break_changes_nothing(self, house):
        house.enter()
        await house.join()
        house.session.port.take()
        house.gateway.ami_disconnected()
        house.ami.lists = {"ConfbridgeListRooms": [{"Conference": "6000"}]}
        house.ami.lists["ConfbridgeList"] = house.ami.lists["Status"] = [{**joined(), "BridgeID": "b"}]
        house.gateway.ami_connected()
        await house.settle()
        assert house.nicks() == []

    async def test_a_problem_is_in_the_status(self, house):
        house.ami.answers["ConfbridgeListRooms"] = AmiRefused("Permission denied")
        house.gateway.ami_connected()
        await house.settle()
        status = house.gateway.status()
        (problem,) = status["problems"]
        assert "Permission denied" in problem
        assert not status["in_sight"]
        house.ami.answers["ConfbridgeListRooms"] = {}
        house.gateway.ami_connected()
        await house.settle()
        assert house.gateway.status()["in_sight"]


class TestXmppAway:
    @pytest.mark.parametrize("said", [True, False])
    @pytest.mark.parametrize("comes_back", [True, False])
    async def test_our_leg_waits_for_those_whose_server_is_restarted(self, house, monkeypatch, comes_back, said):
        """Whether the server says that they have gone, or only finds out afterwards."""
        monkeypatch.setattr(legs, "RETURN_TIME", 60.0 if comes_back else 0.0)
        house.enter()
        await house.join()
        leg = await house.agent.legs.get()
        house.gateway.ami_event(joined("agi-xmpp"))
        if said:
            house.leave()
        house.session.end()
        await house.settle()
        leg.listener.text_came("Alice A", "anybody there?")
        assert not leg.hung_up.is_set()
        house.session.begin()
        if not said:
            house.leave()
        if comes_back:
            assert "anybody there?" in [stanzas.body_of(element) for element in await house.comes()]
            assert not leg.hung_up.is_set()
        else:
            async with asyncio.timeout(5):
                await leg.hung_up.wait()

    async def test_what_is_said_meanwhile_arrives_afterwards(self, house):
        house.enter()
        house.session.port.online = False
        await house.join()
        assert house.nicks() == []
        house.session.begin()
        assert ("Alice A", "") in house.nicks()

    async def test_after_too_long_everybody_enters_anew(self, house, monkeypatch):
        monkeypatch.setattr("agi_xmpp.features.conference.stream.HOLD_TIME", -1.0)
        house.enter()
        house.session.port.online = False
        await house.join()
        house.session.begin()
        assert ("Romeo", "unavailable") in house.nicks()
        assert not house.gateway.rooms.own_rooms[0].has_listeners


class TestLife:
    async def test_at_the_end_everybody_is_told(self, tmp_path):
        house = House(tmp_path)
        await house.start()
        house.enter()
        await house.gateway.stop()
        (presence,) = house.session.port.take()
        assert presence.get("type") == "unavailable"
        assert house.session.host is None

    async def test_what_was_said_is_there_after_a_restart(self, tmp_path):
        house = House(tmp_path)
        await house.start()
        house.enter()
        house.say("remember me")
        await house.gateway.stop()
        after = House(tmp_path)
        await after.start()
        replayed = [stanzas.body_of(element) for element in after.enter() if element.tag == stanzas.MESSAGE]
        assert "remember me" in replayed
        await after.gateway.stop()

    async def test_rooms_change_in_place(self, house):
        house.enter()
        assert await house.apply(room={"balcony": {"number": "6000", "title": "Terrace"}})
        (room,) = house.gateway.rooms.own_rooms
        assert room.title == "Terrace"
        assert room.has_listeners

    async def test_rooms_change_in_place_also_where_nothing_is_kept(self):
        house = House("")
        await house.start()
        house.enter()
        assert await house.apply(room={"balcony": {"number": "6000", "title": "Terrace"}})
        assert not house.gateway.rooms.archived
        await house.gateway.stop()

    async def test_a_conference_that_becomes_a_room_has_its_phones(self, house):
        await house.join(conference="staff")
        assert await house.apply(room={"staff": {}})
        assert {room.number: len(room.phones) for room in house.gateway.rooms.own_rooms} == {"staff": 1}

    @pytest.mark.parametrize(
        "keys", [{"archive_days": 0}, {"context": "other"}, {"account": "other"}, {"phones": "other"}]
    )
    async def test_other_keys_need_a_new_beginning(self, house, keys):
        house.enter()
        assert not await house.apply(**keys)
        assert house.gateway.rooms.own_rooms[0].has_listeners

    async def test_another_user_map_throws_nobody_out_and_gives_phones_their_address(self, house):
        house.enter(room="6001")  # a room that is not kept: only Romeo owns it
        await house.join("101", "6001")
        await house.join("103", "6001", name="Carol C")
        house.session.port.take()
        assert await house.apply(MORE_PEOPLE)
        (presence,) = house.session.port.take()
        assert presence.get("from") == "6001@conference.example.org/Carol C"
        (item,) = presence.iter(f"{{{stanzas.MUC_USER}}}item")
        assert item.get("jid") == "carol@phone.example.org/17.103"
        assert await house.apply(None)
        assert len(house.session.port.take()) == 2
        assert [room.has_listeners for room in house.gateway.rooms.own_rooms if room.number == "6001"] == [True]

    async def test_another_user_map_counts_for_invitations_and_keeps_the_convener(self, house):
        convener = house.gateway.convener
        with pytest.raises(Refused, match="Nobody with a phone is called"):
            convener.convene(parse(ROMEO), "carol", lambda _text: None)
        assert await house.apply(MORE_PEOPLE, invite_context="ring", invite_time=9.0)
        assert house.gateway.convener is convener
        assert "Carol C" in convener.convene(parse(ROMEO), "carol", lambda _text: None)
        await house.settle()
        (call,) = [action[1] for action in house.ami.actions if action[0] == "Originate"]
        assert (call["Channel"], call["Context"], call["Timeout"]) == ("PJSIP/103", "ring", "9000")

    async def test_a_phone_that_is_banned_by_its_new_address_is_thrown_out(self, house):
        house.enter()
        ban(house, "carol")
        await house.join("103", name="Carol C")
        house.ami.actions.clear()
        assert await house.apply(MORE_PEOPLE)
        await house.settle()
        assert ("ConfbridgeKick", "6000") in [(action[0], action[1].get("Conference")) for action in house.ami.actions]

    async def test_history_changes_in_place(self, house):
        house.enter()
        for text in ("one", "two"):
            house.say(text)
        assert await house.apply(history=1, archive_days=9)
        replayed = [stanzas.body_of(element) for element in house.enter(JULIET, nick="Juliet")]
        assert "two" in replayed
        assert "one" not in replayed

    async def test_wrong_rooms_are_found_before_anything_is_changed(self, house):
        changed = house.settings.model_copy(update={"owners": ["@"]})
        with pytest.raises(ConfigError):
            await house.gateway.apply(changed, PHONE)
        assert [room.title for room in house.gateway.rooms.own_rooms] == ["Balcony"]

    async def test_status_tells_who_is_where(self, house):
        house.enter()
        await house.join()
        (room,) = house.gateway.status()["rooms"]
        assert room == {
            "room": "balcony@conference.example.org",
            "number": "6000",
            "title": "Balcony",
            "people": 1,
            "phones": 1,
            "waits": False,
            "texts": "connecting",
            "texts_fail": False,
        }
        async with asyncio.timeout(5):
            await house.agent.legs.get()
        house.gateway.ami_event(joined("agi-xmpp"))
        await house.settle()
        assert house.gateway.status()["rooms"][0]["texts"] == "connected"

    async def test_watch_sees_phones_once(self, house):
        await house.join()
        assert await house.apply()
        (line,) = await house.watch.after(0, 0.0)
        assert line["who"] == "balcony@conference.example.org"
        assert line["text"] == "Alice A 101 is in by telephone (PJSIP/101-00000001)"


class TestRoomsForTheOccasion:
    """What becomes of ``6123@…``, which Juliet has opened, over a restart."""

    ROOM = parse("6123@conference.example.org")

    @pytest.fixture
    async def after(self, tmp_path: Path) -> AsyncIterator[House]:
        """The house after a restart, out of sight of chat and Asterisk; rooms wait for a moment once both are there."""
        store = Store("")
        before = House(tmp_path, store=store)
        await before.start()
        before.enter(JULIET, "6123", "Juliet")
        before.say("remember me", JULIET, to=str(self.ROOM))
        await before.gateway.stop()
        after = House(tmp_path, store=store)
        after.gateway._returning.seconds = 0.0
        await after.gateway.start()
        yield after
        await after.gateway.stop()

    @staticmethod
    def names(house: House) -> list[str]:
        return [room.number for room in house.gateway.rooms.own_rooms if room.number != "6000"]

    async def messages(self, house: House) -> Sequence[object]:
        return (await house.gateway._archive.page(self.ROOM, Query())).messages

    async def test_its_owner_finds_it_with_what_was_said(self, after):
        after.session.begin()
        entered = after.enter(JULIET, "6123", "Juliet")
        assert "remember me" in [stanzas.body_of(element) for element in entered]
        (own,) = [element for element in entered if element.tag == stanzas.PRESENCE]
        assert {element.get("code") for element in own.iter(f"{{{stanzas.MUC_USER}}}status")} == {"110"}
        (item,) = own.iter(f"{{{stanzas.MUC_USER}}}item")
        assert item.get("affiliation") == "owner"

    @pytest.mark.parametrize("order", [("chat", "phones"), ("phones", "chat")])
    async def test_it_ends_when_both_sides_are_in_sight_and_nobody_comes(self, after, order):
        for side in order:
            await after.settle()
            assert self.names(after) == ["6123"]
            assert len(await self.messages(after)) == 1
            (after.session.begin if side == "chat" else after.gateway.ami_connected)()
        await after.settle()
        assert self.names(after) == []
        assert len(await self.messages(after)) == 0

    async def test_it_waits_while_asterisk_does_not_tell_who_is_in(self, after):
        after.ami.answers["ConfbridgeListRooms"] = AmiRefused("Permission denied")
        after.session.begin()
        after.gateway.ami_connected()
        await after.settle()
        assert self.names(after) == ["6123"]

    async def test_a_phone_that_is_still_in_is_enough(self, after):
        after.gateway._returning.seconds = 3600.0
        item = {**joined(conference="6123"), "BridgeID": "b"}
        after.ami.lists = {"ConfbridgeListRooms": [{"Conference": "6123"}], "ConfbridgeList": [item], "Status": [item]}
        after.session.begin()
        after.gateway.ami_connected()
        await after.settle()
        after.gateway.rooms.end_waiting()
        assert self.names(after) == ["6123"]
        assert len(await self.messages(after)) == 1
        after.gateway.ami_event(left(conference="6123"))
        assert self.names(after) == []

    @pytest.mark.parametrize("side", ["chat", "phones"])
    async def test_a_break_of_either_side_ends_no_room(self, after, side):
        after.session.begin()
        after.gateway.ami_connected()
        await after.settle()
        after.enter(JULIET, "6123", "Juliet")
        (after.session.end if side == "chat" else after.gateway.ami_disconnected)()
        after.leave(JULIET, "6123")
        await after.settle()
        assert self.names(after) == ["6123"]
        (after.session.begin if side == "chat" else after.gateway.ami_connected)()
        await after.settle()
        assert self.names(after) == []

    async def test_nothing_ends_behind_our_own_end(self, after):
        after.gateway._returning.seconds = 3600.0
        after.session.begin()
        after.gateway.ami_connected()
        await after.settle()
        assert after.gateway._returning._end is not None
        await after.gateway.stop()
        assert after.gateway._returning._end is None

    async def test_the_time_to_come_back_changes_in_place(self, after):
        after.session.begin()
        assert await after.apply(return_time=3600.0)
        after.gateway.ami_connected()
        await after.settle()
        assert self.names(after) == ["6123"]


GARDEN = {"garden": {"number": "6001", "muc": "garden@rooms.example.org", "title": "Garden"}}


class TestRoomsElsewhere:
    """A conference whose room is that of another MUC service."""

    @pytest.fixture
    async def house(self, tmp_path: Path) -> AsyncIterator[House]:
        house = House(tmp_path, phones=True, room=GARDEN)
        await house.start()
        assert house.phones is not None
        house.phones.begin()
        yield house
        await house.gateway.stop()

    def entered(self, house: House, phone: str, nick: str = "Alice A", *others: str) -> None:
        """Let the service let a phone in; others are there already."""
        assert house.phones is not None
        for one, codes in ((nick, "<status code='110'/>"), *((other, "") for other in others)):
            house.phones.host.stanza_came(
                stanza(
                    f"<presence from='garden@rooms.example.org/{one}' to='{phone}'>"
                    "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/>"
                    f"{codes}</x></presence>"
                )
            )

    async def test_a_phone_enters_with_its_owners_address_and_leaves(self, house):
        await house.join(conference="6001")
        (entry,) = house.phones.port.take()
        assert entry.get("from") == "alice@phone.example.org/17.101"
        assert entry.get("to") == "garden@rooms.example.org/Alice A"
        self.entered(house, entry.get("from"))
        house.gateway.ami_event(left(conference="6001"))
        assert [one.get("type") for one in house.phones.port.take()] == ["unavailable"]
        assert house.session.port.take() == [], "the rooms' own address has nothing to do with it"

    async def test_who_withholds_the_number_enters_with_an_address_that_names_nobody(self, house):
        house.ami.answers["Getvar"] = {"Response": "Success", "Value": "prohib_not_screened"}
        await house.join(conference="6001")
        (entry,) = house.phones.port.take()
        assert entry.get("from") == "anonymous.17.101@phone.example.org/17.101"
        assert entry.get("to") == "garden@rooms.example.org/phone"

    async def test_texts_go_both_ways_while_somebody_is_there(self, house):
        await house.join(conference="6001")
        address = house.phones.port.take()[0].get("from")
        self.entered(house, address, "Alice A")
        await house.settle()
        assert house.agent.legs.empty(), "nobody is there to read"
        self.entered(house, address, "Alice A", "Romeo")
        async with asyncio.timeout(5):
            leg = await house.agent.legs.get()
        house.gateway.ami_event(joined("agi-xmpp", "6001"))
        house.phones.host.stanza_came(
            stanza(
                f"<message type='groupchat' from='garden@rooms.example.org/Romeo' to='{address}'>"
                "<body>hello phones</body></message>"
            )
        )
        async with asyncio.timeout(5):
            assert await house.agent.said.get() == ("Romeo", "hello phones")
        house.phones.port.take()
        leg.listener.text_came("Alice A", "hello chat")
        await house.settle()
        (message,) = house.phones.port.take()
        assert (message.get("from"), stanzas.body_of(message)) == (address, "hello chat")

    async def test_who_is_thrown_out_there_is_thrown_out_of_the_call(self, house):
        await house.join(conference="6001")
        address = house.phones.port.take()[0].get("from")
        self.entered(house, address)
        house.ami.taken()
        house.phones.host.stanza_came(
            stanza(
                f"<presence type='unavailable' from='garden@rooms.example.org/Alice A' to='{address}'>"
                "<x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/>"
                "<status code='110'/><status code='307'/></x></presence>"
            )
        )
        await house.settle()
        assert house.ami.taken() == [("ConfbridgeKick", {"Conference": "6001", "Channel": "PJSIP/101-00000001"})]

    async def test_what_is_due_is_done(self, house, monkeypatch):
        monkeypatch.setattr("agi_xmpp.features.conference.gateway.LOOK", 0.0)
        ticks = asyncio.Event()
        monkeypatch.setattr(house.gateway._bridges, "tick", ticks.set)
        looking = asyncio.create_task(house.gateway._look_after_bridges())
        async with asyncio.timeout(5):
            await ticks.wait()
        looking.cancel()

    async def test_phones_leave_when_we_stop(self, tmp_path):
        house = House(tmp_path, room=GARDEN)
        await house.start()
        assert house.phones is not None
        house.phones.begin()
        await house.join(conference="6001")
        house.phones.port.take()
        await house.gateway.stop()
        assert [one.get("type") for one in house.phones.port.take()] == ["unavailable"]

    async def test_a_conference_gets_its_room_elsewhere_and_back_at_a_reload(self, house):
        await house.join(conference="6001")
        house.phones.port.take()
        assert await house.apply(room={"garden": {"number": "6001"}})
        assert [one.get("type") for one in house.phones.port.take()] == ["unavailable"]
        assert [(str(room.address), len(room.phones)) for room in house.gateway.rooms.own_rooms] == [
            ("garden@conference.example.org", 1)
        ]
        assert await house.apply(room=GARDEN)
        assert [one.get("to") for one in house.phones.port.take()] == ["garden@rooms.example.org/Alice A"]
        assert house.gateway.rooms.own_rooms == []
        assert ("ConfbridgeKick", {"Conference": "6001", "Channel": "PJSIP/101-00000001"}) not in house.ami.taken()

    async def test_a_phone_that_has_another_address_enters_with_that(self, house):
        await house.join("101", "6001")
        await house.join("103", "6001", "Carol C")
        house.phones.port.take()
        assert await house.apply(MORE_PEOPLE)
        left, entered = house.phones.port.take()
        assert (left.get("type"), left.get("from")) == ("unavailable", "103@phone.example.org/17.103")
        assert (entered.get("type"), entered.get("from")) == (None, "carol@phone.example.org/17.103")

    async def test_status_says_who_is_there_and_what_is_wrong(self, house):
        await house.join(conference="6001")
        address = house.phones.port.take()[0].get("from")
        house.phones.host.stanza_came(
            stanza(
                f"<presence type='error' from='garden@rooms.example.org/Alice A' to='{address}'><error type='auth'>"
                "<forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
            )
        )
        status = house.gateway.status()
        assert status["problems"] == ["room garden@rooms.example.org: we are banned from it (forbidden)"]
        (room,) = status["rooms"]
        assert room == {
            "room": "garden@rooms.example.org",
            "number": "6001",
            "title": "Garden",
            "people": 0,
            "phones": 1,
            "texts": "not needed",
            "texts_fail": False,
        }
