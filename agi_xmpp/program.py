"""Runs the administrator's own programs: no shell, bounded output, and an end with all children when nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Sequence
from typing import cast

from agi_xmpp.errors import AgiXmppError

#: Bytes of a program's complaints (stderr) that are kept; the last line of them goes into the log.
MAX_COMPLAINTS = 4096
#: Characters of that line.
MAX_COMPLAINT = 200

#: Seconds for pipes to close when the program has been killed: it is done with the next turns of the loop.
_PIPE_TIME = 1.0


class ProgramError(AgiXmppError):
    """A program could not be started, failed, or printed too much. ``str(error)`` goes on from the program's name."""


def find(word: str) -> str | None:
    """Return the path of the program that ``word`` names, or None if there is none."""
    return shutil.which(word)


async def run(words: Sequence[str], *, stdin: bytes | None = None, limit: int) -> bytes:
    """Run a program and return what it printed.

    Being cancelled kills it with its children; so a deadline is put round it by ``asyncio.timeout``. It need not read
    all of its input.

    Args:
        words: the program and its arguments.
        stdin: what it reads; nothing if None.
        limit: bytes that it may print.

    Raises:
        ProgramError: it cannot be started, ended with another exit code than 0, or printed more than ``limit``.
    """
    transport, process = await _start(words, stdin, limit)
    try:
        await process.over
    except _TooMuch:
        raise ProgramError(f"printed more than {_size(limit)}") from None
    finally:
        await _end(transport, process)
    code = transport.get_returncode()
    if code:
        ending = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        raise ProgramError(ending + (f": {process.complaint}" if process.complaint else ""))
    return bytes(process.answer)


def _size(count: int) -> str:
    return f"{count // 1024} KiB" if count % 1024 == 0 else f"{count} bytes"


async def _start(words: Sequence[str], stdin: bytes | None, limit: int) -> tuple[asyncio.SubprocessTransport, _Process]:
    # The administrator's own command, as a list of words: no shell. The session of its own lets its children be killed
    # with it.
    starting = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_exec(
            lambda: _Process(stdin, limit),
            *words,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except OSError as error:
        raise ProgramError(f"could not be started: {error.strerror}") from None
    except asyncio.CancelledError:
        # asyncio itself would end the program here, but not the children that it may have already.
        with contextlib.suppress(OSError):
            await _end(*await starting)
        raise


class _TooMuch(Exception):
    """The answer is longer than it may be."""


class _Process(asyncio.SubprocessProtocol):
    """One run of a program.

    Args:
        stdin: what it reads, or None.
        limit: bytes that it may print.

    Attributes:
        over: done when it and all who have its pipes have ended; fails with `_TooMuch` as soon as that is so.
        complete: set when they have ended.
        exited: done when the program itself has.
        answer: what it has printed.
    """

    def __init__(self, stdin: bytes | None, limit: int) -> None:
        self._stdin = stdin
        self._limit = limit
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.complete = asyncio.Event()
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answer = bytearray()
        self._complaints = b""

    @property
    def complaint(self) -> str:
        """The last line that it wrote to stderr, as far as it can be shown."""
        lines = self._complaints.decode(errors="replace").splitlines() or [""]
        return "".join(character for character in lines[-1] if character.isprintable())[:MAX_COMPLAINT]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give it its input (asyncio)."""
        if self._stdin is None:
            return
        # Casts and no checks: uvloop's transports are of no class of asyncio's.
        pipe = cast(asyncio.WriteTransport, cast(asyncio.SubprocessTransport, transport).get_pipe_transport(0))
        with contextlib.suppress(RuntimeError):  # uvloop, of a program that has ended already
            pipe.write(self._stdin)
            pipe.close()  # as soon as all is written
        self._stdin = None

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take what it prints (asyncio)."""
        if fd != 1:
            self._complaints = (self._complaints + data)[-MAX_COMPLAINTS:]
        elif len(self.answer) + len(data) <= self._limit:
            self.answer += data
        elif not self.over.done():
            self.over.set_exception(_TooMuch())

    def process_exited(self) -> None:
        """Note that the program has ended (asyncio)."""
        self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Note that it has ended, and all its pipes (asyncio)."""
        self.complete.set()
        if not self.over.done():
            self.over.set_result(None)


async def _end(transport: asyncio.SubprocessTransport, process: _Process) -> None:
    """End a program with its children, unless all has ended already."""
    if not process.complete.is_set():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
        await asyncio.shield(process.exited)  # at once: a kill cannot be refused
        pipe = cast(asyncio.WriteTransport | None, transport.get_pipe_transport(0))
        if pipe is not None and pipe.get_write_buffer_size():
            pipe.abort()  # what it has not read will never be read
    transport.close()
    with contextlib.suppress(TimeoutError):  # a child that got away may keep the other ends open
        async with asyncio.timeout(_PIPE_TIME):
            await process.complete.wait()
