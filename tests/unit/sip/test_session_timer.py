"""Session timers (RFC 4028)."""

from __future__ import annotations

import pytest
from sipmessage import Response

from agi_xmpp.sip.session_timer import Session, agreed, interval_of, least_of


def message(**headers: str) -> Response:
    response = Response(200, "OK")
    for name, value in headers.items():
        response.headers.set(name.replace("_", "-"), value)
    return response


@pytest.mark.parametrize(
    ("value", "we_ask", "session"),
    [
        ("1800;refresher=uac", True, Session(1800, we_refresh=True)),
        ("1800;refresher=uas", True, Session(1800, we_refresh=False)),
        ("1800 ; Refresher = UAS", False, Session(1800, we_refresh=True)),
        ("1800;refresher=uac", False, Session(1800, we_refresh=False)),
        ("1800", True, Session(1800, we_refresh=True)),
        ("89;refresher=uac", True, Session(90, we_refresh=True)),
        ("90", True, Session(90, we_refresh=True)),
        ("91", True, Session(91, we_refresh=True)),
        ("999999999", True, Session(86_400, we_refresh=True)),
        ("9999999999", True, None),
        ("-5", True, None),
        ("", True, None),
        ("soon;refresher=uac", True, None),
    ],
)
def test_what_was_agreed(value, we_ask, session):
    assert agreed(message(Session_Expires=value), we_ask=we_ask) == session


def test_no_timer():
    assert agreed(message(), we_ask=True) is None
    assert interval_of(message()) is None


@pytest.mark.parametrize("we_refresh", [True, False])
@pytest.mark.parametrize("we_ask", [True, False])
def test_what_we_say_is_what_is_read(we_refresh, we_ask):
    session = Session(90, we_refresh)
    assert agreed(message(Session_Expires=session.header(we_ask=we_ask)), we_ask=we_ask) == session


@pytest.mark.parametrize(("interval", "ends"), [(90, 60), (96, 64), (1800, 1768)])
def test_it_ends_a_little_before_it_expires(interval, ends):
    assert Session(interval, we_refresh=False).ends_after == ends


@pytest.mark.parametrize(
    ("value", "least"),
    [("89", None), ("90", None), ("91", 91), ("86400", 86_400), ("86401", None), ("x", None), ("", None)],
)
def test_the_least_that_is_wanted(value, least):
    assert least_of(message(Min_SE=value)) == least
