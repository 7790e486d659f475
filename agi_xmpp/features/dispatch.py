"""From a FastAGI request to the verb or script that it names, and from an error to what the dialplan sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping

from agi_xmpp.agi.channel import Channel
from agi_xmpp.errors import (
    AgiError,
    AgiHangup,
    AgiProtocolError,
    AgiTimeout,
    AgiXmppError,
    UsageError,
    XmppError,
    dialplan_status,
)
from agi_xmpp.features.call_ends import CallEnds
from agi_xmpp.features.conference.invitations.convener import Convener
from agi_xmpp.features.contacts.whois import WhoIs
from agi_xmpp.features.verb import Accounts, Call, Verb, fold
from agi_xmpp.features.voicemail.delivery import Voicemail

log = logging.getLogger("agi_xmpp.dispatch")

#: What no channel variable can hold: NUL, and the lone surrogates that stand for bytes that are not UTF-8.
_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")

#: A FastAGI handler of our own that is no verb, such as a pyst2 script.
Route = Callable[[Channel], Awaitable[None]]


class Dispatcher:
    """The handler that the FastAGI server calls for every session.

    Args:
        accounts: the sessions; may change while we run (reload).
        verbs: what a dialplan can call.
        routes: other handlers by path, compared exactly.

    Attributes:
        who_is: what verbs ask whom a number belongs to; may change while we run.
        ends: undoes at the end of calls what verbs have begun; is to be told of the manager connection.
        voicemail: delivers recordings for verbs.
        convener: invites into conferences for verbs; may change while we run.
    """

    def __init__(self, accounts: Accounts, verbs: Iterable[Verb], routes: Mapping[str, Route]) -> None:
        self.accounts = accounts
        self.routes = routes
        self.who_is: WhoIs | None = None
        self.ends = CallEnds()
        self.voicemail: Voicemail | None = None
        self.convener: Convener | None = None
        self._verbs = {verb.key: verb for verb in verbs}

    async def __call__(self, channel: Channel) -> None:
        """Serve one session.

        Raises:
            UsageError: there is neither a verb nor a route of that name.
            Exception: whatever went wrong beyond the errors that a dialplan can act on; Asterisk is told ``failure``.
        """
        script = channel.environment.script.strip("/")
        if route := self.routes.get(script):
            await route(channel)
            return
        verb = self._verbs.get(fold(script))
        if verb is None:
            known = ", ".join([*(verb.name for verb in self._verbs.values()), *self.routes])
            message = f"no verb {script!r}; there are: {known}"
            with contextlib.suppress(AgiError):
                await channel.verbose(f"agi-xmpp: {message}")
            raise UsageError(message)
        environment = channel.environment
        call = Call(channel, verb, self.accounts, environment.args, environment.query)
        call.who_is, call.ends = self.who_is, self.ends
        call.voicemail, call.convener = self.voicemail, self.convener
        await self._run(call)

    async def _run(self, call: Call) -> None:
        channel, verb = call.channel, call.verb
        for name, value in verb.clears.items():
            await channel.set_variable(name, value)
        try:
            call.check()
            if verb.ends_with_call:
                async with channel.until_hangup():
                    await verb.run(call)
            else:
                await verb.run(call)
        except AgiHangup:
            log.info("%s %s: the caller hung up", channel.id, verb.name)
            await self._fail(call, "HANGUP", "the caller hung up")
        except (AgiProtocolError, AgiTimeout):
            raise  # the conversation with Asterisk itself is broken: nothing more can be set
        except AgiXmppError as error:
            level = logging.WARNING if isinstance(error, (UsageError, XmppError)) else logging.ERROR
            log.log(level, "%s %s: %s", channel.id, verb.name, error)
            await self._fail(call, dialplan_status(error), str(error))
            await channel.verbose(f"agi-xmpp: {verb.name}: {error}")
        except asyncio.CancelledError:
            # Cancelled from outside: the service stops (and the dialplan goes on), or the time after a hangup is over.
            with contextlib.suppress(AgiError):
                await self._fail(
                    call, "ERROR", "the caller hung up" if channel.hung_up else "agi-xmpp is being stopped"
                )
            raise
        except Exception:
            # The cause goes to the log, with a traceback, from the server; a dialplan gets no internals.
            await self._fail(
                call, "ERROR", f"internal error in {verb.name}; the log of agi-xmpp has it under {channel.id}"
            )
            raise

    async def _fail(self, call: Call, status: str, reason: str) -> None:
        verb = call.verb
        await call.set(verb.status, status if status in verb.failures else verb.clears[verb.status])
        # An option may hold anything (%00), and its name or value stands in the reason.
        await call.set("JABBER_ERROR", " ".join(_UNSPEAKABLE.sub("?", reason).split()))
