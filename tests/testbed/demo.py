"""The main job, shown: a caller rings extension 1234, bob is asked in chat, and the call goes where he says.

All parts are real: Asterisk, Prosody, our service, and as bob you (profanity in tmux, or a plain prompt) or, with
``--auto``, an independent client that answers by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import click

from tests.testbed import rootfs as trees
from tests.testbed.asterisk import Asterisk, Call
from tests.testbed.client import Buddy
from tests.testbed.errors import TestbedError
from tests.testbed.profanity import Profanity
from tests.testbed.service import Account, Service
from tests.testbed.xmpp import Prosody

#: The routing example of res_jabber's own documentation, with our verbs (docs/dialplan.md).
DIALPLAN = """
[from-ext]
exten => 1234,1,Answer()
 same => n,AGI({agi}/jabber_send,pbx,{bob},Call from ${{CALLERID(num)}} - choose an option to process the call)
 same => n,AGI({agi}/jabber_send,pbx,{bob},1 : forward to cellphone)
 same => n,AGI({agi}/jabber_send,pbx,{bob},2 : forward to work phone)
 same => n,AGI({agi}/jabber_send,pbx,{bob},Default action : forward to your voicemail)
 same => n,AGI({agi}/jabber_receive,pbx,{bob},{seconds})
 same => n,GotoIf($["${{JABBER_RECEIVE}}" = "1"]?cellphone)
 same => n,GotoIf($["${{JABBER_RECEIVE}}" = "2"]?workphone)
 same => n,UserEvent(Routed,To: voicemail,Why: ${{JABBER_RECEIVE_STATUS}} ${{JABBER_ERROR}})
 same => n,VoiceMail(1234,u)
 same => n,Hangup()
 same => n(cellphone),AGI({agi}/jabber_send,pbx,{bob},Calling cellphone...)
 same => n,Dial(Local/987654321@phones,20)
 same => n,Hangup()
 same => n(workphone),AGI({agi}/jabber_send,pbx,{bob},Calling workphone...)
 same => n,Dial(Local/1234@phones,20)
 same => n,Hangup()

[phones]
exten => 987654321,1,UserEvent(Routed,To: cellphone,Why: the answer 1)
 same => n,Answer()
 same => n,Wait(1)
exten => 1234,1,UserEvent(Routed,To: work phone,Why: the answer 2)
 same => n,Answer()
 same => n,Wait(1)
