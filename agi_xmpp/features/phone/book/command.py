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
#: Characters of that line.
MAX_COMPLAINT = 200

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
        transport, run = await self._start(number)
        try:
            await run.over
        except _TooMuch:
            raise SourceError(f"{self.name} printed more than {MAX_ANSWER // 1024} KiB") from None
        finally:
            await _end(transport, run)
        code = transport.get_returncode()
        if code:
            ending = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
            raise SourceError(f"{self.name} {ending}" + (f": {run.complaint}" if run.complaint else ""))
        return bytes(run.answer)

    async def _start(self, number: str) -> tuple[asyncio.SubprocessTransport, _Run]:
        # The administrator's own command, as a list of words: no shell. The number is safe (see above). The session of
        # its own lets its children be killed with it.
        starting = asyncio.ensure_future(
            asyncio.get_running_loop().subprocess_exec(
                _Run, *self._words, number, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )
        )
        try:
            return await asyncio.shield(starting)
        except OSError as error:
            raise SourceError(f"{self.name}: {error.strerror}") from None
        except asyncio.CancelledError:
            # asyncio itself would end the program here, but not the children that it may have already.
            with contextlib.suppress(OSError):
                await _end(*await starting)
            raise


class _TooMuch(Exception):
    """The answer is longer than `MAX_ANSWER`."""


class _Run(asyncio.SubprocessProtocol):
    """One run of the program.

    Attributes:
        over: done when it and all who have its pipes have ended; fails with `_TooMuch` as soon as that is so.
        complete: they have ended.
        exited: done when the program itself has.
        answer: what it has printed.
    """

    def __init__(self) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.complete = False
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answer = bytearray()
        self._complaints = b""

    @property
    def complaint(self) -> str:
        """The last line that it wrote to stderr, as far as it can be shown."""
        lines = self._complaints.decode(errors="replace").splitlines() or [""]
        return "".join(character for character in lines[-1] if character.isprintable())[:MAX_COMPLAINT]

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take what it prints (asyncio)."""
        if fd != 1:
            self._complaints = (self._complaints + data)[-MAX_COMPLAINTS:]
        elif len(self.answer) + len(data) <= MAX_ANSWER:
            self.answer += data
        elif not self.over.done():
            self.over.set_exception(_TooMuch())

    def process_exited(self) -> None:
        """Note that the program has ended (asyncio)."""
        self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Note that it has ended, and all its pipes (asyncio)."""
        self.complete = True
        if not self.over.done():
            self.over.set_result(None)


async def _end(transport: asyncio.SubprocessTransport, run: _Run) -> None:
    """End a program with its children, unless all has ended already."""
    if not run.complete:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
        await asyncio.shield(run.exited)  # at once: a kill cannot be refused
    transport.close()
