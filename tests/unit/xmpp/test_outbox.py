from __future__ import annotations

import pytest

from agi_xmpp.xmpp.inbox import Bounce
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.outbox import Outbox, Queue, Queued
from tests.unit.clock import Clock

BOB = parse("bob@example.org")
PHONE = parse("bob@example.org/phone")
OWN = parse("asterisk@pbx.test/agi")
GONE = Bounce("item-not-found", "came back")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(clock: Clock) -> Outbox:
    return Outbox(clock, limit=3, ttl=60)


# Receipts


@pytest.mark.parametrize("sender", ["bob@example.org/phone", "bob@example.org/desk", "bob@example.org"])
def test_a_receipt_of_any_of_the_addressee_s_clients_counts(outbox: Outbox, sender: str) -> None:
    sent = outbox.add("1", BOB, "", wants_receipt=True)
    assert outbox.receipt(parse(sender), "1")
    assert sent.delivered


@pytest.mark.parametrize("sender", ["eve@example.org/x", "bob@example.org.evil/phone", "example.org"])
def test_others_cannot_confirm_for_the_addressee(outbox: Outbox, sender: str) -> None:
    sent = outbox.add("1", BOB, "", wants_receipt=True)
    assert not outbox.receipt(parse(sender), "1")
    assert not sent.delivered


def test_an_occupant_of_a_room_confirms_for_nobody_else(outbox: Outbox) -> None:
    in_room = parse("team@rooms.example.org/bob")
    sent = outbox.add("1", in_room, "", wants_receipt=True)
    assert not outbox.receipt(parse("team@rooms.example.org/eve"), "1", occupant=True)
    assert not sent.is_to(in_room.bare, occupant=True)
    assert outbox.receipt(in_room, "1", occupant=True)


def test_a_receipt_that_nobody_asked_for_is_nothing(outbox: Outbox) -> None:
    sent = outbox.add("1", BOB, "", wants_receipt=False)
    assert not outbox.receipt(PHONE, "1")
    assert not outbox.receipt(PHONE, "2")
    assert not sent.delivered


def test_watchers_are_told(outbox: Outbox) -> None:
    sent = outbox.add("1", BOB, "", wants_receipt=True)
    calls: list[str] = []
    sent.watchers.append(lambda: calls.append("a"))
    outbox.receipt(PHONE, "1")
    outbox.bounce(BOB, "1", GONE, OWN)
    assert calls == ["a", "a"]


# Read marks


@pytest.mark.parametrize("sender", ["bob@example.org/phone", "bob@example.org/desk", "bob@example.org"])
def test_any_of_the_addressee_s_clients_may_show_it(outbox: Outbox, sender: str) -> None:
    sent = outbox.add("1", BOB, "", markable=True)
    calls: list[str] = []
    sent.watchers.append(lambda: calls.append("seen"))
    assert outbox.displayed(parse(sender), "1")
    assert outbox.displayed(parse(sender), "1")  # once is enough
    assert (sent.seen, sent.delivered, calls) == (True, False, ["seen"])


@pytest.mark.parametrize("sender", ["eve@example.org/x", "bob@example.org.evil/phone", "example.org"])
def test_others_have_not_seen_it(outbox: Outbox, sender: str) -> None:
    sent = outbox.add("1", BOB, "", markable=True)
    assert not outbox.displayed(parse(sender), "1")
    assert not sent.seen


def test_an_occupant_of_a_room_has_seen_it_for_nobody_else(outbox: Outbox) -> None:
    in_room = parse("team@rooms.example.org/bob")
    sent = outbox.add("1", in_room, "", markable=True)
    assert not outbox.displayed(parse("team@rooms.example.org/eve"), "1", occupant=True)
    assert not sent.seen
    assert outbox.displayed(in_room, "1", occupant=True)
    assert sent.seen


def test_a_read_mark_that_nobody_asked_for_is_nothing(outbox: Outbox) -> None:
    sent = outbox.add("1", BOB, "", wants_receipt=True)
    assert not outbox.displayed(PHONE, "1")
    assert not outbox.displayed(PHONE, "2")
    assert not sent.seen


@pytest.mark.parametrize(
    ("to", "thread", "markable", "seen"),
    [
        (BOB, "call-1", True, True),
        (BOB, "call-2", True, False),
        (PHONE, "call-1", True, False),
        (parse("eve@example.org"), "call-1", True, False),
        (BOB, "call-1", False, False),
    ],
    ids=["same thread", "another call", "another address", "another person", "not asked for"],
)
def test_what_came_before_in_its_thread_has_been_seen_too(
    outbox: Outbox, to: Jid, thread: str, markable: bool, seen: bool
) -> None:
    earlier = outbox.add("1", to, thread, markable=markable)
    marked = outbox.add("2", BOB, "call-1", markable=True)
    later = outbox.add("3", BOB, "call-1", markable=True)
    assert outbox.displayed(PHONE, "2")
    assert (earlier.seen, marked.seen, later.seen) == (seen, True, False)


