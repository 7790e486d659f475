"""The AGI room against real Asterisks: 22, and 16 with its short lines where that is built."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from agi_xmpp.agi.channel import TEXT_LIMIT, Channel
from agi_xmpp.agi.pyst2 import load_callable, run_pyst2
from agi_xmpp.agi.server import AgiServer
from agi_xmpp.agi.wire import Limits
from agi_xmpp.config import AgiSettings
from agi_xmpp.errors import AgiArgumentError, AgiCommandError, AgiHangup, AgiProtocolError, BadText
from tests.testbed.ami import Message
from tests.testbed.asterisk import Asterisk, Call
from tests.testbed.rootfs import Rootfs

Handler = Callable[[Channel], Awaitable[None]]

SCRIPTS = "tests.unit.agi.pyst2_scripts"


class Fastagi:
    """Our server, and an extension of the Asterisk under test that calls it."""

    def __init__(self, asterisk: Asterisk, server: AgiServer) -> None:
        self.asterisk = asterisk
        self.server = server
        self.handler: Handler | None = None
        self.errors: list[BaseException] = []

    async def serve(self, channel: Channel) -> None:
        assert self.handler is not None
        try:
            await self.handler(channel)
        except (Exception, asyncio.CancelledError) as error:
            self.errors.append(error)
            raise

    @property
    def url(self) -> str:
        return f"agi://127.0.0.1:{self.server.ports[0]}"

    async def call(self, handler: Handler, *before: str, after: str = "", arguments: str = "") -> Call:
        """Let a caller reach the handler; ``Done`` is the event after it."""
        self.handler = handler
        steps = [*before, f"AGI({self.url}/x{arguments})", f"UserEvent(Done,Status: ${{AGISTATUS}}{after})"]
        lines = "\n".join(f" same => n,{step}" for step in steps)
        complaints = await self.asterisk.dialplan(
            f"[testbed]\nexten => 1,1,NoOp()\n{lines}\n"
            f"exten => h,1,AGI({self.url}/h)\n same => n,UserEvent(Gone,Status: ${{AGISTATUS}})\n"
            "[elsewhere]\nexten => s,1,UserEvent(Elsewhere)\n same => n,Wait(60)\n"
            "[sub]\nexten => s,1,Set(VISITED=${ARG1})\n same => n,Return()\n"
        )
        assert complaints == []
        return await self.asterisk.call("1")

    async def run(self, handler: Handler, *before: str, after: str = "", arguments: str = "") -> Message:
        """Serve one call whose handler must not fail, and return the event after it."""
        ended = asyncio.Event()

        async def main_only(channel: Channel) -> None:
            if channel.environment.script == "h":
                return
            try:
                await handler(channel)
            finally:
                ended.set()

        call = await self.call(main_only, *before, after=after, arguments=arguments)
        async with asyncio.timeout(60):
            await ended.wait()
        if self.errors:
            raise self.errors[0]
        return await call.event("Done")


@pytest.fixture(scope="module")
def old_asterisk(bullseye: Rootfs) -> Iterator[Asterisk]:
    with Asterisk(bullseye) as asterisk:
        yield asterisk


@pytest.fixture(params=["asterisk_process", "old_asterisk"], ids=["new", "old"])
async def agi(request: pytest.FixtureRequest) -> AsyncIterator[Fastagi]:
    asterisk: Asterisk = request.getfixturevalue(request.param)
    server = AgiServer(AgiSettings(port=0, drain_timeout=0), lambda channel: fastagi.serve(channel))
    fastagi = Fastagi(asterisk, server)
    await server.start()
    try:
        async with asterisk.lent():
            yield fastagi
    finally:
        await server.stop()


# What we send


QUOTING = [
    '"',
    "\\",
    '\\"',
    '"\\"',
    'say "hi"',
    "a\\nb",
    " blanks ",
    "tab\tbed",
    "${EXTEN}",
    "$[1+1]",
    "a;b,c|d",
    "\x01\x7f",
]


async def test_quotes_and_backslashes_come_back(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        for text in [*QUOTING, "".join(QUOTING), "é😀"]:
            await channel.set_variable("X", text)
            assert await channel.get_variable("X") == text

    assert (await agi.run(handler))["Status"] == "SUCCESS"


async def test_hostile_text_is_one_argument_and_asterisk_lives(agi: Fastagi) -> None:
    """Sent as pyst2 sends it, the same text kills Asterisk 22.10.1."""
    text = "'\" " * 300

    async def handler(channel: Channel) -> None:
        await channel.set_variable("X", text)
        assert await channel.get_text("X") == text
        for words in (99, 100):
            with pytest.raises(AgiCommandError):
                await channel.command("SET", *['"'] * (words - 1))
        with pytest.raises(AgiArgumentError):
            await channel.command("SET", *['"'] * 100)

    await agi.run(handler)


async def test_longest_command(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        limit = 8190 if channel.environment.version >= "2" else 2046
        room = limit - len('SET VARIABLE X ""')
        await channel.set_variable("X", "é" + "x" * (room - 2))
        assert await channel.get_text("X") == "é" + "x" * (room - 2)
        with pytest.raises(AgiArgumentError, match="too long"):
            await channel.set_variable("X", "é" + "x" * (room - 1))
        await channel.noop()

    await agi.run(handler)


async def test_one_byte_more_is_two_commands(agi: Fastagi) -> None:
    """Our limit is Asterisk's: one byte above it there are two replies, and we stop trusting it."""

    async def handler(channel: Channel) -> None:
        connection = channel._connection
        limit = connection.command_bytes
        connection.limits = Limits()
        connection._command_bytes = limit + 1
        await channel.set_variable("X", "é" + "x" * (limit + 1 - len('SET VARIABLE X ""') - 2))
        # The reply to the byte too many may come after the next command was sent and be taken for that one's reply.
        with contextlib.suppress(AgiCommandError):
            await channel.noop()
        with pytest.raises(AgiProtocolError):
            await asyncio.gather(*(channel.noop() for _ in range(3)))

    await agi.run(handler)


