from __future__ import annotations

import itertools
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agi_xmpp.agi.environment import Environment
from agi_xmpp.agi.wire import (
    FAILURE,
    NEED_DATA,
    AgiConnection,
    Closed,
    Command,
    Event,
    Failure,
    Hangup,
    Limits,
    Reply,
    Role,
    State,
    command_limit,
    quote,
    split_words,
)
from agi_xmpp.errors import AgiArgumentError, AgiProtocolError
from tests.unit.agi.cases import case
from tests.unit.agi.fake_asterisk import DEAD, HEADERS, environment_bytes

OLD = {**HEADERS, "agi_version": "18.10.0"}

USAGE = (
    b"520-Invalid command syntax.  Proper usage follows:\n"
    b"  Usage: GET VARIABLE <variablename>\n"
    b"\n"
    b"200 result=1 (<para>Returns <literal>0</literal></para>)\n"
    b"HANGUP\n"
    b"520 End of proper usage.\n"
)


def events(connection: AgiConnection, data: bytes = b"") -> list[Event]:
    """Give data and return all events there are."""
    if data:
        connection.receive_data(data)
    found: list[Event] = []
    while (event := connection.next_event()) is not NEED_DATA:
        found.append(event)
        if isinstance(event, Closed):
            break
    return found


def idle(headers=HEADERS, **limits: int) -> AgiConnection:
    """Return a connection with its environment received."""
    connection = AgiConnection(limits=Limits(**limits))
    (environment,) = events(connection, environment_bytes(headers))
    assert isinstance(environment, Environment)
    return connection


def in_flight(*words: str, **limits: int) -> AgiConnection:
    connection = idle(**limits)
    connection.send_command(*(words or ("GET", "VARIABLE", "X")))
    return connection


# The environment


def test_case_001_normal_environment():
    assert AgiConnection().state is State.ENVIRONMENT
    connection = AgiConnection()
    assert events(connection) == []
    (environment,) = events(connection, environment_bytes())
    assert isinstance(environment, Environment)
    assert dict(environment) == HEADERS
    assert connection.state is State.IDLE


def test_case_005_one_byte_per_segment():
    connection = AgiConnection()
    data = environment_bytes({**HEADERS, "agi_arg_1": "é: x"})
    for byte in data[:-1]:
        assert events(connection, bytes([byte])) == []
    (environment,) = events(connection, data[-1:])
    assert isinstance(environment, Environment)
    assert environment.args == ("é: x",)


def test_case_006_split_at_every_offset():
    data = environment_bytes()
    for offset in range(1, len(data)):
        connection = AgiConnection()
        assert events(connection, data[:offset]) == []
        assert events(connection, data[offset:]) == [Environment(HEADERS)]
        assert connection.state is State.IDLE


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        case(7, "continuation-line", environment_bytes({**HEADERS, "agi_arg_1": "a\nb"}), "no header"),
        case(8, "duplicate", environment_bytes()[:-1] + b"agi_context: x\n\n", "twice"),
        case(15, "http", b"GET / HTTP/1.1\r\n\r\n", "HTTP request"),
        case(15, "http-post-in-parts", b"POST /x", "HTTP request"),
        case(16, "tls", b"\x16\x03\x01\x02\x00\x01", "TLS handshake"),
        case(16, "something-else", b"SSH-2.0-x\r\n", "does not speak FastAGI"),
        case(17, "nul", environment_bytes({**HEADERS, "agi_arg_1": "a\0b"}), "NUL"),
        case(19, "crlf", environment_bytes().replace(b"\n", b"\r\n"), "CR LF"),
        case(19, "blank-lines", b"\n\n", "does not speak FastAGI"),
    ],
)
def test_environment_refused(data, complaint):
    connection = AgiConnection()
    with pytest.raises(AgiProtocolError, match=complaint):
        events(connection, data)
    assert connection.state is State.POISONED
    with pytest.raises(AgiProtocolError):
        connection.next_event()


