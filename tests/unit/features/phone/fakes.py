"""A manager connection without Asterisk: it takes actions down, and answers as it was told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agi_xmpp.ami.model import AmiInfo, AmiState, Message
from agi_xmpp.ami.wire import encode_action

#: What an action does: its answer; an error to raise; or a function of its headers that returns one of the two.
Answer = Mapping[str, str] | Exception | Callable[[dict[str, str]], Any]

SUCCESS: Mapping[str, str] = {"Response": "Success"}


class FakeAmi:
    """Answers each action by what `answers` says for its name, by `SUCCESS` otherwise.

    Every action is written as the real connection would write it, so that what AMI cannot carry fails here, too.

    Attributes:
        answers: by the name of the action.
        actions: what came: name, headers and variables.
        wire: the same as bytes.
    """

    def __init__(self, **answers: Answer) -> None:
        self.answers: dict[str, Answer] = answers
        self.actions: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.wire: list[bytes] = []
        self.came = asyncio.Event()

    def info(self) -> AmiInfo:
        return AmiInfo("127.0.0.1:5038", AmiState.ONLINE, 0.0)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def ready(self, timeout: float) -> None: ...

    async def action(
        self,
        name: str,
        headers: Mapping[str, str] | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Message:
        self.wire.append(encode_action(name, "1", headers, variables))
        self.actions.append((name, dict(headers or {}), dict(variables or {})))
        self.came.set()
        await asyncio.sleep(0)  # as the real one: others run meanwhile
        answer = self.answers.get(name, SUCCESS)
        if callable(answer):
            answer = answer(dict(headers or {}))
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Mapping)
        return answer

    async def items(
        self, name: str, headers: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> Sequence[Message]:
        await self.action(name, headers)
        return []

    def taken(self) -> list[tuple[str, dict[str, str]]]:
        """Return names and headers of the actions since the last time."""
        taken, self.actions = self.actions, []
        return [(name, headers) for name, headers, _variables in taken]

    @property
    def names(self) -> list[str]:
        return [name for name, _headers, _variables in self.actions]
