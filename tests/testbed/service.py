"""The program under test as its users run it: ``agi-xmpp serve`` in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from signal import Signals
from typing import Any, Literal

import tomlkit

import agi_xmpp
from agi_xmpp.control import NoService, ask
from tests.testbed.errors import TestbedError
from tests.testbed.ports import free_port
from tests.testbed.program import PROBE_INTERVAL, Program
from tests.testbed.rootfs import bytecode_directory
from tests.testbed.xmpp import XmppServer


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """``[account.NAME]`` for an account on a server of the testbed.

    Attributes:
        server: whose host, port and CA are written.
        jid: with or without a resource.
        password: in clear.
        buddies: their JIDs.
        tls: how to encrypt; it decides the port.
        port: instead of the server's own, such as that of a proxy.
        settings: further keys, or others than those above would give; a value of None takes a key away.
    """

    server: XmppServer
    jid: str
    password: str
    buddies: tuple[str, ...] = ()
    tls: Literal["starttls", "direct", "none"] = "starttls"
    port: int | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def table(self) -> dict[str, Any]:
        """Return the keys and values of its section."""
        keys: dict[str, Any] = {
            "jid": self.jid,
            "password": self.password,
            "server": "127.0.0.1",
            "port": self.port or (self.server.direct_tls_port if self.tls == "direct" else self.server.port),
            "tls": self.tls,
            "ca_file": None if self.tls == "none" else str(self.server.ca_file),
            "buddies": list(self.buddies),
            **self.settings,
        }
        return {key: value for key, value in keys.items() if value is not None}


class Service(Program):
    """One agi-xmpp.

    Args:
        accounts: by name; more can be put in later, for `reload`.
        agi: keys of ``[agi]`` besides port.
        sections: further sections as they stand in the file, such as ``{"ami": {…}, "phone": {…}}``.
        state_directory: for what outlives the service; without it, nothing does.
        log_level: ``debug`` has the texts of messages in the log.

    Attributes:
        accounts: what the next `reload` or start writes.
        agi, sections: likewise.
        port: of FastAGI.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account] | None = None,
        *,
        agi: Mapping[str, Any] | None = None,
        sections: Mapping[str, Mapping[str, Any]] | None = None,
        state_directory: Path | None = None,
        log_level: Literal["debug", "info", "warning", "error"] = "debug",
    ) -> None:
        super().__init__("agi-xmpp")
        self.accounts = dict(accounts or {})
        self.agi = dict(agi or {})
        self.sections = dict(sections or {})
        self._state_directory = state_directory
        self.log_level = log_level
        self.port = free_port()
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    @property
    def agi_url(self) -> str:
        """What stands in the dialplan before the verb, without a slash at the end."""
        return f"agi://127.0.0.1:{self.port}"

    @property
    def config_file(self) -> Path:
        """Its agi-xmpp.toml, for other commands of the command line."""
        return self._place() / "agi-xmpp.toml"

    async def status(self) -> dict[str, Any]:
        """Return what ``agi-xmpp status --json`` shows."""
        return await asyncio.to_thread(self._ask_status)

    async def online(self, *names: str, timeout: float = 15.0) -> None:
        """Wait until these accounts (all of them, if none is named) are online.

        Raises:
            AssertionError: one was not within ``timeout`` seconds; the message has the states and the end of the log.
        """
        await self.state("online", *names, timeout=timeout)

    async def state(self, wanted: str, *names: str, timeout: float = 15.0) -> None:
        """Wait until accounts are in a state, such as ``online``; as `online` otherwise."""
        for name in names or tuple(self.accounts):
            await self.account(name, lambda account: account["state"] == wanted, timeout=timeout)

    async def account(
        self, name: str, wanted: Callable[[dict[str, Any]], bool], *, timeout: float = 15.0
    ) -> dict[str, Any]:
        """Wait until ``wanted`` is true for what ``agi-xmpp status`` shows of an account, and return that.

        Raises:
            AssertionError: it was not within ``timeout`` seconds; the message has what it shows, and the log's end.
        """
        deadline = time.monotonic() + timeout
        while True:
            found = [account for account in (await self.status())["accounts"] if account["account"] == name]
            if found and wanted(found[0]):
                account: dict[str, Any] = found[0]
                return account
            assert time.monotonic() < deadline, f"account {name} is not as wanted but {found}\n{self.log_tail()}"
            await asyncio.sleep(PROBE_INTERVAL)

    async def reload(self) -> None:
        """Write the configuration anew and let the service read it (SIGHUP); it has done so when this returns.

        Raises:
            AssertionError: it did not say so.
        """
        since = self.log_size()
        self._write()
        self.signal(Signals.SIGHUP)
        ends = ("reload: done", "the old configuration stays in force", "reload failed half-way")
        await self.log_says(lambda line: any(end in line for end in ends), since=since)

    def write(self) -> None:
        """Write the configuration anew, for other commands; a service that runs is not told of it."""
        self._write()

    @contextlib.asynccontextmanager
    async def watching(self, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
        """Run ``agi-xmpp watch`` with these arguments, and give what it prints as it prints it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agi_xmpp", "watch", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**self._environment(), "AGI_XMPP_CONFIG": str(self.config_file)},
        )
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()

    async def command(self, *arguments: str, stdin: str = "", timeout: float = 30.0) -> tuple[int, str]:
        """Run another command of the command line on the same configuration.

        Args:
            arguments: such as ``"send", "pbx", "bob@example.org", "hello"``.
            stdin: what it reads.
            timeout: seconds.

        Returns:
            Its exit code, and what it printed on stdout and stderr.

        Raises:
            TimeoutError: it did not end in time.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agi_xmpp", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**self._environment(), "AGI_XMPP_CONFIG": str(self.config_file)},
        )
        try:
            async with asyncio.timeout(timeout):
                output, _ = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output.decode()

    # Program

    @property
    def label(self) -> str:
        return f"agi-xmpp {agi_xmpp.__version__}"

    @property
    def log_file(self) -> Path:
        return self._place() / "output"

    @property
    def output_file(self) -> Path:
        return self.log_file

    def _place(self) -> Path:
        if self._directory is None:
            raise TestbedError("agi-xmpp is not running")
        return Path(self._directory.name)

    def _prepare(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="agi-xmpp-")

    def _clean_up(self) -> None:
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def _command(self) -> list[str]:
        self._write()
        # It ends with us, whatever ends us (prctl(2), PR_SET_PDEATHSIG).
        inside = [sys.executable, "-m", "agi_xmpp", "serve", "--config", str(self.config_file)]
        return ["setpriv", "--pdeathsig=KILL", "--", *inside]

    def _environment(self) -> dict[str, str]:
        # Nothing of the caller's own: neither options by environment, nor that it is run by systemd.
        foreign = ("AGI_XMPP_", "NOTIFY_SOCKET", "JOURNAL_STREAM", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {
            **kept,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(Path(agi_xmpp.__file__).parent.parent),
            # A run starts hundreds of services: each of them would compile all modules, a quarter of a second.
            "PYTHONPYCACHEPREFIX": str(bytecode_directory()),
        }

    def _probe(self) -> None:
        try:
            self._ask_status()
        except NoService as error:
            raise OSError(str(error)) from None

    @property
    def _socket(self) -> Path:
        return self._place() / "control.sock"

    def _ask_status(self) -> dict[str, Any]:
        return ask(str(self._socket), {"do": "status"})

    def _write(self) -> None:
        document = {
            "agi": {"port": self.port, **self.agi},
            "control": {"socket": str(self._socket)},
            "state": {"directory": str(self._state_directory or self._place())},
            "log": {"level": self.log_level},
            "account": {name: account.table() for name, account in self.accounts.items()},
            **self.sections,
        }
        self.config_file.touch(mode=0o600)
        self.config_file.write_text(tomlkit.dumps(document), encoding="utf-8")
