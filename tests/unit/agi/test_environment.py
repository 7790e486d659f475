from __future__ import annotations

import pytest

from agi_xmpp.agi.environment import Environment, parse
from agi_xmpp.errors import AgiProtocolError
from tests.unit.agi.cases import case
from tests.unit.agi.fake_asterisk import HEADERS


def lines(**changes: str | None) -> list[str]:
    """Return Asterisk's headers as lines; a change is a header to set, or to leave out when None."""
    headers = {**HEADERS, **{f"agi_{name}": value for name, value in changes.items()}}
    return [f"{name}: {value}" for name, value in headers.items() if value is not None]


def test_case_001_normal():
    environment = parse(lines())
    assert dict(environment) == HEADERS
    assert len(environment) == 22
    assert environment.uniqueid == "1795258243.5"
    assert environment.channel == "Local/s@probe-00000002;2"
    assert environment.version == "22.10.1+dfsg+~cs6.17.60671434-1"
    assert environment.language == "en"
    assert (environment.callerid, environment.callerid_name) == ("unknown", "unknown")
    assert (environment.context, environment.extension, environment.priority) == ("probe", "s", "2")
    assert (environment.script, environment.query, environment.args) == ("verb", {}, ())
    assert "agi_channel" in repr(environment)


def test_case_002_arguments():
    assert parse(lines(arg_1="home", arg_2="", arg_3="a, b")).args == ("home", "", "a, b")
    many = {f"arg_{number}": str(number) for number in range(1, 128)}
    assert parse(lines(**many)).args == tuple(many.values())


def test_case_003_empty_value():
    assert parse(lines(accountcode=""))["agi_accountcode"] == ""
    assert parse([*lines(accountcode=None), "agi_accountcode:"])["agi_accountcode"] == ""


@pytest.mark.parametrize(
    ("presentation", "withheld"),
    [("0", False), ("3", False), ("32", True), ("35", True), ("64", False), ("67", False), ("", False), ("x", False)],
)
def test_who_withholds_their_number(presentation, withheld):
    assert parse(lines(callingpres=presentation)).withheld is withheld


def test_case_004_colon_in_a_value():
    environment = parse(lines(callerid="sip: bob: 1", arg_1=": :"))
    assert environment.callerid == "sip: bob: 1"
    assert environment.args == (": :",)


def test_case_020_no_network_script():
    environment = parse(lines(network_script=None))
    assert (environment.script, environment.query) == ("", {})


@pytest.mark.parametrize(
    ("request_path", "script", "pairs"),
    [
        case(21, "query", "script?q=1&q=2", "script", (("q", "1"), ("q", "2"))),
        case(21, "decoded", "a%20b?x%20y=%C3%A9+1&flag&&=v", "a b", (("x y", "é+1"), ("flag", ""), ("", "v"))),
        case(21, "equals-in-a-value", "s?a=b=c?d", "s", (("a", "b=c?d"),)),
        case(21, "dot-segments", "%2e%2e/secret", "%2e%2e/secret", ()),
        case(21, "plain-dot-segments", "a/../b", "a/../b", ()),
        case(21, "encoded-slash", "a%2Fb", "a%2Fb", ()),
        case(21, "encoded-backslash", "a%5cb", "a%5cb", ()),
        case(21, "encoded-control", "a%00b%0a", "a%00b%0a", ()),
        case(21, "no-code", "100%?p=%zz", "100%", (("p", "%zz"),)),
    ],
)
def test_request_path(request_path, script, pairs):
    environment = parse(lines(network_script=request_path))
    assert environment.script == script
    assert environment.query_pairs == pairs
    assert environment.query == dict(pairs)


def test_latin_1_in_the_query_can_be_told_from_text():
    assert parse(lines(network_script="s?name=%E9")).query == {"name": "\udce9"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        case(7, "newline-in-an-argument", [*lines(arg_1="a"), "b"], "line 24 of the environment is no header"),
        case(8, "twice", [*lines(), "agi_context: evil"], "agi_context twice"),
        case(8, "forged-argument", [*lines(arg_1="a"), "agi_arg_2: forged", "agi_arg_2: b"], "agi_arg_2 twice"),
        case(17, "nul", lines(callerid="a\0b"), "NUL in agi_callerid"),
        case(1, "without-uniqueid", lines(uniqueid=None), "no agi_uniqueid"),
        case(1, "with-empty-uniqueid", lines(uniqueid=""), "no agi_uniqueid"),
        case(2, "gap", lines(arg_1="a", arg_3="c"), "not numbered"),
        case(2, "without-the-first", lines(arg_2="b"), "not numbered"),
        case(7, "other-name", [*lines(), "variable_x: 1"], "no header"),
        case(7, "empty-line", [*lines(), ""], "no header"),
    ],
)
def test_refused(text, complaint):
    with pytest.raises(AgiProtocolError, match=complaint):
        parse(text)


def test_complaints_do_not_show_what_somebody_wrote():
    with pytest.raises(AgiProtocolError) as caught:
        parse([*lines(arg_1="my"), "secret"])
    assert "secret" not in str(caught.value)


def test_missing_headers_read_as_empty():
    environment = Environment({"agi_uniqueid": "1"})
    assert environment.callerid == ""
    assert environment.version == ""
