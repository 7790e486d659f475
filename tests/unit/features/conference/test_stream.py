"""What is said while the XMPP server is away."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest

from agi_xmpp.errors import NotConnected
from agi_xmpp.features.conference.stream import HOLD_LIMIT, HOLD_TIME, MARK_TIME, Outgoing
from tests.unit.clock import Clock


class Port:
    """A stream that is there or not."""

    domain = "conference.example.org"

    def __init__(self) -> None:
        self.online = True
        self.breaks_at = -1
        self.sent: list[Element] = []
        self.marks: list[Element] = []

    def send(self, stanza: Element) -> None:
        if stanza.get("to") == self.domain:
            self.marks.append(stanza)
        elif not self.online or len(self.sent) == self.breaks_at:
            raise NotConnected("gone")
        else:
            self.sent.append(stanza)


class House:
    def __init__(self) -> None:
        self.port = Port()
        self.clock = Clock()
        self.lost = 0
        self.outgoing = Outgoing(self._lose, self.clock)
        self.outgoing.use(self.port)

    def _lose(self) -> None:
        self.lost += 1

    def say(self, *names: str) -> None:
        for name in names:
            self.outgoing.send(Element(name))

    def bring_back(self) -> None:
        """Let the server bring back the marks that it has."""
        marks, self.port.marks = self.port.marks, []
        for mark in marks:
            assert self.outgoing.came_back(mark)

    def break_off(self) -> None:
        """End the stream, and begin another one."""
        self.port.online = False
        self.port.marks.clear()
        self.outgoing.stream_ended()
        self.port.online = True
        self.outgoing.stream_began()

    @property
    def arrived(self) -> list[str]:
        return [stanza.tag for stanza in self.port.sent]


@pytest.fixture
def house() -> House:
    return House()


def test_with_a_stream_it_goes_at_once(house):
    house.say("a", "b")
    assert house.arrived == ["a", "b"]


def test_without_one_it_waits_and_keeps_its_order(house):
    house.port.online = False
    house.say("a", "b")
    house.port.online = True
    house.say("c")  # the stream is there, but we have not been told: nothing may overtake
    assert house.arrived == []
    house.outgoing.stream_began()
    assert house.arrived == ["a", "b", "c"]
    assert house.lost == 0


def test_before_there_is_a_port_it_waits():
    port = Port()
    outgoing = Outgoing(lambda: None)
    outgoing.send(Element("a"))
    outgoing.use(port)
    outgoing.stream_began()
    assert [stanza.tag for stanza in port.sent] == ["a"]


def test_a_stream_that_breaks_again_half_way_loses_nothing(house):
    house.port.online = False
    house.say("a", "b", "c")
    house.port.online = True
    house.port.breaks_at = 1
    house.outgoing.stream_began()
    assert house.arrived == ["a"]
    house.port.breaks_at = -1
    house.outgoing.stream_began()
    assert house.arrived == ["a", "b", "c"]


@pytest.mark.parametrize(("seconds", "lost"), [(HOLD_TIME - 1, 0), (HOLD_TIME, 0), (HOLD_TIME + 1, 1)])
def test_what_is_too_old_is_not_sent(house, seconds, lost, caplog):
    house.port.online = False
    house.say("a")
    house.clock.now += seconds
    house.port.online = True
    house.outgoing.stream_began()
    assert house.lost == lost
    assert house.arrived == ([] if lost else ["a"])
    assert ("has to enter anew" in caplog.text) == bool(lost)


@pytest.mark.parametrize(("count", "lost"), [(HOLD_LIMIT - 1, 0), (HOLD_LIMIT, 0), (HOLD_LIMIT + 1, 1)])
def test_too_much_is_not_kept_and_everybody_comes_in_anew(house, count, lost, caplog):
    house.port.online = False
    house.say(*["a"] * count)
    house.port.online = True
    house.outgoing.stream_began()
    assert house.lost == lost
    assert len(house.arrived) == (0 if lost else count)
    house.say("b")
    assert house.arrived[-1] == "b"
    house.outgoing.stream_began()
    assert house.lost == lost  # it is forgotten


def test_a_long_break_in_which_nothing_was_said_costs_nothing(house):
    house.port.online = False
    house.clock.now += 10 * HOLD_TIME
    house.port.online = True
    house.outgoing.stream_began()
    assert house.lost == 0


def test_a_stanza_that_cannot_be_sent_keeps_no_other_from_it(house, caplog, monkeypatch):
    send = house.port.send

    def picky(stanza: Element) -> None:
        if stanza.tag == "bad":
            raise ValueError("a stanza holds the character U+0001, which XMPP cannot carry")
        send(stanza)

    monkeypatch.setattr(house.port, "send", picky)
    house.say("a", "bad", "b")
    house.port.online = False
    house.say("c", "bad", "d")
    house.port.online = True
    house.outgoing.stream_began()
    assert house.arrived == ["a", "b", "c", "d"]
    assert caplog.text.count("U+0001") == 2


def test_what_the_server_may_not_have_is_sent_again_and_in_order(house):
    house.say("a")
    house.bring_back()
    house.say("b", "c")
    house.break_off()
    assert house.arrived == ["a", "b", "c", "b", "c"]
    assert house.lost == 0


def test_what_the_server_has_is_not_sent_again(house):
    house.say("a", "b", "c")
    house.bring_back()  # of the first
    house.bring_back()  # of the others
    house.break_off()
    assert house.arrived == ["a", "b", "c"]
    assert house.port.marks == []


def test_a_mark_stands_for_what_was_sent_before_it(house):
    house.say("a", "b")
    house.bring_back()
    house.break_off()
    assert house.arrived == ["a", "b", "b"]


def test_what_was_sent_goes_before_what_waits(house):
    house.say("a")
    house.port.online = False
    house.say("b")
    house.break_off()
    assert house.arrived == ["a", "a", "b"]


def test_a_mark_of_an_earlier_stream_means_nothing(house):
    house.say("a")
    (old,) = house.port.marks
    house.break_off()
    assert house.outgoing.came_back(old)
    house.break_off()
    assert house.arrived == ["a", "a", "a"]


def test_one_mark_is_on_its_way_at_once(house):
    house.say(*"abcdef")
    assert len(house.port.marks) == 1


def test_other_stanzas_are_no_marks(house):
    house.say("a")
    (mark,) = house.port.marks
    foreign = Element(mark.tag, {**mark.attrib, "from": "romeo@example.org"})
    assert not house.outgoing.came_back(foreign)
    assert not house.outgoing.came_back(Element("{jabber:client}iq", mark.attrib))
    assert not Outgoing(lambda: None).came_back(mark)


@pytest.mark.parametrize(("count", "lost"), [(HOLD_LIMIT - 1, 0), (HOLD_LIMIT, 0), (HOLD_LIMIT + 1, 1)])
def test_too_much_that_the_server_may_not_have_lets_everybody_come_in_anew(house, count, lost):
    house.say(*["a"] * count)
    house.break_off()
    assert house.lost == lost
    assert len(house.arrived) == (count if lost else 2 * count)


def test_a_server_that_takes_much_at_once_and_says_so_has_it(house):
    house.say(*["a"] * (2 * HOLD_LIMIT))
    house.bring_back()
    house.bring_back()
    house.break_off()
    assert len(house.arrived) == 2 * HOLD_LIMIT
    assert house.lost == 0


@pytest.mark.parametrize(("seconds", "again"), [(MARK_TIME, ["a", "b"]), (MARK_TIME + 1, [])])
def test_where_no_mark_comes_back_nothing_is_kept_and_nothing_sent_twice(house, seconds, again, caplog):
    house.say("a")
    house.clock.now += seconds
    house.say("b")
    house.port.sent.clear()
    house.break_off()
    house.outgoing.stream_began()
    assert house.arrived == again
    assert caplog.text.count("does not bring our own messages back") == (0 if again else 1)


def test_a_mark_that_comes_too_late_means_nothing(house):
    house.say("a")
    house.clock.now += MARK_TIME + 1
    house.say("b")
    house.bring_back()
    house.say("c")
    assert house.arrived == ["a", "b", "c"]
    assert house.port.marks == []


@pytest.mark.parametrize(("count", "kept"), [(HOLD_LIMIT - 1, True), (HOLD_LIMIT, True), (HOLD_LIMIT + 1, False)])
def test_what_a_server_that_hangs_does_not_bring_back_is_sent_again(house, count, kept):
    house.say("a")
    house.bring_back()
    house.say("b")
    house.clock.now += MARK_TIME + 1
    house.say(*["c"] * (count - 1))
    house.port.sent.clear()
    house.break_off()
    assert house.arrived == (["b", *["c"] * (count - 1)] if kept else [])
    assert house.lost == 0
