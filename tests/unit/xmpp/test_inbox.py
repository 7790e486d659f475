from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agi_xmpp.xmpp.inbox import QUESTION_TTL, Bounce, Inbox, Waiter
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import IncomingMessage, Jid
from tests.unit.clock import Clock

BOB = parse("bob@example.org")
PHONE = parse("bob@example.org/phone")
DESK = parse("bob@example.org/desk")
EVE = parse("bob@example.org.evil/phone")


@dataclass(eq=False)
class Wait:
    """A waiter and what it got."""

    got: list[IncomingMessage | Bounce] = field(default_factory=list)
    waiter: Waiter | None = None

    @property
    def body(self) -> str:
        assert len(self.got) == 1, self.got
        assert isinstance(self.got[0], IncomingMessage)
        return self.got[0].body


class World:
    """An inbox with a clock that stands still until it is moved."""

    def __init__(self, **limits: float) -> None:
        self.clock = Clock()
        sizes = {"ttl": 5.0, "message_limit": 50, "contact_limit": 1000} | limits
        self.inbox = Inbox(self.clock, **sizes)  # type: ignore[arg-type]

    def later(self, seconds: float) -> None:
        self.clock.now += seconds

    def put(
        self,
        body: str,
        sender: Jid = PHONE,
        *,
        thread: str = "",
        kind: str = "chat",
        age: float = 0.0,
        occupant: bool = False,
    ) -> bool:
        now = self.clock.now
        return self.inbox.put(IncomingMessage(sender, body, kind, "", thread, now, now - age, occupant=occupant))

    def wait(self, sender: Jid = BOB, *, thread: str = "", max_age: float | None = None) -> Wait:
        wait = Wait()
        wait.waiter = self.inbox.wait(sender, thread, max_age, wait.got.append, wait.got.append)
        return wait

    def end(self, wait: Wait) -> None:
        assert wait.waiter is not None
        self.inbox.end(wait.waiter)


@pytest.fixture
def world() -> World:
    return World()


# Who


def test_a_waiter_gets_the_contact_s_message(world: World) -> None:
    wait = world.wait()
    world.put("hi")
    assert wait.body == "hi"
    assert world.inbox.waiting == world.inbox.unclaimed == 0


@pytest.mark.parametrize(
    "stranger", ["eve@example.org/phone", "bob@example.org.evil/x", "bobby@example.org/phone", "example.org/phone"]
)
def test_a_stranger_or_a_prefix_impostor_does_not_end_a_wait(world: World, stranger: str) -> None:
    wait = world.wait()
    world.put("gotcha", parse(stranger))
    assert not wait.got
    world.put("it is me")
    assert wait.body == "it is me"


def test_a_full_address_takes_that_resource_only(world: World) -> None:
    wait = world.wait(PHONE)
    world.put("other", DESK)
    world.put("longer", parse("bob@example.org/phone2"))
    world.put("bare", BOB)
    assert not wait.got
    world.put("right", PHONE)
    assert wait.body == "right"


def test_a_message_from_the_bare_address_ends_a_wait_for_it(world: World) -> None:
    wait = world.wait()
    world.put("from the server's archive", BOB)
    assert wait.body == "from the server's archive"


def test_each_occupant_of_a_room_is_somebody_else(world: World) -> None:
    room, bob, eve = (parse(f"team@rooms.example.org{nick}") for nick in ("", "/bob", "/eve"))
    anybody, waits_for_bob = world.wait(room), world.wait(bob)
    world.put("from eve", eve, occupant=True)
    assert not waits_for_bob.got
    world.put("from bob", bob, occupant=True)
    assert waits_for_bob.body == "from bob"
    assert not anybody.got


def test_an_occupant_who_left_ends_the_waits_for_the_nick(world: World) -> None:
    room, bob, eve = (parse(f"team@rooms.example.org{nick}") for nick in ("", "/bob", "/eve"))
    waits = [world.wait(bob), world.wait(bob, thread="call-1"), world.wait(eve), world.wait(room)]
    world.inbox.end_for(bob, GONE)
    assert [wait.got for wait in waits] == [[GONE], [GONE], [], []]
    assert world.inbox.waiting == 2
    world.put("another bob", bob, occupant=True)
    assert world.inbox.unclaimed == 1