async def test_commands_of_many_tasks(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        async def one(number: int) -> None:
            await channel.set_variable(f"X{number}", str(number))
            assert await channel.get_variable(f"X{number}") == str(number)

        await asyncio.gather(*(one(number) for number in range(50)))

    await agi.run(handler)


async def test_cancelled_command_does_no_harm(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        task = asyncio.ensure_future(channel.wait_for_digit(0.2))
        await asyncio.sleep(0)
        task.cancel()
        assert await channel.get_variable("UNSET") is None
        assert task.cancelled()

    await agi.run(handler)


# What we hear


async def test_environment(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        environment = channel.environment
        assert environment.args == ("home", "", "a b", "(c)")
        assert (environment.script, environment.query) == ("x", {"q": "a b", "r": ""})
        assert (environment.context, environment.extension) == ("testbed", "1")
        assert environment.channel.startswith("Local/1@testbed-")
        assert environment["agi_accountcode"] == ""
        assert channel.id == environment.uniqueid

    await agi.run(handler, arguments="?q=a%20b&r,home,,a b,(c)")


async def test_newline_in_an_argument_is_refused(agi: Fastagi, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(channel: Channel) -> None:
        pytest.fail("it was served")

    newline = "Set(N=${BASE64_DECODE(YQphZ2lfZXZpbDogYg==)})"  # a, newline, agi_evil: b
    call = await agi.call(handler, newline.replace("YQphZ2lfZXZpbDogYg==", "YQpi"), arguments=",${N}")
    assert (await call.event("Done"))["Status"] == "FAILURE"
    assert "no header" in caplog.text
    assert agi.errors == []


async def test_values_that_look_like_something_else(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        assert await channel.get_variable("UNSET") is None
        assert await channel.get_text("UNSET") is None
        for text in ("", "hangup", "(a (b) c) d)", "result=-1 (x) a=b", "timeout) endpos=0", "-1"):
            await channel.set_variable("X", text)
            assert await channel.get_variable("X") == text
            assert await channel.get_text("X") == text
        for text in ("a\nb", "\n200 result=1 (owned)", "x\n511 no", "a\nHANGUP\nb"):
            await channel.set_text("X", text)
            assert await channel.get_variable("X") == text

    await agi.run(handler)


async def test_smuggled_reply_ends_the_conversation(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        await channel.set_text("X", "a)\n200 result=1 (EVIL")
        assert await channel.get_text("X") == "a)\n200 result=1 (EVIL"
        assert await channel.get_variable("X") == "a"
        with pytest.raises(AgiProtocolError):
            await channel.get_variable("UNSET")

    await agi.run(handler)


async def test_get_variable_is_never_cut(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        for length in (1022, 1023, 1024, 1500):
            value = "é" + "x" * (length - 2)
            await channel.set_variable("X", value)
            assert await channel.get_variable("X") == value

    await agi.run(handler)


async def test_refusals(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        for words, code in ((("NONSENSE",), 510), (("SET", "VARIABLE", "X"), 520), (("EXEC",), 520)):
            with pytest.raises(AgiCommandError) as caught:
                await channel.command(*words)
            assert caught.value.code == code
        with pytest.raises(AgiCommandError, match="no application Nonsense"):
            await channel.appexec("Nonsense")
        assert not channel.hung_up

    assert (await agi.run(handler))["Status"] == "SUCCESS"


async def test_gosub_answers_twice(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        reply = await channel.command("GOSUB", "sub", "s", "1", "hello there")
        assert (reply.code, reply.result) == (200, "0")
        assert await channel.get_variable("VISITED") == "hello there"

    await agi.run(handler)


# Text of any kind


def hostile_texts() -> list[str]:
    rnd = random.Random(7)
    characters = '():,\n\r \t"\\${}[]=;é😀a|~_-'
    made = ["".join(rnd.choice(characters) for _ in range(rnd.choice((5, 50, 1500, 3001)))) for _ in range(60)]
    return [
        ":-) so: what\n",
        "))))::::\n",
        " blanks\n",
        "\r\n \n",
        ",\n,",
        "",
        "😀" * 20_000,
        "x" * 20_000,
        "line\n" * 4000,
        ")" * 20_000 + ":\n",
        "".join(map(chr, range(1, 256))),
        *made,
    ]


async def test_any_text_there_and_back(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        for text in hostile_texts():
            await channel.set_text("X", text)
            assert await channel.get_text("X") == text

    await agi.run(handler)


async def test_text_at_the_limit(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        for text in ("é" * (TEXT_LIMIT // 2), ")" * (TEXT_LIMIT - 1) + "\n"):
            await channel.set_text("X", text)
            assert await channel.get_text("X") == text
        with pytest.raises(BadText):
            await channel.set_text("X", "x" * (TEXT_LIMIT + 1))

    await agi.run(handler)


async def test_dialplan_sees_what_was_set(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        await channel.set_text("SHORT", "one\ntwo")
        await channel.set_text("LONG", "0123456789" * 2000)

    event = await agi.run(
        handler,
        after=",Short: ${BASE64_ENCODE(${SHORT})},Start: ${LONG:0:10},Applications: ${LEN(${LONG})}",
    )
    assert event["Short"] == "b25lCnR3bw=="
    assert event["Start"] == "0123456789"
    # Asterisk's own limit for what an application is given; docs name it.
    assert 4000 < int(event["Applications"]) < 4096


# Hangup and failure


async def test_hangup_ends_the_wait_and_variables_can_still_be_set(agi: Fastagi) -> None:
    waiting = asyncio.Event()
    served = asyncio.Event()
    seen: list[str | None] = []

    async def handler(channel: Channel) -> None:
        if channel.environment.script == "h":
            seen.append(await channel.get_variable("STATUS"))
            served.set()
            return
        try:
            async with channel.until_hangup():
                waiting.set()
                await asyncio.Event().wait()
        except AgiHangup:
            await channel.set_text("STATUS", "HANGUP\nin mid-wait")

    call = await agi.call(handler)
    async with asyncio.timeout(15):
        await waiting.wait()
        await call.hangup()
        await served.wait()
    await call.ended()
    assert seen == ["HANGUP\nin mid-wait"]
    assert agi.errors == []


async def test_hangup_in_a_blocking_command(agi: Fastagi) -> None:
    waiting = asyncio.Event()

    async def handler(channel: Channel) -> None:
        if channel.environment.script == "h":
            return
        asyncio.get_running_loop().call_soon(waiting.set)
        await channel.wait_for_digit(60)

    call = await agi.call(handler)
    async with asyncio.timeout(15):
        await waiting.wait()
        await call.hangup()
    await call.ended()
    assert [type(error) for error in agi.errors] == [AgiHangup]


async def test_dead_channel_refuses_what_needs_a_caller(agi: Fastagi) -> None:
    ended = asyncio.Event()

    async def handler(channel: Channel) -> None:
        if channel.environment.script != "h":
            return
        with contextlib.ExitStack() as stack:
            stack.callback(ended.set)
            assert not channel.hung_up
            for attempt in (channel.answer, channel.channel_status):
                with pytest.raises(AgiCommandError) as caught:
                    await attempt()
                assert caught.value.code == 511
            await channel.noop()
            await channel.verbose("still here")
            await channel.set_text("X", "a\nb")
            assert await channel.get_text("X") == "a\nb"

    call = await agi.call(handler)
    await call.event("Done")
    await ended.wait()
    assert agi.errors == []
    assert (await call.event("Gone"))["Status"] == "SUCCESS"


async def test_exception_is_a_failure(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        await channel.noop()
        raise ZeroDivisionError

    call = await agi.call(handler)
    assert (await call.event("Done"))["Status"] == "FAILURE"


async def test_one_session_too_many_fails_and_the_others_go_on(agi: Fastagi) -> None:
    agi.server.settings = AgiSettings(port=0, max_sessions=1)
    release = asyncio.Event()
    begun = asyncio.Event()

    async def handler(channel: Channel) -> None:
        begun.set()
        await release.wait()

    first = await agi.call(handler)
    await begun.wait()
    second = await agi.asterisk.call("1")
    assert (await second.event("Done"))["Status"] == "FAILURE"
    release.set()
    assert (await first.event("Done"))["Status"] == "SUCCESS"


# The other methods


async def test_methods_of_the_call(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        await channel.answer()
        assert await channel.channel_status() == 6
        assert (await channel.stream_file("beep")).endpos > 0
        assert await channel.wait_for_digit(0.05) == ""
        assert (await channel.get_data("beep", 0.05, 2)).digits == ""
        assert await channel.appexec("Set", "Y=a,b") == 0
        assert await channel.get_variable("Y") == "a,b"
        await channel.set_variable("CHANNEL(language)", "de")
        assert await channel.get_variable("CHANNEL(language)") == "de"
        assert await channel.get_full_variable("${CHANNEL(language)}-${Y}") == "de-a,b"

    assert (await agi.run(handler))["Status"] == "SUCCESS"


async def test_keys_of_the_caller(agi: Fastagi) -> None:
    keys: list[object] = []

    async def handler(channel: Channel) -> None:
        await channel.answer()
        keys.append(await channel.wait_for_digit(10))
        keys.append((await channel.get_data("beep", 5, 2)).digits)

    agi.handler = handler
    await agi.asterisk.dialplan(f"[testbed]\nexten => 1,1,AGI({agi.url}/x)\n same => n,UserEvent(Done)\n")
    call = await agi.asterisk.call("1", caller_does=("SendDTMF", "5ww12wwww,200"))
    await call.event("Done")
    assert agi.errors == []
    assert keys == ["5", "12"]


async def test_missing_file_is_no_hangup(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        with pytest.raises(AgiCommandError, match="could not do STREAM"):
            await channel.stream_file("no-such-file")
        assert not channel.hung_up

    # Asterisk's own rule: one failed command makes the whole session a failure.
    assert (await agi.run(handler))["Status"] == "FAILURE"


async def test_database(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        assert await channel.database_get("agi-xmpp", "key") is None
        await channel.database_put("agi-xmpp", "key", 'a "b" (c)')
        assert await channel.database_get("agi-xmpp", "key") == 'a "b" (c)'
        assert await channel.database_del("agi-xmpp", "key")
        await channel.database_put("agi-xmpp", "tree/1", "x")
        assert await channel.database_deltree("agi-xmpp", "tree")
        assert await channel.database_get("agi-xmpp", "tree/1") is None
        assert not await channel.database_deltree("agi-xmpp", "tree")

    await agi.run(handler)


async def test_goto_on_exit(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        await channel.goto_on_exit("elsewhere", "s")

    call = await agi.call(handler)
    await call.event("Elsewhere")


async def test_script_hangs_up(agi: Fastagi) -> None:
    async def handler(channel: Channel) -> None:
        if channel.environment.script != "h":
            await channel.hangup()

    call = await agi.call(handler)
    await call.ended()
    assert agi.errors == []


# pyst2


async def test_pyst2_script_runs_unchanged(agi: Fastagi) -> None:
    program = load_callable(f"{SCRIPTS}:program")

    async def handler(channel: Channel) -> None:
        await run_pyst2(channel, program)

    greeting = ",Greeting: ${BASE64_ENCODE(${GREETING})}"  # UserEvent takes quotes away
    event = await agi.run(handler, "Set(WORD=hangup)", "Set(CALLERID(num)=201)", after=greeting)
    assert (event["Status"], event["Greeting"]) == ("SUCCESS", base64.b64encode(b'say "hi" to 201').decode())


async def test_pyst2_script_with_texts_and_database(agi: Fastagi) -> None:
    database, texts = load_callable(f"{SCRIPTS}:database"), load_callable(f"{SCRIPTS}:texts")
    seen = importlib.import_module(SCRIPTS).SEEN
    seen.clear()

    async def handler(channel: Channel) -> None:
        await run_pyst2(channel, database)
        await channel.set_text("LONG", "é" * 3000)
        await run_pyst2(channel, texts)
        assert await channel.get_text("TEXT") == "a\nb :-) c:\n"

    await agi.run(handler)
    assert seen == ['a "b"', "Unable to delete tree from database: family=fam ily, key=", "é" * 3000]


async def test_hangup_reaches_a_blocked_pyst2_script(agi: Fastagi) -> None:
    waits = load_callable(f"{SCRIPTS}:waits")
    waiting = asyncio.Event()
    ended = asyncio.Event()
    reason: list[str | None] = []

    async def handler(channel: Channel) -> None:
        if channel.environment.script == "h":
            reason.append(await channel.get_variable("REASON"))
            ended.set()
            return
        asyncio.get_running_loop().call_later(0.1, waiting.set)  # the script needs a moment to send its command
        await run_pyst2(channel, waits)

    call = await agi.call(handler)
    async with asyncio.timeout(15):
        await waiting.wait()
        await call.hangup()
        await ended.wait()
    assert reason[0] in {"AGISIGHUPHangup", "AGIResultHangup"}
    assert [type(error) for error in agi.errors] == [AgiHangup]
