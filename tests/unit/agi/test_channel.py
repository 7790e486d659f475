from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agi_xmpp.agi.channel import TEXT_LIMIT, Channel, Digits, Playback
from agi_xmpp.agi.environment import Environment
from agi_xmpp.agi.wire import NEED_DATA, AgiConnection, Closed, Command, Hangup, Reply, Role, State
from agi_xmpp.errors import (
    AgiArgumentError,
    AgiCommandError,
    AgiError,
    AgiHangup,
    AgiProtocolError,
    AgiTimeout,
    BadText,
)
from tests.unit.agi.cases import case
from tests.unit.agi.fake_asterisk import DEAD, HEADERS, Dialplan

OLD = {**HEADERS, "agi_version": "18.10.0"}


class Call:
    """A channel and Asterisk's end of it, joined without a socket. With a dialplan, commands are answered by it."""

    def __init__(self, dialplan: Dialplan | None = None, headers=HEADERS, command_timeout: float = 10.0) -> None:
        self.asterisk = AgiConnection(Role.ASTERISK)
        self.connection = AgiConnection()
        self.connection.receive_data(self.asterisk.send_environment(headers))
        environment = self.connection.next_event()
        assert isinstance(environment, Environment)
        self.channel = Channel(self.connection, environment, self, command_timeout=command_timeout)
        self.dialplan = dialplan
        self.commands: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self.count = 0

    def write(self, data: bytes, /) -> None:
        self.asterisk.receive_data(data)
        event = self.asterisk.next_event()
        assert isinstance(event, Command), event
        self.count += 1
        if self.dialplan is None:
            self.commands.put_nowait(event.words)
        else:
            asyncio.get_running_loop().call_soon(self.reply, self.dialplan.reply(event.words))

    def reply(self, text: str = "200 result=1") -> None:
        self.feed(self.asterisk.send_reply(text))

    def hangup(self) -> None:
        self.feed(self.asterisk.send_hangup())

    def feed(self, data: bytes) -> None:
        """Hand what Asterisk sends to the channel, as the server does."""
        self.connection.receive_data(data)
        try:
            while (event := self.connection.next_event()) is not NEED_DATA:
                match event:
                    case Reply():
                        self.channel.deliver(event)
                    case Hangup():
                        self.channel.hangup_received()
                    case Closed():
                        self.channel.end(AgiHangup("Asterisk closed the connection"))
                        return
        except AgiProtocolError as error:
            self.channel.end(error)

    async def answer(self, text: str = "200 result=1") -> tuple[str, ...]:
        words = await self.commands.get()
        self.reply(text)
        return words


async def start(coroutine):
    """Start a coroutine as a task and let it run to its first wait."""
    task = asyncio.ensure_future(coroutine)
    await asyncio.sleep(0)
    return task


async def wait(call: Call) -> None:
    """Wait for ever, or for the call's end."""
    async with call.channel.until_hangup():
        await asyncio.Event().wait()


# Commands


async def test_command_and_reply():
    call = Call()
    task = await start(call.channel.command("GET", "VARIABLE", "X"))
    assert await call.answer("200 result=1 (x)") == ("GET", "VARIABLE", "X")
    assert await task == Reply(200, "1", "x")


@pytest.mark.parametrize(
    ("reply", "code", "text"),
    [
        ("510 Invalid or unknown command", 510, "Asterisk refused SAY: 510 Invalid or unknown command"),
        (DEAD, 511, "Asterisk refused SAY: 511 Command Not Permitted"),
        ("520 Invalid command syntax.", 520, "Asterisk refused SAY: 520 Invalid"),
        ("520-Invalid\nUsage: x\n520 End of proper usage.", 520, "Asterisk refused SAY: 520 520-Invalid"),
    ],
)
async def test_refusals(reply, code, text):
    call = Call()
    task = await start(call.channel.command("SAY", "X"))
    await call.answer(reply)
    with pytest.raises(AgiCommandError, match=text) as caught:
        await task
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


