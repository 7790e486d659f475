"""What the XMPP client Spark does with the phone protocol, as a program: feed it every stanza that it would receive.

Written after its classes PhonePlugin, PhoneClient, IncomingCall, BroadcastPlugin and StatusBar (2.8.3 and 3.1). It has
one place for the presence before a call, which it never clears, and does not look at call ids.
"""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from agi_xmpp.xmpp.phone_model import EventType, PhoneEvent

NAMESPACE = "http://jivesoftware.com/xmlns/phone"


@dataclass(frozen=True)
class Shown:
    """A presence: what the user's contacts see."""

    show: str = "available"
    status: str = "Online"
    priority: int = 1


ONLINE = Shown()
ON_THE_PHONE = Shown("away", "On the phone")


@dataclass(frozen=True)
class Toast:
    """The window that pops up when the phone rings. Spark shows a number only if it has ten characters."""

    name: str
    number: str


@dataclass
class Spark:
    """One Spark, logged in.

    Attributes:
        version: "3.1" or "2.8".
        bar: the presence now.
        presences: all that were sent, in order.
        toasts: the windows that popped up.
        alerts: windows with the text of a message, which no phone event may open.
        dial_window: open, because somebody has clicked to dial.
    """

    version: str = "3.1"
    bar: Shown = ONLINE
    presences: list[Shown] = field(default_factory=list)
    toasts: list[Toast] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    dial_window: bool = False
    _before: Shown | None = None

    def choose(self, presence: Shown) -> None:
        """The user sets a presence by hand."""
        self.bar = presence
        self.presences.append(presence)

    def dial(self) -> None:
        """The user clicks to dial; the window closes when the phone does something."""
        self.dial_window = True

    def receive(self, stanza: ET.Element) -> None:
        """A stanza comes, of any kind and from anywhere: Spark looks at neither."""
        if stanza.tag.rpartition("}")[2] == "message":
            self._look_for_broadcast(stanza)
        events = stanza.findall(f"{{{NAMESPACE}}}phone-event")
        for event in events[:1] if self.version == "2.8" else events:
            self._react(event)

    def _react(self, event: ET.Element) -> None:
        kind = event.get("type")
        if kind is None and self.version == "2.8":
            raise ValueError("Spark 2.8 fails to read a phone-event without type")
        if kind == "RING":
            number = _text(event, "callerID")
            self.toasts.append(Toast(_text(event, "callerIDName"), number if len(number.strip()) == 10 else ""))
        elif kind == "ON_PHONE":
            self.dial_window = False
            self._before = self.bar
            self.choose(ON_THE_PHONE)
        elif kind == "HANG_UP":
            self.dial_window = False
            self.choose(self._before or ONLINE)

    def _look_for_broadcast(self, message: ET.Element) -> None:
        """Spark shows as a broadcast: what comes from a bare domain, and headlines and normal messages with a body."""
        sender, kind = message.get("from", ""), message.get("type", "normal")
        body = next((child.text or "" for child in message if child.tag.rpartition("}")[2] == "body"), None)
        # A component has a domain for its address, too: it is the user's own domain that Spark asks about.
        own_domain = message.get("to", "").partition("/")[0].rpartition("@")[2]
        if sender == own_domain or (body is not None and kind in ("normal", "headline")):
            self.alerts.append(body or "")


@dataclass
class Watched:
    """A Spark, and what is true in Asterisk about the phones of its user: checks after each step that both agree.

    A *step* is what arrives because of one thing that happened.

    Attributes:
        spark: whose side is checked.
        talking: the calls in which the user talks.
        rung: how many calls have rung.
        quiet: the presence that the user has chosen.
    """

    spark: Spark = field(default_factory=Spark)
    talking: set[str] = field(default_factory=set)
    rung: int = 0
    quiet: Shown = ONLINE

    def choose(self, presence: Shown) -> None:
        """The user sets a presence by hand, while not on the phone."""
        assert not self.talking
        self.spark.choose(presence)
        self.quiet = presence

    def check(self) -> None:
        """Fail unless Spark shows what is true."""
        spark = self.spark
        assert (spark.bar == ON_THE_PHONE) == bool(self.talking), (spark.bar, self.talking)
        assert self.talking or spark.bar == self.quiet, (spark.bar, self.quiet)
        assert len(spark.toasts) == self.rung, spark.toasts
        assert spark.alerts == []


_ids = itertools.count(1)


def stanza_of(event: PhoneEvent) -> ET.Element:
    """Return an event as it stands on the wire."""
    message = ET.Element("message", {"type": "headline", "from": "phone.example.org", "id": f"pe-{next(_ids)}"})
    message.set("to", "alice@example.org/Spark")
    names = {"type": event.type, "status": event.type, "callID": event.call_id, "id": event.call_id}
    child = ET.SubElement(message, f"{{{NAMESPACE}}}phone-event", {**names, "device": event.device})
    if event.type is not EventType.HANG_UP:
        ET.SubElement(child, f"{{{NAMESPACE}}}callerID").text = event.caller_id
    if event.type in (EventType.RING, EventType.DIALED):
        ET.SubElement(child, f"{{{NAMESPACE}}}callerIDName").text = event.caller_name
    return message


def _text(event: ET.Element, name: str) -> str:
    return event.findtext(f"{{{NAMESPACE}}}{name}") or ""
