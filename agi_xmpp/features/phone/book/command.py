"""The administrator's own program as a source: it gets a number, and prints what it knows as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import Sequence

from agi_xmpp.errors import ConfigError
from agi_xmpp.features.phone.book.model import Entry, SourceError, entry
from agi_xmpp.features.phone.book.number import Number

#: Programs at once. Each may be a whole interpreter with a database connection; more calls than that wait their turn.
MAX_RUNNING = 4
#: Bytes of its answer: four fields, and what else its JSON has.
MAX_ANSWER = 64 * 1024
#: Bytes of its complaints that are read; the last line of them goes into the log.
MAX_COMPLAINTS = 4096

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
        program = shutil.which(words[0])
        if program is None:
            raise ConfigError(f"phone.book.command: no program {words[0]!r}")
        self._words = [program, *words[1:]]
        self._name = words[0]
        self._turns = asyncio.Semaphore(MAX_RUNNING)

    @property
    def name(self) -> str:
        """For logs and reports."""
        return f"command {self._name}"

    async def find(self, number: Number) -> Entry | None:
        """Ask the program; SourceError if it fails. Being cancelled kills it with its children."""
        async with self._turns:
            answer = await self._run(number.best)
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

    async def _run(self, number: str) -> bytes:
        try:
            # The administrator's own command, as a list of words: no shell. The number is safe (see above).
            process = await asyncio.create_subprocess_exec(
                *self._words,
                number,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=MAX_ANSWER,
                start_new_session=True,  # its children can be killed with it
            )
        except OSError as error:
            raise SourceError(f"{self.name}: {error.strerror}") from None
        assert process.stdout is not None  # noqa: S101 - PIPE above
        assert process.stderr is not None  # noqa: S101
        finished = False
        complaining = asyncio.create_task(_last_line(process.stderr))
        try:
            answer = await _read(process.stdout, MAX_ANSWER)
            if answer is None:
                raise SourceError(f"{self.name} printed more than {MAX_ANSWER // 1024} KiB")
            complaint = await complaining
            code = await process.wait()
            finished = True
        finally:
            complaining.cancel()
            if not finished:
                await _kill(process)
        if code != 0:
            ending = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
            raise SourceError(f"{self.name} {ending}" + (f": {complaint}" if complaint else ""))
        return answer


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes | None:
    """Read to the end; None if there are more than ``limit`` bytes."""
    data = b""
    while chunk := await stream.read(limit + 1 - len(data)):
        data += chunk
        if len(data) > limit:
            return None
    return data


async def _last_line(stream: asyncio.StreamReader) -> str:
    """Read to the end, so that the writer never waits for us, and return the last line of the last bytes."""
    data = b""
    while chunk := await stream.read(MAX_COMPLAINTS):
        data = (data + chunk)[-MAX_COMPLAINTS:]
    lines = data.decode(errors="replace").splitlines()
    return "".join(character for character in (lines or [""])[-1] if character.isprintable())[:200]


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # A kill cannot be refused: this ends at once, also while we are being cancelled.
    await process.wait()
