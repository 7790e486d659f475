from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.ami.wire import HEADERS, LINE_BYTES, AmiParser, Kind, Limits, Received, encode_action
from agi_xmpp.errors import AmiArgumentError, AmiProtocolError

BANNER = b"Asterisk Call Manager/11.0.0\r\n"
RESPONSE = b"Response: Success\r\nActionID: 7\r\nMessage: Authentication accepted\r\n\r\n"
DIAL_BEGIN = (
    "Event: DialBegin\r\nPrivilege: call,all\r\nChannel: PJSIP/101-00000000\r\nCallerIDName: Grüße, 日本 😀\r\n"
    "AccountCode: \r\nDestChannel: PJSIP/102-00000001\r\nDialString: 102\r\n\r\n"
).encode()


def messages(*segments: bytes, limits: Limits | None = None) -> list[Received]:
    """Give the segments one after the other, and return all messages."""
    parser = AmiParser(limits)
    found: list[Received] = []
    for segment in segments:
        parser.receive_data(segment)
        while (message := parser.next_message()) is not None:
            found.append(message)
    return found


def one(raw: bytes) -> Received:
    (message,) = messages(BANNER + raw)
    return message


# What arrives


def test_a_response_and_an_event_behind_the_banner() -> None:
    response, event = messages(BANNER + RESPONSE + DIAL_BEGIN)
    assert (response.kind, response.action_id, response["Message"]) == (Kind.RESPONSE, "7", "Authentication accepted")
    assert (event.kind, event.action_id, event["Event"]) == (Kind.EVENT, "", "DialBegin")
    assert dict(event) == {
        "Event": "DialBegin",
        "Privilege": "call,all",
        "Channel": "PJSIP/101-00000000",
        "CallerIDName": "Grüße, 日本 😀",
        "AccountCode": "",
        "DestChannel": "PJSIP/102-00000001",
        "DialString": "102",
    }


def test_case_087_segments_end_anywhere_even_inside_a_character() -> None:
    data = BANNER + RESPONSE + DIAL_BEGIN
    whole = [dict(message) for message in messages(data)]
    assert [dict(message) for message in messages(*(data[i : i + 1] for i in range(len(data))))] == whole
    for offset in range(len(data)):
        assert [dict(message) for message in messages(data[:offset], data[offset:])] == whole


@given(st.lists(st.integers(min_value=1, max_value=400), max_size=40))
def test_segments_of_any_size(sizes: list[int]) -> None:
    data = BANNER + (RESPONSE + DIAL_BEGIN) * 5
    ends = [0, *itertools.accumulate(sizes), len(data)]
    found = messages(*(data[start:end] for start, end in itertools.pairwise(ends) if start < end))
    assert [message.kind for message in found] == [Kind.RESPONSE, Kind.EVENT] * 5
    assert found[-1]["CallerIDName"] == "Grüße, 日本 😀"


def test_the_version_is_known_from_the_banner_on() -> None:
    parser = AmiParser()
    parser.receive_data(BANNER[:-1])
    assert parser.next_message() is None
    assert parser.version == ""
    parser.receive_data(BANNER[-1:])
    assert parser.next_message() is None
    assert parser.version == "11.0.0"


def test_a_banner_without_a_version_is_one() -> None:
    parser = AmiParser()
    parser.receive_data(b"Asterisk Call Manager/\r\n" + RESPONSE)
    assert parser.next_message() is not None
    assert parser.version == "unknown"


def test_case_091_output_of_a_command() -> None:
    message = one(b"Response: Success\r\nOutput: Name: x\r\nOutput: \r\nOutput:   indented\r\n\r\n")
    assert message["Output"] == "Name: x\n\n  indented"


def test_case_092_channel_variables_that_come_twice() -> None:
    message = one(b"Event: Newchannel\r\nChanVariable: A=1\r\nChanVariable: B=\r\nUniqueid: 1.2\r\n\r\n")
    assert message["ChanVariable"] == "A=1\nB="
    assert message["Uniqueid"] == "1.2"


def test_the_event_originate_response_is_an_event() -> None:
    message = one(b"Event: OriginateResponse\r\nActionID: 3\r\nResponse: Failure\r\nReason: 0\r\n\r\n")
    assert (message.kind, message.action_id, message["Response"]) == (Kind.EVENT, "3", "Failure")


def test_a_line_break_at_the_end_of_an_error_is_not_part_of_it() -> None:
    # as PJSIPShowContacts of 22.10.1 writes it
    assert one(b"Response: Error\r\nMessage: No Contacts found\n\r\n\r\n")["Message"] == "No Contacts found"


def test_a_value_with_a_line_break_in_it_loses_nothing() -> None:
    assert one(b"Event: VarSet\r\nValue: one\r\ntwo\r\nX: 1\r\n\r\n")["Value"] == "one\ntwo"