async def test_case_073_concurrent_tasks_take_turns():
    call = Call()
    tasks = [await start(call.channel.command("NOOP", str(number))) for number in range(3)]
    for number in range(3):
        assert call.asterisk.state is State.IN_FLIGHT
        assert await call.answer(f"200 result={number}") == ("NOOP", str(number))
        assert (await tasks[number]).result == str(number)
        assert call.commands.qsize() == 0 or number < 2


async def test_case_074_reply_to_a_cancelled_command_is_not_given_to_the_next():
    call = Call()
    task = await start(call.channel.get_variable("SLOW"))
    await call.commands.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    following = await start(call.channel.get_variable("NEXT"))
    assert call.commands.empty(), "sent before the owed reply came"
    call.reply("200 result=1 (late)")
    assert await call.answer("200 result=1 (mine)") == ("GET", "VARIABLE", "NEXT")
    assert await following == "mine"


async def test_reply_to_a_cancelled_command_that_came_in_between():
    call = Call()
    task = await start(call.channel.noop())
    await call.commands.get()
    task.cancel()
    await asyncio.wait([task])
    call.reply("200 result=7")
    following = await start(call.channel.command("NOOP"))
    await call.answer("200 result=8")
    assert (await following).result == "8"


async def test_a_command_that_is_cancelled_before_it_is_sent_leaves_no_trace():
    call = Call()
    first = await start(call.channel.noop())
    second = await start(call.channel.noop())
    second.cancel()
    await asyncio.wait([second])
    await call.answer()
    await first
    assert call.commands.empty()
    assert call.connection.state is State.IDLE


async def test_case_075_timeout_poisons():
    call = Call(command_timeout=0.01)
    with pytest.raises(AgiTimeout, match=r"did not answer within 0\.01 s"):
        await call.channel.noop()
    assert call.connection.state is State.POISONED
    with pytest.raises(AgiTimeout):
        await call.channel.noop()
    assert call.count == 1, "a command was sent after the timeout"


async def test_owed_reply_that_never_comes():
    call = Call(command_timeout=0.01)
    task = await start(call.channel.command("NOOP", timeout=None))
    task.cancel()
    await asyncio.wait([task])
    with pytest.raises(AgiTimeout):
        await call.channel.command("NOOP", timeout=None)
    assert call.count == 1


async def test_no_timeout_waits():
    call = Call(command_timeout=0.01)
    task = await start(call.channel.appexec("Dial", "PJSIP/x"))
    timer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.03, timer.set_result, None)
    await timer
    assert await call.answer("200 result=0") == ("EXEC", "Dial", "PJSIP/x")
    assert await task == 0


async def test_smuggled_reply_ends_the_conversation():
    call = Call()
    task = await start(call.channel.get_variable("BODY"))
    await call.answer("200 result=1 (a)\n200 result=1 (EVIL)")
    assert await task == "a"
    with pytest.raises(AgiProtocolError):
        await call.channel.get_variable("OTHER")
    assert call.count == 1


async def test_smuggled_reply_that_comes_late_is_seen_by_the_next_command():
    call = Call()
    task = await start(call.channel.get_variable("BODY"))
    await call.answer("200 result=1 (a)")
    await task
    call.connection.receive_data(b"200 result=1 (EVIL)\n")
    with pytest.raises(AgiProtocolError, match="no command asked for"):
        await call.channel.noop()
    with pytest.raises(AgiProtocolError):
        await call.channel.noop()


async def test_an_argument_that_cannot_be_sent_costs_nothing():
    call = Call(Dialplan())
    with pytest.raises(AgiArgumentError):
        await call.channel.set_variable("X", "a\nb")
    await call.channel.noop()
    assert call.count == 1


async def test_commands_are_logged_at_debug_only(caplog):
    with caplog.at_level(logging.INFO, logger="agi_xmpp"):
        await Call(Dialplan()).channel.set_variable("X", "secret")
    assert "secret" not in caplog.text
    with caplog.at_level(logging.DEBUG, logger="agi_xmpp"):
        await Call(Dialplan()).channel.set_variable("X", "secret")
    assert "secret" in caplog.text
    assert HEADERS["agi_uniqueid"] in caplog.text


