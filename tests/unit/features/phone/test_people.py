"""The user map: who is meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.config import PhoneSettings
from agi_xmpp.errors import ConfigError, Refused
from agi_xmpp.features.phone.people import People, escape, unescape
from agi_xmpp.xmpp.jid import parse


def people(**users):
    return from_map({f"{name}@example.org": user for name, user in users.items()})


def from_map(users, **phone):
    return People(PhoneSettings(account="pbx", context="internal", user=users, **phone))


HOUSE = {
    "alice@example.org": {"devices": ["PJSIP/101", "PJSIP/201"], "name": "Alice Archer"},
    "bob@example.org": {"devices": ["PJSIP/102"], "name": "Bob"},
    "d\\27artagnan@example.org": {"devices": ["SIP/103"], "extension": "musketeer"},
    "bobby@example.org": {"devices": ["PJSIP/104"], "name": "Robert Archer"},
}


def local(person):
    return person and person.jid.local


def test_an_address_is_somebodys_whatever_the_resource():
    house = from_map(HOUSE)
    assert local(house.by_jid(parse("Alice@Example.org/Spark"))) == "alice"
    assert house.by_jid(parse("alice@evil.example")) is None
    assert house.by_jid(parse("example.org")) is None


def test_a_device_is_somebodys():
    house = from_map(HOUSE)
    assert local(house.by_device("PJSIP/201")) == "alice"
    assert local(house.by_device("pjsip/201")) == "alice"
    assert house.by_device("PJSIP/2010") is None
    assert house.by_device("SIP/201") is None


def test_an_extension_reaches_somebody():
    house = from_map(HOUSE)
    assert local(house.by_extension("101")) == "alice"
    assert local(house.by_extension("musketeer")) == "d\\27artagnan"
    assert house.by_extension("103") is None
    assert house.by_extension("201") is None


@pytest.mark.parametrize(
    ("node", "who"),
    [
        ("alice", "alice"),
        ("ALICE", "alice"),
        ("alice@example.org", "alice"),
        ("ALICE@EXAMPLE.ORG", "alice"),
        ("alice@example.org/Spark", "alice"),
        ("d'artagnan", "d\\27artagnan"),
        ("D'Artagnan", "d\\27artagnan"),
        ("d\\27artagnan", "d\\27artagnan"),
        ("d\\27artagnan@example.org", "d\\27artagnan"),
        ("alice@evil.example", None),
        ("zoe", None),
        ("zoe@example.org", None),
        ("example.org", None),
        ("", None),
        ("a@b@c", None),
        ("\0", None),
    ],
)
def test_a_node_means_somebody(node, who):
    assert local(from_map(HOUSE).by_node(node)) == who


def test_people_of_two_domains_are_told_apart():
    both = from_map({"alice@a.org": {"devices": ["PJSIP/1"]}, "alice@b.org": {"devices": ["PJSIP/2"]}})
    assert both.by_node("alice") is None
    assert both.by_node("alice@a.org").extension == "1"
    assert both.by_node("alice@b.org").extension == "2"
    assert [person.local for person in both] == ["alice\\40a.org", "alice\\40b.org"]
    assert both.by_contact("alice\\40b.org").extension == "2"
    assert both.by_contact("alice") is None
    with pytest.raises(Refused, match=r"“alice” could be alice \(1\), alice \(2\). Which one\?"):
        both.find("alice")
    assert both.find("alice@b.org").extension == "2"


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("101", "alice"),
        (" 101 ", "alice"),
        ("alice@example.org", "alice"),
        ("Alice@Example.org/pc", "alice"),
        ("ali", "alice"),
        ("ALICE  archer", "alice"),
        ("alice a", "alice"),
        ("Bob", "bob"),  # the whole name goes before the beginning of another
        ("bobb", "bobby"),
        ("rob", "bobby"),
        ("robert archer", "bobby"),
        ("musketeer", "d\\27artagnan"),
        ("d'art", "d\\27artagnan"),
        ("1", None),  # digits are a number, never the beginning of a name
        ("10", None),
        ("zoe", None),
        ("zoe@example.org", None),
        ("", None),
        ("alice@", None),
    ],
)
def test_people_find_each_other(text, who):
    assert local(from_map(HOUSE).find(text)) == who


ACCENTS = {
    "u@x.org": {"devices": ["PJSIP/1"], "name": "Uli Müller"},
    "c@x.org": {"devices": ["PJSIP/2"], "name": "Carol Öztürk"},
    "g@x.org": {"devices": ["PJSIP/3"], "name": "Gisela Groß"},
    "r@x.org": {"devices": ["PJSIP/4"], "name": "Rene\u0301 Dupont"},
    "m@x.org": {"devices": ["PJSIP/5"], "name": "Max Moeller"},
}


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("müller", "u"),
        ("MÜLLER", "u"),
        ("mu\u0308ller", "u"),
        ("mueller", "u"),
        ("muller", "u"),
        ("uli mue", "u"),
        ("öz", "c"),
        ("oz", "c"),
        ("carol oeztuerk", "c"),
        ("ozturk", "c"),
        ("gross", "g"),
        ("GROSS", "g"),
        ("ren\u00e9", "r"),
        ("rene", "r"),
        ("möller", "m"),
        ("moller", None),
    ],
)
def test_names_are_found_without_their_accents(text, who):
    assert local(from_map(ACCENTS).find(text)) == who


def test_who_is_written_exactly_so_is_meant():
    house = from_map({**ACCENTS, "v@x.org": {"devices": ["PJSIP/6"], "name": "Vera Muller"}})
    assert local(house.find("Muller")) == "v"
    assert local(house.find("Müller")) == "u"
    assert local(house.find("mueller")) == "u"


def test_who_could_be_several_people_is_told_which():
    with pytest.raises(Refused) as caught:
        from_map(HOUSE).find("archer")
    assert str(caught.value) == "“archer” could be Alice Archer (101), Robert Archer (104). Which one?"
    assert caught.value.condition == "not-acceptable"


@pytest.mark.parametrize(("count", "listed"), [(5, "Ann 4 (4). Which"), (6, "Ann 4 (4) and 1 more. Which")])
def test_a_long_list_of_people_is_cut(count, listed):
    house = people(**{f"u{index}": {"devices": [f"PJSIP/{index}"], "name": f"Ann {index}"} for index in range(count)})
    with pytest.raises(Refused) as caught:
        house.find("ann")
    assert listed in str(caught.value)


def test_names_and_patterns_have_defaults():
    house = from_map({**HOUSE, "eve@x.org": {"devices": ["PJSIP/9"], "dial": ["_0X."]}}, dial=["_6XX"])
    assert house.by_node("d'artagnan").name == "d'artagnan"
    assert house.by_node("alice").dial == ("_6XX",)
    assert house.by_node("eve").dial == ("_0X.",)
    none = from_map({"eve@x.org": {"devices": ["PJSIP/9"], "dial": []}}, dial=["_6XX"])
    assert none.by_node("eve").dial == ()


def test_what_is_no_address_is_a_mistake_of_the_configuration():
    with pytest.raises(ConfigError, match=r"phone.user: .*is not a Jabber ID"):
        from_map({"a@x..org": {"devices": ["PJSIP/1"]}})


def test_one_address_spelt_twice_is_a_mistake_of_the_configuration():
    with pytest.raises(ConfigError, match="are the same address"):
        from_map({"stra\u00dfe@x.org": {"devices": ["PJSIP/1"]}, "\uff53trasse@x.org": {"devices": ["PJSIP/2"]}})


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [  # XEP-0106 section 5.1
        ("space cadet", "space\\20cadet"),
        ('call me "ishmael"', "call\\20me\\20\\22ishmael\\22"),
        ("at&t guy", "at\\26t\\20guy"),
        ("d'artagnan", "d\\27artagnan"),
        ("/.fanboy", "\\2f.fanboy"),
        ("::foo::", "\\3a\\3afoo\\3a\\3a"),
        ("<foo>", "\\3cfoo\\3e"),
        ("user@host", "user\\40host"),
        ("c:\\net", "c\\3a\\net"),
        ("c:\\\\net", "c\\3a\\\\net"),
        ("c:\\cool stuff", "c\\3a\\cool\\20stuff"),
        ("c:\\5commas", "c\\3a\\5c5commas"),
        ("\\2plus\\2is\\4", "\\2plus\\2is\\4"),
    ],
)
def test_local_parts_are_escaped(plain, escaped):
    assert escape(plain) == escaped
    assert unescape(escaped) == plain


@given(st.text(alphabet="ab\\205c7@/'", max_size=12))
def test_escaping_loses_nothing(text):
    assert unescape(escape(text)) == text


def test_everybody_is_listed():
    house = from_map(HOUSE)
    assert len(house) == 4
    assert [person.extension for person in house] == ["101", "102", "musketeer", "104"]
