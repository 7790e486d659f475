"""What the service and its rooms answer to who wants to know them."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

import pytest

from agi_xmpp.errors import Refused
from agi_xmpp.features.conference.model import RoomConfig
from agi_xmpp.features.conference.rooms import discovery
from agi_xmpp.features.conference.rooms.discovery import PAGE, Listed
from agi_xmpp.features.conference.stanzas import DISCO_INFO, DISCO_ITEMS, FORMS, RSM
from agi_xmpp.xmpp.model import Jid


def features(query: Element) -> set[str]:
    return {feature.get("var", "") for feature in query.iter(f"{{{DISCO_INFO}}}feature")}


def fields(query: Element) -> dict[str, str | None]:
    return {field.get("var", ""): field.findtext(f"{{{FORMS}}}value") for field in query.iter(f"{{{FORMS}}}field")}


def identity(query: Element) -> dict[str, str]:
    [found] = query.iter(f"{{{DISCO_INFO}}}identity")
    return dict(found.attrib)


def room_info(config: RoomConfig, *, archived: bool = False) -> Element:
    return discovery.room_info(config, "Roses", 3, 20, archived=archived)


def test_the_service_is_one_of_rooms():
    info = discovery.service_info()
    assert identity(info) == {"category": "conference", "type": "text", "name": "Conferences"}
    assert features(info) >= {
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "http://jabber.org/protocol/muc",
        "http://jabber.org/protocol/muc#stable_id",
        "urn:xmpp:ping",
    }


def test_a_room_says_what_it_is():
    info = room_info(RoomConfig("Balcony", "Fresh air", subject_by_all=True))
    assert identity(info)["name"] == "Balcony"
    assert features(info) >= {
        "http://jabber.org/protocol/muc",
        "http://jabber.org/protocol/muc#stable_id",
        "muc_semianonymous",
        "muc_open",
        "muc_unmoderated",
        "muc_unsecured",
        "muc_temporary",
        "muc_public",
        "urn:xmpp:sid:0",
        "urn:xmpp:occupant-id:0",
    }
    assert fields(info) == {
        "FORM_TYPE": "http://jabber.org/protocol/muc#roominfo",
        "muc#roomconfig_roomname": "Balcony",
        "muc#roominfo_description": "Fresh air",
        "muc#roominfo_subject": "Roses",
        "muc#roominfo_subjectmod": "1",
        "muc#roominfo_occupants": "3",
        "muc#maxhistoryfetch": "20",
    }


def test_a_room_with_everything_says_so():
    config = RoomConfig(
        "x", password="hush", members_only=True, moderated=True, public=False, persistent=True, subject_by_all=False
    )
    told = features(room_info(config, archived=True))
    assert told >= {
        "muc_membersonly",
        "muc_moderated",
        "muc_passwordprotected",
        "muc_persistent",
        "muc_hidden",
        "urn:xmpp:mam:2",
        "urn:xmpp:mam:2#extended",
    }
    assert told.isdisjoint({"muc_open", "muc_unmoderated", "muc_unsecured", "muc_temporary", "muc_public"})


def test_a_room_keeps_its_password_to_itself():
    assert "hush" not in str([*fields(room_info(RoomConfig("x", password="hush"))).values()])


def test_only_a_room_that_keeps_messages_offers_them():
    assert "urn:xmpp:mam:2" not in features(room_info(RoomConfig("x")))


# Lists


def rooms(count: int) -> list[Listed]:
    return [Listed(Jid(f"{number:05}", "c.org"), f"Room {number}") for number in range(count)]


def ask(inside: str = "") -> Element:
    wanted = f"<set xmlns='{RSM}'>{inside}</set>" if inside else ""
    return fromstring(f"<query xmlns='{DISCO_ITEMS}'>{wanted}</query>")


def listed(query: Element) -> list[str]:
    return [item.get("jid", "").partition("@")[0] for item in query.iter(f"{{{DISCO_ITEMS}}}item")]


def page(query: Element) -> dict[str, str | None]:
    return {name: query.findtext(f"{{{RSM}}}set/{{{RSM}}}{name}") for name in ("first", "last", "count")}


def test_a_short_list_comes_whole_and_in_order():
    answer = discovery.items([Listed(Jid("b", "c.org"), "B (2)"), Listed(Jid("a", "c.org"), "")], ask())
    assert [dict(item.attrib) for item in answer] == [{"jid": "a@c.org"}, {"jid": "b@c.org", "name": "B (2)"}]


@pytest.mark.parametrize(
    ("count", "shown", "paged"), [(PAGE - 1, PAGE - 1, False), (PAGE, PAGE, False), (PAGE + 1, PAGE, True)]
)
def test_a_list_that_is_too_long_for_one_answer_says_that_there_is_more(count, shown, paged):
    answer = discovery.items(rooms(count), ask())
    assert len(listed(answer)) == shown
    assert (page(answer)["count"] == str(count)) is paged


def test_a_list_page_by_page_is_the_whole_list():
    everything = rooms(7)
    seen: list[str] = []
    after = ""
    while True:
        answer = discovery.items(everything, ask(f"<max>3</max>{after}"))
        if not listed(answer):
            break
        seen += listed(answer)
        assert page(answer)["count"] == "7"
        after = f"<after>{page(answer)['last']}</after>"
    assert seen == [f"{number:05}" for number in range(7)]


def test_no_page_is_longer_than_ours():
    assert len(listed(discovery.items(rooms(PAGE + 5), ask("<max>999999999</max>")))) == PAGE


def test_who_wants_nothing_gets_the_count():
    answer = discovery.items(rooms(7), ask("<max>0</max>"))
    assert listed(answer) == []
    assert page(answer) == {"first": None, "last": None, "count": "7"}


@pytest.mark.parametrize(
    ("inside", "condition"),
    [
        ("<max>many</max>", "bad-request"),
        ("<max>-1</max>", "bad-request"),
        (f"<max>{'9' * 5000}</max>", "bad-request"),
        ("<max>²</max>", "bad-request"),
        ("<before/>", "feature-not-implemented"),
    ],
)
def test_pages_that_cannot_be(inside, condition):
    with pytest.raises(Refused) as caught:
        discovery.items(rooms(3), ask(inside))
    assert caught.value.condition == condition
