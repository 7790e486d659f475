"""What `agi-xmpp check --online` says of conferences."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

import pytest

from agi_xmpp.ami import messages
from agi_xmpp.ami.messages import EVENT, Handover
from agi_xmpp.config import ConferenceSettings, SipSettings
from agi_xmpp.errors import AmiRefused, SipRefused
from agi_xmpp.features.conference import check
from agi_xmpp.features.conference.check import NAMED, check_conferences
from tests.testbed.ports import free_port
from tests.unit.sip.copies import copy


class Asterisk:
    """One that has everything, unless a test takes something away."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.mute = False
        self.asked_by_sip: list[str] = []
        self.sip_error: SipRefused | None = None
        self.collector: tuple[str, int] | None = None
        self.values: dict[str, str] = {}
        self.handover = Handover()
        self.tells_texts = True

    async def action(self, name: str, headers: Mapping[str, str] | None = None) -> Mapping[str, str]:
        assert headers is not None
        if name == "Originate":
            assert headers["Channel"] == "Local/s@conferences-texts/n"
            if self.tells_texts:
                self.handover.event({"Event": "UserEvent", "UserEvent": EVENT})
            return {}
        assert name == "Getvar"
        if self.mute:
            raise AmiRefused("No such function")
        variable = headers["Variable"]
        return {"Value": self.values.get(variable, "0" if variable in self.missing else "1")}

    async def items(self, name: str, headers: Mapping[str, str] | None = None) -> Sequence[Mapping[str, str]]:
        if name in self.missing:
            raise AmiRefused("Invalid/unknown command")
        return []

    async def options(self, number: str) -> None:
        self.asked_by_sip.append(number)
        if self.sip_error is not None:
            raise self.sip_error
        if self.collector is not None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as copies:
                copies.sendto(copy(b"OPTIONS sip:127.0.0.1 SIP/2.0"), self.collector)


def settings(**room: object) -> ConferenceSettings:
    return ConferenceSettings.model_validate(
        {"account": "conference", "context": "conferences", "room": {"balcony": {"number": "6000"}, **room}}
    )


async def said(asterisk: Asterisk, wanted: ConferenceSettings | None = None) -> tuple[bool, list[str]]:
    lines: list[str] = []
    well = await check_conferences(wanted or settings(), asterisk, asterisk.handover, asterisk.options, lines.append)
    return well, lines


@pytest.fixture
def asterisk() -> Asterisk:
    return Asterisk()


async def test_all_is_well(asterisk):
    assert await said(asterisk) == (
        True,
        ["conferences: Asterisk has the context conferences, and takes texts from agi-xmpp"],
    )
    assert asterisk.asked_by_sip == ["6000"]


async def test_without_rooms_only_the_endpoint_is_asked_for(asterisk):
    bare = ConferenceSettings(account="conference", context="conferences")
    assert (await said(asterisk, bare))[0]
    assert asterisk.asked_by_sip == [""]


async def test_an_asterisk_that_cannot_say_is_not_blamed(asterisk):
    asterisk.mute = True
    assert (await said(asterisk))[0]


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        ("ConfbridgeListRooms", "does not list conferences: Invalid/unknown command; is app_confbridge loaded?"),
        ("DIALPLAN_EXISTS(conferences)", "Asterisk has no context conferences (conference.context)"),
        (
            "DIALPLAN_EXISTS(conferences,6000,1)",
            "context conferences has no extension 6000 (conference.room.balcony)",
        ),
        ("DIALPLAN_EXISTS(conference-invited,s,1)", "no extension s in the context conference-invited"),
    ],
)
async def test_what_is_missing_is_named(asterisk, missing, complaint):
    asterisk.missing.add(missing)
    well, (line,) = await said(asterisk)
    assert not well
    assert line.startswith("conferences: FAILED: ")
    assert complaint in line
    assert asterisk.asked_by_sip == [""], "a number that is not there would be refused by SIP, too"


async def test_an_endpoint_that_is_refused(asterisk):
    asterisk.sip_error = SipRefused("Asterisk refuses the password of the endpoint agi-xmpp", 401)
    assert await said(asterisk) == (
        False,
        [
            "conferences: FAILED: texts cannot reach the phones (conference.sip): Asterisk refuses the password of the"
            " endpoint agi-xmpp"
        ],
    )


