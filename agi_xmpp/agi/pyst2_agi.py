"""pyst2's ``AGI`` class over one of our channels. Needs pyst2: `agi_xmpp.agi.pyst2` imports this for scripts only."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import asterisk.agi as pyst2

from agi_xmpp.agi.channel import Channel
from agi_xmpp.agi.wire import Reply, quote, split_words
from agi_xmpp.errors import AgiArgumentError, AgiCommandError, AgiError, AgiHangup, BadText

T = TypeVar("T")


class Bridge:
    """A script's thread calls in; the event loop does the work.

    Args:
        channel: the call.
        loop: the loop that the channel belongs to.
    """

    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        self.channel = channel
        self._loop = loop
        self._hangup_reported = False

    def run(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """Run a coroutine function on the loop, from the script's thread, and return its result.

        Raises:
            AgiHangup: at once when the caller hangs up, but only one time: a script may still set variables then.
            Exception: what the function raises.
        """
        if self._loop.is_closed():
            raise AgiHangup("the service has stopped")
        return asyncio.run_coroutine_threadsafe(self._until_hangup(function, arguments), self._loop).result()

    async def _until_hangup(self, function: Callable[..., Coroutine[Any, Any, T]], arguments: tuple[Any, ...]) -> T:
        if self._hangup_reported:
            return await function(*arguments)
        try:
            async with self.channel.until_hangup():
                return await function(*arguments)
        except AgiHangup:
            self._hangup_reported = True
            raise

    async def command(self, *words: str) -> Reply:
        """Send a command and wait for its reply however long it takes, as pyst2 does."""
        reply = await self.channel.command(*words, timeout=None)
        if reply.result == "-1":
            await self.channel.settle()
        return reply


#: The call that the thread of a script belongs to.
current_bridge: Final[contextvars.ContextVar[Bridge]] = contextvars.ContextVar("agi_xmpp_pyst2_bridge")


class BridgedAgi(pyst2.AGI):  # type: ignore[misc]  # pyst2 has no types
    """pyst2's ``AGI`` over a `Bridge`. In a thread that belongs to no call it is pyst2's own class.

    It differs where pyst2 does not do what it documents: arguments are escaped, a value is never taken for a hangup or
    for another reply, 511 is a hangup, -1 is a hangup only after one, and variables may hold any text.
    """

    def __init__(self, stdin: Any = sys.stdin, stdout: Any = sys.stdout, stderr: Any = sys.stderr) -> None:
        self._bridge = current_bridge.get(None)
        if self._bridge is None:
            super().__init__(stdin, stdout, stderr)
            return
        # Not super().__init__(): it sets a signal handler, which only the main thread may, and reads from stdin.
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.env = dict(self._bridge.channel.environment)
        self._got_sighup = False
        self._reply: Reply | Exception | None = None

    def _quote(self, string: object) -> str:
        if self._bridge is None:
            return str(super()._quote(string))
        try:
            return quote(str(string))
        except AgiArgumentError as error:
            raise _as_pyst2(error) from error

    def send_command(self, command: str, *args: object) -> None:
        """Send a command; its reply waits for `get_result`. ``execute`` and all other methods come through here."""
        if self._bridge is None:
            super().send_command(command, *args)
            return
        line = " ".join([command.strip(), *map(str, args)]).strip()
        try:
            # pyst2 has quoted some of the words. Taken apart and put together again, all are quoted by our rules.
            self._reply = self._bridge.run(self._bridge.command, *split_words(line))
        except AgiError as error:
            self._reply = _as_pyst2(error)

    def get_result(self, stdin: Any = sys.stdin) -> dict[str, tuple[str, str]]:
        """Return the result of the command that was sent last, or raise what pyst2 has for it."""
        if self._bridge is None:
            return dict(super().get_result(stdin))
        reply, self._reply = self._reply, None
        if reply is None:
            raise pyst2.AGIUnknownError("no command was sent")
        if isinstance(reply, Exception):
            raise reply
        if reply.result == "-1":
            if self._bridge.channel.hung_up or reply.data == "hangup":
                raise pyst2.AGIResultHangup("User hungup during execution")
            raise pyst2.AGIAppError("Error executing application")
        fields = {name: (value, "") for name, value in reply.fields.items()}
        return {**fields, "result": (reply.result, reply.data or "")}

    def set_variable(self, name: str, value: object) -> None:
        """Set a channel variable to any text, or a function such as ``CHANNEL(language)``."""
        if self._bridge is None:
            super().set_variable(name, value)
            return
        method = self._bridge.channel.set_variable if "(" in name else self._bridge.channel.set_text
        self._run(method, name, str(value))

    def get_variable(self, name: str) -> str:
        """Return a channel variable of any length, or "" if it is not set."""
        if self._bridge is None:
            return str(super().get_variable(name))
        return self._run(self._bridge.channel.get_variable, name) or ""

    def database_get(self, family: str, key: str) -> str:
        """Return an entry of Asterisk's database.

        pyst2 quotes both names twice, which finds the entry only because it does not escape.
        """
        if self._bridge is None:
            return str(super().database_get(family, key))
        value = self._run(self._bridge.channel.database_get, family, key)
        if value is None:
            raise pyst2.AGIDBError(f"Key not found in database: family={family}, key={key}")
        return value

    def database_deltree(self, family: str, key: str = "") -> None:
        """Delete a family of Asterisk's database, or a part of it.

        pyst2 raises ``AGIDBError`` after a success, because Asterisk's answer is not as documented.
        """
        if self._bridge is None:
            super().database_deltree(family, key)
        elif not self._run(self._bridge.channel.database_deltree, family, key):
            raise pyst2.AGIDBError(f"Unable to delete tree from database: family={family}, key={key}")

    def _run(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        assert self._bridge is not None  # noqa: S101 - the callers have looked
        try:
            return self._bridge.run(function, *arguments)
        except (AgiError, BadText) as error:
            raise _as_pyst2(error) from error


def _as_pyst2(error: AgiError | BadText) -> Exception:
    """Return the exception of pyst2 that means what ``error`` means."""
    kind = pyst2.AGIUnknownError
    if isinstance(error, AgiHangup):
        kind = pyst2.AGISIGHUPHangup
    elif isinstance(error, (AgiArgumentError, BadText)):
        kind = pyst2.AGIUsageError
    elif isinstance(error, AgiCommandError):
        refusals = {510: pyst2.AGIInvalidCommand, 511: pyst2.AGIResultHangup, 520: pyst2.AGIUsageError}
        kind = refusals.get(error.code, pyst2.AGIAppError)
    exception: Exception = kind(str(error))
    return exception


def install() -> None:
    """Let ``from asterisk.agi import AGI`` give `BridgedAgi` from now on, so that scripts need no change."""
    pyst2.AGI = BridgedAgi


def is_hangup(error: BaseException) -> bool:
    """Tell whether ``error`` is pyst2's way to say that the caller hung up."""
    return isinstance(error, pyst2.AGIHangup)