"""
#: Seconds that bob has for his answer.
SECONDS_TO_ANSWER = 20
#: The same where nobody is there to be waited for.
SECONDS_OF_SILENCE = 2
#: Seconds between two calls when you are bob.
PAUSE = 5.0
CALLER = "5551234"

Say = Callable[[str], None]


class Stage:
    """The parts, running."""

    def __init__(self, asterisk: Asterisk, server: Prosody, service: Service, bob: str) -> None:
        self.asterisk = asterisk
        self.server = server
        self.service = service
        self.bob = bob

    async def call(self, say: Say) -> Call:
        """Let the caller ring 1234."""
        say(f"caller  {CALLER} dials 1234")
        return await self.asterisk.call("1234", "from-ext", caller_id=f'"Ann" <{CALLER}>')

    async def routed(self, call: Call, say: Say, timeout: float) -> str:
        """Wait until the call has been sent somewhere, say so, let it end, and return where it went."""
        event = await call.event("Routed", timeout=timeout)
        say(f"call    goes to the {event['To']} ({event['Why'].strip()})")
        if event["To"] == "voicemail":
            await call.hangup()
        await call.ended()
        return event["To"]


@contextlib.asynccontextmanager
async def stage(say: Say, seconds: float) -> AsyncIterator[Stage]:
    """Build what is missing and start everything."""
    started = time.monotonic()
    tree = trees.build(progress=say)
    say("starting Prosody, Asterisk and agi-xmpp …")
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(Prosody(tree))
        asterisk = await stack.enter_async_context(Asterisk(tree))
        pbx = await server.add_user("asterisk", "pbx-password")
        bob = await server.add_user("bob", "bob-password")
        service = await stack.enter_async_context(
            Service({"pbx": Account(server, pbx, "pbx-password", buddies=(bob,))})
        )
        complaints = await asterisk.dialplan(DIALPLAN.format(agi=service.agi_url, bob=bob, seconds=seconds))
        if complaints:
            raise TestbedError(f"the demo's dialplan does not load: {complaints}")
        await service.online("pbx")
        say(f"{asterisk.label}, {server.label} and agi-xmpp run after {time.monotonic() - started:.1f} s")
        yield Stage(asterisk, server, service, bob)


async def auto(say: Say) -> None:
    """Play bob: he answers 1, then 2, then nothing.

    Raises:
        TestbedError: a call went somewhere else than it should.
    """
    async with stage(say, SECONDS_OF_SILENCE) as parts, Buddy.online(parts.server, parts.bob, "bob-password") as bob:
        for answer, expected in (("1", "cellphone"), ("2", "work phone"), ("", "voicemail")):
            say("")
            call = await parts.call(say)
            for _ in range(4):
                message = await bob.hears()
                say(f"bob     reads: {message.body}")
            say(f"bob     types: {answer}" if answer else "bob     says nothing")
            if answer:
                bob.say(message.sender, answer)
            went = await parts.routed(call, say, timeout=SECONDS_OF_SILENCE + 10)
            if went != expected:
                raise TestbedError(f"the call went to the {went}, and should have gone to the {expected}")
            if answer:
                say(f"bob     reads: {(await bob.hears()).body}")
        say("")
        say("3 calls, each where bob wanted it")


async def by_hand(say: Say, plain: bool) -> None:
    """Let the user be bob."""
    if plain:
        async with stage(say, SECONDS_TO_ANSWER) as parts:
            await _prompt(parts, say)
        return
    with tempfile.TemporaryDirectory() as directory:
        transcript = Path(directory) / "calls"
        transcript.write_text("You are bob, below. Answer 1 or 2, or say nothing. End with /quit.\n")
        async with stage(say, SECONDS_TO_ANSWER) as parts:
            pbx = f"asterisk@{parts.server.domain}"
            async with Profanity(parts.server, parts.bob, "bob-password", pbx) as client:

                def note(line: str) -> None:
                    with transcript.open("a") as file:
                        file.write(f"{time.strftime('%H:%M:%S')} {line}\n")

                client.split("tail", "-n", "+1", "-f", str(transcript))
                calls = asyncio.ensure_future(_calls(parts, note))
                try:
                    await asyncio.to_thread(client.attach)
                finally:
                    calls.cancel()
                    await asyncio.gather(calls, return_exceptions=True)


async def _calls(parts: Stage, say: Say) -> None:
    """One call after the other, until cancelled."""
    while True:
        call = await parts.call(say)
        await parts.routed(call, say, timeout=SECONDS_TO_ANSWER + 30)
        say(f"        the next call comes in {PAUSE:.0f} s")
        await asyncio.sleep(PAUSE)


async def _prompt(parts: Stage, say: Say) -> None:
    """Bob without tmux: what he reads is printed, what you type is sent."""
    say("you are bob: type 1 or 2 and Enter, or wait; end with ^C or ^D")
    async with Buddy.online(parts.server, parts.bob, "bob-password") as bob:
        pbx = f"asterisk@{parts.server.domain}"

        async def read() -> None:
            while True:
                say(f"bob     reads: {(await bob.hears(timeout=86_400)).body}")

        async def write() -> None:
            # Not asyncio.to_thread: a thread that reads the terminal could not be ended, and its pool is waited for.
            reader = asyncio.StreamReader()
            loop = asyncio.get_running_loop()
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
            while line := await reader.readline():
                if text := line.decode(errors="replace").strip():
                    bob.say(pbx, text)

        tasks = [asyncio.ensure_future(work) for work in (read(), write(), _calls(parts, say))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@click.command()
@click.option("--auto", "play", is_flag=True, help="Play bob, too, and print what was said.")
@click.option("--plain", is_flag=True, help="A plain prompt instead of profanity in tmux.")
def main(play: bool, plain: bool) -> None:
    """Show a call that is routed by a chat, on a real Asterisk and a real XMPP server."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(auto(click.echo) if play else by_hand(click.echo, plain or not terminal))
    except (TestbedError, AssertionError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