def test_id_is_fit_for_a_log_line():
    connection = AgiConnection()
    environment = Environment({"agi_uniqueid": "12.3\r x\x1b[0m" + "9" * 100})
    channel = Channel(connection, environment, Writer())
    assert channel.id == ("12.3??x?[0m" + "9" * 100)[:80]
    assert repr(channel) == f"<Channel {channel.id}>"


class Writer:
    def write(self, data: bytes, /) -> None:
        raise AssertionError


# Hangup


async def test_hangup_ends_the_block():
    call = Call()
    entered = asyncio.Event()

    async def handler() -> str:
        try:
            async with call.channel.until_hangup():
                entered.set()
                await asyncio.Event().wait()
        except AgiHangup:
            await call.channel.set_variable("STATUS", "HANGUP")
            return "hung up"
        return "went on"

    task = asyncio.ensure_future(handler())
    await entered.wait()
    before = call.channel.hung_up
    call.hangup()
    assert (before, call.channel.hung_up) == (False, True)
    assert await call.answer() == ("SET", "VARIABLE", "STATUS", "HANGUP")
    assert await task == "hung up"
    assert task.cancelling() == 0


async def test_hangup_before_the_block():
    call = Call()
    call.hangup()
    with pytest.raises(AgiHangup):
        async with call.channel.until_hangup():
            pytest.fail("the block was entered")


async def test_hangup_after_the_block_does_nothing():
    call = Call()
    async with call.channel.until_hangup():
        pass
    call.hangup()
    await asyncio.sleep(0)


async def test_hangup_in_nested_blocks():
    call = Call()
    inner = False

    async def handler() -> None:
        nonlocal inner
        async with call.channel.until_hangup():
            try:
                await wait(call)
            except asyncio.CancelledError:
                inner = True
                raise

    asyncio.get_running_loop().call_soon(call.hangup)
    with pytest.raises(AgiHangup):
        await handler()
    assert inner


async def test_error_of_the_block_leaves_it_unchanged():
    call = Call()
    with pytest.raises(ZeroDivisionError):
        async with call.channel.until_hangup():
            raise ZeroDivisionError


async def test_cancellation_from_elsewhere_is_no_hangup():
    call = Call()

    task = await start(wait(call))
    call.hangup()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancellation_without_a_hangup():
    call = Call()

    task = await start(wait(call))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_case_056_hangup_before_the_reply_leaves_it_to_its_command():
    call = Call()
    task = await start(call.channel.get_variable("X"))
    await call.commands.get()
    call.feed(b"HANGUP\n200 result=1 (x)\n")
    assert await task == "x"
    assert call.channel.hung_up


async def test_case_057_blocking_command_that_a_hangup_ends():
    call = Call()
    task = await start(call.channel.wait_for_digit(60))
    assert await call.answer("200 result=-1") == ("WAIT", "FOR", "DIGIT", "60000")
    assert await call.commands.get() == ("NOOP",)
    call.hangup()
    call.reply("200 result=0")
    with pytest.raises(AgiHangup, match="hung up during WAIT"):
        await task


async def test_case_036_missing_file_is_no_hangup():
    call = Call()
    task = await start(call.channel.stream_file("nosuch"))
    await call.answer("200 result=-1 endpos=0")
    await call.answer("200 result=0")
    with pytest.raises(AgiCommandError, match="could not do STREAM"):
        await task
    assert not call.channel.hung_up


async def test_case_060_only_511_reveals_the_hangup():
    call = Call()
    task = await start(call.channel.answer())
    await call.answer(DEAD)
    with pytest.raises(AgiCommandError) as caught:
        await task
    assert caught.value.code == 511


async def test_case_062_dead_channel_from_the_start():
    call = Call(Dialplan(X="x"))
    assert not call.channel.hung_up
    assert await call.channel.get_variable("X") == "x"
    with pytest.raises(AgiCommandError):
        await call.channel.channel_status()


async def test_case_063_variables_after_a_hangup():
    call = Call(Dialplan(X="x"))
    call.hangup()
    assert await call.channel.get_variable("X") == "x"
    await call.channel.set_text("Y", "a\nb")
    assert call.dialplan is not None
    assert call.dialplan.text("Y") == "a\nb"