def test_case_009_argument_that_ends_the_environment_and_forges_a_reply():
    connection = AgiConnection()
    connection.receive_data(environment_bytes({**HEADERS, "agi_arg_1": "a\n\n200 result=1 (forged)"}))
    assert isinstance(connection.next_event(), Environment)
    with pytest.raises(AgiProtocolError, match="no command asked for"):
        connection.next_event()
    connection = AgiConnection()
    connection.receive_data(environment_bytes({**HEADERS, "agi_arg_1": "a\n\n200 result=1 (forged)"}))
    connection.next_event()
    with pytest.raises(AgiProtocolError, match="no command asked for"):
        connection.send_command("NOOP")
    assert connection.state is State.POISONED


def test_case_010_end_before_any_byte():
    connection = AgiConnection()
    connection.receive_data(b"")
    assert events(connection) == [Closed(clean=True, silent=True)]
    assert connection.state is State.CLOSED
    assert connection.next_event() == Closed(clean=True)


def test_case_011_end_inside_of_the_environment():
    connection = AgiConnection()
    connection.receive_data(environment_bytes()[:100])
    connection.receive_data(b"")
    assert events(connection) == [Closed(clean=False)]


@pytest.mark.parametrize(
    ("extra", "fits"), [case(12, "below", -1, True), case(12, "at", 0, True), case(12, "above", 1, False)]
)
def test_environment_bytes(extra, fits):
    data = environment_bytes({**HEADERS, "agi_arg_1": ""})
    filler = "x" * (65_536 - len(data) + extra)
    connection = AgiConnection()
    connection.receive_data(environment_bytes({**HEADERS, "agi_arg_1": filler}))
    if fits:
        assert isinstance(connection.next_event(), Environment)
    else:
        with pytest.raises(AgiProtocolError, match="longer than 65536 bytes"):
            connection.next_event()


def test_case_012_no_blank_line():
    connection = AgiConnection()
    connection.receive_data(b"agi_request: " + b"x" * (65_536 - 13))
    assert connection.next_event() is NEED_DATA
    connection.receive_data(b"x")
    with pytest.raises(AgiProtocolError, match="longer than 65536 bytes"):
        connection.next_event()


@pytest.mark.parametrize(
    ("count", "fits"),
    [
        case(13, "below", 199, True),
        case(13, "at", 200, True),
        case(13, "above", 201, False),
        case(13, "ten-thousand", 10_000, False),
    ],
)
def test_environment_headers(count, fits):
    arguments = {f"agi_arg_{number}": "" for number in range(1, count - len(HEADERS) + 1)}
    connection = AgiConnection()
    connection.receive_data(environment_bytes({**HEADERS, **arguments}))
    if fits:
        assert isinstance(connection.next_event(), Environment)
    else:
        with pytest.raises(AgiProtocolError, match="environment"):
            connection.next_event()


def test_case_018_latin_1_name():
    connection = AgiConnection()
    (environment,) = events(connection, environment_bytes({**HEADERS, "agi_calleridname": "Ren\udce9"}))
    assert isinstance(environment, Environment)
    assert environment.callerid_name.encode(errors="surrogateescape") == b"Ren\xe9"


def test_case_022_hangup_in_the_segment_of_the_environment():
    connection = AgiConnection()
    environment, hangup = events(connection, environment_bytes() + b"HANGUP\n")
    assert isinstance(environment, Environment)
    assert hangup == Hangup()
    assert connection.state is State.DEAD


# Replies

