"""Phones at the door of a room of another service: how they come and go, and what the room makes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere.puppet import ANSWER, State
from agi_xmpp.features.conference.elsewhere.puppet_entrance import NICKS
from tests.unit.features.conference.fakes import phone
from tests.unit.features.conference.garden import GARDEN, Scene, state


class TestComingAndGoing:
    def test_a_phone_is_an_occupant_while_it_is_in_the_conference(self, scene):
        alice = scene.join()
        (entry,) = scene.muc.came
        assert entry.get("from") == "101@phone.example.org/1795245046.101"
        assert entry.get("to") == f"{GARDEN}/Alice A"
        history = entry.find(f"{{{stanzas.MUC}}}x/{{{stanzas.MUC}}}history")
        assert history is not None
        assert history.get("maxstanzas") == "0"
        assert scene.nicks == ["Alice A"]
        scene.room.phone_left(alice.channel)
        assert scene.nicks == []

    def test_the_password_of_the_room_is_given_at_its_door(self):
        scene = Scene("roses")
        scene.began()
        scene.join()
        assert scene.muc.came[0].findtext(f"{{{stanzas.MUC}}}x/{{{stanzas.MUC}}}password") == "roses"

    def test_who_comes_while_there_is_no_stream_enters_with_the_next(self):
        scene = Scene()
        scene.join()
        assert scene.nicks == []
        scene.began()
        assert scene.nicks == ["Alice A"]

    def test_a_nick_that_somebody_has_gets_a_number(self, scene):
        scene.join("Bob B", "102")
        scene.enter("alice a")
        scene.join()
        assert "Alice A (2)" in scene.nicks, "what looks alike is taken"

    def test_a_nick_that_the_room_refuses_gets_a_number(self, scene):
        scene.enter("Alice A")
        scene.join()
        assert scene.nicks == ["Alice A", "Alice A (2)"]

    def test_two_phones_of_one_name_have_two_nicks(self, scene):
        scene.join()
        scene.join("Alice A", "102")
        assert scene.nicks == ["Alice A", "Alice A (2)"]

    @pytest.mark.parametrize("refused", [NICKS, NICKS + 1])
    def test_nicks_are_not_tried_for_ever(self, scene, refused):
        scene.muc.refuses = {f"Alice A ({count})": "conflict" for count in range(2, refused + 1)} | {
            "Alice A": "conflict"
        }
        scene.join()
        assert bool(scene.nicks) is (refused == NICKS)

    def test_a_phone_gets_another_nick_when_its_callers_name_changes(self, scene):
        alice = scene.join()
        scene.room.phone_changed(replace(alice, name="Alice Adams"))
        scene.deliver()
        assert scene.nicks == ["Alice Adams"]
        scene.room.phone_said("Alice Adams", "me")
        assert scene.muc.heard == [("Alice Adams", "me")]

    def test_it_keeps_its_nick_if_the_room_refuses_the_other(self, scene):
        alice = scene.join()
        scene.muc.refuses = {"Alice Adams": "not-allowed"}
        scene.room.phone_changed(replace(alice, name="Alice Adams"))
        scene.deliver()
        assert scene.nicks == ["Alice A"]
        assert state(scene) is State.IN

    def test_what_changes_while_it_enters_is_shown_afterwards(self, scene):
        alice = phone()
        scene.room.phone_joined(alice)
        scene.room.phone_changed(replace(alice, name="Alice Adams", muted=True))
        scene.deliver()
        assert scene.nicks == ["Alice Adams"]
        scene.room.phone_changed(replace(alice, name="Alice A"))
        scene.room.phone_changed(alice)
        scene.room.phone_changed(replace(alice, muted=True))
        scene.deliver()
        assert scene.nicks == ["Alice A"], "to show that it is muted does not ask for the old nick"
        assert scene.muc.came[-1].findtext(f"{{{stanzas.CLIENT}}}status") == "muted"

    def test_the_room_may_give_another_nick(self, scene):
        scene.join()
        scene.enter("Romeo")
        scene.muc.rename(scene.muc.of("Alice A"), "Al")
        scene.deliver()
        scene.room.phone_said("Alice A", "me")
        scene.deliver()
        assert scene.muc.heard == [("Al", "me")]
        assert list(scene.told()) == []

    def test_that_a_phone_is_muted_is_seen(self, scene):
        alice = scene.join()
        scene.room.phone_changed(replace(alice, muted=True))
        assert scene.muc.came[-1].findtext(f"{{{stanzas.CLIENT}}}show") == "away"
        scene.room.phone_changed(alice)
        assert scene.muc.came[-1].find(f"{{{stanzas.CLIENT}}}show") is None

    def test_who_withholds_the_number_afterwards_is_nobody_from_then_on(self, scene):
        alice = scene.join()
        scene.room.phone_changed(replace(alice, name="", number="", withheld=True))
        scene.deliver()
        ((full, nick),) = scene.muc.occupants.items()
        assert (full.local, nick) == ("anonymous", "phone")

    def test_a_call_that_comes_back_at_once_is_in_again(self, scene):
        alice = scene.join()
        scene.room.phone_left(alice.channel)
        scene.room.phone_joined(alice)
        scene.deliver()
        assert scene.nicks == ["Alice A"]
        assert state(scene) is State.IN

    def test_a_caller_who_calls_back_has_the_same_nick(self, scene):
        alice = scene.join()
        scene.room.phone_left(alice.channel)
        scene.room.phone_joined(phone(channel="PJSIP/101-00000002"))
        scene.deliver()
        assert scene.nicks == ["Alice A"]

    def test_a_phone_that_goes_before_it_is_in(self, scene):
        alice = phone()
        scene.room.phone_joined(alice)
        scene.room.phone_left(alice.channel)
        scene.deliver()
        assert scene.nicks == []
        assert not scene.room.phones

    def test_all_leave_when_the_room_is_given_up(self, scene):
        scene.join()
        scene.join("Bob B", "102")
        scene.room.close()
        assert scene.nicks == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("refusal", "words"),
        [
            ("forbidden", "Alice A is not in: we are banned from it (forbidden)"),
            ("registration-required", "Alice A is not in: it is for members only, and we are none"),
            ("not-authorized", "it needs a password, and ours is missing or wrong"),
            ("service-unavailable", "it is full, or there is no room service at that address"),
            ("item-not-found", "it does not exist, or its owner has not unlocked it yet"),
            ("remote-server-not-found", "there is no service of that name"),
        ],
    )
    def test_why_a_phone_is_not_in_is_logged_once_and_it_tries_again(self, scene, refusal, words):
        scene.muc.refuses = {"": refusal}
        scene.join()
        for _ in range(5):
            scene.pass_time(60)
        (note,) = scene.outside.notes
        assert words in note
        assert words.removeprefix("Alice A is not in: ") in scene.room.problem
        scene.muc.refuses = {}
        scene.pass_time(300)
        assert scene.nicks == ["Alice A"]
        assert scene.room.problem == ""
        assert scene.outside.kicked == [], "the phone stays in the conference"

    def test_the_pauses_grow(self, scene):
        scene.muc.refuses = {"": "forbidden"}
        scene.join()
        for _ in range(3600):
            scene.pass_time(1)
        assert 15 < len(scene.muc.came) < 30

    def test_a_room_that_does_not_exist_is_not_kept(self, scene):
        scene.muc.exists = False
        scene.join()
        assert scene.nicks == []
        assert scene.outside.notes == [f"room {GARDEN}: it does not exist: somebody has to open it; trying again"]

    def test_a_room_that_does_not_answer_is_asked_again(self, scene):
        scene.muc.take = lambda _stanza: None
        scene.join()
        scene.pass_time(ANSWER - 0.1)
        assert state(scene) is State.ENTERING
        scene.pass_time(0.2)
        assert scene.outside.notes == [f"room {GARDEN}: it does not answer; trying again"]
        del scene.muc.take
        scene.pass_time(ANSWER + 1)
        scene.pass_time(1)
        assert scene.nicks == ["Alice A"]

    def test_the_text_of_one_who_is_banned_does_not_come_in_by_another(self, scene):
        scene.join()
        scene.muc.refuses = {"": "forbidden"}
        scene.join("Bob B", "102")
        scene.room.phone_said("Bob B", "let me in")
        scene.room.phone_said("Bob B", "please")
        assert scene.muc.heard == []
        assert [(channel, "banned" in one.text) for channel, one in scene.outside.whispered] == [
            ("PJSIP/102-00000001", True)
        ], "told once"


class TestTheRoomRules:
    @pytest.mark.parametrize("code", [307, 301])
    def test_who_is_thrown_out_there_is_thrown_out_here(self, scene, code):
        alice = scene.join()
        scene.muc.leave(scene.muc.of("Alice A"), code)
        scene.deliver()
        assert scene.outside.kicked == [alice.channel]
        scene.pass_time(600)
        assert scene.nicks == []
        scene.room.phone_left(alice.channel)
        assert not scene.room.phones

    @pytest.mark.parametrize(
        ("codes", "extra"), [((332,), ""), ((307, 333), ""), ((321,), ""), ((322,), ""), ((), "destroy"), ((), "")]
    )
    def test_who_is_out_for_another_reason_comes_back_and_stays_in_the_call(self, scene, codes, extra):
        scene.join()
        scene.muc.leave(scene.muc.of("Alice A"), *codes, extra=extra)
        scene.deliver()
        assert scene.nicks == []
        scene.pass_time(2)
        assert scene.nicks == ["Alice A"]
        assert scene.outside.kicked == []

    def test_who_may_not_write_is_not_heard_until_they_may(self, scene):
        alice = scene.join()
        scene.muc.give_voice("Alice A", False)
        scene.deliver()
        scene.room.phone_changed(replace(alice, muted=True))
        scene.muc.give_voice("Alice A", True)
        scene.deliver()
        assert scene.outside.muted == [(alice.channel, True), (alice.channel, False)]

    def test_who_may_not_write_cannot_unmute_their_phone(self, scene):
        scene.muc.visitors.add("Alice A")
        alice = scene.join()
        muted = replace(alice, muted=True)
        scene.room.phone_changed(muted)
        scene.room.phone_changed(alice)
        assert scene.outside.muted == [(alice.channel, True)] * 2

    def test_who_was_not_to_be_heard_is_heard_when_the_room_is_given_up(self, scene):
        scene.muc.visitors.add("Alice A")
        alice = scene.join()
        scene.room.close()
        assert scene.outside.muted == [(alice.channel, True), (alice.channel, False)]

    def test_who_has_muted_their_phone_stays_muted(self, scene):
        scene.muc.visitors.add("Alice A")
        scene.join(muted=True)
        scene.muc.give_voice("Alice A", True)
        scene.deliver()
        assert scene.outside.muted == []