async def test_case_065_connection_lost_with_a_command_in_flight():
    call = Call()
    task = await start(call.channel.noop())
    await call.commands.get()
    call.feed(b"")
    with pytest.raises(AgiHangup, match="closed the connection"):
        await task
    assert call.channel.hung_up
    with pytest.raises(AgiHangup, match="closed the connection"):
        await call.channel.noop()


async def test_connection_lost_ends_the_block():
    call = Call()
    asyncio.get_running_loop().call_soon(call.feed, b"")
    with pytest.raises(AgiHangup, match="closed the connection"):
        await wait(call)


async def test_broken_protocol_ends_the_block_with_its_own_error():
    call = Call()
    asyncio.get_running_loop().call_soon(call.feed, b"200 result=1\n")
    with pytest.raises(AgiProtocolError):
        await wait(call)


async def test_timeout_inside_of_the_block():
    call = Call(command_timeout=0.01)
    with pytest.raises(AgiTimeout):
        async with call.channel.until_hangup():
            await call.channel.noop()


# Variables


async def test_case_024_and_025_empty_and_unset():
    call = Call(Dialplan(EMPTY=""))
    assert await call.channel.get_variable("EMPTY") == ""
    assert await call.channel.get_variable("UNSET") is None
    assert await call.channel.get_text("EMPTY") == ""
    assert await call.channel.get_text("UNSET") is None


async def test_case_028_value_that_is_the_word_hangup():
    assert await Call(Dialplan(X="hangup")).channel.get_variable("X") == "hangup"


@pytest.mark.parametrize("length", [1022, 1023, 1024, 5000])
async def test_get_variable_is_never_cut(length):
    value = ("é" + "x" * 97) * 60
    value = value.encode()[:length].decode(errors="ignore")
    value += "x" * (length - len(value.encode()))
    assert await Call(Dialplan(X=value)).channel.get_variable("X") == value


async def test_case_051_bytes_that_are_not_utf_8():
    call = Call(Dialplan(NAME="Ren\udce9"))
    value = await call.channel.get_variable("NAME")
    assert value is not None
    assert value.encode(errors="surrogateescape") == b"Ren\xe9"
    with pytest.raises(AgiArgumentError, match="not UTF-8"):
        await call.channel.set_variable("NAME", value)
    with pytest.raises(BadText, match="NAME is not UTF-8"):
        await call.channel.get_text("NAME")


@pytest.mark.parametrize(
    "name", ["", "a b", "X)", "${X}", "CHANNEL(${X})", "F(x", "1X", "é", "X\n", "SHELL(`x`)\n", "A}", 'X"']
)
async def test_names_that_are_refused(name):
    call = Call(Dialplan())
    for attempt in (
        call.channel.get_variable(name),
        call.channel.set_variable(name, "x"),
        call.channel.get_text(name),
        call.channel.set_text(name, "x"),
    ):
        with pytest.raises(AgiArgumentError, match="not the name"):
            await attempt
    assert call.count == 0


@pytest.mark.parametrize("name", ["X", "_X", "__X", "CHANNEL(state)", "DEVICE_STATE(Custom:x-1)", 'HASH(a,"b c")'])
async def test_names_that_are_taken(name):
    call = Call()
    task = await start(call.channel.set_variable(name, "x"))
    assert await call.answer() == ("SET", "VARIABLE", name, "x")
    await task


@pytest.mark.parametrize("name", ["_X", "CHANNEL(state)", "X" * 81])
async def test_names_that_cannot_hold_any_text(name):
    with pytest.raises(AgiArgumentError, match="for text"):
        await Call(Dialplan()).channel.set_text(name, "x")


TEXTS = [
    "plain",
    "",
    " blanks ",
    "\n",
    "\r\n a \r\n",
    "a\nb",
    "a)\nb)\nc",
    "x\n200 result=1 (owned)",
    "HANGUP\nHANGUP",
    ":-) so: what\n",
    "))))::::\n",
    "a):1:2\n",
    ",\n,",
    '"\\"\n\\',
    "${X}\n$[1+1]",
    "\t\n",
    "😀" * 20_000,
    "x" * 20_000,
    "(" * 9_000,
    ")" * 9_000 + ":\n",
    "".join(map(chr, range(1, 256))),
]