def test_what_is_neither_event_nor_response_does_not_end_the_conversation() -> None:
    odd, event = messages(BANNER + b"the rest of a value: x\r\n\r\n" + DIAL_BEGIN)
    assert (odd.kind, event.kind) == (Kind.NEITHER, Kind.EVENT)


def test_bytes_that_are_not_utf8_become_a_sign_that_xml_can_carry() -> None:
    assert one(b"Event: X\r\nCallerIDName: J\xfcrgen\r\nActionID: \xff\r\n\r\n")["CallerIDName"] == "J\ufffdrgen"


def test_a_header_without_a_blank_behind_its_colon() -> None:
    assert one(b"Event:X\r\nA:b:c\r\n\r\n")["A"] == "b:c"


def test_a_message_reads_like_a_mapping() -> None:
    message = one(RESPONSE)
    assert (len(message), "Message" in message, message.get("Missing", "-")) == (3, True, "-")
    assert "Authentication accepted" in repr(message)


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n", "SSH server"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "web server"),
        (b"<?xml version='1.0'?>", "XMPP"),
        (b"\x15\x03\x01\x00\x02\x02\x16", "TLS"),
        (b"220 mail.example.org ESMTP\r\n", "mail"),
        (b"agi_network: yes\n", "did not come"),
        (b"\n", "did not come"),
        (b"Asterisk call manager/1\r\n", "did not come"),
    ],
)
def test_who_is_no_manager_interface_is_recognised_by_the_first_bytes(begin: bytes, words: str) -> None:
    with pytest.raises(AmiProtocolError, match=words):
        messages(begin)


def test_a_first_line_that_does_not_end() -> None:
    most = b"Asterisk Call Manager/".ljust(200, b"1")
    assert messages(most) == []
    assert messages(most, b"\r\n") == []
    with pytest.raises(AmiProtocolError, match="does not end"):
        messages(most, b"1")


def test_limit_of_bytes() -> None:
    limits = Limits(message_bytes=100)
    for size in (99, 100):
        text = b"Event: X\r\nA: ".ljust(size, b"x")
        assert len(messages(BANNER + text + b"\r\n\r\n", limits=limits)) == 1
    with pytest.raises(AmiProtocolError, match="more than 100 bytes"):
        messages(BANNER + b"Event: X\r\nA: ".ljust(101, b"x") + b"\r\n\r\n", limits=limits)
    with pytest.raises(AmiProtocolError, match="more than 100 bytes"):
        messages(BANNER, *[b"x"] * 101, limits=limits)  # it need not end to be too long


def test_limit_of_headers() -> None:
    limits = Limits(headers=5)
    for count in (4, 5):
        assert len(messages(BANNER + b"\r\n".join([b"Event: X"] * count) + b"\r\n\r\n", limits=limits)) == 1
    with pytest.raises(AmiProtocolError, match="more than 5 headers"):
        messages(BANNER + b"\r\n".join([b"Event: X"] * 6) + b"\r\n\r\n", limits=limits)


# What is sent


def read_as_asterisk(data: bytes) -> list[tuple[str, str]]:
    """Return the headers as manager.c reads them, and check that they are one action."""
    *lines, end, rest = data.split(b"\r\n")
    assert (end, rest) == (b"", b"")
    assert all(line and len(line) <= 1022 for line in lines)
    return [(line.decode().split(":", 1)[0], line.decode().split(":", 1)[1].lstrip()) for line in lines]


def separate(text: str) -> list[str]:
    """Split a ``Variable`` header as app.c does: ``__ast_app_separate_args(…, ',', remove_chars = 1, …)``."""
    parts, depth, bracket, quoted = [""], 0, 0, False
    characters = iter(text)
    for character in characters:
        if character == "\\":
            parts[-1] += next(characters, "")
            continue
        depth = max(0, depth + (character == "(") - (character == ")"))
        bracket = max(0, bracket + (character == "[") - (character == "]"))
        if character == '"':
            quoted = not quoted
        elif character == "," and not (depth or bracket or quoted):
            parts.append("")
        else:
            parts[-1] += character
    return parts


def test_an_action() -> None:
    data = encode_action("Originate", "x-1", {"Channel": "PJSIP/101", "CallerID": '"Grüße" <101>'}, {"A": "1", "B": ""})
    assert (
        data
        == (
            'Action: Originate\r\nActionID: x-1\r\nChannel: PJSIP/101\r\nCallerID: "Grüße" <101>\r\n'
            "Variable: A=1\r\nVariable: B=\r\n\r\n"
        ).encode()
    )


@pytest.mark.parametrize("code", ["\r\n", "\r", "\n", "\0"])
@pytest.mark.parametrize("place", ["name", "id", "header", "value", "variable", "text"])
def test_case_088_nothing_can_begin_another_header(code: str, place: str) -> None:
    bad = f"x{code}Variable: EVIL=1"
    name, action_id, headers, variables = "Redirect", "1", {"Channel": "c"}, {"A": "b"}
    with pytest.raises(AmiArgumentError) as caught:
        encode_action(
            bad if place == "name" else name,
            bad if place == "id" else action_id,
            {bad: "x"} if place == "header" else {"Channel": bad} if place == "value" else headers,
            {bad: "x"} if place == "variable" else {"A": bad} if place == "text" else variables,
        )
    if place in ("value", "text"):
        assert "EVIL" not in str(caught.value)