def test_an_occupant_whom_nobody_waits_for_may_leave(world: World) -> None:
    world.inbox.end_for(parse("team@rooms.example.org/bob"), GONE)
    assert world.inbox.waiting == 0


@pytest.mark.parametrize("kind", ["error", "groupchat", "headline"])
def test_other_types_are_no_answers(world: World, kind: str) -> None:
    wait = world.wait()
    assert world.put("no", kind=kind) is False
    assert not wait.got
    assert world.inbox.unclaimed == 0


@pytest.mark.parametrize("kind", ["chat", "normal"])
def test_chat_and_normal_are(world: World, kind: str) -> None:
    wait = world.wait()
    assert world.put("yes", kind=kind) is True
    assert wait.body == "yes"


def test_a_message_without_a_text_is_none(world: World) -> None:
    wait = world.wait()
    assert world.put("") is False
    assert not wait.got


def test_each_message_goes_to_one_waiter_the_oldest_first(world: World) -> None:
    first, second = world.wait(), world.wait()
    world.put("1")
    assert (first.body, second.got) == ("1", [])
    world.put("2")
    assert second.body == "2"


def test_one_who_stopped_waiting_gets_nothing(world: World) -> None:
    first, second = world.wait(), world.wait()
    world.end(first)
    world.end(first)
    world.put("1")
    assert first.got == []
    assert second.body == "1"


# When


def test_what_came_before_counts_while_it_is_young(world: World) -> None:
    world.put("early")
    world.later(5.0)
    assert world.wait().body == "early"


def test_what_is_older_does_not(world: World) -> None:
    world.put("early")
    world.later(5.01)
    assert world.wait().got == []


def test_the_oldest_comes_first(world: World) -> None:
    world.put("1")
    world.put("2")
    assert world.wait().body == "1"
    assert world.wait().body == "2"


def test_with_max_age_0_only_what_comes_from_now_on(world: World) -> None:
    world.put("early")
    wait = world.wait(max_age=0)
    assert not wait.got
    world.put("now")
    assert wait.body == "now"
    assert world.wait().body == "early"  # it was left for others


def test_max_age_narrows_what_counts(world: World) -> None:
    world.put("early")
    world.later(2.0)
    assert world.wait(max_age=1.9).got == []
    assert world.wait(max_age=2.0).body == "early"