REPLIES = [
    case(23, "plain", b"200 result=0\n", Reply(200, "0")),
    case(24, "empty", b"200 result=1 ()\n", Reply(200, "1", "")),
    case(25, "unset", b"200 result=0\n", Reply(200, "0", None)),
    case(26, "parentheses", b"200 result=1 (a (b) c) d)\n", Reply(200, "1", "a (b) c) d")),
    case(26, "unbalanced", b"200 result=1 (:-( )\n", Reply(200, "1", ":-( ")),
    case(27, "like-a-reply", b"200 result=1 (result=-1 (x) a=b)\n", Reply(200, "1", "result=-1 (x) a=b")),
    case(28, "the-word-hangup", b"200 result=1 (hangup)\n", Reply(200, "1", "hangup")),
    case(29, "record", b"200 result=-1 (hangup) endpos=0\n", Reply(200, "-1", "hangup", "endpos=0")),
    case(30, "newline", b"200 result=1 (a\nb)\n", Reply(200, "1", "a\nb")),
    case(30, "newlines-only", b"200 result=1 (\n\n\n)\n", Reply(200, "1", "\n\n\n")),
    case(30, "hangup-in-a-value", b"200 result=1 (a\nHANGUP\nb)\n", Reply(200, "1", "a\nHANGUP\nb")),
    case(31, "reply-in-a-value", b"200 result=1 (\n200 result=1 (owned))\n", Reply(200, "1", "\n200 result=1 (owned)")),
    case(33, "refusal-in-a-value", b"200 result=1 (x\n511 no)\n", Reply(200, "1", "x\n511 no")),
    case(34, "timeout", b"200 result=0 (timeout) endpos=0\n", Reply(200, "0", "timeout", "endpos=0")),
    case(35, "no-digits", b"200 result= (timeout)\n", Reply(200, "", "timeout")),
    case(35, "digits", b"200 result=12*#\n", Reply(200, "12*#")),
    case(36, "missing-file", b"200 result=-1 endpos=0\n", Reply(200, "-1", None, "endpos=0")),
    case(37, "digit", b"200 result=1 (digit) digit=5 endpos=120\n", Reply(200, "1", "digit", "digit=5 endpos=120")),
    case(
        38,
        "speech",
        b'200 result=1 (speech) endpos=9 results=1 score0=8 text0="a (b" grammar0=g\n',
        Reply(200, "1", "speech", 'endpos=9 results=1 score0=8 text0="a (b" grammar0=g'),
    ),
    case(
        39,
        "trying",
        b"100 result=0 Trying...\n200 result=0 Gosub complete\n",
        Reply(200, "0", None, "Gosub complete"),
    ),
    case(41, "no-application", b"200 result=-2\n", Reply(200, "-2")),
    case(42, "510", b"510 Invalid or unknown command\n", Reply(510, tail="Invalid or unknown command")),
    case(43, "511", f"{DEAD}\n".encode(), Reply(511, tail=DEAD.removeprefix("511 "))),
    case(44, "usage", USAGE, Reply(520, tail=USAGE.decode().removesuffix("\n"))),
    case(45, "no-usage", b"520 Invalid command syntax.\n", Reply(520, tail="Invalid command syntax.")),
    case(46, "reply-in-a-usage", USAGE, Reply(520, tail=USAGE.decode().removesuffix("\n"))),
    case(51, "latin-1", b"200 result=1 (Ren\xe9)\n", Reply(200, "1", "Ren\udce9")),
    case(34, "timeout-as-a-value", b"200 result=1 (timeout) endpos=0)\n", Reply(200, "1", "timeout) endpos=0")),
]


@pytest.mark.parametrize(("data", "reply"), REPLIES)
def test_reply(data, reply):
    connection = in_flight()
    assert events(connection, data) == [reply]
    assert connection.state is State.IDLE
    connection.send_command("NOOP")


@pytest.mark.parametrize(("data", "reply"), REPLIES)
def test_case_052_reply_in_two_segments(data, reply):
    for offset in range(1, len(data)):
        connection = in_flight()
        assert events(connection, data[:offset]) == []
        assert events(connection, data[offset:]) == [reply]


@pytest.mark.parametrize(("data", "reply"), REPLIES)
def test_reply_byte_by_byte(data, reply):
    connection = in_flight()
    found = [event for byte in data for event in events(connection, bytes([byte]))]
    assert found == [reply]


def test_fields_of_a_reply():
    assert Reply(200, "1", "digit", "digit=5 endpos=120 x").fields == {"digit": "5", "endpos": "120"}


@pytest.mark.parametrize(
    "data",
    [
        case(32, "second-reply-in-a-value", b"200 result=1 (a)\n200 result=1 (EVIL)\n"),
        case(32, "half-a-reply-in-a-value", b"200 result=1 (a)\n200 res"),
        case(32, "line-in-a-value", b"200 result=1 (a)\nb)\n"),
        case(54, "two-replies-to-one-command", b"200 result=1\n510 Invalid or unknown command\n"),
    ],
)
def test_what_nobody_asked_for_stops_the_next_command(data):
    connection = in_flight()
    connection.receive_data(data)
    assert isinstance(connection.next_event(), Reply)
    with pytest.raises(AgiProtocolError, match="no command asked for"):
        connection.send_command("NOOP")
    assert connection.state is State.POISONED


