"""Texts that are heard, and copies of what phones have sent: who has written what."""

from __future__ import annotations

import random

import pytest

from agi_xmpp.features.conference.phones.senders import KEEP, MAX_COPIES, MAX_HEARD, MAX_STRAYS, WAIT, CallKey, Senders
from agi_xmpp.sip.hep import SentText

ALICE, BOB, CAROL = (f"PJSIP/10{number}-0000000{number}" for number in (1, 2, 3))
NAMES = {ALICE: "Alice A", BOB: "Bob B", CAROL: ""}
NOBODY = ""


def call_of(channel: str) -> CallKey:
    return CallKey(f"call of {channel}", f"tag of {channel}", "tag of asterisk")


class Exchange:
    """Alice and Bob in the conference 6000; the time goes on when a test says so."""

    def __init__(self, *channels: str) -> None:
        self.now = 1000.0
        self.told: list[tuple[str, str, str, str]] = []
        self.senders = Senders(lambda *text: self.told.append(text), lambda: self.now)
        self.sequence = 0
        for channel in channels:
            self.joins(channel)

    def joins(self, channel: str, number: str = "6000") -> None:
        self.senders.joined(number, channel, NAMES[channel], call_of(channel))

    def sends(self, channel: str, text: str, display: str = "", sequence: int = 0) -> None:
        """Take the copy of a text of a phone."""
        self.sequence += 1
        call = call_of(channel)
        sent = SentText(call.call_id, call.phone_tag, call.asterisk_tag, sequence or self.sequence, display, text)
        self.senders.sent(sent)

    def hears(self, text: str, display: str = "Bob B", number: str = "6000") -> None:
        self.senders.heard(number, display, text)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.senders.run_timers()

    def take(self) -> list[tuple[str, str]]:
        """Return who has written what since the last time."""
        told, self.told = self.told, []
        return [(channel, text) for _, _, text, channel in told]


@pytest.fixture
def exchange() -> Exchange:
    return Exchange(ALICE, BOB)


@pytest.mark.parametrize("display", ["Bob B", "Romeo", "Mallory", "Alice A"])
def test_whatever_name_a_phone_gives(exchange, display):
    exchange.sends(ALICE, "it is me", display)
    exchange.hears("it is me", display)
    assert exchange.told == [("6000", display, "it is me", ALICE)]
    assert exchange.senders.wake_at() is None


def test_to_a_text_without_a_name_asterisk_adds_the_caller_s():
    exchange = Exchange(ALICE, CAROL)
    exchange.sends(ALICE, "one")
    exchange.hears("one", "Alice A")
    exchange.sends(CAROL, "two")
    exchange.hears("two", "")
    assert exchange.take() == [(ALICE, "one"), (CAROL, "two")]


class TestOrder:
    def test_the_copy_comes_later(self, exchange):
        exchange.hears("one")
        assert exchange.take() == []
        assert exchange.senders.wake_at() == exchange.now + WAIT
        exchange.sends(ALICE, "one", "Bob B")
        assert exchange.take() == [(ALICE, "one")]
        assert exchange.senders.wake_at() is None

    @pytest.mark.parametrize(("seconds", "sender"), [(WAIT - 0.001, ALICE), (WAIT, NOBODY), (WAIT + 0.001, NOBODY)])
    def test_how_long_a_text_waits(self, exchange, seconds, sender):
        exchange.hears("one")
        exchange.passes(seconds)
        exchange.sends(ALICE, "one", "Bob B")
        assert exchange.take() == [(sender, "one")]

    @pytest.mark.parametrize(("seconds", "sender"), [(KEEP - 0.001, ALICE), (KEEP, ALICE), (KEEP + 0.001, NOBODY)])
    def test_how_long_a_copy_waits(self, exchange, seconds, sender):
        exchange.sends(ALICE, "one", "Bob B")
        exchange.passes(seconds)
        exchange.hears("one")
        exchange.passes(WAIT)
        assert exchange.take() == [(sender, "one")]

    def test_a_text_without_copy_holds_the_others_up_and_then_goes_first(self, exchange):
        exchange.hears("lost")
        exchange.sends(ALICE, "one", "Bob B")
        exchange.hears("one")
        exchange.hears("elsewhere", number="6001")
        assert exchange.take() == []
        exchange.passes(WAIT)
        assert exchange.take() == [(NOBODY, "lost"), (ALICE, "one"), (NOBODY, "elsewhere")]

    def test_texts_wait_at_the_same_time_not_one_after_the_other(self, exchange):
        for number in range(10):
            exchange.hears(str(number))
        exchange.passes(WAIT)
        assert exchange.take() == [(NOBODY, str(number)) for number in range(10)]

    def test_bursts_in_any_order_of_arrival(self):
        exchange = Exchange(ALICE, BOB)
        chance = random.Random(5)
        copies = {ALICE: [f"a{n}" for n in range(100)], BOB: [f"b{n}" for n in range(100)]}
        heard = [text for pair in zip(*copies.values(), strict=True) for text in pair]
        pending = {channel: list(texts) for channel, texts in copies.items()}
        for text in heard:
            exchange.hears(text)
            for channel, texts in pending.items():
                for _ in range(min(len(texts), chance.randrange(3))):
                    exchange.sends(channel, texts.pop(0), "Bob B")
        for channel, texts in pending.items():
            for text in texts:
                exchange.sends(channel, text, "Bob B")
        assert exchange.take() == [(ALICE if text[0] == "a" else BOB, text) for text in heard]


