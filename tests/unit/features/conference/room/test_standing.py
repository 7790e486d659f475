from __future__ import annotations

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.model import Affiliation, Role
from agi_xmpp.features.conference.room.standing import KICK_TIME
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.hall import ADDRESS, Hall, codes, item, jid, nick_of, the, to

OWNER, ROMEO, MOBILE = "owner@example.org/desk", "romeo@example.org/orchard", "romeo@example.org/mobile"
ALICE = "PJSIP/101-00000001"


def reason(presence):
    found = the(presence, f"{{{stanzas.MUC_USER}}}x/{{{stanzas.MUC_USER}}}item")
    actor = the(found, f"{{{stanzas.MUC_USER}}}actor")
    return (actor.get("nick") if actor is not None else None), found.findtext(f"{{{stanzas.MUC_USER}}}reason")


@pytest.fixture
def hall():
    hall = Hall({"owner@example.org": Affiliation.OWNER})
    hall.phone_joins(phone())
    hall.join(OWNER, "Owner")
    hall.join(ROMEO, "Romeo")
    hall.join(MOBILE, "Romeo")
    return hall


@pytest.fixture
def owner(hall):
    return hall.room.occupants["Owner"]


# Roles


def test_who_is_thrown_out_goes_with_all_clients(hall, owner):
    hall.room.set_role("Romeo", Role.NONE, owner, "enough")
    sent = hall.outside.take()
    for full in (ROMEO, MOBILE):
        (gone,) = to(sent, full)
        assert (gone.get("type"), codes(gone), item(gone)["role"]) == ("unavailable", [110, 307], "none")
        assert reason(gone) == ("Owner", "enough")
    (seen,) = to(sent, OWNER)
    assert (nick_of(seen), codes(seen), reason(seen)) == ("Romeo", [307], ("Owner", "enough"))
    assert list(hall.room.occupants) == ["Owner"]
    assert hall.outside.notes == [
        f"room {ADDRESS}: Romeo (romeo@example.org) was thrown out by Owner (owner@example.org): enough"
    ]


def test_the_word_is_taken_and_given(hall, owner):
    for role in (Role.VISITOR, Role.PARTICIPANT, Role.MODERATOR):
        hall.room.set_role("Romeo", role, owner, "so")
        sent = hall.outside.take()
        assert {item(one)["role"] for one in sent} == {role.value}
        assert [codes(one) for one in to(sent, ROMEO)] == [[110]]
        assert reason(sent[0]) == ("Owner", "so")
        assert hall.room.occupants["Romeo"].role is role


def test_a_phone_is_muted_by_asterisk_and_shown_so_when_it_is(hall, owner):
    hall.room.set_role("Alice A", Role.VISITOR, owner)
    assert hall.outside.muted == [(ALICE, True)]
    assert hall.outside.take() == []
    hall.room.phone_changed(phone(muted=True))
    assert {item(one)["role"] for one in hall.outside.take()} == {"visitor"}
    hall.room.set_role("Alice A", Role.PARTICIPANT, owner)
    assert hall.outside.muted[-1] == (ALICE, False)


def test_a_phone_is_thrown_out_by_asterisk_and_shown_so_when_it_has_gone(hall, owner):
    hall.room.set_role("Alice A", Role.NONE, owner, "bye")
    assert hall.outside.kicked == [ALICE]
    assert hall.outside.take() == []
    hall.room.phone_left(ALICE)
    sent = hall.outside.take()
    assert {(nick_of(one), one.get("type"), *codes(one)) for one in sent} == {("Alice A", "unavailable", 307)}
    assert reason(sent[0]) == ("Owner", "bye")
    assert item(to(sent, OWNER)[0]) == {"affiliation": "none", "role": "none", "jid": "101@phone.example.org"}


def test_a_phone_that_hangs_up_was_not_thrown_out(hall):
    hall.room.phone_left(ALICE)
    assert {(one.get("type"), *codes(one)) for one in hall.outside.take()} == {("unavailable",)}


def test_a_phone_that_could_not_be_thrown_out_hangs_up_later(hall):
    hall.room.set_role("Alice A", Role.NONE, None)
    hall.outside.pass_time(KICK_TIME.total_seconds())
    hall.room.phone_left(ALICE)
    assert codes(hall.outside.take()[0]) == [307]
    hall.phone_joins(phone())
    hall.room.set_role("Alice A", Role.NONE, None)
    hall.outside.pass_time(KICK_TIME.total_seconds() + 0.001)
    hall.room.phone_left(ALICE)
    assert codes(hall.outside.take()[0]) == []


