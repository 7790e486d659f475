"""[phone] in the configuration file: what is right, and what is said about everything else."""

from __future__ import annotations

import pytest

from agi_xmpp.config import PhoneUser, load, parse
from agi_xmpp.errors import ConfigError

ACCOUNT = {"jid": "phone@example.org", "password": "s3cr3t-word"}
ALICE = {"alice@example.org": {"devices": ["PJSIP/101"]}}


def file(users=ALICE, **settings):
    return {
        "account": {"pbx": ACCOUNT},
        "ami": {"username": "u", "password": "p4ssword"},
        "phone": {"account": "pbx", "context": "internal", "user": users, **settings},
    }


def phone(users=ALICE, **settings):
    found = parse(file(users, **settings), "f.toml").phone
    assert found is not None
    return found


def complaint(data):
    with pytest.raises(ConfigError) as caught:
        parse(data, "f.toml")
    return str(caught.value)


def test_a_user_needs_a_device_and_nothing_else():
    settings = phone()
    assert settings.user["alice@example.org"].number == "101"


@pytest.mark.parametrize(
    ("written", "taken"),
    [("pjsip/101", "PJSIP/101"), ("PJSIP/101", "PJSIP/101"), ("local/5@ctx", "Local/5@ctx"), ("Own/Ab", "Own/Ab")],
)
def test_a_device_is_named_as_asterisks_events_name_it(written, taken):
    assert PhoneUser(devices=[written], extension="1").devices == [taken]


def test_the_extension_may_differ_from_the_device():
    settings = phone({"a@x.org": {"devices": ["PJSIP/desk@1"], "extension": "front-desk"}})
    assert settings.user["a@x.org"].number == "front-desk"


@pytest.mark.parametrize(
    ("users", "words"),
    [
        ({"a@x.org": {"devices": ["PJSIP/1"]}, "A@X.org": {"devices": ["PJSIP/2"]}}, ["same address", "'A@X.org'"]),
        (
            {"a@x.org": {"devices": ["PJSIP/1"]}, "b@x.org": {"devices": ["PJSIP/2", "pjsip/1"]}},
            ["same device PJSIP/1"],
        ),
        (
            {"a@x.org": {"devices": ["PJSIP/1"]}, "b@x.org": {"devices": ["PJSIP/2"], "extension": "1"}},
            ["'a@x.org' and 'b@x.org'", "same extension 1"],
        ),
        ({"a@x.org": {"devices": ["PJSIP/1", "PJSIP/1"]}}, ["same device twice"]),
        ({"a@x.org": {"devices": []}}, ["phone.user.a@x.org.devices"]),
        ({"a@x.org": {"devices": ["PJSIP/a&SIP/b"]}}, ["phone.user.a@x.org.devices.0"]),
        ({"a@x.org": {"devices": ["PJSIP/desk@1"]}}, ["'desk@1'", "set extension"]),
        ({"a@x.org": {"devices": ["PJSIP/_X"]}}, ["'_X'", "set extension"]),
        ({"a@x.org": {"devices": ["PJSIP/1"], "extension": "10-1"}}, ["'10-1' cannot be dialled"]),
        ({"a@x.org": {"devices": ["PJSIP/1"], "extension": "t"}}, ["'t' cannot be dialled"]),
        ({"a@x.org": {"devices": ["PJSIP/1"], "extension": "1,2"}}, ["phone.user.a@x.org.extension"]),
        ({"a": {"devices": ["PJSIP/1"]}}, ["'a' is not a bare Jabber ID"]),
        ({"a@x.org/pc": {"devices": ["PJSIP/1"]}}, ["not a bare Jabber ID"]),
        ({"a@x.org": {"device": ["PJSIP/1"]}}, ["phone.user.a@x.org.device: unknown key", "did you mean devices?"]),
    ],
)
def test_what_is_wrong_with_the_user_map_is_said(users, words):
    text = complaint(file(users))
    assert all(word in text for word in words), text


@pytest.mark.parametrize("pattern", ["_NXX", "_+49X.", "_[1-5]XX", "601", "*97", "_X!", "_.", "front-desk", "_[+]1"])
def test_patterns_of_the_dialplan_are_taken(pattern):
    assert phone(dial=[pattern]).dial == [pattern]


@pytest.mark.parametrize(
    "pattern", ["", "_", "_1.2", "_1!2", "_[1", "_1]", "_[]", "6 01", "_X,1", "_X/1", "1\n", "_X" * 41]
)
def test_patterns_that_would_mean_something_else_are_not(pattern):
    assert "phone.dial.0" in complaint(file(dial=[pattern]))


@pytest.mark.parametrize("pattern", ["6XX", "X.", "NXXXXXX", "+49X.", "0."])
def test_a_pattern_without_its_underscore_is_pointed_out(pattern):
    assert f"write '_{pattern}'" in complaint(file(dial=[pattern]))


