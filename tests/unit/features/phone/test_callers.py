from __future__ import annotations

from typing import Any

import pytest

from agi_xmpp.ami.calls import Answered, Dialled, Ended, How, Party, Phase, Rang, Restored, Updated
from agi_xmpp.errors import AmiNotConnected, AmiRefused, AmiUnknown
from agi_xmpp.features.phone.book.model import Entry
from agi_xmpp.features.phone.callers import Callers
from tests.unit.features.phone.fakes import FakeAmi
from tests.unit.features.phone.house import call

RINGS = call()
OUT = call(incoming=False, phase=Phase.DIALLING)


def callers(answer: Any = None, **book: Entry) -> tuple[Callers, FakeAmi]:
    ami = FakeAmi(Getvar=answer or {"Value": "allowed"})

    async def lookup(number: str) -> Entry | None:
        return book.get(f"n{number}")

    return Callers(ami, lookup if book else None), ami


@pytest.mark.parametrize(
    ("change", "asks", "asks_with_book"),
    [
        (Rang(RINGS), True, True),
        (Restored(RINGS), True, True),
        (Rang(call(party=Party("", "Zoe"))), True, True),
        (Rang(call(party=Party())), False, False),
        (Dialled(OUT), False, True),
        (Answered(RINGS), True, True),
        (Updated(RINGS), True, True),
        (Updated(OUT), True, True),
        (Ended(RINGS, How.MISSED), False, False),
    ],
)
def test_when_something_has_to_be_found_out(change, asks, asks_with_book):
    assert callers()[0].must_ask(change) is asks
    assert callers(n1=Entry("x"))[0].must_ask(change) is asks_with_book


@pytest.mark.parametrize("value", ["prohib", "prohib_not_screened", "prohib_passed_screen", "prohib_failed_screen"])
async def test_a_withheld_number_is_shown_to_nobody(value):
    who, ami = callers({"Value": value}, n101=Entry("Ann"))
    await who.ask(Rang(RINGS))
    assert who.seen(RINGS).party == Party()
    assert ami.actions == [("Getvar", {"Channel": RINGS.channel, "Variable": "CONNECTEDLINE(num-pres)"}, {})]


@pytest.mark.parametrize("value", ["allowed", "allowed_not_screened", "unavailable", ""])
async def test_any_other_number_is_shown(value):
    who, _ami = callers({"Value": value})
    await who.ask(Rang(RINGS))
    assert who.seen(RINGS) == RINGS


@pytest.mark.parametrize("error", [AmiNotConnected("x"), AmiUnknown("x"), AmiRefused("No such channel")])
async def test_where_asterisk_does_not_say_nothing_is_shown(error):
    who, _ami = callers(error)
    await who.ask(Rang(RINGS))
    assert who.seen(RINGS).party == Party()


async def test_the_person_dialled_is_no_secret():
    who, ami = callers({"Value": "prohib"}, n101=Entry("Ann"))
    await who.ask(Dialled(OUT))
    assert who.seen(OUT).party == Party("101", "Ann")
    assert ami.actions == []


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (Entry("Ann", company="ACME"), "Ann, ACME"),
        (Entry("", company="ACME"), "ACME"),
        (Entry("Ann"), "Ann"),
        (None, "Ann Smith"),
    ],
)
async def test_the_name_of_the_phone_book(entry, name):
    who, _ami = callers(**({"n101": entry} if entry else {"n9": Entry("x")}))
    await who.ask(Rang(RINGS))
    assert who.seen(RINGS).party == Party("101", name)


async def test_another_party_has_its_own_name():
    who, _ami = callers(n101=Entry("Ann"))
    await who.ask(Rang(RINGS))
    transferred = Updated(call(party=Party("103", "Carol")))
    assert who.must_ask(transferred)
    await who.ask(transferred)
    assert who.seen(transferred.call) == transferred.call


async def test_another_party_may_be_one_that_withholds_its_number():
    answers = iter([{"Value": "allowed"}, {"Value": "prohib"}, {"Value": "allowed"}])
    who, _ami = callers(lambda _headers: next(answers))
    for change, shown in (
        (Rang(RINGS), RINGS.party),
        (Updated(call(party=Party("0190", "Zoe"))), Party()),
        (Updated(call(party=Party("103", "Carol"))), Party("103", "Carol")),
    ):
        assert who.seen(change.call).party == Party(), "not before Asterisk has said so"
        assert who.must_ask(change)
        await who.ask(change)
        assert who.seen(change.call).party == shown
        assert not who.must_ask(change)
    late = Ended(call(party=Party("0190", "Zoe")), How.TALKED)
    assert who.seen_change(late).call.party == Party()


async def test_a_caller_who_is_known_late_is_asked_about_late():
    who, _ami = callers({"Value": "prohib"})
    assert not who.must_ask(Rang(call(party=Party())))
    who.seen_change(Rang(call(party=Party())))
    assert who.must_ask(Updated(RINGS))
    await who.ask(Updated(RINGS))
    assert who.seen(RINGS).party == Party()


async def test_who_takes_a_call_of_the_person_may_withhold_the_number():
    who, ami = callers({"Value": "prohib"})
    assert who.seen_change(Dialled(OUT)).call == OUT
    assert not who.must_ask(Answered(OUT))
    assert ami.actions == []
    other = Updated(call(incoming=False, party=Party("0190", "Zoe")))
    assert who.seen(other.call).party == Party()
    assert who.must_ask(other)
    await who.ask(other)
    assert who.seen(other.call).party == Party()


async def test_nothing_is_left_of_a_call_that_is_over():
    who, _ami = callers({"Value": "prohib"})
    await who.ask(Rang(RINGS))
    assert who.seen_change(Ended(RINGS, How.MISSED)).call.party == Party()
    assert who._known == {}
