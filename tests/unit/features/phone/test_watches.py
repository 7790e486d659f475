"""Tell me when Ann is free."""

from __future__ import annotations

from typing import Any

import pytest

from agi_xmpp.config import PhoneSettings
from agi_xmpp.errors import NotConnected, Refused
from agi_xmpp.features.phone.people import People
from agi_xmpp.features.phone.watches import WATCH_TTL, WATCHES_EACH, Watches
from agi_xmpp.xmpp.model import Button
from tests.unit.clock import Clock
from tests.unit.features.fakes import FakeSession
from tests.unit.features.phone.house import ANN, BOB, CAROL, person

WAITS = "You will be told when Ann Smith is free, for the next 8 hours."
FREE = "Ann Smith is free again: call 101"


class Stage:
    def __init__(self, **results: Any) -> None:
        self.session = FakeSession(**results)
        self.busy = {ANN, BOB, CAROL}
        self.clock = Clock()
        self.watches = Watches(self.session, lambda who: who.jid not in self.busy, self.clock)

    def free(self, who: Any) -> None:
        self.busy.discard(who)
        self.watches.look(person(who))

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(args[0], args[1]) for _, args, _ in self.session.calls]


def test_one_message_when_the_moment_has_come():
    stage = Stage()
    assert stage.watches.add(person(BOB), person(ANN)) == WAITS
    stage.watches.look(person(ANN))
    stage.free(CAROL)
    assert stage.said == []
    stage.free(ANN)
    assert stage.said == [("bob@x.org", FREE)]
    extras = stage.session.calls[0][2]["extras"]
    assert (extras.buttons, extras.expects_answer) == ((Button("call 101", "Call Ann Smith", "dial/101"),), False)
    stage.watches.look(person(ANN))
    assert len(stage.said) == 1


def test_who_is_free_is_free_at_once():
    stage = Stage()
    stage.free(ANN)
    assert stage.watches.add(person(BOB), person(ANN)) == "Ann Smith is free now: call 101"
    stage.watches.look(person(ANN))
    assert stage.said == []


def test_asking_twice_gives_one_message():
    stage = Stage()
    stage.watches.add(person(BOB), person(ANN))
    assert stage.watches.add(person(BOB), person(ANN)) == WAITS
    assert stage.watches.of(person(BOB)) == [person(ANN)]
    stage.free(ANN)
    assert len(stage.said) == 1


def test_several_wait_for_one():
    stage = Stage()
    stage.watches.add(person(BOB), person(ANN))
    stage.watches.add(person(CAROL), person(ANN))
    stage.free(ANN)
    assert stage.said == [("bob@x.org", FREE), ("carol@x.org", FREE)]


def test_nobody_waits_for_themselves():
    with pytest.raises(Refused, match="know that yourself"):
        Stage().watches.add(person(BOB), person(BOB))


@pytest.mark.parametrize(("seconds", "told"), [(WATCH_TTL - 1, 1), (WATCH_TTL, 0), (WATCH_TTL + 1, 0)])
def test_it_ends(seconds, told):
    stage = Stage()
    stage.watches.add(person(BOB), person(ANN))
    stage.clock.now += seconds
    stage.free(ANN)
    assert len(stage.said) == told


def test_asking_again_begins_anew():
    stage = Stage()
    stage.watches.add(person(BOB), person(ANN))
    stage.clock.now += WATCH_TTL - 1
    stage.watches.add(person(BOB), person(ANN))
    stage.clock.now += WATCH_TTL - 1
    assert stage.watches.of(person(BOB)) == [person(ANN)]


def test_a_limit_for_each():
    stage = Stage()
    users: dict[str, Any] = {f"u{n}@x.org": {"devices": [f"PJSIP/{n}"]} for n in range(WATCHES_EACH + 1)}
    others = list(People(PhoneSettings(account="m", context="c", user=users)))
    for other in others[:-1]:
        stage.busy.add(other.jid)
        stage.watches.add(person(BOB), other)
    stage.busy.add(others[-1].jid)
    with pytest.raises(Refused, match=f"wait for {WATCHES_EACH} people") as caught:
        stage.watches.add(person(BOB), others[-1])
    assert caught.value.condition == "resource-constraint"
    stage.watches.add(person(BOB), others[0])  # again, which is no further one
    stage.watches.add(person(CAROL), others[-1])
    assert stage.watches.remove(person(BOB)) == WATCHES_EACH
    assert stage.watches.of(person(CAROL)) == [others[-1]]


def test_a_message_that_cannot_be_sent(caplog):
    stage = Stage(queue_message=NotConnected("the queue is full"))
    stage.watches.add(person(BOB), person(ANN))
    stage.free(ANN)
    assert "bob@x.org is not told that ann@x.org is free: the queue is full" in caplog.text
