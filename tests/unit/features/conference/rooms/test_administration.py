"""Who may change what of whom in a room, and who sees the lists (XEP-0045 sections 5, 8, 9 and 10)."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation
from agi_xmpp.features.conference.room.invitations import MAX_AFFILIATIONS
from agi_xmpp.features.conference.rooms.administration import MAX_ITEMS, MAX_REASON
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import codes, item, nick_of, to
from tests.unit.features.conference.house import ADMIN, House

#: Somebody of each affiliation, with a client that is in.
PEOPLE = {
    "owner": "escalus@example.org/palace",
    "admin": "friar@example.org/cell",
    "member": "juliet@example.org/balcony",
    "none": "romeo@example.org/orchard",
}


def the_house(**room: Any) -> House:
    """Return a house with one room, ``balcony``, where the owner and a second one, the admin and the member are named
    in chat: the settings name nobody.
    """
    house = House(room={"balcony": {"number": "6000", "owners": ["boss@example.org"], **room}})
    balcony = house.room("balcony")
    for name in ("owner", "admin", "member"):
        balcony.set_affiliation(parse(PEOPLE[name]).bare, Affiliation(name), None)
    for name, full in PEOPLE.items():
        house.join(full, f"balcony/{name}")
    house.room("balcony").phone_joined(phone("Alice A", "101"))
    house.outside.take()
    house.outside.notes.clear()
    return house


def affiliation(jid: str, value: str, reason: str = "") -> str:
    return f"<item affiliation='{value}' jid='{parse(jid).bare}'>{reason and f'<reason>{reason}</reason>'}</item>"


def role(nick: str, value: str, reason: str = "") -> str:
    return f"<item role='{value}' nick='{nick}'>{reason and f'<reason>{reason}</reason>'}</item>"


def standing(house: House, name: str) -> str:
    return house.room("balcony").affiliation_of(parse(PEOPLE[name])).value


def roles(house: House) -> dict[str, str]:
    return {nick: occupant.role.value for nick, occupant in house.room("balcony").occupants.items()}


# Affiliations

#: Who makes whom what, and what comes of it: "" if it is done.
AFFILIATIONS = [
    # Whoever is no admin changes nobody.
    *[
        (actor, "none", wanted, "forbidden")
        for actor in ("none", "member")
        for wanted in ("outcast", "member", "owner")
    ],
    ("member", "member", "none", "forbidden"),
    ("none", "none", "owner", "forbidden"),
    # Admins name members and ban whoever is not above them.
    ("admin", "none", "member", ""),
    ("admin", "member", "none", ""),
    ("admin", "none", "outcast", ""),
    ("admin", "member", "outcast", ""),
    ("admin", "admin", "outcast", "conflict"),
    ("admin", "owner", "outcast", "not-allowed"),
    ("admin", "none", "admin", "forbidden"),
    ("admin", "none", "owner", "forbidden"),
    ("admin", "member", "admin", "forbidden"),
    ("admin", "owner", "member", "forbidden"),
    ("admin", "admin", "none", "forbidden"),
    ("admin", "admin", "owner", "forbidden"),
    # Owners do everything but ban themselves and each other.
    ("owner", "none", "owner", ""),
    ("owner", "none", "admin", ""),
    ("owner", "none", "outcast", ""),
    ("owner", "member", "admin", ""),
    ("owner", "admin", "none", ""),
    ("owner", "admin", "outcast", ""),
    ("owner", "admin", "owner", ""),
    ("owner", "owner", "outcast", "conflict"),
    ("owner", "owner", "member", ""),  # there is another one
]


@pytest.mark.parametrize(("actor", "target", "wanted", "refused"), AFFILIATIONS)
def test_who_may_give_whom_which_affiliation(actor, target, wanted, refused):
    house = the_house()
    change = affiliation(PEOPLE[target], wanted)
    if refused:
        assert house.may_not(PEOPLE[actor], "balcony", change) == refused
        assert standing(house, target) == target
    else:
        house.administer(PEOPLE[actor], "balcony", change)
        assert standing(house, target) == wanted


def test_an_owner_does_not_ban_another_one():
    house = the_house()
    house.room("balcony").set_affiliation(parse("cook@example.org"), Affiliation.OWNER, None)
    house.outside.take()
    assert house.may_not(PEOPLE["owner"], "balcony", affiliation("cook@example.org", "outcast")) == "not-allowed"


def test_an_admin_does_not_ban_another_one():
    house = the_house()
    house.room("balcony").set_affiliation(parse("cook@example.org"), Affiliation.ADMIN, None)
    house.outside.take()
    assert house.may_not(PEOPLE["admin"], "balcony", affiliation("cook@example.org", "outcast")) == "not-allowed"


def test_affiliation_and_not_presence_gives_the_right():
    house = the_house()
    house.leave(PEOPLE["owner"], "balcony")
    house.administer(PEOPLE["owner"], "balcony", affiliation("cook@example.org", "admin"))
    assert any("escalus@example.org" in note and "is not in" in note for note in house.outside.notes)


def test_what_is_so_already_is_not_done_again():
    house = the_house()
    assert house.administer(PEOPLE["admin"], "balcony", affiliation(PEOPLE["member"], "member")) == []
    assert house.outside.notes == []


def test_the_last_owner_stays():
    house = House(rooms=["_[a-z]!"])
    house.join(PEOPLE["owner"], "verona/Escalus")
    owner = PEOPLE["owner"]
    for wanted in ("none", "member", "admin"):
        assert house.may_not(owner, "verona", affiliation(owner, wanted)) == "conflict"
    house.administer(owner, "verona", affiliation("cook@example.org", "owner"))
    house.administer(owner, "verona", affiliation(owner, "none"))
    assert house.room("verona").affiliation_of(parse(owner)) is Affiliation.NONE


def test_one_request_does_not_take_both_owners_away():
    house = House(rooms=["_[a-z]!"])
    owner = PEOPLE["owner"]
    house.join(owner, "verona/Escalus")
    house.administer(owner, "verona", affiliation("cook@example.org", "owner"))
    both = [affiliation("cook@example.org", "none"), affiliation(owner, "none")]
    assert house.may_not(owner, "verona", *both) == "conflict"
    assert house.room("verona").affiliation_of(parse("cook@example.org")) is Affiliation.OWNER


def test_who_gives_the_right_away_has_it_no_more_in_the_same_request():
    house = the_house()
    items = [affiliation(PEOPLE["owner"], "none"), affiliation("cook@example.org", "owner")]
    assert house.may_not(PEOPLE["owner"], "balcony", *items) == "forbidden"
    assert standing(house, "owner") == "owner"


def test_whom_the_settings_name_keeps_what_they_say():
    house = the_house()
    for wanted in ("none", "member", "admin"):
        change = f"<query xmlns='{ADMIN}'>{affiliation('boss@example.org', wanted)}</query>"
        [error] = house.iq(PEOPLE["owner"], "balcony", change, kind="set")
        assert stanzas.condition_of(error) == "not-allowed"
        assert "agi-xmpp.toml" in "".join(error.itertext())


def test_a_member_by_the_settings_is_not_banned_from_chat():
    house = the_house(members=["tybalt@example.org"])
    assert house.may_not(PEOPLE["admin"], "balcony", affiliation("tybalt@example.org", "outcast")) == "not-allowed"


def test_a_ban_as_the_others_see_it():
    house = the_house()
    sent = house.administer(PEOPLE["admin"], "balcony", affiliation(PEOPLE["none"], "outcast", "Treason"))
    [seen] = [one for one in to(sent, PEOPLE["none"]) if codes(one) == [110, 301]]
    assert item(seen)["affiliation"] == "outcast"
    assert item(seen)["role"] == "none"
    assert "Treason" in "".join(seen.itertext())
    [seen] = to(sent, PEOPLE["member"])
    assert (nick_of(seen), codes(seen), seen.get("type")) == ("none", [301], "unavailable")


def test_somebody_who_is_in_can_be_named_by_nick():
    house = the_house()
    house.administer(PEOPLE["admin"], "balcony", "<item affiliation='member' nick='none'/>")
    assert standing(house, "none") == "member"


def test_a_phone_can_be_banned_by_its_nick_or_its_address():
    for change in ("<item affiliation='outcast' nick='Alice A'/>", affiliation("101@phone.example.org", "outcast")):
        house = the_house()
        house.administer(PEOPLE["admin"], "balcony", change)
        assert house.outside.kicked == ["PJSIP/101-00000001"]
        assert house.service.is_banned("6000", parse("101@phone.example.org"))
        assert not house.service.is_banned("6000", parse("102@phone.example.org"))
        assert not house.service.is_banned("6000", None)
        assert not house.service.is_banned("6001", parse("101@phone.example.org"))


def test_a_phone_without_an_address_cannot_be_banned():
    house = the_house()
    house.room("balcony").phone_joined(phone("Anonymous", "", channel="PJSIP/x-1"))
    house.outside.take()
    change = "<item affiliation='outcast' nick='Anonymous'/>"
    assert house.may_not(PEOPLE["admin"], "balcony", change) == "not-acceptable"


def test_a_domain_can_be_banned_but_not_rule():
    house = the_house()
    house.administer(PEOPLE["admin"], "balcony", "<item affiliation='outcast' jid='example.net'/>")
    assert house.room("balcony").affiliation_of(parse("paris@example.net")) is Affiliation.OUTCAST
    change = "<item affiliation='owner' jid='example.com'/>"
    assert house.may_not(PEOPLE["owner"], "balcony", change) == "not-acceptable"


# Roles

#: Who gives whom which role, and what comes of it: "" if it is done.
ROLES = [
    ("none", "none", "none", "forbidden"),
    ("member", "none", "visitor", "forbidden"),
    ("member", "member", "moderator", "forbidden"),
    # Kicks: nobody above.
    ("admin", "none", "none", ""),
    ("admin", "member", "none", ""),
    ("admin", "owner", "none", "not-allowed"),
    ("owner", "admin", "none", ""),
    ("owner", "owner", "none", ""),  # as people apologise on IRC
    # Voice: from nobody at the same height.
    ("admin", "none", "visitor", ""),
    ("admin", "member", "visitor", ""),
    ("owner", "admin", "visitor", "not-allowed"),
    ("owner", "owner", "visitor", "not-allowed"),
    # Moderators: made by admins and owners; these stay.
    ("admin", "none", "moderator", ""),
    ("owner", "member", "moderator", ""),
    ("owner", "admin", "participant", "not-allowed"),
    ("admin", "owner", "participant", "not-allowed"),
]


@pytest.mark.parametrize(("actor", "target", "wanted", "refused"), ROLES)
def test_who_may_give_whom_which_role(actor, target, wanted, refused):
    house = the_house()
    before = roles(house)
    if refused:
        assert house.may_not(PEOPLE[actor], "balcony", role(target, wanted)) == refused
        assert roles(house) == before
    else:
        house.administer(PEOPLE[actor], "balcony", role(target, wanted))
        assert roles(house).get(target, "none") == wanted


def moderating() -> House:
    """Return the house after an admin has made the one without an affiliation a moderator."""
    house = the_house()
    house.administer(PEOPLE["admin"], "balcony", role("none", "moderator"))
    return house


@pytest.mark.parametrize(
    ("target", "wanted", "refused"),
    [
        ("member", "none", "not-allowed"),
        ("admin", "none", "not-allowed"),
        ("owner", "none", "not-allowed"),
        ("member", "visitor", "not-allowed"),
        ("member", "moderator", "forbidden"),
        ("none", "none", ""),
    ],
)
def test_a_moderator_without_an_affiliation(target, wanted, refused):
    house = moderating()
    if refused:
        assert house.may_not(PEOPLE["none"], "balcony", role(target, wanted)) == refused
    else:
        house.administer(PEOPLE["none"], "balcony", role(target, wanted))
        assert target not in roles(house)


def test_a_moderator_is_made_a_participant_again():
    house = moderating()
    house.administer(PEOPLE["admin"], "balcony", role("none", "participant"))
    assert roles(house)["none"] == "participant"


def test_a_moderator_gives_the_word_back():
    house = moderating()
    house.administer(PEOPLE["admin"], "balcony", role("member", "visitor"))
    house.administer(PEOPLE["none"], "balcony", role("member", "participant"))
    assert roles(house)["member"] == "participant"


def test_roles_are_changed_by_who_is_in_only():
    house = the_house()
    house.leave(PEOPLE["owner"], "balcony")
    assert house.may_not(PEOPLE["owner"], "balcony", role("none", "none")) == "forbidden"


def test_a_kick_as_the_others_see_it():
    house = the_house()
    sent = house.administer(PEOPLE["admin"], "balcony", role("none", "none", "bye"))
    [seen] = to(sent, PEOPLE["member"])
    assert (nick_of(seen), codes(seen), seen.get("type")) == ("none", [307], "unavailable")
    assert "bye" in "".join(seen.itertext())


def test_a_phone_is_thrown_out_by_its_nick():
    """The sample of a kick, as a real client has sent it."""
    house = the_house()
    house.administer(PEOPLE["admin"], "balcony", role("Alice A", "none", "bye alice"))
    assert house.outside.kicked == ["PJSIP/101-00000001"]


def test_a_phone_loses_the_word_and_gets_it_back():
    house = the_house()
    house.administer(PEOPLE["admin"], "balcony", role("Alice A", "visitor"))
    assert house.outside.muted == [("PJSIP/101-00000001", True)]
    house.room("balcony").phone_changed(phone("Alice A", "101", muted=True))
    house.outside.take()
    house.administer(PEOPLE["admin"], "balcony", role("Alice A", "participant"))
    assert house.outside.muted[1:] == [("PJSIP/101-00000001", False)]


def test_a_moderator_mutes_no_phone_that_is_level_with_them():
    """Whose affiliation is "at or above the moderator's level" keeps the word (section 8.4)."""
    assert moderating().may_not(PEOPLE["none"], "balcony", role("Alice A", "visitor")) == "not-allowed"


def test_the_phone_of_an_admin_gets_the_word_back():
    house = the_house()
    room = house.room("balcony")
    room.set_affiliation(parse("101@phone.example.org"), Affiliation.ADMIN, None)
    assert house.may_not(PEOPLE["admin"], "balcony", role("Alice A", "visitor")) == "not-allowed"
    room.phone_changed(phone("Alice A", "101", muted=True))
    house.outside.take()
    house.administer(PEOPLE["admin"], "balcony", role("Alice A", "participant"))
    assert house.outside.muted == [("PJSIP/101-00000001", False)]


def test_a_phone_does_not_moderate():
    assert the_house().may_not(PEOPLE["owner"], "balcony", role("Alice A", "moderator")) == "not-allowed"


# Requests


@pytest.mark.parametrize(
    ("items", "refused"),
    [
        ([], "bad-request"),
        (["<item/>"], "bad-request"),
        (["<item nick='none'/>"], "bad-request"),
        (["<item role='none'/>"], "bad-request"),
        (["<item role='none' jid='romeo@example.org'/>"], "bad-request"),
        (["<item affiliation='member'/>"], "bad-request"),
        (["<item affiliation='member' role='visitor' nick='none'/>"], "bad-request"),
        (["<item affiliation='boss' nick='none'/>"], "bad-request"),
        (["<item role='boss' nick='none'/>"], "bad-request"),
        (["<item affiliation='member' jid='@@'/>"], "jid-malformed"),
        (["<item affiliation='member' jid=''/>"], "jid-malformed"),
        (["<item role='none' nick=''/>"], "jid-malformed"),
        (["<item role='none' nick='nobody'/>"], "item-not-found"),
        (["<item affiliation='member' nick='nobody'/>"], "item-not-found"),
    ],
)
def test_requests_that_are_none(items, refused):
    assert the_house().may_not(PEOPLE["owner"], "balcony", *items) == refused


def test_of_several_changes_all_are_made():
    house = the_house()
    items = [affiliation(f"servant{number}@example.org", "member") for number in range(5)]
    house.administer(PEOPLE["admin"], "balcony", *items, role("none", "visitor"))
    assert house.room("balcony").affiliation_of(parse("servant4@example.org")) is Affiliation.MEMBER
    assert roles(house)["none"] == "visitor"


def test_or_none_of_them():
    house = the_house()
    items = [affiliation("cook@example.org", "member"), role("none", "none"), role("owner", "none")]
    assert house.may_not(PEOPLE["admin"], "balcony", *items) == "not-allowed"
    assert house.room("balcony").affiliation_of(parse("cook@example.org")) is Affiliation.NONE
    assert "none" in roles(house)


def test_who_is_banned_and_kicked_at_once_goes_once():
    house = the_house()
    sent = house.administer(PEOPLE["admin"], "balcony", affiliation(PEOPLE["none"], "outcast"), role("none", "none"))
    assert [codes(one) for one in to(sent, PEOPLE["none"])] == [[110, 301]]


@pytest.mark.parametrize(
    ("count", "refused"), [(MAX_ITEMS - 1, ""), (MAX_ITEMS, ""), (MAX_ITEMS + 1, "policy-violation")]
)
def test_how_many_one_request_changes(count, refused):
    house = the_house()
    items = [affiliation(f"servant{number}@example.org", "member") for number in range(count)]
    if refused:
        assert house.may_not(PEOPLE["admin"], "balcony", *items) == refused
    else:
        house.administer(PEOPLE["admin"], "balcony", *items)


def test_how_many_people_a_room_remembers():
    house = the_house()
    room = house.room("balcony")
    there = len(room.affiliations) - 1  # the one of the settings does not count
    for number in range(MAX_AFFILIATIONS - there - 1):
        room.affiliations[parse(f"servant{number}@example.org")] = Affiliation.MEMBER  # type: ignore[index]
    house.administer(PEOPLE["admin"], "balcony", affiliation("last@example.org", "member"))
    change = affiliation("one-more@example.org", "member")
    assert house.may_not(PEOPLE["admin"], "balcony", change) == "resource-constraint"
    house.administer(PEOPLE["admin"], "balcony", affiliation("last@example.org", "none"), change)


@pytest.mark.parametrize("length", [MAX_REASON - 1, MAX_REASON, MAX_REASON + 1])
def test_how_much_of_a_reason_is_passed_on(length):
    house = the_house()
    sent = house.administer(PEOPLE["admin"], "balcony", role("none", "none", "x" * length))
    [seen] = to(sent, PEOPLE["member"])
    [reason] = seen.iter(f"{{{stanzas.MUC_USER}}}reason")
    assert reason.text == "x" * min(length, MAX_REASON)


# Lists


def listed(house: House, actor: str, item: str) -> list[dict[str, str]]:
    answer = house.answer(PEOPLE[actor], "balcony", f"<query xmlns='{ADMIN}'>{item}</query>")
    return [dict(one.attrib) for one in answer.iter(f"{{{ADMIN}}}item")]


def not_listed(house: House, actor: str, item: str) -> str:
    return house.refused(PEOPLE[actor], "balcony", f"<query xmlns='{ADMIN}'>{item}</query>")


def test_lists_of_affiliations():
    house = the_house()
    assert listed(house, "admin", "<item affiliation='outcast'/>") == [], "an empty list is one"
    house.administer(PEOPLE["admin"], "balcony", affiliation(PEOPLE["none"], "outcast"))
    assert listed(house, "admin", "<item affiliation='outcast'/>") == [
        {"affiliation": "outcast", "jid": "romeo@example.org"}
    ]
    assert listed(house, "owner", "<item affiliation='member'/>") == [
        {"affiliation": "member", "jid": "juliet@example.org"}
    ]
    assert [one["jid"] for one in listed(house, "owner", "<item affiliation='owner'/>")] == [
        "boss@example.org",
        "escalus@example.org",
    ]
    assert [one["jid"] for one in listed(house, "owner", "<item affiliation='admin'/>")] == ["friar@example.org"]


@pytest.mark.parametrize(
    ("wanted", "seeing"),
    [
        ("owner", {"owner"}),
        ("admin", {"owner"}),
        ("member", {"owner", "admin"}),
        ("outcast", {"owner", "admin"}),
    ],
)
def test_who_sees_addresses(wanted, seeing):
    """Occupants do not see each other's addresses (semi-anonymous), so a list of them is for managers."""
    house = the_house()
    for name in PEOPLE:
        question = f"<item affiliation='{wanted}'/>"
        if name in seeing:
            listed(house, name, question)
        else:
            assert not_listed(house, name, question) == "forbidden"


