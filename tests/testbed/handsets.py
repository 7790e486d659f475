"""The telephones of one test, of whatever kind its exchange has."""

from __future__ import annotations

import contextlib
from typing import Generic, Protocol, Self, TypeVar

_Phone_co = TypeVar("_Phone_co", covariant=True)


class HasPhones(Protocol[_Phone_co]):
    """An exchange."""

    def phone(self, number: str) -> contextlib.AbstractAsyncContextManager[_Phone_co]:
        """Return one of its telephones; use it by ``async with``."""


class Handsets(Generic[_Phone_co]):
    """Switches on telephones of an exchange, and all of them off at the end. Use it by ``async with``."""

    def __init__(self, exchange: HasPhones[_Phone_co]) -> None:
        self._exchange = exchange
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    async def __call__(self, *numbers: str) -> list[_Phone_co]:
        """Switch on phones by their numbers (``"101", "102"``); they are registered when this returns."""
        return [await self._stack.enter_async_context(self._exchange.phone(number)) for number in numbers]
