"""Texts outside of calls: who is told what in which order, and whose texts count."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agi_xmpp.ami.conferences import Conferences, Participant
from agi_xmpp.ami.messages import MAX_BODY
from agi_xmpp.config import ConferenceSettings
from agi_xmpp.errors import AmiForbidden, AmiNotConnected, AmiRefused
from agi_xmpp.features.conference.phones.outside_calls import (
    MAX_PARTS,
    TOO_LONG,
    WAITING_EACH,
    WAITING_IN,
    OutsideCalls,
)
from tests.unit.ami.test_messages import event
from tests.unit.features.phone.fakes import FakeAmi

BOB, CAROL = "PJSIP/102-00000001", "PJSIP/103-00000001"


def settings(*endpoints: str) -> ConferenceSettings:
    return ConferenceSettings.model_validate(
        {"account": "conference", "context": "conferences", "texts_outside_calls": list(endpoints)}
    )


class House:
    """A conference 6000 with phones; Bob's and Carol's read outside of calls, Alice's within."""

    def __init__(self) -> None:
        self.contacts = {"102": 1, "103": 1}
        self.ami = FakeAmi(Getvar=self._value)
        self.conferences = Conferences()
        self.said: list[tuple[str, str, str]] = []
        self.outside = OutsideCalls(settings("102", "103"), self.ami, self.conferences, self._said)
        for number, name in (("101", "Alice A"), ("102", "Bob B"), ("103", "Carol C")):
            self.join(number, name)

    def _said(self, number: str, writer: Participant, text: str) -> None:
        if text == "fail":
            raise RuntimeError("a test wants it")
        self.said.append((number, writer.channel, text))

    def _value(self, headers: dict[str, str]) -> Any:
        variable = headers["Variable"]
        name, _, rest = variable.partition("(")
        endpoint = rest.partition(")")[0].partition(",")[0]
        if name == "PJSIP_ENDPOINT":
            callers = {"101": '"Alice A" <101>', "102": '"Bob B" <102>', "103": '"Carol C" <103>'}
            return {"Value": callers.get(endpoint, "")}
        if name == "PJSIP_DIAL_CONTACTS":
            places = (f"PJSIP/{endpoint}/sip:{endpoint}@host{count}" for count in range(self.contacts[endpoint]))
            return {"Value": "&".join(places)}
        assert variable == "CHANNEL(pjsip,local_uri)"
        return {"Value": "sip:800@pbx.example.org:5061"}

    def join(self, number: str, name: str = "", *, call: int = 1, withheld: bool = False) -> None:
        self.conferences.event(
            {
                "Event": "ConfbridgeJoin",
                "Conference": "6000",
                "Channel": f"PJSIP/{number}-{call:08x}",
                "Uniqueid": f"{number}.{call}",
                "CallerIDName": name,
                "CallerIDNum": number,
            }
        )
        for participant in self.conferences.take_questions():
            self.conferences.answer(participant, withheld)

    def leave(self, number: str) -> None:
        channel = f"PJSIP/{number}-00000001"
        self.conferences.event(
            {"Event": "ConfbridgeLeave", "Conference": "6000", "Channel": channel, "Uniqueid": f"{number}.1"}
        )
        self.outside.phone_left(channel)

    async def settle(self) -> None:
        """Let everything happen that does not wait for a test."""
        before = -1
        while before != len(self.ami.actions):
            before = len(self.ami.actions)
            for _ in range(20):
                await asyncio.sleep(0)

    def sent(self, endpoint: str = "") -> list[tuple[str, str, str]]:
        """Return what was sent to an endpoint, or all: to, from, text."""
        texts = [headers for name, headers, _ in self.ami.actions if name == "MessageSend"]
        return [
            (text["To"], text["From"], base64.b64decode(text["Base64Body"]).decode())
            for text in texts
            if text["To"].startswith(f"pjsip:{endpoint}")
        ]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.outside.stop()


def refusing(error: Exception) -> Callable[[dict[str, str]], Exception]:
    return lambda _headers: error


