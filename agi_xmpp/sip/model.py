"""What the other rooms see of a leg. Pure."""

from __future__ import annotations

from typing import Protocol


class LegListener(Protocol):
    """Is told what happens on a leg, in the order of the wire. Called while it is read: never block."""

    def text_came(self, display: str, text: str) -> None:
        """Somebody in the conference has sent a text.

        Args:
            display: the name that the phone gives itself, "" if none. It proves nothing.
            text: never empty.
        """

    def ended(self, reason: str) -> None:
        """The leg is over, and we did not ask for that; the reason is one sentence. Nothing comes after it."""
