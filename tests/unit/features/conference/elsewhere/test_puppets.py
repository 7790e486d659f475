"""Phones as occupants of a room of another service: what the room, and what the phones notice of each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere.puppet import ANSWER, SILENCE, State
from agi_xmpp.features.conference.elsewhere.puppet_queue import HOLD_TIME
from agi_xmpp.features.conference.elsewhere.puppets import NICKS
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import phone, stanza
from tests.unit.features.conference.garden import GARDEN, Scene, address_of
from tests.unit.features.conference.hall import condition


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.began()
    return scene


def state(scene: Scene, channel: str = "PJSIP/101-00000001") -> State:
    return scene.room.phones[channel].state


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


class TestTextsOfChat:
    def test_they_are_told_once_however_many_phones_are_in(self, scene):
        scene.join()
        scene.join("Bob B", "102")
        scene.enter("Romeo")
        scene.says("Romeo", "hello")
        assert list(scene.told()) == [("Romeo", "hello")]

    def test_what_phones_write_is_not_told_to_them(self, scene):
        scene.join()
        scene.join("Bob B", "102")
        scene.room.phone_said("Bob B", "hello")
        scene.deliver()
        assert scene.muc.heard == [("Bob B", "hello")]
        assert list(scene.told()) == []

    @pytest.mark.parametrize("delivered", range(12))
    def test_nothing_is_lost_or_doubled_when_the_listener_goes(self, scene, delivered):
        alice = scene.join()
        scene.join("Bob B", "102")
        scene.enter("Romeo")
        for count in range(3):
            scene.muc.say("Romeo", f"<body>{count}</body>")
        scene.deliver(delivered)
        scene.room.phone_left(alice.channel)
        for count in range(3, 6):
            scene.muc.say("Romeo", f"<body>{count}</body>")
        scene.deliver()
        assert list(scene.told()) == [("Romeo", str(count)) for count in range(6)]

    def test_what_is_from_before_is_not_told(self, scene):
        scene.join()
        old = f"<delay xmlns='urn:xmpp:delay' from='{GARDEN}' stamp='2026-01-01T00:00:00Z'/>"
        scene.muc.say("Romeo", f"<body>old</body>{old}")
        scene.muc.say("Romeo", "<body>claims to be old</body>" + old.replace(str(GARDEN), "romeo@example.org"))
        scene.deliver()
        assert list(scene.told()) == [("Romeo", "claims to be old")]

    def test_a_subject_is_told_but_not_the_one_at_the_door(self, scene):
        scene.join()
        assert list(scene.told()) == []
        scene.muc.say("Romeo", "<subject>love</subject>")
        scene.muc.say("Romeo", "<subject/>")
        scene.muc.say("Romeo", "<subject>no subject</subject><body>a text</body>")
        scene.deliver()
        assert list(scene.told()) == [
            ("", "Romeo set the subject: love"),
            ("", "Romeo removed the subject"),
            ("Romeo", "a text"),
        ]

    def test_what_phones_cannot_read_is_said_so(self, scene):
        scene.join()
        scene.muc.say("Romeo", "<body>?</body><encryption xmlns='urn:xmpp:eme:0' namespace='omemo'/>")
        scene.deliver()
        assert list(scene.told()) == [("Romeo", "[encrypted message]")]

    def test_the_room_itself_speaks_without_a_name(self, scene):
        scene.join()
        scene.says("", "maintenance at noon")
        assert list(scene.told()) == [("", "maintenance at noon")]

    def test_a_word_to_one_phone_and_its_failure(self, scene):
        scene.join()
        word = stanza(
            f"<message type='chat' id='w' from='{GARDEN}/Romeo' to='{address_of(phone())}'><body>psst</body></message>"
        )
        assert scene.room.stanza_came(word, parse(f"{GARDEN}/Romeo"), address_of(phone()))
        ((channel, utterance),) = scene.outside.whispered
        assert (channel, utterance.speaker, utterance.text) == ("PJSIP/101-00000001", "Romeo", "psst")
        sent: list = []
        scene.room._send = sent.append
        scene.room.not_spoken(utterance, "No such channel")
        assert condition(sent[0]) == ("cancel", "not-acceptable")
        assert (sent[0].get("to"), sent[0].get("id")) == (f"{GARDEN}/Romeo", "w")

    def test_listeners_are_those_who_are_no_phones(self, scene):
        scene.join()
        scene.join("Bob B", "102")
        assert not scene.room.has_listeners
        assert scene.outside.occupancy_changes == []
        scene.enter("Romeo")
        assert scene.room.has_listeners
        assert scene.room.status()["people"] == 1
        scene.muc.leave(scene.muc.of("Romeo"))
        scene.deliver()
        assert not scene.room.has_listeners
        assert scene.outside.occupancy_changes == ["6001", "6001"]


class TestTextsOfPhones:
    def test_a_text_that_is_nobodys_is_told_by_the_first_with_the_name_in_front(self, scene):
        scene.join()
        scene.room.phone_said("Mallory", "hi")
        assert scene.muc.heard == [("Alice A", "<Mallory> hi")]

    def test_the_channel_counts_more_than_the_name(self, scene):
        scene.join()
        scene.join("Bob B", "102")
        scene.room.phone_said("Alice A", "really bob", "PJSIP/102-00000001")
        scene.room.phone_said("Alice A", "nobody", "")
        assert scene.muc.heard == [("Bob B", "really bob"), ("Alice A", "<Alice A> nobody")]

    def test_texts_wait_until_their_phone_is_in_and_keep_their_order(self, scene):
        scene.join()
        bob = phone("Bob B", "102")
        scene.room.phone_joined(bob)
        scene.room.phone_said("Bob B", "1")
        scene.room.phone_said("Alice A", "2")
        assert scene.muc.heard == []
        scene.deliver()
        assert scene.muc.heard == [("Bob B", "1"), ("Alice A", "2")]

    def test_who_may_not_write_is_told_so(self, scene):
        scene.muc.visitors.add("Alice A")
        scene.join()
        scene.room.phone_said("Alice A", "hi")
        assert scene.muc.heard == []
        assert [one.text for _, one in scene.outside.whispered] == ["The chat does not let you write."]

    def test_what_the_room_has_lost_is_sent_again_when_we_are_in_again(self, scene):
        scene.join()
        scene.muc.occupants.clear()  # without a word to us
        scene.room.phone_said("Alice A", "1")
        scene.room.phone_said("Alice A", "2")
        scene.deliver()
        assert scene.muc.heard == [("Alice A", "1"), ("Alice A", "2")]

    def test_what_may_have_arrived_is_not_sent_again(self, scene):
        scene.join()
        scene.room.phone_said("Alice A", "perhaps")
        scene.ended()
        scene.began()
        assert scene.muc.heard == [("Alice A", "perhaps")]
        assert [one.text for _, one in scene.outside.whispered] == [
            "The connection broke: perhaps the chat has not got your last text."
        ]

    def test_what_is_written_during_a_break_arrives_afterwards(self, scene):
        scene.join()
        scene.enter("Romeo")
        scene.ended()
        assert scene.room.has_listeners, "for a moment we go on as if nothing was"
        scene.room.phone_said("Alice A", "meanwhile")
        scene.began()
        assert scene.muc.heard == [("Alice A", "meanwhile")]

    def test_after_a_long_break_it_does_not(self, scene):
        scene.join()
        scene.enter("Romeo")
        scene.ended()
        scene.room.phone_said("Alice A", "long ago")
        scene.pass_time(HOLD_TIME + 1)
        assert not scene.room.has_listeners
        assert [one.text for _, one in scene.outside.whispered] == [
            "The chat has not got your text: it cannot be reached."
        ]
        scene.began()
        assert scene.muc.heard == []

    def test_announcements_are_told_by_a_phone(self, scene):
        scene.room.announce("nobody is in")
        scene.join()
        scene.room.announce("hear ye")
        scene.deliver()
        assert scene.muc.heard == [("Alice A", "[Garden] hear ye")]
        assert list(scene.told()) == []


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


class TestWhetherWeAreIn:
    def test_a_room_that_says_nothing_is_asked(self, scene):
        scene.join()
        scene.muc.came.clear()
        scene.pass_time(SILENCE - 1)
        assert scene.muc.came == []
        scene.pass_time(1)
        (ping,) = scene.muc.came
        assert ping.find(f"{{{stanzas.PING}}}ping") is not None
        scene.pass_time(ANSWER + 1)
        assert scene.nicks == ["Alice A"]
        assert scene.outside.notes == []

    def test_who_is_not_in_any_more_comes_back(self, scene):
        scene.join()
        scene.muc.occupants.clear()
        scene.pass_time(SILENCE)
        scene.pass_time(1)
        assert scene.nicks == ["Alice A"]
        assert "it does not know us any more (not-acceptable)" in scene.outside.notes[0]

    def test_a_room_that_does_not_answer_that_is_entered_again(self, scene):
        scene.join()
        take, scene.muc.take = scene.muc.take, lambda _stanza: None
        scene.pass_time(SILENCE)
        scene.muc.take = take
        scene.pass_time(ANSWER)
        assert scene.outside.notes[0] == f"room {GARDEN}: it does not answer; trying again"
        assert scene.nicks == ["Alice A"]

    def test_a_departure_that_is_not_confirmed_ends_by_itself(self, scene):
        alice = scene.join()
        scene.muc.take = lambda _stanza: None
        scene.room.phone_left(alice.channel)
        assert scene.room.stanza_came(stanza("<message/>"), GARDEN, address_of(alice))
        scene.pass_time(ANSWER)
        assert not scene.room.stanza_came(stanza("<message/>"), GARDEN, address_of(alice))

    def test_requests_are_answered(self, scene):
        scene.join()
        ask = stanza(f"<iq type='get' id='q' from='{GARDEN}/Romeo' to='x'><ping xmlns='urn:xmpp:ping'/></iq>")
        scene.muc.came.clear()
        scene.room.stanza_came(ask, parse(f"{GARDEN}/Romeo"), address_of(phone()))
        assert scene.muc.came[0].get("type") == "result"


class Garden(RuleBasedStateMachine):
    """Phones and people come, go and write in any order, and the stream delays what it carries."""

    numbers = st.sampled_from(["101", "102", "103"])
    names = st.sampled_from(["Romeo", "Juliet", "Alice A"])

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene()
        self.scene.began()
        self.count = 0
        self.by_phones: dict[str, list[str]] = {}  # by channel: those of different phones may overtake each other
        self.by_chat: list[str] = []

    @rule(number=numbers, call=st.integers(1, 3))
    def phone_joins(self, number, call):
        taken = any(channel.startswith(f"PJSIP/{number}") for channel in self.scene.room.phones)
        if not taken:
            self.scene.room.phone_joined(phone(f"Phone {number}", number, channel=f"PJSIP/{number}-{call}"))

    @rule(data=st.data())
    @precondition(lambda self: self.scene.room.phones)
    def phone_leaves(self, data):
        self.scene.room.phone_left(data.draw(st.sampled_from(sorted(self.scene.room.phones))))

    @rule(name=names)
    def person_enters(self, name):
        full = parse(f"{name.split()[0].lower()}@example.org/client")
        if name not in self.scene.nicks and full not in self.scene.muc.occupants:
            self.scene.muc.enter(full, name)

    @rule(name=names)
    def person_leaves(self, name):
        self.scene.muc.leave(parse(f"{name.split()[0].lower()}@example.org/client"))

    @rule(name=names)
    def person_writes(self, name):
        people = [full for full, nick in self.scene.muc.occupants.items() if nick == name]
        if people and self.scene.room.phones:
            self.count += 1
            self.by_chat.append(str(self.count))
            self.scene.muc.say(name, f"<body>{self.count}</body>")

    @rule(data=st.data())
    @precondition(lambda self: self.scene.room.phones)
    def phone_writes(self, data):
        channel = data.draw(st.sampled_from(sorted(self.scene.room.phones)))
        self.count += 1
        self.by_phones.setdefault(channel, []).append(str(self.count))
        self.scene.room.phone_said("", str(self.count), channel)

    @rule(number=numbers)
    def room_forgets_a_phone(self, number):
        for full in [full for full in self.scene.muc.occupants if full.local == number]:
            self.scene.muc.leave(full, 333)

    @rule(limit=st.integers(0, 10))
    def some_arrives(self, limit):
        self.scene.deliver(limit)

    @rule()
    def all_arrives(self):
        self.scene.deliver()
        self.scene.pass_time(1)

    @invariant()
    def nothing_is_told_twice_or_out_of_order(self):
        told = [one.text for one in self.scene.outside.said]
        assert told == sorted(set(told), key=int)
        assert set(told) <= set(self.by_chat), "what phones write is not told to phones"
        heard = [body.rpartition("> ")[2] for _, body in self.scene.muc.heard]
        for texts in self.by_phones.values():
            written = [body for body in heard if body in texts]
            assert written == sorted(set(written), key=int)

    @invariant()
    def whoever_is_not_told_of_is_known(self):
        self_puppets = self.scene.room.phones.values()
        if not self.scene.muc.out and any(one.state is State.IN for one in self_puppets):
            people = {nick for full, nick in self.scene.muc.occupants.items() if full.domain == "example.org"}
            assert self.scene.room.has_listeners is bool(people)

    def teardown(self):
        for _ in range(3):
            self.scene.deliver()
            self.scene.pass_time(300)
        phones = {f"{one.participant.number}@phone.example.org" for one in self.scene.room.phones.values()}
        mine = {str(full.bare) for full in self.scene.muc.occupants if full.domain == "phone.example.org"}
        assert mine == phones, "who is in the conference is in the room"


TestGarden = Garden.TestCase
TestGarden.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
