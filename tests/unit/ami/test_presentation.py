from __future__ import annotations

import pytest

from agi_xmpp.ami.presentation import CALLER, OTHER_SIDE, is_withheld
from agi_xmpp.errors import AmiRefused
from tests.unit.features.phone.fakes import FakeAmi


@pytest.mark.parametrize(
    ("value", "withheld"),
    [
        *(
            ("allowed", False),
            ("allowed_not_screened", False),
            ("allowed_passed_screen", False),
            ("unavailable", False),
        ),
        *(("prohib", True), ("prohib_not_screened", True), ("prohib_failed_screen", True)),
        ("", False),  # this Asterisk does without func_callerid
    ],
)
async def test_what_asterisk_says(value, withheld):
    assert await is_withheld(FakeAmi(Getvar={"Value": value}), "PJSIP/101-1") is withheld


@pytest.mark.parametrize("of", [CALLER, OTHER_SIDE])
async def test_what_asterisk_is_asked(of):
    ami = FakeAmi(Getvar={"Value": "allowed"})
    await is_withheld(ami, "PJSIP/101-1", of)
    assert ami.taken() == [("Getvar", {"Channel": "PJSIP/101-1", "Variable": of})]


async def test_no_answer_is_none():
    with pytest.raises(AmiRefused):
        await is_withheld(FakeAmi(Getvar=AmiRefused("No such channel")), "PJSIP/101-1")
