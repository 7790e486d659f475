"""What the settings say of rooms."""

from __future__ import annotations

from typing import Any

import pytest

from agi_xmpp.config import ConferenceSettings
from agi_xmpp.errors import ConfigError
from agi_xmpp.features.conference.model import Affiliation
from agi_xmpp.features.conference.rooms.configured import Configured
from agi_xmpp.xmpp.jid import parse


def configured(**settings: Any) -> Configured:
    return Configured("Conference.Example.org", ConferenceSettings(account="rooms", context="conferences", **settings))


def test_a_room_has_what_the_settings_say():
    the = configured(
        owners=["boss@example.org"],
        max_occupants=7,
        room={
            "balcony": {
                "number": "6000",
                "title": "The balcony",
                "description": "Fresh air",
                "password": "open sesame",
                "members_only": True,
                "moderated": True,
                "subject": "participants",
                "public": False,
                "owners": ["romeo@example.org"],
                "admins": ["nurse@example.org"],
                "members": ["juliet@example.org", "nurse@example.org"],
            }
        },
    )
    room = the.rooms["balcony"]
    assert str(room.address) == "balcony@conference.example.org"
    assert room.number == "6000"
    assert room.muc is None
    assert {str(jid): affiliation.value for jid, affiliation in room.affiliations.items()} == {
        "boss@example.org": "owner",
        "romeo@example.org": "owner",
        "nurse@example.org": "admin",
        "juliet@example.org": "member",
    }
    config = room.config
    assert (config.title, config.description, config.password) == ("The balcony", "Fresh air", "open sesame")
    assert (config.members_only, config.moderated, config.public, config.subject_by_all) == (True, True, False, True)
    assert (config.max_occupants, config.persistent, config.fixed) == (7, True, True)


def test_a_room_of_which_the_settings_say_nothing_is_called_by_its_key():
    room = configured(room={"6000": {}}).rooms["6000"]
    assert (room.number, room.config.title, room.config.password) == ("6000", "6000", "")
    assert not room.affiliations


def test_the_password_comes_from_where_the_settings_say(tmp_path):
    (tmp_path / "secret").write_text("from a file\n")
    room = configured(room={"6000": {"password_file": str(tmp_path / "secret")}}).rooms["6000"]
    assert room.config.password == "from a file"


def test_a_password_that_cannot_be_had_is_said_before_the_start(tmp_path):
    with pytest.raises(ConfigError, match="password_file"):
        configured(room={"6000": {"password_file": str(tmp_path / "none")}})


def test_an_address_that_is_none_is_said_before_the_start():
    with pytest.raises(ConfigError, match=r"conference.room.balcony.admins: .* is not a Jabber ID"):
        configured(room={"balcony": {"admins": ['"x"@example.org']}})


def test_a_conference_has_one_room_however_its_number_is_written():
    the = configured(
        room={"balcony": {"number": "6000"}, "garden": {"number": "Garden", "muc": "garden@rooms.example.org"}}
    )
    assert the.other_room("balcony") is None
    assert str(the.other_room("6000")) == "balcony@conference.example.org"
    assert str(the.other_room("60-00")) == "balcony@conference.example.org"
    assert str(the.other_room("garden")) == "garden@rooms.example.org"
    assert the.other_room("6001") is None
    assert the.by_number("6000") is the.rooms["balcony"]


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("romeo@example.org", True),
        ("romeo@example.org/orchard", True),
        ("romeo@sub.example.org", False),
        ("paris@example.net", False),
        ("boss@example.net", True),
    ],
)
def test_without_a_list_the_users_of_the_domain_above_may_enter(who, allowed):
    assert configured(owners=["boss@example.net"]).allows(parse(who)) is allowed


def test_a_list_says_who_may_enter_instead():
    the = configured(allow=["example.net", "friar@example.com"])
    assert the.allows(parse("paris@example.net/x"))
    assert the.allows(parse("friar@example.com/x"))
    assert not the.allows(parse("other@example.com"))
    assert not the.allows(parse("romeo@example.org"))


def test_whom_the_settings_name_for_a_room_may_enter_that_room_only():
    the = configured(room={"balcony": {"members": ["friar@example.com"]}, "tomb": {}})
    assert the.allows(parse("friar@example.com/x"), the.rooms["balcony"].address)
    assert not the.allows(parse("friar@example.com/x"), the.rooms["tomb"].address)
    assert not the.allows(parse("friar@example.com/x"), parse("balcony@rooms.example.org")), "another service's"
    assert not the.allows(parse("friar@example.com/x"))


@pytest.mark.parametrize(
    ("number", "may"),
    [
        ("6000", True),
        ("6999", True),
        ("7000", False),
        ("60000", False),
        ("60-00", False),  # another way to write 6000, and not a second room
        ("verona", True),
        ("v", True),
        ('verona"b', False),
        ("verona\nb", False),
        ("h", False),  # Asterisk enters that extension by itself
        ("v" * 64, True),
        ("v" * 65, False),
    ],
)
def test_which_conferences_become_rooms_by_being_joined(number, may):
    assert configured(rooms=["_6XXX", "_[a-z]!"]).may_be_opened(number) is may


def test_no_room_is_opened_if_the_settings_have_no_pattern():
    assert not configured().may_be_opened("6000")


def test_what_somebody_opens_is_called_by_its_number():
    config = configured(max_occupants=3).new_room("6001")
    assert (config.title, config.max_occupants, config.persistent, config.fixed) == ("6001", 3, False, False)


def test_the_owners_of_all_rooms():
    assert configured(owners=["Boss@example.org"]).owners == {parse("boss@example.org"): Affiliation.OWNER}
