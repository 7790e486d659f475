from __future__ import annotations

import logging

from agi_xmpp.ami.listeners import Listeners
from agi_xmpp.ami.model import Message


class Ear:
    def __init__(self, *, deaf: bool = False) -> None:
        self.heard: list[str] = []
        self._deaf = deaf

    def _hear(self, what: str) -> None:
        if self._deaf:
            raise RuntimeError("deaf")
        self.heard.append(what)

    def ami_connected(self) -> None:
        self._hear("connected")

    def ami_event(self, event: Message) -> None:
        self._hear(event["Event"])

    def ami_disconnected(self) -> None:
        self._hear("disconnected")


def tell(listeners: Listeners) -> None:
    listeners.ami_connected()
    listeners.ami_event({"Event": "Hangup"})
    listeners.ami_disconnected()


def test_everybody_hears_everything_in_order():
    listeners, one, two = Listeners(), Ear(), Ear()
    listeners.add(one)
    listeners.add(two)
    tell(listeners)
    assert one.heard == two.heard == ["connected", "Hangup", "disconnected"]
    listeners.remove(one)
    tell(listeners)
    assert (len(one.heard), len(two.heard)) == (3, 6)


def test_one_that_fails_keeps_nothing_from_the_others(caplog):
    listeners, ear = Listeners(), Ear()
    listeners.add(Ear(deaf=True))
    listeners.add(ear)
    with caplog.at_level(logging.ERROR, "agi_xmpp.ami"):
        tell(listeners)
    assert ear.heard == ["connected", "Hangup", "disconnected"]
    assert len(caplog.records) == 3