class TestTelling:
    async def test_those_who_read_outside_of_calls(self, house):
        house.outside.tell("6000", "Balcony", "Romeo", "hello")
        await house.settle()
        assert sorted(house.sent()) == [
            ("pjsip:102/sip:102@host0", '"Romeo" <sip:6000@pbx.example.org:5061>', "<Romeo> hello"),
            ("pjsip:103/sip:103@host0", '"Romeo" <sip:6000@pbx.example.org:5061>', "<Romeo> hello"),
        ]

    async def test_the_room_itself(self, house):
        house.outside.tell("6000", "Balcony", "", "hello")
        await house.settle()
        assert [(sender, text) for _, sender, text in house.sent("103")] == [
            ('"Balcony" <sip:6000@pbx.example.org:5061>', "hello")
        ]

    async def test_nobody_of_another_conference(self, house):
        house.outside.tell("6001", "Balcony", "", "hello")
        await house.settle()
        assert house.sent() == []

    async def test_not_who_wrote_it(self, house):
        house.outside.tell("6000", "Balcony", "Bob B", "hello", but="PJSIP/102")
        await house.settle()
        assert [to for to, _, _ in house.sent()] == ["pjsip:103/sip:103@host0"]

    async def test_an_endpoint_that_is_in_twice_is_told_once(self, house):
        house.join("103", "Carol C", call=2)
        house.outside.tell("6000", "Balcony", "", "hello")
        await house.settle()
        assert len(house.sent("103")) == 1

    async def test_all_phones_of_an_endpoint_though_one_is_gone(self, house):
        house.contacts["103"] = 3

        def answer(headers: dict[str, str]) -> Any:
            return AmiRefused("Message failed to send.") if "host0" in headers["To"] else {"Response": "Success"}

        house.ami.answers["MessageSend"] = answer
        results: list[str] = []
        assert house.outside.whisper("6000", CAROL, "Romeo", "hello", results.append)
        await house.settle()
        assert [to for to, _, _ in house.sent()] == [f"pjsip:103/sip:103@host{count}" for count in range(3)]
        assert results == [""]

    async def test_in_order_and_whole(self, house):
        for count in range(WAITING_EACH):
            house.outside.tell("6000", "Balcony", "", f"text {count}")
        house.outside.tell("6000", "Balcony", "", "one too many")
        await house.settle()
        for endpoint in ("102", "103"):
            assert [text for _, _, text in house.sent(endpoint)] == [f"text {count}" for count in range(WAITING_EACH)]
        house.outside.tell("6000", "Balcony", "", "again")
        await house.settle()
        assert [text for _, _, text in house.sent("103")][WAITING_EACH:] == ["again"]

    @pytest.mark.parametrize("size", [MAX_BODY - 1, MAX_BODY])
    async def test_what_fits_goes_in_one(self, house, size):
        house.outside.tell("6000", "Balcony", "", "x" * size)
        await house.settle()
        assert [text for _, _, text in house.sent("103")] == ["x" * size]

    async def test_a_long_text_in_numbered_parts(self, house):
        house.outside.tell("6000", "Balcony", "", "é" * MAX_BODY)
        await house.settle()
        parts = [text for _, _, text in house.sent("103")]
        assert [part[:6] for part in parts] == ["(1/3) ", "(2/3) ", "(3/3) "]
        assert "".join(part[6:] for part in parts) == "é" * MAX_BODY
        assert max(len(part.encode()) for part in parts) <= MAX_BODY

    async def test_of_a_text_without_end_some_parts(self, house):
        house.outside.tell("6000", "Balcony", "", "x" * 65_536)
        await house.settle()
        assert len(house.sent("103")) == MAX_PARTS

    async def test_who_has_gone_is_not_told_what_waits(self, house):
        results: list[str] = []
        for text in ("one", "two", "three"):
            house.outside.whisper("6000", CAROL, "", text, results.append)
        house.leave("103")
        await house.settle()
        assert [text for _, _, text in house.sent()] == ["[private] one"]
        assert results == ["the phone has gone", "the phone has gone", ""]

    async def test_the_host_of_the_settings_where_asterisk_knows_none(self, house):
        house.ami.answers["Getvar"] = lambda headers: (
            AmiRefused("No such channel") if "Channel" in headers else house._value(headers)
        )
        house.outside.tell("6000", "Balcony", "", "hello")
        await house.settle()
        assert {sender for _, sender, _ in house.sent()} == {'"Balcony" <sip:6000@127.0.0.1>'}

    async def test_other_settings(self, house):
        house.outside.apply(settings("101"))
        house.outside.tell("6000", "Balcony", "", "hello")
        house.contacts["101"] = 1
        await house.settle()
        assert [to for to, _, _ in house.sent()] == ["pjsip:101/sip:101@host0"]

    async def test_only_channels_of_pjsip_are_endpoints(self, house):
        (alice, bob, _carol) = house.conferences.of("6000")
        assert (house.outside.reads(alice), house.outside.reads(bob)) == (False, True)
        local = Participant("Local/102@x-1;1", "1.1", "", "", "Local/102")
        assert not house.outside.reads(local)