@pytest.mark.parametrize("headers", [HEADERS, OLD], ids=["new", "old"])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_any_text_there_and_back(text, headers):
    dialplan = Dialplan(X="before")
    dialplan.drops_end_of_base64 = headers is OLD
    channel = Call(dialplan, headers).channel
    await channel.set_text("X", text)
    assert dialplan.text("X") == text
    assert await channel.get_text("X") == text


@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), old=st.booleans())
@settings(max_examples=200, deadline=None)
def test_every_text_there_and_back(text, old):
    async def run() -> None:
        dialplan = Dialplan()
        dialplan.drops_end_of_base64 = old
        channel = Call(dialplan, OLD if old else HEADERS).channel
        await channel.set_text("X", text)
        assert dialplan.text("X") == text
        assert await channel.get_text("X") == text

    asyncio.run(run())


@given(text=st.text("():,\n\r ${}é😀", min_size=1400, max_size=1600))
@settings(max_examples=30, deadline=None)
def test_every_text_at_the_edge_of_a_piece(text):
    async def run() -> None:
        channel = Call(Dialplan(), OLD).channel
        await channel.set_text("X", text)
        assert await channel.get_text("X") == text

    asyncio.run(run())


@pytest.mark.parametrize("length", [TEXT_LIMIT - 1, TEXT_LIMIT])
async def test_text_up_to_the_limit(length):
    channel = Call(Dialplan()).channel
    text = "é" * (length // 2) + "x" * (length % 2)
    await channel.set_text("X", text)
    assert await channel.get_text("X") == text


async def test_text_over_the_limit():
    call = Call(Dialplan(X="before"))
    with pytest.raises(BadText, match=f"{TEXT_LIMIT + 1} bytes"):
        await call.channel.set_text("X", "é" * (TEXT_LIMIT // 2) + "x")
    assert call.count == 0
    call = Call(Dialplan(X="x" * (TEXT_LIMIT + 1)))
    with pytest.raises(BadText, match=f"more than {TEXT_LIMIT} bytes"):
        await call.channel.get_text("X")


@pytest.mark.parametrize(("text", "reason"), [("a\0", "NUL"), ("a\ud83d", "half a character")])
async def test_text_that_no_variable_can_hold(text, reason):
    call = Call(Dialplan())
    with pytest.raises(BadText, match=reason):
        await call.channel.set_text("X", text)
    assert call.count == 0


@pytest.mark.parametrize("missing", ["BASE64_DECODE", "SET", "LEN", "SHIFT", "POP"])
async def test_function_missing_for_writing(missing):
    dialplan = Dialplan()
    dialplan.missing_functions.add(missing)
    with pytest.raises(AgiError, match="func_base64, func_logic, func_strings"):
        await Call(dialplan).channel.set_text("X", "a\nb")
    assert dialplan.text("X") == "", "half a text is left"


async def test_function_missing_for_reading():
    dialplan = Dialplan(X="x")
    dialplan.missing_functions.add("BASE64_ENCODE")
    with pytest.raises(AgiError, match="func_base64"):
        await Call(dialplan).channel.get_text("X")


async def test_short_text_costs_one_command():
    call = Call(Dialplan())
    await call.channel.set_text("X", "short: \"text\" :-) with 'quotes'")
    assert call.count == 1


# The other methods: what they send, and what they make of the reply

METHODS = [
    ("answer", (), "200 result=0", ("ANSWER",), None),
    ("hangup", (), "200 result=1", ("HANGUP",), None),
    ("noop", (), "200 result=0", ("NOOP",), None),
    ("verbose", ("two\nlines\0",), "200 result=1", ("VERBOSE", "two lines ", "1"), None),
    ("verbose", ("x" * 401, 3), "200 result=1", ("VERBOSE", "x" * 400, "3"), None),
    ("appexec", ("Playback", "a&b,skip"), "200 result=0", ("EXEC", "Playback", "a&b,skip"), 0),
    ("appexec", ("Hangup",), "200 result=-1", ("EXEC", "Hangup", ""), -1),
    ("channel_status", (), "200 result=6", ("CHANNEL", "STATUS"), 6),
    ("stream_file", ("beep",), "200 result=0 endpos=160", ("STREAM", "FILE", "beep", "", "0"), Playback("", 160)),
    (
        "stream_file",
        ("beep", "12", 80),
        "200 result=50 endpos=99",
        ("STREAM", "FILE", "beep", "12", "80"),
        Playback("2", 99),
    ),
    ("wait_for_digit", (2.5,), "200 result=35", ("WAIT", "FOR", "DIGIT", "2500"), "#"),
    ("wait_for_digit", (0.05,), "200 result=0", ("WAIT", "FOR", "DIGIT", "50"), ""),
    ("get_data", ("beep", 3), "200 result=12", ("GET", "DATA", "beep", "3000", "255"), Digits("12", False)),
    ("get_data", ("beep", 3, 4), "200 result= (timeout)", ("GET", "DATA", "beep", "3000", "4"), Digits("", True)),
    ("database_get", ("f", "k"), "200 result=1 (a b)", ("DATABASE", "GET", "f", "k"), "a b"),
    ("database_get", ("f", "k"), "200 result=1 ()", ("DATABASE", "GET", "f", "k"), ""),
    ("database_get", ("f", "k"), "200 result=0", ("DATABASE", "GET", "f", "k"), None),
    ("database_put", ("f", "k", "v"), "200 result=1", ("DATABASE", "PUT", "f", "k", "v"), None),
    ("database_del", ("f", "k"), "200 result=0", ("DATABASE", "DEL", "f", "k"), False),
    ("database_deltree", ("f",), "200 result=0", ("DATABASE", "DELTREE", "f"), True),
    ("database_deltree", ("f", "k"), "200 result=1", ("DATABASE", "DELTREE", "f", "k"), False),
    ("get_full_variable", ("${A}${B}",), "200 result=1 (ab)", ("GET", "FULL", "VARIABLE", "${A}${B}"), "ab"),
    ("get_full_variable", ("${A}",), "200 result=0", ("GET", "FULL", "VARIABLE", "${A}"), ""),
]


@pytest.mark.parametrize(("method", "arguments", "reply", "words", "result"), METHODS)
async def test_method(method, arguments, reply, words, result):
    call = Call()
    task = await start(getattr(call.channel, method)(*arguments))
    assert await call.answer(reply) == words
    assert await task == result


async def test_case_041_no_such_application():
    call = Call()
    task = await start(call.channel.appexec("Nonsense"))
    await call.answer("200 result=-2")
    with pytest.raises(AgiCommandError, match="no application Nonsense"):
        await task


async def test_database_that_takes_nothing():
    call = Call()
    task = await start(call.channel.database_put("f", "k", "v"))
    await call.answer("200 result=0")
    with pytest.raises(AgiCommandError, match="did not take f/k"):
        await task


async def test_result_that_is_no_number():
    call = Call()
    task = await start(call.channel.channel_status())
    await call.answer("200 result=x")
    with pytest.raises(AgiProtocolError, match="'x' where a number belongs"):
        await task


async def test_goto_on_exit():
    call = Call()
    task = await start(call.channel.goto_on_exit("home", "s"))
    sent = [await call.answer("200 result=0") for _ in range(3)]
    assert sent == [("SET", "CONTEXT", "home"), ("SET", "EXTENSION", "s"), ("SET", "PRIORITY", "1")]
    await task


async def test_nothing_is_left_behind_by_a_cancelled_handler():
    call = Call()
    task = await start(call.channel.noop())
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    call.channel.end(AgiHangup("over"))
    with pytest.raises(AgiHangup, match="over"):
        await call.channel.noop()


CASES_OF_ONE_BYTE = [case(5, "reply-by-bytes", b"200 result=1 (a\nb)\n")]


@pytest.mark.parametrize("data", CASES_OF_ONE_BYTE)
async def test_reply_by_bytes(data):
    call = Call()
    task = await start(call.channel.get_variable("X"))
    await call.commands.get()
    for byte in data:
        call.feed(bytes([byte]))
    assert await task == "a\nb"
