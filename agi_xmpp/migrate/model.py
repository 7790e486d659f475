"""The plain data of a migration."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agi_xmpp.errors import UsageError

DEFAULT_SERVER = "agi://127.0.0.1"

_SERVER = re.compile(r"agi://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?", re.IGNORECASE)


class Unclear(Exception):
    """A place that has to be looked at by a human; the text is the reason. Caught within this package."""


@dataclass(frozen=True, slots=True)
class Step:
    """One application call of the new dialplan.

    Attributes:
        app: the application.
        data: its arguments, as they are before variables are replaced and before the file's own escapes.
    """

    app: str
    data: str

    def __str__(self) -> str:
        return f"{self.app}({self.data})"


@dataclass(frozen=True, slots=True)
class Change:
    """One line or statement that was rewritten.

    Attributes:
        file: as the caller named it.
        line: its number in the original, from 1.
        before: what stood there.
        after: what stands there now, one application a line.
        notes: what a reader should know about it.
    """

    file: str
    line: int
    before: str
    after: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Remark:
    """One place that was left as it is, and why a human should look at it."""

    file: str
    line: int
    text: str


@dataclass(slots=True)
class Outcome:
    """What became of one file.

    Attributes:
        file: as the caller named it.
        before, after: the whole text.
        changes, remarks: in the order of the file.
    """

    file: str
    before: str
    after: str
    changes: list[Change] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Target:
    """How the new dialplan reaches agi-xmpp, and what is known of the whole dialplan.

    Attributes:
        server: such as ``agi://127.0.0.1:4573``.
        message_status: whether the dialplan reads MESSAGE_SEND_STATUS, so that it has to be set.

    Raises:
        UsageError: ``server`` is not ``agi://host[:port]``.
    """

    server: str = DEFAULT_SERVER
    message_status: bool = False

    def __post_init__(self) -> None:
        match = _SERVER.fullmatch(self.server)
        if not match or (match[2] and not 0 < int(match[2][1:]) < 65536):
            raise UsageError(f"{self.server}: must be agi://host or agi://host:port")

    def agi(self, verb: str, *arguments: str, options: str = "") -> Step:
        """Return the call of a verb."""
        address = f"{self.server}/{verb}" + (f"?{options}" if options else "")
        return Step("AGI", ",".join([address, *arguments]))
