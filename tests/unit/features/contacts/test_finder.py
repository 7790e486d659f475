"""Contact discovery: who may ask, who is found, and when others are asked."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from agi_xmpp.config import Settings, parse
from agi_xmpp.errors import Bounced, ConfigError, NotConnected, Refused
from agi_xmpp.features.contacts.addresses import from_uri
from agi_xmpp.features.contacts.directory import Directory
from agi_xmpp.features.contacts.finder import Finder
from agi_xmpp.xmpp.jid import parse as jid
from agi_xmpp.xmpp.model import Jid
from tests.unit.clock import Clock
from tests.unit.features.fakes import FakeSession

ANN = Jid("ann", "x.org")
BOB = Jid("bob", "x.org")
FAR = Jid("far", "eu.x.org")
ROMEO = "romeo@x.org/orchard"
PEER = "pbx@eu.x.org/phone"


class FakePort:
    """Other services, which answer what the test says.

    Attributes:
        answers: by peer; an exception is raised.
        asked: peer and addresses of each question.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, tuple[str, ...], float]] = []

    async def ask(self, peer: Jid, uris: Sequence[str], timeout: float) -> Any:
        self.asked.append((str(peer), tuple(uris), timeout))
        answer = self.answers[str(peer)]
        if isinstance(answer, Exception):
            raise answer
        return {uri: people for uri, people in answer.items() if uri in uris}


def settings(phone: bool = True, account: dict[str, Any] | None = None, **contacts: Any) -> Settings:
    user = {
        "ann@x.org": {"devices": ["PJSIP/101"], "numbers": ["+49 30 1234567"]},
        "bob@x.org": {"devices": ["SIP/102"]},
    }
    data: dict[str, Any] = {
        "account": {"pbx": account or {"jid": "pbx@x.org/phone", "password": "geheim"}},
        "contacts": {"account": "pbx", "country": "DE", **contacts},
    }
    if phone:
        data |= {
            "ami": {"username": "x", "password": "geheim"},
            "phone": {"account": "pbx", "context": "internal", "user": user},
        }
    return parse(data, "test")


class House:
    """A finder between a session and other services."""

    def __init__(self, phone: bool = True, account: dict[str, Any] | None = None, **contacts: Any) -> None:
        self.port = FakePort()
        self.clock = Clock()
        self.settings = settings(phone, account, **contacts)
        self.session = FakeSession(contact_port=self.port)
        users = self.settings.phone.user if self.settings.phone else {}
        self.finder = Finder(self.settings, self.session, Directory(users, [], "DE"), self.clock)

    async def parts(self, *uris: str, who: str = ROMEO, relayed: bool = False) -> list[dict[str, tuple[Jid, ...]]]:
        return [dict(part) async for part in self.finder.find(jid(who), uris, relayed=relayed)]

    async def found(self, *uris: str, **options: Any) -> dict[str, tuple[Jid, ...]]:
        parts = await self.parts(*uris, **options)
        known: dict[str, tuple[Jid, ...]] = {}
        for part in parts:
            assert known.keys().isdisjoint(part)
            known |= part
        assert known.keys() == set(uris)
        return known


