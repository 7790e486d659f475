"""What features see of the manager connection: one interface, and plain data."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

#: An event, a response or an item of a list: header to value. A header that comes several times (``Output``,
#: ``ChanVariable``) has its values joined by line breaks.
Message = Mapping[str, str]


class AmiState(enum.Enum):
    """Where the manager connection is."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    ONLINE = "online"
    WAITING = "waiting"  # it failed; `AmiInfo.error` says why, and it is tried again later


@dataclass(frozen=True, slots=True)
class AmiInfo:
    """What `agi-xmpp status` prints of the manager connection.

    Attributes:
        address: host and port.
        state: see `AmiState`.
        since: seconds since the epoch when the state began.
        error: one sentence about the last failure, "" after a success.
        version: of Asterisk's manager interface, such as ``11.0.0`` (Asterisk 22); "" before the first connection.
        connects: how often we logged in since start.
        events: how many came since start.
    """

    address: str
    state: AmiState
    since: float
    error: str = ""
    version: str = ""
    connects: int = 0
    events: int = 0


class AmiListener(Protocol):
    """Is told what happens on the connection, in the order of the wire. Called while it is read: never block."""

    def ami_connected(self) -> None:
        """We are logged in; events follow. Whatever happened before is unknown: ask for a ``Status``.

        It is told again, without `ami_disconnected` in between, when another login has taken the place of this one.
        """

    def ami_event(self, event: Message) -> None:
        """An event, not an item of a list that was asked for."""

    def ami_disconnected(self) -> None:
        """The connection is gone."""


class Ami(Protocol):
    """The manager connection to one Asterisk. It keeps itself connected from `start` to `stop`."""

    def info(self) -> AmiInfo:
        """Return the state for `agi-xmpp status`."""

    async def start(self) -> None:
        """Begin to connect, and return at once."""

    async def stop(self) -> None:
        """Log off and free everything; at most a second."""

    async def ready(self, timeout: float) -> None:
        """Return as soon as we are logged in.

        Args:
            timeout: seconds.

        Raises:
            AmiNotConnected, AmiRefused: not within ``timeout``; the text says why (the last failure).
        """

    async def action(
        self,
        name: str,
        headers: Mapping[str, str] | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Message:
        """Carry out an action and return its response. Nothing is ever sent twice.

        Args:
            name: such as ``Redirect``.
            headers: the others; ActionID is added.
            variables: channel variables, one ``Variable`` header each.
            timeout: seconds for the answer; the configuration's ``action_timeout`` without it.

        Raises:
            AmiArgumentError: it cannot be written; nothing was sent.
            AmiNotConnected: there is no connection; nothing was sent. It is not waited for.
            AmiRefused: Asterisk answered ``Error``.
            AmiUnknown: no answer; it may have been carried out.
        """

    async def items(
        self, name: str, headers: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> Sequence[Message]:
        """Carry out an action that answers with a list of events (``Status``, ``CoreShowChannels``); return its items.

        An empty list is one, also where Asterisk calls it an error. Raises as `action`.
        """
