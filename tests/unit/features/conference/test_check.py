"""What `agi-xmpp check --online` says of conferences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from agi_xmpp.config import ConferenceSettings
from agi_xmpp.errors import AmiRefused, SipRefused
from agi_xmpp.features.conference.check import NAMED, check_conferences


class Asterisk:
    """One that has everything, unless a test takes something away."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.mute = False
        self.asked_by_sip: list[str] = []
        self.sip_error: SipRefused | None = None

    async def action(self, name: str, headers: Mapping[str, str] | None = None) -> Mapping[str, str]:
        assert name == "Getvar"
        assert headers is not None
        if self.mute:
            raise AmiRefused("No such function")
        return {"Value": "0" if headers["Variable"] in self.missing else "1"}

    async def items(self, name: str, headers: Mapping[str, str] | None = None) -> Sequence[Mapping[str, str]]:
        if name in self.missing:
            raise AmiRefused("Invalid/unknown command")
        return []

    async def options(self, number: str) -> None:
        self.asked_by_sip.append(number)
        if self.sip_error is not None:
            raise self.sip_error


def settings(**room: object) -> ConferenceSettings:
    return ConferenceSettings.model_validate(
        {"account": "conference", "context": "conferences", "room": {"balcony": {"number": "6000"}, **room}}
    )


async def said(asterisk: Asterisk, wanted: ConferenceSettings | None = None) -> tuple[bool, list[str]]:
    lines: list[str] = []
    well = await check_conferences(wanted or settings(), asterisk, asterisk.options, lines.append)
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