@pytest.mark.parametrize("number", ["601", "*98", "front-desk", "NORA", "+4930"])
def test_a_number_needs_no_underscore(number):
    assert phone(dial=[number]).dial == [number]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"users": {"a@x.org": {"devices": ["101"]}}}, "devices.0: '101' is no device: write it as Dial() has it"),
        ({"users": {"a@x.org": {"devices": "PJSIP/1"}}}, "devices: must be a list in brackets"),
        ({"users": {"a@x.org": {"devices": []}}}, "devices: must not be empty"),
        ({"users": {"a@x.org": {"devices": ["PJSIP/1"], "extension": "1 2"}}}, "extension: '1 2' is no extension"),
        ({"users": {"a@x.org": {"devices": ["PJSIP/1"], "notes": "maybe"}}}, "notes: must be true or false"),
        ({"dial": ["_[1"]}, "dial.0: '_[1' is no pattern as in extensions.conf"),
        ({"context": "my phones"}, "context: 'my phones' is no context"),
        ({"ring_time": "long"}, "ring_time: must be a number"),
        ({"book": {"country": "Germany"}}, "book.country: 'Germany' is no country"),
        ({"book": {"ldap": "ldap.example.org"}}, "book.ldap: 'ldap.example.org' is no address of a directory"),
        ({"book": "contacts.csv"}, "book: must be a section"),
    ],
)
def test_complaints_are_in_words(changes, words):
    text = complaint(file(**changes))
    assert words in text
    assert "match pattern" not in text
    assert "\n" not in text


def test_the_manager_users_secret_is_our_password():
    data = file()
    data["ami"]["secret"] = data["ami"].pop("password")
    assert "ami.secret: unknown key; did you mean password?" in complaint(data)


def test_an_address_in_a_heading_needs_quotation_marks(tmp_path):
    path = tmp_path / "agi-xmpp.toml"
    path.write_text('[phone]\naccount = "phone"\n[phone.user.alice@example.org]\ndevices = ["PJSIP/101"]\n')
    with pytest.raises(ConfigError, match=r'needs quotation marks, as in \[phone\.user\."alice@example\.org"\]'):
        load(path)


@pytest.mark.parametrize(
    ("name", "text"), [("A", "1\r\nChannel: PJSIP/9"), ("A", "\0"), ("PJSIP_HEADER(add,X)", "a\n")]
)
def test_a_variable_is_one_line(name, text):
    assert "control character" in complaint(file(variables={name: text}))


def test_a_variable_may_be_a_header():
    name, text = "PJSIP_HEADER(add,Alert-Info)", "<http://localhost>;info=alert-autoanswer"
    assert phone(variables={name: text}).variables == {name: text}


@pytest.mark.parametrize("name", ["", "1A", "A=B", "A B", "A\nB"])
def test_the_name_of_a_variable_is_one(name):
    assert "phone.variables" in complaint(file(variables={name: "x"}))


def test_the_account_must_exist():
    text = complaint(file(account="pxb"))
    assert "phone.account: there is no account 'pxb'; known: pbx" in text


def test_without_ami_there_is_no_phone():
    data = file()
    del data["ami"]
    assert "[phone] needs [ami]" in complaint(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"phone": {"ring_tme": 1}}, ["phone.ring_tme: unknown key", "did you mean ring_time?"]),
        ({"phone": {"user": {"a@x.org": {"device": []}}}}, ["phone.user.a@x.org.device", "did you mean devices?"]),
        ({"phone": {"contxt": "x"}}, ["phone.contxt: unknown key", "did you mean context?"]),
        ({"phone": {"book": {"fles": []}}}, ["phone.book.fles: unknown key", "did you mean files?"]),
        ({"ami": {"user": "x"}}, ["ami.user: unknown key", "did you mean username?"]),
        ({"state": {"dir": "x"}}, ["state.dir: unknown key", "did you mean directory?"]),
        ({"account": {"pbx": {"room": {"r@x.org": {"nik": "x"}}}}}, ["room.r@x.org.nik", "did you mean nick?"]),
    ],
)
def test_an_unknown_key_is_told_with_its_neighbours(change, words):
    text = complaint(change)
    assert all(word in text for word in words), text


@pytest.mark.parametrize("text", ["", "{number}@pbx.example.org", "tel-{number}@x", "{number}@" + "x" * 291])
def test_addresses_of_numbers(text):
    assert phone(records={"external_jid": text}).records.external_jid == text


@pytest.mark.parametrize(
    "text",
    ["pbx.example.org", "number@x.org", "{number}", "{number}@", "{number}@x/y", "{number}{number}@x", "a b{number}@x"],
)
def test_what_is_no_address_of_a_number(text):
    assert "such as '{number}@pbx.example.org'" in complaint(file(records={"external_jid": text}))


def test_an_address_of_numbers_may_be_too_long():
    assert "is no address of a number" in complaint(file(records={"external_jid": "{number}@" + "x" * 292}))


def test_records_are_off_and_the_choices_are_named():
    assert phone().records.send == "none"
    assert phone().records.type == "headline"
    assert "'none', 'missed' or 'all'" in complaint(file(records={"send": "some"}))
    assert "'headline' or 'chat'" in complaint(file(records={"type": "normal"}))