@pytest.mark.parametrize(("count", "lines"), [(NAMED, NAMED), (NAMED + 1, NAMED + 1), (NAMED + 5, NAMED + 1)])
async def test_a_wrong_context_does_not_flood(asterisk, count, lines):
    numbers = [str(7000 + n) for n in range(count)]
    asterisk.missing.update(f"DIALPLAN_EXISTS(conferences,{number},1)" for number in numbers)
    rooms = {f"room{number}": {"number": number} for number in numbers}
    assert len((await said(asterisk, settings(**rooms)))[1]) == lines


class TestCopies:
    """Of SIP packets, with ``conference.sip.hep``."""

    @pytest.fixture
    def wanted(self) -> ConferenceSettings:
        return settings().model_copy(update={"sip": SipSettings(hep=f"127.0.0.1:{free_port()}")})

    async def test_they_come(self, asterisk, wanted):
        asterisk.collector = wanted.sip.hep_place
        well, lines = await said(asterisk, wanted)
        assert well
        assert lines[0] == f"conferences: copies of SIP packets come to {wanted.sip.hep}"

    async def test_they_do_not_come(self, asterisk, wanted, monkeypatch):
        monkeypatch.setattr(check, "COPY_TIME", 0.0)
        well, lines = await said(asterisk, wanted)
        assert not well
        assert "no copy of a SIP packet has come" in lines[0]
        assert f"capture_address = {wanted.sip.hep}" in lines[0]

    async def test_the_running_service_has_the_port(self, asterisk, wanted):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
            service.bind(wanted.sip.hep_place)
            well, lines = await said(asterisk, wanted)
        assert well
        assert "is in use. If agi-xmpp runs, that is right, and agi-xmpp status says" in lines[0]

    async def test_an_address_of_another_machine(self, asterisk):
        sip = SipSettings(hep="192.0.2.1:9060", accept_unencrypted=True)
        well, lines = await said(asterisk, settings().model_copy(update={"sip": sip}))
        assert not well
        assert "cannot listen at 192.0.2.1:9060 (conference.sip.hep)" in lines[0]

    async def test_an_endpoint_that_is_refused_is_told_once(self, asterisk, wanted):
        asterisk.sip_error = SipRefused("no", 401)
        assert len((await said(asterisk, wanted))[1]) == 1


class TestOutsideCalls:
    """Phones that read texts outside of calls."""

    @pytest.fixture
    def wanted(self) -> ConferenceSettings:
        return settings().model_copy(update={"texts_outside_calls": ["carol"]})

    @pytest.fixture
    def asterisk(self) -> Asterisk:
        asterisk = Asterisk()
        asterisk.values["PJSIP_ENDPOINT(carol,message_context)"] = "conferences-texts"
        return asterisk

    async def test_all_is_well(self, asterisk, wanted):
        assert (await said(asterisk, wanted))[0]

    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            ({"PJSIP_ENDPOINT(carol,message_context)": ""}, "lacks message_context = conferences-texts"),
            (
                {"PJSIP_ENDPOINT(carol,message_context)": "", "PJSIP_ENDPOINT(carol,context)": ""},
                "Asterisk has no endpoint carol (conference.texts_outside_calls)",
            ),
            ({"DIALPLAN_EXISTS(conferences-texts,s,1)": "0"}, "the context conferences-texts, a message_context"),
        ],
    )
    async def test_what_is_missing_is_named(self, asterisk, wanted, values, complaint):
        asterisk.values |= values
        well, (line,) = await said(asterisk, wanted)
        assert not well
        assert complaint in line

    async def test_we_are_not_told(self, asterisk, wanted, monkeypatch):
        monkeypatch.setattr(messages, "HANDOVER_TIME", 0.0)
        asterisk.tells_texts = False
        well, (line,) = await said(asterisk, wanted)
        assert not well
        assert "add user to the manager user's line read =" in line

    @pytest.mark.parametrize(("count", "lines"), [(NAMED, NAMED), (NAMED + 1, NAMED + 1), (NAMED + 5, NAMED + 1)])
    async def test_wrong_names_do_not_flood(self, asterisk, wanted, count, lines):
        names = [f"phone{number}" for number in range(count)]
        for name in names:
            asterisk.values[f"PJSIP_ENDPOINT({name},message_context)"] = ""
        wanted = wanted.model_copy(update={"texts_outside_calls": names})
        assert len((await said(asterisk, wanted))[1]) == lines
