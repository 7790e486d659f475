"""One real program: started, watched, stopped, its log kept for the report of a failing test.

Processes are started from the main thread by plain `subprocess`, not by asyncio: a server of the whole test session
belongs to no event loop, and the kernel ends a child when the *thread* that started it ends (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from tests.testbed.errors import TestbedError
from tests.testbed.rootfs import Rootfs, RunDirectory

#: Seconds that a program may take until it serves; ejabberd on a busy machine is the slowest.
START_TIMEOUT = 60.0
#: Seconds that a program may take to stop in order before it is killed.
STOP_TIMEOUT = 10.0
#: Seconds between two looks at whether a program serves already.
PROBE_INTERVAL = 0.02


class Program(abc.ABC):
    """A program that serves something. Use it by ``with`` (session fixtures) or ``async with`` (in a test).

    Attributes:
        name: for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    # What a subclass says about itself

    @abc.abstractmethod
    def _command(self) -> Sequence[str]:
        """Return the command line; called at each start."""

    @abc.abstractmethod
    def _probe(self) -> None:
        """Return if the program serves; raise OSError if it does not yet. Must not take long."""

    @property
    @abc.abstractmethod
    def log_file(self) -> Path:
        """The file that says most about what the program does."""

    @property
    @abc.abstractmethod
    def output_file(self) -> Path:
        """Where its stdout and stderr go."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Its own name and version, for the summary of a test run."""

    @abc.abstractmethod
    def _prepare(self) -> None:
        """Make directories and configuration before the first start."""

    @abc.abstractmethod
    def _clean_up(self) -> None:
        """Remove what `_prepare` made."""

    def _ask_to_stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)

    def _environment(self) -> Mapping[str, str] | None:
        return None

    # Life

    def __enter__(self) -> Self:
        try:
            self._prepare()
            self._spawn()
            self._await_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self._terminate()
        finally:
            _journal.remember(self)
            self._clean_up()

    async def __aenter__(self) -> Self:
        try:
            self._prepare()
            await self.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        try:
            await self.stop()
        finally:
            _journal.remember(self)
            self._clean_up()

    async def start(self) -> None:
        """Start it again after `stop` or `kill`, and wait until it serves."""
        self._spawn()
        await asyncio.to_thread(self._await_ready)

    async def stop(self) -> None:
        """Stop it in order; kill it if that takes too long."""
        await asyncio.to_thread(self._terminate)

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._kill_group()
            await asyncio.to_thread(self._reap)

    async def restart(self) -> None:
        """Stop in order and start again, with the same ports and data."""
        await self.stop()
        await self.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise TestbedError(f"{self.name} is not running")
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def assert_alive(self) -> None:
        """Fail the test, with the end of the log, if the program has died."""
        assert self._process is not None, f"{self.name} is not running"
        code = self._process.poll()
        assert code is None, f"{self.name} died ({_ending(code)}):\n{self.log_tail()}"

    # Log

    @property
    def log(self) -> str:
        """All of its log so far."""
        return _read(self.log_file)

    @property
    def output(self) -> str:
        """All that it printed so far."""
        return _read(self.output_file)

    def log_tail(self, since: int = 0, lines: int = 60) -> str:
        """Return the last lines of its log from byte ``since`` on, and of what it printed."""
        log = _read(self.log_file, since).splitlines()[-lines:]
        output = [] if self.output_file == self.log_file else _read(self.output_file).splitlines()[-10:]
        return "\n".join(log + ([f"--- printed by {self.name}:", *output] if output else []))

    def log_size(self) -> int:
        """Return how many bytes of log there are; `log_tail` takes it as ``since``."""
        try:
            return self.log_file.stat().st_size
        except FileNotFoundError:
            return 0

    async def log_says(self, wanted: str | Callable[[str], bool], *, since: int = 0, timeout: float = 10.0) -> str:
        """Wait until a line of the log from byte ``since`` on holds a text (or satisfies a condition); return the line.

        Raises:
            AssertionError: no such line within ``timeout`` seconds; the message has the end of the log.
        """

        def matches(line: str) -> bool:
            return wanted in line if isinstance(wanted, str) else wanted(line)

        deadline = time.monotonic() + timeout
        while True:
            ended = self._process is None or self._process.poll() is not None
            for line in _read(self.log_file, since).splitlines():
                if matches(line):
                    return line
            what = repr(wanted) if isinstance(wanted, str) else "what was waited for"
            assert not ended, f"{self.name} ended and its log does not say {what}:\n{self.log_tail(since)}"
            assert time.monotonic() < deadline, f"{self.name}: the log does not say {what}:\n{self.log_tail(since)}"
            await asyncio.sleep(PROBE_INTERVAL)

    # Inner workings

    def _spawn(self) -> None:
        if self._process is not None:
            raise TestbedError(f"{self.name} is running already")
        self._output = self.output_file.open("ab")
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            start_new_session=True,  # ^C is for the tests; they stop what they started
        )
        _journal.running.append(self)

    def _await_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            code = self._process.poll()
            if code is not None:
                raise TestbedError(f"{self.name} ended while it started ({_ending(code)}):\n{self.log_tail()}")
            try:
                self._probe()
            except OSError as error:
                if time.monotonic() > deadline:
                    tail = self.log_tail()
                    raise TestbedError(
                        f"{self.name} does not serve after {START_TIMEOUT:g} s ({error}):\n{tail}"
                    ) from None
            else:
                _journal.started.add(self.label)
                return
            time.sleep(PROBE_INTERVAL)

    def _terminate(self) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            self._ask_to_stop(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT)
        self._kill_group()
        self._reap()

    def _kill_group(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait()
        self._process = None
        if self._output is not None:
            self._output.close()
        with contextlib.suppress(ValueError):
            _journal.running.remove(self)


class TreeProgram(Program):
    """A program of the testbed's tree. Each run has a directory of its own there, which is deleted afterwards.

    Args:
        name: for messages; its first word is that of the directory, too: small letters.
        rootfs: where the program is.
        user: inside, who runs it and owns the directory.
    """

    def __init__(self, name: str, rootfs: Rootfs, user: str) -> None:
        super().__init__(name)
        self.rootfs = rootfs
        self.user = user
        self._stack = contextlib.ExitStack()
        self._directory: RunDirectory | None = None

    @abc.abstractmethod
    def _configure(self, directory: RunDirectory) -> None:
        """Write into the directory what the program reads at its start."""

    @property
    def log_file(self) -> Path:
        return self.output_file

    @property
    def output_file(self) -> Path:
        return self._place().outside / "output"

    def _place(self) -> RunDirectory:
        if self._directory is None:
            raise TestbedError(f"{self.name} is not running")
        return self._directory

    def _prepare(self) -> None:
        name = self.name.partition(" ")[0]
        self._directory = self._stack.enter_context(self.rootfs.run_directory(name, self.user))
        self._configure(self._directory)

    def _clean_up(self) -> None:
        self._stack.close()
        self._directory = None

    def _environment(self) -> Mapping[str, str]:
        return self.rootfs.environment()


class Journal:
    """The logs of one test: of programs that run now, and of those that ran and ended during it.

    Attributes:
        running: programs that run now.
        started: the labels of all that have served since the beginning.
    """

    def __init__(self) -> None:
        self.running: list[Program] = []
        self.started: set[str] = set()
        self._since: dict[int, int] = {}
        self._ended: dict[str, str] = {}

    def begin(self) -> None:
        """Forget what was before; from here on is a new test."""
        self._since = {id(program): program.log_size() for program in self.running}
        self._ended.clear()

    def remember(self, program: Program) -> None:
        """Keep the end of a program's log before its files go away."""
        with contextlib.suppress(TestbedError):  # it never got as far as having a log
            self._ended[program.name] = program.log_tail(self._since.get(id(program), 0))

    def tails(self) -> dict[str, str]:
        """Return the ends of the logs by program name."""
        current = {program.name: program.log_tail(self._since.get(id(program), 0)) for program in self.running}
        return {**self._ended, **current}


_journal = Journal()


def journal() -> Journal:
    """Return the logs of the running test; the tests' conftest adds them to the report of a failure."""
    return _journal


def _read(path: Path, since: int = 0) -> str:
    try:
        with path.open("rb") as file:
            file.seek(since)
            return re.sub(r"\x1b\[[0-9;]*m", "", file.read().decode(errors="replace"))  # ejabberd's log is in colour
    except FileNotFoundError:
        return ""


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
