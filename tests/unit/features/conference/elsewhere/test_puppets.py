"""Phones as occupants of a room of another service: what the room, and what the phones notice of each other."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.elsewhere.puppet import ANSWER, SILENCE, State
from agi_xmpp.features.conference.elsewhere.puppet_queue import HOLD_TIME
from agi_xmpp.xmpp.jid import parse
from tests.unit.features.conference.fakes import phone, stanza
from tests.unit.features.conference.garden import GARDEN, Scene, address_of
from tests.unit.features.conference.hall import condition


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