class TestFailures:
    async def test_a_phone_that_is_not_registered(self, house, caplog):
        house.contacts["103"] = 0
        results: list[str] = []
        house.outside.whisper("6000", CAROL, "Romeo", "one", results.append)
        house.outside.whisper("6000", CAROL, "Romeo", "two", results.append)
        await house.settle()
        assert results == ["it is not registered"] * 2
        assert caplog.text.count("texts do not reach 103 outside of calls: it is not registered") == 1
        house.contacts["103"] = 1
        house.outside.tell("6000", "Balcony", "", "three")
        await house.settle()
        assert [text for _, _, text in house.sent("103")] == ["three"]
        assert house.outside.problem == ""

    async def test_rights_are_missing(self, house, caplog):
        house.contacts["103"] = 2
        house.ami.answers["MessageSend"] = AmiForbidden("Permission denied")
        for _ in range(2):
            house.outside.tell("6000", "Balcony", "", "hello")
        await house.settle()
        assert "add message to the manager user's line write =" in house.outside.problem
        assert caplog.text.count("add message to the manager user's line write =") == 1
        house.ami.answers["MessageSend"] = {"Response": "Success"}
        house.outside.tell("6000", "Balcony", "", "hello")
        await house.settle()
        assert house.outside.problem == ""

    async def test_texts_wait_for_the_manager_connection(self, house):
        there = asyncio.Event()

        async def ready(_timeout: float) -> None:
            await there.wait()

        house.ami.ready = ready
        house.outside.tell("6000", "Balcony", "", "one")
        house.outside.tell("6000", "Balcony", "", "two")
        await house.settle()
        assert house.sent() == []
        there.set()
        await house.settle()
        assert [text for _, _, text in house.sent("103")] == ["one", "two"]

    async def test_who_asks_what_became_of_a_text_cannot_stop_the_others(self, house, caplog):
        def done(_reason: str) -> None:
            raise RuntimeError("a test wants it")

        house.outside.whisper("6000", CAROL, "Romeo", "one", done)
        house.outside.whisper("6000", CAROL, "Romeo", "two", lambda _reason: None)
        await house.settle()
        assert [text for _, _, text in house.sent()] == ["[private] <Romeo> one", "[private] <Romeo> two"]
        assert "the others go on" in caplog.text


class TestWhispering:
    async def test_to_one_phone(self, house):
        results: list[str] = []
        assert house.outside.whisper("6000", CAROL, "Romeo", "psst", results.append)
        assert house.outside.whisper("6000", CAROL, "", "psst", results.append)
        await house.settle()
        assert [(sender.partition(" <")[0], text) for _, sender, text in house.sent()] == [
            ('"Romeo"', "[private] <Romeo> psst"),
            ("<sip:6000@pbx.example.org:5061>", "[private] psst"),
        ]
        assert results == ["", ""]

    async def test_no_line_looks_like_another_s_text(self, house):
        house.outside.whisper("6000", CAROL, "Romeo", "hi\n[private] <Boss> go home", lambda _reason: None)
        house.outside.tell("6000", "Balcony", "Romeo", "hi\n<Boss> go home\nall of you")
        await house.settle()
        assert [text for _, _, text in house.sent("103")] == [
            "[private] <Romeo> hi\n[private] <Romeo> [private] <Boss> go home",
            "<Romeo> hi\n<Romeo> <Boss> go home\nall of you",
        ]

    @pytest.mark.parametrize("channel", ["PJSIP/101-00000001", "PJSIP/103-00000009", "SIP/103-1"])
    async def test_not_to_those_who_read_within_or_have_gone(self, house, channel):
        assert not house.outside.whisper("6000", channel, "Romeo", "psst", lambda _reason: None)
        assert not house.outside.whisper("6001", CAROL, "Romeo", "psst", lambda _reason: None)

    async def test_bounds(self, house):
        results: list[str] = []
        fits = (MAX_BODY - 16) * MAX_PARTS - len("[private] ")
        house.outside.whisper("6000", CAROL, "", "x" * fits, results.append)
        house.outside.whisper("6000", CAROL, "", "x" * (fits + 1), results.append)
        assert results == ["one phone can be told 15120 bytes at once"]
        await house.settle()
        assert len(house.sent()) == MAX_PARTS
        for _ in range(WAITING_EACH):
            house.outside.whisper("6000", CAROL, "", "x", lambda _reason: None)
        house.outside.whisper("6000", CAROL, "", "x", results.append)
        assert results[-1] == "too many texts are waiting for this phone"