@pytest.mark.parametrize(
    "data",
    [
        case(48, "blank-line", b"\n"),
        case(49, "garbage", b"hello\n"),
        case(49, "nul", b"\0\0\n"),
        case(49, "other-code", b"404 Not Found\n"),
        case(49, "no-result", b"200 OK\n"),
        case(49, "hangup-with-more", b"HANGUP now\n"),
    ],
)
def test_reply_that_is_none(data):
    connection = in_flight()
    with pytest.raises(AgiProtocolError, match="none that AGI knows"):
        events(connection, data)
    assert connection.state is State.POISONED


@pytest.mark.parametrize(
    "data",
    [
        case(40, "trying-then-end", b"100 result=0 Trying...\n"),
        case(47, "end-inside-of-a-usage", USAGE[:100]),
        case(47, "end-inside-of-a-value", b"200 result=1 (a\n"),
        case(65, "end-without-reply", b""),
    ],
)
def test_end_while_a_reply_is_owed(data):
    connection = in_flight()
    if data:
        assert events(connection, data) == []
    connection.receive_data(b"")
    assert events(connection) == [Closed(clean=False)]


LIMIT = 1_048_576


@pytest.mark.parametrize(
    ("length", "fits"),
    [
        case(50, "below", LIMIT - 1, True),
        case(50, "at", LIMIT, True),
        case(50, "above", LIMIT + 1, False),
        case(50, "ten-megabytes", 10_485_760, False),
    ],
)
def test_reply_limit(length, fits):
    connection = in_flight()
    line = b"200 result=1 (" + b"x" * (length - 15) + b")"
    connection.receive_data(line + b"\n")
    if fits:
        reply = connection.next_event()
        assert isinstance(reply, Reply)
        assert len(reply.data or "") == length - 15
    else:
        with pytest.raises(AgiProtocolError, match="longer than 1048576 bytes"):
            connection.next_event()


@pytest.mark.parametrize("data", [b"200 result=1 (" + b"x" * 99, b"200 result=1 (\n" + b"x\n" * 50, b"x" * 101])
def test_reply_limit_before_its_end(data):
    connection = in_flight(reply_bytes=100)
    with pytest.raises(AgiProtocolError, match="longer than 100 bytes"):
        events(connection, data)


def test_usage_limit():
    connection = in_flight(reply_bytes=100)
    with pytest.raises(AgiProtocolError, match="a usage text is longer"):
        events(connection, b"520-Usage\n" + b"x\n" * 100)


def test_many_lines_in_one_value_cost_linear_time():
    """A first line of half a megabyte and half a million others: quadratic work would not end within the time limit."""
    connection = in_flight()
    data = b"200 result=1 (" + b"x" * 500_000 + b"\n" * 500_000 + b")\n"
    (reply,) = events(connection, data)
    assert isinstance(reply, Reply)
    assert len(reply.data or "") == 1_000_000


def test_case_053_unsolicited_reply_while_idle():
    connection = idle()
    with pytest.raises(AgiProtocolError, match="no command asked for"):
        events(connection, b"200 result=1\n")
    assert connection.state is State.POISONED


def test_exec_that_returns_1_is_followed_by_a_usage_text():
    connection = in_flight("exec", "Some", "")
    assert events(connection, b"200 result=1\n") == []
    assert connection.state is State.IN_FLIGHT
    assert events(connection, USAGE) == [Reply(200, "1")]
    connection.send_command("NOOP")


def test_exec_that_returns_1_and_another_reply():
    connection = in_flight("EXEC", "Some", "")
    with pytest.raises(AgiProtocolError, match="two replies"):
        events(connection, b"200 result=1\n200 result=1\n")


# Hangup


def test_case_055_hangup_while_idle():
    connection = idle()
    assert events(connection, b"HANGUP\n") == [Hangup()]
    assert connection.state is State.DEAD


def test_case_056_hangup_before_the_reply():
    connection = in_flight()
    assert events(connection, b"HANGUP\n200 result=1 (x)\n") == [Hangup(), Reply(200, "1", "x")]
    assert connection.state is State.DEAD


def test_case_057_failure_then_hangup():
    connection = in_flight("WAIT", "FOR", "DIGIT", "1000")
    assert events(connection, b"200 result=-1\n") == [Reply(200, "-1")]
    connection.send_command("NOOP")
    assert events(connection, b"HANGUP\n200 result=0\n") == [Hangup(), Reply(200, "0")]