# Bounces


@pytest.mark.parametrize(
    "sender",
    [
        None,  # our server says so without a name
        "bob@example.org",
        "example.org",  # the addressee's server
        "pbx.test",  # ours
        "asterisk@pbx.test",
    ],
)
def test_a_bounce_of_those_who_may_know_counts(outbox: Outbox, sender: str | None) -> None:
    sent = outbox.add("1", BOB, "call-1", wants_receipt=False)
    assert outbox.bounce(parse(sender) if sender else None, "1", GONE, OWN) is sent
    assert sent.bounce == GONE


@pytest.mark.parametrize(
    "sender", ["eve@example.org", "bob@example.org.evil", "evil.test", "bob@example.org/phone", "eve@pbx.test"]
)
def test_a_forged_bounce_does_not(outbox: Outbox, sender: str) -> None:
    sent = outbox.add("1", BOB, "call-1", wants_receipt=False)
    assert outbox.bounce(parse(sender), "1", GONE, OWN) is None
    assert sent.bounce is None


def test_a_message_to_one_resource_bounces_from_there(outbox: Outbox) -> None:
    sent = outbox.add("1", PHONE, "", wants_receipt=False)
    assert outbox.bounce(BOB, "1", GONE, OWN) is None
    assert outbox.bounce(PHONE, "1", GONE, OWN) is sent


def test_a_bounce_of_nothing_that_we_sent_is_nothing(outbox: Outbox) -> None:
    assert outbox.bounce(BOB, "1", GONE, OWN) is None
    assert outbox.bounce(BOB, "", GONE, OWN) is None


# Memory


@pytest.mark.parametrize(("count", "kept"), [(2, 2), (3, 3), (4, 3)])
def test_sent_messages_are_limited(outbox: Outbox, count: int, kept: int) -> None:
    for number in range(count):
        outbox.add(str(number), BOB, "", wants_receipt=True)
    assert len(outbox) == kept
    assert (outbox.find("0") is None) is (count > 3)
    assert outbox.find(str(count - 1))


@pytest.mark.parametrize(("age", "found"), [(59, True), (60, True), (61, False)])
def test_and_forgotten_in_time(outbox: Outbox, clock: Clock, age: float, found: bool) -> None:
    outbox.add("1", BOB, "", wants_receipt=True)
    clock.now += age
    assert bool(outbox.find("1")) is found
    assert outbox.receipt(PHONE, "1") is found


def test_an_id_used_again_means_the_newer_message(outbox: Outbox, clock: Clock) -> None:
    outbox.add("1", parse("carol@example.org"), "", wants_receipt=True)
    clock.now += 50
    again = outbox.add("1", BOB, "", wants_receipt=True)
    clock.now += 50
    assert outbox.find("1") is again
    assert len(outbox) == 1


# The queue


def queued(number: int, to: Jid = BOB, expires_at: float = 2000.0) -> Queued:
    return Queued(str(number), to, "text", "", expires_at)


def test_a_queue_keeps_the_order_of_each_contact(clock: Clock) -> None:
    queue = Queue(clock, 10)
    carol = parse("carol@example.org")
    for number, to in enumerate([BOB, carol, PHONE, carol]):
        queue.put(queued(number, to))
    order = []
    while first := queue.first(BOB):
        order.append(first.id)
        queue.remove(first)
    assert order == ["0", "2"]  # a resource's messages stand in the contact's line
    assert {message.to.bare for message in queue} == {carol}
    assert [message.id for message in queue] == ["1", "3"]
    assert queue.first(BOB) is None


@pytest.mark.parametrize(("count", "full"), [(2, False), (3, True)])
def test_a_queue_is_limited(clock: Clock, count: int, full: bool) -> None:
    queue = Queue(clock, 3)
    for number in range(count):
        queue.put(queued(number))
    assert queue.is_full is full
    assert len(queue) == count
    queue.remove(next(iter(queue)))
    assert not queue.is_full


def test_a_limit_of_0_takes_nothing(clock: Clock) -> None:
    assert Queue(clock, 0).is_full


def test_removing_twice_counts_once(clock: Clock) -> None:
    queue = Queue(clock, 3)
    message = queued(1)
    queue.put(message)
    queue.remove(message)
    queue.remove(message)
    assert len(queue) == 0


def test_what_waited_too_long_is_taken_out(clock: Clock) -> None:
    queue = Queue(clock, 3)
    queue.put(queued(1, expires_at=1001))
    queue.put(queued(2, expires_at=1002))
    assert queue.expired() == []
    clock.now = 1001
    assert [message.id for message in queue.expired()] == ["1"]
    assert queue.expired() == []
    assert len(queue) == 1