class TestDoubt:
    def test_two_phones_with_the_same_words_under_the_same_name(self, exchange):
        exchange.sends(BOB, "yes")
        exchange.passes(0.01)
        exchange.sends(ALICE, "yes", "Bob B")
        exchange.hears("yes")
        assert exchange.take() == []
        exchange.hears("yes")
        assert exchange.take() == [(BOB, "yes"), (ALICE, "yes")]

    def test_one_of_them_was_not_passed_on(self, exchange):
        exchange.sends(ALICE, "yes", "Bob B")
        exchange.sends(BOB, "yes")
        exchange.hears("yes")
        exchange.hears("more")
        exchange.passes(WAIT)
        exchange.hears("yes")
        exchange.passes(WAIT)
        assert exchange.take() == [(NOBODY, "yes"), (NOBODY, "more"), (NOBODY, "yes")]

    def test_the_same_words_under_their_own_names(self, exchange):
        exchange.sends(ALICE, "yes")
        exchange.sends(BOB, "yes")
        exchange.hears("yes", "Bob B")
        exchange.hears("yes", "Alice A")
        assert exchange.take() == [(BOB, "yes"), (ALICE, "yes")]

    def test_one_phone_with_the_same_words_again(self, exchange):
        exchange.sends(ALICE, "yes", "Bob B")
        exchange.sends(ALICE, "yes", "Bob B")
        for _ in range(3):
            exchange.hears("yes")
        exchange.passes(WAIT)
        assert exchange.take() == [(ALICE, "yes"), (ALICE, "yes"), (NOBODY, "yes")]

    def test_a_repetition_on_the_wire_is_no_second_text(self, exchange):
        exchange.sends(ALICE, "yes", "Bob B", sequence=7)
        exchange.sends(ALICE, "yes", "Bob B", sequence=7)
        exchange.hears("yes")
        exchange.sends(ALICE, "yes", "Bob B", sequence=7)
        exchange.hears("yes")
        exchange.passes(WAIT)
        assert exchange.take() == [(ALICE, "yes"), (NOBODY, "yes")]

    def test_what_asterisk_sends_to_a_phone_is_not_that_phone_s(self, exchange):
        call = call_of(BOB)
        exchange.senders.sent(SentText(call.call_id, call.asterisk_tag, call.phone_tag, 1, "Bob B", "hi"))
        exchange.hears("hi")
        exchange.passes(WAIT)
        assert exchange.take() == [(NOBODY, "hi")]

    @pytest.mark.parametrize(
        "call",
        [
            CallKey("another", call_of(BOB).phone_tag, call_of(BOB).asterisk_tag),
            CallKey(call_of(BOB).call_id, "another", call_of(BOB).asterisk_tag),
            CallKey(call_of(BOB).call_id, call_of(BOB).phone_tag, "another"),
        ],
    )
    def test_who_knows_a_part_of_a_call_cannot_write_in_it(self, exchange, call):
        exchange.senders.sent(SentText(call.call_id, call.phone_tag, call.asterisk_tag, 99, "Bob B", "forged"))
        exchange.hears("forged")
        exchange.passes(WAIT)
        exchange.sends(BOB, "true", sequence=1)  # neither does it keep him from writing
        exchange.hears("true")
        assert exchange.take() == [(NOBODY, "forged"), (BOB, "true")]

    def test_conferences_are_apart(self, exchange):
        exchange.joins(CAROL, "6001")
        exchange.sends(CAROL, "hi", "Bob B")
        exchange.hears("hi")
        exchange.passes(WAIT)
        exchange.hears("hi", number="6001")
        assert exchange.take() == [(NOBODY, "hi"), (CAROL, "hi")]