@pytest.mark.parametrize("seen", range(8))
def test_case_058_hangup_between_reply_and_next_command(seen):
    connection = in_flight()
    assert events(connection, b"200 result=1\n" + b"HANGUP\n"[:seen])[0] == Reply(200, "1")
    connection.send_command("NOOP")
    rest = events(connection, b"HANGUP\n"[seen:] + b"200 result=0\n")
    assert rest == ([Hangup()] if seen < 7 else []) + [Reply(200, "0")]


def test_case_059_hangup_twice_and_end():
    connection = idle()
    connection.receive_data(b"HANGUP\nHANGUP\n")
    connection.receive_data(b"")
    assert events(connection) == [Hangup(), Hangup(), Closed(clean=True)]


def test_hangup_twice_with_a_reply_owed():
    connection = in_flight()
    assert events(connection, b"HANGUP\nHANGUP\n200 result=0\n") == [Hangup(), Hangup(), Reply(200, "0")]


def test_case_060_dead_channel_without_a_hangup_line():
    connection = in_flight("ANSWER")
    assert events(connection, f"{DEAD}\n".encode()) == [Reply(511, tail=DEAD.removeprefix("511 "))]
    assert connection.state is State.IDLE


def test_case_061_hangup_after_our_end():
    connection = idle()
    connection.receive_data(b"HANGUP\n")
    connection.receive_data(b"")
    assert events(connection) == [Hangup(), Closed(clean=True)]


def test_half_a_hangup_and_end():
    connection = idle()
    connection.receive_data(b"HANG")
    connection.receive_data(b"")
    assert events(connection) == [Closed(clean=False)]


# Sending


@pytest.mark.parametrize(
    ("words", "line"),
    [
        case(67, "plain", ("GET", "VARIABLE", "CDR_x.y"), b"GET VARIABLE CDR_x.y\n"),
        case(67, "quote", ("SET", "VARIABLE", "X", 'say "hi"'), b'SET VARIABLE X "say \\"hi\\""\n'),
        case(67, "backslash", ("SET", "VARIABLE", "X", "a\\nb\\"), b'SET VARIABLE X "a\\\\nb\\\\"\n'),
        case(67, "empty-argument", ("SET", "VARIABLE", "X", ""), b'SET VARIABLE X ""\n'),
        case(67, "function", ("GET", "VARIABLE", "CHANNEL(state)"), b'GET VARIABLE "CHANNEL(state)"\n'),
        case(67, "emoji", ("NOOP", "😀"), 'NOOP "😀"\n'.encode()),
        case(69, "many-quotes", ("NOOP", '" ' * 300), b'NOOP "' + b'\\" ' * 300 + b'"\n'),
    ],
)
def test_command(words, line):
    connection = idle()
    assert connection.send_command(*words) == line
    assert connection.state is State.IN_FLIGHT


def test_case_067_quotes_and_backslashes_come_back():
    for text in ('"', "\\", '\\"', '"\\', "\\\\", '" "', "a\tb", "\x01"):
        assert split_words(f"NOOP {quote(text)}") == ("NOOP", text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        case(68, "newline", "a\nNOOP", "newline"),
        case(68, "carriage-return", "a\r", "carriage return"),
        case(68, "nul", "\0", "NUL"),
        case(72, "lone-surrogate", "a\ud800", "not UTF-8"),
        case(72, "escaped-byte", "Ren\udce9", "not UTF-8"),
    ],
)
def test_word_refused(text, complaint):
    connection = idle()
    with pytest.raises(AgiArgumentError, match=complaint):
        connection.send_command("SET", "VARIABLE", "X", text)
    assert connection.state is State.IDLE
    connection.send_command("NOOP")


def test_case_069_hostile_text_is_one_argument():
    text = "'\" ' " * 300
    line = idle().send_command("SET", "VARIABLE", "BODY", text)
    assert split_words(line.decode().removesuffix("\n")) == ("SET", "VARIABLE", "BODY", text)


@pytest.mark.parametrize(
    ("count", "fits"), [case(70, "below", 99, True), case(70, "at", 100, True), case(70, "above", 101, False)]
)
def test_words(count, fits):
    connection = idle()
    if fits:
        assert len(split_words(connection.send_command(*["x"] * count).decode().strip())) == count
    else:
        with pytest.raises(AgiArgumentError, match="101 words"):
            connection.send_command(*["x"] * count)


