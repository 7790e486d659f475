"""A dialog, and the order of what comes in it."""

from __future__ import annotations

import random

import pytest
from sipmessage import Response

from agi_xmpp.sip.dialog import MAX_GAP, Dialog, Order
from agi_xmpp.sip.wire import parse
from tests.unit.sip.exchange import HERE, THERE, respond


@pytest.fixture
def dialog() -> Dialog:
    return Dialog(
        call_id="c", local=HERE.uri("gw"), remote=THERE.uri("6000"), contact=HERE.uri("gw"), tag="near", sequence=5
    )


def established(dialog: Dialog, *headers: str) -> Dialog:
    answer = parse(respond(dialog.request("INVITE"), 200, "Via: SIP/2.0/UDP h;branch=x", *headers))
    assert isinstance(answer, Response)
    dialog.establish(answer)
    return dialog


def test_the_first_request(dialog):
    request = dialog.request("INVITE", display='Ro"meo')
    assert str(request.uri) == "sip:6000@127.0.0.1:5060"
    assert request.headers["From"] == '"Ro meo" <sip:gw@127.0.0.1:5070>;tag=near'
    assert request.headers["To"] == "<sip:6000@127.0.0.1:5060>"
    assert request.headers["CSeq"] == "6 INVITE"
    assert request.max_forwards == 70


def test_later_ones_go_where_the_answer_says(dialog):
    established(
        dialog,
        "Contact: <sip:here@127.0.0.9:5099>",
        "Record-Route: <sip:p1@127.0.0.1;lr>, <sip:p2@127.0.0.2;lr>",
    )
    request = dialog.request("MESSAGE")
    assert str(request.uri) == "sip:here@127.0.0.9:5099"
    assert request.to_address.parameters["tag"] == "far"
    assert [route.uri.user for route in request.route] == ["p2", "p1"]
    assert request.cseq.sequence == 7
    assert dialog.request("ACK", sequence=6).cseq.sequence == 6


@pytest.mark.parametrize("contact", ["Contact: nonsense", "Contact: <sip:x@pbx1>", "Contact: <sips:x@h>", "X: y"])
def test_a_contact_that_cannot_be_read_changes_nothing(dialog, contact):
    assert str(established(dialog, contact).request("BYE").uri) == "sip:6000@127.0.0.1:5060"


def test_in_order_all_goes_through():
    order: Order[str] = Order()
    assert [order.take(number, str(number)) for number in (5, 6, 7)] == [["5"], ["6"], ["7"]]
    assert not order.has_gap
    assert not order.is_new(6)
    assert order.is_new(8)


def test_what_has_no_order_closes_gaps_too():
    order: Order[str] = Order()
    assert order.take(5, "5") == ["5"]
    assert order.take(7, "7") == []
    assert order.has_gap
    assert not order.is_new(7)
    assert order.take(6, None) == ["7"]


def test_what_was_given_up_is_late_but_not_lost():
    order: Order[str] = Order()
    order.take(5, "5")
    for number in (7, 9):
        order.take(number, str(number))
    assert order.give_up() == ["7", "9"]
    assert not order.has_gap
    assert order.give_up() == []
    assert order.take(8, "8") == ["8"]
    assert not order.is_new(8)
    assert order.take(6, "6") == ["6"]
    assert order.take(10, "10") == ["10"]


@pytest.mark.parametrize(("before", "late"), [(1, True), (MAX_GAP, True), (MAX_GAP + 1, False)])
def test_the_first_that_comes_may_have_overtaken_others(before, late):
    order: Order[str] = Order()
    assert order.take(5000, "b") == ["b"]
    assert order.is_new(5000 - before) is late
    if late:
        assert order.take(5000 - before, "a") == ["a"]
        assert not order.is_new(5000 - before)


def test_of_two_bursts_at_once_nothing_is_lost_where_we_cannot_read_for_long():
    """The kernel kept the first 150; what came later comes again seconds after what is sent now."""
    order: Order[int] = Order()
    due: list[int] = []
    for number in [*range(1, 151), *range(601, 651), *range(151, 601)]:
        assert order.is_new(number)
        due += order.take(number, number)
    assert due == list(range(1, 651))


@pytest.mark.parametrize(("held", "given_up"), [(MAX_GAP - 1, False), (MAX_GAP, False), (MAX_GAP + 1, True)])
def test_so_many_wait_at_the_most(held, given_up):
    order: Order[int] = Order()
    order.take(0, 0)
    due: list[int] = []
    for number in range(2, 2 + held):
        due += order.take(number, number)
    assert bool(due) is given_up
    assert due == list(range(2, 2 + held))[: len(due)]


def test_a_leap_is_not_waited_for_number_by_number():
    order: Order[str] = Order()
    order.take(1, "a")
    order.take(3, "b")
    assert order.take(2_000_000_000, "c") == ["b"]
    assert order.give_up() == ["c"]
    assert order.is_new(1_999_999_999)
    assert not order.is_new(1_000_000_000)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_way_each_comes_once(seed):
    dice = random.Random(seed)
    order: Order[int] = Order()
    came: list[int] = []
    waiting = list(range(10, 400))
    due = []
    while waiting:
        number = waiting[min(int(dice.expovariate(0.2)), len(waiting) - 1)]
        if dice.random() < 0.7:
            waiting.remove(number)
        if order.is_new(number):
            came.append(number)
            due += order.take(number, number)
        if dice.random() < 0.02:
            due += order.give_up()
    due += order.give_up()
    assert sorted(due) == sorted(came)
    assert len(set(due)) == len(due)
    assert sorted(due) == list(range(10, 400))
