"""What others ask of us and what may take a moment: bounded in time and in number, and never without an answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import aioxmpp
from aioxmpp import errors

from agi_xmpp.errors import Refused
from agi_xmpp.xmpp.model import Jid

log = logging.getLogger("agi_xmpp.xmpp")

T = TypeVar("T")

#: Seconds until whoever asked is told that it takes too long. Spark gives up after 10 s, and shows nothing then.
DEADLINE = 9.0

#: Errands of one person under way at once: who clicks more often than that is no person.
ERRANDS_EACH = 5

#: Errands under way at all. Each is a task that waits for Asterisk.
ERRANDS = 200

# RFC 6120 section 8.3.3 names the type that belongs to a condition; the others are "cancel".
_TYPES: Mapping[str, Callable[..., errors.XMPPError]] = {
    "bad-request": errors.XMPPModifyError,
    "forbidden": errors.XMPPAuthError,
    "jid-malformed": errors.XMPPModifyError,
    "not-acceptable": errors.XMPPModifyError,
    "recipient-unavailable": errors.XMPPWaitError,
    "remote-server-timeout": errors.XMPPWaitError,
    "resource-constraint": errors.XMPPWaitError,
}
_CONDITIONS: Mapping[str, aioxmpp.ErrorCondition] = {
    condition.value[1]: condition for condition in aioxmpp.ErrorCondition
}


def refusal(error: Refused) -> errors.XMPPError:
    """Return a refusal as the stanza error that the library answers with."""
    make = _TYPES.get(error.condition, errors.XMPPCancelError)
    return make(_CONDITIONS[error.condition], text=str(error))


class Errands:
    """The errands of one account.

    Args:
        account: its name, for the log.
        deadline: seconds until an errand's sender is told that it takes too long.
    """

    def __init__(self, account: str, deadline: float = DEADLINE) -> None:
        self._account = account
        self._deadline = deadline
        self._tasks: dict[asyncio.Task[Any], Jid] = {}

    async def run(self, who: Jid, what: str, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what an errand comes to.

        It goes on when time runs out, or the session ends meanwhile: a call that is half set up cannot be taken back.
        How it ended is logged then.

        Args:
            who: on whose behalf; all resources of one person count together.
            what: the errand, for the log.
            begin: returns its coroutine.

        Raises:
            aioxmpp.errors.XMPPError: what the sender gets instead of a result.
        """
        if len(self._tasks) >= ERRANDS or list(self._tasks.values()).count(who.bare) >= ERRANDS_EACH:
            raise refusal(Refused("too many requests at once; wait for their answers", "resource-constraint"))
        task = asyncio.get_running_loop().create_task(begin())
        self._tasks[task] = who.bare
        task.add_done_callback(self._tasks.pop)
        try:
            await asyncio.wait({task}, timeout=self._deadline)
        finally:
            if not task.done():
                task.add_done_callback(lambda late: self._log_late(who, what, late))
        if not task.done():
            raise refusal(
                Refused("it takes too long; it may be carried out all the same", "remote-server-timeout")
            ) from None
        try:
            return task.result()
        except Refused as error:
            raise refusal(error) from None
        except asyncio.CancelledError:
            raise refusal(Refused("the service stops", "service-unavailable")) from None
        except Exception:
            # The text of an unexpected error is for the administrator alone.
            log.exception("account %s: %s for %s failed", self._account, what, who)
            raise refusal(Refused("an internal error; the log says more", "internal-server-error")) from None

    def stop(self) -> None:
        """End all errands."""
        for task in self._tasks:
            task.cancel()

    def _log_late(self, who: Jid, what: str, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            outcome = "was given up"
        elif (error := task.exception()) is not None:
            outcome = f"failed: {error if isinstance(error, Refused) else type(error).__name__}"
        else:
            outcome = "was carried out"
        log.warning("account %s: %s for %s %s, after its sender had stopped waiting", self._account, what, who, outcome)