def test_nobody_is_called_so(hall):
    hall.room.set_role("Nobody", Role.NONE, None)
    assert hall.outside.take() == []


# Affiliations


def test_who_is_banned_goes_and_stays_out(hall, owner):
    hall.room.set_affiliation(jid(ROMEO), Affiliation.OUTCAST, owner, "spam")
    sent = hall.outside.take()
    (gone,) = to(sent, ROMEO)
    assert (gone.get("type"), codes(gone)) == ("unavailable", [110, 301])
    assert item(gone) == {"affiliation": "outcast", "role": "none", "jid": ROMEO}
    assert [codes(one) for one in to(sent, OWNER)] == [[301]]
    assert hall.room.affiliations[jid("romeo@example.org")] is Affiliation.OUTCAST
    assert hall.changes == 1
    assert hall.outside.notes == [
        f"room {ADDRESS}: romeo@example.org is outcast now by Owner (owner@example.org): spam"
    ]
    assert [one.get("type") for one in hall.join(ROMEO, "Romeo")] == ["error"]


def test_a_domain_is_banned_but_its_owners(hall):
    hall.room.set_affiliation(jid("example.org"), Affiliation.OUTCAST, None)
    assert list(hall.room.occupants) == ["Owner"]


def test_a_phone_is_banned_by_its_address(hall, owner):
    hall.room.set_affiliation(jid("101@phone.example.org"), Affiliation.OUTCAST, owner, "noise")
    assert hall.outside.kicked == [ALICE]
    hall.room.phone_left(ALICE)
    sent = hall.outside.take()
    assert [codes(one) for one in to(sent, OWNER)] == [[301]]
    assert item(sent[0])["affiliation"] == "outcast"


@pytest.mark.parametrize(
    ("affiliation", "role"),
    [
        (Affiliation.MEMBER, "participant"),
        (Affiliation.ADMIN, "moderator"),
        (Affiliation.OWNER, "moderator"),
    ],
)
def test_a_new_affiliation_brings_its_role(hall, owner, affiliation, role):
    hall.room.set_affiliation(jid(ROMEO), affiliation, owner, "so")
    sent = to(hall.outside.take(), ROMEO)
    assert [(item(one)["affiliation"], item(one)["role"], codes(one)) for one in sent] == [
        (affiliation.value, role, [110])
    ]
    hall.room.set_affiliation(jid(ROMEO), Affiliation.NONE, owner)
    assert item(to(hall.outside.take(), ROMEO)[0])["role"] == "participant"
    assert jid("romeo@example.org") not in hall.room.affiliations


def test_a_role_that_a_moderator_gave_stays(hall, owner):
    hall.room.set_role("Romeo", Role.MODERATOR, owner)
    hall.room.set_affiliation(jid(ROMEO), Affiliation.MEMBER, owner)
    assert hall.room.occupants["Romeo"].role is Role.MODERATOR


def test_a_visitor_who_becomes_a_member_gets_the_word():
    hall = Hall(moderated=True)
    hall.join(ROMEO, "Romeo")
    assert hall.members()["Romeo"] == ("visitor", "none")
    hall.room.set_affiliation(jid(ROMEO), Affiliation.MEMBER, None)
    assert hall.members()["Romeo"] == ("participant", "member")


def test_who_is_no_member_any_more_leaves_a_members_only_room():
    hall = Hall({"romeo@example.org": Affiliation.MEMBER}, members_only=True)
    hall.join(ROMEO, "Romeo")
    hall.room.set_affiliation(jid(ROMEO), Affiliation.NONE, None)
    (gone,) = hall.outside.take()
    assert (codes(gone), item(gone)["affiliation"]) == ([110, 321], "none")
    assert not hall.room.occupants


def test_the_standing_of_somebody_who_is_not_in_is_remembered(hall):
    hall.room.set_affiliation(jid("nurse@example.org"), Affiliation.MEMBER, None)
    assert hall.outside.take() == []
    assert hall.changes == 1
    assert item(to(hall.join("nurse@example.org/x", "Nurse"), OWNER)[0])["affiliation"] == "member"
