"""The administrator's own program as a source: it gets a number, and prints what it knows as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from agi_xmpp import program
from agi_xmpp.errors import ConfigError
from agi_xmpp.features.phone.book.model import Entry, SourceError, entry
from agi_xmpp.features.phone.book.number import Number

#: Programs at once. Each may be a whole interpreter with a database connection; more calls than that wait their turn.
MAX_RUNNING = 4
#: Bytes of its answer: four fields, and what else its JSON has.
MAX_ANSWER = 64 * 1024

_FIELDS = ("name", "company", "link", "avatar")


class CommandSource:
    """A program. Implements `Source`.

    It gets the number as its last argument: in E.164 if it has such a form, else the digits. The argument begins with a
    digit, ``+``, ``*`` or ``#`` and holds nothing else, so that it can neither be taken for an option nor harm a shell.

    It prints one JSON object, or nothing if it does not know the number, and ends with exit code 0.

    Args:
        words: the program and its first arguments.

    Raises:
        ConfigError: there is no such program.
    """

    def __init__(self, words: Sequence[str]) -> None:
        path = program.find(words[0])
        if path is None:
            raise ConfigError(f"phone.book.command: no program {words[0]!r}")
        self._words = [path, *words[1:]]
        self._name = words[0]
        self._turns = asyncio.Semaphore(MAX_RUNNING)

    @property
    def name(self) -> str:
        """For logs and reports."""
        return f"command {self._name}"

    async def find(self, number: Number) -> Entry | None:
        """Ask the program; SourceError if it fails. Being cancelled kills it with its children."""
        async with self._turns:
            try:
                answer = await program.run([*self._words, number.best], limit=MAX_ANSWER)
            except program.ProgramError as error:
                raise SourceError(f"{self.name} {error}") from None
        if not answer.strip():
            return None
        try:
            data = json.loads(answer)
        except (ValueError, RecursionError):  # RecursionError: "[[[[…"
            raise SourceError(f"{self.name} printed something that is not JSON") from None
        return self._entry(data)

    async def stop(self) -> None:
        """Do nothing: whoever cancels `find` ends the program."""

    def _entry(self, data: object) -> Entry | None:
        if data is None:
            return None
        if not isinstance(data, dict):
            raise SourceError(f"{self.name} printed no JSON object")
        fields = {key: data.get(key) or "" for key in _FIELDS}
        for key, value in fields.items():
            if not isinstance(value, str):
                raise SourceError(f"{self.name} printed {key} that is not a text")
        return entry(**fields, source=self.name)