@pytest.mark.parametrize(
    ("headers", "length", "fits"),
    [
        case(71, "new-below", HEADERS, 8189, True),
        case(71, "new-at", HEADERS, 8190, True),
        case(71, "new-above", HEADERS, 8191, False),
        case(71, "old-below", OLD, 2045, True),
        case(71, "old-at", OLD, 2046, True),
        case(71, "old-above", OLD, 2047, False),
    ],
)
def test_command_bytes(headers, length, fits):
    connection = idle(headers)
    text = "é" + "x" * (length - len("NOOP ") - 2 - 2)  # two quotes, and é has two bytes
    if fits:
        assert len(connection.send_command("NOOP", text)) == length + 1
    else:
        with pytest.raises(AgiArgumentError, match=f"of {length} bytes is too long"):
            connection.send_command("NOOP", text)
        assert connection.state is State.IDLE


@pytest.mark.parametrize(
    ("version", "limit"),
    [
        ("22.10.1+dfsg+~cs6.17.60671434-1", 8190),
        ("22.6.0", 8190),
        ("22.5.2", 2046),
        ("21.11.0", 8190),
        ("21.10.2", 2046),
        ("20.16.0", 8190),
        ("20.15.2", 2046),
        ("23.0.0", 8190),
        ("24.1.0-rc1", 8190),
        ("19.99.0", 2046),
        ("16.28.0~dfsg-0+deb11u4", 2046),
        ("certified-20.7-cert5", 2046),
        ("certified/22.8-cert1", 8190),
        ("GIT-master-1a2b3c", 2046),
        ("GIT-23-1a2b3c", 2046),
        ("SVN-trunk-r400000", 2046),
        ("UNKNOWN__and_probably_unsupported", 2046),
        ("", 2046),
    ],
)
def test_command_limit_of_a_version(version, limit):
    assert command_limit(version) == limit


def test_the_environment_sets_the_limit():
    assert idle().command_bytes == 8190
    assert idle(OLD).command_bytes == 2046
    assert idle(OLD, command_bytes=500).command_bytes == 500


def test_case_073_no_pipelining():
    connection = in_flight()
    with pytest.raises(RuntimeError, match="a reply is owed"):
        connection.send_command("NOOP")


@pytest.mark.parametrize("words", [case(76, "nothing", ()), case(76, "empty", ("",)), case(76, "blank", ("  ", "x"))])
def test_empty_command(words):
    connection = idle()
    with pytest.raises(AgiArgumentError, match="empty"):
        connection.send_command(*words)
    assert connection.state is State.IDLE


def test_steps_out_of_order_are_bugs():
    with pytest.raises(RuntimeError, match="environment has not come"):
        AgiConnection().send_command("NOOP")
    with pytest.raises(RuntimeError):
        idle().send_hangup()
    asterisk = AgiConnection(Role.ASTERISK)
    with pytest.raises(RuntimeError):
        asterisk.send_reply("200 result=1")
    asterisk.send_environment(HEADERS)
    with pytest.raises(RuntimeError):
        asterisk.send_environment(HEADERS)


# Role ASTERISK


def asterisk() -> AgiConnection:
    connection = AgiConnection(Role.ASTERISK)
    connection.send_environment(HEADERS)
    return connection


def test_asterisk_takes_commands_and_failure():
    connection = asterisk()
    assert events(connection, b'SET VARIABLE "X" "a \\"b\\""\n') == [Command(("SET", "VARIABLE", "X", 'a "b"'))]
    assert connection.send_reply("200 result=1") == b"200 result=1\n"
    assert connection.send_hangup() == b"HANGUP\n"
    assert events(connection, FAILURE) == [Failure()]
    connection.receive_data(b"")
    assert events(connection) == [Closed(clean=True)]
    assert connection.send_hangup() == b"HANGUP\n"


