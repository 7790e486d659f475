"""What Asterisk tells while something happens, in a compact form that tests can keep and read again.

One line an event: seconds since the first one, its name, ``key=value`` for each header that says something. Values may
hold spaces, but nothing that looks like `` key=``.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Self

from tests.testbed.ami import Ami, Message

#: Events about something else than calls, or of no use without the dialplan at hand; and what comes all the time.
_NOISE = frozenset(
    (
        *("FullyBooted", "SuccessfulAuth", "ChallengeSent", "Reload", "UserEvent", "Cdr", "CEL"),
        *("VarSet", "Newexten", "RTCPSent", "RTCPReceived", "ContactStatus", "PeerStatus", "Registry"),
        *("DeviceStateChange", "ExtensionStatus", "PresenceStatus", "QueueMemberStatus", "ChallengeResponseFailed"),
        *("TestEvent", "DTMFBegin", "DTMFEnd", "MessageWaiting", "AGIExecStart", "AGIExecEnd"),
    )
)
#: Headers that say what others say in words, or nothing about the call: they and their namesakes (``DestPriority``).
_DROPPED = ("Event", "Privilege", "ChannelState", "Language", "AccountCode", "Priority", "ActionID", "Content-Type")
#: The headers that begin a line.
_FIRST = (
    "Channel",
    "ChannelStateDesc",
    "CallerIDNum",
    "CallerIDName",
    "ConnectedLineNum",
    "ConnectedLineName",
    "Exten",
)


class Recorder:
    """Keeps the events of calls from `__aenter__` on.

    Args:
        ami: a connection that is told of all events.
    """

    def __init__(self, ami: Ami) -> None:
        self._ami = ami
        self._events: list[tuple[float, Message]] = []
        self._alive: set[str] = set()
        self._changed = asyncio.Event()
        self._marks = itertools.count(1)
        self._mark = ""

    async def __aenter__(self) -> Self:
        self._subscription = self._ami.subscribe(self._take)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._subscription.close()

    async def settled(self, timeout: float = 15.0) -> None:
        """Wait until all channels that appeared are gone, and all that was said up to now has come.

        Raises:
            TimeoutError: there are channels still; the text names them.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._until_no_channel()
                mark = f"mark-{id(self)}-{next(self._marks)}"
                await self._ami.action("UserEvent", UserEvent=mark)
                while self._mark != mark:
                    await self._wait()
        except TimeoutError:
            raise TimeoutError(f"channels that are still there: {sorted(self._alive)}") from None

    def lines(self) -> list[str]:
        """Return one line for each event that came."""
        begin = self._events[0][0] if self._events else 0.0
        return [line(moment - begin, event) for moment, event in self._events]

    def _take(self, event: Message) -> bool:
        name = event.get("Event", "")
        if name == "Newchannel":
            self._alive.add(event["Uniqueid"])
        elif name == "Hangup":
            self._alive.discard(event["Uniqueid"])
        elif name == "UserEvent":
            self._mark = event.get("UserEvent", "")
        if name and name not in _NOISE:
            self._events.append((time.monotonic(), event))
        self._changed.set()
        return False  # the subscription need not keep it as well

    async def _until_no_channel(self) -> None:
        while self._alive:
            await self._wait()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def line(seconds: float, event: Message) -> str:
    """Write an event as one line."""
    headers = {key: value for key, value in event.items() if _says_something(key, value)}
    ordered = [key for key in _FIRST if key in headers] + [key for key in headers if key not in _FIRST]
    # A header that came several times (ChanVariable) has line breaks in its value.
    pairs = (f"{key}={headers[key]}".replace("\n", ";") for key in ordered)
    return f"{seconds:6.2f} {event['Event']:<22} {' '.join(pairs)}"


def _says_something(key: str, value: str) -> bool:
    return value not in ("", "<unknown>", "<none>") and not key.endswith(_DROPPED)
