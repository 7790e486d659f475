from __future__ import annotations

import pytest

from agi_xmpp.config import PhoneSettings
from agi_xmpp.errors import Refused
from agi_xmpp.features.conference.invitations.invitees import Invitees, Phone
from agi_xmpp.features.phone.people import People
from tests.unit.features.conference.hall import jid

SETTINGS = PhoneSettings.model_validate(
    {
        "account": "phone",
        "context": "internal",
        "dial": ["_0800."],
        "user": {
            "carol@example.org": {"devices": ["PJSIP/103", "PJSIP/203"], "name": "Carol C"},
            "d\\27artagnan@example.org": {"devices": ["PJSIP/104"], "extension": "44", "dial": ["_0Z."]},
        },
    }
)
CAROL = Phone("Carol C", "103", ("PJSIP/103", "PJSIP/203"), "carol")


@pytest.fixture
def invitees():
    return Invitees(SETTINGS, People(SETTINGS))


@pytest.mark.parametrize("local", ["carol", "103", "1\\2003"])
def test_a_phone_by_its_contact_or_extension(invitees, local):
    assert invitees.by_address(local) == CAROL


def test_an_escaped_contact(invitees):
    assert invitees.by_address("d\\27artagnan").devices == ("PJSIP/104",)


def test_a_number_that_may_be_dialled(invitees):
    assert invitees.by_address("030-123", ["_0X."]) == Phone("030123", "030123", ("Local/030123@internal/n",), "030123")


@pytest.mark.parametrize(
    ("local", "condition", "says"),
    [
        ("0301234", "forbidden", "You may not call 0301234."),
        ("zoe", "item-not-found", "Nobody with a phone is called “zoe”"),
        ("103\\26106", "bad-request", "only digits, letters"),
        ("6000\\40internal", "bad-request", "only digits"),
        ("PJSIP\\2f103", "bad-request", "only digits"),
        ("9" * 65, "bad-request", "longer than 64"),
    ],
)
def test_who_must_not_be_called(invitees, local, condition, says):
    with pytest.raises(Refused, match=says) as caught:
        invitees.by_address(local, ["_0800."])
    assert caught.value.condition == condition


@pytest.mark.parametrize("text", ["103", "carol", "Carol C", "carol@example.org"])
def test_a_phone_by_what_people_type(invitees, text):
    assert invitees.by_name(text) == CAROL


def test_what_people_type_is_no_number_to_dial(invitees):
    assert invitees.by_name("0800123") is None


def test_who_may_dial_what(invitees):
    assert invitees.patterns_of(jid("d\\27artagnan@example.org/x")) == ("_0Z.",)
    assert invitees.patterns_of(jid("carol@example.org/x")) == ("_0800.",)
    assert invitees.patterns_of(jid("nobody@example.org")) == ()
    assert invitees.patterns_of(None) == ("_0800.",)


def test_without_a_user_map_nobody_has_a_phone():
    invitees = Invitees(None, None)
    assert invitees.by_name("103") is None
    assert invitees.patterns_of(None) == invitees.patterns_of(jid("carol@example.org")) == ()
    with pytest.raises(Refused, match="No phones are known here"):
        invitees.by_address("103", ["_X."])
