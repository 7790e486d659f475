"""Writes events as Asterisk does, for calls that nobody recorded."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TypeAlias

Event: TypeAlias = dict[str, str]


@dataclass(eq=False)
class Channel:
    """A channel, as it is at the end of what was written."""

    name: str
    uid: str
    linkedid: str
    state: str
    number: str
    person: str
    exten: str = ""
    connected: str = ""
    connected_name: str = ""
    bridge: str = ""
    application: str = ""

    def headers(self, prefix: str = "") -> Event:
        """Return the headers that all events of the channel have; unknown ones are written out."""
        values = {
            "Channel": self.name,
            "ChannelStateDesc": self.state,
            "CallerIDNum": self.number,
            "CallerIDName": self.person,
            "ConnectedLineNum": self.connected or "<unknown>",
            "ConnectedLineName": self.connected_name or "<unknown>",
            "Context": "internal",
            "Exten": self.exten,
            "Uniqueid": self.uid,
            "Linkedid": self.linkedid,
        }
        return {prefix + name: value for name, value in values.items()}


PEOPLE = {"101": "Alice", "102": "Bob", "103": "Carol", "104": "Dave"}


@dataclass
class Pbx:
    """Keeps the channels that are alive. Every method returns the events of what it does."""

    channels: dict[str, Channel] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    def channel(self, device: str, state: str, exten: str = "s", linkedid: str = "", uid: str = "") -> Channel:
        """Make a channel without saying so."""
        number = next(self._ids)
        uid = uid or f"17.{number}"
        extension = device.partition("/")[2].partition("@")[0]
        channel = Channel(
            f"{device}-{number:08x}", uid, linkedid or uid, state, extension, PEOPLE.get(extension, ""), exten
        )
        self.channels[uid] = channel
        return channel

    def calls(self, device: str, exten: str) -> tuple[Channel, list[Event]]:
        """A phone calls us."""
        channel = self.channel(device, "Ring", exten)
        return channel, [self.event("Newchannel", channel)]

    def originate(self, device: str, uid: str = "") -> tuple[Channel, list[Event]]:
        """We call a phone for nobody: action Originate."""
        channel = self.channel(device, "Down", uid=uid)
        channel.connected, channel.connected_name = channel.number, channel.person
        channel.application = "AppDial2"
        events = [self.event("Newchannel", channel), self.event("NewConnectedLine", channel)]
        events.append({"Event": "DialBegin", **channel.headers("Dest")})
        channel.state = "Ringing"
        return channel, [*events, self.event("Newstate", channel)]

    def dials(self, source: Channel, device: str, *, ringing_first: bool = False) -> tuple[Channel, list[Event]]:
        """The dialplan of ``source`` dials a phone."""
        dest = self.channel(device, "Down", source.exten, source.linkedid)
        source.application, dest.application = "Dial", "AppDial"
        events = [self.event("Newchannel", dest)]
        dest.connected, dest.connected_name = source.number, source.person
        events.append(self.event("NewConnectedLine", dest))
        begin = {"Event": "DialBegin", **source.headers(), **dest.headers("Dest")}
        dest.state = "Ringing"
        ringing = self.event("Newstate", dest)
        return dest, [*events, *([ringing, begin] if ringing_first else [begin, ringing])]

    def dial_end(self, source: Channel | None, dest: Channel, status: str, **more: str) -> list[Event]:
        """What was dialled took the call, or did not."""
        headers = source.headers() if source is not None else {}
        return [{"Event": "DialEnd", **headers, **dest.headers("Dest"), "DialStatus": status, **more}]

    def up(self, channel: Channel) -> list[Event]:
        """A phone is picked up, or the dialplan answers."""
        channel.state = "Up"
        return [self.event("Newstate", channel)]

    def answers(self, source: Channel, dest: Channel) -> list[Event]:
        """What was dialled takes the call, and both talk."""
        events = self.up(dest) + self.dial_end(source, dest, "ANSWER")
        if source.state != "Up":
            events += self.up(source)
        return events + self.connects(source, dest) + self.joins(f"b{dest.uid}", dest, source)

    def connects(self, one: Channel, other: Channel) -> list[Event]:
        """``one`` is told who ``other`` is."""
        one.connected, one.connected_name = other.number, other.person
        return [self.event("NewConnectedLine", one)]

    def joins(self, bridge: str, *channels: Channel) -> list[Event]:
        """Channels enter a bridge, and leave where they were."""
        events = []
        for channel in channels:
            events += self.leaves(channel)
            channel.bridge = bridge
            events.append(self._bridge("BridgeEnter", channel, bridge))
        return events

    def leaves(self, channel: Channel) -> list[Event]:
        """A channel leaves its bridge, if it is in one."""
        bridge, channel.bridge = channel.bridge, ""
        return [self._bridge("BridgeLeave", channel, bridge)] if bridge else []

    def hangup(self, channel: Channel, cause: int = 16) -> list[Event]:
        """A channel ends."""
        events = self.leaves(channel)
        del self.channels[channel.uid]
        return [*events, self.event("Hangup", channel, Cause=str(cause))]

    def event(self, name: str, channel: Channel, **more: str) -> Event:
        """Return an event about one channel."""
        return {"Event": name, **channel.headers(), **more}

    def statuses(self) -> list[Event]:
        """Return the items of action Status."""
        return [
            self.event("Status", channel, BridgeID=channel.bridge, Application=channel.application, Seconds="3")
            for channel in self.channels.values()
        ]

    def _bridge(self, name: str, channel: Channel, bridge: str) -> Event:
        size = sum(other.bridge == bridge for other in self.channels.values())
        return self.event(name, channel, BridgeUniqueid=bridge, BridgeNumChannels=str(size), BridgeType="basic")