class TestComingAndGoing:
    def test_a_phone_that_gets_another_name(self, exchange):
        exchange.sends(ALICE, "one")
        exchange.senders.joined("6000", ALICE, "Alice B", call_of(ALICE))
        exchange.sends(ALICE, "two")
        exchange.hears("one", "Alice A")
        exchange.hears("two", "Alice B")
        assert exchange.take() == [(ALICE, "one"), (ALICE, "two")]

    def test_a_phone_writes_before_asterisk_has_told_its_call(self):
        exchange = Exchange(ALICE)
        exchange.sends(BOB, "one")
        exchange.sends(BOB, "one", sequence=exchange.sequence)
        exchange.sends(CAROL, "of another")
        exchange.hears("one")
        exchange.joins(BOB)
        exchange.hears("one")
        exchange.passes(WAIT)
        exchange.joins(CAROL)
        exchange.hears("of another", "")
        assert exchange.take() == [(BOB, "one"), (NOBODY, "one"), (CAROL, "of another")]

    def test_a_phone_that_has_gone_has_written_nothing(self, exchange):
        exchange.sends(ALICE, "one", "Bob B")
        exchange.senders.left("6000", ALICE)
        exchange.hears("one")
        exchange.passes(WAIT)
        assert exchange.take() == [(NOBODY, "one")]

    def test_a_phone_that_went_to_another_conference(self, exchange):
        exchange.joins(ALICE, "6001")
        exchange.senders.left("6000", ALICE)  # Asterisk may tell it in either order
        exchange.sends(ALICE, "here")
        exchange.hears("here", "Alice A", "6001")
        assert exchange.take() == [(ALICE, "here")]

    def test_texts_that_nobody_wants_any_more(self, exchange):
        exchange.hears("one")
        exchange.senders.forget("6000")
        assert exchange.senders.wake_at() is None
        exchange.passes(WAIT)
        assert exchange.take() == []


class TestLimits:
    @pytest.mark.parametrize(("more", "sender"), [(-1, ALICE), (0, ALICE), (1, NOBODY)])
    def test_copies_of_one_phone(self, exchange, more, sender):
        for number in range(MAX_COPIES + more):
            exchange.sends(ALICE, str(number))
        exchange.sends(BOB, "mine")
        exchange.hears("mine")
        exchange.hears("0", "Alice A")
        exchange.passes(WAIT)
        assert exchange.take() == [(BOB, "mine"), (sender, "0")]

    @pytest.mark.parametrize(("more", "sender"), [(-1, CAROL), (0, CAROL), (1, NOBODY)])
    def test_copies_of_unknown_calls(self, exchange, more, sender):
        exchange.sends(CAROL, "first", "Carol")
        for number in range(MAX_STRAYS - 1 + more):
            exchange.sends("PJSIP/104-00000004", str(number))
        exchange.sends(ALICE, "mine")
        exchange.joins(CAROL)
        exchange.hears("mine", "Alice A")
        exchange.hears("first", "Carol")
        exchange.passes(WAIT)
        assert exchange.take() == [(ALICE, "mine"), (sender, "first")]

    @pytest.mark.parametrize(("count", "told"), [(MAX_HEARD - 1, 0), (MAX_HEARD, 0), (MAX_HEARD + 1, 1)])
    def test_texts_that_wait(self, exchange, count, told):
        for number in range(count):
            exchange.hears(str(number))
        assert exchange.take() == [(NOBODY, str(number)) for number in range(told)]
        exchange.passes(WAIT)
        assert exchange.take() == [(NOBODY, str(number)) for number in range(told, count)]