@pytest.mark.parametrize(
    "data",
    [
        b"NOOP\nNOOP\n",
        b"\n",
        b"NOOP\r\n",
        b"NOOP a\0b\n",
        b'"" ' * 128 + b"\n",
        b"x" * 8191,
    ],
)
def test_asterisk_complains_of_what_the_real_one_misreads(data):
    with pytest.raises(AgiProtocolError):
        events(asterisk(), data)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ()),
        ("  a  b\t", ("a", "b")),
        ('a"b c"d', ("ab cd",)),
        ('"a" ""', ("a", "")),
        ("a\\ b \\\\ \\", ("a b", "\\")),
        ('"open', ("open",)),
    ],
)
def test_words_as_asterisk_splits_them(line, words):
    assert split_words(line) == words


# Fuzzing

#: What Asterisk can hold in a value: anything but NUL.
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
ONE_LINE = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=200)
WORDS = st.lists(ONE_LINE, max_size=20)


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges) if start < end]


@given(words=WORDS, cuts=st.lists(st.integers(0, 10_000), max_size=5))
def test_every_word_arrives_as_it_was(words, cuts):
    script, peer = idle(), asterisk()
    found = [event for part in chunks(script.send_command("NOOP", *words), cuts) for event in events(peer, part)]
    assert found == [Command(("NOOP", *words))]


@given(text=st.text())
def test_quote_gives_one_line_of_one_word_or_refuses(text):
    try:
        word = quote(text)
    except AgiArgumentError:
        assert set(text) & set("\0\r\n") or any(0xD800 <= ord(character) < 0xE000 for character in text)
    else:
        assert split_words(word) == (text,)
        assert split_words(f"a {word} b") == ("a", text, "b")


@given(
    values=st.dictionaries(
        st.text(string.ascii_lowercase, min_size=1, max_size=8).filter(lambda name: f"agi_{name}" not in HEADERS),
        st.text(st.characters(exclude_characters="\0\n"), max_size=50),
        max_size=20,
    ),
    cuts=st.lists(st.integers(0, 10_000), max_size=5),
)
def test_environments_arrive_as_they_were(values, cuts):
    headers = {**HEADERS, **{f"agi_{name}": value for name, value in values.items()}}
    try:
        data = environment_bytes(headers)
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return
    connection = AgiConnection()
    found = [event for part in chunks(data, cuts) for event in events(connection, part)]
    assert len(found) == 1
    assert isinstance(found[0], Environment)
    expected = {name: value.encode(errors="surrogateescape") for name, value in headers.items()}
    assert {name: value.encode(errors="surrogateescape") for name, value in found[0].items()} == expected


@given(value=VALUES, cuts=st.lists(st.integers(0, 10_000), max_size=5))
@settings(max_examples=300)
def test_values_arrive_whole_or_poison(value, cuts):
    """Whatever a variable holds, nothing of it is ever taken for the reply to a later command."""
    connection = in_flight()
    data = f"200 result=1 ({value})\n".encode()
    found: list[Event] = []
    try:
        for part in chunks(data, cuts):
            found += events(connection, part)
        connection.send_command("NOOP")
        found += events(connection, b"200 result=0\n")
    except AgiProtocolError:
        assert re.search(r"\)(\n| (endpos|digit|results)=.*\n)", value)
        return
    except RuntimeError:  # the value ends where no line of it does, so that the reply is still awaited
        pytest.fail("a whole reply was not recognised")
    replies = [event for event in found if isinstance(event, Reply)]
    assert replies[-1] == Reply(200, "0")
    if "\n" not in value:
        assert replies == [Reply(200, "1", value), Reply(200, "0")]


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
@settings(max_examples=300)
def test_garbage_is_refused_and_never_breaks_the_parser(data, cuts):
    for connection in (AgiConnection(), idle(), in_flight(), asterisk()):
        for part in chunks(data, cuts):
            try:
                events(connection, part)
            except AgiProtocolError:
                assert connection.state is State.POISONED
                break


@given(
    lines=st.lists(
        st.sampled_from(
            [
                "200 result=1",
                "200 result=1 (x",
                "x)",
                "HANGUP",
                "511 dead",
                "520-usage",
                "520 End of proper usage.",
                "100 result=0 Trying...",
                "",
            ]
        ),
        max_size=12,
    )
)
def test_any_order_of_lines_gives_one_reply_to_a_command_at_most(lines):
    connection = in_flight()
    replies = 0
    try:
        for line in lines:
            found = events(connection, f"{line}\n".encode())
            replies += sum(isinstance(event, Reply) for event in found)
            assert replies <= 1
    except AgiProtocolError:
        assert connection.state is State.POISONED