@pytest.mark.parametrize("header", ["", "A B", "A:", "Ä", "1a", " A"])
def test_names_of_headers_are_checked(header: str) -> None:
    with pytest.raises(AmiArgumentError, match="no name of a header"):
        encode_action("Ping", "1", {header: "x"})


@pytest.mark.parametrize("name", ["", "Core Show", "Ping:", "Ping\r\n", "Pïng"])
def test_names_of_actions_are_checked(name: str) -> None:
    with pytest.raises(AmiArgumentError, match="no name of an action"):
        encode_action(name, "1")


@pytest.mark.parametrize("name", ["", "A=B"])
def test_names_of_variables_are_checked(name: str) -> None:
    with pytest.raises(AmiArgumentError, match="no name of a channel variable"):
        encode_action("Originate", "1", None, {name: "x"})


@pytest.mark.parametrize(
    "headers", [{"ActionID": "2"}, {"actionid": "2"}, {"ACTION": "x"}, {"Channel": "a", "channel": "b"}]
)
def test_no_header_comes_twice(headers: dict[str, str]) -> None:
    with pytest.raises(AmiArgumentError, match="twice"):
        encode_action("Ping", "1", headers)


@pytest.mark.parametrize("character", ["x", "é", "😀"])
def test_case_096_limit_of_a_line(character: str) -> None:
    size = len(character.encode())
    count, odd = divmod(LINE_BYTES - len("Data: "), size)
    most = character * count + "x" * odd
    (line,) = [line for line in encode_action("Ping", "1", {"Data": most}).split(b"\r\n") if line.startswith(b"Data")]
    assert len(line) == 1022
    assert encode_action("Ping", "1", {"Data": most[1:]})
    with pytest.raises(AmiArgumentError, match=r"the line of Data has 1023 bytes; Asterisk reads 1022"):
        encode_action("Ping", "1", {"Data": f"{most}x"})


def test_case_097_limit_of_headers_of_an_action() -> None:
    for count in (HEADERS - 1, HEADERS):
        data = encode_action("Originate", "1", {"Channel": "c"}, {f"V{i}": "x" for i in range(count - 3)})
        assert len(read_as_asterisk(data)) == count
    with pytest.raises(AmiArgumentError, match="121 headers are too many; 120"):
        encode_action("Originate", "1", {"Channel": "c"}, {f"V{i}": "x" for i in range(HEADERS - 2)})


def test_text_that_is_no_unicode() -> None:
    with pytest.raises(AmiArgumentError, match="not valid Unicode"):
        encode_action("Ping", "1", {"A": "\udc80"})


def test_a_secret_is_in_no_error() -> None:
    for secret in ("hunter2\n", "hunter2" * 200, "hunter2\ud800"):
        with pytest.raises(AmiArgumentError) as caught:
            encode_action("Login", "1", {"Secret": secret})
        assert "hunter2" not in str(caught.value)


def test_a_comma_in_a_variable_makes_no_second_variable() -> None:
    data = encode_action("Originate", "1", None, {"A": "a,B=2", "PJSIP_HEADER(add,Alert-Info)": "<http://x>;info=auto"})
    first, second = (value for header, value in read_as_asterisk(data) if header == "Variable")
    assert separate(first) == ["A=a,B=2"]
    assert separate(second) == ["PJSIP_HEADER(add,Alert-Info)=<http://x>;info=auto"]


@given(
    st.text(st.characters(exclude_characters="=", exclude_categories=["Cs"]), max_size=30),
    st.text(
        alphabet=st.one_of(st.sampled_from('\\",()[]{}=; \t'), st.characters(exclude_categories=["Cs"])), max_size=60
    ),
)
def test_any_variable_arrives_as_it_is_or_is_refused(name: str, value: str) -> None:
    try:
        data = encode_action("Originate", "1", {"Channel": "c"}, {f"v{name}": value})
    except AmiArgumentError:
        assert any(code in name + value for code in "\r\n\0")
        return
    *_others, (header, text) = read_as_asterisk(data)
    assert header == "Variable"
    assert separate(text) == [f"v{name}={value}"]


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=80), max_size=4))
def test_any_headers_arrive_as_they_are_or_are_refused(headers: dict[str, str]) -> None:
    try:
        data = encode_action("Redirect", "1", headers)
    except AmiArgumentError:
        return
    expected = [("Action", "Redirect"), ("ActionID", "1"), *((name, value.lstrip()) for name, value in headers.items())]
    assert read_as_asterisk(data) == expected
