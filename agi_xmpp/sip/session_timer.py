"""Session timers (RFC 4028): who says how often that the call still is. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sipmessage import Message

#: Seconds: the shortest interval (RFC 4028 section 4).
MIN_INTERVAL: Final = 90
#: A longer one is as good as none.
_MAX_INTERVAL: Final = 86_400

_SECONDS = re.compile(r"(\d{1,9})\s*(?:;.*)?", re.S)
_REFRESHER = re.compile(r";\s*refresher\s*=\s*(uac|uas)\b", re.I)


@dataclass(frozen=True, slots=True)
class Session:
    """What both sides agreed on.

    Attributes:
        interval: seconds after which the call is over if nobody has refreshed it.
        we_refresh: it is our task.
    """

    interval: int
    we_refresh: bool

    @property
    def ends_after(self) -> float:
        """Seconds without a refresh after which we hang up (section 10): a little before it expires."""
        return self.interval - min(32.0, self.interval / 3)

    def header(self, *, we_ask: bool) -> str:
        """Return the value of Session-Expires.

        Args:
            we_ask: the request is ours, so that "uac" means us.
        """
        return f"{self.interval};refresher={'uac' if self.we_refresh is we_ask else 'uas'}"


def agreed(message: Message, *, we_ask: bool) -> Session | None:
    """Return what a message says of the session, None if it has no timer.

    Args:
        message: the 2xx to a request of ours, or a request of the other side.
        we_ask: the former.
    """
    interval = interval_of(message)
    if interval is None:
        return None
    found = _REFRESHER.search(message.headers.get("Session-Expires", "") or "")
    refresher = found[1].casefold() if found else "uac"
    return Session(min(max(interval, MIN_INTERVAL), _MAX_INTERVAL), (refresher == "uac") is we_ask)


def interval_of(message: Message) -> int | None:
    """Return the seconds that Session-Expires names; None without one that makes sense."""
    return _seconds(message, "Session-Expires")


def least_of(message: Message) -> int | None:
    """Return the seconds that Min-SE of a 422 names, if that is an interval that we had not asked for anyway."""
    least = _seconds(message, "Min-SE")
    return least if least is not None and MIN_INTERVAL < least <= _MAX_INTERVAL else None


def _seconds(message: Message, header: str) -> int | None:
    found = _SECONDS.fullmatch((message.headers.get(header, "") or "").strip())
    return int(found[1]) if found else None
