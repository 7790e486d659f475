"""``[conference]``: what is right, and what is said about everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agi_xmpp.config import ConferenceSettings, parse
from agi_xmpp.errors import ConfigError

ROOMS = {"type": "component", "jid": "conference.example.org", "password": "s3cr3t-word"}
PHONES = {"type": "component", "jid": "phone.example.org", "password": "s3cr3t-word"}
GARDEN = "garden@rooms.example.org"


def conference(*, sections: Any = None, **keys: Any) -> ConferenceSettings:
    """Read a file with ``[conference]`` in it; ``sections`` come besides, or instead of what else there is."""
    file = {
        "account": {"rooms": ROOMS, "phones": PHONES, "bot": {"jid": "bot@example.org", "password": "s3cr3t-word"}},
        "ami": {"username": "u", "password": "p4ssword"},
        "conference": {"account": "rooms", "context": "conferences", **keys},
        **(sections or {}),
    }
    found = parse(file, "test").conference
    assert found is not None
    return found


def room(**keys: Any) -> dict[str, Any]:
    return {"room": {"balcony": {"number": "6000", **keys}}}


def test_little_is_needed() -> None:
    settings = conference()
    assert (settings.rooms, settings.room, settings.phones, settings.sip.endpoint) == ([], {}, "", "agi-xmpp")
    assert (settings.sip.host, settings.sip.port, settings.sip.sources) == ("127.0.0.1", 5060, [])


def test_a_room(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("opensesame\n")
    people: Any = {"owners": ["ann@x.org"], "members": ["bob@x.org"]}
    found = conference(**room(title="Balcony ✓", password_file=path, **people)).room["balcony"]
    assert (found.number, found.title, found.secret()) == ("6000", "Balcony ✓", "opensesame")
    assert (found.owners, found.admins, found.members) == (["ann@x.org"], [], ["bob@x.org"])


def test_the_passwords_show_in_no_text() -> None:
    settings = conference(sip={"password": "geheim-1"}, **room(password="geheim-2"))
    assert (settings.sip.secret(), settings.room["balcony"].secret()) == ("geheim-1", "geheim-2")
    assert "geheim" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("max_rooms", 1, 10_000),
        ("max_occupants", 1, 10_000),
        ("history", 0, 500),
        ("archive_days", 0, 3650),
        ("invite_time", 1, 600),
        ("return_time", 1, 86_400),
    ],
)
def test_limits(key: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(conference(**{key: value}), key) == value
    for value in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=rf"conference\.{key}: "):
            conference(**{key: value})


@pytest.mark.parametrize(("key", "low", "high", "step"), [("port", 1, 65535, 1), ("timeout", 0.5, 32, 0.1)])
def test_limits_of_our_call(key: str, low: float, high: float, step: float) -> None:
    for value in (low, high):
        assert getattr(conference(sip={key: value}).sip, key) == value
    for value in (low - step, high + step):
        with pytest.raises(ConfigError, match=rf"conference\.sip\.{key}: "):
            conference(sip={key: value})


@pytest.mark.parametrize(
    ("keys", "length"),
    [("title", 200), ("description", 1000)],
)
def test_texts_of_a_room(keys: str, length: int) -> None:
    for right in ("", "x", "x" * (length - 1), "x" * length):
        assert getattr(conference(**room(**{keys: right})).room["balcony"], keys) == right
    with pytest.raises(ConfigError, match=f"{keys}: "):
        conference(**room(**{keys: "x" * (length + 1)}))
    with pytest.raises(ConfigError, match="holds a line break"):
        conference(**room(**{keys: "one\ntwo"}))


@pytest.mark.parametrize("endpoint", ["a", "agi-xmpp_2.x", "e" * 79])
def test_endpoints(endpoint: str) -> None:
    assert conference(sip={"endpoint": endpoint}).sip.endpoint == endpoint
    assert conference(texts_outside_calls=[endpoint]).texts_outside_calls == [endpoint]


@pytest.mark.parametrize("endpoint", ["", "a b", "a/b", "a@b", "e" * 80])
def test_what_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"conference\.sip\.endpoint: .* is no endpoint of pjsip\.conf"):
        conference(sip={"endpoint": endpoint})
    with pytest.raises(ConfigError, match=r"conference\.texts_outside_calls\.1: .* is no endpoint of pjsip\.conf"):
        conference(texts_outside_calls=["carol", endpoint])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_texts_stay_on_this_machine(host: str) -> None:
    assert conference(sip={"host": host}).sip.host == host


def test_texts_go_to_another_machine_if_somebody_says_so() -> None:
    with pytest.raises(ConfigError, match=r"conference\.sip: host 'pbx\.x' is another machine.*accept_unencrypted"):
        conference(sip={"host": "pbx.x"})
    assert conference(sip={"host": "pbx.x", "accept_unencrypted": True}).sip.host == "pbx.x"


@pytest.mark.parametrize("key", ["6000", "balcony", "küche", "a.b-c_d", "x" * 64])
def test_names_of_rooms(key: str) -> None:
    assert list(conference(room={key: {"number": "6000"}}).room) == [key]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "conference.room.: '' is not the part of an address before the @"),
        ("the balcony", "is not the part of an address"),
        ("balcony@x.org", "is not the part of an address"),
        ("a/b", "is not the part of an address"),
        ("a:b", "is not the part of an address"),
        ("x" * 256, "is not the part of an address"),
        ("Balcony", "'Balcony' must be written as addresses have it: 'balcony'"),
        ("straße", "must be written as addresses have it: 'strasse'"),
    ],
)
def test_what_is_no_name_of_a_room(key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        conference(room={key: {"number": "6000"}})
    assert words in str(caught.value)


def test_the_longest_name_of_a_room() -> None:
    for length in (254, 255):
        assert conference(room={"x" * length: {"number": "6000"}}).room


@pytest.mark.parametrize(
    ("rooms", "words"),
    [
        ({"a1": {"number": "6000"}, "b1": {"number": "6000"}}, "rooms 'a1' and 'b1' are both '6000'"),
        ({"a1": {"number": "Main-Hall"}, "mainhall": {}}, "rooms 'a1' and 'mainhall' are both 'mainhall'"),
        ({"6000": {}, "b1": {"number": "6000"}}, "rooms '6000' and 'b1' are both '6000'"),
        ({"6000": {"number": "6001"}, "b1": {"number": "6000"}}, "rooms '6000' and 'b1' are both '6000'"),
        ({"6000": {"muc": GARDEN}, "6001": {"muc": GARDEN.upper()}}, f"are both '{GARDEN}'"),
        ({"küche": {}}, "room 'küche': the number 'küche' cannot be dialled: it is no extension: set number"),
        ({"h": {}}, "the number 'h' cannot be dialled: Asterisk enters it by itself: set number"),
        ({"a1": {"number": "60.00"}}, "the number '60.00' cannot be dialled: no dot or hyphen among digits"),
        ({"a1": {"number": "_6XXX"}}, "the number '_6XXX' cannot be dialled: it is no extension"),
    ],
)
def test_rooms_that_are_none_or_the_same(rooms: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        conference(room=rooms)
    assert words in str(caught.value)


def test_rooms_that_differ() -> None:
    rooms: dict[str, Any] = {"6000": {}, "6001": {"number": "6001"}, "b1": {"number": "6002"}, "c1": {"muc": GARDEN}}
    assert len(conference(phones="phones", room=rooms).room) == 4


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"sip": {"password": "a", "password_env": "B"}}, "conference.sip: needs one password at the most"),
        ({"sip": {"password": "change-me"}}, "set the endpoint's own"),
        (room(password="a", password_env="B"), "conference.room.balcony: needs one password at the most"),
        (room(password="secret"), "set the room's own"),
        (room(owner=["ann@x.org"]), "conference.room.balcony.owner: unknown key; did you mean owners?"),
        (room(owners=["x.org"]), "conference.room.balcony.owners.0: 'x.org' is not a bare Jabber ID"),
        (room(members=["a@x.org/pc"]), "balcony.members.0: 'a@x.org/pc' is not a bare Jabber ID"),
        (room(subject="all"), "conference.room.balcony.subject: "),
        (room(muc="rooms.example.org"), "conference.room.balcony.muc: 'rooms.example.org' is not a room"),
        (room(muc=GARDEN, members_only=True), "members_only has no effect beside muc"),
        (room(muc=GARDEN, admins=[]), "admins has no effect beside muc"),
        (room(muc="garden@conference.example.org"), "conference.room.balcony.muc: garden@conference.example.org is at"),
        ({"context": "a b"}, "conference.context: 'a b' is no context"),
        ({"invite_context": ""}, "conference.invite_context: '' is no context"),
        ({"rooms": ["6XXX"]}, "conference.rooms.0: '6XXX' is no pattern without an underscore"),
        ({"allow": ["*"]}, "conference.allow.0: '*' is neither"),
        ({"owners": ["ann"]}, "conference.owners.0: 'ann' is not a bare Jabber ID"),
        ({"sip": {"bind": "a b"}}, "conference.sip.bind: 'a b' is no address of this machine"),
        ({"account": "none"}, "conference.account: there is no account 'none'; known: rooms, phones, bot"),
        ({"account": "bot"}, "conference.account: account 'bot' is no component"),
        ({"phones": "none"}, "conference.phones: there is no account 'none'"),
        ({"phones": "bot"}, "conference.phones: account 'bot' is no component"),
        ({"phones": "rooms"}, "conference.phones: phones need another component than the rooms"),
        ({"phones": "phones", **room(muc="g@Phone.example.org")}, "g@Phone.example.org is at a domain of our own"),
        (room(muc=GARDEN), f"conference.room.balcony.muc: phones need addresses of their own to enter {GARDEN}"),
        ({"sections": {"ami": None}}, "[conference] needs [ami]"),
        (
            {"sections": {"phone": {"account": "rooms", "context": "internal"}}},
            "conference.account: conference.example.org has the phones ([phone])",
        ),
        (
            {"sections": {"account": {"rooms": {**ROOMS, "jid": "Lobby@conference.example.org/x"}}}}
            | {"room": {"lobby": {"number": "1"}}},
            "conference.room.lobby: Lobby@conference.example.org/x is our own address",
        ),
    ],
)
def test_what_is_wrong(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        conference(**keys)
    assert words in str(caught.value)


def test_what_is_right_beside_other_sections() -> None:
    phone = {"account": "phones", "context": "internal"}
    settings = conference(
        phones="phones", sections={"phone": phone}, **room(muc=GARDEN, password="geheim", public=False)
    )
    assert settings.room["balcony"].muc == GARDEN


@pytest.mark.parametrize(
    ("hep", "place"),
    [
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]:9060", ("::1", 9060)),
        ("127.8.0.1:09060", ("127.8.0.1", 9060)),
    ],
)
def test_where_copies_of_sip_packets_come(hep, place):
    assert conference(sip={"hep": hep}).sip.hep_place == place


@pytest.mark.parametrize(
    "hep", ["9060", ":9060", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "::1:9060", "a b:1", "x:1\n"]
)
def test_what_is_no_place_for_copies(hep):
    with pytest.raises(ConfigError, match=r"conference\.sip\.hep: .* is no address and UDP port to listen on"):
        conference(sip={"hep": hep})


def test_copies_come_by_loopback_unless_said_otherwise():
    for hep in ("0.0.0.0:9060", "192.0.2.1:9060", "pbx.x:9060"):
        with pytest.raises(ConfigError, match=r"conference\.sip: hep .* takes copies .* accept_unencrypted"):
            conference(sip={"hep": hep})
        assert conference(sip={"hep": hep, "accept_unencrypted": True}).sip.hep == hep
