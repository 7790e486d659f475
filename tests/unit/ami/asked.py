"""A manager connection for tests of what is asked of Asterisk, and what is made of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agi_xmpp.ami.model import Message
from tests.unit.features.phone.fakes import FakeAmi


class AskedAmi(FakeAmi):
    """A `FakeAmi` that answers with lists, too.

    Attributes:
        lists: by the name of the action and its ``Conference``: items, an error, or a function of nothing that returns
            either.
        timeouts: that lists were asked for with.
    """

    def __init__(self, lists: Mapping[tuple[str, str], Any] | None = None, **answers: Any) -> None:
        super().__init__(**answers)
        self.lists: dict[tuple[str, str], Any] = dict(lists or {})
        self.timeouts: list[float | None] = []

    async def items(
        self, name: str, headers: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> Sequence[Message]:
        self.timeouts.append(timeout)
        await self.action(name, headers)
        answer = self.lists.get((name, (headers or {}).get("Conference", "")), [])
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        items: Sequence[Message] = answer
        return items