class TestWhoMayAsk:
    @pytest.mark.parametrize(
        ("who", "may"),
        [
            (ROMEO, True),
            ("x.org", False),
            ("eve@x.org.evil/x", False),
            ("eve@sub.x.org/x", False),
            ("eve@evil.org/x", False),
        ],
    )
    def test_the_own_domain(self, who: str, may: bool) -> None:
        assert House(phone=False).finder.may_ask(jid(who)) is may

    def test_what_is_configured_instead(self) -> None:
        finder = House(allow=["y.org", "eve@evil.org"], peers=[PEER]).finder
        assert [
            finder.may_ask(jid(who))
            for who in ("bob@y.org/x", "eve@evil.org/x", "eva@evil.org/x", ROMEO, PEER, "pbx@eu.x.org/other")
        ] == [True, True, False, False, True, False]

    def test_of_a_component(self) -> None:
        component = {"type": "component", "jid": "contacts.x.org", "password": "geheim"}
        assert House(account=component).finder.may_ask(jid(ROMEO))  # the user map's domain
        assert House(account={**component, "domain": "x.org"}, phone=False).finder.may_ask(jid(ROMEO))
        with pytest.raises(ConfigError, match=r"contacts\.allow: a component has no users of its own"):
            House(account=component, phone=False)

    def test_a_peer_that_is_a_component(self) -> None:
        finder = House(peers=["contacts.eu.x.org"]).finder
        assert finder.may_ask(jid("contacts.eu.x.org"))
        assert finder.may_ask(jid("contacts.eu.x.org/agi-xmpp"))

    def test_limits_hold_for_people_and_the_size_for_peers_too(self) -> None:
        finder = House(peers=[PEER], max_addresses=10, hourly=12, requests=2).finder
        finder.spend(jid(ROMEO), 10)
        with pytest.raises(Refused, match="an hour"):
            finder.spend(jid(ROMEO), 10)
        for _ in range(5):
            finder.spend(jid(PEER), 10)
        with pytest.raises(Refused, match="more than 10 addresses in one request"):
            finder.spend(jid(PEER), 11)


class TestOurOwnPeople:
    async def test_numbers_and_mail_addresses(self) -> None:
        assert await House().found(
            "tel:101", "tel:030 1234567", "tel:+4930-1234567", "tel:99", "mailto:a@x", "sip:1"
        ) == {
            "tel:101": (ANN,),
            "tel:030 1234567": (ANN,),
            "tel:+4930-1234567": (ANN,),
            "tel:99": (),
            "mailto:a@x": (),
            "sip:1": (),
        }

    @pytest.mark.parametrize("hidden", ["ann@x.org", "x.org"])
    async def test_who_is_hidden_is_like_nobody(self, hidden: str) -> None:
        house = House(hidden=[hidden], peers=[PEER])
        house.port.answers[PEER] = {"tel:+49301234567": (), "tel:+49309999999": ()}
        hidden_parts = await house.parts("tel:0301234567")
        unknown_parts = await house.parts("tel:0309999999")
        # The same parts in the same order, the same questions to others: neither answer nor time tells them apart.
        assert [list(part.values()) for part in hidden_parts] == [list(part.values()) for part in unknown_parts]
        assert [asked[1] for asked in house.port.asked] == [("tel:+49301234567",), ("tel:+49309999999",)]