class TestOverhearing:
    @pytest.mark.parametrize("sender", [None, "PJSIP/101-00000001"])
    async def test_a_phone_within_its_call(self, house, sender):
        house.outside.overheard("6000", "The balcony", "Alice A", "hello", sender)
        await house.settle()
        assert [(sender, text) for _, sender, text in house.sent("103")] == [
            ('"Alice A" <sip:6000@pbx.example.org:5061>', "<Alice A> hello")
        ]

    @pytest.mark.parametrize(("display", "sender"), [("Romeo", None), ("Romeo", ""), ("Alice A", "")])
    async def test_nobody_knows_who(self, house, display, sender):
        house.outside.overheard("6000", "The balcony", display, "hello", sender)
        await house.settle()
        assert [(sender, text) for _, sender, text in house.sent("103")] == [
            ('"The balcony" <sip:6000@pbx.example.org:5061>', f"<{display}> hello")
        ]

    async def test_who_withholds_their_name(self, house):
        house.join("104", "Dave D", withheld=True)
        house.outside.overheard("6000", "The balcony", "Dave D", "hello", "PJSIP/104-00000001")
        house.outside.overheard("6000", "The balcony", "Dave D", "hello", None)
        await house.settle()
        assert [(sender.partition(" <")[0], text) for _, sender, text in house.sent("103")] == [
            ('"phone"', "<phone> hello"),
            ('"The balcony"', "<phone> hello"),
        ]

    async def test_one_of_the_list_that_writes_within_its_call_is_not_told(self, house):
        house.outside.overheard("6000", "The balcony", "Carol C", "hello", None)
        await house.settle()
        assert [to for to, _, _ in house.sent()] == ["pjsip:102/sip:102@host0"]


class TestWriting:
    async def test_who_is_in(self, house):
        house.outside.ami_event(event(Text="hello"))
        house.outside.ami_event(event(sender="<sip:101@pbx>", caller="Alice A", Text="hello"))
        await house.settle()
        assert house.said == [("6000", CAROL, "hello"), ("6000", "PJSIP/101-00000001", "hello")]

    @pytest.mark.parametrize(
        "text",
        [
            event(number="6001"),
            event(sender="<sip:104@pbx>", caller="104"),
            event(caller="Bob B"),  # Asterisk took it from another endpoint, known by its address
            event(caller="103"),
            {"Event": "UserEvent", "UserEvent": "ConferenceText"},
            {"Event": "Hangup"},
        ],
    )
    async def test_who_is_not(self, house, text):
        house.outside.ami_event(text)
        house.outside.ami_event(event(Text="end"))
        await house.settle()
        assert house.said == [("6000", CAROL, "end")]

    async def test_what_asterisk_has_dropped(self, house):
        house.outside.ami_event(event(Text=""))
        house.outside.ami_event(event(number="6001", Text=""))
        await house.settle()
        assert house.said == []
        assert [text for _, _, text in house.sent()] == [TOO_LONG]

    async def test_who_goes_while_asterisk_is_asked(self, house):
        house.outside.ami_event(event())
        await asyncio.sleep(0)
        house.leave("103")
        await house.settle()
        assert house.said == []

    async def test_in_order_and_bounded(self, house, caplog):
        for count in range(WAITING_IN + 1):
            house.outside.ami_event(event(Text=f"text {count}"))
        await house.settle()
        assert [text for _, _, text in house.said] == [f"text {count}" for count in range(WAITING_IN)]
        assert caplog.text.count("a text was lost") == 1
        house.outside.ami_event(event(Text="again"))
        await house.settle()
        assert house.said[-1][2] == "again"

    async def test_asterisk_cannot_be_asked(self, house, caplog):
        house.ami.answers["Getvar"] = refusing(AmiNotConnected("gone"))
        house.outside.ami_event(event())
        await house.settle()
        assert "whose a text is cannot be asked: gone" in caplog.text
        house.ami.answers["Getvar"] = house._value
        house.outside.ami_event(event(Text="again"))
        await house.settle()
        assert house.said == [("6000", CAROL, "again")]

    async def test_one_failure_is_that_of_one_text(self, house, caplog):
        house.outside.ami_event(event(Text="fail"))
        house.outside.ami_event(event(Text="next"))
        await house.settle()
        assert house.said == [("6000", CAROL, "next")]
        assert "the others go on" in caplog.text

    async def test_texts_are_in_no_log(self, house, caplog):
        with caplog.at_level(logging.INFO):
            house.outside.ami_event(event(number="6001", Text="a secret"))
            await house.settle()
        assert "a text of '103', who is not in, was dropped" in caplog.text
        assert "secret" not in caplog.text