def test_an_answer_typed_during_a_long_prompt_waits_for_its_question(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    world.later(1)
    world.put("1")  # bob answers at once
    world.later(300)  # the caller hears five minutes of music
    assert world.wait(thread="call-1").body == "1"


def test_what_came_before_the_question_is_no_answer_to_it(world: World) -> None:
    world.put("talking of something else")
    world.later(1)
    world.inbox.ask(BOB, "call-1")
    wait = world.wait(thread="call-1")
    assert not wait.got
    world.put("1")
    assert wait.body == "1"


def test_the_question_is_the_first_message_of_the_thread(world: World) -> None:
    assert world.inbox.ask(BOB, "call-1") is True
    world.later(1)
    world.put("quick")  # after the first line of four
    world.later(1)
    assert world.inbox.ask(PHONE, "call-1") is False
    assert world.wait(thread="call-1").body == "quick"


def test_after_a_wait_the_next_message_is_a_new_question(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    world.end(world.wait(thread="call-1"))
    world.put("late answer to the first")
    world.later(1)
    assert world.inbox.ask(BOB, "call-1") is True
    assert world.wait(thread="call-1").got == []


def test_max_age_also_narrows_a_question(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    world.put("early")
    world.later(3)
    wait = world.wait(thread="call-1", max_age=1)
    assert not wait.got
    world.put("now")
    assert wait.body == "now"


def test_delayed_mail_older_than_the_question_is_no_answer(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    wait = world.wait(thread="call-1")
    world.put("from yesterday", age=86_400)
    assert not wait.got
    world.later(60)
    world.put("typed while we were offline", age=30)
    assert wait.body == "typed while we were offline"


def test_delayed_mail_is_no_answer_without_a_question_either(world: World) -> None:
    wait = world.wait()
    world.put("from yesterday", age=86_400)
    assert not wait.got
    assert world.inbox.unclaimed == 0  # nobody can ever ask for it


# Threads


def test_two_calls_that_ask_one_person_get_their_own_answers(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    first = world.wait(thread="call-1")
    world.inbox.ask(BOB, "call-2")
    second = world.wait(thread="call-2")
    world.put("for the second", thread="call-2")
    assert first.got == []
    assert second.body == "for the second"
    world.put("for the first", thread="call-1")
    assert first.body == "for the first"


def test_an_answer_to_a_question_whose_wait_has_not_begun_is_kept_for_it(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    world.inbox.ask(BOB, "call-2")
    second = world.wait(thread="call-2")
    world.put("for the first", thread="call-1")
    assert second.got == []
    assert world.wait(thread="call-1").body == "for the first"


def test_a_message_without_a_thread_goes_to_the_oldest_waiter(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    world.inbox.ask(BOB, "call-2")
    second = world.wait(thread="call-2")
    first = world.wait(thread="call-1")
    world.put("hm")
    assert second.body == "hm"
    assert first.got == []


def test_a_client_that_repeats_an_old_thread_is_heard(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    world.end(world.wait(thread="call-1"))
    world.inbox.ask(BOB, "call-2")
    wait = world.wait(thread="call-2")
    world.put("still in the old thread", thread="call-1")
    assert wait.body == "still in the old thread"


def test_when_a_question_ends_what_was_kept_for_it_is_for_the_others(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    first = world.wait(DESK, thread="call-1")
    world.inbox.ask(BOB, "call-2")
    second = world.wait(thread="call-2")
    world.put("from the phone", PHONE, thread="call-1")  # the first wants the desk
    assert first.got == second.got == []
    world.end(first)
    assert second.body == "from the phone"


def test_another_person_s_thread_is_of_no_meaning(world: World) -> None:
    world.inbox.ask(parse("carol@example.org"), "call-1")
    wait = world.wait(thread="call-2")
    world.put("bob uses carol's thread", thread="call-1")
    assert wait.body == "bob uses carol's thread"


def test_a_question_that_was_never_sent_keeps_nothing(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    world.inbox.retract(BOB, "call-1")
    wait = world.wait(thread="call-2")
    world.put("hi", thread="call-1")
    assert wait.body == "hi"


def test_a_question_that_nobody_waits_for_ends_some_day(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    world.put("too late")
    world.later(QUESTION_TTL)
    assert world.inbox.unclaimed == 1
    world.later(1.1)
    assert world.inbox.unclaimed == 0
    wait = world.wait(thread="call-2")
    world.put("hi", thread="call-1")
    assert wait.body == "hi"


def test_a_wait_that_has_begun_may_take_longer(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    wait = world.wait(thread="call-1")
    other = world.wait(thread="call-2")
    world.later(QUESTION_TTL * 10)
    world.put("at last", thread="call-1")
    assert wait.body == "at last"
    assert other.got == []


def test_without_a_thread_there_is_no_question(world: World) -> None:
    assert world.inbox.ask(BOB, "") is False
    world.put("thanks for the note")
    world.later(6)
    assert world.wait().got == []


# Bounces

GONE = Bounce("item-not-found", "the message came back")


def test_a_bounce_ends_the_wait_of_its_thread_only(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    world.inbox.ask(BOB, "call-2")
    first, second = world.wait(thread="call-1"), world.wait(thread="call-2")
    world.inbox.bounce(PHONE, "call-1", GONE)
    assert first.got == [GONE]
    assert second.got == []
    assert world.inbox.waiting == 1


def test_a_bounce_before_the_wait_ends_it_at_once(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    world.inbox.bounce(BOB, "call-1", GONE)
    assert world.wait(thread="call-1").got == [GONE]
    assert world.wait(thread="call-1").got == []  # told once


def test_whoever_asks_again_after_a_bounce_waits_for_the_new_answer(world: World) -> None:
    world.inbox.ask(BOB, "call-1")
    world.inbox.bounce(BOB, "call-1", GONE)
    world.inbox.ask(BOB, "call-1")
    assert world.wait(thread="call-1").got == []


def test_a_bounce_of_somebody_whom_nobody_asked_does_nothing(world: World) -> None:
    world.inbox.bounce(EVE, "call-1", GONE)
    wait = world.wait(thread="call-1")
    world.inbox.bounce(EVE, "call-1", GONE)
    assert wait.got == []


# Limits


@pytest.mark.parametrize(("count", "kept"), [(2, 2), (3, 3), (4, 3)])
def test_messages_of_one_contact_are_limited_and_the_oldest_goes_first(count: int, kept: int) -> None:
    world = World(message_limit=3)
    for number in range(count):
        world.put(str(number))
    assert world.inbox.unclaimed == kept
    assert world.wait().body == str(count - kept)


@pytest.mark.parametrize(("count", "kept"), [(2, 2), (3, 3), (4, 3)])
def test_contacts_are_limited_and_the_oldest_goes_first(count: int, kept: int) -> None:
    world = World(contact_limit=3)
    for number in range(count):
        world.put("hi", parse(f"user{number}@example.org/x"))
    assert world.inbox.unclaimed == kept
    assert bool(world.wait(parse("user0@example.org")).got) is (count <= 3)


def test_a_flood_of_strangers_does_not_push_an_expected_answer_out() -> None:
    world = World(contact_limit=3, character_limit=1000)
    world.inbox.ask(BOB, "call-1")
    world.put("the answer")
    for number in range(100):
        world.put("spam" * 50, parse(f"user{number}@example.org/x"))
    assert world.wait(thread="call-1").body == "the answer"


@pytest.mark.parametrize(("length", "kept"), [(99, 2), (100, 2), (101, 1)])
def test_all_kept_texts_together_are_limited(length: int, kept: int) -> None:
    world = World(character_limit=200)
    world.put("x" * 100)
    world.put("y" * length, parse("carol@example.org/x"))
    assert world.inbox.unclaimed == kept
    assert bool(world.wait().got) is (kept == 2)


def test_nothing_is_left_behind() -> None:
    world = World()
    world.inbox.ask(BOB, "call-1")
    world.put("1", thread="call-1")
    world.wait(thread="call-1")
    world.put("2", EVE)
    world.end(world.wait(thread="call-1"))
    world.later(10)
    assert world.inbox.unclaimed == world.inbox.waiting == 0
    assert not world.inbox._contacts
    assert not world.inbox._holding
    assert world.inbox._characters == 0


# Against a model

CONTACTS = st.sampled_from([PHONE, DESK, EVE, parse("carol@example.org/x")])
THREADS = st.sampled_from(["", "t1", "t2", "t3"])


@dataclass(eq=False)
class ModelWait:
    sender: Jid
    thread: str
    not_before: float
    wait: Wait


class InboxMachine(RuleBasedStateMachine):
    """Compares the inbox with the rules written down as plain as possible, over lists.

    Time moves in whole seconds and `ttl` ends between two of them, so that nothing depends on when the inbox sweeps.
    """

    @initialize()
    def begin(self) -> None:
        self.world = World(ttl=5.5)
        self.number = 0
        self.kept: list[IncomingMessage] = []
        self.waits: list[ModelWait] = []
        self.asked: dict[tuple[Jid, str], float] = {}
        self.given: set[str] = set()

    def alive(self, message: IncomingMessage) -> bool:
        return message.sent_at >= self.world.clock.now - 5.5 or any(
            jid == message.sender.bare and message.sent_at >= at for (jid, _), at in self.asked.items()
        )

    def taker(self, message: IncomingMessage) -> ModelWait | None:
        able = [
            wait
            for wait in self.waits
            if wait.sender in (message.sender, message.sender.bare) and message.sent_at >= wait.not_before
        ]
        own = [wait for wait in able if message.thread and wait.thread == message.thread]
        if own:
            return own[0]
        if (message.sender.bare, message.thread) in self.asked:
            return None
        return able[0] if able else None

    def finish(self, wait: ModelWait) -> None:
        self.waits.remove(wait)
        key = (wait.sender.bare, wait.thread)
        still = any((other.sender.bare, other.thread) == key for other in self.waits)
        if still or self.asked.pop(key, None) is None:
            return
        for message in list(self.kept):
            mine = message.sender.bare == wait.sender.bare
            if mine and message in self.kept and (taker := self.taker(message)):
                self.kept.remove(message)
                self.expect(taker, message)

    def expect(self, wait: ModelWait, message: IncomingMessage) -> None:
        assert wait.wait.got == [message]
        assert message.body not in self.given, "delivered twice"
        self.given.add(message.body)
        self.finish(wait)

    @rule(seconds=st.integers(1, 4))
    def time_passes(self, seconds: int) -> None:
        self.world.later(seconds)
        self.kept = [message for message in self.kept if self.alive(message)]

    @rule(sender=CONTACTS, thread=THREADS)
    def ask(self, sender: Jid, thread: str) -> None:
        self.world.inbox.ask(sender, thread)
        if thread:
            self.asked.setdefault((sender.bare, thread), self.world.clock.now)

    @rule(sender=CONTACTS, thread=THREADS, age=st.sampled_from([0, 0, 0, 1, 3, 20]))
    def message(self, sender: Jid, thread: str, age: int) -> None:
        self.number += 1
        now = self.world.clock.now
        message = IncomingMessage(sender, f"m{self.number}", "chat", "", thread, now, now - age)
        taker = self.taker(message)
        self.world.inbox.put(message)
        if taker:
            self.expect(taker, message)
        elif self.alive(message):
            self.kept.append(message)

    @rule(sender=CONTACTS, bare=st.booleans(), thread=THREADS, max_age=st.sampled_from([None, None, 0, 2]))
    def wait(self, sender: Jid, bare: bool, thread: str, max_age: float | None) -> None:
        who = sender.bare if bare else sender
        now = self.world.clock.now
        asked_at = self.asked.get((who.bare, thread))
        if asked_at is None:
            not_before = now - (5.5 if max_age is None else max_age)
        else:
            not_before = asked_at if max_age is None else max(asked_at, now - max_age)
        wait = self.world.wait(who, thread=thread, max_age=max_age)
        model = ModelWait(who, thread, not_before, wait)
        self.waits.append(model)
        if max_age == 0:
            return
        for message in self.kept:
            others = (message.sender.bare, message.thread) in self.asked and message.thread != thread
            if who in (message.sender, message.sender.bare) and message.sent_at >= not_before and not others:
                self.kept.remove(message)
                self.expect(model, message)
                break

    @rule(data=st.data())
    def stop_waiting(self, data: st.DataObject) -> None:
        if self.waits:
            wait = data.draw(st.sampled_from(self.waits))
            self.world.end(wait.wait)
            self.finish(wait)

    @rule(sender=CONTACTS, thread=THREADS)
    def bounce(self, sender: Jid, thread: str) -> None:
        if (sender.bare, thread) in self.asked and not any(
            (wait.sender.bare, wait.thread) == (sender.bare, thread) for wait in self.waits
        ):
            return  # told when the wait begins: see the tests above
        hit = [wait for wait in self.waits if (wait.sender.bare, wait.thread) == (sender.bare, thread)]
        self.world.inbox.bounce(sender, thread, GONE)
        for wait in hit:
            assert wait.wait.got == [GONE]
            self.finish(wait)

    @invariant()
    def nothing_else_was_given(self) -> None:
        if not hasattr(self, "world"):
            return
        assert all(wait.wait.got == [] for wait in self.waits)
        assert self.world.inbox.waiting == len(self.waits)
        inbox_keeps = [m for contact in self.world.inbox._contacts.values() for m in contact.messages]
        alive = [message for message in inbox_keeps if self.alive(message)]
        assert sorted(m.body for m in alive) == sorted(m.body for m in self.kept if self.alive(m))


InboxMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_against_the_model = InboxMachine.TestCase


def test_messages_are_plain_values() -> None:
    message = IncomingMessage(PHONE, "x", "chat", "", "", 1.0, 1.0)
    assert replace(message) == message