class TestOthers:
    async def test_they_are_asked_for_what_we_do_not_know(self) -> None:
        house = House(peers=[PEER], timeout=3)
        house.port.answers[PEER] = {"tel:+49309999999": (FAR,), "mailto:far@eu.x.org": (FAR,)}
        parts = await house.parts("tel:101", "tel:0309999999", "tel:+49 30 9999999", "mailto:Far@eu.x.org", "tel:99")
        assert parts == [
            {"tel:101": (ANN,), "tel:99": ()},
            {"tel:0309999999": (FAR,), "tel:+49 30 9999999": (FAR,), "mailto:Far@eu.x.org": (FAR,)},
        ]
        # Each address once, in the form that means the same everywhere; extensions mean something else there.
        assert house.port.asked == [(PEER, ("tel:+49309999999", "mailto:far@eu.x.org"), 3.0)]

    async def test_who_is_hidden_here_is_not_found_there_either(self) -> None:
        house = House(hidden=[str(FAR)], peers=[PEER])
        house.port.answers[PEER] = {"tel:+49301111111": (FAR, BOB)}
        for _ in range(2):  # asked, and from the cache
            assert await house.found("tel:+49301111111") == {"tel:+49301111111": (BOB,)}
        assert len(house.port.asked) == 1

    async def test_what_they_said_is_kept_for_a_while(self) -> None:
        house = House(peers=[PEER], cache=60)
        house.port.answers[PEER] = {"tel:+49309999999": (FAR,), "tel:+49308888888": ()}
        uris = ("tel:0309999999", "tel:0308888888")
        first = await house.found(*uris)
        assert await house.parts(*uris) == [first]
        assert len(house.port.asked) == 1
        house.clock.now += 60
        assert await house.found(*uris) == first
        assert len(house.port.asked) == 2

    @pytest.mark.parametrize("options", [{"relayed": True}, {"who": PEER}, {"who": PEER, "relayed": True}])
    async def test_never_for_somebody_who_asks_for_others(self, options: dict[str, Any]) -> None:
        house = House(peers=[PEER])
        assert await house.found("tel:101", "tel:0309999999", **options) == {"tel:101": (ANN,), "tel:0309999999": ()}
        assert not house.port.asked

    async def test_several(self) -> None:
        other = "contacts.us.x.org"
        house = House(peers=[PEER, other])
        house.port.answers[PEER] = {"tel:+49309999999": (), "tel:+49308888888": ()}
        house.port.answers[other] = {"tel:+49309999999": (FAR,), "tel:+49308888888": ()}
        assert await house.found("tel:0309999999", "tel:0308888888") == {
            "tel:0309999999": (FAR,),
            "tel:0308888888": (),
        }

    @pytest.mark.parametrize(
        ("answer", "line"),
        [
            ({}, f"contacts: {PEER} did not answer in time"),
            (Bounced(f"{PEER}: forbidden", "forbidden"), f"contacts: {PEER}: forbidden"),
            (NotConnected(f"{PEER}: the session ended"), f"contacts: {PEER}: the session ended"),
        ],
    )
    async def test_one_that_fails_keeps_nothing_back(
        self, answer: Any, line: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "agi_xmpp")
        other = "contacts.us.x.org"
        house = House(peers=[PEER, other])
        house.port.answers[PEER] = answer
        house.port.answers[other] = {"tel:+49309999999": (FAR,), "tel:+49308888888": ()}
        for _ in range(2):
            assert await house.found("tel:101", "tel:0309999999", "tel:0308888888") == {
                "tel:101": (ANN,),
                "tel:0309999999": (FAR,),
                "tel:0308888888": (),
            }
        # Somebody who was found is kept. "Nobody" is not, while one has not said so: it is asked again.
        assert [asked[1] for asked in house.port.asked[2:]] == [("tel:+49308888888",)] * 2
        assert caplog.messages == [line]
        house.port.answers[PEER] = {"tel:+49308888888": (ANN,)}
        assert await house.found("tel:0308888888") == {"tel:0308888888": (ANN,)}
        assert caplog.messages[1:] == [f"contacts: {PEER} answers again"]

    async def test_a_fault_of_ours_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        house = House(peers=[PEER])
        house.port.answers[PEER] = RuntimeError("oops")
        assert await house.found("tel:0309999999") == {"tel:0309999999": ()}
        assert f"asking {PEER} failed" in caplog.text

    async def test_for_the_dialplan(self) -> None:
        house = House(peers=[PEER], timeout=3)
        house.port.answers[PEER] = {"tel:+49309999999": (FAR,)}
        number = from_uri("tel:0309999999", "DE")
        extension = from_uri("tel:99", "DE")
        assert number is not None
        assert extension is not None
        assert await house.finder.ask_others(number, 1) == ((FAR,), "")
        assert await house.finder.ask_others(number, 1) == ((FAR,), "")
        assert await house.finder.ask_others(extension, 1) == ((), "")
        assert [asked[2] for asked in house.port.asked] == [1.0]
        unknown = from_uri("tel:0307777777", "DE")
        assert unknown is not None
        assert await house.finder.ask_others(unknown, 9) == ((), f"{PEER} did not answer in time")
        assert house.port.asked[-1][2] == 3.0


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    await made.finder.stop()


async def test_it_is_offered_until_it_stops(house: House) -> None:
    assert house.session.contact_host is house.finder
    await house.finder.stop()
    assert house.session.contact_host is None


@pytest.mark.parametrize(
    ("contacts", "complaint"),
    [
        ({"allow": ["a@@b"]}, "allow"),
        ({"hidden": ["x..org"]}, r"contacts\.hidden: 'x\.\.org'"),
        ({"peers": ["x..org"]}, r"contacts\.peers: 'x\.\.org'"),
        ({"redis": "redis://127.0.0.1:x/"}, r"contacts\.redis: this is no address"),
    ],
)
def test_what_is_wrong_is_said_beforehand(contacts: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Finder.check(settings(**contacts))