def test_lists_of_roles():
    house = the_house()
    participants = listed(house, "admin", "<item role='participant'/>")
    assert participants == [
        {"affiliation": "member", "role": "participant", "nick": "member", "jid": "juliet@example.org"},
        {"affiliation": "none", "role": "participant", "nick": "none", "jid": "romeo@example.org"},
        {"affiliation": "none", "role": "participant", "nick": "Alice A", "jid": "101@phone.example.org"},
    ]
    assert {one["nick"] for one in listed(house, "owner", "<item role='moderator'/>")} == {"owner", "admin"}
    assert listed(house, "owner", "<item role='visitor'/>") == []


def test_a_muted_phone_is_a_visitor():
    house = the_house()
    house.room("balcony").phone_changed(phone("Alice A", "101", muted=True))
    house.outside.take()
    assert [one["nick"] for one in listed(house, "owner", "<item role='visitor'/>")] == ["Alice A"]


def test_moderators_see_who_may_write_and_managers_who_moderates():
    house = moderating()
    assert listed(house, "none", "<item role='participant'/>")
    assert not_listed(house, "none", "<item role='moderator'/>") == "forbidden"
    assert not_listed(house, "member", "<item role='participant'/>") == "forbidden"


@pytest.mark.parametrize(
    "item",
    [
        "",
        "<item/>",
        "<item affiliation='none'/>",
        "<item role='none'/>",
        "<item role='boss'/>",
        "<item affiliation='boss'/>",
        "<item affiliation='member' role='visitor'/>",
        "<item affiliation='member'/><item affiliation='admin'/>",
    ],
)
def test_lists_that_are_none(item):
    assert not_listed(the_house(), "owner", item) == "bad-request"


def test_an_error_says_who_refuses():
    house = the_house()
    [error] = house.iq(PEOPLE["none"], "balcony", f"<query xmlns='{ADMIN}'><item affiliation='owner'/></query>")
    found: Element | None = error.find(f"{{{stanzas.CLIENT}}}error")
    assert found is not None
    assert found.get("by") == "balcony@conference.example.org"
